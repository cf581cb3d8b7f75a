package pdf

import (
	"encoding/binary"
	"fmt"
	"html"
	"math"

	"yizheng/catalog/beijing"
)

// What PDF/A-2u (ISO 19005-2) wants beside what every file of this package has:
// metadata that name the standard, and what the colours mean. Only a file whose
// signature is of a kind that the standard knows may ask for it.

// archive writes the objects and returns the entries of the catalog.
func (w *writer) archive(l *layout) string {
	metadata, profile := w.number(), w.number()
	w.begin(metadata).add("<</Type/Metadata/Subtype/XML").stream(metadataOf(l.doc))
	w.begin(profile).add("<</N 3/Filter/FlateDecode").stream(l.colors)
	return fmt.Sprintf("/Metadata %d 0 R/OutputIntents[<</Type/OutputIntent/S/GTS_PDFA1/OutputConditionIdentifier(sRGB)/Info(sRGB)/DestOutputProfile %d 0 R>>]",
		metadata, profile)
}

// metadataOf says the same as the information dictionary: title, program and date
// of issue, and nothing about a person.
func metadataOf(d *Document) []byte {
	return fmt.Appendf(nil, `<?xpacket begin="%s" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:pdf="http://ns.adobe.com/pdf/1.3/" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">
<pdfaid:part>2</pdfaid:part><pdfaid:conformance>U</pdfaid:conformance>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">%s</rdf:li></rdf:Alt></dc:title>
<xmp:CreateDate>%s</xmp:CreateDate><pdf:Producer>%s</pdf:Producer>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>`, "\uFEFF", html.EscapeString(oneLine(d.Title)), d.IssuedAt.In(beijing.Zone()).Format("2006-01-02T15:04:05-07:00"), producer)
}

// colorProfile is sRGB (IEC 61966-2-1) as an ICC profile of version 4.2 (ISO
// 15076-1), made from its numbers.
func colorProfile() []byte {
	xyz := func(v ...float64) []byte { return fixed16(append([]byte("XYZ "), 0, 0, 0, 0), v...) }
	curve := fixed16(append([]byte("para"), 0, 0, 0, 0, 0, 3, 0, 0), 2.4, 1/1.055, 0.055/1.055, 1/12.92, 0.04045)
	tags := []struct {
		name string
		data []byte
	}{
		{"desc", profileText("sRGB")}, {"cprt", profileText("No copyright")}, {"wtpt", xyz(0.9642, 1, 0.8249)},
		{"chad", fixed16(append([]byte("sf32"), 0, 0, 0, 0), 1.04788, 0.02292, -0.05022, 0.02959, 0.99047, -0.01707, -0.00925, 0.01508, 0.75168)},
		{"rXYZ", xyz(0.43607, 0.22249, 0.01392)}, {"gXYZ", xyz(0.38515, 0.71687, 0.09708)}, {"bXYZ", xyz(0.14307, 0.06061, 0.7141)},
		{"rTRC", curve}, {"gTRC", curve}, {"bTRC", curve},
	}
	b := make([]byte, 128+4+12*len(tags))
	copy(b[8:], "\x04\x20\x00\x00mntrRGB XYZ ")
	copy(b[24:], "\x07\xea\x00\x01\x00\x01") // 1 January 2026
	copy(b[36:], "acsp")
	copy(b[68:], fixed16(nil, 0.9642, 1, 0.8249))
	binary.BigEndian.PutUint32(b[128:], uint32(len(tags)))
	for i, t := range tags {
		rec := b[132+12*i:]
		copy(rec, t.name)
		binary.BigEndian.PutUint32(rec[4:], uint32(len(b)))
		binary.BigEndian.PutUint32(rec[8:], uint32(len(t.data)))
		b = append(b, t.data...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// fixed16 appends numbers with sixteen bits before and behind the point.
func fixed16(b []byte, numbers ...float64) []byte {
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint32(b, uint32(int32(math.Round(n*65536))))
	}
	return b
}

// profileText is a text in English.
func profileText(s string) []byte {
	b := append([]byte("mluc"), 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 12, 'e', 'n', 'U', 'S')
	b = binary.BigEndian.AppendUint32(b, uint32(2*len(s)))
	b = binary.BigEndian.AppendUint32(b, 28)
	for _, c := range []byte(s) {
		b = append(b, 0, c)
	}
	return b
}

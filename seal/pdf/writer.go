package pdf

import (
	"fmt"

	"github.com/emmansun/gmsm/sm3"
)

// Object numbers that every file has.
const (
	objCatalog = iota + 1
	objPages
	objInfo
	objField
	objSignature
	objAppearance
	objImage
	objMask
	objPattern
	objResources
	objFrame
	objCode
	objFont   // that of the prefix
	firstFree = objFont + fontObjects
)

const fontObjects = 5

const producer = "Yizheng" // in the document's information

// Names of the private dictionary, frozen: docs/protocol/certificate-pdf.md.
const (
	keyApplication = "Yizheng"
	keyVersion     = "V"
	keySeed        = "Seed"
	keyReceipt     = "Receipt"
	keyNumber      = "Number"
	keyQR          = "QR"
	privateVersion = 2
)

// write turns a finished layout into a file with an empty signature.
func write(l *layout, slot SignatureSlot) (*Draft, error) {
	w := &l.desk.writer
	w.next = firstFree
	w.offsets = append(w.offsets, l.prefix.offsets...)
	w.insert(l.prefix.b)
	fontRefs, err := w.fonts(l.subsets)
	if err != nil {
		return nil, err
	}
	date := pdfDate(l.doc.IssuedAt)
	w.resources(l, fontRefs)
	firstPage := w.pages(l)
	w.begin(objInfo).add("<</Title").text(oneLine(l.doc.Title)).add("/Producer(" + producer + ")/CreationDate(").add(date).add(")>>").end()
	more := w.attachments(l.doc.Attachments)
	if slot.PDFA {
		more += w.archive(l)
	}
	w.catalog(l, date, more)
	if l.unsealed {
		w.finish(l.doc)
		return &Draft{file: w.whole()}, nil
	}
	w.field(l, firstPage+2*l.sealPage())
	return w.sign(l, date, slot), nil
}

// sign writes the rest of a file, of which all but the signature's digits is known then.
func (w *writer) sign(l *layout, date string, slot SignatureSlot) *Draft {
	rangeAt := w.signature(l.doc, date, slot)
	d := &Draft{prefix: l.prefix, capacity: slot.MaxBytes}
	d.cut = w.at() - 2*slot.MaxBytes - len(">>>\nendobj\n")
	w.finish(l.doc)
	d.after = w.at() - d.cut - 2*slot.MaxBytes - 1
	r := d.ByteRange()
	copy(w.b[rangeAt:], fmt.Sprintf("[0 %d %d %d]", r[1], r[2], r[3]))
	d.file = w.whole()
	d.digest = d.prefix.digest(d.file[:r[1]], d.file[r[2]:])
	return d
}

// pages writes the tree of pages and returns the number of the first; each has its
// contents behind it.
func (w *writer) pages(l *layout) (first int) {
	first = w.next
	for n, c := range l.pages {
		page := w.number()
		w.begin(page).add("<</Type/Page/Parent ").ref(objPages).add("/MediaBox[0 0 ").points(pageWidth, pageHeight)
		w.add("]/Resources ").ref(objResources).add("/Contents ").ref(w.number())
		if !l.unsealed && n == l.sealPage() {
			w.add("/Annots[").ref(objField).add("]")
		}
		w.add(">>").end()
		w.begin(page + 1).add("<<").stream(c.b)
	}
	w.begin(objPages).add("<</Type/Pages/Count ").int(len(l.pages)).add("/Kids[")
	for n := range l.pages {
		w.ref(first + 2*n).add(" ")
	}
	w.add("]>>").end()
	return first
}

func (w *writer) resources(l *layout, fontRefs string) {
	w.begin(objResources).add("<</Font<<").add(fontRefs).add(">>/XObject<</B ").ref(objFrame)
	if l.code != nil {
		w.add("/Q ").ref(objCode)
	}
	w.add(">>")
	if l.pattern != nil {
		w.add("/Pattern<</W ").ref(objPattern).add(">>")
	}
	w.add(">>").end()
	if c := l.code; c != nil {
		w.begin(objCode).add("<</Type/XObject/Subtype/Image/Width ").int(c.size).add("/Height ").int(c.size)
		w.add("/ImageMask true/BitsPerComponent 1/Decode[1 0]").stream(c.bits)
	}
	if l.pattern != nil {
		x, y, m := l.patternStep[0], l.patternStep[1], patternMatrix()
		w.begin(objPattern).add("<</Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 ").points(x, y)
		w.add("]/XStep ").points(x).add("/YStep ").points(y)
		w.add("/Matrix[").decimals(4, m[:4]...).add(" ").decimals(0, m[4:]...)
		w.add("]/Resources<</Font<<").add(fontRefs).add(">>>>").stream(l.pattern.b)
	}
}

// sealPicture writes the picture and the appearance that shows it. The seal is
// multiplied with what lies under it, so that issuer and date stay readable.
func (w *writer) sealPicture(d *Document) {
	p := d.SealPicture
	width, height := p.WidthMM*mm, p.HeightMM*mm
	if p.empty() {
		w.begin(objAppearance).add("<</Type/XObject/Subtype/Form/BBox[0 0 0 0]/Resources<<>>").stream(nil)
		return
	}
	image := func(n, x, y int) *writer {
		w.begin(n).add("<</Type/XObject/Subtype/Image/Width ").int(x).add("/Height ").int(y)
		return w.add("/BitsPerComponent 8/Filter/FlateDecode/ColorSpace/")
	}
	x, y := p.pixelsX, p.pixelsY
	image(objMask, x, y).add("DeviceGray").stream(p.alpha)
	if p.oneInk {
		x, y = 1, 1 // the mask gives the picture its shape
	}
	image(objImage, x, y).add("DeviceRGB/SMask ").ref(objMask).stream(p.rgb)
	w.begin(objAppearance).add("<</Type/XObject/Subtype/Form/BBox[0 0 ").points(width, height)
	w.add("]/Resources<</XObject<</S ").ref(objImage).add(">>/ExtGState<</M<</BM/Multiply>>>>>>")
	w.stream(fmt.Appendf(nil, "q /M gs %.2f 0 0 %.2f 0 0 cm /S Do Q", width, height))
}

func (w *writer) catalog(l *layout, date, more string) {
	d := l.doc
	w.begin(objCatalog).add("<</Type/Catalog/Pages ").ref(objPages).add("/Lang(zh-CN)/ViewerPreferences<</DisplayDocTitle true>>").add(more)
	if l.unsealed {
		w.add(">>").end()
		return
	}
	w.add("/AcroForm<</SigFlags 3/Fields[").ref(objField).add("]>>/Perms<</DocMDP ").ref(objSignature)
	w.add(">>/PieceInfo<</" + keyApplication + "<</LastModified(").add(date).add(")/Private<</" + keyVersion + " ").int(privateVersion)
	w.add("/" + keySeed).hex(d.Seed)
	for _, e := range [...]struct{ key, value string }{{keyReceipt, d.Receipt}, {keyNumber, d.Number}, {keyQR, d.QR}, {keyUntil, untilText(d.ValidUntil)}} {
		w.add("/").add(e.key).hex([]byte(e.value))
	}
	w.add(">>>>>>>>").end()
}

// field writes the signature field, which is its own widget, on the page of the seal.
func (w *writer) field(l *layout, page int) {
	w.begin(objField).add("<</Type/Annot/Subtype/Widget/FT/Sig/T(Seal)")
	if l.doc.SealName != "" {
		w.add("/TU").text(l.doc.SealName)
	}
	w.add("/F 132/P ").ref(page).add("/Rect[").points(l.seal[:]...)
	w.add("]/V ").ref(objSignature).add("/AP<</N ").ref(objAppearance).add(">>>>").end()
}

// signature writes the signature dictionary without the signature's digits, and
// returns where in w.b its ByteRange belongs.
func (w *writer) signature(d *Document, date string, slot SignatureSlot) (rangeAt int) {
	w.begin(objSignature).add("<</Type/Sig/Filter/").add(slot.Filter).add("/SubFilter/").add(slot.SubFilter).add("/M(").add(date).add(")")
	for _, e := range [...]struct{ key, value string }{{"Name", d.Signer}, {"Reason", slot.Reason}, {"Location", slot.Location}} {
		if e.value != "" {
			w.add("/").add(e.key).text(e.value)
		}
	}
	if len(slot.Seal) > 0 {
		w.add("/" + string(keySeal)).hex(slot.Seal)
	}
	w.add("/Reference[<</Type/SigRef/TransformMethod/DocMDP/TransformParams<</Type/TransformParams/P 1/V/1.2>>>>]/ByteRange ")
	rangeAt = len(w.b)
	w.add("                                        ") // for "[0 a b c]" with up to eleven digits each
	w.add("/Contents <").blank(2 * slot.MaxBytes)
	w.add(">>>").end()
	return rangeAt
}

// finish writes the cross-reference table and the trailer.
func (w *writer) finish(d *Document) {
	start := w.at()
	id := sm3.Sum(append(append(make([]byte, 0, 256), d.Seed...), d.Number...))
	w.add("xref\n0 ").int(len(w.offsets)).add("\n0000000000 65535 f \n")
	for _, at := range w.offsets[1:] {
		if at == 0 {
			w.add("0000000000 00000 f \n")
			continue
		}
		w.add("0000000000 00000 n \n")
		for i := len(w.b) - len("0 00000 n \n"); at > 0; i, at = i-1, at/10 {
			w.b[i] = byte('0' + at%10)
		}
	}
	w.add("trailer\n<</Size ").int(len(w.offsets)).add("/Root ").ref(objCatalog).add("/Info ").ref(objInfo)
	w.add("/ID[").hex(id[:16]).hex(id[:16]).add("]>>\nstartxref\n").int(start).add("\n%%EOF\n")
}

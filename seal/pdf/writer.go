package pdf

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode/utf16"

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
	firstFree
)

// Names of the private dictionary, frozen: docs/protocol/certificate-pdf.md.
const (
	keyApplication = "Yizheng"
	keyVersion     = "V"
	keySeed        = "Seed"
	keyReceipt     = "Receipt"
	keyNumber      = "Number"
	keyQR          = "QR"
	privateVersion = 1
)

// writer appends numbered objects and remembers where they begin.
type writer struct {
	b       []byte
	offsets []int // by object number; 0 for none
	next    int
}

func (w *writer) printf(format string, args ...any) { w.b = fmt.Appendf(w.b, format, args...) }

func (w *writer) begin(n int) {
	for len(w.offsets) <= n {
		w.offsets = append(w.offsets, 0)
	}
	w.offsets[n] = len(w.b)
	w.b = strconv.AppendInt(w.b, int64(n), 10)
	w.b = append(w.b, " 0 obj\n"...)
}

func (w *writer) end() { w.b = append(w.b, "\nendobj\n"...) }

// object writes a whole object without a stream.
func (w *writer) object(n int, format string, args ...any) {
	w.begin(n)
	w.printf(format, args...)
	w.end()
}

// stream writes an object with a stream; dict holds the entries but /Length.
func (w *writer) stream(n int, dict string, data []byte) {
	w.begin(n)
	w.printf("<<%s/Length %d>>\nstream\n", dict, len(data))
	w.b = append(w.b, data...)
	w.b = append(w.b, "\nendstream"...)
	w.end()
}

func (w *writer) number() int {
	w.next++
	return w.next - 1
}

// write turns a finished layout into a file with an empty signature.
func write(l *layout, slot SignatureSlot) (*Draft, error) {
	size := 8192 + 2*slot.MaxBytes + len(l.doc.SealPicture.rgb) + len(l.doc.SealPicture.alpha)
	for _, p := range l.pages {
		size += len(p.b) + 256
	}
	w := &writer{b: make([]byte, 0, size), next: firstFree}
	w.b = append(w.b, "%PDF-1.7\n%\xE5\xBC\xA0\xE8\xAF\x81\n"...)
	fontRefs, err := w.fonts(l.subsets)
	if err != nil {
		return nil, err
	}
	w.resources(l, fontRefs)
	w.sealPicture(l.doc)
	firstPage := w.next
	id := sm3.New()
	id.Write(l.doc.Seed)
	id.Write([]byte(l.doc.Number))
	last := 0
	for _, p := range l.pages {
		id.Write(p.b)
		last = w.number()
		w.begin(last)
		annots := ""
		if last == firstPage+2*(len(l.pages)-1) {
			annots = fmt.Sprintf("/Annots[%d 0 R]", objField)
		}
		w.printf("<</Type/Page/Parent %d 0 R/MediaBox[0 0 %.2f %.2f]/Resources %d 0 R/Contents %d 0 R%s>>",
			objPages, pageWidth, pageHeight, objResources, w.number(), annots)
		w.end()
		w.stream(last+1, "", p.b)
	}
	w.begin(objPages)
	w.printf("<</Type/Pages/Count %d/Kids[", len(l.pages))
	for i := range l.pages {
		w.printf("%d 0 R ", firstPage+2*i)
	}
	w.printf("]>>")
	w.end()
	w.object(objInfo, "<</Title%s/Producer(Yizheng)/CreationDate(%s)>>", textString(oneLine(l.doc.Title)), pdfDate(l.doc.IssuedAt))
	w.catalog(l.doc)
	w.field(l, last)
	return w.finish(l.doc, slot, id.Sum(nil)[:16]), nil
}

func (w *writer) resources(l *layout, fontRefs string) {
	w.begin(objResources)
	w.printf("<</Font<<%s>>", fontRefs)
	if l.pattern != nil {
		w.printf("/Pattern<</W %d 0 R>>", objPattern)
	}
	w.printf(">>")
	w.end()
	if l.pattern != nil {
		m := patternMatrix()
		dict := fmt.Sprintf("/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 %.2f %.2f]/XStep %.2f/YStep %.2f/Matrix[%.4f %.4f %.4f %.4f %.0f %.0f]/Resources<</Font<<%s>>>>",
			l.patternStep[0], l.patternStep[1], l.patternStep[0], l.patternStep[1], m[0], m[1], m[2], m[3], m[4], m[5], fontRefs)
		w.stream(objPattern, dict, l.pattern.b)
	}
}

// sealPicture writes the picture and the appearance that shows it. The seal is
// multiplied with what lies under it, so that issuer and date stay readable.
func (w *writer) sealPicture(d *Document) {
	p := d.SealPicture
	width, height := p.WidthMM*mm, p.HeightMM*mm
	if p.empty() {
		w.stream(objAppearance, "/Type/XObject/Subtype/Form/BBox[0 0 0 0]/Resources<<>>", nil)
		return
	}
	image := fmt.Sprintf("/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 8/Filter/FlateDecode", p.pixelsX, p.pixelsY)
	w.stream(objImage, image+fmt.Sprintf("/ColorSpace/DeviceRGB/SMask %d 0 R", objMask), p.rgb)
	w.stream(objMask, image+"/ColorSpace/DeviceGray", p.alpha)
	dict := fmt.Sprintf("/Type/XObject/Subtype/Form/BBox[0 0 %.2f %.2f]/Resources<</XObject<</S %d 0 R>>/ExtGState<</M<</BM/Multiply>>>>>>",
		width, height, objImage)
	w.stream(objAppearance, dict, fmt.Appendf(nil, "q /M gs %.2f 0 0 %.2f 0 0 cm /S Do Q", width, height))
}

func (w *writer) catalog(d *Document) {
	w.begin(objCatalog)
	w.printf("<</Type/Catalog/Pages %d 0 R/Lang(zh-CN)/ViewerPreferences<</DisplayDocTitle true>>", objPages)
	w.printf("/AcroForm<</SigFlags 3/Fields[%d 0 R]>>/Perms<</DocMDP %d 0 R>>", objField, objSignature)
	w.printf("/PieceInfo<</%s<</LastModified(%s)/Private<</%s %d/%s<%x>/%s<%x>/%s<%x>/%s<%x>>>>>>>>>",
		keyApplication, pdfDate(d.IssuedAt), keyVersion, privateVersion, keySeed, d.Seed,
		keyReceipt, d.Receipt, keyNumber, d.Number, keyQR, d.QR)
	w.end()
}

// field writes the signature field, which is its own widget, on the last page.
func (w *writer) field(l *layout, page int) {
	alt := ""
	if l.doc.SealName != "" {
		alt = "/TU" + textString(l.doc.SealName)
	}
	w.object(objField, "<</Type/Annot/Subtype/Widget/FT/Sig/T(Seal)%s/F 132/P %d 0 R/Rect[%.2f %.2f %.2f %.2f]/V %d 0 R/AP<</N %d 0 R>>>>",
		alt, page, l.seal[0], l.seal[1], l.seal[2], l.seal[3], objSignature, objAppearance)
}

// finish writes the signature dictionary, cross-reference table and trailer.
func (w *writer) finish(d *Document, slot SignatureSlot, id []byte) *Draft {
	w.begin(objSignature)
	w.printf("<</Type/Sig/Filter/%s/SubFilter/%s/M(%s)", slot.Filter, slot.SubFilter, pdfDate(d.IssuedAt))
	for _, e := range []struct{ key, value string }{{"Name", d.Signer}, {"Reason", slot.Reason}, {"Location", slot.Location}} {
		if e.value != "" {
			w.printf("/%s%s", e.key, textString(e.value))
		}
	}
	w.printf("/Reference[<</Type/SigRef/TransformMethod/DocMDP/TransformParams<</Type/TransformParams/P 1/V/1.2>>>>]/ByteRange ")
	const room = 40 // "[0 a b c]" with up to eleven digits each
	rangeAt := len(w.b)
	for range room {
		w.b = append(w.b, ' ')
	}
	w.b = append(w.b, "/Contents "...)
	d0 := &Draft{from: len(w.b)}
	w.b = append(w.b, '<')
	for range 2 * slot.MaxBytes {
		w.b = append(w.b, '0')
	}
	w.b = append(w.b, '>')
	d0.to = len(w.b)
	w.b = append(w.b, ">>"...)
	w.end()
	start := len(w.b)
	w.printf("xref\n0 %d\n0000000000 65535 f \n", len(w.offsets))
	for _, at := range w.offsets[1:] {
		if at == 0 {
			w.b = append(w.b, "0000000000 00000 f \n"...)
		} else {
			w.printf("%010d 00000 n \n", at)
		}
	}
	w.printf("trailer\n<</Size %d/Root %d 0 R/Info %d 0 R/ID[<%x><%x>]>>\nstartxref\n%d\n%%%%EOF\n",
		len(w.offsets), objCatalog, objInfo, id, id, start)
	copy(w.b[rangeAt:], fmt.Sprintf("[0 %d %d %d]", d0.from, d0.to, len(w.b)-d0.to))
	d0.b = w.b
	return d0
}

// textString writes s as a PDF text string: ASCII or UTF-16BE, in hexadecimal.
func textString(s string) string {
	for _, r := range s {
		if r < 0x20 || r > 0x7E {
			return "<feff" + utf16Hex(s) + ">"
		}
	}
	return "<" + hex.EncodeToString([]byte(s)) + ">"
}

func utf16Hex(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u>>8), byte(u))
	}
	return hex.EncodeToString(b)
}

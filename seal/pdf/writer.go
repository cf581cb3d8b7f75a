package pdf

import (
	"bytes"
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

// writer appends numbered objects and remembers where they begin.
type writer struct {
	b       []byte
	before  int   // bytes of the file that stand before b
	offsets []int // by object number; 0 for none
	next    int
	scratch []byte // for font files
}

// at is the place in the file of what is written next.
func (w *writer) at() int { return w.before + len(w.b) }

func (w *writer) printf(format string, args ...any) { w.b = fmt.Appendf(w.b, format, args...) }

func (w *writer) begin(n int) {
	for len(w.offsets) <= n {
		w.offsets = append(w.offsets, 0)
	}
	w.offsets[n] = w.at()
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

// take returns what was written, in memory of its own.
func (w *writer) take() []byte {
	b := w.b
	if cap(b) > maxDesk { // it would not be kept
		w.b = nil
		return b
	}
	return bytes.Clone(b)
}

func (w *writer) number() int {
	w.next++
	return w.next - 1
}

// write turns a finished layout into a file with an empty signature.
func write(l *layout, slot SignatureSlot) (*Draft, error) {
	w := &l.desk.writer
	w.before, w.next = len(l.prefix.b), firstFree
	w.offsets = append(w.offsets, l.prefix.offsets...)
	fontRefs, err := w.fonts(l.subsets)
	if err != nil {
		return nil, err
	}
	w.resources(l, fontRefs)
	firstPage := w.next
	sealed := firstPage + 2*l.sealPage()
	for _, p := range l.pages {
		page := w.number()
		w.begin(page)
		annots := ""
		if !l.unsealed && page == sealed {
			annots = fmt.Sprintf("/Annots[%d 0 R]", objField)
		}
		w.printf("<</Type/Page/Parent %d 0 R/MediaBox[0 0 %.2f %.2f]/Resources %d 0 R/Contents %d 0 R%s>>",
			objPages, pageWidth, pageHeight, objResources, w.number(), annots)
		w.end()
		w.stream(page+1, "", p.b)
	}
	w.begin(objPages)
	w.printf("<</Type/Pages/Count %d/Kids[", len(l.pages))
	for i := range l.pages {
		w.printf("%d 0 R ", firstPage+2*i)
	}
	w.printf("]>>")
	w.end()
	w.object(objInfo, "<</Title%s/Producer(%s)/CreationDate(%s)>>", textString(oneLine(l.doc.Title)), producer, pdfDate(l.doc.IssuedAt))
	more := w.attachments(l.doc.Attachments)
	if slot.PDFA {
		more += w.archive(l.doc)
	}
	w.catalog(l, more)
	draft := &Draft{prefix: l.prefix, capacity: slot.MaxBytes}
	if l.unsealed {
		w.finish(l.doc)
		draft.b = w.take()
		return draft, nil
	}
	w.field(l, sealed)
	rangeAt := w.signature(l.doc, slot)
	draft.cut = len(w.b) - len(">>>\nendobj\n") // where the digits will stand
	w.finish(l.doc)
	draft.b = w.take()
	r := draft.ByteRange()
	copy(draft.b[rangeAt:], fmt.Sprintf("[0 %d %d %d]", r[1], r[2], r[3]))
	return draft, nil
}

func (w *writer) resources(l *layout, fontRefs string) {
	w.begin(objResources)
	w.printf("<</Font<<%s>>/XObject<</B %d 0 R", fontRefs, objFrame)
	if l.code != nil {
		w.printf("/Q %d 0 R", objCode)
	}
	w.printf(">>")
	if l.pattern != nil {
		w.printf("/Pattern<</W %d 0 R>>", objPattern)
	}
	w.printf(">>")
	w.end()
	if c := l.code; c != nil {
		w.stream(objCode, fmt.Sprintf("/Type/XObject/Subtype/Image/Width %d/Height %d/ImageMask true/BitsPerComponent 1/Decode[1 0]", c.size, c.size), c.bits)
	}
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
	const image = "/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 8/Filter/FlateDecode"
	x, y := p.pixelsX, p.pixelsY
	w.stream(objMask, fmt.Sprintf(image, x, y)+"/ColorSpace/DeviceGray", p.alpha)
	if p.oneInk {
		x, y = 1, 1 // the mask gives the picture its shape
	}
	w.stream(objImage, fmt.Sprintf(image, x, y)+fmt.Sprintf("/ColorSpace/DeviceRGB/SMask %d 0 R", objMask), p.rgb)
	dict := fmt.Sprintf("/Type/XObject/Subtype/Form/BBox[0 0 %.2f %.2f]/Resources<</XObject<</S %d 0 R>>/ExtGState<</M<</BM/Multiply>>>>>>",
		width, height, objImage)
	w.stream(objAppearance, dict, fmt.Appendf(nil, "q /M gs %.2f 0 0 %.2f 0 0 cm /S Do Q", width, height))
}

func (w *writer) catalog(l *layout, more string) {
	d := l.doc
	w.begin(objCatalog)
	w.printf("<</Type/Catalog/Pages %d 0 R/Lang(zh-CN)/ViewerPreferences<</DisplayDocTitle true>>%s", objPages, more)
	if l.unsealed {
		w.b = append(w.b, ">>"...)
		w.end()
		return
	}
	w.printf("/AcroForm<</SigFlags 3/Fields[%d 0 R]>>/Perms<</DocMDP %d 0 R>>", objField, objSignature)
	w.printf("/PieceInfo<</%s<</LastModified(%s)/Private<</%s %d", keyApplication, pdfDate(d.IssuedAt), keyVersion, privateVersion)
	for _, e := range []struct{ key, value string }{{keySeed, string(d.Seed)}, {keyReceipt, d.Receipt}, {keyNumber, d.Number}, {keyQR, d.QR}, {keyUntil, untilText(d.ValidUntil)}} {
		w.b = append(append(w.b, '/'), e.key...)
		w.b = append(hex.AppendEncode(append(w.b, '<'), []byte(e.value)), '>')
	}
	w.b = append(w.b, ">>>>>>>>"...)
	w.end()
}

// field writes the signature field, which is its own widget, on the page of the seal.
func (w *writer) field(l *layout, page int) {
	alt := ""
	if l.doc.SealName != "" {
		alt = "/TU" + textString(l.doc.SealName)
	}
	w.object(objField, "<</Type/Annot/Subtype/Widget/FT/Sig/T(Seal)%s/F 132/P %d 0 R/Rect[%.2f %.2f %.2f %.2f]/V %d 0 R/AP<</N %d 0 R>>>>",
		alt, page, l.seal[0], l.seal[1], l.seal[2], l.seal[3], objSignature, objAppearance)
}

// signature writes the signature dictionary without the signature's digits, and
// returns where in w.b its ByteRange belongs.
func (w *writer) signature(d *Document, slot SignatureSlot) (rangeAt int) {
	w.begin(objSignature)
	w.printf("<</Type/Sig/Filter/%s/SubFilter/%s/M(%s)", slot.Filter, slot.SubFilter, pdfDate(d.IssuedAt))
	for _, e := range []struct{ key, value string }{{"Name", d.Signer}, {"Reason", slot.Reason}, {"Location", slot.Location}} {
		if e.value != "" {
			w.printf("/%s%s", e.key, textString(e.value))
		}
	}
	if len(slot.Seal) > 0 {
		w.printf("/%s<%x>", keySeal, slot.Seal)
	}
	w.printf("/Reference[<</Type/SigRef/TransformMethod/DocMDP/TransformParams<</Type/TransformParams/P 1/V/1.2>>>>]/ByteRange ")
	const room = 40 // "[0 a b c]" with up to eleven digits each
	rangeAt = len(w.b)
	for range room {
		w.b = append(w.b, ' ')
	}
	w.b = append(w.b, "/Contents <>>>"...)
	w.before += 2 * slot.MaxBytes
	w.end()
	return rangeAt
}

// finish writes the cross-reference table and the trailer.
func (w *writer) finish(d *Document) {
	start := w.at()
	id := sm3.Sum(append(append(make([]byte, 0, 256), d.Seed...), d.Number...))
	w.printf("xref\n0 %d\n0000000000 65535 f \n", len(w.offsets))
	for _, at := range w.offsets[1:] {
		if at == 0 {
			w.b = append(w.b, "0000000000 00000 f \n"...)
		} else {
			w.b = append(w.b, "0000000000 00000 n \n"...)
			for i := len(w.b) - len("0 00000 n \n"); at > 0; i, at = i-1, at/10 {
				w.b[i] = byte('0' + at%10)
			}
		}
	}
	w.printf("trailer\n<</Size %d/Root %d 0 R/Info %d 0 R/ID[<%x><%x>]>>\nstartxref\n%d\n%%%%EOF\n",
		len(w.offsets), objCatalog, objInfo, id[:16], id[:16], start)
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

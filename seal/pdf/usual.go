package pdf

import "strings"

// What stands in nearly every file, as values that need no allocation when they are
// read once more. Neither table ever changes.
var (
	usualNames   = namesOf(usual)
	smallNumbers = wholeNumbers()
)

const usual = "A AcroForm Adobe.PPKLite AF Annot Annots AP ASCIIHexDecode B BaseFont BBox BitsPerComponent ByteRange " +
	"CapHeight Catalog CIDFontType2 CIDSystemInfo CIDToGIDMap ColorSpace Contents Count CreationDate Decode DecodeParms " +
	"Descent DescendantFonts DeviceGray DeviceRGB DisplayDocTitle DocMDP DW EF EmbeddedFile EmbeddedFiles Encoding " +
	"ExtGState F F0 F1 F2 F3 Fields Filespec Filter First Flags FlateDecode Font FontBBox FontDescriptor FontFile2 FontName " +
	"Form FT GM.sm2seal Gomain.GMPkiLite Height ID Identity Identity-H Image ImageMask Index Info ItalicAngle Ascent " +
	"Kids Lang LastModified Length Length1 M Matrix MediaBox Metadata ModDate N Name Names Number O ObjStm Ordering " +
	"OutputIntents P Page Pages PaintType Parent Pattern PatternType Perms PieceInfo Prev Private Producer Q QR Receipt " +
	"Reference Registry Resources Root S Sig SigFlags SigRef Size SMask StemV SubFilter Subtype Supplement T Title " +
	"TilingType ToUnicode TransformMethod TransformParams TU Type Type0 UF Until V ViewerPreferences W Widget Width " +
	"X XObject XRef XStep YStep Yizheng Yizheng.SESeal Rect Reason Seed adbe.pkcs7.detached BM Multiply"

func namesOf(list string) map[string]any {
	m := map[string]any{}
	for n := range strings.FieldsSeq(list) {
		m[n] = name(n)
	}
	return m
}

func wholeNumbers() (numbers [1024]any) {
	for n := range numbers {
		numbers[n] = float64(n)
	}
	return numbers
}

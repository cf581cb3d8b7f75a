package seal

import (
	"context"
	"errors"
	"fmt"

	"yizheng/seal/cms"
	"yizheng/seal/pdf"
	"yizheng/seal/ses"
	"yizheng/seal/tsp"
)

// damage is a class of what may be wrong with a sealed file, and what the reader is
// told: what it is, and what to do. Where it is stands between the two.
type damage struct {
	class    error
	what, do Text
}

// What to do.
var (
	askOriginal = Text{"请重新下载，或向出具单位索取原件", "download it again, or ask the issuer for the original"}
	askIssuer   = Text{"请勿采信，并向出具单位核实", "do not rely on it, and ask the issuer"}
	askReissue  = Text{"请联系出具单位重新签章", "ask the issuer to seal it again"}
)

// damages are all classes, the narrower before those that hold them.
var damages = []damage{
	{context.DeadlineExceeded, Text{"核验到时，文件没有读完", "the verification ran out of time before the file was read"}, Text{"请稍后再试", "try again later"}},
	{context.Canceled, Text{"核验被中止，文件没有读完", "the verification was stopped before the file was read"}, Text{"请稍后再试", "try again later"}},
	{pdf.ErrHeader, Text{"文件不是 PDF，开头没有 PDF 标志", "the file is no PDF, it does not begin as one"}, Text{"请选择收到的 PDF 原件，不要用截图、改名的文件或压缩包", "choose the PDF as it was received, not a screen shot, a renamed file or an archive"}},
	{pdf.ErrCut, Text{"文件不完整，没有结尾", "the file is not whole, its end is missing"}, askOriginal},
	{pdf.ErrBounds, Text{"文件超出可核验的规模（大小、对象数或嵌套层数）", "the file is beyond what can be verified (its size, or the number or depth of its objects)"}, Text{"请向出具单位索取原件；不要合并、嵌套多个文件", "ask the issuer for the original; do not merge or nest files"}},
	{pdf.ErrEncrypted, Text{"文件已加密，无法核验", "the file is encrypted and cannot be judged"}, Text{"请提供未加密的原件", "give the original without encryption"}},
	{pdf.ErrSyntax, Text{"文件结构损坏，不合 PDF 语法", "the file is damaged, it breaks the syntax of PDF"}, askOriginal},
	{pdf.ErrTables, Text{"文件的索引（交叉引用表）与内容对不上", "the file's cross-reference tables do not fit its objects"}, Text{"可能损坏或被改动；请勿采信，并向出具单位索取原件", "it may be damaged or changed: do not rely on it, and ask the issuer for the original"}},
	{pdf.ErrStream, Text{"文件内压缩的结构数据无法读取", "compressed structure inside the file cannot be read"}, askOriginal},
	{pdf.ErrField, Text{"文件的签名域没有指向这个签章", "no signature field of the form holds this signature"}, Text{"可能是拼接的文件；请勿采信，并向出具单位核实", "it may be put together of others: do not rely on it, and ask the issuer"}},
	{pdf.ErrStructure, Text{"文件结构损坏，无法读取", "the file is damaged and cannot be read"}, askOriginal},
	{pdf.ErrNoSignature, Text{"文件中没有电子签章", "the file has no signature"}, Text{"请提供已签章的原件；打印后再扫描的文件不带签章", "give the sealed original; a printed and scanned copy has no signature"}},
	{pdf.ErrManySignatures, Text{"文件中有多个签章，本核验只支持一个", "the file has more than one signature, which is not supported"}, Text{"请用能核验多个签章的工具，或向出具单位索取单签章的原件", "use a tool that verifies several, or ask the issuer for the original with one"}},
	{pdf.ErrRevision, Text{"文件在签章之后被追加或另存", "something was added to the file after it was signed"}, Text{"请提供签章后未经编辑、另存的原件", "give the original as it was signed, not edited or saved again"}},
	{pdf.ErrByteRange, Text{"签章没有覆盖整个文件（ByteRange 有误）", "the signature does not cover the whole file (faulty ByteRange)"}, askIssuer},
	{pdf.ErrContents, Text{"签章数据（Contents）不是规范的十六进制", "the signature (Contents) is not canonical hexadecimal"}, askOriginal},
	{pdf.ErrNoPrivate, Text{"文件中没有本系统写入的证明信息，或该信息有误", "the file has no certificate data of this system, or faulty ones"}, askOriginal},

	{ses.ErrEncoding, Text{"签章数据缺字段，或字段不是标准规定的 DER 编码", "a field of the seal data is missing or not the DER of its standard"}, askReissue},
	{ses.ErrElements, Text{"签章数据的元素个数不合标准", "the seal data have more or fewer elements than their standard"}, askReissue},
	{ses.ErrVersions, Text{"签章、印章和结构的版本不一致", "the versions of signature, seal and structure do not agree"}, askReissue},
	{ses.ErrPadding, Text{"签章数据之后有多余的字节", "there are bytes other than zero behind the seal data"}, askIssuer},
	{ses.ErrValue, Text{"签章数据中有标准不允许的值", "the seal data have a value that the standard does not allow"}, askReissue},
	{ses.ErrPicture, Text{"印章图像的格式或尺寸不合标准", "type or size of the seal's picture is not what the standard allows"}, askReissue},
	{ses.ErrCritical, Text{"签章数据含有不认识的关键扩展", "the seal data have a critical extension not known here"}, Text{"请用支持该扩展的工具核验，或联系出具单位", "use a tool that knows it, or ask the issuer"}},
	{ses.ErrFormat, Text{"签章数据不合标准", "the seal data break their standard"}, askReissue},

	{tsp.ErrImprint, Text{"时间戳不是这个签名的", "the time stamp is of another signature"}, askIssuer},
	{tsp.ErrUsage, Text{"时间戳不是由时间戳专用证书签发的", "the time stamp's certificate is not one for time stamps"}, askIssuer},
	{tsp.ErrFormat, Text{"时间戳数据不合 RFC 3161", "the time stamp breaks its standard, RFC 3161"}, askReissue},
	{cms.ErrDigest, Text{"签名消息中的杂凑与内容不一致", "the digest inside the signed message is not that of its content"}, askIssuer},
	{cms.ErrSignature, Text{"签名消息的签名值不正确，或算法与证书不符", "the signature of the signed message is wrong, or its algorithm does not go with the certificate"}, askIssuer},
	{cms.ErrCertificate, Text{"签名消息声明的证书与所带的不是同一张", "the signed message names another certificate than it brings"}, askIssuer},
	{cms.ErrFormat, Text{"签名消息（CMS）不合标准", "the signed message (CMS) breaks its standard"}, askReissue},
	{errBehind, Text{"签名消息之后有多余的字节", "there are bytes other than zero behind the signed message"}, askIssuer},
	{errOwnContent, Text{"签名消息自带内容，不是对本文件的签名", "the signed message holds a content of its own, it is not of this file"}, askIssuer},
	{errAnnounced, Text{"签名域声明的格式（SubFilter）与签章数据不符", "the field's SubFilter does not announce what its signature is"}, askReissue},
}

// Unreadable puts an error of reading a file, a seal or a token into words: what is
// wrong, where, and what to do. It tells nothing of what the file holds.
func Unreadable(err error) Text { return unreadable(err, Text{}) }

// unreadable is Unreadable with the place of what was read, for errors that have none
// of the file.
func unreadable(err error, within Text) Text {
	for _, d := range damages {
		if errors.Is(err, d.class) {
			return d.what.and(place(err, within)).and(Text{"；", "; "}).and(d.do)
		}
	}
	return Text{"文件无法读取", "the file cannot be read"}.and(place(err, within)).and(Text{"；", "; "}).and(askOriginal)
}

// place is where the damage is, "" when nobody knows.
func place(err error, within Text) Text {
	var file *pdf.Damage
	var field *ses.Fault
	switch {
	case errors.As(err, &file) && file.Byte >= 0:
		return say("（文件第 %d 字节处）", " (at byte %d of the file)", file.Byte)
	case errors.As(err, &file) && file.Object > 0:
		return say("（对象 %d）", " (object %d)", file.Object)
	case errors.As(err, &field) && within.ZH != "":
		return Text{"（" + within.ZH + "，字段 " + field.Field + "）", " (" + within.EN + ", field " + field.Field + ")"}
	case errors.As(err, &field):
		return say("（字段 %s）", " (field %s)", field.Field)
	case within.ZH != "":
		return Text{"（" + within.ZH + "）", " (" + within.EN + ")"}
	}
	return Text{}
}

// contents is where the signature stands in the file.
func contents(byteRange [4]int) Text {
	if byteRange[1] >= byteRange[2] {
		return Text{}
	}
	return Text{fmt.Sprintf("文件第 %d 至 %d 字节", byteRange[1], byteRange[2]), fmt.Sprintf("bytes %d to %d of the file", byteRange[1], byteRange[2])}
}

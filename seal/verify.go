package seal

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strconv"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/catalog/beijing"
	"yizheng/seal/pdf"
	"yizheng/seal/revocation"
)

// clockSkew is how far the clocks of signer and verifier, and the times inside one
// file, may lie apart.
const clockSkew = 5 * time.Minute

// verification is the state of one Verify.
type verification struct {
	ctx   context.Context // ends reading and calls for fresh revocation; it lives no longer than VerifyContext
	trust *Trust
	now   time.Time
	file  []byte
	r     Report

	field  pdf.Signature
	common int // bytes that the file has in common with others of its kind
	*container
	signer *smx509.Certificate // nil when it cannot be parsed
	maker  *smx509.Certificate // nil when it cannot be parsed, or there is no seal

	revoked revocation.Status // of the signer's certificate, after checkCertificate
	proven  time.Time         // when the document existed, as others than the signer tell; zero if nobody does
}

// Verify is VerifyContext without a limit of time, for a trust that uses no network.
func Verify(file []byte, trust *Trust, now time.Time) Report {
	return VerifyContext(context.Background(), file, trust, now)
}

// VerifyContext runs the eight checks on a sealed PDF with what trust holds, and
// with what its addresses answer before ctx ends. It never fails: whatever is wrong
// is in the report, a file too that ctx left no time to read. now is the time of verification; certificates and seals are
// judged at the time of signing. The order follows GM/T 0031-2014 6.2.3, but each
// check is carried out whatever the others found, as far as there is something to
// judge.
func VerifyContext(ctx context.Context, file []byte, trust *Trust, now time.Time) Report {
	return VerifyWitnessed(ctx, file, trust, now, time.Time{})
}

// VerifyWitnessed is VerifyContext for a document that is known to have existed at a
// time, as the record of its issue in an audit log shows that the caller trusts; zero
// means that nothing is known. It is for a document that is Unproven without.
func VerifyWitnessed(ctx context.Context, file []byte, trust *Trust, now, seen time.Time) Report {
	if trust == nil {
		trust = &Trust{}
	}
	v := &verification{ctx: ctx, trust: trust, now: now, file: file, r: newReport(), proven: seen}
	if v.read() {
		v.checkSignature()
		v.checkList()
		v.checkCertificate()
		v.checkStamp()
		v.checkTime()
		v.checkBackdating()
		v.checkSeal()
	}
	v.r.conclude()
	return v.r
}

// read runs checks 1 and 7, which need the file alone, and reports whether there is
// a structure to go on with.
func (v *verification) read() bool {
	f, err := pdf.Open(v.ctx, v.file)
	if err == nil {
		v.field, err = f.Signature()
		v.describeFile(f)
		v.common = f.Common()
		if errors.Is(err, pdf.ErrByteRange) && f.Encrypted() { // after signing, so nothing is where it was
			err = pdf.ErrEncrypted
		}
	}
	// With these there is a signature, but not over this whole file.
	incomplete := errors.Is(err, pdf.ErrByteRange) || errors.Is(err, pdf.ErrRevision)
	v.r.Unsealed = errors.Is(err, pdf.ErrNoSignature)
	switch {
	case v.ctx.Err() != nil && errors.Is(err, v.ctx.Err()), errors.Is(err, pdf.ErrEncrypted):
		v.r.set(CheckFormat, Unknown, Unreadable(err))
	case incomplete && len(v.field.Contents) == 0:
		v.r.set(CheckFormat, Fail, say("签章是空的；请联系出具单位重新签章", "the signature is empty; ask the issuer to seal it again"))
	case err != nil && !incomplete:
		v.r.set(CheckFormat, Fail, unreadable(err, contents(v.field.ByteRange)))
	}
	if err != nil && !incomplete || len(v.field.Contents) == 0 {
		return false
	}
	if isCMS(v.field.Contents) {
		v.container, err = openCMS(v.field, v.file)
	} else {
		v.container, err = v.trust.openSES(v.field.Contents)
	}
	if err != nil {
		v.r.set(CheckFormat, Fail, say("签名域中不是电子签章数据：", "the field holds no electronic seal signature: ").and(unreadable(err, contents(v.field.ByteRange))))
		return false
	}
	v.describe()
	if v.fault != nil {
		v.r.set(CheckFormat, Fail, unreadable(v.fault, contents(v.field.ByteRange)))
	} else {
		v.r.set(CheckFormat, OK, say("符合 %s", "conforms to %s", v.standard))
	}
	v.checkDigest(incomplete)
	return true
}

// checkDigest compares the digest, and says what the signature does not cover.
func (v *verification) checkDigest(incomplete bool) {
	set := func(r Result, t Text) { v.r.set(CheckDigest, r, t) }
	sum, err := v.documentDigest()
	same := err == nil && bytes.Equal(sum, v.digest)
	if v.digest == nil { // then the signature value itself is over the document
		same = err == nil && v.signer != nil && v.signedBy(v.signer) == nil
	}
	later, beyond := v.field.Later, v.field.ByteRange[2]+v.field.ByteRange[3]-len(v.file)
	switch {
	case incomplete && same && later.Revisions > 0:
		set(Fail, say("签章只覆盖较早的版本，签章后文件被追加：版本 %d 个、%d 字节、替换对象 %d 个、新增对象 %d 个；被签的版本本身未被改动",
			"the file was changed later: the signature covers an earlier revision; behind it are %d more, %d bytes, with %d objects replaced and %d added; the signed revision itself is unchanged",
			later.Revisions, later.Bytes, later.Replaced, later.Added).and(v.certified()))
	case incomplete && beyond > 0:
		set(Fail, say("文件比签章所覆盖的少 %d 字节，可能没有下载完整；请重新下载，或向出具单位索取原件", "the file is %d bytes shorter than what was signed and may not be whole; download it again, or ask the issuer for the original", beyond))
	case incomplete:
		set(Fail, say("签章没有覆盖整个文件（ByteRange %v，文件 %d 字节）；", "the signature does not cover the whole file (ByteRange %v, %d bytes); ", v.field.ByteRange, len(v.file)).and(askIssuer))
	case err != nil:
		set(Fail, say("无法计算原文杂凑：", "the document's digest cannot be computed: ").and(Unreadable(err)))
	case !same:
		set(Fail, say("原文杂凑与签章中的不一致，文件被改动", "the document's SM3 digest is not the signed one: the file was changed"))
	case !v.coversRange():
		set(Fail, say("签章声明的保护范围与文件的 ByteRange 不一致", "the range that the signer says is protected is not the file's ByteRange"))
	default:
		set(OK, say("SM3 一致，签章覆盖整个文件，其后无改动", "the SM3 digest agrees, the signature covers the whole file, nothing was added later"))
	}
}

// documentDigest is SM3 over what the ByteRange covers.
func (v *verification) documentDigest() ([]byte, error) {
	before, after, err := v.field.Covered(v.file)
	if err != nil {
		return nil, err
	}
	n := min(v.common, len(before))
	return v.trust.kinds.Sum(before[:n], before[n:], after)
}

// certified says what the file's certification (DocMDP) allows later revisions to do.
func (v *verification) certified() Text {
	switch v.field.DocMDP {
	case 1:
		return say("；文件的认证（DocMDP）不允许任何改动", "; its certification (DocMDP) allows no change")
	case 2, 3:
		return say("；文件的认证（DocMDP %d）只允许填表或批注，本核验不作区分", "; its certification (DocMDP %d) allows filling in or annotating only, which is not told apart here", v.field.DocMDP)
	}
	return Text{}
}

// statedRange is a propertyInfo that repeats the file's ByteRange; other writers put
// other things there.
var statedRange = regexp.MustCompile(`/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]`)

func (v *verification) coversRange() bool {
	if v.covers == propertyInfo(v.field.ByteRange) { // as documents made here say it
		return true
	}
	for i, stated := range statedRange.FindStringSubmatch(v.covers) {
		if i > 0 && stated != strconv.Itoa(v.field.ByteRange[i-1]) {
			return false
		}
	}
	return true
}

// describe fills the report's fields and parses the certificates.
func (v *verification) describe() {
	v.r.Standard, v.r.SigningTime = v.standard, v.at
	if v.r.Container = v.field.SubFilter; v.field.Filter != "" {
		v.r.Container = v.field.Filter + " / " + v.field.SubFilter
	}
	if s := v.seal; s != nil {
		v.r.SealName, v.r.ESID = s.Info.Property.Name, s.Info.ESID
		if v.maker = v.trust.parse(s.MakerCert); v.maker != nil {
			v.r.Maker, _ = subject(v.maker)
		}
	}
	if v.signer = v.trust.parse(v.cert); v.signer != nil {
		v.r.Signer, v.r.SignerCode = subject(v.signer)
		v.r.SignerSN = serial(v.signer)
	}
}

// describeFile fills what a document made here says of itself.
func (v *verification) describeFile(f *pdf.File) {
	p, err := f.Private()
	if err != nil {
		return
	}
	v.r.Number, v.r.Receipt, v.r.seed, v.r.ValidUntil = p.Number, p.Receipt, p.Seed, p.Until
	if until, err := time.ParseInLocation(time.DateOnly, p.Until, beijing.Zone()); err == nil {
		v.r.Expired = !v.now.Before(until.AddDate(0, 0, 1))
	}
}

// parse returns the certificate, nil when it is none with an SM2 key.
func (t *Trust) parse(der []byte) *smx509.Certificate {
	if cert, ok := t.certs.find(der); ok {
		return cert
	}
	cert, err := parseCert(der)
	if err != nil {
		return nil
	}
	t.certs.keep(der, cert)
	return cert
}

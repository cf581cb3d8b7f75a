package seal

import (
	"bytes"
	"errors"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/pdf"
	"yizheng/seal/revocation"
	"yizheng/seal/ses"
)

// clockSkew is how far the clocks of signer and verifier, and the times inside one
// file, may lie apart.
const clockSkew = 5 * time.Minute

// verification is the state of one Verify.
type verification struct {
	trust *Trust
	now   time.Time
	file  []byte
	r     Report

	field  pdf.Signature
	sig    *ses.Signature
	signer *smx509.Certificate // nil when it cannot be parsed
	maker  *smx509.Certificate // nil when it cannot be parsed
	at     time.Time           // signing time, zero when the file does not tell

	revoked revocation.Status // of the signer's certificate, after checkCertificate
}

// Verify runs the eight checks on a sealed PDF with what trust holds, offline. It
// never fails: whatever is wrong is in the report. now is the time of verification;
// certificates and seals are judged at the time of signing.
func Verify(file []byte, trust *Trust, now time.Time) Report {
	if trust == nil {
		trust = &Trust{}
	}
	v := &verification{trust: trust, now: now, file: file, r: newReport()}
	if v.read() {
		v.describe()
		v.checkSignature()
		v.checkList()
		v.checkSeal()
		v.checkCertificate()
		v.checkTime()
		v.checkStamp()
	}
	v.r.conclude()
	return v.r
}

// read runs checks 1 and 7, which need the file alone, and reports whether there is
// a structure to go on with.
func (v *verification) read() bool {
	field, err := pdf.ReadSignature(v.file)
	broken := errors.Is(err, pdf.ErrByteRange) || errors.Is(err, pdf.ErrRevision)
	switch {
	case broken:
		v.r.set(CheckDigest, Fail, say("签章没有覆盖整个文件，或签章后文件被改动（%v）", "the signature does not cover the whole file, or the file was changed later (%v)", err))
	case errors.Is(err, pdf.ErrNoSignature):
		v.r.set(CheckFormat, Fail, say("文件中没有电子签章", "the file has no signature"))
	case errors.Is(err, pdf.ErrManySignatures):
		v.r.set(CheckFormat, Fail, say("文件中有多个签章，本核验只支持一个", "the file has more than one signature, which is not supported"))
	case err != nil:
		v.r.set(CheckFormat, Fail, say("签章无法读取（%v）", "the signature cannot be read (%v)", err))
	}
	if err != nil && !broken || len(field.Contents) == 0 {
		return false
	}
	v.field = field
	if v.sig, err = ses.ParseSignature(field.Contents); err != nil {
		v.r.set(CheckFormat, Fail, say("%s 容器中不是电子签章数据（%v）", "the %s container holds no electronic seal signature (%v)", field.SubFilter, err))
		return false
	}
	if err := v.sig.CheckFormat(); err != nil {
		v.r.set(CheckFormat, Fail, say("签章数据不合规范（%v）", "the seal data breaks its standard (%v)", err))
	} else {
		v.r.set(CheckFormat, OK, say("符合 %s", "conforms to %s", v.sig.Version.Standard()))
	}
	if !broken {
		v.checkDigest()
	}
	return true
}

func (v *verification) checkDigest() {
	sum, err := pdf.Digest(v.file, v.field.ByteRange)
	switch {
	case err != nil:
		v.r.set(CheckDigest, Fail, say("无法计算原文杂凑（%v）", "the document's digest cannot be computed (%v)", err))
	case !bytes.Equal(sum, v.sig.TBS.DataHash):
		v.r.set(CheckDigest, Fail, say("原文杂凑与签章中的不一致，文件被改动", "the document's SM3 digest is not the signed one: the file was changed"))
	default:
		v.r.set(CheckDigest, OK, say("SM3 一致，签章覆盖整个文件，其后无改动", "the SM3 digest agrees, the signature covers the whole file, nothing was added later"))
	}
}

// describe fills the report's fields and parses the certificates.
func (v *verification) describe() {
	s := v.sig.Seal
	v.r.Standard = v.sig.Version.Standard()
	v.r.SealName, v.r.ESID = s.Info.Property.Name, s.Info.ESID
	if c, err := parseCert(s.MakerCert); err == nil {
		v.maker = c
		v.r.Maker, _ = subject(c)
	}
	if c, err := parseCert(v.sig.Cert); err == nil {
		v.signer = c
		v.r.Signer, v.r.SignerCode = subject(c)
		v.r.SignerSN = serial(c)
	}
	if at, ok := v.sig.TBS.SigningTime(); ok {
		v.at, v.r.SigningTime = at, at
	}
	if p, err := pdf.ReadPrivate(v.file); err == nil {
		v.r.Number, v.r.Receipt, v.r.seed = p.Number, p.Receipt, p.Seed
	}
}

package seal

import (
	"crypto/ecdsa"
	"errors"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/catalog/beijing"
	"yizheng/seal/revocation"
	"yizheng/seal/ses"
	"yizheng/seal/tsp"
)

// The checks that need more than the file; the first and the seventh are in verify.go.

// checkSignature: the holder's signature over the raw bytes it covers, the maker's
// over the raw seal information, both SM2 with SM3.
func (v *verification) checkSignature() {
	set := func(r Result, t Text) { v.r.set(CheckSignature, r, t) }
	if v.signer == nil {
		set(Fail, say("签章者证书无法解析或不是 SM2 证书", "the signer's certificate cannot be parsed or is not SM2"))
		return
	}
	switch err := v.signedBy(v.signer); {
	case errors.Is(err, errAlgorithm):
		set(Fail, say("签章签名算法不是基于 SM3 的 SM2", "the signature's algorithm is not SM2 with SM3"))
		return
	case err != nil:
		set(Fail, say("签章者的签名值不正确", "the signer's signature is wrong"))
		return
	case v.seal == nil:
		set(OK, say("签名者的 SM2 签名正确", "the SM2 signature of the signer is right"))
		return
	case v.maker == nil:
		set(Fail, say("制章者证书无法解析或不是 SM2 证书", "the maker's certificate cannot be parsed or is not SM2"))
		return
	}
	switch err := v.trust.makerSigned(v.seal, v.maker); {
	case errors.Is(err, errAlgorithm):
		set(Fail, say("制章签名算法不是基于 SM3 的 SM2", "the algorithm of the maker's signature is not SM2 with SM3"))
	case err != nil:
		set(Fail, say("制章者对印章的签名值不正确", "the maker's signature of the seal is wrong"))
	default:
		set(OK, say("签章者和制章者的 SM2 签名均正确", "the SM2 signatures of signer and maker are right"))
	}
}

// makerSigned checks the maker's signature of a seal. That of a pinned maker is
// remembered when it is right.
func (t *Trust) makerSigned(s *ses.Seal, maker *smx509.Certificate) error {
	if known, ok := t.seals.find(s.Raw); ok && known == maker {
		return nil
	}
	switch {
	case !s.Algorithm.Equal(ses.OIDSM2WithSM3):
		return errAlgorithm
	case !verifySM2(maker, s.Signed, s.Signature):
		return errValue
	}
	if t.makers[string(maker.Raw)] {
		t.seals.keep(s.Raw, maker)
	}
	return nil
}

// sealSigned checks the signature of who used a seal. Up to the end of the seal it
// is over the same bytes as others of that seal, and SM3 has been there before.
func (t *Trust) sealSigned(cert *smx509.Certificate, s *ses.Signature) bool {
	public, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || !sm2.IsSM2PublicKey(public) {
		return false
	}
	beginning, rest := splitBehind(s.Seal.Raw, s.RawTBS)
	sum, err := t.begun.Digest(public, beginning, rest)
	return err == nil && sm2.VerifyASN1(public, sum, s.Signature)
}

// noSeal is the reason of the checks that judge a seal when there is none.
func noSeal() Text {
	return say("签名中没有电子印章，只是数字签名", "there is no electronic seal in the signature, it is a digital signature only")
}

// checkList: the signing certificate is one the seal names.
func (v *verification) checkList() {
	if v.seal == nil {
		v.r.set(CheckList, Absent, noSeal())
		return
	}
	in, err := inList(v.seal, v.cert)
	switch {
	case err != nil:
		v.r.set(CheckList, Unknown, say("印章证书列表用了不支持的杂凑算法", "the seal's list uses a digest algorithm not known here"))
	case !in:
		v.r.set(CheckList, Fail, say("签章所用证书不在印章的证书列表中", "the signing certificate is not in the seal's list"))
	default:
		v.r.set(CheckList, OK, say("签章所用证书在印章的证书列表中", "the signing certificate is in the seal's list"))
	}
}

// checkSeal: validity period and state at the time of signing; the maker's
// certificate at the time the seal was made.
func (v *verification) checkSeal() {
	set := func(r Result, t Text) { v.r.set(CheckSeal, r, t) }
	if v.seal == nil {
		set(Absent, noSeal())
		return
	}
	p := v.seal.Info.Property
	switch {
	case v.at.IsZero():
		set(Unknown, say("签章时间未知，无法判断", "the signing time is unknown"))
		return
	case v.at.Before(p.ValidStart), v.at.After(p.ValidEnd):
		set(Fail, say("签章时印章不在有效期（%s 至 %s）内", "the seal was not within its validity (%s to %s) when used", day(p.ValidStart), day(p.ValidEnd)))
		return
	case v.maker == nil:
		set(Fail, say("制章者证书无法解析", "the maker's certificate cannot be parsed"))
		return
	case v.signer != nil && oneKey(v.maker, v.signer):
		set(Fail, say("印章由签章者自己制作", "the signer made the seal itself"))
		return
	}
	issuer, err := v.trust.maker(v.maker, p.Created)
	if err != nil {
		zh, en := chainFault(err)
		set(Fail, Text{"制章者证书在制章时不可信：" + zh, "the maker's certificate was not trustworthy when the seal was made: " + en})
		return
	}
	switch s := v.revocation(OfMaker, v.maker, issuer, p.Created); {
	case s.State == revocation.Revoked:
		set(Fail, say("制章者证书在制章前已被吊销（%s）", "the maker's certificate had been revoked (%s) before the seal was made", day(s.Since)))
		return
	case s.State == revocation.Unknown && !s.Tolerated:
		zh, en := s.Text()
		set(Unknown, Text{"制章者证书：" + zh, "the maker's certificate: " + en})
		return
	default: // whoever has the maker's key makes seals with any createDate
		end := certificateEnding(s, "制章者证书", "the maker's certificate")
		if result := v.judge(end); result != OK {
			set(result, v.onlyClaimed(end))
			return
		}
	}
	if s := v.seal; s.TimeStamp != nil {
		if result, reason := v.sealStamp(s); result != OK {
			set(result, Text{"印章自身的时间戳：" + reason.ZH, "the seal's own time stamp: " + reason.EN})
			return
		}
	}
	v.checkState()
}

// sealStamp judges the time stamp of a seal of GM/T 0031-2025, which is over the
// maker's signature. It says when the seal was there at the latest, which may be some
// time after createDate, but not after the seal was used.
func (v *verification) sealStamp(s *ses.Seal) (Result, Text) {
	token, err := tsp.Parse(s.TimeStamp)
	if err != nil {
		return Fail, Unreadable(err)
	}
	when := token.GenTime
	result, reason, rev := v.trust.checkToken(v.ctx, token, s.Signature, when, v.now)
	v.r.found(OfSealStamp, rev)
	switch {
	case result != OK:
		return result, reason
	case when.Before(s.Info.Property.Created.Add(-clockSkew)):
		return Fail, say("其时间（%s）早于制章时间", "its time (%s) is before the seal was made", moment(when))
	case when.After(v.at.Add(clockSkew)):
		return Fail, say("其时间（%s）晚于签章时间", "its time (%s) is after the seal was used", moment(when))
	}
	return OK, Text{}
}

// checkState looks the seal up in the status list.
func (v *verification) checkState() {
	list := v.trust.statusOf(v.maker)
	if list == nil {
		v.r.set(CheckSeal, OK, say("印章在有效期内；离线核验，没有该制章者的印章状态表，未查停用和撤销", "within its validity; offline without a status list of its maker: suspension and revocation were not looked up"))
		return
	}
	state, since := list.At(v.r.ESID, v.at)
	later := list.ending(v.r.ESID, v.now)
	switch {
	case state == Revoked:
		v.r.set(CheckSeal, Fail, say("印章自 %s 起已撤销", "the seal has been revoked since %s", moment(since)))
	case state == Suspended:
		v.r.set(CheckSeal, Fail, say("签章时印章处于停用状态（自 %s 起）", "the seal was suspended (since %s) when used", moment(since)))
	case !later.since.IsZero(): // check 6 says what that means
		v.r.set(CheckSeal, OK, say("签章时印章有效；此后", "valid when used; later ").and(later.what))
	case list.Next.Before(v.now):
		v.r.set(CheckSeal, OK, say("印章在有效期内且未停用、未撤销；状态表为 %s 的，已过更新时间", "within its validity, neither suspended nor revoked; the status list of %s is out of date", moment(list.Issued)))
	default:
		v.r.set(CheckSeal, OK, say("印章在有效期内且未停用、未撤销（状态表 %s）", "within its validity, neither suspended nor revoked (status list of %s)", moment(list.Issued)))
	}
}

// checkCertificate: chain, key usage, and expiry and revocation at signing time.
func (v *verification) checkCertificate() {
	set := func(r Result, t Text) { v.r.set(CheckCertificate, r, t) }
	switch {
	case v.signer == nil:
		set(Fail, say("签章者证书无法解析", "the signer's certificate cannot be parsed"))
		return
	case v.at.IsZero():
		set(Unknown, say("签章时间未知，无法判断", "the signing time is unknown"))
		return
	}
	issuer, err := v.trust.chain(v.signer, v.at, forSigner)
	if err != nil {
		zh, en := chainFault(err)
		set(Fail, Text{zh, en})
		return
	}
	expired := v.now.After(v.signer.NotAfter)
	v.revoked = v.revocation(OfSigner, v.signer, issuer, v.at)
	zh, en := v.revoked.Text()
	switch {
	case v.revoked.State == revocation.Revoked:
		set(Fail, Text{"签章时" + zh, "when used, " + en})
	case v.revoked.State == revocation.Unknown && !v.revoked.Tolerated:
		set(Unknown, Text{zh, en})
	default:
		set(OK, Text{"证书链可信、用途为数字签名；" + zh, "chain trusted, may sign; " + en})
	}
	if c := &v.r.Checks[CheckCertificate-1]; expired && c.Result == OK {
		c.Reason.ZH += "；证书现已过期，签章时有效"
		c.Reason.EN += "; expired by now, valid when used"
	}
}

// checkTime: within the certificate's and the seal's validity, before revocation,
// not in the future, and consistent with the PDF's own /M.
func (v *verification) checkTime() {
	set := func(r Result, t Text) { v.r.set(CheckTime, r, t) }
	switch {
	case v.at.IsZero():
		set(Unknown, say("签章数据中的时间无法识别", "the time inside the signature is of no known form"))
	case v.at.After(v.now.Add(clockSkew)):
		set(Fail, say("签章时间（%s）晚于现在", "the signing time (%s) is in the future", moment(v.at)))
	case v.seal != nil && (v.at.Before(v.seal.Info.Property.ValidStart) || v.at.After(v.seal.Info.Property.ValidEnd)):
		set(Fail, say("签章时间（%s）不在印章有效期内", "the signing time (%s) is outside the seal's validity", moment(v.at)))
	case v.signer == nil || v.at.Before(v.signer.NotBefore) || v.at.After(v.signer.NotAfter):
		set(Fail, say("签章时间（%s）不在签章者证书有效期内", "the signing time (%s) is outside the certificate's validity", moment(v.at)))
	case v.outOfUse():
		set(Fail, say("签章时间（%s）晚于证书或印章的吊销、停用时间", "the signing time (%s) is after the revocation or suspension of certificate or seal", moment(v.at)))
	case !v.field.M.IsZero() && v.field.M.Sub(v.at).Abs() > clockSkew:
		set(Fail, say("签章时间（%s）与文件中的签名时间 /M 相差过大", "the signing time (%s) is too far from the file's own /M", moment(v.at)))
	default:
		set(OK, say("签章时间 %s 合理", "the signing time %s is plausible", moment(v.at)))
	}
}

// outOfUse reports whether certificate or seal were revoked or suspended when used.
func (v *verification) outOfUse() bool {
	if l := v.trust.statusOf(v.maker); l != nil {
		if state, _ := l.At(v.r.ESID, v.at); state != Issued {
			return true
		}
	}
	return v.revoked.State == revocation.Revoked
}

func (v *verification) checkStamp() {
	result, reason, stamped, rev := v.trust.judgeStamp(v.ctx, v.stamp, v.value, v.at, v.now)
	v.r.found(OfStamp, rev)
	v.r.set(CheckStamp, result, reason)
	v.r.StampedAt = stamped
	if !stamped.IsZero() && (v.proven.IsZero() || stamped.Before(v.proven)) {
		v.proven = stamped
	}
}

// chainFaults are the rules of RFC 5280 that a certificate, or one above it, may break.
var chainFaults = map[smx509.InvalidReason]Text{
	smx509.Expired:                       {"证书（或其上级证书）当时不在有效期内", "the certificate (or one above it) was not within its validity"},
	smx509.NotAuthorizedToSign:           {"上级证书无权签发证书", "a certificate above it may not issue certificates"},
	smx509.CANotAuthorizedForThisName:    {"上级证书不得签发此名称的证书", "a certificate above it may not issue for this name"},
	smx509.TooManyIntermediates:          {"证书链的层数超出上级证书的限制", "the chain is longer than a certificate above it allows"},
	smx509.IncompatibleUsage:             {"证书的用途不符", "the certificate is for another usage"},
	smx509.NameMismatch:                  {"证书的签发者与上级证书的名称不一致", "the issuer named by the certificate is not the one above it"},
	smx509.UnconstrainedName:             {"证书含有上级证书未许可的名称种类", "the certificate has a kind of name that one above it does not permit"},
	smx509.TooManyConstraints:            {"证书的名称限制过多，不予判断", "the certificate has too many name constraints to be judged"},
	smx509.NoValidChains:                 {"没有一条证书链成立", "no chain of certificates holds"},
	smx509.CANotAuthorizedForExtKeyUsage: {"上级证书不得签发此种用途的证书", "a certificate above it may not issue for this usage"},
}

// chainFault puts a chain's error into words.
func chainFault(err error) (zh, en string) {
	var invalid smx509.CertificateInvalidError
	var unknown smx509.UnknownAuthorityError
	var critical smx509.UnhandledCriticalExtension
	switch {
	case errors.Is(err, errMaker):
		return "不是受信任制章者的证书", "it is not the certificate of a trusted seal maker"
	case errors.Is(err, errUsage):
		return "证书用途不是数字签名", "the certificate's key usage does not allow digital signatures"
	case errors.As(err, &unknown):
		return "证书不是由受信任的机构签发", "the certificate was not issued by a trusted authority"
	case errors.As(err, &critical):
		return "证书含有不认识的关键扩展", "the certificate has a critical extension not known here"
	case errors.As(err, &invalid) && chainFaults[invalid.Reason].ZH != "":
		return chainFaults[invalid.Reason].In("zh"), chainFaults[invalid.Reason].In("en")
	}
	return "证书链不成立；请向签章单位核实其证书", "the certificate chain does not hold; ask the signer about its certificate"
}

func day(t time.Time) string    { return t.In(beijing.Zone()).Format("2006-01-02") }
func moment(t time.Time) string { return t.In(beijing.Zone()).Format("2006-01-02 15:04:05") }

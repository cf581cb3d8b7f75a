package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/pdf"
	"yizheng/seal/revocation"
	"yizheng/seal/ses"
)

func TestVerify_PassesWhatSignSealed(t *testing.T) {
	c := newCity(t)
	r := Verify(c.sealed(), c.trust(), now)
	if !r.Overall {
		t.Fatalf("not verified: %+v", r.Checks)
	}
	for _, k := range r.Checks {
		want := OK
		if k.No == CheckStamp {
			want = Absent
		}
		if k.Result != want || k.Reason.ZH == "" || k.Reason.EN == "" || k.Name.ZH == "" {
			t.Errorf("check %d: %+v", k.No, k)
		}
	}
	if r.SealName != sealName || r.ESID != esid || r.Signer != "云州市民政局" || r.SignerCode != usccCode ||
		!r.SigningTime.Equal(signed) || r.Number != "6901002026030100000017-X" || r.Receipt != "yizheng.test/audit 17" ||
		r.Standard != "GB/T 38540-2020" || r.Maker != "云州市印章制作中心" || r.SignerSN != serial(c.holder.Cert) {
		t.Errorf("fields: %+v", r)
	}
	if !bytes.Equal(r.Seed(), bytes.Repeat([]byte{7}, pdf.SeedSize)) {
		t.Errorf("seed %x", r.Seed())
	}
}

// TestVerify_NamesTheFailedCheck has every check fail at least once, each named.
func TestVerify_NamesTheFailedCheck(t *testing.T) {
	c := newCity(t)
	stranger, err := MakeRoot(Subject{Name: "另一个根"}, years)
	c.ok(err)
	strangersHolder, err := MakeHolder(stranger, Subject{Name: "云州市民政局"}, years)
	c.ok(err)
	strangersMaker, err := MakeMaker(stranger, Subject{Name: "云州市印章制作中心"}, years)
	c.ok(err)
	colleague, err := MakeHolder(c.root, Subject{Name: "云州市公安局"}, years)
	c.ok(err)
	colleaguesOther, err := MakeHolder(c.root, Subject{Name: "云州市公安局"}, years)
	c.ok(err)
	unchained, err := MakeMaker(stranger, Subject{Name: "云州市印章制作中心"}, years)
	c.ok(err)
	c.write("makers/unchained.crt", unchained.CertPEM())
	noUsage, err := makeEnd(c.root, Subject{Name: "只能加密"}, years, smx509.KeyUsageKeyEncipherment)
	c.ok(err)
	short, err := MakeHolder(c.root, Subject{Name: "云州市民政局"}, Validity{born, signed.Add(-time.Hour)})
	c.ok(err)
	holding := func(h Credential) []byte { return c.otherSeal(func(o *SealOrder) { o.HolderCert = h.Cert }) }
	for _, tt := range []struct {
		name  string
		file  []byte
		check int
		want  Result
		says  string
	}{
		{"not a PDF", []byte("no"), CheckFormat, Fail, "no PDF"},
		{"no more of a PDF than its header", []byte("%PDF-1.7 no"), CheckFormat, Fail, "its end is missing"},
		{"unknown critical extension", c.forge(forgery{seal: c.criticalSeal()}), CheckFormat, Fail, "critical extension"},
		{"no seal data in the container", c.garbage(), CheckFormat, Fail, "no electronic seal"},
		{"signed bytes changed", c.forge(forgery{tbsEdit: func(b []byte) { b[len(b)-3] ^= 1 }}), CheckSignature, Fail, "signer's signature"},
		{"signature value changed", c.forge(forgery{sigEdit: func(b []byte) { b[len(b)-1] ^= 1 }}), CheckSignature, Fail, "signer's signature"},
		{"seal changed after it was made", c.forge(forgery{seal: bytes.Replace(c.seal, []byte("业务"), []byte("财务"), 1)}), CheckSignature, Fail, "maker's signature"},
		{"signed by another department", c.forge(forgery{signer: colleague}), CheckList, Fail, "not in the seal's list"},
		{"seal expired", c.forge(forgery{seal: c.otherSeal(func(o *SealOrder) { o.Validity.Until = signed.Add(-time.Hour) })}), CheckSeal, Fail, "not within its validity"},
		{"seal of an unknown maker", c.forge(forgery{seal: c.ok2(MakeSeal(strangersMaker, c.order()))}), CheckSeal, Fail, "not the certificate of a trusted seal maker"},
		{"seal made by an authority itself", c.forge(forgery{seal: c.ok2(MakeSeal(c.root, c.order()))}), CheckSeal, Fail, "not the certificate of a trusted seal maker"},
		{"seal of a pinned maker without a chain", c.forge(forgery{seal: c.ok2(MakeSeal(unchained, c.order()))}), CheckSeal, Fail, "not issued by a trusted"},
		{"seal a department made itself in another's name", c.forge(forgery{signer: colleague, seal: c.madeBy(colleague, colleague)}), CheckSeal, Fail, "the signer made the seal itself"},
		{"seal a department made for another certificate of its own", c.forge(forgery{signer: colleaguesOther, seal: c.madeBy(colleague, colleaguesOther)}), CheckSeal, Fail, "not the certificate of a trusted seal maker"},
		{"seal a trusted maker made for itself", c.forge(forgery{signer: c.maker, seal: c.madeBy(c.maker, c.maker)}), CheckSeal, Fail, "the signer made the seal itself"},
		{"certificate of an unknown authority", c.forge(forgery{signer: strangersHolder, seal: holding(strangersHolder)}), CheckCertificate, Fail, "not issued by a trusted"},
		{"certificate that may not sign", c.forge(forgery{signer: noUsage, seal: holding(noUsage)}), CheckCertificate, Fail, "key usage"},
		{"certificate expired when used", c.forge(forgery{signer: short, seal: holding(short)}), CheckCertificate, Fail, "not within its validity"},
		{"certificate expired when used, by time", c.forge(forgery{signer: short, seal: holding(short)}), CheckTime, Fail, "outside the certificate"},
		{"signed in the future", c.forge(forgery{at: now.Add(time.Hour)}), CheckTime, Fail, "in the future"},
		{"time differs from /M", c.forge(forgery{dated: signed.Add(-time.Hour)}), CheckTime, Fail, "/M"},
		{"document changed", c.changed(), CheckDigest, Fail, "SM3 digest"},
		{"digest of another document", c.forge(forgery{digest: make([]byte, 32)}), CheckDigest, Fail, "SM3 digest"},
		{"something appended", append(c.sealed(), "\n%%EOF\n"...), CheckDigest, Fail, "changed later"},
		{"time stamp that is none", c.forge(forgery{stamp: []byte("token")}), CheckStamp, Fail, "breaks its standard"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Verify(tt.file, c.trust(), now)
			got := r.Checks[tt.check-1]
			if r.Overall || got.Result != tt.want || !strings.Contains(got.Reason.EN, tt.says) || got.Reason.ZH == "" {
				t.Errorf("overall %v, check %d: %+v\nall: %+v", r.Overall, tt.check, got, r.Checks)
			}
		})
	}
}

func TestVerify_StatusListAndRevocation(t *testing.T) {
	before, after := signed.Add(-time.Hour), signed.Add(time.Hour)
	for _, tt := range []struct {
		name    string
		prepare func(*city)
		overall bool
		check   int
		says    string
	}{
		{"nothing against the seal", func(c *city) { c.statusList() }, true, CheckSeal, "neither suspended nor revoked"},
		{"no status list is said", func(c *city) {}, true, CheckSeal, "without a status list"},
		{"no revocation list is said", func(c *city) {}, true, CheckCertificate, "without a revocation list"},
		{"suspended before", func(c *city) { c.statusList(Event{esid, Suspended, before, ""}) }, false, CheckSeal, "was suspended"},
		{"suspended before, by time", func(c *city) { c.statusList(Event{esid, Suspended, before, ""}) }, false, CheckTime, "revocation or suspension"},
		{"suspended and resumed before", func(c *city) { c.statusList(Event{esid, Suspended, born, ""}, Event{esid, Issued, before, ""}) }, true, CheckSeal, "neither"},
		{"revoked before", func(c *city) { c.statusList(Event{esid, Revoked, before, ""}, Event{esid, Issued, before, ""}) }, false, CheckSeal, "revoked since"},
		{"revoked after, in good order", func(c *city) { c.statusList(Event{esid, Revoked, after, "RETIRED"}) }, true, CheckSeal, "later the seal was revoked"},
		{"revoked by a maker that did not make it", func(c *city) {
			second := c.secondMaker()
			c.write("seals-status-second.json", c.ok2(SignStatusList(second, StatusList{Issued: now.Add(-time.Hour), Next: now.Add(24 * time.Hour), Events: []Event{{esid, Revoked, before, ""}}})))
		}, true, CheckSeal, "without a status list of its maker"},
		{"revoked by its maker, beside a list of another", func(c *city) {
			second := c.secondMaker()
			c.statusList(Event{esid, Revoked, before, ""})
			c.write("seals-status-second.json", c.ok2(SignStatusList(second, StatusList{Issued: now.Add(-time.Hour), Next: now.Add(24 * time.Hour)})))
		}, false, CheckSeal, "revoked since"},
		{"an older list does not undo a newer one", func(c *city) {
			c.statusList(Event{esid, Revoked, before, ""})
			c.write("seals-status-old.json", c.ok2(SignStatusList(c.maker, StatusList{Issued: born, Next: now})))
		}, false, CheckSeal, "revoked since"},
		{"another seal revoked", func(c *city) { c.statusList(Event{"other", Revoked, before, ""}) }, true, CheckSeal, "neither"},
		{"certificate revoked before", func(c *city) { c.crl(c.holder.Cert, before) }, false, CheckCertificate, "has been revoked since"},
		{"certificate revoked before, by time", func(c *city) { c.crl(c.holder.Cert, before) }, false, CheckTime, "revocation or suspension"},
		{"certificate revoked after, in good order", func(c *city) { c.crlFor(c.holder.Cert, after, revocation.Superseded) }, true, CheckCertificate, "revoked later"},
		{"maker revoked before it made the seal", func(c *city) { c.crl(c.maker.Cert, born) }, false, CheckSeal, "before the seal was made"},
		{"maker revoked after it made the seal, in good order", func(c *city) { c.crlFor(c.maker.Cert, before, revocation.CessationOfOperation) }, true, CheckSeal, "within its validity"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCity(t)
			tt.prepare(c)
			r := Verify(c.sealed(), c.trust(), now)
			if got := r.Checks[tt.check-1]; r.Overall != tt.overall || !strings.Contains(got.Reason.EN, tt.says) {
				t.Errorf("overall %v, check %d: %+v", r.Overall, tt.check, got)
			}
		})
	}
}

func TestVerify_ExpiredSinceSigningIsStillGoodAndSaid(t *testing.T) {
	c := newCity(t)
	r := Verify(c.sealed(), c.trust(), years.Until.AddDate(1, 0, 0))
	if got := r.Checks[CheckCertificate-1]; !r.Overall || !strings.Contains(got.Reason.EN, "expired by now") {
		t.Errorf("overall %v, %+v", r.Overall, got)
	}
}

func TestVerifyContext_DoesNotJudgeAFileThatItHadNoTimeToRead(t *testing.T) {
	c := newCity(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := VerifyContext(ctx, c.sealed(), c.trust(), now)
	if got := r.Checks[CheckFormat-1]; r.Overall || got.Result != Unknown || !strings.Contains(got.Reason.EN, "stopped") {
		t.Errorf("overall %v, %+v", r.Overall, got)
	}
}

func TestVerify_WithoutTrustTrustsNobody(t *testing.T) {
	c := newCity(t)
	for name, trust := range map[string]*Trust{"nil": nil, "zero": {}} {
		r := Verify(c.sealed(), trust, now)
		if r.Overall || r.Checks[CheckCertificate-1].Result != Fail || r.Checks[CheckSeal-1].Result != Fail {
			t.Errorf("%s: %+v", name, r.Checks)
		}
	}
}

func TestVerify_EveryChangedByteIsNoticed(t *testing.T) {
	c := newCity(t)
	good, trust := c.sealed(), c.trust()
	step := max(1, len(good)/400)
	for i := 0; i < len(good); i += step {
		bad := bytes.Clone(good)
		bad[i] ^= 0x01
		if r := Verify(bad, trust, now); r.Overall {
			t.Fatalf("byte %d of %d changed, still verified", i, len(good))
		}
	}
}

func TestReport_JSONAndTextKeepTheSeedOut(t *testing.T) {
	c := newCity(t)
	r := Verify(c.sealed(), c.trust(), now)
	raw, err := json.Marshal(r)
	c.ok(err)
	var back map[string]any
	c.ok(json.Unmarshal(raw, &back))
	if back["overall"] != true || back["sealName"] != sealName || len(back["checks"].([]any)) != 8 {
		t.Errorf("JSON: %s", raw)
	}
	for lang, want := range map[string]string{"zh": "核验通过", "en": "Verified."} {
		var out bytes.Buffer
		c.ok(r.WriteText(&out, lang))
		if !strings.HasPrefix(out.String(), want) || strings.Count(out.String(), "\n") < 14 {
			t.Errorf("%s text:\n%s", lang, out.String())
		}
		for _, secret := range []string{"BwcHBwcH", "07070707"} {
			if strings.Contains(out.String()+string(raw), secret) {
				t.Errorf("the seed is printed")
			}
		}
	}
}

func TestWriteText_DoesNotPassControlCharactersOn(t *testing.T) {
	r := newReport()
	r.SealName = "章\x1b[2J\u202e"
	var out bytes.Buffer
	if err := r.WriteText(&out, "zh"); err != nil || strings.ContainsAny(out.String(), "\x1b\u202e") {
		t.Errorf("%q %v", out.String(), err)
	}
}

// FuzzVerify holds that nothing but the one sealed document verifies.
func FuzzVerify(f *testing.F) {
	c := newCity(f)
	trust, good := c.trust(), c.sealed()
	f.Add(good)
	f.Add([]byte("%PDF-1.7"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if r := Verify(in, trust, now); r.Overall && !bytes.Equal(in, good) {
			t.Fatal("something else was verified")
		}
	})
}

// criticalSeal is a seal, rightly signed, with a critical extension nobody knows.
func (c *city) criticalSeal() []byte {
	c.t.Helper()
	parsed, err := ses.ParseSeal(c.seal)
	c.ok(err)
	// The writer refuses such a seal, so its extension is written as not critical,
	// the flag set in the bytes, and those signed.
	info := parsed.Info
	info.Extensions = []ses.Extension{{ID: []int{1, 2, 3}, Value: []byte{1, 1, 0xff, 4}}}
	raw := c.ok2(ses.MarshalSealInfo(info))
	// 30 0a { 06 02 2a 03, 04 04 { 01 01 ff 04 } } becomes { 06 02 2a 03, 01 01 ff, 04 01 00 }
	old, critical := []byte("\x30\x0a\x06\x02\x2a\x03\x04\x04\x01\x01\xff\x04"), []byte("\x30\x0a\x06\x02\x2a\x03\x01\x01\xff\x04\x01\x00")
	if !bytes.Contains(raw, old) {
		c.t.Fatal("extension not found")
	}
	raw = bytes.Replace(raw, old, critical, 1)
	return c.ok2(ses.MarshalSeal(raw, c.maker.Cert.Raw, c.ok2(signSM2(c.maker.Key.SM2(), raw)), nil))
}

// madeBy is the city's seal as a maker of one's own would make it for a holder.
func (c *city) madeBy(maker, holder Credential) []byte {
	c.t.Helper()
	o := c.order()
	o.HolderCert = holder.Cert
	return c.ok2(MakeSeal(maker, o))
}

func (c *city) garbage() []byte {
	c.t.Helper()
	return c.ok2(c.draft(signed).Fill([]byte("\x30\x03\x02\x01\x01")))
}

// changed is a sealed document with one byte of its content changed.
func (c *city) changed() []byte {
	c.t.Helper()
	b := c.sealed()
	i := bytes.Index(b, []byte("stream\n")) + len("stream\n")
	b[i+3] ^= 0x20
	return b
}

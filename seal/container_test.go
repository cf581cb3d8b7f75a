package seal

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/emmansun/gmsm/pkcs7"

	"yizheng/seal/cms"
	"yizheng/seal/pdf/pdftest"
)

// foreignCMS is a file of another program with a detached CMS signature.
func (w *workshop) foreignCMS(subFilter, extra string, change func([]byte) []byte) []byte {
	w.t.Helper()
	return pdftest.Foreign{Filter: "Adobe.PPKLite", SubFilter: subFilter, Room: 8192, Form: pdftest.Stream, Update: true, Extra: extra}.Build(func(covered []byte) []byte {
		return change(w.ok2(cms.Signer{Key: w.holder.Key.SM2(), Cert: w.holder.Cert}.Sign(digest(covered), signed, nil)))
	})
}

func same(b []byte) []byte { return b }

func TestVerify_PassesCMSWithItsSeal(t *testing.T) {
	c := newCity(t)
	file, _, err := c.sign(RegistryOptions{Trust: c.trust(), Mode: ModeCMS})
	c.ok(err)
	if r := Verify(file, c.trust(), now); !r.Overall || r.SealName != sealName || !r.SigningTime.Equal(signed) {
		t.Errorf("%+v", r)
	}
}

func TestVerify_JudgesCMSOfOthers(t *testing.T) {
	w := newWorkshop(t)
	for _, tt := range []struct {
		name   string
		file   []byte
		fails  []int
		absent bool
	}{
		{"without a seal", w.foreignCMS("adbe.pkcs7.detached", "", same), nil, true},
		{"of GM/T 0010's name", w.foreignCMS("GM.sm2cms.detached", "", same), nil, true},
		{"announced as a seal", w.foreignCMS("GM.sm2seal", "", same), []int{CheckFormat}, true},
		{"a byte behind", w.foreignCMS("adbe.pkcs7.detached", "", func(b []byte) []byte { return append(b, 1) }), []int{CheckFormat}, false},
		{"cut off", w.foreignCMS("adbe.pkcs7.detached", "", func(b []byte) []byte { return b[:len(b)-200] }), []int{CheckFormat}, false},
		{"value changed", w.foreignCMS("adbe.pkcs7.detached", "", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), []int{CheckSignature}, true},
		{"document changed", bytes.Replace(w.foreignCMS("adbe.pkcs7.detached", "", same), []byte("signed text"), []byte("forged text"), 1), []int{CheckDigest}, true},
		{"beside it no seal", w.foreignCMS("adbe.pkcs7.detached", " /Yizheng.SESeal <3000>", same), []int{CheckFormat}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Verify(tt.file, w.known, now)
			(mutation{fails: tt.fails}).judge(t, r)
			if tt.absent && (r.Checks[CheckList-1].Result != Absent || r.Checks[CheckSeal-1].Result != Absent) {
				t.Errorf("%+v", r.Checks)
			}
		})
	}
}

// gmCMS is a document of others whose message is of GM/T 0010: content types
// 1.2.156.10197.6.1.4.2.x and signature algorithm .301.1, made by gmsm's own writer,
// with signed attributes or, bare, over the document itself: then nothing tells a wrong
// value from a changed document.
func (w *workshop) gmCMS(subFilter string, bare bool, change func([]byte) []byte) []byte {
	w.t.Helper()
	return pdftest.Foreign{Filter: "Adobe.PPKLite", SubFilter: subFilter, Room: 8192, Form: pdftest.Stream, Update: true}.Build(func(covered []byte) []byte {
		data, err := pkcs7.NewSMSignedData(covered)
		w.ok(err)
		sign := data.AddSigner
		if bare {
			sign = data.SignWithoutAttr
		}
		w.ok(sign(w.holder.Cert, w.holder.Key.SM2(), pkcs7.SignerInfoConfig{}))
		data.Detach()
		raw, err := data.Finish()
		w.ok(err)
		for _, oid := range [][]byte{{6, 10, 42, 129, 28, 207, 85, 6, 1, 4, 2, 2}, {6, 9, 42, 129, 28, 207, 85, 1, 130, 45, 1}} {
			if !bytes.Contains(raw, oid) {
				w.t.Fatalf("the message has no %x", oid)
			}
		}
		return change(raw)
	})
}

func TestVerify_JudgesMessagesOfGMT0010(t *testing.T) {
	w := newWorkshop(t)
	last := func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	forged := func(b []byte) []byte { return bytes.Replace(b, []byte("signed text"), []byte("forged text"), 1) }
	for _, container := range []string{"GM.sm2cms.detached", "GM.SM2", "adbe.pkcs7.detached"} {
		for name, tt := range map[string]struct {
			file   []byte
			failed []int // the checks that fail; the others are ok, or absent for want of a seal
			timed  bool  // it says when it was signed
		}{
			"attributes":                   {w.gmCMS(container, false, same), nil, true},
			"bare":                         {w.gmCMS(container, true, same), nil, false},
			"attributes, value changed":    {w.gmCMS(container, false, last), []int{CheckSignature}, true},
			"bare, value changed":          {w.gmCMS(container, true, last), []int{CheckSignature, CheckDigest}, false},
			"attributes, document changed": {forged(w.gmCMS(container, false, same)), []int{CheckDigest}, true},
			"bare, document changed":       {forged(w.gmCMS(container, true, same)), []int{CheckSignature, CheckDigest}, false},
		} {
			r := Verify(tt.file, w.known, time.Now()) // their writer takes the clock's time
			if r.Standard != "GM/T 0010" || r.Container != "Adobe.PPKLite / "+container || r.Signer == "" || r.Overall {
				t.Errorf("%s, %s: %+v", container, name, r)
			}
			for _, c := range r.Checks {
				want := OK
				switch {
				case slices.Contains(tt.failed, c.No):
					want = Fail
				case c.No == CheckList || c.No == CheckSeal || c.No == CheckStamp:
					want = Absent
				case !tt.timed && (c.No == CheckCertificate || c.No == CheckTime):
					want = Unknown
				}
				if c.Result != want {
					t.Errorf("%s, %s: check %d is %s, want %s: %s", container, name, c.No, c.Result, want, c.Reason.EN)
				}
			}
		}
	}
}

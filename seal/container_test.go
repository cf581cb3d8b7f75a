package seal

import (
	"bytes"
	"testing"

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

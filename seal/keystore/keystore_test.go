package keystore

import (
	"bytes"
	"crypto"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/identity/jose"
)

// stored is a key in a directory of its own.
func stored(t *testing.T) (*jose.Key, string) {
	t.Helper()
	k, err := jose.GenerateKey()
	must(t, err)
	dir := t.TempDir()
	must(t, k.WriteFile(filepath.Join(dir, FileName(k.ID())), nil))
	return k, dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestKey_SignsMessagesAndNeverABareDigest(t *testing.T) {
	own, dir := stored(t)
	path, err := Find(dir, own.ID())
	must(t, err)
	k, err := Open(path, "", own.Public())
	must(t, err)
	message := []byte("a whole message")
	signature, err := k.Sign(nil, message, sm2.DefaultSM2SignerOpts)
	must(t, err)
	if !sm2.VerifyASN1WithSM2(own.Public(), nil, message, signature) {
		t.Error("the signature is not over the message")
	}
	digest := bytes.Repeat([]byte{7}, 32)
	for name, opts := range map[string]crypto.SignerOpts{
		"no options":                       nil,
		"SHA-256, as crypto.Signer has it": crypto.SHA256,
		"no hash":                          crypto.Hash(0),
		"SM2 options that do not hash":     sm2.NewSM2SignerOption(false, nil),
		"another user's id":                sm2.NewSM2SignerOption(true, []byte("somebody")),
	} {
		if signature, err := k.Sign(nil, digest, opts); !errors.Is(err, ErrBareDigest) || signature != nil {
			t.Errorf("%s: %x, %v", name, signature, err)
		}
	}
	// What looks like a digest is signed as the message it then is: hashed again.
	if signature, err = k.Sign(nil, digest, sm2.DefaultSM2SignerOpts); err != nil || sm2.VerifyASN1(own.Public(), digest, signature) {
		t.Errorf("a message of 32 bytes was signed as a digest (%v)", err)
	}
	if signature, err = k.SignBegun(digest[:16], digest[16:]); err != nil || sm2.VerifyASN1(own.Public(), digest, signature) || !sm2.VerifyASN1WithSM2(own.Public(), nil, digest, signature) {
		t.Errorf("a message of 32 bytes in two parts was signed as a digest (%v)", err)
	}
}

func TestOpen_TakesTheCertificatesKeyOnly(t *testing.T) {
	own, dir := stored(t)
	other, _ := stored(t)
	if _, err := Find(dir, other.ID()); !errors.Is(err, ErrNoKey) {
		t.Errorf("Find of another key: %v", err)
	}
	path, err := Find(dir, own.ID())
	must(t, err)
	if _, err := Open(path, "", other.Public()); err == nil || !strings.Contains(err.Error(), "not the key") {
		t.Errorf("Open for another certificate: %v", err)
	}
	to := t.TempDir()
	if err := Place(to, path, "", other.Public()); err == nil {
		t.Error("placed for another certificate")
	}
	must(t, Place(to, path, "", own.Public()))
	must(t, Place(to, path, "", own.Public()))
	if files, err := Files(to); err != nil || len(files) != 1 || files[0] != filepath.Join(to, FileName(own.ID())) {
		t.Errorf("placed %v, %v", files, err)
	}
	if info, err := os.Stat(filepath.Join(to, FileName(own.ID()))); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of a placed key: %v, %v", info.Mode(), err)
	}
}

const goodModule = `{"library":"/usr/lib/hsm.so","token":"seals","pin_file":"pin","id":"0a1b","mechanism":"0x80000101","input":"digest","encoding":"raw"}`

func TestReadModule(t *testing.T) {
	path := filepath.Join(t.TempDir(), ModuleName("kid"))
	for name, c := range map[string]struct{ old, new, says string }{
		"as it should be":       {"", "", ""},
		"mechanism by name":     {`"0x80000101"`, `"CKM_SM2"`, "mechanism"},
		"mechanism too large":   {"0x80000101", "0x180000101", "mechanism"},
		"id that is no hex":     {"0a1b", "seal", "CKA_ID"},
		"no id":                 {"0a1b", "", "CKA_ID"},
		"no library":            {"/usr/lib/hsm.so", "", "library"},
		"PIN in the file":       {`"pin_file"`, `"pin"`, "unknown field"},
		"input that is unknown": {"digest", "hash", "input"},
		"encoding unknown":      {`"raw"`, `"asn1"`, "encoding"},
		"something behind it":   {`"raw"}`, `"raw"}{}`, "something follows"},
	} {
		must(t, os.WriteFile(path, []byte(strings.Replace(goodModule, c.old, c.new, 1)), 0o600))
		m, err := ReadModule(path)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (m.Mechanism != 0x80000101 || m.PINFile != filepath.Join(filepath.Dir(path), "pin") || !bytes.Equal(m.ID, []byte{0x0a, 0x1b})) {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func FuzzParseModule(f *testing.F) {
	f.Add([]byte(goodModule))
	f.Add([]byte(`{"mechanism":"1"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := parseModule(raw); err == nil && (len(m.ID) == 0 || m.Library == "" || m.PINFile == "") {
			t.Errorf("%q read as %+v", raw, m)
		}
	})
}

package seal

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/identity/jose"
	"yizheng/seal/keystore"
	"yizheng/seal/pdf"
	"yizheng/seal/ses"
)

func TestSign_ReturnsUseOfExactlyThisSignature(t *testing.T) {
	c := newCity(t)
	r := c.registry(RegistryOptions{Trust: c.trust()})
	sealed, use, err := r.Sign(context.Background(), "mz", c.draft(signed), signed.Add(700*time.Millisecond))
	c.ok(err)
	field, err := pdf.ReadSignature(t.Context(), sealed)
	c.ok(err)
	sig, err := ses.ParseSignature(field.Contents)
	c.ok(err)
	want := Use{SealID: "mz", ESID: esid, SealName: sealName, Signer: "云州市民政局", CertSN: serial(c.holder.Cert),
		SignatureDigest: hex.EncodeToString(digest(sig.Raw)), At: signed}
	if use != want {
		t.Errorf("use %+v, want %+v", use, want)
	}
	if sig.TBS.PropertyInfo != propertyInfo(field.ByteRange) || !strings.HasPrefix(sig.TBS.PropertyInfo, "/ByteRange [0 ") {
		t.Errorf("propertyInfo %q", sig.TBS.PropertyInfo)
	}
}

func TestSign_RefusesASealThatMustNotBeUsed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*city)
		at      time.Time
		want    error
		says    string
	}{
		{"before it is valid", nil, born, ErrSealNotValid, "not valid yet"},
		{"after its validity", nil, born.AddDate(3, 0, 1), ErrSealNotValid, "has ended"},
		{"after its certificate's validity", nil, born.AddDate(6, 0, 0), ErrSealNotValid, ""},
		{"suspended here", func(c *city) {
			c.ok(os.WriteFile(filepath.Join(c.dir, "mz", statusName), []byte(`{"state":"suspended","since":"2026-02-01T00:00:00Z"}`), 0o600))
		}, signed, ErrSealNotValid, "suspended"},
		{"revoked by the maker's list", func(c *city) { c.statusList(Event{esid, Revoked, born, ""}) }, signed, ErrSealNotValid, "status list says revoked"},
		{"certificate revoked", func(c *city) { c.crl(c.holder.Cert, born) }, signed, ErrSealNotValid, "revoked since"},
		{"unknown", func(c *city) { c.ok(os.RemoveAll(filepath.Join(c.dir, "mz"))) }, signed, ErrUnknownSeal, "mz"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCity(t)
			d := c.draft(signed)
			if tt.prepare != nil {
				tt.prepare(c)
			}
			r := c.registry(RegistryOptions{Trust: c.trust()})
			sealed, _, err := r.Sign(context.Background(), "mz", d, tt.at)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) || sealed != nil {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if err := r.Check(context.Background(), "mz", tt.at); !errors.Is(err, tt.want) {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

func TestSign_StopsWhenTheCallerIsGone(t *testing.T) {
	c := newCity(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := c.registry(RegistryOptions{}).Sign(ctx, "mz", c.draft(signed), signed); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSealWhoseKeyIsKeptElsewhere(t *testing.T) {
	c := newCity(t)
	c.ok(os.Remove(filepath.Join(c.dir, "mz", keyFile)))
	c.statusList()
	r := c.registry(RegistryOptions{Trust: c.trust()})
	if got := r.Seals(); len(got) != 1 || got[0].KeyHere || got[0].KeyProtected || got[0].State != Issued {
		t.Errorf("seals %+v", got)
	}
	if _, _, err := r.Sign(t.Context(), "mz", c.draft(signed), signed); !errors.Is(err, ErrSealNotValid) || !errors.Is(err, keystore.ErrNoKey) {
		t.Errorf("Sign: %v", err)
	}
	if err := r.Check(t.Context(), "mz", signed); !errors.Is(err, keystore.ErrNoKey) {
		t.Errorf("Check: %v", err)
	}
	c.ok(r.CheckHosted(t.Context(), "mz", signed))
	if err := r.CheckHosted(t.Context(), "mz", born.AddDate(3, 0, 1)); !errors.Is(err, ErrSealNotValid) {
		t.Errorf("after its end: %v", err)
	}
	if n := len(r.Expiring(born.AddDate(3, 0, -1))); n == 0 {
		t.Error("nobody is told that it expires")
	}
	c.ok(c.holder.Key.WriteFile(filepath.Join(c.dir, "mz", keyFile), nil)) // it is brought here
	c.ok(r.Reload())
	c.ok(r.Check(t.Context(), "mz", signed))
	c.ok(os.Remove(filepath.Join(c.dir, "mz", keyFile))) // and taken away
	c.ok(r.Reload())
	if _, _, err := r.Sign(t.Context(), "mz", c.draft(signed), signed); !errors.Is(err, keystore.ErrNoKey) {
		t.Errorf("Sign with a key that was taken away: %v", err)
	}
}

func TestOpenRegistry_NamesTheFaultyFile(t *testing.T) {
	in := func(c *city, name string) string { return filepath.Join(c.dir, "mz", name) }
	for _, tt := range []struct {
		name    string
		prepare func(*city)
		says    []string
	}{
		{"no seal", func(c *city) { c.ok(os.Remove(in(c, sealFile))) }, []string{sealFile}},
		{"damaged seal", func(c *city) { c.ok(os.WriteFile(in(c, sealFile), c.seal[:200], 0o600)) }, []string{sealFile, "malformed"}},
		{"seal with another name", func(c *city) {
			c.ok(os.WriteFile(in(c, sealFile), []byte(strings.Replace(string(c.seal), "业务", "财务", 1)), 0o600))
		}, []string{sealFile, "maker's signature"}},
		{"certificate of another", func(c *city) { c.ok(os.WriteFile(in(c, certFile), c.maker.CertPEM(), 0o600)) }, []string{certFile, "certificate list"}},
		{"certificate that is none", func(c *city) { c.ok(os.WriteFile(in(c, certFile), []byte("x"), 0o600)) }, []string{certFile, "PEM"}},
		{"key of another", func(c *city) {
			c.ok(os.Remove(in(c, keyFile)))
			c.ok(c.maker.Key.WriteFile(in(c, keyFile), nil))
		}, []string{keyFile, "not the key"}},
		{"state unknown", func(c *city) { c.ok(os.WriteFile(in(c, statusName), []byte(`{"state":"lost"}`), 0o600)) }, []string{statusName}},
		{"state missing", func(c *city) { c.ok(os.Remove(in(c, statusName))) }, []string{statusName}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCity(t)
			tt.prepare(c)
			_, err := OpenRegistry(c.dir, RegistryOptions{Trust: c.trust()})
			if !errors.Is(err, ErrMaterial) {
				t.Fatalf("got %v", err)
			}
			for _, s := range append(tt.says, "mz") {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
}

func TestOpenRegistry_WithTrustRefusesAStrangersSeal(t *testing.T) {
	c := newCity(t)
	stranger, err := MakeRoot(Subject{Name: "另一个根"}, years)
	c.ok(err)
	c.ok(os.Remove(filepath.Join(c.trustDir, "roots", "root.crt")))
	c.write("roots/other.crt", stranger.CertPEM())
	if _, err := OpenRegistry(c.dir, RegistryOptions{Trust: c.trust()}); !errors.Is(err, ErrMaterial) {
		t.Errorf("got %v", err)
	}
}

func TestOpenRegistry_RefusesASealItsHolderMade(t *testing.T) {
	c := newCity(t)
	for name, tt := range map[string]struct {
		seal  []byte
		trust *Trust
		says  string
	}{
		"with trust":        {c.madeBy(c.holder, c.holder), c.trust(), "trusted seal maker"},
		"without trust":     {c.madeBy(c.holder, c.holder), nil, "made by its own holder"},
		"by a second maker": {c.madeBy(c.secondMaker(), c.holder), c.trust(), ""},
	} {
		c.ok(os.WriteFile(filepath.Join(c.dir, "mz", sealFile), tt.seal, 0o600))
		_, err := OpenRegistry(c.dir, RegistryOptions{Trust: tt.trust})
		if tt.says == "" && err != nil || tt.says != "" && (!errors.Is(err, ErrMaterial) || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWriteSealDir_ProtectsTheKeyAndNeverOverwrites(t *testing.T) {
	c := newCity(t)
	pass := filepath.Join(t.TempDir(), "pass")
	c.ok(os.WriteFile(pass, []byte("correct horse\n"), 0o600))
	dir := t.TempDir()
	files := SealDir{Seal: c.seal, Holder: c.holder, Passphrase: []byte("correct horse"), Since: born}
	c.ok(WriteSealDir(dir, "mz", files))
	if err := WriteSealDir(dir, "mz", files); !errors.Is(err, os.ErrExist) {
		t.Errorf("second write: %v", err)
	}
	for _, id := range []string{"", "..", "a/b", ".new"} {
		if err := WriteSealDir(dir, id, files); err == nil {
			t.Errorf("id %q accepted", id)
		}
	}
	if protected, err := jose.IsProtected(filepath.Join(dir, "mz", keyFile)); err != nil || !protected {
		t.Errorf("protected %v, %v", protected, err)
	}
	if _, err := OpenRegistry(dir, RegistryOptions{}); !errors.Is(err, jose.ErrPassphrase) {
		t.Errorf("without passphrase: %v", err)
	}
	r, err := OpenRegistry(dir, RegistryOptions{PassphraseFile: pass})
	c.ok(err)
	if got := r.Seals(); len(got) != 1 || got[0].ID != "mz" || got[0].Name != sealName || got[0].SignerCode != usccCode || got[0].State != Issued || !got[0].KeyProtected {
		t.Errorf("seals %+v", got)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left over: %v %v", entries, err)
	}
}

func TestLoadTrust_NamesTheFault(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*city)
		says    string
	}{
		{"no roots", func(c *city) { c.ok(os.RemoveAll(filepath.Join(c.trustDir, "roots"))) }, "no root certificate"},
		{"no makers", func(c *city) { c.ok(os.RemoveAll(filepath.Join(c.trustDir, "makers"))) }, "no seal maker's certificate"},
		{"makers of an empty directory", func(c *city) { c.ok(os.Remove(filepath.Join(c.trustDir, "makers", "maker.crt"))) }, "no seal maker's certificate"},
		{"a maker that is an authority", func(c *city) { c.write("makers/x.crt", c.root.CertPEM()) }, "x.crt: the certificate of an authority"},
		{"a maker that is no certificate", func(c *city) { c.write("makers/x.crt", []byte("x")) }, "x.crt"},
		{"a status list of a holder", func(c *city) {
			c.write("seals-status.json", c.ok2(SignStatusList(c.holder, StatusList{Issued: signed, Next: now})))
		}, "its signer"},
		{"a root that is no authority", func(c *city) { c.write("roots/x.crt", c.holder.CertPEM()) }, "x.crt: not the certificate of an authority"},
		{"a file that is no certificate", func(c *city) { c.write("roots/x.crt", []byte("x")) }, "x.crt"},
		{"a revocation list of nobody", func(c *city) { c.write("crl/x.crl", []byte("x")) }, "x.crl"},
		{"a status list changed", func(c *city) {
			c.statusList()
			path := filepath.Join(c.trustDir, "seals-status.json")
			raw := c.ok2(os.ReadFile(path))
			raw[len(raw)-20] ^= 1
			c.ok(os.WriteFile(path, raw, 0o600))
		}, "seals-status.json"},
		{"a status list of a stranger", func(c *city) {
			stranger, err := MakeRoot(Subject{Name: "另一个根"}, years)
			c.ok(err)
			maker, err := MakeMaker(stranger, Subject{Name: "云州市印章制作中心"}, years)
			c.ok(err)
			c.write("seals-status.json", c.ok2(SignStatusList(maker, StatusList{Issued: signed, Next: now})))
		}, "its signer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCity(t)
			tt.prepare(c)
			if _, err := LoadTrust(c.trustDir); !errors.Is(err, ErrMaterial) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSignStatusList_RefusesWhatItCouldNotRead(t *testing.T) {
	c := newCity(t)
	for name, l := range map[string]StatusList{
		"without next":     {Issued: signed},
		"out of order":     {Issued: signed, Next: now, Events: []Event{{esid, Revoked, now, ""}, {esid, Issued, signed, ""}}},
		"unknown state":    {Issued: signed, Next: now, Events: []Event{{esid, "lost", now, ""}}},
		"event of no seal": {Issued: signed, Next: now, Events: []Event{{"", Revoked, now, ""}}},
	} {
		if _, err := SignStatusList(c.maker, l); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

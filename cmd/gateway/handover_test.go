package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/audit/handover"
	"yizheng/cmd/internal/assembly"
	"yizheng/identity/jose"
	"yizheng/seal/pdf/pdftest"
)

// A city as `gateway init` makes it, whose third quarter is sealed: what one command
// writes, the other verifies with the public keys alone.
func TestHandoverOfASealedQuarter(t *testing.T) {
	city := t.TempDir()
	in := func(name string) string { return filepath.Join(city, name) }
	if err := initialise(t.Context(), []string{"-dir", city, "-catalog", "testdata/catalog", "-font", pdftest.WriteFont(t, t.TempDir())}, io.Discard); err != nil {
		t.Fatal(err)
	}
	c := &Config{Audit: assembly.AuditConfig{Dir: in("audit"), Key: in("keys/audit.key")}, Keys: KeysConfig{Gateway: in("keys/gateway.key")}, Seals: assembly.SealsConfig{Trust: in("trust")}}
	key, err := jose.ReadKey(c.Audit.Key, "")
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: in("audit/2026q3"), Origin: "gw00.test/audit/2026q3", Signer: key, SegmentSize: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpIssue, Number: someNumber}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.handoverSource(t.Context(), "2026q3"); err == nil || !strings.Contains(err.Error(), "only a sealed quarter") {
		t.Errorf("a quarter that is written: %v", err)
	}
	if _, err := l.Seal(); err != nil {
		t.Fatal(err)
	}
	s, done, err := c.handoverSource(t.Context(), "2026q3")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	file := in("2026q3.zip")
	write := func(w io.Writer) (handover.Manifest, error) { return handover.Write(t.Context(), w, s) }
	if _, err := writeNew(file, write); err != nil {
		t.Fatal(err)
	}
	if _, err := writeNew(file, write); !os.IsExist(err) {
		t.Errorf("written over: %v", err)
	}
	verify := func() (string, error) {
		var said bytes.Buffer
		err := auditHandoverVerify(t.Context(), []string{"-key", in("keys/audit.pub.pem"), "-signer", in("keys/gateway.pub.pem"), file}, &said)
		return said.String(), err
	}
	if said, err := verify(); err != nil || !strings.Contains(said, "issued: 1\n") {
		t.Errorf("%s %v", said, err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := verify(); err == nil || !strings.Contains(said, "移交包无效") {
		t.Errorf("one bit changed: %s %v", said, err)
	}
}

//go:build integration

package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// another verifies a log with the implementation in Python, which shares
// nothing with this package but the written format.
func another(t *testing.T, dir, key string, receipts ...string) (size uint64, root string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, "python3", append([]string{"-B", "testdata/verify_log.py", dir, key}, receipts...)...)
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		if !bytes.HasPrefix(errOut.Bytes(), []byte("refused: ")) {
			t.Fatalf("%v\n%s", err, &errOut)
		}
		return 0, "", fmt.Errorf("%s", bytes.TrimSpace(errOut.Bytes()))
	}
	var said struct {
		Size uint64
		Root string
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	return said.Size, said.Root, nil
}

func keyFile(t *testing.T, key testKey) string {
	t.Helper()
	der, err := marshalKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "key.pem")
	writeTest(t, name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return name
}

func receiptFile(t *testing.T, r Receipt) string {
	t.Helper()
	text, err := r.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "receipt")
	writeTest(t, name, text)
	return name
}

func TestAnotherImplementationAgrees(t *testing.T) {
	key := newKey(t)
	pub := keyFile(t, key)
	large := t.TempDir()
	cfg := testConfig(large, key)
	cfg.SegmentSize = 256 << 10
	l := openTest(t, cfg)
	var receipts []string
	for n := range 12 {
		entries := make([]Entry, 1+n*11)
		for i := range entries {
			entries[i] = testEntry(i)
		}
		r, err := l.Append(context.Background(), entries...)
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, receiptFile(t, r[len(r)/2]))
	}
	if _, err := l.Seal(); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"recovered, two segments": smallLog(t, key), "sealed, 700 entries": large} {
		r := verifyTest(t, dir, key, VerifyOptions{})
		if dir != large {
			receipts = nil
		}
		size, root, err := another(t, dir, pub, receipts...)
		if err != nil || size != r.Entries || root != r.Head.Root.String() {
			t.Errorf("%s: another implementation finds %d entries and root %s: %v; ours %d, %s", name, size, root, err, r.Entries, r.Head.Root)
		}
	}
}

func TestAnotherImplementationRefusesWhatWasTampered(t *testing.T) {
	key, rogue := newKey(t), newKey(t)
	pub, dir := keyFile(t, key), smallLog(t, key)
	refused := func(what, dir, pub string, receipts ...string) {
		t.Helper()
		if _, _, err := another(t, dir, pub, receipts...); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	refused("another key", dir, keyFile(t, rogue))
	other := openTest(t, testConfig(t.TempDir(), key)) // the same origin and key, another history
	refused("a receipt of another history", dir, pub, receiptFile(t, appendTest(t, other, 3)[2]))
	files := filesOf(t, dir)
	for name, content := range files {
		mine := copyDir(t, dir)
		path := filepath.Join(mine, name)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		refused(name+" removed", mine, pub)
		if len(content) == 0 {
			continue
		}
		last := lastNonZero(content)
		for _, at := range slices.Compact([]int{0, last / 5, last / 3, last / 2, max(last, 1) - 1, len(content) - 1}) {
			changed := bytes.Clone(content)
			changed[at] ^= 0x04
			writeTest(t, path, changed)
			refused(fmt.Sprintf("%s changed at %d", name, at), mine, pub)
		}
	}
	mine := copyDir(t, dir)
	writeTest(t, filepath.Join(mine, "wal", "notes"), []byte("x"))
	refused("a foreign file", mine, pub)
}

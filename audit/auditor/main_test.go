package auditor

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/smx509"
)

func TestExitCodes(t *testing.T) {
	n := newNode(t)
	n.run(issue(1))
	der, err := smx509.MarshalPKIXPublicKey(n.key.Public())
	n.must(err)
	key, bad := filepath.Join(t.TempDir(), "key.pem"), filepath.Join(t.TempDir(), "bad")
	n.must(os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	n.must(os.WriteFile(bad, []byte("nonsense"), 0o600))
	extract := filepath.Join(t.TempDir(), "extract.json")
	n.must(os.WriteFile(extract, n.export(Choice{Index: func(i uint64) bool { return i == 1 }}), 0o600))
	log := []string{"-dir", n.dir, "-key", key}
	with := func(more ...string) []string { return append(append([]string{}, log...), more...) }
	for _, test := range []struct {
		name string
		args []string
		want int
	}{
		{"verified", with("-without", "known,witness"), Verified},
		{"size remembered", with("-without", "witness", "-min-size", "3"), Verified},
		{"larger size remembered", with("-without", "witness", "-min-size", "4"), Failed},
		{"nothing to compare with", log, Failed},
		{"subset", []string{"-subset", extract, "-key", key}, Verified},
		{"no arguments", nil, Usage},
		{"unknown flag", with("-x"), Usage},
		{"argument too many", with("more"), Usage},
		{"help", []string{"-h"}, Verified},
		{"no such directory", []string{"-dir", bad + "x", "-key", key}, Unreadable},
		{"no log in it", []string{"-dir", t.TempDir(), "-key", key}, Unreadable},
		{"no key", []string{"-dir", n.dir, "-key", bad}, Unreadable},
		{"no checkpoint", with("-checkpoint", bad), Unreadable},
		{"no receipt", with("-receipt", bad), Unreadable},
		{"no report", with("-days", bad), Unreadable},
		{"no witness", with("-witness", "w"), Unreadable},
		{"more witnesses needed than given", with("-need", "1"), Unreadable},
		{"unknown thing to do without", with("-without", "keys"), Unreadable},
		{"no subset", []string{"-subset", bad, "-key", key}, Unreadable},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			if got := Main(context.Background(), test.args, &out, &errOut); got != test.want {
				t.Errorf("ended with %d, want %d\n%s%s", got, test.want, &out, &errOut)
			}
			if said := errOut.String(); test.want == Unreadable && (!strings.Contains(said, "未能核验") || !strings.Contains(said, "not verified")) {
				t.Errorf("says %q", said)
			}
		})
	}
	var out bytes.Buffer
	if Main(context.Background(), with("-json", "-without", "known,witness"), &out, &out) != Verified || !json.Valid(out.Bytes()) || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Errorf("report in JSON: %s", &out)
	}
}

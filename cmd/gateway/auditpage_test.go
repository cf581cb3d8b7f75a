package main

import (
	"context"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/identity/jose"
)

// auditPage runs every command of docs/AUDIT.md in dir, with the programs in
// PATH, and compares what each prints with what the page says it does. There
// "…" stands for anything within a line, and a line "…" for any lines;
// "[exit N]" is how the command ends.
func auditPage(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/AUDIT.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, want, _ := strings.Cut(part, "\n")
			commands++
			if got := shell(t, dir, command); !matches(want, got) {
				t.Errorf("$ %s\nprints\n%s\nthe page says\n%s", command, got, want)
			}
		}
	}
	if commands < 10 {
		t.Errorf("the page has only %d commands", commands)
	}
}

func shell(t *testing.T, dir, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return string(out) + "[exit " + exit.ProcessState.String()[len("exit status "):] + "]\n"
	case err != nil:
		t.Fatalf("%s: %v", command, err)
	}
	return string(out)
}

func matches(want, got string) bool {
	var pattern strings.Builder
	for line := range strings.Lines(strings.TrimRight(want, "\n") + "\n") {
		if line == "…\n" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		if line == "\n" {
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*"))
	}
	return regexp.MustCompile(`\A` + pattern.String() + `\z`).MatchString(got)
}

// The page holds for any log with a document's receipt beside it; the demo
// city's own is verified the same way, end to end.
func TestTheAuditorsPageHoldsForASmallLog(t *testing.T) {
	home := t.TempDir()
	for _, d := range []string{"var/demo/audit", "var/demo/keys", "out"} {
		if err := os.MkdirAll(filepath.Join(home, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	key, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := smx509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, "var/demo/keys/audit.pub.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	now := time.Now()
	l, err := audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: filepath.Join(home, "var/demo/audit", audit.Quarter(now)),
		Origin: audit.ShardOrigin("gw00.690100.example/audit", now), Signer: key, SegmentSize: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var receipt audit.Receipt
	for range 4 {
		r, err := l.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpIssue, Phase: audit.PhaseDone}})
		if err != nil {
			t.Fatal(err)
		}
		receipt = r[0]
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	note, err := receipt.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, "out/SI-01.receipt"), note)
	auditPage(t, home)
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

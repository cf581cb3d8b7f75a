package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"yizheng/audit/auditor"
	"yizheng/seal/pdf/pdftest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gateway": main, "auditverify": auditverify})
}

func auditverify() {
	os.Exit(auditor.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// The scripts of testdata/script run the gateway's commands as a person would.
// Inside them $REPO is the project, and "exits N COMMAND…" runs a command that has to end with N.
// $FONT is a font that can draw seals, $SMALL a catalogue that takes a moment to set up.
func TestScripts(t *testing.T) {
	runScripts(t, "testdata/script", map[string]string{"FONT": pdftest.WriteFont(t, t.TempDir())})
}

func runScripts(t *testing.T, dir string, env map[string]string) {
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("REPO", repo)
			e.Setenv("SMALL", filepath.Join(repo, "cmd/gateway/testdata/catalog"))
			for k, v := range env {
				e.Setenv(k, v)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "flip": flip},
	})
}

// exits N COMMAND…: testscript itself only tells success from failure.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		if _, s, ok := strings.Cut(err.Error(), "exit status "); ok {
			got, err = strconv.Atoi(s)
		}
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s ended with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// flip FILE [BEHIND]: changes one bit in the middle of a file's bytes that are
// not zero, or of the first byte behind a text.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	b, err := os.ReadFile(file)
	ts.Check(err)
	at := len(bytes.TrimRight(b, "\x00")) / 2
	if len(args) > 1 {
		at = bytes.Index(b, []byte(args[1])) + len(args[1])
	}
	if at < 0 || at >= len(b) {
		ts.Check(fmt.Errorf("nothing to flip in %s", args[0]))
	}
	b[at] ^= 1
	ts.Check(os.WriteFile(file, b, 0o600))
}

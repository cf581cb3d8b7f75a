//go:build integration

package seal

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// agreement is a row of docs/INTEROP.md: what another program and this one say of
// the same bytes.
type agreement struct {
	program string // a key of programs
	what    string // what was looked at
	verdict string // by whom, and what they said
}

// Whose the bytes are and who judges them, as a verdict begins.
const (
	oursByThem  = "ours, judged by it: "
	theirsByUs  = "its own, judged by us: "
	changedByIt = "changed by it, judged by us: "
	changedByUs = "its own, changed, judged by us: "
)

// ledger collects the agreements of this run; TestMain makes the page of them.
type ledger struct {
	mu   sync.Mutex
	rows map[agreement]int // with how many cases
}

var interop = ledger{rows: map[agreement]int{}}

// agreed records that count cases of a test that has not failed went as the row says.
func agreed(t *testing.T, program, what, verdict string, count int) {
	t.Helper()
	if t.Failed() || count == 0 {
		return
	}
	interop.mu.Lock()
	defer interop.mu.Unlock()
	interop.rows[agreement{program, what, verdict}] += count
}

func TestInterop_PageThatIsNotOfThisRunIsRefused(t *testing.T) {
	l := ledger{rows: map[agreement]int{}}
	if l.compare(false) == nil {
		t.Error("a run in which nobody said anything")
	}
	for _, p := range programs() {
		l.rows[agreement{p.name, "what", "verdict"}] = 1
	}
	if err := l.compare(false); err == nil || !strings.Contains(err.Error(), "is not what this run found") {
		t.Errorf("another page: %v", err)
	}
	l.rows[agreement{"nobody", "what", "verdict"}] = 1
	if l.compare(false) == nil {
		t.Error("a program without a section")
	}
}

// TestMain compares docs/INTEROP.md with what a whole run recorded, or writes it
// anew with -update. A run of some tests only is compared with nothing.
func TestMain(m *testing.M) {
	code := m.Run()
	whole := true
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		whole = whole && flag.Lookup(name).Value.String() == ""
	}
	if code == 0 && whole {
		if err := interop.compare(*updateTable); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	os.Exit(code)
}

const (
	interopPage = "../docs/INTEROP.md"
	systemMark  = "\n## Programs of the system\n"
)

// compare leaves out the versions of the system's programs, which differ from one
// machine to the next.
func (l *ledger) compare(update bool) error {
	page, system, err := l.page()
	if err != nil {
		return err
	}
	if update {
		if err := os.WriteFile(interopPage, []byte(page+system), 0o644); err != nil {
			return err
		}
	}
	have, err := os.ReadFile(interopPage)
	if err != nil {
		return err
	}
	if before, _, found := strings.Cut(string(have), systemMark); !found || before != page {
		return fmt.Errorf("%s is not what this run found; write it with: go test -tags integration ./seal -update\n%s", interopPage, page)
	}
	return nil
}

// program says where a program comes from: a line of a pinned file, or a command of
// the system that prints its version.
type program struct {
	name    string
	about   string
	pinned  string // file
	line    string // regular expression whose group is the version
	command []string
}

// programs in the order of the page.
func programs() []program {
	pom := func(name, about, dir, artifact string) program {
		return program{name: name, about: about, pinned: "../deploy/dev/interop/" + dir + "/pom.xml",
			line: `<artifactId>` + artifact + `</artifactId>\s*<version>([^<]+)<`}
	}
	return []program{
		pom("Bouncy Castle", "cryptography, CMS, time stamps, OCSP; Java", "bouncycastle", "bcpkix-jdk18on"),
		pom("Bouncy Castle below ofdrw", "the newest that ofdrw runs on", "strangers", "bcpkix-jdk18on"),
		pom("ofdrw", "the open implementation of OFD with its seals; Java", "strangers", "ofdrw-sign"),
		pom("PDFBox", "PDF; Java", "strangers", "pdfbox"),
		pom("PDFBox with ofdrw", "a PDF by the one, its signature by the other", "strangers", "ofdrw-sign"),
		pom("PDFBox with Bouncy Castle", "a PDF by the one, its signature by the other", "strangers", "bcpkix-jdk18on"),
		pom("veraPDF", "the reference validator of PDF/A; Java", "verapdf", "validation-model"),
		{name: "tjfoc/gmsm", about: "a second SM2 and SM3 in Go", pinned: "../go.mod", line: `github.com/tjfoc/gmsm (v\S+)`},
		{name: "emmansun/gmsm", about: "the SM2 that is used here, held against a vector of its own", pinned: "../go.mod", line: `github.com/emmansun/gmsm (v\S+)`},
		{name: "OpenSSL", about: "SM2, SM3, certificate chains, OCSP, revocation lists and time stamps (it makes none with an SM2 key)", command: []string{"openssl", "version"}},
		{name: "qpdf", about: "structure of PDF", command: []string{"qpdf", "--version"}},
		{name: "Poppler", about: "pdftotext, pdfsig", command: []string{"pdftotext", "-v"}},
	}
}

func (p program) version() (string, error) {
	if p.command != nil {
		out, err := exec.Command(p.command[0], p.command[1:]...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s: %w", p.name, err)
		}
		found := regexp.MustCompile(`\d+(\.\d+)+`).Find(out)
		return string(found), nil
	}
	b, err := os.ReadFile(p.pinned)
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(p.line).FindSubmatch(b)
	if found == nil {
		return "", fmt.Errorf("%s names no version of %s", p.pinned, p.name)
	}
	return string(found[1]), nil
}

// page returns the page, and its last part with what depends on the system.
func (l *ledger) page() (page, system string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list, installed strings.Builder
	seen, total := map[string]bool{}, 0
	for _, p := range programs() {
		version, err := p.version()
		if err != nil {
			return "", "", err
		}
		if p.command != nil {
			fmt.Fprintf(&installed, "- %s %s\n", p.name, version)
			version = "of the system"
		}
		fmt.Fprintf(&list, "\n## %s (%s)\n\n%s.\n\n| What | Verdict | Cases |\n|---|---|--:|\n", p.name, version, strings.ToUpper(p.about[:1])+p.about[1:])
		rows := slices.SortedFunc(maps.Keys(l.rows), func(a, b agreement) int { return strings.Compare(a.verdict+a.what, b.verdict+b.what) })
		for _, r := range rows {
			if r.program == p.name {
				fmt.Fprintf(&list, "| %s | %s | %s |\n", r.what, r.verdict, thousands(l.rows[r]))
				total += l.rows[r]
				seen[p.name] = true
			}
		}
		if !seen[p.name] {
			return "", "", fmt.Errorf("%s said nothing in this run", p.name)
		}
	}
	for r := range l.rows {
		if !seen[r.program] {
			return "", "", fmt.Errorf("%s is not among the programs", r.program)
		}
	}
	page = fmt.Sprintf(`# Sealed documents and other people's programs

Written by the integration tests of package seal from what they found
(`+"`go test -tags integration ./seal -update`"+`), and compared with it on every run of them.
Each program shares no code with this one but where its section says so. "Check n" is one of the eight of
[protocol/seal.md](protocol/seal.md). A verdict stands here only when every case went that way: %s cases.
%s`, thousands(total), list.String())
	return page, systemMark + "\nWhen this page was last written; they may be others on another machine, and are not compared.\n\n" + installed.String(), nil
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

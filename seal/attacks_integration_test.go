//go:build integration

package seal

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// attack is one that the published research describes (Mladenov et al. 2019, Mainka
// et al. 2021), carried out by PDFBox.
type attack struct {
	name     string
	careless string // what one who checks the covered bytes only would say, and what a viewer shows
	fails    []int  // the checks that must fail, and no others
}

const (
	deceived = "ok signature right, shows FORGED"
	unseen   = "ok signature right, shows no forgery" // something changed that is not text of the page
)

// families of attacks on a document that is already sealed.
func families() map[string][]attack {
	digest, format := []int{CheckDigest}, []int{CheckFormat}
	return map[string][]attack{
		"our documents, incremental saving (ISA)": {
			{"page", deceived, digest}, {"pages", deceived, digest}, {"added-page", deceived, digest}, {"note", unseen, digest}, {"field", unseen, digest},
			{"appearance", unseen, digest}, {"title", unseen, digest}, {"script", unseen, digest}, {"nothing", unseen, digest},
		},
		"our documents, signature taken away": {{"unsign", "ok signature wrong, shows no forgery", digest}},
		"our documents, signature wrapping (SWA)": {
			{"wrap", deceived, format}, {"wrap-objects", "", digest},
		},
		"our documents, universal forgery (USF)": {
			{"forge-no-contents", "", format}, {"forge-null-contents", "", format}, {"forge-empty-contents", "", format}, {"forge-zero-contents", "", format},
			{"forge-no-range", "", digest}, {"forge-null-range", "", format}, {"forge-empty-range", "", format}, {"forge-zero-range", "", format},
			{"forge-negative-range", "", format}, {"forge-short-range", "", format},
		},
		"our documents, written again whole": {{"rewrite", "", format}},
	}
}

// attackOurs has PDFBox change documents made here.
func (s *strangers) attackOurs(t *testing.T) {
	t.Helper()
	for family, attacks := range families() {
		for _, victim := range []string{"V4", "CMS"} {
			for _, a := range attacks {
				s.attack(a, victim+".pdf", now, family)
			}
		}
	}
	for _, victim := range []string{"V4", "CMS"} {
		changed := "encrypt-" + victim + ".pdf"
		s.ask("attack encrypt "+victim+".pdf "+changed, func(t *testing.T, answer string) {
			want("ok")(t, answer)
			if r := Verify(s.file(t, changed), s.trust(), now); r.Overall || r.Checks[CheckFormat-1].Result != Unknown {
				t.Errorf("%+v", r.Checks)
			}
			agreed(t, "PDFBox", "our documents, encrypted", changedByIt+"not judged, and said so", 1)
		})
	}
}

// attack asks for one, and wants it refused under its checks.
func (s *strangers) attack(a attack, victim string, at time.Time, family string) {
	changed := a.name + "-" + victim
	s.ask("attack "+a.name+" "+victim+" "+changed, func(t *testing.T, answer string) {
		want("ok")(t, answer)
		want(a.careless)(t, answer)
		r := Verify(s.file(t, changed), s.trust(), at)
		if failed := failedChecks(r); r.Overall || !slices.Equal(failed, a.fails) {
			t.Errorf("%s: failed %v, want %v\n%+v", answer, failed, a.fails, r.Checks)
		}
		verdict := "refused under check 7"
		if slices.Contains(a.fails, CheckFormat) {
			verdict = "refused under check 1"
		}
		agreed(t, "PDFBox", family, changedByIt+verdict, 1)
		if a.careless == deceived {
			agreed(t, "PDFBox with Bouncy Castle", "changes by PDFBox that show something forged", "changed by it, judged by it over the covered bytes alone: signature accepted, so the attack is real", 1)
		}
	})
}

// shadows has PDFBox prepare documents in which a second content lies hidden, ofdrw
// and Bouncy Castle sign them, and PDFBox show what was hidden.
func (s *strangers) shadows(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"V4", "CMS+SEAL"} {
		for shadow, name := range map[string]string{"hide": "hide", "replace": "replace", "both": "hide and replace"} {
			prepared, signed := shadow+".pdf", "shadow-"+shadow+"-"+kind+".pdf"
			s.ask("page "+prepared+" "+shadow, want("ok"))
			s.ask("sign "+kind+" "+prepared+" holder.key holder.der V4.seal "+signed, func(t *testing.T, answer string) {
				want("ok")(t, answer)
				if r := Verify(s.file(t, signed), s.trust(), time.Now()); !r.Overall {
					t.Errorf("before the attack: %+v", r.Checks)
				}
			})
			s.attack(attack{"shadow-" + shadow, deceived, []int{CheckDigest}}, signed, time.Now().Add(time.Minute), "documents prepared and signed by strangers, shadow attack ("+name+")")
		}
	}
}

// qpdf looks at our documents, and changes them in the ways that people use it for.
func (s *strangers) qpdf(t *testing.T, ours []string) {
	for _, name := range ours {
		path := filepath.Join(s.files, name+".pdf")
		if out, err := exec.Command("qpdf", "--check", path).CombinedOutput(); err != nil || strings.Contains(string(out), "WARNING") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		agreed(t, "qpdf", "structure of our documents, SES V1, V4, V5 and CMS", oursByThem+"nothing wrong", 1)
		for _, option := range []string{"", "--linearize", "--object-streams=generate", "--qdf", "--normalize-content=y",
			"--remove-restrictions", "--flatten-annotations=all", "--pages", "--overlay", "--encrypt"} {
			t.Run(name+option, func(t *testing.T) {
				changed := filepath.Join(t.TempDir(), "changed.pdf")
				args := map[string][]string{
					"":          {path, changed},
					"--pages":   {path, "--pages", path, "1", path, "1", "--", changed},
					"--overlay": {path, "--overlay", filepath.Join(s.files, "plain.pdf"), "--", changed},
					"--encrypt": {path, "--encrypt", "", "owner", "256", "--", changed},
				}[option]
				if args == nil {
					args = []string{option, path, changed}
				}
				out, err := exec.Command("qpdf", args...).CombinedOutput()
				var exit *exec.ExitError
				if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 3) { // 3: done, with warnings
					t.Fatalf("%v\n%s", err, out)
				}
				r := Verify(get(t, changed), s.trust(), now)
				failed := failedChecks(r)
				if option == "--encrypt" {
					if r.Overall || r.Checks[CheckFormat-1].Result != Unknown {
						t.Errorf("%+v", r.Checks)
					}
					agreed(t, "qpdf", "our documents, encrypted", changedByIt+"not judged, and said so", 1)
					return
				}
				if r.Overall || !slices.Contains(failed, CheckDigest) && !slices.Contains(failed, CheckFormat) {
					t.Errorf("%v %+v", failed, r.Checks)
				}
				verdict := "refused under check 7"
				if !slices.Contains(failed, CheckDigest) {
					verdict = "refused under check 1"
				}
				agreed(t, "qpdf", "our documents written again (linearized, overlaid, flattened, pages added and so on)", changedByIt+verdict, 1)
			})
		}
	}
}

package seal

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/seal/pdf"
	"yizheng/seal/pdf/pdftest"
	"yizheng/seal/ses"
)

var updateTable = flag.Bool("update", false, "write docs/MUTATIONS.md anew")

// mutation is one way to go wrong that must be refused, and under which checks.
type mutation struct {
	name    string
	file    []byte
	fails   []int  // all checks that fail, the one to blame first
	unknown bool   // the first of them is not failed but unknown, and nothing fails
	trust   *Trust // nil: the city's
	now     time.Time
}

// class is a family of mutations.
type class struct {
	name, about string
	of          func(*workshop) []mutation
}

func classes() []class {
	return []class{
		{"DER structure", "the signature is not the DER of its standard", derMutations},
		{"header and version", "mark, versions and identifiers, rightly signed again where that is needed to get so far", headerMutations},
		{"property, validity, list", "what the maker says of the seal and of who may use it", propertyMutations},
		{"picture", "the picture inside the seal", pictureMutations},
		{"maker's certificate", "who made the seal", makerMutations},
		{"maker's signature", "the signature of the seal; the holder signed over the changed seal", makerValueMutations},
		{"signed fields", "fields of the signed structure, changed after signing or signed wrong", fieldMutations},
		{"signing time", "times that a holder of the key may write", timeMutations},
		{"digest", "digests of something else, rightly signed", digestMutations},
		{"signature value and algorithm", "the holder's signature", valueMutations},
		{"signer's certificate", "who signed", signerMutations},
		{"ByteRange", "what the signature covers", rangeMutations},
		{"Contents", "the token that holds the signature", contentsMutations},
		{"document bytes", "bytes the signature covers", byteMutations},
		{"widget and appearance", "what shows the seal", widgetMutations},
		{"cross-reference", "tables that lead a viewer elsewhere", tableMutations},
		{"incremental saving", "later revisions (ISA of the PDF insecurity research)", incrementalMutations},
		{"shadow attack", "content prepared before signing and shown after (hide, replace, hide and replace)", shadowMutations},
		{"certification", "DocMDP and what is appended under it", certificationMutations},
		{"universal forgery", "signatures without what makes them one (USF)", forgeryMutations},
		{"signature wrapping", "the signed bytes moved or kept beside others (SWA)", wrappingMutations},
		{"trust and status", "what the verifier knows of roots, makers, revocation and the state of the seal", trustMutations},
		{"backdating", "signing times before the end of a key that others had, or may have had, which nobody but the signer vouches for", backdatingMutations},
		{"time stamp", "tokens that say nothing of this signature", stampMutations},
	}
}

// workshop makes mutations out of one good document.
type workshop struct {
	*city
	slate *pdf.Draft // the document, unsigned
	blank []byte     // its file
	good  []byte     // signed
	der   []byte     // its SES_Signature
	known *Trust
	rng   [4]int
}

func newWorkshop(t testing.TB) *workshop {
	w := &workshop{city: newCity(t)}
	w.slate, w.known = w.draft(signed), w.trust()
	w.rng = w.slate.ByteRange()
	w.blank = w.ok2(w.slate.Fill([]byte{0}))
	w.der = w.signWith(w.seal, forgery{})
	w.good = w.fill(w.der)
	return w
}

// fill puts a signature into the document.
func (w *workshop) fill(der []byte) []byte {
	out := bytes.Clone(w.blank)
	hex.Encode(out[w.rng[1]+1:w.rng[2]-1], der)
	return out
}

// signWith signs the document with a seal, rightly but for what f says.
func (w *workshop) signWith(seal []byte, f forgery) []byte {
	w.t.Helper()
	if f.signer.Key == nil {
		f.signer = w.holder
	}
	if f.at.IsZero() {
		f.at = signed
	}
	if f.digest == nil {
		f.digest = w.slate.Digest()
	}
	tbs := w.ok2(ses.MarshalTBS(seal, f.signer.Cert.Raw, f.at, f.digest, propertyInfo(w.slate.ByteRange()), nil))
	return w.ok2(ses.MarshalSignature(tbs, f.signer.Cert.Raw, w.ok2(signSM2(f.signer.Key.SM2(), tbs)), f.stamp))
}

// changed is the document whose signature was changed after signing.
func (w *workshop) edit(path []int, change func(*node)) []byte {
	w.t.Helper()
	return w.fill(edited(w.t, w.der, path, change))
}

// resign is the document whose toSign was changed and signed again by the holder.
func (w *workshop) resign(change func(tbs *node)) []byte {
	w.t.Helper()
	tbs := edited(w.t, parseDER(w.t, w.der).at(atTBS...).der(), nil, change)
	return w.fill(w.ok2(ses.MarshalSignature(tbs, w.holder.Cert.Raw, w.ok2(signSM2(w.holder.Key.SM2(), tbs)), nil)))
}

// withSeal is the document signed with another seal.
func (w *workshop) withSeal(seal []byte) []byte {
	w.t.Helper()
	return w.resign(func(tbs *node) { tbs.kids[1].raw = seal })
}

// remade is the document signed with a seal whose information was changed and signed
// again by the maker.
func (w *workshop) remade(path []int, change func(*node)) []byte {
	w.t.Helper()
	info := parseDER(w.t, edited(w.t, w.seal, path, change)).at(0).der()
	return w.withSeal(w.sealOf(info))
}

// sealOf puts a seal together as the maker would, without looking at info.
func (w *workshop) sealOf(info []byte) []byte {
	w.t.Helper()
	seal := parseDER(w.t, w.seal)
	seal.kids[0].raw = info
	seal.kids[3].content = append([]byte{0}, w.ok2(signSM2(w.maker.Key.SM2(), info))...)
	return seal.der()
}

// replaced is the good document with bytes replaced by as many others.
func (w *workshop) replaced(old, new string) []byte {
	w.t.Helper()
	return w.swap(w.good, old, new)
}

func (w *workshop) swap(file []byte, old, new string) []byte {
	w.t.Helper()
	if len(new) > len(old) || !bytes.Contains(file, []byte(old)) {
		w.t.Fatalf("cannot replace %q", old)
	}
	return bytes.Replace(file, []byte(old), []byte(new+strings.Repeat(" ", len(old)-len(new))), 1)
}

// foreign is a sealed file of another program.
func (w *workshop) foreign(f pdftest.Foreign) []byte {
	w.t.Helper()
	f.Filter, f.SubFilter, f.M, f.Room = "Gomain.GMPkiLite", "GM.sm2seal", "D:20260301093000+08'00'", 8192
	return f.Build(func(covered []byte) []byte {
		tbs := w.ok2(ses.MarshalTBS(w.seal, w.holder.Cert.Raw, signed, digest(covered), "other", nil))
		return w.ok2(ses.MarshalSignature(tbs, w.holder.Cert.Raw, w.ok2(signSM2(w.holder.Key.SM2(), tbs)), nil))
	})
}

func (m mutation) verify(w *workshop) Report {
	trust, at := m.trust, m.now
	if trust == nil {
		trust = w.known
	}
	if at.IsZero() {
		at = now
	}
	return Verify(m.file, trust, at)
}

// TestMutations wants each refused under exactly its checks, at least 200 of them,
// every check to blame at least three times, and docs/MUTATIONS.md to say the same;
// -update writes that page.
func TestMutations(t *testing.T) {
	w := newWorkshop(t)
	if r := Verify(w.good, w.known, now); !r.Overall {
		t.Fatalf("the good document: %+v", r.Checks)
	}
	made := map[string][]mutation{}
	blamed, total := [9]int{}, 0
	for _, c := range classes() {
		made[c.name] = c.of(w)
		names := map[string]bool{}
		for _, m := range made[c.name] {
			if names[m.name] {
				t.Errorf("%s/%s stands twice", c.name, m.name)
			}
			names[m.name] = true
			blamed[m.fails[0]]++
			total++
			t.Run(c.name+"/"+m.name, func(t *testing.T) { m.judge(t, m.verify(w)) })
		}
	}
	if total < 200 {
		t.Errorf("%d mutations, at least 200 are promised", total)
	}
	for no := CheckFormat; no <= CheckStamp; no++ {
		if blamed[no] < 3 {
			t.Errorf("check %d is to blame in %d cases", no, blamed[no])
		}
	}
	compareTable(t, mutationTable(made))
}

// judge wants exactly the checks of the mutation to have failed.
func (m mutation) judge(t *testing.T, r Report) {
	t.Helper()
	failed := []int{}
	for _, k := range r.Checks {
		if k.Result == Fail {
			failed = append(failed, k.No)
		}
	}
	want := slices.Sorted(slices.Values(m.fails))
	if m.unknown {
		want = []int{}
	}
	if r.Overall || !slices.Equal(failed, want) || m.unknown && r.Checks[m.fails[0]-1].Result != Unknown {
		t.Errorf("overall %v, failed %v, want %v (unknown %v)\n%+v", r.Overall, failed, m.fails, m.unknown, r.Checks)
	}
}

func compareTable(t *testing.T, table string) {
	t.Helper()
	const path = "../docs/MUTATIONS.md"
	if *updateTable {
		if err := os.WriteFile(path, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != table {
		t.Errorf("%s is not what the tests do (%v); write it with: go test ./seal -run TestMutations -update", path, err)
	}
}

func mutationTable(made map[string][]mutation) string {
	var list strings.Builder
	total := 0
	summary := ""
	for _, c := range classes() {
		mutations := made[c.name]
		total += len(mutations)
		summary += fmt.Sprintf("| %s | %s | %d |\n", c.name, c.about, len(mutations))
		fmt.Fprintf(&list, "\n## %s\n\n| Mutation | Refused under |\n|---|---|\n", c.name)
		for _, m := range mutations {
			checks := []string{}
			for _, no := range m.fails {
				checks = append(checks, fmt.Sprintf("%d %s", no, checkNames[no-1].EN))
			}
			under := strings.Join(checks, ", ")
			if m.unknown {
				under += " (unknown)"
			}
			fmt.Fprintf(&list, "| %s | %s |\n", m.name, under)
		}
	}
	return fmt.Sprintf(`# Mutations of a sealed document

Written by the tests of package seal from what they run (`+"`go test ./seal -run TestMutations -update`"+`).
Each of these %d is made out of a good document and must be refused, under exactly the checks
(GB/T 39047 5.2.3.3 e) that stand behind it; the first is the one to blame.

| Class | What is changed | Count |
|---|---|---|
%s%s`, total, summary, list.String())
}

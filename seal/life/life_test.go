package life_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/identity/jose"
	"yizheng/identity/staff"
	"yizheng/seal"
	"yizheng/seal/keystore"
	"yizheng/seal/life"
)

// place puts the n-th holder's key where the seal's directory keeps it.
func (c *city) place(id string, n int) {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "k.key")
	c.ok(c.holders[n].Key.WriteFile(path, nil))
	c.ok(keystore.Place(filepath.Join(c.dir, id), path, "", c.holders[n].Key.Public()))
}

func TestLife_FromApplicationToDestruction(t *testing.T) {
	c := newCity(t)
	r := c.register()
	c.issue(r, "mz", "6901000000017", 0)
	g := c.registry(r)
	usable := func(want bool) {
		t.Helper()
		c.ok(g.Reload())
		if err := g.Check(t.Context(), "mz", c.clock); (err == nil) != want {
			t.Errorf("usable: %v, want %v", err, want)
		}
	}
	c.state(r, "mz", life.Issued)
	usable(true)
	c.do(r, "applicant", "mz", life.Suspend) // one person, at once
	usable(false)
	c.do(r, "applicant", "mz", life.Resume, func(s *life.Step) { s.Reason = life.Found })
	usable(false)
	c.do(r, "security-1", "mz", life.Approve)
	usable(true)

	renewed := c.order("6901000000017", 0)
	renewed.Until = born.AddDate(5, 0, 0)
	c.do(r, "applicant", "mz", life.Renew, ordered(renewed))
	c.do(r, "security-1", "mz", life.Approve)
	c.do(r, "maker", "mz", life.Make, holding(c.make(c.maker, renewed, 0)))
	usable(true) // with the old one, until the new one is issued
	c.do(r, "security-1", "mz", life.Issue)
	usable(true)
	if got := g.Seals()[0].Seal.Until; !got.Equal(renewed.Until) {
		t.Errorf("valid until %v, want the renewed seal's %v", got, renewed.Until)
	}

	replaced := c.order("6901000000018", 1)
	c.do(r, "applicant", "mz", life.Replace, ordered(replaced), func(s *life.Step) { s.Reason = life.Reorganised })
	c.do(r, "security-1", "mz", life.Approve)
	c.do(r, "maker", "mz", life.Make, holding(c.make(c.maker, replaced, 1)))
	c.place("mz", 1)
	c.do(r, "security-1", "mz", life.Issue)
	usable(true)
	if keys, err := keystore.Files(filepath.Join(c.dir, "mz")); err != nil || len(keys) != 1 || !strings.Contains(keys[0], jose.KeyID(c.holders[1].Key.Public())) {
		t.Errorf("keys after the replacement: %v %v", keys, err)
	}

	c.do(r, "applicant", "mz", life.Revoke)
	c.do(r, "security-2", "mz", life.Approve)
	usable(false)
	c.do(r, "security-2", "mz", life.Destroy)
	c.do(r, "security-1", "mz", life.Approve)
	c.state(r, "mz", life.Destroyed)
	if _, err := os.Stat(filepath.Join(c.dir, "mz")); !os.IsNotExist(err) {
		t.Error("the key of a destroyed seal is still there")
	}
	if _, err := r.Append(c.sign(r, "applicant", "mz", life.Apply, ordered(c.order("6901000000019", 0)))); err == nil {
		t.Error("the id of a destroyed seal was given away again")
	}

	again := c.register() // what was written is what was meant
	c.state(again, "mz", life.Destroyed)
	l := again.StatusList(jose.KeyID(c.maker.Key.Public()), c.clock.AddDate(0, 0, 7))
	var told []string
	for _, e := range l.Events {
		told = append(told, e.ESID[len(e.ESID)-2:]+" "+string(e.State)+" "+string(e.Reason))
	}
	if got := strings.Join(told, ", "); got != "17 suspended LOST, 17 issued FOUND, 17 revoked REORGANISED, 18 revoked LOST" {
		t.Errorf("status list: %s", got)
	}
	if n, _ := again.Head(); l.Number != n || l.Number == 0 {
		t.Errorf("list number %d, register %d", l.Number, n)
	}
	if l := again.StatusList("another maker", c.clock.AddDate(0, 0, 7)); len(l.Events) != 0 {
		t.Error("a maker's list tells of seals it has not made")
	}
}

func TestAppend_RefusesWhatTheRulesDoNotAllow(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*city, *life.Register)
		by, id  string
		action  life.Action
		edit    func(*city, *life.Step)
		says    string
	}{
		"approving one's own application": {func(c *city, r *life.Register) { c.do(r, "security-1", "a", life.Apply, ordered(c.order("1", 0))) },
			"security-1", "a", life.Approve, nil, "own request"},
		"approving as an applicant": {func(c *city, r *life.Register) { c.do(r, "security-1", "a", life.Apply, ordered(c.order("1", 0))) },
			"applicant", "a", life.Approve, nil, "role"},
		"making without approval": {func(c *city, r *life.Register) { c.do(r, "applicant", "a", life.Apply, ordered(c.order("1", 0))) },
			"maker", "a", life.Make, func(c *city, s *life.Step) { s.ESeal = c.make(c.maker, c.order("1", 0), 0) }, "needs approved"},
		"making what one applied for": {func(c *city, r *life.Register) {
			c.do(r, "security-1", "a", life.Apply, ordered(c.order("1", 0)))
			c.do(r, "security-2", "a", life.Approve)
		}, "security-1", "a", life.Make, func(c *city, s *life.Step) { s.ESeal = c.make(c.maker, c.order("1", 0), 0) }, "own request"},
		"making something else": {func(c *city, r *life.Register) {
			c.do(r, "applicant", "a", life.Apply, ordered(c.order("1", 0)))
			c.do(r, "security-2", "a", life.Approve)
		}, "maker", "a", life.Make, func(c *city, s *life.Step) { s.ESeal = c.make(c.maker, c.order("2", 0), 0) }, "not the one approved"},
		"made by a maker not trusted": {func(c *city, r *life.Register) {
			c.do(r, "applicant", "a", life.Apply, ordered(c.order("1", 0)))
			c.do(r, "security-2", "a", life.Approve)
		}, "maker", "a", life.Make, func(c *city, s *life.Step) { s.ESeal = c.make(c.stranger, c.order("1", 0), 0) }, "trusted seal maker"},
		"issuing what one made": {func(c *city, r *life.Register) {
			c.do(r, "applicant", "a", life.Apply, ordered(c.order("1", 0)))
			c.do(r, "security-2", "a", life.Approve)
			c.do(r, "security-2", "a", life.Make, holding(c.make(c.maker, c.order("1", 0), 0)))
		}, "security-2", "a", life.Issue, nil, "may not issue"},
		"resuming without an approval's second person": {func(c *city, r *life.Register) {
			c.issue(r, "a", "1", 0)
			c.do(r, "security-1", "a", life.Suspend)
			c.do(r, "security-1", "a", life.Resume)
		}, "security-1", "a", life.Approve, nil, "own request"},
		"testing a seal that is suspended": {func(c *city, r *life.Register) {
			c.issue(r, "a", "1", 0)
			c.do(r, "applicant", "a", life.Suspend)
		}, "applicant", "a", life.Test, nil, "needs issued"},
		"suspending twice": {func(c *city, r *life.Register) {
			c.issue(r, "a", "1", 0)
			c.do(r, "applicant", "a", life.Suspend)
		}, "applicant", "a", life.Suspend, nil, "suspended"},
		"destroying what is not revoked": {func(c *city, r *life.Register) { c.issue(r, "a", "1", 0) }, "applicant", "a", life.Destroy, nil, "needs revoked"},
		"revoking without a reason": {func(c *city, r *life.Register) { c.issue(r, "a", "1", 0) }, "applicant", "a", life.Revoke,
			func(_ *city, s *life.Step) { s.Reason = "because" }, "reason code"},
		"two requests at once": {func(c *city, r *life.Register) {
			c.issue(r, "a", "1", 0)
			c.do(r, "applicant", "a", life.Revoke)
		}, "applicant", "a", life.Renew, func(c *city, s *life.Step) { s.Order = c.order("1", 0) }, "pending"},
		"an identifier used before": {func(c *city, r *life.Register) { c.issue(r, "a", "1", 0) }, "applicant", "b", life.Apply,
			func(c *city, s *life.Step) { s.Order = c.order("1", 0) }, "used before"},
		"a renewal under another name": {func(c *city, r *life.Register) { c.issue(r, "a", "1", 0) }, "applicant", "a", life.Renew,
			func(c *city, s *life.Step) { s.Order = c.order("1", 0); s.Order.Name = "云州市财政局" }, "use replace"},
		"an import by a maker not trusted": {nil, "applicant", "a", life.Import, func(c *city, s *life.Step) {
			s.ESeal, s.Holder = c.make(c.stranger, c.order("1", 0), 0), c.holders[0].Cert.Raw
		}, "trusted seal maker"},
		"an import for another's certificate": {nil, "applicant", "a", life.Import, func(c *city, s *life.Step) {
			s.ESeal, s.Holder = c.make(c.maker, c.order("1", 0), 0), c.holders[1].Cert.Raw
		}, "certificate list"},
		"an import the holder made itself": {nil, "applicant", "a", life.Import, func(c *city, s *life.Step) {
			s.ESeal, s.Holder = c.make(c.holders[0], c.order("1", 0), 0), c.holders[0].Cert.Raw
		}, ""},
		"an import that is no seal":       {nil, "applicant", "a", life.Import, func(c *city, s *life.Step) { s.ESeal, s.Holder = []byte("x"), c.holders[0].Cert.Raw }, "malformed"},
		"an application without an order": {nil, "applicant", "a", life.Apply, nil, "application names"},
		"an id that is a path":            {nil, "applicant", "../a", life.Apply, func(c *city, s *life.Step) { s.Order = c.order("1", 0) }, "an id is"},
		"a seal nobody knows":             {nil, "applicant", "a", life.Suspend, nil, "no such seal"},
		"an action nobody knows":          {nil, "applicant", "a", "bless", nil, "no such action"},
		"a stranger":                      {nil, "nobody", "a", life.Apply, func(c *city, s *life.Step) { s.Order = c.order("1", 0) }, "registered person"},
		"a step from the future":          {nil, "applicant", "a", life.Apply, func(c *city, s *life.Step) { s.Order, s.At = c.order("1", 0), c.clock.Add(time.Hour) }, "clock"},
		"a step before the last": {func(c *city, r *life.Register) { c.issue(r, "a", "1", 0) }, "applicant", "a", life.Suspend,
			func(c *city, s *life.Step) { s.At = born }, "time"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCity(t)
			r := c.register()
			if tt.prepare != nil {
				tt.prepare(c, r)
			}
			var edits []func(*life.Step)
			if tt.edit != nil {
				edits = append(edits, func(s *life.Step) { tt.edit(c, s) })
			}
			before, _ := os.ReadFile(filepath.Join(c.dir, "journal.jws"))
			_, err := r.Append(c.sign(r, tt.by, tt.id, tt.action, edits...))
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v, want %q", err, tt.says)
			}
			var refusal *life.Refusal
			if errors.As(err, &refusal) && (refusal.Chinese == "" || refusal.English == "") {
				t.Errorf("not said in both languages: %+v", refusal)
			}
			if after, _ := os.ReadFile(filepath.Join(c.dir, "journal.jws")); !bytes.Equal(before, after) {
				t.Error("a refused step is in the journal")
			}
		})
	}
}

func TestImport_TakesASealMadeElsewhere(t *testing.T) {
	c := newCity(t)
	r := c.register()
	der := c.make(c.maker, c.order("9", 0), 0)
	c.do(r, "applicant", "mz", life.Import, func(s *life.Step) { s.ESeal, s.Holder = der, c.holders[0].Cert.Raw })
	c.do(r, "security-1", "mz", life.Approve)
	if _, err := r.Append(c.sign(r, "security-1", "mz", life.Issue)); err == nil {
		t.Error("who approved an import issued it")
	}
	c.place("mz", 0)
	c.do(r, "security-2", "mz", life.Issue)
	if err := c.registry(r).Check(t.Context(), "mz", c.clock); err != nil {
		t.Error(err)
	}
}

func TestIssue_BindsTheCertificateOfAKeyThatTheDepartmentKeeps(t *testing.T) {
	c := newCity(t)
	r := c.register()
	o := c.order("e1", 0)
	c.do(r, "applicant", "mz", life.Apply, ordered(o))
	c.do(r, "security-1", "mz", life.Approve)
	c.do(r, "maker", "mz", life.Make, holding(c.make(c.maker, o, 0)))
	c.do(r, "security-2", "mz", life.Issue)
	c.state(r, "mz", life.Issued)
	g := c.registry(r)
	if got := g.Seals(); len(got) != 1 || got[0].ESID != "e1" || got[0].SignerCode != "0" || got[0].KeyHere {
		t.Errorf("seals %+v", got)
	}
	c.ok(g.CheckHosted(t.Context(), "mz", c.clock))
	c.do(r, "applicant", "mz", life.Suspend)
	c.ok(g.Reload())
	if err := g.CheckHosted(t.Context(), "mz", c.clock); !errors.Is(err, seal.ErrSealNotValid) {
		t.Errorf("suspended: %v", err)
	}
	list := r.StatusList(c.maker.Key.ID(), c.clock.AddDate(0, 0, 1))
	if state, _ := list.At("e1", c.clock); state != seal.Suspended {
		t.Errorf("its status list says %q", state)
	}
}

func TestAppend_AnApprovalServesOneRequestOnce(t *testing.T) {
	c := newCity(t)
	r := c.register()
	c.issue(r, "a", "1", 0)
	c.issue(r, "b", "2", 1)
	c.do(r, "applicant", "a", life.Revoke)
	approval := c.sign(r, "security-1", "a", life.Approve)
	_, err := r.Append(approval)
	c.ok(err)
	if _, err := r.Append(approval); !errors.Is(err, life.ErrMoved) {
		t.Errorf("the same approval again: %v", err)
	}
	asked := r.Entries(0)[len(r.Entries(0))-2].After
	c.do(r, "applicant", "b", life.Revoke)
	for _, line := range []string{
		strings.Replace(approval, ".", ".e", 1),
		c.sign(r, "security-1", "b", life.Approve, func(s *life.Step) { s.Of = asked }), // the request about a
		c.sign(r, "security-1", "a", life.Approve),
	} {
		if _, err := r.Append(line); err == nil {
			t.Error("an approval of another request was taken")
		}
	}
	c.state(r, "b", life.Issued)
}

func TestOpen_NoticesAJournalThatWasChanged(t *testing.T) {
	good := newCity(t)
	r := good.register()
	good.issue(r, "mz", "1", 0)
	good.do(r, "applicant", "mz", life.Suspend)
	journal, err := os.ReadFile(filepath.Join(good.dir, "journal.jws"))
	good.ok(err)
	lines := strings.SplitAfter(strings.TrimSuffix(string(journal), "\n"), "\n")
	forged, err := life.Step{Number: uint64(len(lines)) + 1, Prev: life.Digest(lines[len(lines)-1]), At: good.clock, Seal: "mz",
		Action: life.Resume, Reason: life.Found}.Sign(good.keys["nobody"])
	good.ok(err)
	own, err := life.Step{Number: uint64(len(lines)) + 1, Prev: life.Digest(lines[len(lines)-1]), At: good.clock, Seal: "mz",
		Action: life.Approve, Of: "x"}.Sign(good.keys["applicant"])
	good.ok(err)
	cut := func(i int) string {
		return strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "") + "\n"
	}
	for name, content := range map[string]string{
		"a stranger's step":             string(journal) + forged + "\n",
		"a step the rules do not allow": string(journal) + own + "\n",
		"a line taken out":              cut(2),
		"lines in another order":        lines[1] + lines[0] + strings.Join(lines[2:], "") + "\n",
		"the first line twice":          lines[0] + string(journal),
		"a byte changed":                string(flipped(journal, len(journal)/2)),
		"an empty line":                 string(journal) + "\n",
	} {
		c := newCity(t)
		c.ok(os.WriteFile(filepath.Join(c.dir, "journal.jws"), []byte(content), 0o600))
		if _, err := c.open(); !errors.Is(err, life.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(filepath.Join(c.dir, "journal.jws")); err != nil || string(after) != content {
			t.Errorf("%s: the evidence was changed", name)
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

func TestRegister_NoticesARollBack(t *testing.T) {
	c := newCity(t)
	r := c.register()
	c.issue(r, "mz", "1", 0)
	path := filepath.Join(c.dir, "journal.jws")
	before, err := os.ReadFile(path)
	c.ok(err)
	c.do(r, "applicant", "mz", life.Suspend)
	n, head := r.Head()
	c.ok(os.WriteFile(path, before, 0o600)) // the suspension is gone
	if !r.Changed() {
		t.Error("a shorter journal looks unchanged")
	}
	if _, err := r.Reload(); !errors.Is(err, life.ErrRolledBack) {
		t.Errorf("a running register: %v", err)
	}
	c.state(r, "mz", life.Suspended)
	if _, err := r.Append(c.sign(r, "applicant", "mz", life.Resume)); !errors.Is(err, life.ErrRolledBack) {
		t.Errorf("a step onto it: %v", err)
	}
	fresh := c.register() // sees nothing wrong by itself, but who remembers the head does
	if err := fresh.Remembers(n, head); !errors.Is(err, life.ErrRolledBack) {
		t.Errorf("a new register: %v", err)
	}
	c.do(fresh, "applicant", "mz", life.Revoke)
	if err := fresh.Remembers(n, head); !errors.Is(err, life.ErrRolledBack) {
		t.Errorf("as long as before, with another end: %v", err)
	}
}

// TestOpen_FinishesWhatACrashLeft cuts the journal at every byte of its last line,
// and takes away or spoils each file that is made from it.
func TestOpen_FinishesWhatACrashLeft(t *testing.T) {
	c := newCity(t)
	r := c.register()
	c.issue(r, "mz", "1", 0)
	path := filepath.Join(c.dir, "journal.jws")
	before, err := os.ReadFile(path)
	c.ok(err)
	c.do(r, "applicant", "mz", life.Suspend)
	after, err := os.ReadFile(path)
	c.ok(err)
	for cut := len(before); cut <= len(after); cut += 7 {
		c.ok(os.WriteFile(path, after[:cut], 0o600))
		c.state(c.register(), "mz", life.Issued)
		if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, before) {
			t.Fatalf("cut at %d: the torn line is still there", cut)
		}
	}
	c.ok(os.WriteFile(path, after, 0o600))
	for _, name := range []string{"seal.esl", "signer.crt", "picture.png", "status.json"} {
		file := filepath.Join(c.dir, "mz", name)
		want, err := os.ReadFile(file)
		if name == "status.json" { // written before the suspension was
			want = bytes.Replace(want, []byte("issued"), []byte("suspended"), 1)
		}
		c.ok(err)
		for _, spoil := range []func() error{func() error { return os.Remove(file) }, func() error { return os.WriteFile(file, want[:len(want)/2], 0o600) }} {
			c.ok(spoil())
			c.state(c.register(), "mz", life.Suspended)
			if got, err := os.ReadFile(file); err != nil || name != "status.json" && !bytes.Equal(got, want) || !bytes.Contains(got, want[:9]) {
				t.Errorf("%s was not made again: %v", name, err)
			}
		}
	}
}

func TestRegistry_BelievesTheStepsAndNotTheFiles(t *testing.T) {
	c := newCity(t)
	r := c.register()
	c.issue(r, "mz", "1", 0)
	c.do(r, "applicant", "mz", life.Suspend)
	g := c.registry(r)
	c.ok(os.WriteFile(filepath.Join(c.dir, "mz", "status.json"), []byte(`{"state":"issued","since":"2026-01-01T00:00:00Z"}`), 0o600))
	c.do(r, "applicant", "new", life.Apply, ordered(c.order("7", 1))) // nobody has approved it
	c.ok(seal.WriteSealDir(c.dir, "new", seal.SealDir{Seal: c.make(c.maker, c.order("7", 1), 1), Holder: c.holders[1], Since: born}))
	c.ok(g.Reload())
	if err := g.Check(t.Context(), "mz", c.clock); !errors.Is(err, seal.ErrSealNotValid) {
		t.Errorf("a suspended seal with another status.json: %v", err)
	}
	if err := g.Check(t.Context(), "new", c.clock); !errors.Is(err, seal.ErrUnknownSeal) {
		t.Errorf("a seal that was never issued: %v", err)
	}
}

func TestAppend_OfManyAtOnceOneIsFirst(t *testing.T) {
	c := newCity(t)
	r := c.register()
	c.issue(r, "mz", "1", 0)
	n, _ := r.Head()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	others := make([]*life.Register, len(errs)) // as other processes would
	lines := make([]string, len(errs))
	for i := range others {
		others[i] = c.register()
		lines[i] = c.sign(others[i], []string{"applicant", "security-1"}[i%2], "mz", life.Suspend)
	}
	for i := range errs {
		wg.Go(func() { _, errs[i] = others[i].Append(lines[i]) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, life.ErrMoved) {
			t.Error(err)
		}
	}
	fresh, err := r.Reload()
	if now, _ := r.Head(); won != 1 || now != n+1 || err != nil || len(fresh) != 1 {
		t.Errorf("%d won, %d steps, %d fresh, %v", won, now, len(fresh), err)
	}
}

func TestOpen_StepsOfPersonsWhoLeftStayGood(t *testing.T) {
	c := newCity(t)
	c.issue(c.register(), "mz", "1", 0)
	var persons []staff.Person
	for _, p := range c.persons.Persons() {
		if p.Name == "applicant" {
			p.Until = c.clock
		}
		persons = append(persons, p)
	}
	var err error
	c.persons, err = staff.NewRegister(persons)
	c.ok(err)
	r := c.register()
	c.clock = c.clock.Add(time.Hour)
	if _, err := r.Append(c.sign(r, "applicant", "mz", life.Suspend)); !errors.Is(err, staff.ErrStranger) {
		t.Errorf("a step after they left: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	c := newCity(f)
	c.do(c.register(), "applicant", "mz", life.Apply, ordered(c.order("1", 0)))
	journal, err := os.ReadFile(filepath.Join(c.dir, "journal.jws"))
	c.ok(err)
	f.Add(journal)
	f.Add([]byte("a.b.c\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "journal.jws"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := life.Open(dir, life.Options{Persons: c.persons}); err == nil {
			if n, _ := r.Head(); n > 0 && !bytes.HasPrefix(content, journal) {
				t.Error("a forged journal was read")
			}
		}
	})
}

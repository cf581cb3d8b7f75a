package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/identity"
)

// Numbers of the fictional province.
const (
	aunt   = "690102198503120016"
	cousin = "690102198806140030"
)

func numbers(t *testing.T, texts ...string) (list []identity.Number) {
	t.Helper()
	for _, text := range texts {
		n, _, err := identity.ParseNumber(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

// looksUp records that the clerk asks about a person.
func (h *hall) looksUp(number string) {
	h.t.Helper()
	s, err := h.names.Of(audit.SubjectIDNumber, number, time.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	e := clerk(audit.OpQuery, audit.PhaseIntent)
	e.Open.Item, e.Open.Case, e.Open.Purpose, e.Open.Basis, e.Open.Subjects = "I-1", "C-1", "P", "B", []audit.SubjectRef{s}
	h.record(e)
}

// of are the cards of a rule, at least n of them.
func (h *hall) of(rule string, n int) []Card {
	h.t.Helper()
	h.until(rule, func() bool { return len(h.eng.Cards(Filter{Rule: rule})) >= n })
	list := h.eng.Cards(Filter{Rule: rule})
	if len(list) != n {
		h.t.Fatalf("%d cards of %s, want %d", len(list), rule, n)
	}
	return list
}

func (h *hall) propose(texts ...string) Proposal {
	h.t.Helper()
	p, err := h.eng.Propose(h.t.Context(), "sup-1", "op-1", numbers(h.t, texts...))
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h *hall) approve(id string, texts ...string) Relatives {
	h.t.Helper()
	d, err := h.eng.Approve(h.t.Context(), id, "approver-1", "approver", numbers(h.t, texts...))
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// again starts anew, after something was done to the files.
func (h *hall) again(do func(state string) error) {
	h.t.Helper()
	h.stop()
	if err := do(filepath.Join(h.dir, "state")); err != nil {
		h.t.Fatal(err)
	}
	h.open()
}

func TestRelativesHoldOnceSomebodyElseHasApproved(t *testing.T) {
	h := newHall(t)
	p := h.propose(aunt, cousin, aunt)
	h.looksUp(aunt)
	for _, who := range []string{"sup-1", "op-1"} {
		if _, err := h.eng.Approve(t.Context(), p.ID, who, "approver", numbers(t, aunt, cousin)); !errors.Is(err, ErrConcerned) {
			t.Errorf("%s approves: %v", who, err)
		}
	}
	d := h.approve(p.ID, cousin, aunt, cousin)
	if d.Persons != 2 || d.Stale || d.List != p.List || d.By != "sup-1" || d.Approver != "approver-1" || audit.EpochQuarter(d.Epoch) != audit.Quarter(time.Now()) {
		t.Errorf("in force: %+v", d)
	}
	if _, err := h.eng.Approve(t.Context(), p.ID, "approver-2", "approver", numbers(t, aunt, cousin)); !errors.Is(err, ErrUnknown) {
		t.Errorf("approved twice: %v", err)
	}
	h.looksUp(aunt) // the first look was before it held
	first := h.of("LZ-13", 1)[0]
	if first.Operator != "op-1" || first.Level != Yellow {
		t.Errorf("the card: %+v", first)
	}
	h.again(func(string) error { return nil })
	h.looksUp(cousin)
	h.of("LZ-13", 2)
	h.again(func(state string) error { return os.Remove(filepath.Join(state, snapshotName)) })
	if n := h.recorded(audit.OpSuperviseCard, string(Raised)); n != len(h.eng.Cards(Filter{})) {
		t.Errorf("%d cards recorded, %d known after the log was read again", n, len(h.eng.Cards(Filter{})))
	}
	next := h.propose()
	if next.Before != d.List || next.List == d.List {
		t.Errorf("the next list: %+v", next)
	}
	if h.approve(next.ID).Persons != 0 {
		t.Error("the list is not the empty one")
	}
	h.looksUp(aunt)
	h.overreach() // read behind it
	h.of("YQ-01", 1)
	h.of("LZ-13", 2)
	if a, b := h.recorded(audit.OpSuperviseRelatives, statusProposed), h.recorded(audit.OpSuperviseRelatives, statusDeclared); a != 2 || b != 2 {
		t.Errorf("%d proposed and %d declared in the log", a, b)
	}
	h.stop()
	h.holdsNoNumber()
}

func TestAListThatTheApproverDoesNotHaveIsVoid(t *testing.T) {
	h := newHall(t)
	void := 0
	for name, c := range map[string]struct{ entered, approved []string }{
		"another person":        {[]string{aunt}, []string{cousin}},
		"one more was entered":  {[]string{aunt, cousin}, []string{aunt}},
		"one less was entered":  {[]string{aunt}, []string{aunt, cousin}},
		"nobody was entered":    {nil, []string{aunt}},
		"the approver has none": {[]string{aunt}, nil},
	} {
		p := h.propose(c.entered...)
		if _, err := h.eng.Approve(t.Context(), p.ID, "approver-1", "approver", numbers(t, c.approved...)); err != ErrDiffer { // as it is, with nothing about where
			t.Errorf("%s: %v", name, err)
		}
		if _, err := h.eng.Approve(t.Context(), p.ID, "approver-2", "approver", numbers(t, c.entered...)); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: a second try: %v", name, err)
		}
		void++
	}
	if n := h.recorded(audit.OpSuperviseRelatives, statusVoid); n != void {
		t.Errorf("%d of %d in the log", n, void)
	}
	if list, waiting := h.eng.Relatives(); len(list) != 0 || len(waiting) != 0 {
		t.Errorf("in force: %+v, waiting: %+v", list, waiting)
	}
	if files, err := filepath.Glob(filepath.Join(h.dir, "state", "texts", "????????*")); err != nil || len(files) != 0 {
		t.Errorf("lists were kept: %v %v", files, err)
	}
	h.stop()
	h.holdsNoNumber()
}

// holdsNoNumber: neither number is in any file of log and state.
func (h *hall) holdsNoNumber() {
	h.t.Helper()
	files := 0
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(aunt)) || bytes.Contains(b, []byte(cousin)) {
			h.t.Errorf("a number is in %s", path)
		}
		return err
	})
	if err != nil || files < 5 {
		h.t.Errorf("%d files searched: %v", files, err)
	}
}

func TestAListThatWasChangedOrLostIsStaleAndNotMisread(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"deleted": os.Remove,
		"changed": func(file string) error {
			return os.WriteFile(file, []byte(`{"v":1,"operator":"op-1","salt":"","subjects":[]}`), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t)
			h.approve(h.propose(aunt).ID, aunt)
			h.again(func(state string) error {
				files, err := filepath.Glob(filepath.Join(state, "texts", "????????*"))
				if err != nil || len(files) != 1 {
					t.Fatalf("%v %v", files, err)
				}
				return spoil(files[0])
			})
			h.looksUp(aunt)
			h.of("LZ-14", 1)
			if list, _ := h.eng.Relatives(); len(list) != 1 || !list[0].Stale {
				t.Errorf("listed: %+v", list)
			}
			h.of("LZ-13", 0)
		})
	}
}

// another is who has keys of another quarter, or none.
type another struct {
	quarter string
	err     error
}

func (a another) Of(string, string, time.Time) (audit.SubjectRef, error) {
	return audit.SubjectRef{Type: audit.SubjectIDNumber, Epoch: a.quarter, P: "p"}, a.err
}

func TestAListIsOfTheQuarterInWhichItIsApproved(t *testing.T) {
	h := newHall(t)
	h.eng.cfg.Names = another{quarter: "2020q1"}
	if _, err := h.eng.Approve(t.Context(), h.propose(aunt).ID, "approver-1", "approver", numbers(t, aunt)); !errors.Is(err, ErrCode) {
		t.Errorf("approved: %v", err)
	}
	waits := h.propose(aunt)
	h.eng.cfg.Names = another{quarter: "2020q2"}
	if _, err := h.eng.Approve(t.Context(), waits.ID, "approver-1", "approver", numbers(t, aunt)); !errors.Is(err, ErrCode) {
		t.Errorf("the same list by other keys: %v", err)
	}
	h.eng.cfg.Names = another{err: errors.New("down")}
	if _, err := h.eng.Approve(t.Context(), waits.ID, "approver-1", "approver", numbers(t, aunt)); !errors.Is(err, ErrNames) {
		t.Errorf("approved without pseudonyms: %v", err)
	}
	if _, err := h.eng.Propose(t.Context(), "sup-1", "op-1", numbers(t, aunt)); !errors.Is(err, ErrNames) {
		t.Errorf("without pseudonyms: %v", err)
	}
}

// changing is who gets other keys in the middle of a list.
type changing struct{ n int }

func (c *changing) Of(string, string, time.Time) (audit.SubjectRef, error) {
	c.n++
	return audit.SubjectRef{Type: audit.SubjectIDNumber, Epoch: fmt.Sprintf("2020q%d", c.n), P: "p"}, nil
}

func TestAListIsOfOneEpoch(t *testing.T) {
	h := newHall(t)
	h.eng.cfg.Names = &changing{}
	if _, err := h.eng.Propose(t.Context(), "sup-1", "op-1", numbers(t, aunt, cousin)); !errors.Is(err, ErrNames) {
		t.Errorf("entered while the keys changed: %v", err)
	}
}

func TestAListIsStaleAfterAnEmergencyRotation(t *testing.T) {
	h := newHall(t)
	h.stop()
	h.dir = t.TempDir()
	quarter := audit.Quarter(time.Now())
	h.from("log", "gw/audit/"+quarter, nil)
	h.eng.cfg.Names = another{quarter: quarter}
	if d := h.approve(h.propose(aunt).ID, aunt); d.Stale {
		t.Errorf("before: %+v", d)
	}
	waits := h.propose(cousin)
	next, err := h.log.Turn(func(previous []byte) (*audit.Log, error) {
		return audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: filepath.Join(h.dir, "next"), Origin: "gw/audit/" + quarter + "-2", Signer: h.key,
			SegmentSize: 1 << 20, Previous: previous})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { h.stop(); _ = next.Close() }()
	if list, _ := h.eng.Relatives(); len(list) != 1 || !list[0].Stale {
		t.Errorf("after: %+v", list)
	}
	if _, err := h.eng.Approve(t.Context(), waits.ID, "approver-1", "approver", numbers(t, cousin)); !errors.Is(err, ErrCode) {
		t.Errorf("a list with the pseudonyms of before is approved: %v", err)
	}
	h.eng.cfg.Names = another{quarter: quarter + "-2"}
	if d := h.approve(h.propose(cousin).ID, cousin); d.Stale {
		t.Errorf("entered again: %+v", d)
	}
}

func TestANewListTakesThePlaceOfOneThatWaits(t *testing.T) {
	h := newHall(t)
	first, second := h.propose(aunt), h.propose(cousin)
	if _, err := h.eng.Approve(t.Context(), first.ID, "approver-1", "approver", numbers(t, aunt)); !errors.Is(err, ErrUnknown) {
		t.Errorf("the first is approved: %v", err)
	}
	if _, waiting := h.eng.Relatives(); len(waiting) != 1 || waiting[0].ID != second.ID {
		t.Errorf("waiting: %+v", waiting)
	}
}

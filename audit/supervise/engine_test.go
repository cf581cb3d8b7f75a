package supervise

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/catalog/beijing"
	"yizheng/identity/jose"
)

// hall is a log with an engine beside it.
type hall struct {
	t     *testing.T
	dir   string
	log   *audit.Log
	key   *jose.Key
	names audit.SubjectNamer
	eng   *Engine
	stop  func()
}

func newHall(t *testing.T) *hall {
	t.Helper()
	key, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	private := t.TempDir()
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	names, err := audit.OpenPseudonyms(private)
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{t: t, dir: t.TempDir(), key: key, names: names}
	h.open()
	return h
}

// open starts log and engine, as a process does.
func (h *hall) open() { h.t.Helper(); h.from("log", testOrigin, nil) }

func (h *hall) from(dir, origin string, earlier []*audit.Archive) {
	h.t.Helper()
	var err error
	if h.log, err = audit.OpenLog(h.t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: filepath.Join(h.dir, dir), Origin: origin, Signer: h.key, SegmentSize: 1 << 20}); err != nil {
		h.t.Fatal(err)
	}
	if h.eng, err = New(Config{Rules: mustLoad(h.t, demoRules), Facts: testFacts, Log: h.log, Key: h.key, Names: h.names, Earlier: earlier, Dir: filepath.Join(h.dir, "state"), Scan: 5 * time.Millisecond}); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	eng := h.eng
	wg.Go(func() {
		if err := eng.Run(ctx); err != nil {
			h.t.Error(err)
		}
	})
	h.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); _ = h.log.Close() })
	h.t.Cleanup(h.stop)
	h.until("the engine is ready", func() bool { s := h.eng.Status(); return s.Next > 0 && h.eng.ready() })
}

func (e *Engine) ready() bool { e.mu.Lock(); defer e.mu.Unlock(); return !e.behind && e.fold.current() }

func (h *hall) until(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatal("in vain: ", what)
		}
	}
}

func (h *hall) record(e audit.Entry) {
	h.t.Helper()
	if _, err := h.log.Append(h.t.Context(), e); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hall) overreach() {
	e := clerk(audit.OpDeny, audit.PhaseDenied)
	e.Open.Outcome = "PROOF_OUTSIDE_ITEM"
	h.record(e)
}

func (h *hall) cards(n int) []Card {
	h.t.Helper()
	h.until("cards", func() bool { return len(h.eng.Cards(Filter{})) >= n })
	list := h.eng.Cards(Filter{})
	if len(list) != n {
		h.t.Fatalf("%d cards, want %d", len(list), n)
	}
	return list
}

// recorded counts entries of an operation in a status.
func (h *hall) recorded(op audit.Op, status string) int {
	h.t.Helper()
	n := 0
	err := h.log.Read(h.t.Context(), 0, h.log.Head().Size, func(_ uint64, s audit.Stored) error {
		if s.Entry.Open.Op == op && s.Entry.Open.Status == status {
			n++
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

func TestACardIsRaisedOnceThroughRestartsAndALostState(t *testing.T) {
	h := newHall(t)
	h.overreach()
	h.cards(1)
	h.stop()
	h.open()
	h.overreach()
	h.cards(2)
	h.stop()
	if err := os.RemoveAll(filepath.Join(h.dir, "state")); err != nil {
		t.Fatal(err)
	}
	h.open()
	h.cards(2)
	h.overreach()
	h.cards(3)
	if n := h.recorded(audit.OpSuperviseCard, "raised"); n != 3 {
		t.Errorf("%d cards in the log, want 3", n)
	}
	if n := h.recorded(audit.OpSuperviseRules, ""); n != 1 {
		t.Errorf("the same rules were recorded %d times", n)
	}
}

func TestSupervisionGoesOnInTheNextQuarter(t *testing.T) {
	h := newHall(t)
	h.overreach()
	h.cards(1)
	first := h.log
	next, err := h.log.Turn(func(previous []byte) (*audit.Log, error) {
		return audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: filepath.Join(h.dir, "next"), Origin: "gw/audit/2027q1", Signer: h.key,
			SegmentSize: 1 << 20, Previous: previous})
	})
	if err != nil {
		t.Fatal(err)
	}
	h.overreach()
	list := h.cards(2)
	if at := list[0].Evidence[0]; at.Origin != next.Origin() {
		t.Errorf("evidence of the second card is in %s", at.Origin)
	}
	if _, err := h.eng.Settle(t.Context(), list[1].ID, "sup", Confirmed, ""); err != nil {
		t.Errorf("a card of the last quarter: %v", err)
	}
	h.stop()
	if err := next.Close(); err != nil && !errors.Is(err, audit.ErrClosed) {
		t.Error(err)
	}
	// The next process begins in the new shard and reads the old one where it ended.
	archive, err := audit.OpenArchive(t.Context(), filepath.Join(h.dir, "log"), h.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	h.from("next", "gw/audit/2027q1", []*audit.Archive{archive})
	h.cards(2)
	h.stop()
	if err := os.RemoveAll(filepath.Join(h.dir, "state")); err != nil {
		t.Fatal(err)
	}
	h.from("next", "gw/audit/2027q1", []*audit.Archive{archive})
	list = h.cards(2)
	if list[1].Status != Confirmed || list[1].Evidence[0].Origin != first.Origin() {
		t.Errorf("made again: %+v", list[1])
	}
}

func TestNobodyDecidesAboutTheirOwnCard(t *testing.T) {
	h := newHall(t)
	h.overreach()
	h.overreach()
	list := h.cards(2)
	ctx := t.Context()
	for name, try := range map[string]struct {
		who    string
		to     Status
		reason string
		want   error
	}{
		"the one concerned":      {"op-1", Confirmed, "", ErrConcerned},
		"without a reason":       {"sup", Dismissed, "", ErrCode},
		"for a made-up reason":   {"sup", Dismissed, "BECAUSE", ErrCode},
		"confirmed for a reason": {"sup", Confirmed, ReasonLawful, ErrCode},
		"raised again":           {"sup", Raised, "", ErrCode},
	} {
		if _, err := h.eng.Settle(ctx, list[0].ID, try.who, try.to, try.reason); !errors.Is(err, try.want) {
			t.Errorf("%s: %v, want %v", name, err, try.want)
		}
	}
	if _, err := h.eng.Settle(ctx, "KNONE", "sup", Confirmed, ""); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown card: %v", err)
	}
	c, err := h.eng.Settle(ctx, list[0].ID, "sup", Dismissed, ReasonDrill)
	if err != nil || c.Status != Dismissed || c.By != "sup" || c.Reason != ReasonDrill {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := h.eng.Settle(ctx, list[0].ID, "sup", Confirmed, ""); !errors.Is(err, ErrSettled) {
		t.Errorf("settled twice: %v", err)
	}
	if c, err := h.eng.Settle(ctx, list[1].ID, "sup", Confirmed, ""); err != nil || c.Status != Confirmed {
		t.Fatalf("%+v, %v", c, err)
	}
	h.stop()
	h.open()
	if c, err := h.eng.Card(list[0].ID); err != nil || c.Status != Dismissed || c.By != "sup" {
		t.Errorf("after a restart: %+v, %v", c, err)
	}
}

func TestAnOrderMustBeAnsweredAndIsThenClosed(t *testing.T) {
	h := newHall(t)
	h.overreach()
	card := h.cards(1)[0]
	ctx := t.Context()
	due := time.Now().In(beijing.Zone()).AddDate(0, 0, 3).Format(time.DateOnly)
	d := Demand{Card: card.ID, Demand: DemandExplain, Due: due, Text: "请说明为何取用清单外的证明。"}
	for name, wrong := range map[string]func(Demand) Demand{
		"yesterday":   func(d Demand) Demand { d.Due = "2020-01-01"; return d },
		"no day":      func(d Demand) Demand { d.Due = "tomorrow"; return d },
		"far ahead":   func(d Demand) Demand { d.Due = "2099-01-01"; return d },
		"made-up":     func(d Demand) Demand { d.Demand = "X"; return d },
		"a number":    func(d Demand) Demand { d.Text = "当事人 690102-19850312 0016"; return d },
		"two lines":   func(d Demand) Demand { d.Text = "当事人 69010219\n850312\r\n0016"; return d },
		"full width":  func(d Demand) Demand { d.Text = "６９０１０２１９８５０３１２００１６"; return d },
		"in Chinese":  func(d Demand) Demand { d.Text = "六九〇一〇二一九八五〇三一二〇〇一六"; return d },
		"an essay":    func(d Demand) Demand { d.Text = strings.Repeat("字", maxText+1); return d },
		"not encoded": func(d Demand) Demand { d.Text = "\xff\xfe"; return d },
	} {
		if _, err := h.eng.Issue(ctx, "sup", wrong(d)); !errors.Is(err, ErrCode) && !errors.Is(err, ErrText) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.eng.Issue(ctx, "op-1", d); !errors.Is(err, ErrConcerned) {
		t.Errorf("issued by the one concerned: %v", err)
	}
	o, err := h.eng.Issue(ctx, "sup", d)
	if err != nil || o.Step != Issued || o.Department != "D-HALL" {
		t.Fatalf("%+v, %v", o, err)
	}
	step := func(name string, want error, got error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	_, err = h.eng.Close(ctx, o.ID, "sup")
	step("closed without an answer", ErrSettled, err)
	_, err = h.eng.Answer(ctx, o.ID, "op-2", "D-SI", AnswerExplained, "")
	step("answered by another department", ErrNotAddressed, err)
	_, err = h.eng.Answer(ctx, o.ID, "sup", "D-HALL", AnswerExplained, "")
	step("answered by who asked", ErrConcerned, err)
	if o, err = h.eng.Answer(ctx, o.ID, "op-2", "D-HALL", AnswerExplained, "已核实，属误操作。"); err != nil || o.Step != Answered {
		t.Fatalf("%+v, %v", o, err)
	}
	_, err = h.eng.Answer(ctx, o.ID, "op-2", "D-HALL", AnswerDone, "")
	step("answered twice", ErrSettled, err)
	if o, err = h.eng.Return(ctx, o.ID, "sup", due, "请附整改措施。"); err != nil || o.Step != Returned {
		t.Fatalf("%+v, %v", o, err)
	}
	if o, err = h.eng.Answer(ctx, o.ID, "op-2", "D-HALL", AnswerDone, ""); err != nil {
		t.Fatal(err)
	}
	_, err = h.eng.Close(ctx, o.ID, "op-2")
	step("closed by who answered", ErrConcerned, err)
	if o, err = h.eng.Close(ctx, o.ID, "sup"); err != nil || o.Step != Closed || len(o.Steps) != 5 {
		t.Fatalf("%+v, %v", o, err)
	}
	h.stop()
	h.open()
	o, err = h.eng.Order(o.ID)
	if err != nil || o.Step != Closed || o.Steps[0].Said != d.Text || o.Steps[1].Said == "" || o.Steps[4].Said != "" {
		t.Errorf("after a restart: %+v, %v", o, err)
	}
	for _, s := range []Step{Issued, Answered, Returned, Closed} {
		if h.recorded(audit.OpSuperviseOrder, string(s)) == 0 {
			t.Errorf("step %s is not in the log", s)
		}
	}
	h.nowhereInTheLog("误操作")
}

// nowhereInTheLog looks at the bytes of the log.
func (h *hall) nowhereInTheLog(text string) {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "log", "wal", "*.seg"))
	if err != nil || len(files) == 0 {
		h.t.Fatal("no segment", err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			h.t.Fatal(err)
		}
		if strings.Contains(string(raw), text) {
			h.t.Errorf("%q is in %s", text, filepath.Base(f))
		}
	}
}

func TestAnOrderThatNobodyAnswersBecomesARedCard(t *testing.T) {
	r := mustLoad(t, demoRules)
	s := begin(r, &testFacts)
	o := Order{ID: "D1", Card: "K1", Department: "D-SI", Due: "2026-11-04"}
	s.add(o.entry(Issued, "sup", DemandExplain, "")).wait(62 * time.Hour)
	if got := s.found(r, &testFacts); len(got) != 0 {
		t.Errorf("before the day was over: %v", got)
	}
	answered := *s
	answered.entries = append([]audit.Stored(nil), s.entries...)
	answered.add(o.entry(Answered, "op-2", AnswerDone, "")).wait(100 * time.Hour)
	if got := answered.found(r, &testFacts); len(got) != 0 {
		t.Errorf("although it was answered: %v", got)
	}
	s.wait(2 * time.Hour)
	if got := s.found(r, &testFacts); strings.Join(got, ",") != "ORDER-OVERDUE red" {
		t.Errorf("after the day was over: %v", got)
	}
}

package exchange

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"yizheng/audit"
	"yizheng/catalog"
)

// findings are all the things that a source can say of a sensitive proof.
var findings = []struct {
	name   string
	answer func(c *city) (Answer, error)
	code   Code
}{
	{"found", func(c *city) (Answer, error) { return c.found("mr"), nil }, Found},
	{"not found", func(c *city) (Answer, error) { return c.state("mr", StateNotFound), nil }, NotFound},
	{"several", func(c *city) (Answer, error) { return c.state("mr", StateMultiple), nil }, Multiple},
	{"somebody else", func(c *city) (Answer, error) {
		a := c.found("mr")
		a.Records[0].Number = wangNumber
		return a, nil
	}, Mismatch},
	{"too many", func(c *city) (Answer, error) {
		a := c.found("mr")
		a.Records = append(a.Records, a.Records[0])
		return a, nil
	}, Multiple},
	{"wrong type", func(c *city) (Answer, error) {
		a := c.found("mr")
		a.Records[0].Fields["state"] = "70"
		return a, nil
	}, SourceError},
	{"by hand", func(c *city) (Answer, error) { return c.state("mr", StatePending), nil }, Pending},
	{"not to be issued", func(c *city) (Answer, error) { return c.state("mr", StateNotIssuable), nil }, Pending},
	{"glyph missing", func(c *city) (Answer, error) {
		a := c.found("mr")
		a.Records[0].Name = "李䶮" // mapped, and not in the font
		return a, nil
	}, GlyphMissing},
	{"unusable", func(*city) (Answer, error) { return Answer{}, errors.New("fields.state fails on it") }, SourceError},
	{"unreachable", func(*city) (Answer, error) { return Answer{}, ErrUnreachable }, Unreachable},
}

// traces are what a run leaves where others than the clerk may look.
type traces struct {
	open, closed []string
	page         string
	log          string
	counted      string
}

// TestNobodyLearnsWhatASensitiveProofFound compares everything that each
// finding leaves behind with what being found leaves.
func TestNobodyLearnsWhatASensitiveProofFound(t *testing.T) {
	t.Parallel()
	var want traces
	for _, f := range findings {
		t.Run(f.name, func(t *testing.T) {
			c := newCity(t)
			c.sources["mr"].gives(f.answer(c))
			claims := c.claims()
			if f.code == GlyphMissing {
				claims.Person = person(t, liNumber, "李\uE863")
			}
			req := c.request("SECRET")
			req.Subjects = []SubjectToken{c.mint(claims)}
			x := c.ended(req)
			if p := c.part(x, "MR-01"); p.Code != f.code {
				t.Fatalf("%+v\n%s", p, c.logged)
			}
			got := c.traces(x)
			if f.code == Found {
				want = got
			}
			if !slices.Equal(got.open, want.open) {
				t.Errorf("open halves differ:\n%s\n%s", strings.Join(got.open, "\n"), strings.Join(want.open, "\n"))
			}
			if !slices.Equal(got.closed, want.closed) {
				t.Errorf("closed halves differ:\n%s\n%s", strings.Join(got.closed, "\n"), strings.Join(want.closed, "\n"))
			}
			if got.counted != want.counted || !strings.HasSuffix(got.counted, " ANSWERED\n") || strings.Count(got.counted, "\n") != 1 {
				t.Errorf("the metrics differ: %q", got.counted)
			}
			if got.page != want.page {
				t.Errorf("the public page differs: %s", got.page)
			}
			for _, telling := range []string{x.Number, "MR-01.1", "fields.state", "record", "FOUND", "MISMATCH", "MULTIPLE", "GLYPH"} {
				if strings.Contains(got.log, telling) {
					t.Errorf("the process log tells %q: %s", telling, got.log)
				}
			}
		})
	}
}

// traces collects them, with everything that is random or a time made equal.
func (c *city) traces(x *Exchange) (tr traces) {
	c.t.Helper()
	for _, e := range c.entries("") {
		o := e.Open
		if o.Op == audit.OpIssue {
			if _, _, ok, _ := c.IssueRecord(c.t.Context(), o.Number); !ok || len(o.Number) != len(shared.release.Catalogue.City.Code)+21 || len(o.Digest) != 44 {
				c.t.Errorf("issue leaf %+v", o)
			}
		}
		if o.Op == audit.OpLogOpen || o.Op == audit.OpAdmin || o.Op == audit.OpQuery && o.Phase == audit.PhaseDone {
			continue // the last is the exchange's own, and may come a moment later
		}
		o.ID, o.Time, o.Digest, o.Number, o.Subjects = "", 0, "", "", nil
		o.Exchange = strings.ReplaceAll(o.Exchange, x.Number, "")
		tr.open = append(tr.open, asJSON(c.t, o))
		if len(o.Fields) > 0 {
			c.t.Errorf("the log names fields of a sensitive proof: %v", o.Fields)
		}
		closed := e.Closed
		closed.Legs = nil
		for _, m := range []map[string]string{closed.Commitments, closed.Digests} {
			for k, v := range m {
				m[k] = fmt.Sprint(len(v))
			}
		}
		tr.closed = append(tr.closed, asJSON(c.t, closed))
	}
	last := c.Last()
	last.Exchange, last.Began = "", ""
	tr.page, tr.log, tr.counted = fmt.Sprint(*last), c.logged.String(), c.counted.String()
	return tr
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestClerkCannotTellNotIssuableFromPending(t *testing.T) {
	t.Parallel()
	var first Result
	var shown PartView
	for _, state := range []State{StatePending, StateNotIssuable} {
		c := newCity(t)
		c.sources["mr"].gives(c.state("mr", state), nil)
		x := c.ended(c.request("SECRET"))
		r, p := c.result(x, "MR-01"), c.part(x, "MR-01")
		if size := len(asJSON(t, r)); size%PadData != 0 {
			t.Errorf("a result of %d bytes, want whole steps of %d", size, PadData)
		}
		r.Pad = "" // it makes up for the receipt, whose length differs from log to log
		if r.ManualNumber == "" || len(r.ManualNumber) != 22 || !strings.Contains(r.Sentence, r.ManualNumber) {
			t.Errorf("%s", r.Sentence)
		}
		r.Sentence, p.Sentence = strings.ReplaceAll(r.Sentence, r.ManualNumber, ""), strings.ReplaceAll(p.Sentence, p.Manual, "")
		r.Exchange, r.Receipt, r.ManualNumber, r.Seed, p.Manual, p.Millis, p.Legs[0].Millis = "", "", "", nil, "", 0, 0
		if first.Code == "" {
			first, shown = r, p
		}
		if asJSON(t, r) != asJSON(t, first) || asJSON(t, p) != asJSON(t, shown) {
			t.Errorf("%s\n%s", asJSON(t, r), asJSON(t, first))
		}
	}
}

func TestHolderOfASensitiveResultCanOpenItsCommitment(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["mr"].gives(c.state("mr", StateNotFound), nil)
	r := c.result(c.ended(c.request("SECRET")), "MR-01")
	e := c.entries(audit.OpRelease)[0]
	if e.Closed.Commitments["result"] != b64(ResultCommitment(r.Seed, NotFound)) {
		t.Error("the result cannot be shown to anybody")
	}
	if r.Number != "" || r.IssueReceipt != "" || len(r.Document) > 0 || r.Data != "" {
		t.Errorf("a blank leaves: %+v", r.Number)
	}
}

// That a number was used would tell that the first exchange ended by hand.
func TestAPickUpOfASensitiveProofLooksLikeAnyExchange(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["mr"].gives(c.state("mr", StatePending), nil)
	number := c.part(c.ended(c.request("SECRET")), "MR-01").Manual
	halves, manual := make(map[string]int), make(map[string]bool)
	seen := len(c.entries(""))
	for _, pickup := range []string{"", number} {
		req := c.request("SECRET")
		req.Proofs, req.Pickup = []catalog.ProofCode{"MR-01"}, pickup
		x := c.ended(req)
		if got := c.part(x, "MR-01").Manual; (got == number) != (pickup == number) {
			t.Fatalf("picked up %q, given %q", pickup, got)
		}
		all := c.entries("")
		for _, e := range all[seen:] {
			o, closed := e.Open, e.Closed
			if o.Op == audit.OpQuery && o.Phase == audit.PhaseDone {
				continue // may come a moment later
			}
			o.ID, o.Time, o.Digest, o.Number, o.Exchange, o.Subjects, o.Prev, closed.Legs = "", 0, "", "", "", nil, nil, nil
			for k, v := range closed.Digests {
				manual[k+v] = true
				closed.Digests[k] = fmt.Sprint(len(v))
			}
			for k, v := range closed.Commitments {
				closed.Commitments[k] = fmt.Sprint(len(v))
			}
			halves[asJSON(t, o)+asJSON(t, closed)]++
		}
		seen = len(all)
	}
	for half, times := range halves {
		if times != 2 {
			t.Errorf("only in one of the exchanges: %s", half)
		}
	}
	for _, e := range c.entries(audit.OpRelease) {
		manual["manual"+e.Closed.Digests["manual"]] = true
	}
	if len(halves) < 3 || len(manual) != 3 {
		t.Errorf("%d kinds of record, %d digests of three releases", len(halves), len(manual))
	}
}

package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/catalog"
	"yizheng/identity/jose"
)

// deed is something that a gateway does in several records. It returns the
// exchange that it was about, nil if there was none, and how it went.
type deed struct {
	name string
	do   func(c *city) func() (*Exchange, error)
}

// deeds prepare, and then do what is watched.
func deeds() []deed {
	begin := func(situation string) func(c *city) func() (*Exchange, error) {
		return func(c *city) func() (*Exchange, error) {
			req := c.request(situation)
			return func() (*Exchange, error) { return c.done(c.Exchange(context.Background(), c.who, req, "")) }
		}
	}
	printed := func(reason string) func(c *city) func() (*Exchange, error) {
		return func(c *city) func() (*Exchange, error) {
			x := c.ended(c.request("ONE"))
			return func() (*Exchange, error) {
				p, err := c.Print(context.Background(), c.who, x, "SI-01", reason)
				if err == nil {
					err = c.onRecord(p.Record, p.Op)
				}
				return x, err
			}
		}
	}
	return []deed{
		{"one proof", begin("ONE")},
		{"several proofs", begin("ALL")},
		{"a sensitive proof", begin("SECRET")},
		{"a proof of two legs", begin("TWO")},
		{"a late leg", begin("MIXED")},
		{"a sensitive proof is seen", func(c *city) func() (*Exchange, error) {
			x := c.ended(c.request("SECRET"))
			return func() (*Exchange, error) {
				err := c.RecordView(context.Background(), c.who, x, c.View(x))
				if err == nil && c.known(audit.OpDocView, x.Number) == 0 {
					err = errors.New("seen without a record")
				}
				return x, err
			}
		}},
		{"a refusal", func(c *city) func() (*Exchange, error) {
			req := c.request("ONE")
			req.Purpose = "P-OTHER"
			return func() (*Exchange, error) {
				_, err := c.Exchange(context.Background(), c.who, req, "")
				if reasonOf(err) == ReasonTokenElsewhere && c.known(audit.OpDeny, "") == 1 {
					err = nil
				}
				return nil, err
			}
		}},
		{"a retry", func(c *city) func() (*Exchange, error) {
			c.sources["si"].gives(Answer{}, ErrUnreachable)
			x := c.ended(c.request("ONE"))
			c.sources["si"].gives(c.found("si"), nil)
			return func() (*Exchange, error) {
				return c.done(c.Retry(context.Background(), c.who, x.Number, "SI-01.1"))
			}
		}},
		{"a deferred answer", func(c *city) func() (*Exchange, error) {
			x := c.quiet(c.request("SLOW"))
			r := c.answer(c.asked("DA-01.1"), c.slowly("D1"))
			return func() (*Exchange, error) { return x, c.Returned(context.Background(), r) }
		}},
		{"a deferred answer that nobody waits for", func(c *city) func() (*Exchange, error) {
			c.quiet(c.request("SLOW"))
			r := c.answer(c.asked("DA-01.1"), c.slowly("D1"), func(a *sealedAnswer) { a.Forged = true })
			return func() (*Exchange, error) { return nil, c.Returned(context.Background(), r) }
		}},
		{"a pick-up", func(c *city) func() (*Exchange, error) {
			c.sources["si"].gives(c.state("si", StatePending), nil)
			req := c.request("ONE")
			x := c.ended(req)
			req.Subjects = []SubjectToken{c.mint(c.claims())}
			req.Proofs, req.Pickup = []catalog.ProofCode{"SI-01"}, c.part(x, "SI-01").Manual
			c.sources["si"].gives(c.found("si"), nil)
			return func() (*Exchange, error) { return c.done(c.Exchange(context.Background(), c.who, req, "")) }
		}},
		{"a print", printed("")},
		{"a reprint", printed("PAPER_JAM")},
	}
}

// done waits for an exchange that has begun.
func (c *city) done(x *Exchange, err error) (*Exchange, error) {
	if err != nil {
		return nil, err
	}
	c.until("it comes to rest", x.Quiet)
	return x, nil
}

// What matters most, in the quick tier; the integration tier does every deed.
func TestWhereverTheLogFailsNothingIsReleasedWithoutItsRecord(t *testing.T) {
	for _, d := range deeds() {
		if d.name == "one proof" || d.name == "a deferred answer" {
			spoilAll(t, d)
		}
	}
}

// spoilAll spoils the log at each record that the deed makes. Whatever was recorded
// until then, nothing is asked without an intent, and nothing can be fetched of
// which the release is not acknowledged.
func spoilAll(t *testing.T, d deed) {
	for _, way := range audittest.Ways() {
		t.Run(fmt.Sprintf("%s, %s", d.name, way), func(t *testing.T) {
			t.Parallel()
			for k := 1; spoil(t, d, k, way); k++ {
				if k > 30 {
					t.Fatal("so many records of one deed?")
				}
			}
		})
	}
}

// spoil reports whether there was a k-th record. If not, all must have gone well.
func spoil(t *testing.T, d deed, k int, way audittest.Way) bool {
	c := newCity(t)
	do := d.do(c)
	c.entries("") // what was queued before is not counted
	from := c.log.Head().Size
	asked, posted := c.queries(), c.posted()
	c.spoiler.Spoil(k, way)
	x, err := do()
	spoilt := c.spoiler.Spoilt()
	if !spoilt && err != nil {
		t.Fatalf("%v\n%s", err, c.logged)
	}
	intents := 0
	for _, e := range c.acknowledged(from) {
		if e.Open.Op == audit.OpQuery && e.Open.Phase == audit.PhaseIntent {
			intents++
		}
	}
	if c.queries() > asked && intents == 0 {
		t.Errorf("record %d: a department was asked without an intent", k)
	}
	if c.posted() > posted && intents < 2 { // the exchange's, and that of asking again
		t.Errorf("record %d: a department was asked again without an intent", k)
	}
	if x != nil {
		c.nothingUnrecorded(x)
	}
	if spoilt {
		c.stopped()
	}
	return spoilt
}

// queries is how often departments were asked live.
func (c *city) queries() (n int) {
	for _, s := range c.sources {
		n += s.times()
	}
	return n
}

// posted is how often departments were asked with more time.
func (c *city) posted() int {
	c.slow.mu.Lock()
	defer c.slow.mu.Unlock()
	return len(c.slow.posted)
}

// acknowledged are the entries, from an index on, that the log has said to be durable.
func (c *city) acknowledged(from uint64) (list []audit.Entry) {
	c.t.Helper()
	c.ok(c.log.Read(context.Background(), from, c.log.Head().Size, func(_ uint64, e audit.Stored) error {
		list = append(list, e.Entry)
		return nil
	}))
	return list
}

// known is how many such entries of an operation there are about an exchange, "" for none.
func (c *city) known(op audit.Op, exchange string) (n int) {
	for _, e := range c.acknowledged(0) {
		if e.Open.Op == op && e.Open.Exchange == exchange {
			n++
		}
	}
	return n
}

// onRecord fails unless that is acknowledged at the place of a pointer.
func (c *city) onRecord(pointer string, op audit.Op) error {
	p, err := audit.ParsePointer(pointer)
	if err != nil {
		return err
	}
	list := c.acknowledged(0)
	if p.Index >= uint64(len(list)) || list[p.Index].Open.Op != op {
		return fmt.Errorf("no %s at %s", op, pointer)
	}
	return nil
}

// nothingUnrecorded fails if something of a part is told or can be fetched, here or
// from the store, that has no acknowledged release; for documents, none of its issue.
func (c *city) nothingUnrecorded(x *Exchange) {
	c.t.Helper()
	for _, p := range c.View(x).Parts {
		sealed, err := c.Sealed(context.Background(), x, p.Part)
		if err != nil {
			if p.State == "released" || p.Code != "" || p.Number != "" {
				c.t.Errorf("%s is told, and there is no result: %+v", p.Part, p)
			}
			continue
		}
		plain, err := jose.DecryptSM2(c.reply, TypeResult, string(sealed))
		c.ok(err)
		var r Result
		c.ok(json.Unmarshal(plain, &r))
		if err := c.proven(r.Receipt, audit.OpRelease); err != nil {
			c.t.Errorf("%s can be fetched: %v", p.Part, err)
		}
		if len(r.Document) == 0 {
			continue
		}
		if err := c.proven(r.IssueReceipt, audit.OpIssue); err != nil {
			c.t.Errorf("document of %s can be fetched: %v", p.Part, err)
		}
	}
}

// proven fails unless a receipt is of an acknowledged entry of the operation.
func (c *city) proven(text string, op audit.Op) error {
	receipt, err := audit.ParseReceipt([]byte(text))
	if err != nil {
		return err
	}
	if err := receipt.Verify(c.gate.Public(), receipt.Leaf); err != nil {
		return err
	}
	return c.onRecord(receipt.Pointer().String(), op)
}

// stopped fails if anything is begun once the log has failed.
func (c *city) stopped() {
	c.t.Helper()
	<-c.log.Failed()
	asked := c.queries()
	if _, err := c.Exchange(context.Background(), c.who, c.request("ONE"), ""); reasonOf(err) != ReasonUnavailable || c.queries() != asked {
		c.t.Errorf("the next exchange: %v, asked %d times", err, c.queries()-asked)
	}
}

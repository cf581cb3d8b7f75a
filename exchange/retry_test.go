package exchange

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yizheng/audit"
)

func TestRetryAsksTheFailedLegAgain(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["re-county"].gives(Answer{}, ErrUnreachable)
	claims := c.claims()
	claims.Expires = c.now().Add(time.Minute).UnixMilli()
	req := c.request("TWO")
	req.Subjects = []SubjectToken{c.mint(claims)}
	x := c.ended(req)
	p := c.part(x, "RE-01")
	first := c.result(x, "RE-01")
	if p.Code != Found || len(c.data(first).Records) != 1 || !strings.Contains(first.Sentence, "示例县") || len(first.Missing) != 1 {
		t.Fatalf("%+v", first.Sentence)
	}
	c.offset.Store(int64(2 * time.Minute)) // the token is over, the exchange is not
	c.sources["re-county"].gives(c.found("re-county"), nil)
	_, err := c.Retry(context.Background(), c.who, x.Number, "RE-01.2")
	c.ok(err)
	c.await(x)
	r := c.result(x, "RE-01")
	if r.Code != Found || len(c.data(r).Records) != 2 || r.Number == first.Number || len(r.Missing) > 0 {
		t.Errorf("%s %s", r.Code, r.Sentence)
	}
	if c.sources["re-city"].times() != 1 || c.sources["re-county"].times() != 2 {
		t.Error("the good answer was asked for again")
	}
	if a := c.sources["re-county"].asked; a[0].Digest != a[1].Digest {
		t.Error("another attempt is another leg")
	}
	var retries int
	for _, e := range c.entries(audit.OpQuery) {
		if e.Closed.Reason == "RETRY" && e.Open.Leg == "RE-01.2" && len(e.Open.Subjects) == 1 {
			retries++
		}
	}
	if retries != 1 {
		t.Errorf("%d records of the retry", retries)
	}
	if !x.plan.parts[0].subject.claims.Person.Number.IsZero() {
		t.Error("the person is kept though nothing can be retried")
	}
}

func TestRetryIsRefused(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["re-county"].gives(Answer{}, ErrUnreachable)
	x := c.ended(c.request("TWO"))
	for name, test := range map[string]struct {
		leg  string
		who  Principal
		want Reason
	}{
		"has its answer":   {"RE-01.1", c.who, ReasonNotRetryable},
		"no such leg":      {"RE-01.9", c.who, ReasonNotRetryable},
		"somebody else's":  {"RE-01.2", Principal{Caller: "hall", Operator: "clerk-02"}, ReasonNotFound},
		"another caller's": {"RE-01.2", Principal{Caller: "system", Operator: "clerk-01"}, ReasonNotFound},
	} {
		if _, err := c.Retry(context.Background(), test.who, x.Number, test.leg); reasonOf(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.offset.Store(int64(11 * time.Minute))
	if _, err := c.Retry(context.Background(), c.who, x.Number, "RE-01.2"); reasonOf(err) != ReasonNotFound {
		t.Errorf("after its time: %v", err)
	}
}

func TestOneRetryOfAProofRunsAtATime(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	for _, name := range []string{"re-city", "re-county"} {
		c.sources[name].gives(Answer{}, ErrUnreachable)
	}
	x := c.ended(c.request("TWO"))
	free := make(chan struct{})
	for _, name := range []string{"re-city", "re-county"} {
		c.sources[name].says(func(context.Context, Ask) (Answer, error) { <-free; return c.found(name), nil })
	}
	var won atomic.Int32
	var tries sync.WaitGroup
	for i := range 8 {
		tries.Go(func() {
			_, err := c.Retry(context.Background(), c.who, x.Number, []string{"RE-01.1", "RE-01.2"}[i%2])
			switch {
			case err == nil:
				won.Add(1)
			case reasonOf(err) != ReasonNotRetryable:
				t.Error(err)
			}
		})
	}
	tries.Wait()
	close(free)
	c.await(x)
	if won.Load() != 1 || c.sources["re-city"].times()+c.sources["re-county"].times() != 3 {
		t.Errorf("%d retries ran", won.Load())
	}
}

func TestRetryThatCannotBeRecordedChangesNothing(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["si"].gives(Answer{}, ErrUnreachable)
	x := c.ended(c.request("ONE"))
	c.breakLog()
	if _, err := c.Retry(context.Background(), c.who, x.Number, "SI-01.1"); reasonOf(err) != ReasonUnavailable {
		t.Errorf("%v", err)
	}
	if v := c.View(x); v.State != "ended" || v.Parts[0].Code != Unreachable || c.sources["si"].times() != 1 {
		t.Errorf("%+v", v)
	}
}

func TestManualNumberStaysOverARetry(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["re-city"].gives(c.state("re-city", StatePending), nil)
	c.sources["re-county"].gives(Answer{}, ErrUnreachable)
	x := c.ended(c.request("TWO"))
	first := c.part(x, "RE-01")
	_, err := c.Retry(context.Background(), c.who, x.Number, "RE-01.2")
	c.ok(err)
	c.await(x)
	if again := c.part(x, "RE-01"); first.Manual == "" || again.Manual != first.Manual {
		t.Errorf("%q, then %q", first.Manual, again.Manual)
	}
	for _, e := range c.entries(audit.OpRelease) {
		if e.Closed.Digests["manual"] != manualDigest(first.Manual) {
			t.Error("the log does not know the number")
		}
	}
}

func TestSameKeyIsOneExchange(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	req := c.request("ONE")
	var numbers sync.Map
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			x, err := c.Exchange(context.Background(), c.who, req, "key")
			if err != nil {
				t.Error(err)
				return
			}
			numbers.Store(x.Number, x)
		})
	}
	callers.Wait()
	count := 0
	numbers.Range(func(_, x any) bool { count++; c.await(x.(*Exchange)); return true })
	if count != 1 || c.sources["si"].times() != 1 {
		t.Errorf("%d exchanges, asked %d times", count, c.sources["si"].times())
	}
	c.offset.Store(int64(10*time.Minute - time.Second)) // the token is about to end, the response was lost
	if _, err := c.Exchange(context.Background(), c.who, req, "key"); err != nil {
		t.Error(err)
	}
	req.Case = "C-2"
	if _, err := c.Exchange(context.Background(), c.who, req, "key"); reasonOf(err) != ReasonKeyReuse {
		t.Errorf("another request with the key: %v", err)
	}
	if _, err := c.Exchange(context.Background(), c.who, c.request("ONE"), "key"); reasonOf(err) != ReasonKeyReuse {
		t.Errorf("another token with the key: %v", err)
	}
}

func TestRefusedRequestDoesNotUseUpItsKey(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	req := c.request("ONE")
	bad := req
	bad.Purpose = "P-OTHER"
	if _, err := c.Exchange(context.Background(), c.who, bad, "key"); err == nil {
		t.Fatal("not refused")
	}
	if _, err := c.Exchange(context.Background(), c.who, req, "key"); err != nil {
		t.Error(err)
	}
}

func TestTokenIsSpentOnce(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	req := c.request("ONE")
	c.ended(req)
	if _, err := c.Exchange(context.Background(), c.who, req, ""); reasonOf(err) != ReasonTokenSpent {
		t.Errorf("%v", err)
	}
	t.Run("even when results live shorter than tokens", func(t *testing.T) {
		c := newCity(t)
		c.lifetime = time.Second
		req := c.request("ONE")
		c.ended(req)
		c.offset.Store(int64(time.Minute))
		c.expire(c.now())
		if _, err := c.Exchange(context.Background(), c.who, req, ""); reasonOf(err) != ReasonTokenSpent {
			t.Errorf("%v", err)
		}
	})
}

func TestKeyOfAForgottenExchangeIsGone(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	req := c.request("ONE")
	x, err := c.Exchange(context.Background(), c.who, req, "key")
	c.ok(err)
	c.ok(c.Forget(context.Background(), c.await(x)))
	if _, err := c.Exchange(context.Background(), c.who, req, "key"); reasonOf(err) != ReasonGone {
		t.Errorf("%v", err)
	}
}

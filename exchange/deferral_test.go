package exchange

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/exchange/fleet"
	"yizheng/exchange/store"
	"yizheng/identity/jose"
)

// slow is the front of a department that answers days later, in memory. Live it
// says nothing at all, unless told to.
type slow struct {
	mu     sync.Mutex
	live   func(context.Context, Ask) (Answer, error)
	refuse error         // of posting
	hangs  bool          // posting takes all the time it gets
	stuck  chan struct{} // the next posting goes on when it is closed
	posted []posted
}

type posted struct {
	ask      Ask
	deadline time.Time
	reply    *ecdsa.PublicKey
}

func (s *slow) Query(ctx context.Context, ask Ask) (Answer, error) {
	s.mu.Lock()
	live := s.live
	s.mu.Unlock()
	if live != nil {
		return live(ctx, ask)
	}
	<-ctx.Done()
	return Answer{}, ctx.Err()
}

func (s *slow) Defer(ctx context.Context, ask Ask, deadline time.Time, reply *ecdsa.PublicKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stuck := s.stuck; stuck != nil {
		s.stuck = nil
		s.mu.Unlock()
		<-stuck
		s.mu.Lock()
	}
	if s.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if s.refuse != nil {
		return s.refuse
	}
	s.posted = append(s.posted, posted{ask, deadline, reply})
	return nil
}

func (s *slow) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

type sealedAnswer struct {
	Digest string
	Forged bool
	Answer Answer
}

func (s *slow) Returned(ask Ask, keys func(string) *jose.Key, r Returned) (Answer, error) {
	kid, token, _ := strings.Cut(string(r.Sealed), " ")
	key := keys(kid)
	if key == nil {
		return Answer{}, ErrNotAnswer
	}
	plain, err := jose.DecryptSM2(key, "test+jwe", token)
	if err != nil {
		return Answer{}, ErrNotAnswer
	}
	var a sealedAnswer
	if err := json.Unmarshal(plain, &a); err != nil || a.Forged || a.Digest != ask.Digest.String() {
		return Answer{}, ErrNotAnswer
	}
	return a.Answer, nil
}

// asked is the deferred question of a leg.
func (c *city) asked(leg string) posted {
	c.t.Helper()
	c.slow.mu.Lock()
	defer c.slow.mu.Unlock()
	for _, p := range c.slow.posted {
		if p.ask.Terms.Leg == leg {
			return p
		}
	}
	c.t.Fatalf("%s was not asked again", leg)
	return posted{}
}

// slowly is a good answer of the slow department.
func (c *city) slowly(accounts ...string) Answer {
	a := Answer{State: StateFound, DataTime: c.now().Add(-time.Minute).Truncate(time.Second), Authenticity: "source-signature"}
	for _, account := range accounts {
		a.Records = append(a.Records, Record{Number: liNumber, Fields: map[string]any{"account": account}})
	}
	return a
}

// answer seals what the department says to a question.
func (c *city) answer(p posted, a Answer, change ...func(*sealedAnswer)) Returned {
	c.t.Helper()
	sa := sealedAnswer{Digest: p.ask.Digest.String(), Answer: a}
	for _, f := range change {
		f(&sa)
	}
	plain, err := json.Marshal(sa)
	c.ok(err)
	token, err := jose.EncryptSM2(p.reply, "test+jwe", plain)
	c.ok(err)
	return Returned{Exchange: p.ask.Terms.Exchange, Leg: p.ask.Terms.Leg, Sealed: []byte(jose.KeyID(p.reply) + " " + token)}
}

// quiet begins and waits until nothing runs.
func (c *city) quiet(req Request) *Exchange {
	c.t.Helper()
	x := c.begin(req)
	for end := time.Now().Add(10 * time.Second); !x.Quiet(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatal("exchange does not come to rest")
		}
	}
	return x
}

// at finds the exchange as this gateway's callers do.
func (c *city) at(x *Exchange) *Exchange {
	c.t.Helper()
	y, err := c.Find(context.Background(), c.who, x.Number)
	c.ok(err)
	return y
}

func (c *city) refused() int {
	n := 0
	for _, e := range c.entries(audit.OpDeny) {
		if e.Open.Outcome == "ANSWER_REFUSED" {
			n++
		}
	}
	return n
}

func TestALateLegIsDeferredAndArrives(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.quiet(c.request("MIXED"))
	v := c.View(x)
	p := c.part(x, "DA-01")
	if v.State != "deferred" || v.Sufficient != nil || c.part(x, "SI-01").Code != Found || p.State != "deferred" || p.Code != "" || p.Legs[0].Code != "" || p.Legs[0].State != "deferred" || p.Legs[0].Retryable {
		t.Fatalf("%+v", v)
	}
	if want := c.now().Add(72 * time.Hour); p.Until == nil || p.Until.Before(want.Add(-time.Minute)) || p.Until.After(want) || v.Expires.Before(*p.Until) {
		t.Errorf("until %v, expires %v", p.Until, v.Expires)
	}
	for _, word := range []string{"已转为延时办理", "示例市住房公积金管理中心", "前答复", x.Number} {
		if !strings.Contains(p.Sentence, word) {
			t.Errorf("the clerk is not told %s: %s", word, p.Sentence)
		}
	}
	if !x.plan.parts[0].subject.claims.Person.Number.IsZero() {
		t.Error("the person stays in memory")
	}
	q := c.asked("DA-01.1")
	if q.ask.Digest != x.plan.parts[1].legs[0].digest || !q.ask.Subject.Number.Equal(person(t, liNumber, liName).Number) || q.ask.Attestation != "attested" {
		t.Error("another question than the live one")
	}
	c.offset.Store(int64(50 * time.Hour))
	c.ok(c.Returned(context.Background(), c.answer(q, c.slowly("D1"))))
	if v = c.View(x); v.State != "ended" || v.Sufficient == nil || !*v.Sufficient || c.part(x, "DA-01").Code != Found || c.part(x, "DA-01").State != "released" {
		t.Fatalf("%+v", v)
	}
	r := c.result(x, "DA-01")
	if r.Number == "" || !bytes.HasPrefix(r.Document, []byte("%PDF")) || c.data(r).Records[0]["account"] != "D1" || r.Authenticity != "source-signature" {
		t.Errorf("%s %s", r.Code, r.Sentence)
	}
	var kinds []string
	all, _, _ := x.Events(0)
	for _, e := range all {
		kinds = append(kinds, e.Kind)
	}
	for _, want := range []string{"part.deferred", "exchange.deferred", "exchange.ended"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("no %s in %v", want, kinds)
		}
	}
	c.recordsOfADeferral(x)
}

// recordsOfADeferral looks at what the log says: intent, deferral before the
// question, one end of the leg, release, close.
func (c *city) recordsOfADeferral(x *Exchange) {
	c.t.Helper()
	var said []string
	for _, e := range c.entries("") {
		if e.Open.Exchange != x.Number || e.Open.Proof == "SI-01" {
			continue
		}
		said = append(said, fmt.Sprint(e.Open.Op, " ", e.Open.Phase, " ", e.Open.Outcome, e.Closed.Reason))
		if e.Open.Op != audit.OpQuery && e.Open.Op != audit.OpIssue && e.Open.Prev == nil {
			c.t.Errorf("%s does not point at the intent", e.Open.Op)
		}
	}
	want := []string{"query intent ", "query intent DEFERRED", "source.call done FOUND", "release done FOUND", "query done "}
	if !slices.Equal(said, want) {
		c.t.Errorf("%q", said)
	}
}

func TestAnotherGatewayFinishesWhatADeadOneAsked(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin()
	x := a.quiet(a.request("MIXED"))
	q := a.asked("DA-01.1")
	stop, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	a.ok(a.Close(stop)) // it is gone for good
	if v := b.View(b.at(x)); v.State != "deferred" || len(v.Parts) != 2 || v.Parts[0].Code != Found || v.Parts[1].State != "deferred" || v.Case != "C-1" {
		t.Fatalf("%+v", v)
	}
	b.ok(b.Returned(context.Background(), b.answer(q, b.slowly("D1"))))
	y := b.at(x)
	if v := b.View(y); v.State != "ended" || !*v.Sufficient || v.Parts[1].Code != Found || v.Parts[1].Number == "" {
		t.Fatalf("%+v", v)
	}
	if r := b.result(y, "DA-01"); b.data(r).Records[0]["account"] != "D1" {
		t.Error(r.Sentence)
	}
	if b.result(y, "SI-01").Code != Found {
		t.Error("what the dead gateway had released is lost")
	}
	closed := 0
	for _, e := range b.entries(audit.OpQuery) {
		if e.Open.Exchange == x.Number && e.Open.Phase == audit.PhaseDone && e.Open.Prev == nil {
			closed++
		}
	}
	if closed != 1 {
		t.Errorf("closed %d times", closed)
	}
	other := b.who
	other.Operator = "clerk-02"
	if _, err := b.Find(context.Background(), other, x.Number); reasonOf(err) != ReasonNotFound {
		t.Errorf("another clerk: %v", err)
	}
	third := b.twin() // a restart: nothing in memory
	if r := third.result(third.at(x), "DA-01"); r.Code != Found {
		t.Error(r.Code)
	}
	if _, err := third.Retry(context.Background(), third.who, x.Number, "DA-01.1"); reasonOf(err) != ReasonNotRetryable {
		t.Errorf("retried without a person: %v", err)
	}
}

func TestTheAskerLearnsWhatAnotherGatewayFinished(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin()
	x := a.quiet(a.request("SLOW"))
	b.ok(b.Returned(context.Background(), b.answer(a.asked("DA-01.1"), b.slowly("D1"))))
	if v := a.View(a.at(x)); v.State != "ended" || v.Parts[0].Code != Found {
		t.Errorf("%+v", v)
	}
	if r := a.result(x, "DA-01"); r.Code != Found {
		t.Error(r.Code)
	}
}

func TestTheSameAnswerAtTwoGatewaysIsReleasedOnce(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin()
	x := a.quiet(a.request("SLOW"))
	r := a.answer(a.asked("DA-01.1"), a.slowly("D1"))
	var wg sync.WaitGroup
	for range 4 {
		for _, g := range []*city{a, b} {
			wg.Go(func() {
				if err := g.Returned(context.Background(), r); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if a.View(a.at(x)).State != "ended" {
		t.Fatal("not finished")
	}
	releases := len(a.entries(audit.OpRelease)) + len(b.entries(audit.OpRelease))
	issues := len(a.entries(audit.OpIssue)) + len(b.entries(audit.OpIssue))
	if releases != 1 || issues != 1 || a.refused()+b.refused() != 7 {
		t.Errorf("%d releases, %d documents, %d refused", releases, issues, a.refused()+b.refused())
	}
}

func TestADeferredLegEndsByItsDeadline(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin()
	x := a.quiet(a.request("SLOW"))
	q := a.asked("DA-01.1")
	a.offset.Store(int64(72*time.Hour) + int64(time.Second))
	a.ok(b.Returned(context.Background(), b.answer(q, b.slowly("D1"))))
	if b.refused() != 1 {
		t.Error("a late answer is not recorded")
	}
	b.finishDue(context.Background())
	a.finishDue(context.Background())
	p := a.View(a.at(x)).Parts[0]
	for end := time.Now().Add(5 * time.Second); p.Code != Timeout && time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // the sweep may have it in hand
		p = a.View(a.at(x)).Parts[0]
	}
	if p.Code != Timeout || p.Legs[0].Code != Timeout || p.Legs[0].Retryable {
		t.Errorf("%+v", p)
	}
	if n := len(a.entries(audit.OpRelease)) + len(b.entries(audit.OpRelease)); n != 1 {
		t.Errorf("ended %d times", n)
	}
}

func TestAnswersThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x, y := c.quiet(c.request("SLOW")), c.quiet(c.request("SLOW"))
	var q, other posted
	for _, p := range c.slow.posted {
		if p.ask.Terms.Exchange == x.Number {
			q = p
		} else {
			other = p
		}
	}
	good := c.slowly("D1")
	foreign := c.answer(other, good)
	foreign.Exchange = x.Number
	nobody := c.answer(q, good)
	nobody.Exchange = "2026112299ABCDEFGHJKV"
	elsewhere := c.answer(q, good)
	elsewhere.Leg = "SI-01.1"
	notDeferred := c.answer(q, good)
	notDeferred.Leg = "DA-01.2"
	stranger, err := jose.GenerateKey()
	c.ok(err)
	toStranger := c.answer(posted{ask: q.ask, reply: stranger.Public()}, good)
	for name, r := range map[string]Returned{
		"forged":                        c.answer(q, good, func(a *sealedAnswer) { a.Forged = true }),
		"to another exchange":           foreign,
		"to an exchange that is not":    nobody,
		"to another part":               elsewhere,
		"to a leg that is not":          notDeferred,
		"sealed to another key":         toStranger,
		"damaged":                       {Exchange: x.Number, Leg: "DA-01.1", Sealed: []byte("x")},
		"with headers that say rubbish": {Exchange: strings.Repeat("\x00长", 300), Leg: "\n", Sealed: []byte("x")},
	} {
		before := c.refused()
		c.ok(c.Returned(context.Background(), r))
		if c.refused() != before+1 {
			t.Errorf("%s: not recorded", name)
		}
	}
	if c.part(c.at(x), "DA-01").State != "deferred" || c.part(c.at(y), "DA-01").State != "deferred" {
		t.Error("something was believed")
	}
	c.ok(c.Returned(context.Background(), c.answer(q, good)))
	if c.part(x, "DA-01").Code != Found {
		t.Error("the genuine answer comes too late")
	}
}

// An answer is held to the question as a live one is.
func TestDeferredAnswersAreJudgedAsLiveOnes(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	about := func(number string) Answer {
		a := c.slowly("D1")
		a.Records[0].Number = number
		return a
	}
	for name, test := range map[string]struct {
		answer Answer
		code   Code
	}{
		"another person":      {about(wangNumber), Mismatch},
		"not found":           {Answer{State: StateNotFound, DataTime: c.now(), Authenticity: "source-signature"}, NotFound},
		"pending":             {Answer{State: StatePending, DataTime: c.now(), Authenticity: "source-signature"}, Pending},
		"not issuable":        {Answer{State: StateNotIssuable, DataTime: c.now(), Authenticity: "source-signature"}, Pending},
		"found, but unsigned": {func() Answer { a := c.slowly("D1"); a.Authenticity = "channel"; return a }(), SourceError},
		"too many":            {c.slowly("1", "2", "3", "4"), Multiple},
	} {
		t.Run(name, func(t *testing.T) {
			c.slow.set(func() { c.slow.posted = nil })
			x := c.quiet(c.request("SLOW"))
			c.ok(c.Returned(context.Background(), c.answer(c.asked("DA-01.1"), test.answer)))
			if p := c.part(x, "DA-01"); p.Code != test.code || c.result(x, "DA-01").Code != test.code {
				t.Errorf("%s %s", p.Code, p.Sentence)
			}
		})
	}
}

func TestALostGrantIsDenied(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.quiet(c.request("SLOW"))
	d, err := c.store.Deferral(context.Background(), x.Number, "DA-01")
	c.ok(err)
	plain, err := c.fleet.Open(typeDeferral, d.Context)
	c.ok(err)
	w, err := decodeDeferral(plain)
	c.ok(err)
	w.Fields = append(w.Fields, "secret") // as if the new catalogue granted less
	_, pt, err := c.rebuild(w, d.Expires)
	c.ok(err)
	if v := c.judge(pt); v.code != Denied {
		t.Error(v.code)
	}
}

// Two departments of one proof answer at two gateways.
func TestSeveralDeferredLegsAreJoined(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin()
	x := a.quiet(a.request("JOIN"))
	if p := a.part(x, "HJ-01"); p.State != "deferred" || p.Legs[0].State != "ended" || p.Legs[0].Code != "" || !strings.Contains(p.Sentence, "东县") {
		t.Fatalf("%+v", p)
	}
	a.ok(a.Returned(context.Background(), a.answer(a.asked("HJ-01.2"), a.slowly("E1"))))
	if a.part(a.at(x), "HJ-01").State != "deferred" {
		t.Fatal("finished with a leg missing")
	}
	b.ok(b.Returned(context.Background(), b.answer(a.asked("HJ-01.3"), b.slowly("W1"))))
	r := a.result(a.at(x), "HJ-01")
	records := a.data(r).Records
	if len(records) != 3 || records[0]["account"] != "H1" || records[1]["account"] != "E1" || records[2]["account"] != "W1" || len(r.Missing) > 0 {
		t.Errorf("%s %s", r.Code, r.Sentence)
	}
}

func TestAtTheDeadlineThePartIsMadeOfWhatCame(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.quiet(c.request("JOIN"))
	c.ok(c.Returned(context.Background(), c.answer(c.asked("HJ-01.3"), c.slowly("W1"))))
	c.offset.Store(int64(73 * time.Hour))
	c.finishDue(context.Background())
	for end := time.Now().Add(5 * time.Second); c.View(c.at(x)).State != "ended" && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	if r := c.result(x, "HJ-01"); r.Code != Found || len(r.Missing) != 1 || !strings.Contains(r.Missing[0], "东县") {
		t.Errorf("%s %s", r.Code, r.Sentence)
	}
}

func TestNothingIsAskedAgainWithoutItsRecord(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.slow.set(func() {
		c.slow.live = func(ctx context.Context, _ Ask) (Answer, error) {
			c.breakLog()
			<-ctx.Done()
			return Answer{}, ctx.Err()
		}
	})
	x := c.ended(c.request("SLOW"))
	if len(c.slow.posted) != 0 {
		t.Error("a question without a record")
	}
	if p := c.part(x, "DA-01"); p.State != "withheld" {
		t.Errorf("%+v", p)
	}
}

func TestWhatCannotBeSentEndsLive(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	for name, test := range map[string]struct {
		live error
		code Code
	}{"late": {context.DeadlineExceeded, Timeout}, "front is down": {ErrUnreachable, Unreachable}} {
		t.Run(name, func(t *testing.T) {
			c.slow.set(func() {
				c.slow.live = func(context.Context, Ask) (Answer, error) { return Answer{}, test.live }
				c.slow.refuse = errors.New("no broker")
			})
			x := c.ended(c.request("SLOW"))
			if p := c.part(x, "DA-01"); p.Code != test.code || !p.Legs[0].Retryable {
				t.Errorf("%+v", p)
			}
			c.slow.set(func() { c.slow.refuse = nil })
			_, err := c.Retry(context.Background(), c.who, x.Number, "DA-01.1")
			c.ok(err)
			for !x.Quiet() {
				time.Sleep(time.Millisecond)
			}
			if p := c.part(x, "DA-01"); p.State != "deferred" {
				t.Errorf("%+v", p)
			}
		})
	}
	t.Run("what was answered is not asked again", func(t *testing.T) {
		for _, live := range []error{ErrDenied, errors.New("HTTP 500")} {
			c.slow.set(func() {
				c.slow.live, c.slow.posted = func(context.Context, Ask) (Answer, error) { return Answer{}, live }, nil
			})
			if x := c.ended(c.request("SLOW")); c.part(x, "DA-01").State != "released" || len(c.slow.posted) > 0 {
				t.Errorf("%v is deferred", live)
			}
		}
	})
}

// What cannot be gone on with is recorded and done with, at once or at the
// deadline, so that the answers after it are not held up.
func TestALostDeferralHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	x := a.quiet(a.request("SLOW"))
	b := *a
	b.fleet = fleet.InMemory() // another fleet: its keys are gone
	lost := b.twin()
	a.ok(lost.Returned(context.Background(), a.answer(a.asked("DA-01.1"), a.slowly("D1"))))
	if lost.refused() != 1 {
		t.Error("the answer is not recorded")
	}
	stop, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	a.ok(a.Close(stop))
	a.offset.Store(int64(72*time.Hour) + int64(time.Second))
	lost.finish(context.Background(), store.PartRef{ExchangeNo: x.Number, Part: "DA-01"})
	end := time.Now().Add(5 * time.Second) // the sweep may have it in hand
	for _, err := a.store.Deferral(context.Background(), x.Number, "DA-01"); !errors.Is(err, store.ErrNotFound); _, err = a.store.Deferral(context.Background(), x.Number, "DA-01") {
		if time.Now().After(end) {
			t.Fatal("it waits for ever")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if ends := lost.entries(audit.OpRelease); len(ends) != 1 || ends[0].Open.Outcome != "WITHHELD" || ends[0].Open.Exchange != x.Number {
		t.Errorf("%+v", ends)
	}
}

func TestAPostThatUsesAllItsTimeIsTakenBack(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.post = 50 * time.Millisecond
	c.slow.set(func() { c.slow.hangs = true })
	x := c.ended(c.request("SLOW"))
	if _, err := c.store.Deferral(context.Background(), x.Number, "DA-01"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the deferral stays: %v", err)
	}
	if left := x.expires(); left.After(x.Began.Add(c.lifetime)) {
		t.Errorf("kept until %v for an answer that nobody was asked for", left)
	}
	c.offset.Store(int64(72*time.Hour) + int64(time.Second))
	c.finishDue(context.Background())
	if n := len(c.entries(audit.OpRelease)); n != 1 {
		t.Errorf("released %d times", n)
	}
}

func TestADeletedExchangeIsNotFinished(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin()
	x := a.quiet(a.request("SLOW"))
	b.ok(b.Forget(context.Background(), b.at(x)))
	a.ok(a.Returned(context.Background(), a.answer(a.asked("DA-01.1"), a.slowly("D1"))))
	for _, g := range []*city{a, b} {
		if _, err := g.Find(context.Background(), g.who, x.Number); reasonOf(err) != ReasonNotFound {
			t.Errorf("%v", err)
		}
	}
	if len(a.entries(audit.OpRelease))+len(b.entries(audit.OpRelease)) > 0 {
		t.Error("released")
	}
}

// The parts of a deferral in the store cannot be exchanged for one another.
func TestADeferralIsOfItsOwnPartOnly(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x, y := c.quiet(c.request("SLOW")), c.quiet(c.request("SLOW"))
	d, err := c.store.Deferral(context.Background(), x.Number, "DA-01")
	c.ok(err)
	d.ExchangeNo = y.Number
	if _, _, err := c.resume(d); err == nil {
		t.Error("another exchange's deferral is taken")
	}
}

// Whatever a sensitive proof found: one size, the same records, no code.
func TestDeferredSensitiveProofsTellNothing(t *testing.T) {
	sizes, logs := map[int]bool{}, map[string]bool{}
	for name, state := range map[string]State{"found": StateFound, "not found": StateNotFound, "pending": StatePending} {
		c := newCity(t)
		x := c.quiet(c.request("HUSH"))
		a := c.slowly("SECRET")
		if state != StateFound {
			a.State, a.Records = state, nil
		}
		began := time.Now()
		c.ok(c.Returned(context.Background(), c.answer(c.asked("CR-01.1"), a)))
		if took := time.Since(began); took < maskStep {
			t.Errorf("%s: released after %v: the time tells", name, took)
		}
		sealed, err := c.Sealed(context.Background(), x, "CR-01")
		c.ok(err)
		plain, err := jose.DecryptSM2(c.reply, TypeResult, string(sealed))
		c.ok(err)
		sizes[len(plain)] = true
		said := ""
		for _, e := range c.entries("") {
			if e.Open.Op != audit.OpQuery && (e.Open.Exchange == x.Number || e.Open.Op == audit.OpIssue) {
				said += fmt.Sprintln(e.Open.Op, e.Open.Phase, e.Open.Outcome, e.Open.Millis, e.Open.Authenticity)
			}
		}
		logs[said] = true
		if !strings.Contains(said, "release done ANSWERED") || strings.Contains(c.logged.String(), x.Number) {
			t.Errorf("%s: %s\n%s", name, said, c.logged)
		}
	}
	if len(sizes) != 1 || len(logs) != 1 {
		t.Errorf("%d sizes, %d kinds of log: %v", len(sizes), len(logs), logs)
	}
}

func FuzzDeferralIsDecodedStrictly(f *testing.F) {
	f.Add([]byte(`{"v":1,"legs":[{"id":"a.1","until":5}]}`))
	f.Add([]byte(`{"v":1,"legs":[{"id":"a.1","answer":{"code":"FOUND","records":[{"n":1.50}]}}]}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		w, err := decodeDeferral(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeDeferral(again); err != nil {
			t.Errorf("not read back: %s", again)
		}
	})
}

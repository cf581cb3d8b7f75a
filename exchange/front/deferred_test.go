package front

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/exchange"
	"yizheng/exchange/envelope"
	"yizheng/exchange/ferry"
	"yizheng/identity/jose"
)

// deferred is a question that was made before, with three days to go from then.
func deferred(q Question, made time.Time) envelope.Attributes {
	a := attributes(q)
	a.ReplyTo, a.SignedAt, a.Deadline = ferry.TopicDeferredReply, made, made.Add(72*time.Hour)
	return a
}

// reasons are why questions were refused.
func (d *desk) reasons() (list []string) {
	for _, e := range d.entries(audit.OpDeny) {
		list = append(list, e.Closed.Reason)
	}
	return list
}

func TestADeferredQuestionNeedsAReadThatIsFreshWhenItComes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	made := now.Add(-50 * time.Minute)
	for name, test := range map[string]struct {
		read   time.Time
		change func(*envelope.Attributes, *Question)
		reason string
	}{
		"fresh fifty minutes ago": {made, nil, ""},
		"under an older release":  {made, func(a *envelope.Attributes, q *Question) { q.Terms.Release = 6; a.LegDigest = q.Terms.Digest() }, ""},
		"under a later release":   {made, func(a *envelope.Attributes, q *Question) { q.Terms.Release = 8; a.LegDigest = q.Terms.Digest() }, "RELEASE"},
		"over an hour old":        {now.Add(-62 * time.Minute), nil, "CARD_READ"},
		"three days old, and signed as of then": {now.Add(-71 * time.Hour), func(a *envelope.Attributes, _ *Question) {
			a.SignedAt, a.Deadline = now.Add(-71*time.Hour), now.Add(time.Hour)
		}, "CARD_READ"},
		"read in an hour":        {now.Add(time.Hour), nil, "CARD_READ"},
		"of tomorrow":            {made, func(a *envelope.Attributes, _ *Question) { a.SignedAt = now.Add(time.Hour) }, "DEFERRED"},
		"with too much time":     {made, func(a *envelope.Attributes, _ *Question) { a.Deadline = made.Add(73 * time.Hour) }, "DEFERRED"},
		"deadline over":          {made, func(a *envelope.Attributes, _ *Question) { a.Deadline = now.Add(-time.Second) }, "DEADLINE"},
		"live, with an old read": {made, func(a *envelope.Attributes, _ *Question) { a.ReplyTo = "xg.rep.gw00" }, "CARD_READ"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			r := cardRead(now)
			later(test.read)(&r)
			q := r.question(t, "X-1")
			a := deferred(q, made)
			if test.change != nil {
				test.change(&a, &q)
			}
			got := d.handle(a, q)
			if test.reason == "" {
				if got.State != exchange.StateFound {
					t.Errorf("%q %v\n%s", got.Refusal, d.reasons(), d.logged)
				}
				return
			}
			if reasons := d.reasons(); got.Refusal != Denied || len(reasons) != 1 || reasons[0] != test.reason || d.system.times() > 0 {
				t.Errorf("%q %v", got.Refusal, reasons)
			}
		})
	}
}

func TestASourceWithoutMoreTimeIsNotAskedWithMore(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	q := cardRead(time.Now()).question(t, "X-1")
	q.Source, q.Terms.Proof = "ue-2", "UE-02"
	a := deferred(q, time.Now())
	a.LegDigest = q.Terms.Digest()
	if got := d.handle(a, q); got.Refusal != Denied || d.reasons()[0] != "DEFERRED" {
		t.Errorf("%q %v", got.Refusal, d.reasons())
	}
}

// However long a department needs, the questions behind wait with a read that
// was fresh when they came.
func TestADeferredQuestionThatWaitsForItsTurnDoesNotGrowStale(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for range cap(d.places) {
		d.places <- struct{}{}
	}
	now := time.Now()
	d.at(now)
	q := cardRead(now).question(t, "X-1")
	body, err := q.encode()
	d.ok(err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := d.Handle(ctx, deferred(q, now), body)
		ended <- err
	}()
	mark := func() int { d.reads.mu.Lock(); defer d.reads.mu.Unlock(); return len(d.reads.used) }
	for until := time.Now().Add(5 * time.Second); mark() < 2 && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	stop() // the process ends, and nothing is answered
	if err := <-ended; !errors.Is(err, context.Canceled) || d.system.times() > 0 {
		t.Fatalf("%v, asked %d times", err, d.system.times())
	}
	for range cap(d.places) {
		<-d.places
	}
	d.at(now.Add(50 * time.Hour))
	if got := d.handle(deferred(q, now), q); got.State != exchange.StateFound {
		t.Errorf("in its turn: %q %v", got.Refusal, d.reasons())
	}
}

// One card read, one exchange: live and deferred are one use of it, for as long
// as anybody might be asked on its strength, also after a restart.
func TestACardReadIsUsedOnceAcrossRestarts(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := cardRead(time.Now())
	q := r.question(t, "X-1")
	if got := d.handle(attributes(q), q); got.State != exchange.StateFound {
		t.Fatalf("live: %q", got.Refusal)
	}
	if got := d.handle(deferred(q, time.Now()), q); got.State != exchange.StateFound {
		t.Fatalf("deferred, the same exchange: %q", got.Refusal)
	}
	raw, err := os.ReadFile(d.Reads)
	d.ok(err)
	if strings.Contains(string(raw), r.challenge.Nonce) || strings.Contains(string(raw), "X-1") || strings.Count(string(raw), "\n") != 3 {
		t.Errorf("the file tells more than it has to:\n%s", raw)
	}
	d.ok(os.WriteFile(d.Reads, append(raw, "torn"...), 0o600)) // as a crash may leave it
	d.ok(d.Agent.Close())
	again, err := NewAgent(d.Config)
	d.ok(err)
	d.Agent = again
	d.at(time.Now().Add(30 * time.Minute))
	second := q
	second.Terms.Exchange = "X-2"
	if got := d.handle(deferred(second, time.Now()), second); got.Refusal != Denied || d.reasons()[0] != "CARD_READ_REUSED" {
		t.Errorf("another exchange, after a restart: %q %v", got.State, d.reasons())
	}
	d.at(time.Now().Add(60 * time.Hour))
	if got := d.handle(deferred(q, time.Now()), q); got.State != exchange.StateFound {
		t.Errorf("the same exchange, after a restart: %q", got.Refusal)
	}
	other := q
	other.Terms.Leg = "UE-01.2"
	if got := d.handle(deferred(other, time.Now()), other); got.Refusal != Denied || d.reasons()[1] != "CARD_READ" {
		t.Errorf("another question of the exchange, after days: %q %v", got.State, d.reasons())
	}
}

func TestADamagedFileOfReadsIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"something else":     "#!/bin/sh\n",
		"damaged at its end": readsHead + "\nxx\n",
		"damaged":            readsHead + "\nxx\n" + strings.Repeat("0", 32) + " " + strings.Repeat("0", 32) + " 1\n",
	} {
		path := filepath.Join(t.TempDir(), "reads")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openReads(path, time.Now()); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := NewAgent(Config{Front: "hr-front", Release: release}); !errors.Is(err, ErrNoReads) {
		t.Errorf("a front that would forget: %v", err)
	}
}

// tornFile takes half of what is written while it is full.
type tornFile struct {
	appender
	full bool
}

func (f *tornFile) WriteString(s string) (int, error) {
	if !f.full {
		return f.appender.WriteString(s)
	}
	n, _ := f.appender.WriteString(s[:len(s)/2])
	return n, syscall.ENOSPC
}

func TestAReadIsNotForgottenBecauseOfOneThatCouldNotBeWritten(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	until := now.Add(time.Hour)
	path := filepath.Join(t.TempDir(), "reads")
	r, err := openReads(path, now)
	must(err)
	must(r.take("first", "X-1", now, until))
	disk := &tornFile{r.file, true}
	r.file = disk
	if err := r.take("second", "X-2", now, until); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a full disk: %v", err)
	}
	stopped, err := os.ReadFile(path) // as a crash would leave it
	must(err)
	disk.full = false
	must(r.take("third", "X-3", now, until))
	must(r.take("fourth", "X-4", now, until))
	must(r.close())
	went, err := os.ReadFile(path)
	must(err)
	for file, used := range map[string][]string{string(stopped): {"first"}, string(went): {"first", "third", "fourth"}} {
		must(os.WriteFile(path, []byte(file), 0o600))
		again, err := openReads(path, now)
		must(err)
		for _, nonce := range used {
			if err := again.take(nonce, "X-9", now, until); !errors.Is(err, errUsed) {
				t.Errorf("%s, of %v: %v", nonce, used, err)
			}
		}
		must(again.take("second", "X-9", now, until))
		must(again.close())
	}
}

func TestWhatCannotBeRememberedIsNotAsked(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.ok(d.Agent.reads.file.Close())
	q := cardRead(time.Now()).question(t, "X-1")
	body, err := q.encode()
	d.ok(err)
	if _, err := d.Handle(t.Context(), attributes(q), body); !errors.Is(err, errForgetful) || d.system.times() > 0 {
		t.Errorf("%v, asked %d times", err, d.system.times())
	}
	d.Agent.reads.file = nil
}

func FuzzUsesAreParsedAsWritten(f *testing.F) {
	f.Add(strings.Repeat("a", 32) + " " + strings.Repeat("0", 32) + " 1")
	f.Add("a b 1")
	f.Fuzz(func(t *testing.T, s string) {
		nonce, u, ok := parseUse(s)
		if !ok {
			return
		}
		n, v, ok := parseUse(strings.TrimSuffix(useLine(nonce, u), "\n"))
		if !ok || n != nonce || v.exchange != u.exchange || !v.until.Equal(u.until) {
			t.Errorf("%q", s)
		}
	})
}

// returned is what comes to the fleet's address.
func (l *line) returned() <-chan exchange.Returned {
	came := make(chan exchange.Returned, 8)
	l.run(func(ctx context.Context) error {
		return ferry.CollectDeferred(ctx, l.bus, func(_ context.Context, m ferry.Message) error {
			came <- exchange.Returned{Exchange: m.Headers[ferry.HeaderExchange], Leg: m.Headers[ferry.HeaderLeg], Headers: m.Headers, Sealed: m.Body}
			return nil
		})
	})
	return came
}

func wait(t *testing.T, came <-chan exchange.Returned) exchange.Returned {
	t.Helper()
	select {
	case r := <-came:
		return r
	case <-time.After(15 * time.Second):
		t.Fatal("no answer comes")
		return exchange.Returned{}
	}
}

// A front is stopped while its department works on a deferred question; the
// next process is asked again, and one answer goes out.
func TestARestartedFrontAnswersADeferredQuestion(t *testing.T) {
	t.Parallel()
	l, d := newLine(t), newDesk(t)
	fleet, err := jose.GenerateKey()
	d.ok(err)
	keys := only(fleet)
	began := make(chan struct{}, 8)
	d.system.says(func(ctx context.Context, _ exchange.Ask) (exchange.Answer, error) {
		began <- struct{}{}
		<-ctx.Done()
		return exchange.Answer{}, ctx.Err()
	})
	came := l.returned()
	s := l.source()
	q := cardRead(time.Now()).question(t, "X-1")
	stop := l.serve(d.door().Handle)
	d.ok(s.Defer(t.Context(), asked(q), time.Now().Add(time.Hour), fleet.Public()))
	<-began
	stop()
	d.system.gives(found(registered()), nil)
	l.serve(d.door().Handle)
	r := wait(t, came)
	got, err := s.Returned(asked(q), keys, r)
	if err != nil || got.State != exchange.StateFound || got.Records[0].Fields["status"] != "1" {
		t.Fatalf("%q, %v", got.State, err)
	}
	if r.Exchange != "X-1" || r.Leg != "UE-01.1" {
		t.Errorf("%s %s", r.Exchange, r.Leg)
	}
	kept := r
	kept.Headers = nil // as the store has it
	if _, err := s.Returned(asked(q), keys, kept); err != nil {
		t.Errorf("from the store: %v", err)
	}
	stranger, err := jose.GenerateKey()
	d.ok(err)
	other := q
	other.Terms.Exchange = "X-2"
	swapped := r
	swapped.Headers = map[string]string{}
	for k, v := range r.Headers {
		swapped.Headers[k] = v
	}
	swapped.Headers[envelope.HeaderExchange] = "X-2"
	forged := r
	forged.Headers, forged.Sealed = nil, sealedBy(t, own["si-front"], fleet, q)
	for name, try := range map[string]func() (exchange.Answer, error){
		"to another question": func() (exchange.Answer, error) { return s.Returned(asked(other), keys, kept) },
		"under other headers": func() (exchange.Answer, error) { return s.Returned(asked(q), keys, swapped) },
		"to a key not here":   func() (exchange.Answer, error) { return s.Returned(asked(q), only(stranger), kept) },
		"signed by another":   func() (exchange.Answer, error) { return s.Returned(asked(q), keys, forged) },
		"refused by transport": func() (exchange.Answer, error) {
			return s.Returned(asked(q), keys, exchange.Returned{Sealed: []byte{}})
		},
	} {
		if _, err := try(); !errors.Is(err, exchange.ErrNotAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	select {
	case <-came:
		t.Error("answered twice")
	case <-time.After(300 * time.Millisecond):
	}
}

// sealedBy is a good answer to q by somebody.
func sealedBy(t *testing.T, key, to *jose.Key, q Question) []byte {
	t.Helper()
	body, err := Reply{State: exchange.StateNotFound, DataTime: time.Now()}.encode()
	if err != nil {
		t.Fatal(err)
	}
	sealed, _, err := envelope.Seal(envelope.Sender{Key: key}, envelope.Recipient{Key: to.Public()}, envelope.Attributes{Kind: envelope.Answer,
		Exchange: q.Terms.Exchange, Leg: q.Terms.Leg, Attempt: 1, Sender: "hr-front", Recipient: Fleet, Deadline: time.Now().Add(time.Hour),
		LegDigest: q.Terms.Digest()}, body)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// A department whose system is down when the question comes answers when it is back.
func TestADeferredQuestionWaitsForTheSystem(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.system.says(func(context.Context, exchange.Ask) (exchange.Answer, error) {
		if d.system.times() == 1 {
			return exchange.Answer{}, exchange.ErrUnreachable
		}
		return found(registered()), nil
	})
	q := cardRead(time.Now()).question(t, "X-1")
	if got := d.handle(deferred(q, time.Now()), q); got.State != exchange.StateFound || d.system.times() != 2 {
		t.Errorf("%q, asked %d times", got.Refusal, d.system.times())
	}
}

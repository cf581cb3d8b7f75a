//go:build integration

package spool

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"yizheng/identity/jose"
)

// The relay of this test is this test binary, started again: a link, a pipe to
// the test, and two pumps between them.

func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_RELAY"); dir != "" {
		if err := relay(dir, os.Getenv("SPOOL_SIDE")); err != nil {
			fmt.Fprintln(os.Stderr, "relay:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// line is what relay and test say to each other.
type line struct {
	Put     *Message  `json:"put,omitempty"`     // test: take this
	Stored  []string  `json:"stored,omitempty"`  // relay: taken
	Deliver []Message `json:"deliver,omitempty"` // relay: arrived
	OK      bool      `json:"ok,omitempty"`      // test: dealt with
}

func relay(dir, side string) error {
	c := sideA(dir)
	own, peer := "a", "b"
	if side == "b" {
		c, own, peer = sideB(dir), "b", "a"
	}
	key, err := jose.ReadKey(filepath.Join(filepath.Dir(dir), own+".key"), "")
	if err != nil {
		return err
	}
	pub, err := jose.ReadPublicKey(filepath.Join(filepath.Dir(dir), peer+".pub"))
	if err != nil {
		return err
	}
	c.Key, c.PeerKey = key, func(string) *ecdsa.PublicKey { return pub }
	c.GapAfter, c.ResendAfter = 100*time.Millisecond, 500*time.Millisecond
	events, err := os.OpenFile(dir+".events", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	told := json.NewEncoder(events) // one write for each event: a kill does not take it back
	var telling sync.Mutex
	c.Events = func(e Event) { telling.Lock(); defer telling.Unlock(); told.Encode(e) }
	l, err := Open(c)
	if err != nil {
		return err
	}
	pipe := newPipe(os.Stdin, os.Stdout)
	refuse := func(m Message, err error) { fmt.Fprintln(os.Stderr, "relay: refused", m.ID, err) }
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go Pump(ctx, pipe, l, refuse)
	go Pump(ctx, l, pipe, refuse)
	return l.Run(ctx)
}

// pipe is an Endpoint at the end of two pipes.
type pipe struct {
	in  chan Message
	ok  chan struct{}
	mu  sync.Mutex
	out *json.Encoder
}

func newPipe(r io.Reader, w io.Writer) *pipe {
	p := &pipe{in: make(chan Message, 64), ok: make(chan struct{}, 1), out: json.NewEncoder(w)}
	go func() {
		d := json.NewDecoder(r)
		for {
			var l line
			if d.Decode(&l) != nil {
				return
			}
			if l.Put != nil {
				p.in <- *l.Put
			} else if l.OK {
				p.ok <- struct{}{}
			}
		}
	}()
	return p
}

func (p *pipe) say(l line) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Encode(l)
}

func (p *pipe) Receive(ctx context.Context, handle func(context.Context, []Message) error) error {
	for {
		batch := []Message{<-p.in}
		for len(p.in) > 0 && len(batch) < 32 {
			batch = append(batch, <-p.in)
		}
		if err := handle(ctx, batch); err != nil {
			return err
		}
		var stored []string
		for _, m := range batch {
			stored = append(stored, m.ID)
		}
		if err := p.say(line{Stored: stored}); err != nil {
			return err
		}
	}
}

func (p *pipe) Send(ctx context.Context, messages []Message) error {
	if err := p.say(line{Deliver: messages}); err != nil {
		return err
	}
	select {
	case <-p.ok:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mortal keeps a relay process alive that is killed all the time. It plays
// Kafka: what the relay has not acknowledged is given to the next one again.
type mortal struct {
	t         *testing.T
	dir, side string
	arrived   func(Message)

	mu         sync.Mutex
	cmd        *exec.Cmd
	out        *json.Encoder
	todo       []Message // not yet given to the present relay
	given      map[string]Message
	kills      int
	generation int
	seen       map[string]int // id -> generation that delivered it last
	again      int            // deliveries repeated by a later generation
	twice      int            // deliveries repeated by the same one
	stopping   bool
	wake       chan struct{}
}

func newMortal(t *testing.T, dir, side string, arrived func(Message)) *mortal {
	return &mortal{t: t, dir: dir, side: side, arrived: arrived, given: map[string]Message{}, seen: map[string]int{}, wake: make(chan struct{}, 1)}
}

// live starts relays, one after the other, until stop.
func (r *mortal) live() {
	for {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "SPOOL_RELAY="+r.dir, "SPOOL_SIDE="+r.side)
		cmd.Stderr = os.Stderr
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err1 != nil || err2 != nil || cmd.Start() != nil {
			r.t.Error("relay did not start")
			return
		}
		r.mu.Lock()
		r.cmd, r.out = cmd, json.NewEncoder(in)
		r.generation++
		for _, m := range r.given { // never acknowledged: once more
			r.todo = append(r.todo, m)
		}
		clear(r.given)
		generation := r.generation
		stop := r.stopping
		r.mu.Unlock()
		if stop {
			cmd.Process.Kill()
		}
		feeding := make(chan struct{})
		done := make(chan struct{})
		go func() { defer close(feeding); r.feed(in, done) }()
		r.listen(out, generation)
		cmd.Wait()
		close(done)
		<-feeding
		r.mu.Lock()
		stop = r.stopping
		r.mu.Unlock()
		if stop {
			return
		}
	}
}

// feed gives the relay what there is to do.
func (r *mortal) feed(in io.WriteCloser, done chan struct{}) {
	defer in.Close()
	for {
		r.mu.Lock()
		var m Message
		some := len(r.todo) > 0 && len(r.given) < 200
		var err error
		if some {
			m, r.todo = r.todo[0], r.todo[1:]
			r.given[m.ID] = m
			err = nil
		}
		r.mu.Unlock()
		if some {
			err = r.say(line{Put: &m})
		}
		if err != nil {
			<-done
			return
		}
		if some {
			continue
		}
		select {
		case <-r.wake:
		case <-done:
			return
		}
	}
}

var sayLocks sync.Map // of *mortal: one writer at a time to a relay's standard input

func (r *mortal) say(l line) error {
	lock, _ := sayLocks.LoadOrStore(r, &sync.Mutex{})
	lock.(*sync.Mutex).Lock()
	defer lock.(*sync.Mutex).Unlock()
	r.mu.Lock()
	out := r.out
	r.mu.Unlock()
	return out.Encode(l)
}

func (r *mortal) listen(out io.Reader, generation int) {
	d := json.NewDecoder(bufio.NewReader(out))
	for {
		var l line
		if d.Decode(&l) != nil {
			return
		}
		r.mu.Lock()
		for _, id := range l.Stored {
			delete(r.given, id)
		}
		r.mu.Unlock()
		r.nudge()
		for _, m := range l.Deliver {
			r.mu.Lock()
			before, known := r.seen[m.ID]
			r.seen[m.ID] = generation
			if known && before == generation {
				r.twice++
			} else if known {
				r.again++
			}
			r.mu.Unlock()
			if !known { // as a front or a gateway does: act once
				r.arrived(m)
			}
		}
		if len(l.Deliver) > 0 {
			r.say(line{OK: true}) // if it is dead by now it will ask again
		}
	}
}

func (r *mortal) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *mortal) put(m Message) {
	r.mu.Lock()
	r.todo = append(r.todo, m)
	r.mu.Unlock()
	r.nudge()
}

func (r *mortal) kill(last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd != nil {
		r.cmd.Process.Kill()
		r.kills++
	}
	r.stopping = r.stopping || last
}

func (r *mortal) count() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.seen) }

func TestRelaysKilledAHundredTimesLoseNothing(t *testing.T) {
	const envelopes, kills = 10_000, 110
	root := t.TempDir()
	for side, key := range map[string]*jose.Key{"a": keyA, "b": keyB} {
		pub, err := jose.MarshalPublicKeyPEM(key.Public())
		if err == nil {
			err = os.WriteFile(filepath.Join(root, side+".pub"), pub, 0o600)
		}
		if err == nil {
			err = key.WriteFile(filepath.Join(root, side+".key"), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	dirA, dirB := filepath.Join(root, "spool-a"), filepath.Join(root, "spool-b")
	d := startDevice(t, dirA, dirB, badWeather...)
	var a, b *mortal
	a = newMortal(t, dirA, "a", func(Message) {})
	b = newMortal(t, dirB, "b", func(m Message) {
		b.put(Message{ID: m.ID + "/answer", Headers: m.Headers, Body: m.Body, NotAfter: m.NotAfter})
	})
	var living sync.WaitGroup
	for _, r := range []*mortal{a, b} {
		living.Go(r.live)
	}
	deadline := time.Now().Add(time.Hour)
	began := time.Now()
	for n := range kills {
		// The work is spread over the kills, so that none hits an idle relay.
		for i := n * envelopes / kills; i < (n+1)*envelopes/kills; i++ {
			m := message(i)
			m.NotAfter = deadline
			a.put(m)
		}
		time.Sleep(time.Duration(50+rand.IntN(250)) * time.Millisecond)
		[]*mortal{a, b}[rand.IntN(2)].kill(false)
	}
	waitLong(t, "all answers", 2*time.Minute, func() bool { return a.count() == envelopes && b.count() == envelopes })
	took := time.Since(began)
	time.Sleep(300 * time.Millisecond) // a late repetition would come now
	a.kill(true)
	b.kill(true)
	living.Wait()
	if a.twice+b.twice > 0 {
		t.Errorf("%d messages were delivered twice by a process that was not killed in between", a.twice+b.twice)
	}
	if a.again > MaxRecords*a.kills || b.again > MaxRecords*b.kills {
		t.Errorf("more was repeated than one file for each kill: %d for %d, %d for %d", a.again, a.kills, b.again, b.kills)
	}
	var events log
	readEvents(t, &events, dirA+".events", dirB+".events")
	checkNamed(t, d, &events, "CITY_POLICE", "POLICE_CITY")
	if lost := append(events.of(EventLost), events.of(EventVoid)...); len(lost) > 0 {
		t.Errorf("%d files were given up, the first: %+v", len(lost), lost[0])
	}
	t.Logf("%d round trips in %v, %d+%d kills; handed over again after a kill, and dropped by id: %d+%d",
		envelopes, took.Round(time.Millisecond), a.kills, b.kills, a.again, b.again)
}

func readEvents(t *testing.T, into *log, files ...string) {
	t.Helper()
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var e Event
			if json.Unmarshal(lines.Bytes(), &e) == nil { // a kill may have cut one off
				into.add(e)
			}
		}
		f.Close()
	}
}

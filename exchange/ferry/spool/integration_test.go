//go:build integration

package spool

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// device runs the simulated boundary device as the separate program it is.
type device struct {
	mu      sync.Mutex
	touched map[string]map[string]int // event -> file -> times
}

func buildDevice(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "gapdevice")
	build := exec.Command("go", "build", "-o", program, "yizheng/deploy/simulators/gapdevice")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build gapdevice: %v\n%s", err, out)
	}
	return program
}

func startDevice(t testing.TB, a, b string, args ...string) *device {
	t.Helper()
	d := &device{touched: map[string]map[string]int{}}
	cmd := exec.Command(buildDevice(t), append([]string{"-a", a, "-b", b, "-events"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var e struct{ Event, File string }
			if json.Unmarshal(lines.Bytes(), &e) != nil {
				continue
			}
			if e.Event == "ready" {
				close(ready)
				continue
			}
			d.mu.Lock()
			if d.touched[e.Event] == nil {
				d.touched[e.Event] = map[string]int{}
			}
			d.touched[e.Event][e.File]++
			d.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("gapdevice: %v", err)
		}
	})
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		t.Fatal("gapdevice did not become ready")
	}
	return d
}

// data returns the data files of a channel that the device has done something to.
func (d *device) data(channel string, events ...string) map[name]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := map[name]bool{}
	for _, event := range events {
		for file := range d.touched[event] {
			if n, ok := parseName(file, "dat"); ok && n.kind == Data && n.channel == channel {
				found[n] = true
			}
		}
	}
	return found
}

// named returns the files that events name as gaps, as repaired or as bad.
func (l *log) named() map[posOf]bool {
	named := map[posOf]bool{}
	for _, kind := range []EventKind{EventGap, EventResent} {
		for _, e := range l.of(kind) {
			for seq := e.From; seq <= e.To; seq++ {
				named[posOf{e.Channel, pos{e.Epoch, seq}}] = true
			}
		}
	}
	for _, e := range l.of(EventQuarantined) {
		if n, ok := parseName(e.File, "dat"); ok && n.kind == Data {
			named[posOf{n.channel, pos{n.epoch, n.seq}}] = true
		}
	}
	return named
}

// checkNamed fails for each data file that the device has harmed and no event
// names.
func checkNamed(t *testing.T, d *device, events *log, channels ...string) {
	t.Helper()
	named := events.named()
	for _, channel := range channels {
		whole := d.data(channel, "duplicate")
		for n := range d.data(channel, "drop", "truncate") {
			// A file cut off may have been replaced by its whole duplicate
			// before anyone looked.
			if !named[posOf{channel, pos{n.epoch, n.seq}}] && !whole[n] {
				t.Errorf("file %s was harmed and never named", n.file("dat"))
			}
		}
	}
}

// posOf names a file of either channel.
type posOf struct {
	channel string
	pos
}

var badWeather = []string{"-scan", "10ms", "-drop", "30", "-duplicate", "15", "-reorder", "20", "-truncate", "5", "-seed", "42"}

func TestTenThousandEnvelopesThroughABadDevice(t *testing.T) {
	const envelopes = 10_000
	dirA, dirB := t.TempDir(), t.TempDir()
	var events log
	ca, cb := sideA(dirA), sideB(dirB)
	for _, c := range []*Config{&ca, &cb} {
		c.Scan, c.AckEvery, c.GapAfter, c.ResendAfter = 10*time.Millisecond, 50*time.Millisecond, 300*time.Millisecond, 2*time.Second
		c.Events = events.add
	}
	a, _ := start(t, ca)
	b, _ := start(t, cb)
	d := startDevice(t, dirA, dirB, badWeather...)
	asked, answers := &inbox{seen: map[string]int{}}, collect(t, a)
	// Every question is answered: the way back is as bad as the way there.
	go b.Receive(t.Context(), func(ctx context.Context, messages []Message) error {
		asked.add(ctx, messages)
		reply := make([]Message, len(messages))
		for i, m := range messages {
			reply[i] = Message{ID: m.ID + "/answer", Headers: m.Headers, Body: m.Body}
		}
		return b.Put(ctx, reply...)
	})
	began := time.Now()
	put(t, a, envelopes)
	waitLong(t, "all answers", 2*time.Minute, func() bool { return answers.count() == envelopes && asked.count() == envelopes })
	took := time.Since(began)
	waitLong(t, "all acknowledged", time.Minute, func() bool {
		return a.Metrics().Unacknowledged == 0 && b.Metrics().Unacknowledged == 0 && a.Metrics().Missing == 0 && b.Metrics().Missing == 0
	})
	if again := append(asked.repeated(), answers.repeated()...); len(again) > 0 {
		t.Errorf("%d messages were delivered twice, for instance %s", len(again), again[0])
	}
	checkNamed(t, d, &events, ca.Out, cb.Out)
	if lost := append(events.of(EventLost), events.of(EventVoid)...); len(lost) > 0 {
		t.Errorf("%d files were given up", len(lost))
	}
	ma, mb := a.Metrics(), b.Metrics()
	t.Logf("%d round trips in %v: files sent %d+%d, resent %d+%d, dropped %d+%d, duplicates %d+%d, bad %d+%d, gaps named %d+%d",
		envelopes, took.Round(time.Millisecond), ma.FilesSent, mb.FilesSent, ma.FilesResent, mb.FilesResent,
		len(d.data(ca.Out, "drop")), len(d.data(cb.Out, "drop")), ma.DuplicateFiles, mb.DuplicateFiles, ma.BadFiles, mb.BadFiles, ma.GapsNamed, mb.GapsNamed)
	if len(d.data(ca.Out, "drop")) < 20 || mb.BadFiles == 0 || mb.DuplicateFiles == 0 {
		t.Error("the device was not bad enough to prove anything")
	}
}

// put sends n messages from several goroutines, so that files are of many sizes.
func put(t testing.TB, l *Link, n int) {
	t.Helper()
	var writers sync.WaitGroup
	const writersN = 16
	for w := range writersN {
		writers.Go(func() {
			for i := w; i < n; i += writersN {
				if err := l.Put(t.Context(), message(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
}

func waitLong(t testing.TB, what string, patience time.Duration, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("waited %v in vain: %s", patience, what)
}

package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// copyTree makes or restores a backup of a spool.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	// The device may put a file there meanwhile.
	wait(t, "an empty place", func() bool { return os.RemoveAll(to) == nil })
	if err := os.CopyFS(to, os.DirFS(from)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestASenderWithAnOldBackupLosesNothing(t *testing.T) {
	dirA, dirB, backup := t.TempDir(), t.TempDir(), t.TempDir()
	events := &log{}
	ca := sideA(dirA)
	ca.Events = events.add
	b, _ := start(t, sideB(dirB))
	atB := collect(t, b)
	wire(t, dirA, dirB, nil)
	send := func(from, to int) (stop func() error) {
		a, stop := start(t, ca)
		for i := from; i < to; i++ {
			if err := a.Put(t.Context(), message(i)); err != nil {
				t.Fatal(err)
			}
		}
		return stop
	}
	send(0, 3)()
	copyTree(t, ca.Dir, backup)
	send(3, 6)()
	wait(t, "six messages", func() bool { return atB.count() == 6 })
	copyTree(t, backup, ca.Dir)
	send(6, 9)
	wait(t, "nine messages", func() bool { return atB.count() == 9 })
	if again := atB.repeated(); len(again) > 0 {
		t.Errorf("delivered twice: %v", again)
	}
	if len(events.of(EventRollback)) == 0 {
		t.Error("nobody was told")
	}
}

func TestASenderWithoutStateAndAClockBehindStartsABelievedEpoch(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	b, _ := start(t, sideB(dirB))
	atB := collect(t, b)
	wire(t, dirA, dirB, nil)
	for epoch := range 4 { // each earlier than the one before
		ca := sideA(dirA)
		ca.Now = func() time.Time { return time.Now().Add(-time.Duration(epoch) * time.Minute) }
		a, stop := start(t, ca)
		if err := a.Put(t.Context(), message(epoch)); err != nil {
			t.Fatal(err)
		}
		wait(t, "the message", func() bool { return atB.count() == epoch+1 && a.Metrics().Unacknowledged == 0 })
		stop()
		for _, part := range []string{"state", "done"} {
			os.RemoveAll(filepath.Join(dirA, part))
		}
	}
}

func TestAReceiverWithoutItsCursorIsToldWhatWasAcknowledged(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	a, _ := start(t, sideA(dirA))
	wire(t, dirA, dirB, nil)
	b, stopB := start(t, sideB(dirB))
	atB := collect(t, b)
	for i := range 5 {
		if err := a.Put(t.Context(), message(i)); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "acknowledged", func() bool { return a.Metrics().Unacknowledged == 0 && atB.count() == 5 })
	stopB()
	os.RemoveAll(filepath.Join(dirB, "state"))
	events := &log{}
	cb := sideB(dirB)
	cb.Events = events.add
	b, _ = start(t, cb)
	go b.Receive(t.Context(), atB.add)
	if err := a.Put(t.Context(), message(5)); err != nil {
		t.Fatal(err)
	}
	wait(t, "the new message and no gaps", func() bool {
		return atB.count() == 6 && b.Metrics().Missing == 0 && a.Metrics().Unacknowledged == 0 && b.Metrics().VoidedFiles == 5
	})
	for _, e := range events.of(EventVoid) {
		if e.Reason != "acknowledged" {
			t.Errorf("void: %+v", e)
		}
	}
}

func TestAFileDamagedInDoneIsNamedAndPassedOver(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	events := &log{}
	ca := sideA(dirA)
	ca.Events = events.add
	a, _ := start(t, ca)
	for i := range 3 {
		if err := a.Put(t.Context(), message(i)); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := os.ReadDir(filepath.Join(dirA, "done"))
	if err := errors.Join(os.Remove(filepath.Join(dirA, "out", files[1].Name())),
		os.WriteFile(filepath.Join(dirA, "done", files[1].Name()), []byte("damaged"), 0o600)); err != nil {
		t.Fatal(err)
	}
	b, _ := start(t, sideB(dirB))
	atB := collect(t, b)
	wire(t, dirA, dirB, nil)
	wait(t, "the others, and the void", func() bool {
		return atB.count() == 2 && b.Metrics().VoidedFiles == 1 && a.Metrics().Unacknowledged == 0
	})
	if lost := events.of(EventLost); len(lost) != 1 || lost[0].From != 2 {
		t.Errorf("lost: %+v", lost)
	}
}

func TestAHeartbeatTellsThatTheLastFileIsMissing(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	ca := sideA(dirA)
	ca.ResendAfter = time.Hour // so that only a heartbeat can tell
	a, _ := start(t, ca)
	b, _ := start(t, sideB(dirB))
	atB := collect(t, b)
	var once sync.Once
	wire(t, dirA, dirB, func(_, file string) bool {
		pass := true
		if n, _ := parseName(file, "dat"); n.kind == Data {
			once.Do(func() { pass = false })
		}
		return pass
	})
	if err := a.Put(t.Context(), message(1)); err != nil {
		t.Fatal(err)
	}
	wait(t, "the message", func() bool { return atB.count() == 1 })
	if b.Metrics().GapsNamed != 1 {
		t.Errorf("%d gaps named", b.Metrics().GapsNamed)
	}
}

func TestSilenceAndLagRaiseAlarms(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	events := &log{}
	ca := sideA(dirA)
	ca.Events, ca.BeatEvery, ca.LagAlarm = events.add, 20*time.Millisecond, 50*time.Millisecond
	a, _ := start(t, ca)
	if err := a.Put(t.Context(), message(1)); err != nil {
		t.Fatal(err)
	}
	wait(t, "both alarms", func() bool { return len(events.of(EventSilent)) == 1 && len(events.of(EventLag)) == 1 })
	if a.Metrics().PeerSilentSince.IsZero() {
		t.Error("the other side counts as heard")
	}
	b, _ := start(t, sideB(dirB))
	collect(t, b)
	wire(t, dirA, dirB, nil)
	wait(t, "it to be heard again", func() bool { return len(events.of(EventBack)) == 1 })
}

func TestBothSidesReconcileEachPeriod(t *testing.T) {
	for _, c := range []struct {
		what string
		loss bool
	}{{"and agree", false}, {"and name what is missing", true}} {
		t.Run(c.what, func(t *testing.T) {
			dirA, dirB := t.TempDir(), t.TempDir()
			events := &log{}
			ca, cb := sideA(dirA), sideB(dirB)
			ca.Events = events.add
			// A period that ends two thirds of a second after the files.
			now := time.Now().Truncate(time.Hour).Add(10*time.Hour - 600*time.Millisecond)
			began := time.Now()
			for _, c := range []*Config{&ca, &cb} {
				c.Now = func() time.Time {
					return now.Add(time.Since(began))
				}
				c.Reconcile = 400 * time.Millisecond
			}
			a, _ := start(t, ca)
			b, _ := start(t, cb)
			atB := collect(t, b)
			wire(t, dirA, dirB, func(_, file string) bool {
				n, _ := parseName(file, "dat")
				return !c.loss || n.kind != Data || n.seq != 2
			})
			for i := range 3 {
				m := message(i)
				if c.loss && i == 1 {
					m.NotAfter = ca.Now().Add(100 * time.Millisecond)
				}
				if err := a.Put(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			if c.loss {
				wait(t, "the missing to be named", func() bool { return len(events.of(EventMissing)) > 0 })
				if e := events.of(EventMissing)[0]; !slices.Equal(e.IDs, []string{"x/1"}) || e.Range != (Range{2, 2}) {
					t.Errorf("missing: %+v", e)
				}
				return
			}
			wait(t, "agreement", func() bool { return a.Metrics().Reconciled > 0 && atB.count() == 3 })
			if a.Metrics().Mismatched > 0 {
				t.Error("and disagreement")
			}
		})
	}
}

func TestAForkIsNotDelivered(t *testing.T) {
	dirA, dirB, dirX := t.TempDir(), t.TempDir(), t.TempDir()
	events := &log{}
	cb := sideB(dirB)
	cb.Events = events.add
	at := time.Now()
	for i, dir := range []string{dirA, dirX} { // two senders with one key and one epoch
		c := sideA(dir)
		c.Now = func() time.Time { return at }
		l, stop := start(t, c)
		if err := l.Put(t.Context(), message(i)); err != nil {
			t.Fatal(err)
		}
		stop()
	}
	b, _ := start(t, cb)
	atB := collect(t, b)
	for i, dir := range []string{dirA, dirX} {
		files, _ := os.ReadDir(filepath.Join(dir, "done"))
		if err := os.Rename(filepath.Join(dir, "done", files[0].Name()), filepath.Join(dirB, "in", files[0].Name())); err != nil {
			t.Fatal(err)
		}
		wait(t, fmt.Sprint("file ", i), func() bool { return b.Metrics().FilesReceived+b.Metrics().BadFiles == uint64(i)+1 })
	}
	if len(events.of(EventFork)) != 1 || atB.count() != 1 {
		t.Errorf("%d forks named, %d messages delivered", len(events.of(EventFork)), atB.count())
	}
}

func TestNothingButNumbersIsInNamesAndLogs(t *testing.T) {
	dirA := t.TempDir()
	a, _ := start(t, sideA(dirA))
	if err := a.Put(t.Context(), Message{ID: "leg-7", Headers: map[string]string{"k": "SECRET"}, Body: []byte("SECRET")}); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dirA, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "leg-7") || strings.Contains(path, "SECRET") {
			t.Errorf("path %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, journal := range []string{"out-CITY_POLICE.journal", "in-POLICE_CITY.journal"} {
		data, err := os.ReadFile(filepath.Join(dirA, "state", journal))
		if err != nil || strings.Contains(string(data), "SECRET") {
			t.Errorf("%s holds more than ids: %v", journal, err)
		}
	}
}

func TestShortenedJournalsForgetNothingThatMatters(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	var held sync.Map // files of sequence 3 modulo 10 do not pass
	wire(t, dirA, dirB, func(_, file string) bool {
		n, _ := parseName(file, "dat")
		if _, open := held.Load("open"); open || n.kind != Data || n.seq%10 != 3 {
			return true
		}
		return false
	})
	atB := &inbox{seen: map[string]int{}}
	const n = 60
	var size [2]int64
	for round := range 3 {
		a, stopA := start(t, sideA(dirA))
		b, stopB := start(t, sideB(dirB))
		go b.Receive(t.Context(), atB.add)
		for i := range n { // the same every time
			if err := a.Put(t.Context(), message(i)); err != nil {
				t.Fatal(err)
			}
		}
		wait(t, "what passes", func() bool { return atB.count() >= n*8/10 && a.Metrics().Unacknowledged <= 3*n/10+1 })
		for _, j := range []*journal{a.send.journal, b.receive.journal} {
			j.worth = 0
		}
		far := time.Now().Add(time.Hour).UnixMilli()
		if err := errors.Join(a.send.shorten(far), b.receive.shorten(far)); err != nil {
			t.Fatal(err)
		}
		if round == 2 {
			size = [2]int64{a.send.journal.last, b.receive.journal.last}
			held.Store("open", true)
			wait(t, "all", func() bool { return atB.count() == n && a.Metrics().Unacknowledged == 0 && b.Metrics().Missing == 0 })
		}
		if m := a.Metrics(); m.FilesLost > 0 {
			t.Errorf("%d files lost", m.FilesLost)
		}
		stopA()
		stopB()
	}
	if again := atB.repeated(); len(again) > 0 {
		t.Errorf("delivered twice: %v", again)
	}
	t.Logf("journals after the last rewrite: %d and %d bytes", size[0], size[1])
}

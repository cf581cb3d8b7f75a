package spool

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMessagesThatCannotBeCarriedAreRefusedAtOnce(t *testing.T) {
	c := sideA(t.TempDir())
	c.Device.MaxFile = 8192
	l, _ := start(t, c)
	many := map[string]string{}
	for i := range maxHeaders + 1 {
		many[string(rune('a'+i%26))+strings.Repeat("x", i)] = "v"
	}
	for what, c := range map[string]struct {
		m    Message
		want error
	}{
		"no id":            {Message{}, ErrMessage},
		"id with a space":  {Message{ID: "a b"}, ErrMessage},
		"id too long":      {Message{ID: strings.Repeat("x", maxID+1)}, ErrMessage},
		"empty header key": {Message{ID: "x", Headers: map[string]string{"": "v"}}, ErrMessage},
		"header not UTF-8": {Message{ID: "x", Headers: map[string]string{"k": "\xff"}}, ErrMessage},
		"header too long":  {Message{ID: "x", Headers: map[string]string{"k": strings.Repeat("x", maxHeaderVal+1)}}, ErrMessage},
		"too many headers": {Message{ID: "x", Headers: many}, ErrMessage},
		"body too large":   {Message{ID: "x", Body: make([]byte, 8192)}, ErrTooLarge},
		"expired":          {Message{ID: "x", NotAfter: time.Now().Add(-time.Second)}, ErrExpired},
	} {
		if err := l.Put(t.Context(), c.m); !errors.Is(err, c.want) {
			t.Errorf("%s: Put returned %v, want %v", what, err, c.want)
		}
	}
	if n := l.Metrics().FilesSent; n != 0 {
		t.Errorf("%d files were sent", n)
	}
}

func TestXMLFilesCrossAndMayBeIndented(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	ca, cb := sideA(dirA), sideB(dirB)
	for _, c := range []*Config{&ca, &cb} {
		c.Device.XML, c.Device.Extension = true, "xml"
	}
	a, _ := start(t, ca)
	b, _ := start(t, cb)
	atB := collect(t, b)
	wire(t, dirA, dirB, func(way, file string) bool { // a device that pretty-prints
		path := filepath.Join(dirA, "out", file)
		if data, err := os.ReadFile(path); way == "a-b" && err == nil {
			os.WriteFile(filepath.Join(dirA, "tmp", "x"), bytes.ReplaceAll(data, []byte("<body>"), []byte("\n  <body>\n    ")), 0o600)
			os.Rename(filepath.Join(dirA, "tmp", "x"), path)
		}
		return true
	})
	if err := a.Put(t.Context(), message(1), Message{ID: "big", Body: make([]byte, 64<<10)}); err != nil {
		t.Fatal(err)
	}
	wait(t, "both messages", func() bool { return atB.count() == 2 })
	wait(t, "acknowledged", func() bool { return a.Metrics().Unacknowledged == 0 })
}

func TestOneDirectionRepeatsBlindlyAndPassesOverGaps(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	ca, cb := sideA(dirA), sideB(dirB)
	ca.In, cb.Out = "", ""
	ca.ResendAfter, ca.Repeat, ca.Keep = 20*time.Millisecond, 2, 50*time.Millisecond
	cb.GiveUp = 100 * time.Millisecond
	events := &log{}
	cb.Events = events.add
	for _, c := range []*Config{&ca, &cb} {
		c.OneWay = true
	}
	a, _ := start(t, ca)
	b, _ := start(t, cb)
	atB := collect(t, b)
	wire(t, dirA, dirB, func(way, file string) bool {
		n, _ := parseName(file, "dat")
		return n.kind != Data || n.seq != 2
	})
	for i := range 5 {
		if err := a.Put(t.Context(), message(i)); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "four messages and a gap passed over", func() bool { return atB.count() == 4 && b.Metrics().VoidedFiles == 1 })
	wait(t, "the sender to let go", func() bool { return a.Metrics().Unacknowledged == 0 })
	if again := atB.repeated(); len(again) > 0 || b.Metrics().DuplicateFiles == 0 {
		t.Errorf("delivered twice: %v; duplicate files: %d", again, b.Metrics().DuplicateFiles)
	}
	if gaps := events.of(EventGap); len(gaps) != 1 || gaps[0].From != 2 {
		t.Errorf("gaps named: %+v", gaps)
	}
	if out, _ := os.ReadDir(filepath.Join(dirB, "out")); len(out) > 0 {
		t.Errorf("the receiver of a one-way gap wrote %d files", len(out))
	}
}

func TestExpiredFilesAreVoidedAndTheCursorGoesOn(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	events := &log{}
	ca, cb := sideA(dirA), sideB(dirB)
	ca.Events, cb.Events = events.add, events.add
	a, _ := start(t, ca)
	b, _ := start(t, cb)
	atB := collect(t, b)
	wire(t, dirA, dirB, func(_, file string) bool { // file 1 never passes
		n, _ := parseName(file, "dat")
		return n.kind != Data || n.seq != 1
	})
	soon := message(1)
	soon.NotAfter = time.Now().Add(150 * time.Millisecond)
	if err := errors.Join(a.Put(t.Context(), soon), a.Put(t.Context(), message(2))); err != nil {
		t.Fatal(err)
	}
	wait(t, "the gap to be voided", func() bool { m := b.Metrics(); return m.VoidedFiles == 1 && m.Missing == 0 })
	if atB.count() != 1 || a.Metrics().FilesExpired != 1 {
		t.Errorf("%d messages delivered, %d files expired", atB.count(), a.Metrics().FilesExpired)
	}
	if len(events.of(EventExpired)) != 1 || len(events.of(EventVoid)) != 1 {
		t.Error("the loss was not named on both sides")
	}
}

func TestRecordsThatArriveTooLateAreDroppedAndCounted(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	cb := sideB(dirB)
	cb.ClockSkew = -1
	a, _ := start(t, sideA(dirA))
	b, _ := start(t, cb)
	atB := collect(t, b)
	soon := message(1)
	soon.NotAfter = time.Now().Add(100 * time.Millisecond)
	if err := a.Put(t.Context(), soon, message(2)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(120 * time.Millisecond)
	wire(t, dirA, dirB, nil)
	wait(t, "the live message", func() bool { return atB.count() == 1 && b.Metrics().FilesReceived == 1 })
	if m := b.Metrics(); atB.seen["x/2"] != 1 || m.ExpiredRecords != 1 || m.DuplicateRecords != 0 {
		t.Errorf("delivered %v, %d expired, %d repeated", atB.seen, m.ExpiredRecords, m.DuplicateRecords)
	}
}

func TestBadFilesAreQuarantinedUpToTheCaps(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	events := &log{}
	cb := sideB(dirB)
	cb.QuarantineFiles, cb.Events = 3, events.add
	a, stopA := start(t, sideA(dirA))
	if err := a.Put(t.Context(), message(1)); err != nil {
		t.Fatal(err)
	}
	stopA()
	files, _ := os.ReadDir(filepath.Join(dirA, "done"))
	good, err := os.ReadFile(filepath.Join(dirA, "done", files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	n, _ := parseName(files[0].Name(), "dat")
	put := func(seq uint64, data []byte) {
		n.seq = seq
		path := filepath.Join(dirB, "in", n.file("dat"))
		if err := errors.Join(os.WriteFile(path+".part", data, 0o600), os.Rename(path+".part", path)); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := start(t, cb)
	atB := collect(t, b)
	put(1, good[:len(good)-1])                                         // cut off
	put(2, append(bytes.Clone(good), 0))                               // longer
	put(3, good)                                                       // under another's name
	put(4, bytes.Replace(good, []byte("sealed"), []byte("SEALED"), 1)) // changed
	put(5, nil)
	wait(t, "five bad files", func() bool { // the event comes after the count and after the file is moved
		return b.Metrics().BadFiles == 5 && len(events.of(EventQuarantined))+len(events.of(EventFull)) == 5
	})
	kept, _ := os.ReadDir(filepath.Join(dirB, "quarantine"))
	if len(kept) != 3 || len(events.of(EventQuarantined)) != 3 || len(events.of(EventFull)) != 2 {
		t.Errorf("%d kept, %d quarantined, %d beyond the cap", len(kept), len(events.of(EventQuarantined)), len(events.of(EventFull)))
	}
	if atB.count() != 0 {
		t.Error("a bad file was delivered")
	}
	put(1, good)
	wait(t, "the good one", func() bool { return atB.count() == 1 })
}

func TestFilesOfAnUnknownKeyAreNotBelieved(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	ca := sideA(dirA)
	ca.Key = mustKey()
	a, _ := start(t, ca)
	b, _ := start(t, sideB(dirB))
	atB := collect(t, b)
	wire(t, dirA, dirB, nil)
	if err := a.Put(t.Context(), message(1)); err != nil {
		t.Fatal(err)
	}
	wait(t, "a quarantined file", func() bool { return b.Metrics().BadFiles > 0 })
	if atB.count() != 0 {
		t.Error("it was delivered")
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	a, _ := start(t, sideA(dirA))
	b, _ := start(t, sideB(dirB))
	atB := collect(t, b)
	foreign := []string{"readme.txt", "CITY_POLICE-1-2.dat", "x.dat", "OTHER-1795321305447-00000000000000000001.dat",
		"CITY_POLICE-1795321305447-00000000000000000001.tmp", "CITY_POLICE_LOG-1795321305447-00000000000000000001.dat"}
	for _, file := range foreign {
		if err := os.WriteFile(filepath.Join(dirB, "in", file), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wire(t, dirA, dirB, nil)
	if err := a.Put(t.Context(), message(1)); err != nil {
		t.Fatal(err)
	}
	wait(t, "the message", func() bool { return atB.count() == 1 })
	left, _ := os.ReadDir(filepath.Join(dirB, "in"))
	if len(left) < len(foreign) || b.Metrics().BadFiles != 0 {
		t.Errorf("%d files left of %d, %d called bad", len(left), len(foreign), b.Metrics().BadFiles)
	}
}

func TestAFileIsNotTouchedBeforeItHasSettled(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	a, stopA := start(t, sideA(dirA))
	if err := a.Put(t.Context(), message(1)); err != nil {
		t.Fatal(err)
	}
	stopA()
	cb := sideB(dirB)
	cb.Device.Atomic, cb.Device.StableFor = false, 60*time.Millisecond
	b, _ := start(t, cb)
	atB := collect(t, b)
	files, _ := os.ReadDir(filepath.Join(dirA, "done"))
	data, _ := os.ReadFile(filepath.Join(dirA, "done", files[0].Name()))
	f, err := os.Create(filepath.Join(dirB, "in", files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 { // slowly, under its final name
		n := min(40, len(data))
		f.Write(data[:n])
		data = data[n:]
		time.Sleep(5 * time.Millisecond)
	}
	f.Close()
	wait(t, "the message", func() bool { return atB.count() == 1 })
	if b.Metrics().BadFiles > 0 {
		t.Error("a half-written file was taken for a bad one")
	}
}

func TestPutWaitsWhileTooMuchIsUnacknowledged(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	ca := sideA(dirA)
	ca.MaxRetained = 4096
	a, _ := start(t, ca)
	body := make([]byte, 1500)
	var taken atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := range 20 {
			m := message(i)
			m.Body = body
			if a.Put(ctx, m) != nil {
				return
			}
			taken.Add(1)
		}
	})
	time.Sleep(200 * time.Millisecond)
	if n := taken.Load(); n > 3 {
		t.Errorf("%d messages taken with no one to acknowledge them", n)
	}
	b, _ := start(t, sideB(dirB))
	atB := collect(t, b)
	wire(t, dirA, dirB, nil)
	wait(t, "all", func() bool { return atB.count() == 20 })
	cancel()
	writing.Wait()
}

func TestAFailedDeliveryIsRepeated(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	a, _ := start(t, sideA(dirA))
	b, _ := start(t, sideB(dirB))
	wire(t, dirA, dirB, nil)
	var tries atomic.Int32
	go b.Receive(t.Context(), func(context.Context, []Message) error {
		if tries.Add(1) < 3 {
			return errors.New("Kafka is away")
		}
		return nil
	})
	if err := a.Put(t.Context(), message(1)); err != nil {
		t.Fatal(err)
	}
	wait(t, "delivery", func() bool { return b.Metrics().FilesReceived == 1 })
	if tries.Load() != 3 {
		t.Errorf("%d tries", tries.Load())
	}
}

func TestTheSameIDIsDeliveredOnceEvenAfterRestarts(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	wire(t, dirA, dirB, nil)
	got := &inbox{seen: map[string]int{}}
	for range 3 {
		a, stopA := start(t, sideA(dirA))
		b, stopB := start(t, sideB(dirB))
		go b.Receive(t.Context(), got.add)
		if err := a.Put(t.Context(), message(1), message(1)); err != nil {
			t.Fatal(err)
		}
		wait(t, "acknowledged", func() bool { return a.Metrics().Unacknowledged == 0 })
		if err := errors.Join(stopA(), stopB()); err != nil {
			t.Fatal(err)
		}
	}
	if got.seen["x/1"] != 1 {
		t.Errorf("delivered %d times", got.seen["x/1"])
	}
}

func TestASecondProcessCannotUseTheSpool(t *testing.T) {
	dir := t.TempDir()
	start(t, sideA(dir))
	if _, err := Open(sideA(dir)); !errors.Is(err, ErrState) {
		t.Errorf("Open returned %v", err)
	}
}

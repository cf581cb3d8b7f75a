package audit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// faulty is a file system whose n-th change fails, and every one after it
// that touches data of the same kind may be counted.
type faulty struct {
	osFiles
	count  atomic.Int64
	failAt int64 // 0: never
	stall  atomic.Pointer[stall]
	free   atomic.Int64 // if not 0, what Free reports

	mu     sync.Mutex
	syncs  map[string]int // after the failure, by file
	failed string
}

var errInjected = errors.New("injected EIO")

// stall holds the syncs of files whose names end with of.
type stall struct {
	of    string
	began chan struct{} // closed when the first is held
	over  chan struct{} // closed when they go on
	once  sync.Once
}

func (f *faulty) stalls(of string) *stall {
	s := &stall{of: of, began: make(chan struct{}), over: make(chan struct{})}
	f.stall.Store(s)
	return s
}

func (f *faulty) step(name string) error {
	if f.failAt > 0 && f.count.Add(1) == f.failAt {
		f.mu.Lock()
		f.failed = name
		f.mu.Unlock()
		return errInjected
	}
	return nil
}

func (f *faulty) Open(name string, flag int, perm os.FileMode) (file, error) {
	if flag&os.O_CREATE != 0 {
		if err := f.step(name); err != nil {
			return nil, err
		}
	}
	in, err := f.osFiles.Open(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{in, f, name}, nil
}

func (f *faulty) Rename(from, to string) error {
	if err := f.step(from); err != nil {
		return err
	}
	return f.osFiles.Rename(from, to)
}

func (f *faulty) SyncDir(name string) error {
	if err := f.step(name); err != nil {
		return err
	}
	return f.osFiles.SyncDir(name)
}

func (f *faulty) SyncAll(dir string) error {
	if err := f.step(dir); err != nil {
		return err
	}
	return f.osFiles.SyncAll(dir)
}

func (f *faulty) Free(name string) (int64, error) {
	if n := f.free.Load(); n != 0 {
		return n, nil
	}
	return f.osFiles.Free(name)
}

type faultyFile struct {
	file
	fs   *faulty
	name string
}

// WriteAt fails after half of the bytes.
func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fs.step(f.name); err != nil {
		n, _ := f.file.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.file.WriteAt(b, off)
}

func (f *faultyFile) SyncData() error {
	if s := f.fs.stall.Load(); s != nil && strings.HasSuffix(f.name, s.of) {
		s.once.Do(func() { close(s.began) })
		<-s.over
	}
	f.fs.mu.Lock()
	if f.fs.failed != "" {
		if f.fs.syncs == nil {
			f.fs.syncs = map[string]int{}
		}
		f.fs.syncs[f.name]++
	}
	f.fs.mu.Unlock()
	if err := f.fs.step(f.name); err != nil {
		return err
	}
	return f.file.SyncData()
}

// Whatever call fails: what was acknowledged is there afterwards, nothing is
// taken after the failure, a failed file is not synced again, and the
// directory can be recovered.
func TestAnyFailedCallStopsTheLogAndLosesNothingAcknowledged(t *testing.T) {
	key := newKey(t)
	finished := false
	for n := int64(1); !finished; n++ {
		if n > 400 {
			t.Fatal("no run without a failure")
		}
		dir := t.TempDir()
		fsys := &faulty{failAt: n}
		cfg := testConfig(dir, key)
		cfg.SegmentSize, cfg.files, cfg.AppendTimeout = 4<<10, fsys, 5*time.Second
		acked := map[uint64]Hash{}
		l, err := OpenLog(context.Background(), cfg)
		if err == nil {
			for i := 0; i < 6; i++ {
				r, err := l.Append(context.Background(), testEntry(i))
				if err != nil {
					if !errors.Is(err, ErrPoisoned) || !errors.Is(err, errInjected) {
						t.Fatalf("failure %d (%s): %v", n, fsys.failed, err)
					}
					if _, err := l.Append(context.Background(), testEntry(i)); !errors.Is(err, ErrPoisoned) {
						t.Fatalf("failure %d: log took an entry after its failure: %v", n, err)
					}
					break
				}
				acked[r[0].Index] = r[0].Leaf
			}
			err = l.Close()
		}
		finished = err == nil && fsys.failed == ""
		if err == nil && !finished {
			t.Fatalf("failure %d of %s went unnoticed", n, fsys.failed)
		}
		if strings.HasSuffix(fsys.failed, ".seg") && fsys.syncs[fsys.failed] > 0 {
			t.Fatalf("failure %d: %s was synced again", n, fsys.failed)
		}
		l, err = reopen(t, dir, key)
		if err != nil {
			t.Fatalf("after failure %d of %s: %v", n, fsys.failed, err)
		}
		for index, leaf := range acked {
			if r, err := l.Receipt(index); err != nil || r.Leaf != leaf {
				t.Fatalf("after failure %d: acknowledged entry %d is not there: %v", n, index, err)
			}
		}
		closeTest(t, l)
		verifyTest(t, dir, key, VerifyOptions{})
	}
}

func TestLogStopsWithinASecondWhenItsFilesGo(t *testing.T) {
	for name, harm := range map[string]func(dir string) error{
		"directory removed":        os.RemoveAll,
		"directory renamed":        func(dir string) error { return os.Rename(dir, dir+"-away") },
		"segment removed":          func(dir string) error { return os.Remove(filepath.Join(dir, "wal/000000000000.seg")) },
		"segment replaced":         func(dir string) error { return replace(filepath.Join(dir, "wal/000000000000.seg")) },
		"LOCK removed":             func(dir string) error { return os.Remove(filepath.Join(dir, nameLock)) },
		"LOCK replaced":            func(dir string) error { return replace(filepath.Join(dir, nameLock)) },
		"directory made read-only": func(dir string) error { return os.Chmod(dir, 0o500) },
		"wal made read-only":       func(dir string) error { return os.Chmod(filepath.Join(dir, nameWAL), 0o500) },
		"segment made read-only":   func(dir string) error { return os.Chmod(filepath.Join(dir, "wal/000000000000.seg"), 0o400) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits for its watch
			dir := filepath.Join(t.TempDir(), "audit")
			cfg := testConfig(dir, newKey(t))
			cfg.PublishEvery = time.Hour // leave it to the watch
			l := openTest(t, cfg)
			appendTest(t, l, 1)
			t.Cleanup(func() { os.Chmod(dir, 0o700); os.Chmod(filepath.Join(dir, nameWAL), 0o700) })
			if err := harm(dir); err != nil {
				t.Fatal(err)
			}
			noticed := func() bool { return l.Err() != nil }
			for n := 0; n < 100 && !noticed(); n++ { // a second of this process, not of a machine that stands still
				time.Sleep(10 * time.Millisecond)
			}
			if !noticed() {
				t.Fatal("log has not noticed within a second")
			}
			if _, err := l.Append(context.Background(), testEntry(1)); !errors.Is(err, ErrPoisoned) {
				t.Errorf("append: %v", err)
			}
			if err := l.Close(); !errors.Is(err, ErrPoisoned) {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// Even before the watch looks, an entry in a removed segment is not acknowledged.
func TestEntryInARemovedSegmentIsNotAcknowledged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	l := openTest(t, testConfig(dir, newKey(t)))
	if err := os.Remove(filepath.Join(dir, "wal/000000000000.seg")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(context.Background(), testEntry(1)); !errors.Is(err, ErrPoisoned) {
		t.Errorf("append: %v", err)
	}
}

func replace(name string) error {
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.Remove(name)
	}
	if err == nil {
		err = os.WriteFile(name, b, 0o600)
	}
	return err
}

func TestStalledDiskGivesOverloadedAndQueueStaysBounded(t *testing.T) {
	fsys := &faulty{}
	cfg := testConfig(t.TempDir(), newKey(t))
	cfg.files, cfg.QueueLen, cfg.AppendTimeout = fsys, 8, 50*time.Millisecond
	l := openTest(t, cfg)
	disk := fsys.stalls(".seg")
	if err := l.AppendAsync(testEntry(0)); err != nil {
		t.Fatal(err)
	}
	<-disk.began // and the queue is empty
	if _, err := l.Append(context.Background(), testEntry(0)); !errors.Is(err, ErrOverloaded) {
		t.Errorf("append on a stalled disk: %v", err)
	}
	full := 0
	for i := range 20 {
		if err := l.AppendAsync(testEntry(i)); errors.Is(err, ErrOverloaded) {
			full++
		}
	}
	if full != 13 { // one place is that of the append
		t.Errorf("%d of 20 refused by a queue of 8", full)
	}
	if _, err := l.Append(context.Background(), testEntry(0)); !errors.Is(err, ErrOverloaded) {
		t.Errorf("append to a full queue: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Append(ctx, testEntry(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("append with a cancelled context: %v", err)
	}
	close(disk.over)
	closeTest(t, l)
}

// A disk that stands still for longer than an Append may take refuses Appends
// meanwhile, and nothing else.
func TestASlowDiskStopsNoLog(t *testing.T) {
	t.Run("opening", func(t *testing.T) {
		dir, key, fsys := t.TempDir(), newKey(t), &faulty{}
		cfg := testConfig(dir, key)
		cfg.files, cfg.AppendTimeout = fsys, 50*time.Millisecond
		disk := fsys.stalls(".seg")
		go func() {
			<-disk.began
			time.Sleep(4 * cfg.AppendTimeout)
			close(disk.over)
		}()
		closeTest(t, openTest(t, cfg))
		verifyTest(t, dir, key, VerifyOptions{})
	})
	t.Run("next segment", func(t *testing.T) {
		dir, key, fsys := t.TempDir(), newKey(t), &faulty{}
		cfg := testConfig(dir, key)
		cfg.SegmentSize, cfg.files, cfg.AppendTimeout = 4<<10, fsys, 50*time.Millisecond
		l := openTest(t, cfg)
		disk := fsys.stalls(spareName + ".tmp")
		for overloaded := false; !overloaded; { // two segments are there
			_, err := l.Append(t.Context(), testEntry(0))
			if overloaded = errors.Is(err, ErrOverloaded); err != nil && !overloaded {
				t.Fatal(err)
			}
		}
		<-disk.began
		time.Sleep(4 * cfg.AppendTimeout)
		close(disk.over)
		within(t, "nothing is taken after the stall", func() bool {
			_, err := l.Append(t.Context(), testEntry(0))
			if err != nil && !errors.Is(err, ErrOverloaded) {
				t.Fatal(err)
			}
			return err == nil
		})
		closeTest(t, l)
		verifyTest(t, dir, key, VerifyOptions{})
	})
}

func TestLowDiskStillTakesLoginsAndAlarms(t *testing.T) {
	fsys := &faulty{}
	cfg := testConfig(t.TempDir(), newKey(t))
	cfg.files, cfg.MinFree = fsys, 1000
	l := openTest(t, cfg)
	fsys.free.Store(999)
	deadline := time.Now().Add(time.Second)
	for !l.low.Load() && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := l.Append(context.Background(), testEntry(1)); !errors.Is(err, ErrDiskLow) {
		t.Errorf("release on a full disk: %v", err)
	}
	if _, err := l.Append(context.Background(), Entry{Open: Open{Op: OpLogin}}); err != nil {
		t.Errorf("login on a full disk: %v", err)
	}
}

func TestSpareSegmentIsTriedAgainOnlyWhenTheDiskIsFull(t *testing.T) {
	l := openTest(t, testConfig(t.TempDir(), newKey(t)))
	if !l.spareFailed(&fs.PathError{Op: "write", Err: syscall.ENOSPC}) || l.Err() != nil {
		t.Error("full disk must not stop the log at once")
	}
	if l.spareFailed(errInjected) || !errors.Is(l.Err(), errInjected) {
		t.Error("another failure must stop it")
	}
}

// A log that is closed while it had no room for its spare segment is whole if
// there is room at the end, and else says that it is not.
func TestLogClosedOnAFullDiskIsWholeOrSaysSo(t *testing.T) {
	for name, room := range map[string]bool{"room again": true, "no room": false} {
		t.Run(name, func(t *testing.T) {
			dir, key := t.TempDir(), newKey(t)
			fsys := &noRoom{}
			cfg := testConfig(dir, key)
			cfg.SegmentSize, cfg.files = 4<<10, fsys
			l := openTest(t, cfg)
			until(t, func() bool { return exists(filepath.Join(l.wal.dir, spareName)) }) // the first spare is there
			fsys.full.Store(true)
			for exists(filepath.Join(l.wal.dir, spareName)) { // until a segment is full and the spare is in use
				if _, err := l.Append(context.Background(), Entry{Open: Open{Op: OpLogin}}); err != nil {
					t.Fatal(err)
				}
			}
			until(t, func() bool { return fsys.refused.Load() > 0 }) // the next spare has failed
			fsys.full.Store(!room)
			err := l.Close()
			if room {
				if err != nil {
					t.Fatal(err)
				}
				verifyTest(t, dir, key, VerifyOptions{})
			} else if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("closed: %v", err)
			}
		})
	}
}

// until waits for what another goroutine does.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to it")
		}
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// noRoom is a file system on which no spare segment finds room.
type noRoom struct {
	osFiles
	full    atomic.Bool
	refused atomic.Int64
}

func (f *noRoom) Open(name string, flag int, perm os.FileMode) (file, error) {
	if f.full.Load() && flag&os.O_CREATE != 0 && filepath.Base(name) == spareName+".tmp" {
		f.refused.Add(1)
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
	}
	return f.osFiles.Open(name, flag, perm)
}

func TestTimesGrowEvenIfTheClockGoesBack(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	now := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
	cfg := testConfig(dir, key)
	cfg.Now = func() time.Time { now = now.Add(-time.Minute); return now }
	l := openTest(t, cfg)
	appendTest(t, l, 5)
	closeTest(t, l)
	verifyTest(t, dir, key, VerifyOptions{})
}

func TestClockStepsAreMeasuredAgainstTheMonotonicClock(t *testing.T) {
	last := time.Now()
	if s := clockStep(last, last.Add(10*time.Minute)); s != 0 {
		t.Errorf("time that merely passed counts as a step of %v", s)
	}
	back := last.Round(0).Add(-time.Hour) // no monotonic reading: the wall clock alone
	if s := clockStep(last, back); s != 0 {
		t.Errorf("without a monotonic reading nothing can be measured, got %v", s)
	}
}

func TestEntriesThatCannotBeRecordedAreRefused(t *testing.T) {
	l := openTest(t, testConfig(t.TempDir(), newKey(t)))
	big := testEntry(1)
	big.Closed.Reason = strings.Repeat("x", 70000)
	for name, entries := range map[string][]Entry{
		"none": {}, "no operation": {{}}, "too large": {big},
		"bad id": {{Open: Open{Op: OpLogin, ID: "7"}}},
	} {
		if _, err := l.Append(context.Background(), entries...); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
	closeTest(t, l)
	if _, err := l.Append(context.Background(), testEntry(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

// The log would keep a resident's number for ever, and never verify again.
func TestAnEntryWithAnIDNumberIsRefusedAndTheLogStaysGood(t *testing.T) {
	const number = "69010219880614105X" // fictional: region 69 does not exist
	cfg := testConfig(t.TempDir(), newKey(t))
	l := openTest(t, cfg)
	with := func(change func(*Entry)) Entry {
		e := benchEntry(1)
		change(&e)
		return e
	}
	for name, e := range map[string]Entry{
		"in the open half":   with(func(e *Entry) { e.Open.Case = number }),
		"in the closed half": with(func(e *Entry) { e.Closed.Authority = number }),
		"within a code":      with(func(e *Entry) { e.Closed.Object = "resident/" + number + "/" }),
		"lower case x":       with(func(e *Entry) { e.Closed.Reason = strings.ToLower(number) }),
		"behind <":           with(func(e *Entry) { e.Closed.Reason = "<" + number + ">" }),
		"behind &":           with(func(e *Entry) { e.Open.Purpose = "id&" + number }),
		"behind a tab":       with(func(e *Entry) { e.Closed.Object = "\t" + number }),
		"behind a control":   with(func(e *Entry) { e.Closed.Object = "\x01" + number }),
		"behind a backslash": with(func(e *Entry) { e.Closed.Object = `\u` + number }),
		"behind two":         with(func(e *Entry) { e.Closed.Object = `\\u` + number }),
		"behind a separator": with(func(e *Entry) { e.Closed.Object = "\u2028" + number }),
		"behind a letter":    with(func(e *Entry) { e.Open.Item = "A" + number }),
		"before letters":     with(func(e *Entry) { e.Open.Item = number + "abc" }),
		"digits only":        with(func(e *Entry) { e.Closed.Digests = map[string]string{"n": "no690102198806140006no"} }),
		"as a key":           with(func(e *Entry) { e.Closed.Commitments = map[string]string{number: "x"} }),
	} {
		_, err := l.Append(t.Context(), testEntry(1), e)
		if !errors.Is(err, ErrPersonal) || strings.Contains(strings.ToUpper(err.Error()), number) {
			t.Errorf("%s: %v", name, err)
		}
		if err := l.AppendAsync(e); !errors.Is(err, ErrPersonal) {
			t.Errorf("%s, nobody waiting: %v", name, err)
		}
	}
	if size := l.Head().Size; size != 1 {
		t.Errorf("the log has %d entries, want log.open alone", size)
	}
	for name, e := range map[string]Entry{
		"as a gateway writes it":  benchEntry(1),
		"born before 1900":        with(func(e *Entry) { e.Open.Case = "690102189906140009" }),
		"wrong check digit":       with(func(e *Entry) { e.Open.Case = "690102198806140031" }),
		"no day of birth":         with(func(e *Entry) { e.Open.Case = "690102198813400038" }),
		"part of a longer number": with(func(e *Entry) { e.Open.Number = "6901002026112200" + number }),
		"with one digit more":     with(func(e *Entry) { e.Open.Number = "1" + number }),
		"by chance in a digest":   with(func(e *Entry) { e.Closed.Digests = map[string]string{"answer": "ab690102198806140006c0ffee00c0ff12"} }),
	} {
		if _, err := l.Append(t.Context(), e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	closeTest(t, l)
}

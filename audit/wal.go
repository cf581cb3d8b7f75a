package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const spareName = "next"

// slowDisk is how long the log itself waits for its disk, where no caller does:
// for its first entry and for the spare segment. A disk or a virtual machine that
// stands still for some seconds must not stop a log.
const slowDisk = 30 * time.Second

func segmentName(first uint64) string { return fmt.Sprintf("%012d.seg", first) }

// wal is the live segment and the spare that follows it. A spare is really
// written with zeros, not only allocated, so that a batch's fdatasync has no
// metadata to wait for.
type wal struct {
	fs   files
	dir  string
	size int64 // of a segment

	mu   sync.Mutex // guards seg and name: the committer rotates, the watch looks
	seg  file
	name string
	off  int64 // where the next frame goes; committer only

	want  chan struct{} // a spare is to be made
	ready chan struct{} // a spare is there; closed when there will be none any more
	full  atomic.Bool   // the disk had no room for it

	unmade error // why there is none at the end; set by spares
}

func newWAL(fsys files, dir string, size int64) *wal {
	return &wal{fs: fsys, dir: dir, size: size, want: make(chan struct{}, 1), ready: make(chan struct{}, 1)}
}

// create makes a segment file of zeros under a temporary name and moves it into place.
func (w *wal) create(name string) error {
	tmp := filepath.Join(w.dir, spareName+".tmp")
	f, err := w.fs.Open(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buf := make([]byte, min(w.size, 1<<20))
	for off := int64(0); err == nil && off < w.size; off += int64(len(buf)) {
		_, err = f.WriteAt(buf[:min(int64(len(buf)), w.size-off)], off)
	}
	if err == nil {
		err = f.SyncData()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := w.fs.Rename(tmp, filepath.Join(w.dir, name)); err != nil {
		return err
	}
	return w.fs.SyncDir(w.dir)
}

// open makes an existing segment the live one.
func (w *wal) open(name string, off int64) error {
	f, err := w.fs.Open(filepath.Join(w.dir, name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seg, w.name, w.off = f, name, off
	return nil
}

// write appends a frame and makes it durable: one pwrite, one fdatasync. It
// then makes sure that what it wrote to is still the file in the directory.
func (w *wal) write(b []byte) error {
	if _, err := w.seg.WriteAt(b, w.off); err != nil {
		return err
	}
	if err := w.seg.SyncData(); err != nil {
		return err
	}
	w.off += int64(len(b))
	return w.seg.StillNamed(filepath.Join(w.dir, w.name))
}

// rotate makes the spare the live segment. It waits for the spare at most the
// given time when the disk has no room for it, and slowDisk while it is being made.
func (w *wal) rotate(first uint64, wait time.Duration) error {
	if err := w.awaitSpare(wait); err != nil {
		return err
	}
	name := segmentName(first)
	if err := w.fs.Rename(filepath.Join(w.dir, spareName), filepath.Join(w.dir, name)); err != nil {
		return err
	}
	if err := w.fs.SyncDir(w.dir); err != nil {
		return err
	}
	f, err := w.fs.Open(filepath.Join(w.dir, name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	w.mu.Lock()
	old := w.seg
	w.seg, w.name, w.off = f, name, 0
	w.mu.Unlock()
	w.want <- struct{}{} // never blocks: the last want was served, by ready
	return old.Close()
}

func (w *wal) awaitSpare(wait time.Duration) error {
	began := time.Now()
	enough, tooLong := time.After(wait), time.After(max(wait, slowDisk))
	for {
		select {
		case _, made := <-w.ready:
			if made {
				return nil
			}
			return errors.New("audit: no spare segment can be made")
		case <-enough:
			if !w.full.Load() {
				continue
			}
		case <-tooLong:
		}
		return fmt.Errorf("audit: no spare segment after %v", time.Since(began).Round(time.Millisecond))
	}
}

// check is the watch's look at the live segment.
func (w *wal) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seg.StillNamed(filepath.Join(w.dir, w.name))
}

// spares makes a spare whenever one is wanted, until want is closed. While the
// disk is full it tries again every second (nobody was told of anything in
// that file), and once more at the end, so that a closed log is whole; any
// other failure ends it, by failed returning false.
func (w *wal) spares(quit <-chan struct{}, failed func(error) (again bool)) {
	for range w.want {
		for {
			err := w.create(spareName)
			w.full.Store(err != nil)
			if err == nil {
				w.ready <- struct{}{}
				break
			}
			if !failed(err) {
				close(w.ready)
				return
			}
			select {
			case <-quit:
				if w.unmade = w.create(spareName); w.unmade != nil {
					w.unmade = fmt.Errorf("spare segment: %w", w.unmade)
				}
				return
			case <-time.After(time.Second):
			}
		}
	}
}

func (w *wal) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seg == nil {
		return nil
	}
	return w.seg.Close()
}

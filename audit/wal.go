package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const spareName = "next"

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
	ready chan struct{} // a spare is there

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

// rotate makes the spare the live segment. It waits for the spare at most
// the given time.
func (w *wal) rotate(first uint64, wait time.Duration) error {
	select {
	case <-w.ready:
	case <-time.After(wait):
		return fmt.Errorf("audit: no spare segment after %v", wait)
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
			if err == nil {
				w.ready <- struct{}{}
				break
			}
			if !failed(err) {
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

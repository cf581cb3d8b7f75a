package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
)

// directory is a spool directory. Its step hook lets a test end the process's
// life at any point; it is called after each step that changes the disk.
type directory struct {
	root string
	mode os.FileMode
	sync bool
	step func(string) error
	made atomic.Uint64 // makes names in tmp/ unique within the process
}

var spoolParts = [...]string{"tmp", "out", "in", "done", "quarantine"}

func (d *directory) open() error {
	for _, part := range spoolParts {
		if err := os.MkdirAll(filepath.Join(d.root, part), 0o700); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
	// What a dead process left half-written was never promised to anyone.
	left, err := os.ReadDir(d.path("tmp", ""))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	for _, e := range left {
		if err := os.Remove(d.path("tmp", e.Name())); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
	return nil
}

func (d *directory) path(part, name string) string { return filepath.Join(d.root, part, name) }

func (d *directory) after(step string) error {
	if d.step == nil {
		return nil
	}
	return d.step(step)
}

// write makes a whole file in tmp/ and returns its path.
func (d *directory) write(file string, data []byte, sync bool) (string, error) {
	path := d.path("tmp", file+"."+strconv.FormatUint(d.made.Add(1), 10))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, d.mode)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		return path, d.after("tmp")
	}
	return "", errors.Join(err, os.Remove(path))
}

// offer moves a file from tmp/ to out/.
func (d *directory) offer(tmp, file string, sync bool) error {
	if err := os.Rename(tmp, d.path("out", file)); err != nil {
		return err
	}
	if err := d.after("out"); err != nil {
		return err
	}
	if sync {
		return syncDir(d.path("out", ""))
	}
	return nil
}

// retain keeps a file of tmp/ in done/ as well: by a second link or, where the
// filesystem has none, by a copy.
func (d *directory) retain(tmp, file string, data []byte) error {
	err := os.Link(tmp, d.path("done", file))
	if noLinks(err) {
		var second string
		if second, err = d.write(file, data, d.sync); err == nil {
			err = os.Rename(second, d.path("done", file))
		}
	}
	if err == nil && d.sync {
		err = syncDir(d.path("done", ""))
	}
	if err != nil {
		return err
	}
	return d.after("done")
}

// offerAgain puts a retained file into out/ once more.
func (d *directory) offerAgain(file string, data []byte) error {
	err := os.Link(d.path("done", file), d.path("out", file))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if noLinks(err) {
		var tmp string
		if tmp, err = d.write(file, data, false); err == nil {
			err = d.offer(tmp, file, false)
		}
	}
	return err
}

func noLinks(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EMLINK)
}

// waiting reports whether the device has not yet fetched a file.
func (d *directory) waiting(file string) bool {
	_, err := os.Lstat(d.path("out", file))
	return err == nil
}

// errNotRegular is what read says of a link, a directory or a device.
var errNotRegular = errors.New("not a regular file")

// read reads a regular file of at most limit bytes. It follows no link. A
// larger file gives ErrFormat.
func (d *directory) read(part, file string, limit int) ([]byte, error) {
	f, err := os.OpenFile(d.path(part, file), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, errNotRegular
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	if info.Size() > int64(limit) {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrFormat, limit)
	}
	data := make([]byte, info.Size())
	n, err := io.ReadFull(f, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // it shrank: its digest will tell
	}
	return data[:n], err
}

// names lists the files of a part, unsorted. A file that vanishes meanwhile is
// not an error.
func (d *directory) names(part string) ([]string, error) {
	f, err := os.Open(d.path(part, ""))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d *directory) remove(part, file string) error {
	err := os.Remove(d.path(part, file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lock keeps a second process off the state directory. The kernel lets go of
// it when the process dies.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %s: another process uses this spool", ErrState, path)
	}
	return f, nil
}

package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// files is what the log asks of a file system. Tests put another one in its
// place that fails at a chosen call.
type files interface {
	Open(name string, flag int, perm os.FileMode) (file, error)
	Rename(from, to string) error
	Remove(name string) error
	Mkdir(name string) error // with parents; no error if it exists
	SyncDir(name string) error
	SyncAll(dir string) error // everything written below dir
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	Free(name string) (int64, error) // bytes free to this user
	Writable(dir string) error       // nil if files may still be made in it
}

type file interface {
	WriteAt(b []byte, off int64) (int, error)
	ReadAt(b []byte, off int64) (int, error)
	SyncData() error
	Lock() error                  // exclusive, without waiting; until Close
	StillNamed(name string) error // nil if this is still the file of that name
	Close() error
}

type osFiles struct{}

type osFile struct{ *os.File }

// SyncData is fdatasync(2).
func (f osFile) SyncData() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}

func (f osFile) Lock() error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

func (osFiles) Open(name string, flag int, perm os.FileMode) (file, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFiles) Rename(from, to string) error               { return os.Rename(from, to) }
func (osFiles) Remove(name string) error                   { return os.Remove(name) }
func (osFiles) Mkdir(name string) error                    { return os.MkdirAll(name, 0o700) }
func (osFiles) ReadFile(name string) ([]byte, error)       { return os.ReadFile(name) }
func (osFiles) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

func (osFiles) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// SyncAll is syncfs(2): it also waits for what others have written to the same
// file system, so it is for the end of a shard only.
func (osFiles) SyncAll(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err = unix.Syncfs(int(d.Fd())); err != nil {
		err = &fs.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	return errors.Join(err, d.Close())
}

func (osFiles) Free(name string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(name, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// Writable looks at the mode bits as well, since access(2) lets the superuser
// pass: who has taken the owner's write permission away means it.
func (osFiles) Writable(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o300 != 0o300 {
		return fmt.Errorf("%s: write permission was taken away", filepath.Base(dir))
	}
	if err := syscall.Access(dir, 2 /* W_OK */); err != nil {
		return &fs.PathError{Op: "access", Path: dir, Err: err}
	}
	return nil
}

func (f osFile) StillNamed(name string) error {
	have, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !os.SameFile(have, named) {
		return fmt.Errorf("%s was replaced by another file", filepath.Base(name))
	}
	if named.Mode().Perm()&0o200 == 0 {
		return fmt.Errorf("%s: write permission was taken away", filepath.Base(name))
	}
	return nil
}

// ReplaceFile puts a small file, its owner's only, in the place of any before it:
// after a crash it is the old one or the new one, and when it returns the new one
// is on disk.
func ReplaceFile(name string, content []byte) error {
	if err := writeWhole(osFiles{}, name, content); err != nil {
		return err
	}
	return osFiles{}.SyncDir(filepath.Dir(name))
}

// writeWhole replaces a small file: written beside it, synced, renamed.
func writeWhole(fsys files, name string, content []byte) error {
	tmp := name + ".tmp"
	f, err := fsys.Open(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.SyncData()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return fsys.Rename(tmp, name)
}

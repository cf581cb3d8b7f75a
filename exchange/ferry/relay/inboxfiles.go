package relay

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/exchange/ferry/spool"
)

// An inbox is a directory of files <32 hex of SM3 over the record's id>.req:
//
//	"yz-inbox-1" 0x0A ‖ the record as it stood in its spool file ‖ SM3 of all before
//
// A file is written under a name that ends in .tmp, brought to the disk and
// renamed, so one that is torn was torn by the disk: it is renamed to .bad and
// left for the operator. Anything else in the directory is not ours.
const (
	entryHead   = "yz-inbox-1\n"
	entrySuffix = ".req"
	tmpSuffix   = ".tmp"
	badSuffix   = ".bad"
	lockName    = "lock"
)

var (
	entryName  = regexp.MustCompile(`^[0-9a-f]{32}\.req$`)
	unfinished = regexp.MustCompile(`^[0-9a-f]{32}\.req\.tmp$`)
)

// errDamaged is what is said of an entry's file that is not as it was written.
var errDamaged = errors.New("file is damaged")

func encodeEntry(r spool.Message) ([]byte, error) {
	record, err := r.MarshalBinary()
	if err != nil {
		return nil, err
	}
	data := append([]byte(entryHead), record...)
	digest := sm3.Sum(data)
	return append(data, digest[:]...), nil
}

func decodeEntry(data []byte) (r spool.Message, err error) {
	end := len(data) - sm3.Size
	if end < len(entryHead) || !bytes.HasPrefix(data, []byte(entryHead)) {
		return r, fmt.Errorf("%w: it does not begin or end as it should", errDamaged)
	}
	if digest := sm3.Sum(data[:end]); !bytes.Equal(digest[:], data[end:]) {
		return r, fmt.Errorf("%w: its digest is wrong", errDamaged)
	}
	if err := r.UnmarshalBinary(data[len(entryHead):end]); err != nil {
		return r, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return r, nil
}

// inboxFiles is an inbox's directory.
type inboxFiles struct {
	dir  string
	lock *os.File
	log  *slog.Logger
}

// openInboxFiles takes the directory. The kernel lets go of it when the process dies.
func openInboxFiles(dir string, log *slog.Logger) (*inboxFiles, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: another process uses it", dir), lock.Close())
	}
	return &inboxFiles{dir, lock, log}, nil
}

func (f *inboxFiles) close() error { return f.lock.Close() }

func (f *inboxFiles) path(file string) string { return filepath.Join(f.dir, file) }

// each reads every entry, the oldest first, and clears up what a dead process
// left half-written, which it had not promised to anyone.
func (f *inboxFiles) each(take func(file string, r spool.Message, size int64)) error {
	found, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	var entries []fs.FileInfo
	for _, e := range found {
		switch name := e.Name(); {
		case unfinished.MatchString(name):
			if err := os.Remove(f.path(name)); err != nil {
				return err
			}
		case entryName.MatchString(name):
			info, err := e.Info()
			if err != nil {
				return err
			}
			entries = append(entries, info)
		case name != lockName:
			f.log.Warn("a file in the inbox is none of its entries and is ignored", "dir", f.dir, "file", name)
		}
	}
	slices.SortFunc(entries, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, e := range entries {
		r, err := f.read(e.Name())
		switch {
		case errors.Is(err, errDamaged):
			f.quarantine(e.Name(), err)
		case err != nil:
			return err
		default:
			take(e.Name(), r, e.Size())
		}
	}
	return nil
}

// write brings an entry to the disk: file, name and directory.
func (f *inboxFiles) write(file string, data []byte) error {
	tmp := f.path(file + tmpSuffix)
	w, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err == nil {
		err = os.Rename(tmp, f.path(file))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	dir, err := os.Open(f.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// maxEntry bounds what is read: no file of a gap is larger.
const maxEntry = spool.MaxFileBytes + 1<<10

// read reads an entry. Errors wrap errDamaged if it can never be read.
func (f *inboxFiles) read(file string) (r spool.Message, err error) {
	in, err := os.OpenFile(f.path(file), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err != nil {
		return r, err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxEntry {
		return r, fmt.Errorf("%w: not a regular file of at most %d bytes", errDamaged, maxEntry)
	}
	data, err := io.ReadAll(io.LimitReader(in, maxEntry))
	if err != nil {
		return r, err
	}
	if r, err = decodeEntry(data); err == nil && fileOf(r.ID) != file {
		err = fmt.Errorf("%w: its name is that of another entry", errDamaged)
	}
	return r, err
}

// remove removes an entry. A power cut may bring it back: it is then handled
// again, and its second answer dropped at the gap's other side by its id.
func (f *inboxFiles) remove(file string) error {
	if err := os.Remove(f.path(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// quarantine keeps a damaged file out of the way.
func (f *inboxFiles) quarantine(file string, cause error) {
	err := os.Rename(f.path(file), f.path(file+badSuffix))
	f.log.Error("a deferred request in the inbox is damaged and set aside", "dir", f.dir, "file", file+badSuffix, "cause", cause, "err", err)
}

package audit

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// crashFiles is a file system in memory that remembers what has not been synced
// yet. Its crash method is a power cut: of every file each sector written since
// its last SyncData survives or not by itself, and of every directory each change
// since its last SyncDir. That is less than any journaling file system promises.
// (pebble's crashable file system knows whole files only, not torn sectors.)
type crashFiles struct {
	mu      sync.Mutex
	names   map[string]*inode // as programs see them, directories included
	durable map[string]*inode // as the disk has them
	pending []change

	steps int    // changes and syncs so far
	cutAt int    // the step before which the power goes
	cut   func() // called then, with mu held
}

// step is called before every change and sync, with mu held.
func (c *crashFiles) step() {
	if c.steps++; c.steps == c.cutAt {
		c.cut()
	}
}

type inode struct {
	dir     bool
	data    []byte
	durable []byte
	dirty   map[int64]bool // sectors
}

// change is one step of a directory: entries set (to an inode) or removed (nil).
// A rename's two steps survive together.
type change struct {
	dir   string
	names map[string]*inode
}

func newCrashFiles(root string) *crashFiles {
	c := &crashFiles{names: map[string]*inode{}, durable: map[string]*inode{}}
	for d := root; ; d = filepath.Dir(d) {
		c.names[d] = &inode{dir: true}
		c.durable[d] = c.names[d]
		if d == filepath.Dir(d) {
			return c
		}
	}
}

// crash returns the file system after a power cut now. The one it is called on
// goes on, unaware. Called with mu held.
func (c *crashFiles) crash(rng *rand.Rand) *crashFiles {
	left := maps.Clone(c.durable)
	keep := rng.Float64() // some cuts lose nearly all, some nearly nothing
	for _, ch := range c.pending {
		if rng.Float64() < keep {
			apply(left, ch)
		}
	}
	after := newCrashFiles("/")
	copies := map[*inode]*inode{}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		if parent, ok := after.names[filepath.Dir(name)]; !ok || !parent.dir {
			continue
		}
		n := left[name]
		if copies[n] == nil {
			copies[n] = n.afterCrash(rng, keep)
		}
		after.names[name], after.durable[name] = copies[n], copies[n]
	}
	return after
}

func (n *inode) afterCrash(rng *rand.Rand, keep float64) *inode {
	size := len(n.durable)
	if len(n.data) != size && rng.Float64() < keep {
		size = len(n.data)
	}
	data := make([]byte, size)
	copy(data, n.durable)
	for at := int64(0); at < int64(size); at += sector {
		if n.dirty[at/sector] && rng.Float64() < keep && at < int64(len(n.data)) {
			end := min(at+sector, int64(size), int64(len(n.data)))
			copy(data[at:end], n.data[at:end])
		}
	}
	return &inode{dir: n.dir, data: data, durable: slices.Clone(data)}
}

func apply(names map[string]*inode, ch change) {
	for name, n := range ch.names {
		if n == nil {
			delete(names, name)
		} else {
			names[name] = n
		}
	}
}

// change makes a change visible; a SyncDir makes it durable.
func (c *crashFiles) change(dir string, to map[string]*inode) {
	c.step()
	ch := change{dir, to}
	apply(c.names, ch)
	c.pending = append(c.pending, ch)
}

func (c *crashFiles) Open(name string, flag int, _ os.FileMode) (file, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.names[name]
	switch parent := c.names[filepath.Dir(name)]; {
	case n == nil && flag&os.O_CREATE == 0, parent == nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case n == nil:
		n = &inode{}
		c.change(filepath.Dir(name), map[string]*inode{name: n})
	case flag&os.O_TRUNC != 0:
		c.step()
		n.resize(0)
	}
	return &crashFile{c, n}, nil
}

func (c *crashFiles) Rename(from, to string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.names[from]
	if n == nil || c.names[filepath.Dir(to)] == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	c.change(filepath.Dir(to), map[string]*inode{from: nil, to: n})
	return nil
}

func (c *crashFiles) Remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if len(c.children(name)) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: errors.New("directory not empty")}
	}
	c.change(filepath.Dir(name), map[string]*inode{name: nil})
	return nil
}

func (c *crashFiles) Mkdir(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []string
	for d := name; c.names[d] == nil; d = filepath.Dir(d) {
		missing = append(missing, d)
	}
	slices.Reverse(missing)
	for _, d := range missing {
		c.change(filepath.Dir(d), map[string]*inode{d: {dir: true}})
	}
	return nil
}

func (c *crashFiles) SyncDir(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.step()
	c.pending = slices.DeleteFunc(c.pending, func(ch change) bool {
		if ch.dir != name {
			return false
		}
		apply(c.durable, ch)
		return true
	})
	return nil
}

func (c *crashFiles) SyncAll(dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.step()
	c.pending = slices.DeleteFunc(c.pending, func(ch change) bool {
		if ch.dir != dir && !strings.HasPrefix(ch.dir, dir+"/") {
			return false
		}
		apply(c.durable, ch)
		return true
	})
	for name, n := range c.names {
		if strings.HasPrefix(name, dir+"/") {
			n.durable, n.dirty = slices.Clone(n.data), nil
		}
	}
	return nil
}

func (c *crashFiles) ReadFile(name string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.names[name]; n != nil && !n.dir {
		return slices.Clone(n.data), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (c *crashFiles) children(dir string) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(c.names)) {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok && !strings.Contains(rest, "/") {
			list = append(list, rest)
		}
	}
	return list
}

func (c *crashFiles) ReadDir(dir string) ([]fs.DirEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := fstest.MapFS{}
	for _, name := range c.children(dir) {
		n, mode := c.names[filepath.Join(dir, name)], fs.FileMode(0)
		if n.dir {
			mode = fs.ModeDir
		}
		m[name] = &fstest.MapFile{Mode: mode, Data: n.data}
	}
	return m.ReadDir(".")
}

func (c *crashFiles) Free(string) (int64, error) { return 1 << 40, nil }
func (c *crashFiles) Writable(string) error      { return nil }

// save writes the files below root into a real directory, for the verifier.
func (c *crashFiles) save(root, dir string) error {
	for _, name := range slices.Sorted(maps.Keys(c.names)) {
		rest, ok := strings.CutPrefix(name, root+"/")
		if !ok {
			continue
		}
		var err error
		if n := c.names[name]; n.dir {
			err = os.MkdirAll(filepath.Join(dir, rest), 0o700)
		} else {
			err = os.WriteFile(filepath.Join(dir, rest), n.data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// load puts the files of a real directory below root, all durable.
func (c *crashFiles) load(t testing.TB, dir, root string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.Join(root, strings.TrimPrefix(path, dir))
		if e.IsDir() {
			c.names[name] = &inode{dir: true}
			c.durable[name] = c.names[name]
			return nil
		}
		b, err := os.ReadFile(path)
		c.put(name, b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// put makes a file durable with this content.
func (c *crashFiles) put(name string, content []byte) {
	n := &inode{data: content, durable: slices.Clone(content)}
	c.names[name], c.durable[name] = n, n
}

type crashFile struct {
	fs *crashFiles
	n  *inode
}

func (n *inode) resize(size int) {
	n.data = append(n.data[:min(size, len(n.data))], make([]byte, max(0, size-len(n.data)))...)
}

func (f *crashFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.step()
	if end := int(off) + len(b); end > len(f.n.data) {
		f.n.resize(end)
	}
	copy(f.n.data[off:], b)
	if f.n.dirty == nil {
		f.n.dirty = make(map[int64]bool)
	}
	for s := off / sector; s*sector < off+int64(len(b)); s++ {
		f.n.dirty[s] = true
	}
	return len(b), nil
}

func (f *crashFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n := copy(b, f.n.data[min(int(off), len(f.n.data)):])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *crashFile) SyncData() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.step()
	f.n.durable, f.n.dirty = slices.Clone(f.n.data), nil
	return nil
}

func (f *crashFile) Lock() error  { return nil }
func (f *crashFile) Close() error { return nil }

func (f *crashFile) StillNamed(name string) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.names[name] != f.n {
		return &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return nil
}

// Package index finds entries of an audit log: by resident's pseudonym, case,
// exchange, document, operator, department, matter, proof, outcome and time.
//
// It is derived. Everything in its directory can be deleted and is made again
// from the log; nothing waits for it, and no answer rests on it: a search
// yields the positions of candidate entries, and whoever shows one reads it
// from the log, where its hash is checked (see [Query.Matches]).
//
// The directory holds SQLite files, each for a run of entries:
//
//	live.db            the newest, at most Config.Live entries, indexed as they come
//	s000000000000.db   full ones, named by their first entry
//	l000000000000.db   Config.Merge full ones made into one, indexed at once at the end
//
// Words that repeat (operations, departments, operators) are kept once, in
// words.db; numbers that do not (cases, exchanges, pseudonyms) as 64 bits of an
// SM3 hash, so that an index of 100 million entries stays near 100 bytes each.
// Two different numbers can share such a hash, which Matches sorts out.
//
// A file that cannot be read, or that leaves a gap, is removed with everything
// after it and made again. One process uses a directory at a time.
//
// Nobody else may change the files. So that a search does not call complete
// what somebody took rows out of, each file is held to the log, row by row, and
// a full one then sealed: SM3 of its bytes, signed by the log's key. This is
// done when the index is opened, when a file is full, and again and again
// (ShardsConfig.Check). A search that touches a file that was not looked at yet,
// or does not hold (ErrChanged), is complete only up to it; such a file is made
// again from the log, and told (Change).
//
// [Shards] is the index of a node's whole log, quarter by quarter, and what
// searches are made with: it reads every entry it finds from the log.
package index

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite"

	"yizheng/identity/jose"
)

// Config says where an index is and how its files grow.
type Config struct {
	Dir   string
	Live  int // entries of the newest file; default 250,000, beyond which SQLite's indexes slow down
	Merge int // full files made into one; default 20

	Origin string    // of the log, for seals
	Key    *jose.Key // signs the seals of full files; nil: they are only remembered
}

func (c Config) withDefaults() Config {
	if c.Live <= 0 {
		c.Live = 250_000
	}
	if c.Merge <= 1 {
		c.Merge = 20
	}
	return c
}

// Index is an open index. Add and Follow are for one goroutine; Search for any number.
type Index struct {
	cfg   Config
	words *words
	lock  *os.File
	turn  chan struct{} // a full file has been added; Follow merges

	schema    string        // of every file, as SQLite tells it
	secret    [32]byte      // of fingerprints
	unchecked chan struct{} // a file is to be looked at
	shaping   sync.Mutex    // files are made into another one
	dropped   []Change      // what Open removed and no crash explains

	closed bool // log.close is indexed: nothing more will come

	mu    sync.RWMutex // guards parts and their being open
	parts []*part      // oldest first; the last is the live one
}

// Open opens the index of a directory, making the directory if it is missing,
// and drops what a crash left unfinished.
func Open(ctx context.Context, c Config) (*Index, error) {
	c = c.withDefaults()
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit index: %w", err)
	}
	lock, err := take(c.Dir)
	if err != nil {
		return nil, err
	}
	x := &Index{cfg: c, lock: lock, turn: make(chan struct{}, 1), unchecked: make(chan struct{}, 1)}
	_, _ = rand.Read(x.secret[:]) // never fails
	if x.schema, err = madeSchema(ctx, schema()+indexes); err == nil {
		err = x.load(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// ErrInUse: another process uses the index.
var ErrInUse = errors.New("audit index: in use by another process")

// take makes the directory this process's own until the file is closed.
func take(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit index: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(fmt.Errorf("audit index: %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// Rebuild removes an index that nobody uses, so that Open and Follow make it again.
func Rebuild(dir string) error {
	lock, err := take(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(removeAll(dir), lock.Close())
}

func removeAll(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.db*"))
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	if err != nil {
		return fmt.Errorf("audit index: %w", err)
	}
	return nil
}

const (
	liveName  = "live.db"
	wordsName = "words.db"
)

// load opens the files that follow on from one another, and removes the others.
func (x *Index) load(ctx context.Context) error {
	var err error
	if x.words, err = makeWords(ctx, x.cfg.Dir); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("audit index: %w", ctx.Err())
		}
		if elsewhere(err) {
			return err
		}
		if errors.Is(err, ErrChanged) {
			x.dropped = append(x.dropped, Change{File: wordsName, What: err.Error()})
		}
		if err := removeAll(x.cfg.Dir); err != nil { // without its words no file can be read
			return err
		}
		if x.words, err = makeWords(ctx, x.cfg.Dir); err != nil {
			return err
		}
	}
	names, err := x.files()
	if err != nil {
		return err
	}
	next := uint64(0)
	for _, name := range names {
		p, err := openPart(ctx, x.cfg.Dir, name, living...)
		if err == nil && p.first == next && p.words == x.words.name {
			p.standing.Store(unchecked)
			p.readSeal(x.cfg, x.words)
			x.parts, next = append(x.parts, p), p.next
			continue
		}
		if elsewhere(err) {
			return err
		}
		x.dropping(name, p, next)
		if p != nil {
			err = p.close()
		}
		if ctx.Err() != nil {
			return fmt.Errorf("audit index: %w", errors.Join(ctx.Err(), err))
		}
		if err := removeFile(x.cfg.Dir, name); err != nil {
			return err
		}
	}
	if n := len(x.parts); n == 0 || x.parts[n-1].name != liveName {
		return x.begin(ctx, next)
	}
	return nil
}

// dropping notes a file that is removed and made again, if neither a crash
// explains that nor another one that was noted before.
func (x *Index) dropping(name string, p *part, next uint64) {
	c := Change{File: name, First: next, Next: next}
	switch {
	case len(x.dropped) > 0 || p == nil && name == liveName || p != nil && p.next <= next && name[1:] == fullName(p.first)[1:]:
		return // a consequence; torn or not there; was made into another one
	case p == nil:
		c.What = "文件不可读 / it cannot be read"
	case p.words != x.words.name:
		c.File, c.What = wordsName, "词表已被换过 / it was replaced by another"
	case p.first != next:
		c.What = fmt.Sprintf("文件从第 %d 条开始，应从第 %d 条 / it begins with entry %d, not %d", p.first, next, p.first, next)
	}
	if p != nil {
		c.Next = max(next, p.next)
	}
	x.dropped = append(x.dropped, c)
}

// files removes what a merge left unfinished, and lists the others.
func (x *Index) files() ([]string, error) {
	unfinished, err := filepath.Glob(filepath.Join(x.cfg.Dir, tmpPrefix+"*"))
	for _, name := range unfinished {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		return nil, fmt.Errorf("audit index: %w", err)
	}
	return listFiles(x.cfg.Dir)
}

// listFiles lists the files of entries by their first one, a merged file before
// those it was made of, the live one last.
func listFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("audit index: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); filepath.Ext(name) == ".db" && !strings.HasPrefix(name, tmpPrefix) && name != liveName && name != wordsName {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(a[1:]+a[:1], b[1:]+b[:1]) })
	return append(names, liveName), nil
}

// begin makes the live file that follows.
func (x *Index) begin(ctx context.Context, first uint64) error {
	p, err := makePart(ctx, x.cfg.Dir, liveName, x.words.name, first)
	if err != nil {
		return err
	}
	x.parts = append(x.parts, p)
	return nil
}

// Next is the first entry that is not indexed: searches are complete up to it.
func (x *Index) Next() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.live().next
}

func (x *Index) live() *part { return x.parts[len(x.parts)-1] }

// Close closes the files.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var err error
	for _, p := range x.parts {
		err = errors.Join(err, p.close())
	}
	x.parts = nil
	if x.words != nil {
		err = errors.Join(err, x.words.db.Close())
	}
	if x.lock != nil {
		err = errors.Join(err, x.lock.Close())
	}
	return err
}

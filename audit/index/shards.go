package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"yizheng/audit"
	"yizheng/identity/jose"
)

// Shard is what is indexed: an *audit.Log while it is written, an
// *audit.Archive once it is sealed.
type Shard interface {
	Origin() string
	Head() audit.SignedHead
	NewReader(from uint64) *audit.Reader
	Receipt(index uint64) (audit.Receipt, error)
	Consistency(from, to uint64) ([]audit.Hash, error)
}

// ShardsConfig says where the indexes of a node's shards are.
type ShardsConfig struct {
	Dir    string        // one directory below it a shard, named by its quarter
	Every  time.Duration // how often the log is looked at; default 200 ms
	Check  time.Duration // how often all files are held to the log or their seals; default an hour
	Key    *jose.Key     // the log's: signs the seals of full files; nil: they are held to the log at every start
	Logger *slog.Logger  // default: discarded

	Live, Merge int // how files grow, see Config

	// Changed is told of every file that did not hold; nil: nobody is.
	Changed func(Change)
}

// Shards is the index of a node's whole log: the shard that is written and
// those before it. Each is followed by a goroutine of its own; one that fails
// is tried again, and made anew when the index does not fit its log. Nothing
// of the log waits for any of it. Methods may be called from many goroutines.
type Shards struct {
	cfg    ShardsConfig
	ctx    context.Context // of the goroutines; Close ends it
	cancel context.CancelFunc
	wg     sync.WaitGroup

	checking chan struct{} // holds one while a file is looked at

	mu      sync.RWMutex
	list    []*shard // newest first
	changes []Change // the last ones
}

// shard is one of them. x is nil while the index cannot be searched.
type shard struct {
	Shard               // nil if it could not be opened yet
	origin, name string // the name is the quarter: 2026q4
	doubt        chan error

	mu  sync.RWMutex
	x   *Index
	err error // why x is nil
}

// NewShards is an index of no shard yet. Close it.
func NewShards(c ShardsConfig) *Shards {
	if c.Every <= 0 {
		c.Every = 200 * time.Millisecond
	}
	if c.Check <= 0 {
		c.Check = time.Hour
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Shards{cfg: c, checking: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.watch)
	return s
}

// Add indexes one more shard from now on, until Close. Shards are ordered by
// their quarters, whatever the order of the calls.
func (s *Shards) Add(of Shard) {
	sh := s.insert(&shard{Shard: of, origin: of.Origin(), doubt: make(chan error, 1), err: ErrOpening})
	s.wg.Go(func() { s.keep(sh) })
}

// Open is Add for a shard that has to be opened first, which is done in the
// shard's own goroutine, again and again if it fails. Every search names it until then.
func (s *Shards) Open(origin string, open func(context.Context) (Shard, error)) {
	sh := s.insert(&shard{origin: origin, doubt: make(chan error, 1), err: ErrOpening})
	s.wg.Go(func() {
		for !s.opened(sh, open) {
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(openAgain):
			}
		}
		s.keep(sh)
	})
}

const openAgain = time.Minute

func (s *Shards) opened(sh *shard, open func(context.Context) (Shard, error)) bool {
	of, err := open(s.ctx)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err != nil {
		if sh.err = err; s.ctx.Err() == nil {
			s.cfg.Logger.Error("audit index: a quarter is not searched", "origin", sh.origin, "err", err)
		}
		return false
	}
	sh.Shard = of
	return true
}

// Lack has a shard that should be there, but could not be opened, named by
// every search.
func (s *Shards) Lack(origin string, why error) { s.insert(&shard{origin: origin, err: why}) }

func (s *Shards) insert(sh *shard) *shard {
	sh.name = path.Base(sh.origin)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, sh)
	slices.SortFunc(s.list, func(a, b *shard) int { return strings.Compare(b.name, a.name) })
	return sh
}

// Close ends following and closes the indexes.
func (s *Shards) Close() error {
	s.cancel()
	s.wg.Wait()
	return nil
}

// ErrOpening: a shard, or its index, is still being opened.
var ErrOpening = errors.New("audit index: still being opened")

// watch says once a minute which indexes lack what the log held a minute ago.
func (s *Shards) watch() {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	before := make(map[string]uint64)
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		for _, st := range s.State() {
			if size := before[st.Origin]; st.Indexed < size {
				s.cfg.Logger.Warn("audit index: behind its log", "origin", st.Origin, "indexed", st.Indexed, "size", st.Size)
			}
			before[st.Origin] = st.Size
		}
	}
}

// keep follows a shard until Close, whatever happens to its index.
func (s *Shards) keep(sh *shard) {
	const most = time.Minute
	dir := filepath.Join(s.cfg.Dir, sh.name)
	for wait := time.Second; ; wait = min(2*wait, most) {
		began := time.Now()
		err := s.follow(sh, dir)
		if s.ctx.Err() != nil {
			return
		}
		anew := mustRebuild(err)
		s.cfg.Logger.Error("audit index: does not follow its log; searches are incomplete until it does", "origin", sh.origin, "rebuild", anew, "err", err)
		var live *changeError
		switch {
		case errors.As(err, &live):
			s.tell(sh, live.Change)
			anew, err = true, dropLive(dir)
		case anew:
			s.tell(sh, Change{File: "*.db", Next: sh.Head().Size, What: err.Error()})
			err = Rebuild(dir)
		}
		if time.Since(began) > most {
			wait = time.Second
		}
		if anew && err == nil {
			continue
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// mustRebuild tells what opening the index again would not mend.
func mustRebuild(err error) bool {
	return spoilt(err) || errors.Is(err, ErrAhead) || errors.Is(err, ErrForeign)
}

// spoilt: what SQLite read is no database any more.
func spoilt(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlitelib.SQLITE_CORRUPT || code == sqlitelib.SQLITE_NOTADB
}

// elsewhere: what keeps a file from being used is not in it. There is no room, no
// handle or no right, which will pass; what is in the file stays.
func elsewhere(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
	}
	switch e.Code() & 0xff {
	case sqlitelib.SQLITE_CANTOPEN, sqlitelib.SQLITE_FULL, sqlitelib.SQLITE_BUSY, sqlitelib.SQLITE_LOCKED, sqlitelib.SQLITE_NOMEM, sqlitelib.SQLITE_PERM, sqlitelib.SQLITE_READONLY:
		return true
	case sqlitelib.SQLITE_IOERR:
		return e.Code() != sqlitelib.SQLITE_IOERR_READ && e.Code() != sqlitelib.SQLITE_IOERR_SHORT_READ && e.Code() != sqlitelib.SQLITE_IOERR_CORRUPTFS
	}
	return false
}

// dropLive removes the live file of an index that nobody uses. It is made again
// from where it began.
func dropLive(dir string) error {
	lock, err := take(dir)
	if err != nil {
		return err
	}
	return errors.Join(removeFile(dir, liveName), lock.Close())
}

// follow opens a shard's index, lets it be searched and follows the log until
// something fails, or the index is found not to fit. It always returns an error.
func (s *Shards) follow(sh *shard, dir string) error {
	x, err := Open(s.ctx, Config{Dir: dir, Live: s.cfg.Live, Merge: s.cfg.Merge, Origin: sh.origin, Key: s.cfg.Key})
	if err != nil {
		return sh.without(err)
	}
	for _, c := range x.dropped {
		s.tell(sh, c)
	}
	if err := x.fits(s.ctx, sh); err != nil {
		return sh.without(errors.Join(err, x.Close()))
	}
	sh.mu.Lock()
	sh.x, sh.err = x, nil
	sh.mu.Unlock()
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	s.wg.Go(func() {
		select {
		case <-ctx.Done():
		case err := <-sh.doubt:
			cancel(err)
		}
	})
	var checking sync.WaitGroup
	checking.Go(func() {
		if err := s.checks(ctx, sh, x); err != nil {
			cancel(err)
		}
	})
	err = x.goOn(ctx, sh, s.cfg.Every)
	if err == nil && ctx.Err() == nil { // a sealed shard is done with
		<-ctx.Done()
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	cancel(err)
	checking.Wait()
	return errors.Join(sh.without(err), x.Close())
}

// isOpen tells whether the shard itself can be read.
func (sh *shard) isOpen() bool {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.Shard != nil
}

// without ends searches of the index, and returns why.
func (sh *shard) without(err error) error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.x, sh.err = nil, err
	return err
}

// State is how far a shard is indexed.
type State struct {
	Origin  string `json:"origin"`
	Size    uint64 `json:"size"`    // entries of the log; 0 if it could not be opened
	Indexed uint64 `json:"indexed"` // of these, from the first on
	Err     error  `json:"-"`       // why it cannot be searched now, or nil
	Doubt   error  `json:"-"`       // of any file, not of a search: nil, ErrUnchecked or ErrChanged
}

// State tells how far every shard is indexed, newest first.
func (s *Shards) State() []State {
	var list []State
	for _, sh := range s.shards() {
		list = append(list, sh.state())
	}
	return list
}

func (sh *shard) state() State {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	st := State{Origin: sh.origin, Err: sh.err}
	if sh.x != nil {
		st.Indexed, st.Doubt = sh.x.Next(), sh.x.standing()
	}
	if sh.Shard != nil {
		st.Size = sh.Head().Size // after Next: the log is never the shorter of the two
	}
	return st
}

func (s *Shards) shards() []*shard {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.list)
}

// Hit is an entry that was found, as the log itself holds it: hashed again,
// and in the tree of its shard's signed head.
type Hit struct {
	Origin string
	audit.Stored
}

// Result is what a search of all shards yields.
type Result struct {
	Hits []Hit // newest first
	// Searched tells of every shard that was asked how far its index reached.
	// The search is incomplete where Indexed is less than Size, or Err is set.
	Searched []State
	// Next goes on where this search stopped: set Query.Before and BeforeShard
	// to it. Nil if there is nothing older.
	Next *Position
}

// Position is a place in a node's log.
type Position struct {
	Shard string // quarter
	Index uint64
}

// Search looks through all shards, newest first. A shard that cannot be
// searched is named in the result and does not stop the others. An entry that
// cannot be read, or is not what was signed, ends the search with the log's
// error: that is no matter of the index.
func (s *Shards) Search(ctx context.Context, q Query) (Result, error) {
	limit, err := q.limit()
	if err != nil {
		return Result{}, err
	}
	var res Result
	for _, sh := range s.shards() {
		in := q
		switch {
		case q.BeforeShard != "" && sh.name > q.BeforeShard:
			continue
		case sh.name != q.BeforeShard:
			in.Before = 0
		}
		if in.Limit = limit - len(res.Hits); in.Limit == 0 {
			break
		}
		hits, state, err := s.search(ctx, sh, in)
		if err != nil {
			return Result{}, err
		}
		res.Hits, res.Searched = append(res.Hits, hits...), append(res.Searched, state)
		if len(res.Hits) == limit {
			res.Next = &Position{sh.name, hits[len(hits)-1].Index}
			break
		}
	}
	return res, nil
}

// search finds up to q.Limit entries of one shard.
func (s *Shards) search(ctx context.Context, sh *shard, q Query) (hits []Hit, state State, err error) {
	state = sh.state()
	for want := q.Limit; len(hits) < want; {
		q.Limit = want - len(hits)
		found, err := sh.candidates(ctx, q)
		if err != nil {
			if ctx.Err() != nil {
				return nil, state, fmt.Errorf("audit index: searching: %w", ctx.Err())
			}
			if !errors.Is(err, ErrOpening) {
				s.cfg.Logger.Error("audit index: search", "origin", sh.origin, "err", err)
			}
			state.Err = err
			return hits, state, nil
		}
		state.Indexed = min(state.Indexed, found.CompleteTo)
		checked, err := sh.check(ctx, q, found.Entries)
		if err != nil {
			return nil, state, fmt.Errorf("audit index: %s: %w", sh.origin, err)
		}
		hits = append(hits, checked...)
		if odd := len(found.Entries) - len(checked); odd > 0 {
			s.cfg.Logger.Warn("audit index: rows that do not match their entries; see gateway audit index -compare", "origin", sh.origin, "rows", odd)
			state.Indexed = min(state.Indexed, sh.suspect(found.Entries, checked))
		}
		if !found.More {
			break
		}
		q.Before = found.Entries[len(found.Entries)-1]
	}
	return hits, state, nil
}

func (sh *shard) candidates(ctx context.Context, q Query) (Found, error) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if sh.x == nil {
		return Found{}, sh.err
	}
	found, err := sh.x.Search(ctx, q)
	if err != nil && mustRebuild(err) {
		select {
		case sh.doubt <- err:
		default: // it is known already
		}
	}
	return found, err
}

// suspect doubts the files of candidates that are no hits, and returns up to
// where the index is not in doubt.
func (sh *shard) suspect(candidates []uint64, hits []Hit) uint64 {
	odd := slices.DeleteFunc(slices.Clone(candidates), func(i uint64) bool {
		return slices.ContainsFunc(hits, func(h Hit) bool { return h.Index == i })
	})
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if sh.x == nil {
		return 0
	}
	return sh.x.suspect(odd)
}

// check reads candidates from the log, newest first, and drops those that do
// not match.
func (sh *shard) check(ctx context.Context, q Query, at []uint64) (hits []Hit, err error) {
	r := sh.NewReader(0)
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, index := range slices.Backward(at) { // ascending, which reads every segment once
		stored, err := r.Entry(ctx, index)
		if err != nil {
			return nil, err
		}
		receipt, err := sh.Receipt(index)
		if err != nil {
			return nil, err
		}
		if err := receipt.Includes(stored.Leaf); err != nil {
			return nil, err
		}
		if q.Matches(stored.Entry) {
			hits = append(hits, Hit{sh.origin, stored})
		}
	}
	slices.Reverse(hits)
	return hits, nil
}

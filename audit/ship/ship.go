// Package ship copies an audit log to where others look at logs: a SIEM over
// syslog or HTTPS, a Kafka topic, a PostgreSQL database for large sites.
//
// A copy is not the record. Each record names its log, its index and its leaf
// hash, so that whoever doubts it can ask the log for the proof; what a sink
// holds can be thrown away and shipped again.
//
// Every sink gets every entry at least once, in the order of the log, from a
// cursor of its own: one small file, replaced and synced after the sink has
// taken a batch. A sink that does not answer is tried again for as long as it
// takes and never skipped; it holds up neither the log nor the other sinks. If
// Config.MaxBehind is set, a sink that has not taken an entry older than that
// holds the log, so that nothing happens any more that nobody outside has seen.
//
// A cursor that is ahead of its log means that the log was cut or put back: that
// is ErrAhead, and stays so until a person has looked. So does one at a quarter
// that is not there, ErrGone: neither is what the sink has sent to it again, nor
// what was lost with the quarter passed over in silence. A sink without a cursor
// gets everything from the first quarter on, which is logged.
//
// The form of the records is in docs/protocol/audit-shipping.md.
package ship

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"yizheng/audit"
)

// ErrAhead: the sink has taken entries that the log does not have.
var ErrAhead = errors.New("audit ship: the log is shorter than what was shipped of it")

// ErrGone: the quarter that the sink was at is not among the log's.
var ErrGone = errors.New("audit ship: 副本所到的季度不在此日志中：请放回该季度的目录，或核对 audit.ship_dir 是否属于本日志；要从头重发，先删除该副本的 .cursor 文件 / " +
	"the quarter that the copy had come to is not among this log's: put its directory back, or see whether audit.ship_dir is this log's; to ship everything again, remove the sink's .cursor file first")

// ErrBehind is why a log is held.
var ErrBehind = errors.New("audit ship: a copy of the log is behind for too long")

// Sink takes records. Send returns nil when the sink has taken all of them; after
// an error it may get some of them again. It is called by one goroutine.
type Sink interface {
	Send(ctx context.Context, records []Record) error
	Close() error
}

// Shard is one quarter of a node's log: a running one, or the directory of one
// that is sealed.
type Shard struct {
	Origin string
	Log    *audit.Log // nil: sealed
	Dir    string
	Keys   []*ecdsa.PublicKey
}

// Config of one sink's shipping.
type Config struct {
	Name   string // of the sink: a file name
	Dir    string // of the cursors; must exist
	Sink   Sink
	Closed bool // ship the closed halves too, not only their hashes
	// Back is how many records before its cursor are sent again after an error, for
	// sinks that cannot say what they have taken.
	Back uint64
	// MaxBehind is how old, by its own time, the oldest entry not taken may be before
	// the running log is held, in whichever shard that entry is. 0: any age.
	MaxBehind time.Duration
	Logger    *slog.Logger

	Every time.Duration    // between two looks at the log; default 250 ms
	Retry time.Duration    // before the first repetition, doubled up to a minute; default 1 s
	Now   func() time.Time // default time.Now
}

// At most this much goes to a sink at once.
const (
	batchRecords = 500
	batchBytes   = 1 << 20
)

const sendTime = 30 * time.Second

// Shipper ships to one sink.
type Shipper struct {
	c      Config
	cursor cursor
	live   *audit.Log // the running one, which is held; nil: all shards are sealed
	oldest time.Time  // of the entry at the cursor, once it was read

	mu     sync.Mutex
	status Status
}

// Status is how far a sink is.
type Status struct {
	Name   string `json:"name"`
	Origin string `json:"origin"` // of the shard it is at
	Next   uint64 `json:"next"`   // the first entry of it that the sink has not taken
	Behind uint64 `json:"behind"` // entries of that shard that wait
	Error  string `json:"error,omitempty"`
}

// New reads the sink's cursor.
func New(c Config) (*Shipper, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Every <= 0 {
		c.Every = 250 * time.Millisecond
	}
	if c.Retry <= 0 {
		c.Retry = time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	cur, err := readCursor(c.Dir, c.Name)
	if err != nil {
		return nil, err
	}
	return &Shipper{c: c, cursor: cur, status: Status{Name: c.Name, Origin: cur.Origin, Next: cur.Next}}, nil
}

// Status says how far the sink is.
func (s *Shipper) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Run ships the shards, oldest first, until ctx ends or, where all are sealed, all
// is shipped. The last may be running, and is followed to the shards that it turns
// to. It returns only ErrAhead, ErrGone, an error of its own files or the log's, or ctx's.
func (s *Shipper) Run(ctx context.Context, shards []Shard) error {
	if len(shards) == 0 {
		return nil
	}
	s.live = shards[len(shards)-1].Log
	defer s.release()
	at := slices.IndexFunc(shards, func(sh Shard) bool { return sh.Origin == s.cursor.Origin })
	switch {
	case s.cursor.Origin == "":
		s.c.Logger.Warn("audit copy has no cursor: it begins with the first entry of the first quarter", "sink", s.c.Name, "origin", shards[0].Origin)
		at = 0
	case at < 0:
		return fmt.Errorf("audit ship to %s: %w: %s, entry %d", s.c.Name, ErrGone, s.cursor.Origin, s.cursor.Next)
	}
	for _, sh := range shards[at:] {
		if err := s.ship(ctx, sh); err != nil {
			return err
		}
	}
	if s.live == nil {
		return nil
	}
	for l := s.live.Next(); ; l = l.Next() { // ship has returned, so there is one
		if err := s.ship(ctx, Shard{Origin: l.Origin(), Log: l}); err != nil {
			return err
		}
	}
}

// ship ships one shard from the cursor on: all of a sealed one, a running one until
// ctx ends or it has turned to the next.
func (s *Shipper) ship(ctx context.Context, sh Shard) error {
	if sh.Origin != s.cursor.Origin {
		s.cursor = cursor{Origin: sh.Origin}
	}
	if err := s.repeat(ctx, sh); err != nil {
		return fmt.Errorf("audit ship to %s: %w", s.c.Name, err)
	}
	return nil
}

// repeat ships one shard, again after every error of the sink.
func (s *Shipper) repeat(ctx context.Context, sh Shard) error {
	retry := s.c.Retry
	for from := s.cursor.Next; ; from = s.cursor.Next - min(s.c.Back, s.cursor.Next) {
		err := s.from(ctx, sh, from, func() { retry = s.c.Retry })
		var failed *sendError
		if ctx.Err() != nil {
			return ctx.Err()
		} else if !errors.As(err, &failed) {
			return err
		}
		s.failing(sh, failed)
		if !wait(ctx, retry) {
			return ctx.Err()
		}
		retry = min(2*retry, time.Minute)
	}
}

// sendError is the sink's, and so worth another try.
type sendError struct{ error }

func (e *sendError) Unwrap() error { return e.error }

// from ships from an entry on, until the sink fails or, of a shard that is sealed
// or has turned to the next, to the end. went is called whenever all that was there
// has been taken.
func (s *Shipper) from(ctx context.Context, sh Shard, from uint64, went func()) error {
	b := &batch{s: s, ctx: ctx, shard: sh}
	if sh.Log == nil {
		size := uint64(0)
		err := audit.Each(sh.Dir, func(e audit.Stored) error {
			if size = e.Index + 1; e.Index < from {
				return ctx.Err()
			}
			return b.add(e)
		}, sh.Keys...)
		if err == nil && from > size {
			return ahead(sh, from, size)
		} else if err != nil {
			return err
		}
		return b.flush()
	}
	if size := sh.Log.Head().Size; from > size {
		return ahead(sh, from, size)
	}
	r := sh.Log.NewReader(from)
	defer r.Close()
	for {
		next := sh.Log.Next() // before reading: what is there then is all of the shard
		if _, err := r.Next(ctx, b.add); err != nil {
			return err
		}
		if err := b.flush(); err != nil {
			return err
		}
		if went(); next != nil {
			return nil
		}
		if s.cursor.Next == sh.Log.Head().Size { // else what came meanwhile may be old by now
			s.release()
		}
		if !wait(ctx, s.c.Every) {
			return ctx.Err()
		}
	}
}

func ahead(sh Shard, next, size uint64) error {
	return fmt.Errorf("%w: %s: entry %d is next, the log has %d", ErrAhead, sh.Origin, next, size)
}

// batch is what goes to the sink at once.
type batch struct {
	s       *Shipper
	ctx     context.Context
	shard   Shard
	records []Record
	bytes   int
}

func (b *batch) add(e audit.Stored) error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	r := newRecord(b.shard.Origin, e, b.s.c.Closed)
	if r.Index == b.s.cursor.Next {
		b.s.oldest = r.Time()
		b.s.judge()
	}
	b.records = append(b.records, r)
	if b.bytes += len(r.JSON); len(b.records) < batchRecords && b.bytes < batchBytes {
		return nil
	}
	return b.flush()
}

func (b *batch) flush() error {
	if len(b.records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(b.ctx, sendTime)
	defer cancel()
	if err := b.s.c.Sink.Send(ctx, b.records); err != nil {
		return &sendError{err}
	}
	next := b.records[len(b.records)-1].Index + 1
	b.records, b.bytes = b.records[:0], 0
	return b.s.taken(b.shard, next)
}

// taken moves the cursor on.
func (s *Shipper) taken(sh Shard, next uint64) error {
	if next > s.cursor.Next {
		s.cursor.Next = next
		if err := s.cursor.write(s.c.Dir, s.c.Name); err != nil {
			return err
		}
	}
	behind := uint64(0)
	if sh.Log != nil {
		behind = sh.Log.Head().Size - s.cursor.Next
	}
	s.mu.Lock()
	was := s.status.Error
	s.status = Status{Name: s.c.Name, Origin: sh.Origin, Next: s.cursor.Next, Behind: behind}
	s.mu.Unlock()
	if was != "" {
		s.c.Logger.Info("audit copy goes on", "sink", s.c.Name, "next", next)
	}
	return nil
}

// failing notes that the sink does not take what waits.
func (s *Shipper) failing(sh Shard, err error) {
	s.mu.Lock()
	first := s.status.Error == ""
	s.status.Origin, s.status.Next, s.status.Error = sh.Origin, s.cursor.Next, err.Error()
	if sh.Log != nil {
		s.status.Behind = sh.Log.Head().Size - s.cursor.Next
	}
	s.mu.Unlock()
	if first {
		s.c.Logger.Warn("audit copy is not taken; trying again", "sink", s.c.Name, "next", s.cursor.Next, "error", err)
	}
	s.judge()
}

// judge holds the log while the oldest entry not taken is too old. Its own time
// counts, so that neither a sink that is slow but never fails nor a restart makes
// it younger.
func (s *Shipper) judge() {
	if s.live == nil || s.c.MaxBehind <= 0 {
		return
	}
	if s.c.Now().Sub(s.oldest) < s.c.MaxBehind {
		s.release()
	} else if s.live.Hold(s.holder(), fmt.Errorf("%w: %s", ErrBehind, s.c.Name)) {
		s.c.Logger.Error("audit copy is behind for too long: no business is taken any more", "sink", s.c.Name, "longest", s.c.MaxBehind, "oldest", s.oldest)
	}
}

func (s *Shipper) holder() string { return "ship " + s.c.Name }

// release lets the log take business again.
func (s *Shipper) release() {
	if s.live != nil && s.live.Hold(s.holder(), nil) {
		s.c.Logger.Info("audit copy no longer holds the log", "sink", s.c.Name)
	}
}

// wait reports whether ctx still lives after d.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

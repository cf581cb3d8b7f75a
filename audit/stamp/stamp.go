// Package stamp has an audit log's heads stamped by a time stamp authority
// (RFC 3161, GM/T 0033), and verifies such stamps. Whoever holds the machine
// and the log's key can write another history, but not one that an authority
// outside has stamped at the time.
//
// The stamps lie beside the log, since nothing may be added to its own
// directory: one file a quarter, named like it, to which a line is appended for
// each stamp (audit.Stamp) and synced. The format is docs/protocol/audit-log.md
// §13. An authority that gives none is asked again; the log goes on without,
// unless there is a limit to that.
package stamp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync/atomic"
	"time"

	"yizheng/audit"
	"yizheng/seal/tsp"
)

// Config says whose heads are stamped, by whom, and how often.
type Config struct {
	Log *audit.Log // and the shards that it turns to
	// Before is the final head of the shard before Log, which is stamped if its
	// process did not come to it. The zero head: there is none.
	Before audit.SignedHead
	Dir    string // of the stamps, a file for each shard
	Client *tsp.Client
	Every  time.Duration // default 1 hour
	// MaxUnstamped is how long entries may go without being under a stamped head
	// before the log takes no business any more. 0: for ever.
	MaxUnstamped time.Duration
	Now          func() time.Time
	Logger       *slog.Logger
}

const (
	// retry is how soon an authority that gave none is asked again.
	retry = time.Minute
	// skew is by how much the log's clock may be off without being noticed.
	skew = time.Minute
)

// ErrUnstamped is why a log is held.
var ErrUnstamped = errors.New("stamp: entries are not under a time stamp")

// Stamper keeps a log stamped. Its methods, but Status, are for one goroutine.
type Stamper struct {
	Config
	status atomic.Pointer[Status]
	shard  *audit.Log         // whose heads are stamped now
	size   uint64             // of its last stamped head
	at     time.Time          // when that was; zero: not in this process
	sealed []audit.SignedHead // final heads of the shards before that wait
	since  time.Time          // when what waits was first noticed, or made; zero: nothing waits
}

// New makes a Stamper, which goes on where the stamps in the directory end.
func New(ctx context.Context, c Config) (*Stamper, error) {
	if c.Every <= 0 {
		c.Every = time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("stamp: %w", err)
	}
	s := &Stamper{Config: c, shard: c.Log}
	var err error
	if s.size, err = s.stamped(c.Log.Origin()); err != nil {
		return nil, err
	}
	if c.Before.Size > 0 {
		size, err := s.stamped(c.Before.Origin)
		if err != nil {
			return nil, err
		}
		if size < c.Before.Size {
			s.sealed, s.since = []audit.SignedHead{c.Before}, time.UnixMicro(c.Before.Time)
		}
	}
	if s.since.IsZero() && s.size < c.Log.Head().Size { // a restart makes no entry younger
		err := c.Log.Read(ctx, s.size, s.size+1, func(_ uint64, e audit.Stored) error {
			s.since = time.UnixMicro(e.Entry.Open.Time)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("stamp: %w", err)
		}
	}
	return s, nil
}

func (s *Stamper) file(origin string) string { return filepath.Join(s.Dir, path.Base(origin)) }

// stamped is the largest size stamped of a shard, 0 if none was.
func (s *Stamper) stamped(origin string) (size uint64, err error) {
	text, err := os.ReadFile(s.file(origin))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("stamp: %w", err)
	}
	for line := range bytes.Lines(text) {
		// A line torn by a power cut is none; what is wrong with it, the auditor says.
		if p, err := audit.ParseStamp(bytes.TrimSuffix(line, []byte("\n"))); err == nil && p.Head.Origin == origin {
			size = max(size, p.Head.Size)
		}
	}
	return size, nil
}

// Run stamps until ctx ends, and then the last head.
func (s *Stamper) Run(ctx context.Context) {
	tick := time.NewTicker(min(s.Every, retry))
	defer tick.Stop()
	for {
		s.round(ctx, false)
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
			defer cancel()
			s.round(last, true)
			return
		case <-tick.C:
		}
	}
}

// round stamps what is due, and decides whether the log may go on.
func (s *Stamper) round(ctx context.Context, last bool) {
	for next := s.shard.Next(); next != nil; next = s.shard.Next() {
		s.sealed = append(s.sealed, s.shard.Head())
		s.shard, s.size, s.at = next, 0, time.Time{}
	}
	if err := s.due(ctx, last); err != nil {
		if ctx.Err() != nil && !last {
			return
		}
		s.Logger.Warn("audit log's head not stamped", "origin", s.shard.Origin(), "err", err)
	}
	err := s.overdue()
	s.status.Store(&Status{Size: s.size, At: s.at, Since: s.since, Every: s.Every, Max: s.MaxUnstamped})
	if s.Log.Hold("timestamp", err) {
		s.Logger.Error("log held: no time stamps for too long", "held", err != nil, "err", err)
	}
}

// due stamps the ends of shards, and the present head when it is time.
func (s *Stamper) due(ctx context.Context, last bool) error {
	for len(s.sealed) > 0 {
		if err := s.stamp(ctx, s.sealed[0]); err != nil {
			return err
		}
		s.sealed = s.sealed[1:]
	}
	head := s.shard.Head()
	if head.Size <= s.size || !last && !s.at.IsZero() && s.Now().Sub(s.at) < s.Every {
		return nil
	}
	if err := s.stamp(ctx, head); err != nil {
		return err
	}
	s.size, s.at, s.since = head.Size, s.Now(), time.Time{}
	return nil
}

// stamp has one head stamped; it is durable when it returns.
func (s *Stamper) stamp(ctx context.Context, head audit.SignedHead) error {
	raw, token, err := s.Client.Stamp(ctx, head.Signature)
	if err != nil {
		return err
	}
	if off := s.Now().Sub(token.GenTime); off.Abs() > skew+token.Accuracy {
		s.Logger.Warn("this clock and that of the time stamp authority disagree", "off", off.Round(time.Second))
	}
	line, err := audit.Stamp{Head: head, Token: raw}.MarshalText()
	if err == nil {
		err = appendLine(s.file(head.Origin), line)
	}
	if err != nil {
		return fmt.Errorf("stamp: keeping it: %w", err)
	}
	return nil
}

// appendLine adds a line to a file, durably. One that was torn before stays
// as it is, a line of its own.
func appendLine(name string, line []byte) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	text := append(bytes.Clone(line), '\n')
	if size := info.Size(); size > 0 {
		var end [1]byte
		if _, err := f.ReadAt(end[:], size-1); err != nil {
			return err
		}
		if end[0] != '\n' {
			text = append([]byte("\n"), text...)
		}
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Status is how far a log is stamped.
type Status struct {
	Size  uint64        `json:"size"`           // of the last head stamped, in the shard that is written
	At    time.Time     `json:"at,omitzero"`    // when; zero: not in this process
	Since time.Time     `json:"since,omitzero"` // since when entries, or the end of a shard, wait; zero: none do
	Every time.Duration `json:"-"`
	Max   time.Duration `json:"-"` // how long they may wait; 0: for ever
}

// Status tells how far the log was stamped when the Stamper last looked. Any
// goroutine may call it.
func (s *Stamper) Status() Status {
	if st := s.status.Load(); st != nil {
		return *st
	}
	return Status{Every: s.Every, Max: s.MaxUnstamped}
}

// overdue reports whether entries have waited too long.
func (s *Stamper) overdue() error {
	now := s.Now()
	switch {
	case len(s.sealed) == 0 && s.shard.Head().Size <= s.size:
		s.since = time.Time{}
		return nil
	case s.since.IsZero():
		s.since = now
	}
	if d := now.Sub(s.since); s.MaxUnstamped > 0 && d > s.MaxUnstamped {
		return fmt.Errorf("%w: for %s", ErrUnstamped, d.Round(time.Second))
	}
	return nil
}

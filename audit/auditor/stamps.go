package auditor

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"yizheng/audit"
)

// Stamps says by which time stamps a log must be covered
// (docs/protocol/audit-log.md §13).
type Stamps struct {
	Dir string // a file for each shard
	// Verify checks a token over bytes, and returns its time and how exact that
	// is. Nil: stamps are not looked at. It is given from outside since it needs
	// certificates, and their code could open connections.
	Verify func(token, over []byte) (at time.Time, accuracy time.Duration, err error)
	// MaxAge is how long an entry may have waited for its stamp, while the log
	// was running. Default 2 hours.
	MaxAge time.Duration
}

// ahead is by how much a log's clock may be before an authority's.
const ahead = time.Minute

// stamped is a stamp that holds. Times are microseconds; those of the log
// are reckoned without the pauses in which it was not running, so that what
// nobody could stamp then has not waited.
type stamped struct {
	size   uint64
	at     int64 // by the authority, of the first stamp of this size or a larger one
	paused int64 // all pauses of the log up to this size
	behind int64 // when the first entry behind was made; 0: there is none
}

// readStamps collects the stamps of this shard.
func (s *scan) readStamps() error {
	if s.o.Stamps.Verify == nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(s.o.Stamps.Dir, path.Base(s.origin)))
	if s.origin == "" || errors.Is(err, fs.ErrNotExist) {
		s.problem("stamp", audit.NoIndex, "there are no time stamps of it")
		return nil
	}
	if err != nil {
		return fmt.Errorf("时间戳 / time stamps: %w", err)
	}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		p, err := audit.ParseStamp(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil { // it shows nothing, and what it does not show is missed below
			s.doubt("stamp", audit.NoIndex, "line %d of the time stamps cannot be read", number)
			continue
		}
		s.stamp(number, p)
	}
	return nil
}

// stamp checks one line by itself; whether the log has had its head is seen when the log is read.
func (s *scan) stamp(number int, p audit.Stamp) {
	h := p.Head
	if h.Origin != s.origin {
		s.problem("stamp", audit.NoIndex, "line %d of the time stamps is of %s", number, h.Origin)
		return
	}
	if !s.signed(h) {
		s.problem("stamp", audit.NoIndex, "line %d of the time stamps: the checkpoint is not signed by a pinned key", number)
		return
	}
	at, accuracy, err := s.o.Stamps.Verify(p.Token, h.Signature)
	if err != nil {
		s.problem("stamp", audit.NoIndex, "line %d of the time stamps: %v", number, err)
		return
	}
	if off := time.UnixMicro(h.Time).Sub(at); off > ahead+accuracy {
		s.problem("stamp", audit.NoIndex, "line %d of the time stamps: the log's clock was ahead by %s", number, off.Round(time.Second))
	}
	s.heads[h.Size] = append(s.heads[h.Size], claim{h.Head, "stamp", "a time stamp"})
	one := s.stamps[h.Size]
	if one == nil {
		one = &stamped{size: h.Size, at: at.UnixMicro()}
		s.stamps[h.Size] = one
	}
	one.at = min(one.at, at.UnixMicro())
}

// running takes note of an entry's time, before s.last does.
func (s *scan) running(e *audit.Stored) {
	now := e.Entry.Open.Time
	if op := e.Entry.Open.Op; e.Index > 0 && (op == audit.OpLogStart || op == audit.OpLogRecovered) {
		s.paused += now - s.last
	}
	if one := s.stamps[e.Index]; one != nil {
		one.behind = now - s.paused
	}
}

// unstamped finds the entries that waited too long. How far the log's clock
// can have been behind, and a history been written later, is bounded by that.
func (s *scan) unstamped() {
	if s.o.Stamps.Verify == nil || s.first == 0 {
		return
	}
	list := slices.SortedFunc(maps.Values(s.stamps), func(a, b *stamped) int { return cmp.Compare(a.size, b.size) })
	for i := len(list) - 2; i >= 0; i-- {
		list[i].at = min(list[i].at, list[i+1].at)
	}
	from, made := uint64(0), s.first
	late := func(until int64) {
		if d := time.Duration(until-made) * time.Microsecond; made != 0 && d > s.o.Stamps.MaxAge {
			s.problem("stamp", from, "this entry and those behind it had no time stamp for %s", d.Round(time.Second))
		}
	}
	for _, one := range list {
		late(one.at - one.paused)
		from, made = one.size, one.behind
	}
	late(s.last - s.paused)
}

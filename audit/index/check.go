package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"yizheng/audit"
)

// ErrChanged: a file of the index is not what was written into it. Somebody
// else did that, or the disk.
var ErrChanged = errors.New("audit index: changed since it was made from the log")

// ErrUnchecked: a file was not held to the log yet since it was opened.
var ErrUnchecked = errors.New("audit index: not held to its log yet")

// Change is a file, or what was there of it, that did not hold. It is made
// again from the log.
type Change struct {
	Origin string    `json:"origin"`
	File   string    `json:"file"`
	First  uint64    `json:"first"` // the entries that searches may not have found
	Next   uint64    `json:"next"`
	What   string    `json:"what"` // in both languages
	At     time.Time `json:"at"`
}

// Name is the quarter and the file.
func (c Change) Name() string { return path.Base(c.Origin) + "/" + c.File }

// changeError is the ErrChanged of the live file, which whoever fills it has to
// make again.
type changeError struct{ Change }

func (e *changeError) Error() string { return ErrChanged.Error() + ": " + e.File + ": " + e.What }
func (e *changeError) Unwrap() error { return ErrChanged }

// What is known of a file, in part.standing.
const (
	sound     int32 = iota // made by this process, or held to the log or its seal since
	unchecked              // opened and not looked at yet, or doubtful
	changed                // not what was written
)

// doubt marks a file that a search stumbled over, to be looked at next.
func (x *Index) doubt(p *part) {
	p.standing.CompareAndSwap(sound, unchecked)
	x.look()
}

// suspect doubts the files that hold these entries, and returns the first entry
// of the oldest of them.
func (x *Index) suspect(entries []uint64) uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	first := uint64(audit.NoIndex)
	for _, p := range x.parts {
		if slices.ContainsFunc(entries, func(i uint64) bool { return i >= p.first && i < p.next }) {
			x.doubt(p)
			first = min(first, p.first)
		}
	}
	return first
}

// look has the files looked at that were not yet.
func (x *Index) look() {
	select {
	case x.unchecked <- struct{}{}:
	default: // that is known already
	}
}

// standing is the worst that is known of any file: nil, ErrUnchecked or ErrChanged.
func (x *Index) standing() error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var worst int32
	for _, p := range x.parts {
		worst = max(worst, p.standing.Load())
	}
	return []error{nil, ErrUnchecked, ErrChanged}[worst]
}

// check holds a file to its seal; if it has none, to the log, and seals it if
// it is full. It returns what is wrong with it, or "".
func (x *Index) check(ctx context.Context, p *part, l Shard) (what string, err error) {
	at := newPace(ctx, func() int { return x.restOf(p, l) })
	name := filepath.Join(x.cfg.Dir, p.name)
	info, err := os.Stat(name)
	if elsewhere(err) {
		return "", fmt.Errorf("audit index: %w", err)
	}
	if err != nil || !os.SameFile(info, p.opened) {
		return x.unlessGone(p, "文件已被移走或换过 / it was taken away or replaced by another")
	}
	if p.name == liveName {
		return x.hold(ctx, p, l, at)
	}
	sum, err := digest(name, at) // before its rows are looked at: what is changed after that is found next time
	switch {
	case err != nil && ctx.Err() == nil && !elsewhere(err):
		return x.unlessGone(p, "文件不可读 / it cannot be read")
	case err != nil:
		return "", err
	case p.seal != nil && p.seal.Digest != sum:
		return x.unlessGone(p, "文件与封存时不同 / it is not what was sealed")
	case p.seal != nil:
		return "", nil
	}
	if what, err = x.hold(ctx, p, l, at); err != nil || what != "" {
		if err == nil {
			return x.unlessGone(p, what)
		}
		return "", err
	}
	return "", x.put(p, sum)
}

// restOf is how much rest there is for each part of work. A file that was not
// looked at yet leaves searches incomplete, others can wait; new entries that
// are not indexed yet come first.
func (x *Index) restOf(p *part, l Shard) int {
	switch {
	case x.Next()+batch < l.Head().Size:
		return 10
	case p.standing.Load() == unchecked:
		return 1
	}
	return 3
}

// unlessGone is what is wrong with a file, unless it was made into another one.
func (x *Index) unlessGone(p *part, what string) (string, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if !slices.Contains(x.parts, p) {
		return "", errGone
	}
	return what, nil
}

// remake makes a full file again from the log, in the place of the one there is.
func (x *Index) remake(ctx context.Context, p *part, l Shard) (err error) {
	x.shaping.Lock()
	defer x.shaping.Unlock()
	if _, err := x.unlessGone(p, ""); err != nil {
		return err
	}
	r := l.NewReader(p.first)
	defer func() { err = errors.Join(err, r.Close()) }()
	tmp := tmpPrefix + p.name
	err = x.derive(ctx, tmp, p.first, p.next, func(_ uint64, most int) ([]audit.Stored, error) { return readSome(ctx, r, most) })
	if err != nil {
		return err
	}
	for _, suffix := range []string{sealSuffix, "-wal", "-shm", "-journal"} {
		if err := os.Remove(filepath.Join(x.cfg.Dir, p.name+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("audit index: %w", err)
		}
	}
	if err := os.Rename(filepath.Join(x.cfg.Dir, tmp), filepath.Join(x.cfg.Dir, p.name)); err != nil {
		return fmt.Errorf("audit index: %w", err)
	}
	made, err := openPart(ctx, x.cfg.Dir, p.name)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.parts[slices.Index(x.parts, p)] = made
	x.look() // it has no seal yet
	x.turned()
	return p.close()
}

// checks looks at the files of an index: at once, when one was filled, made or
// is in doubt, and all of them every so often, until ctx ends. What does not
// hold is told, and made again; the live file by whoever fills it, with the
// error that is returned.
func (s *Shards) checks(ctx context.Context, sh *shard, x *Index) error {
	tick := time.NewTicker(s.cfg.Check)
	defer tick.Stop()
	for all := true; ; {
		again, err := s.round(ctx, sh, x, all)
		if err != nil {
			return err
		}
		var retry <-chan time.Time
		if again {
			retry = time.After(openAgain)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-x.unchecked:
			all = false
		case <-retry:
			all = false
		case <-tick.C:
			all = true
		}
	}
}

// round looks at all files, or at those that have to be looked at, the newest
// first. again: one could not be looked at, or not be made again.
func (s *Shards) round(ctx context.Context, sh *shard, x *Index, all bool) (again bool, err error) {
	x.mu.RLock()
	parts := slices.Clone(x.parts)
	x.mu.RUnlock()
	for _, p := range slices.Backward(parts) {
		if !all && p.standing.Load() == sound && (p.name == liveName || p.seal != nil) {
			continue
		}
		select { // one at a time, of all shards
		case <-ctx.Done():
			return false, nil
		case s.checking <- struct{}{}:
		}
		err := s.one(ctx, sh, x, p)
		<-s.checking
		switch {
		case ctx.Err() != nil:
			return false, nil
		case errors.Is(err, ErrChanged):
			return false, err
		case err != nil && !errors.Is(err, errGone):
			s.cfg.Logger.Error("audit index: cannot be held to its log", "origin", sh.origin, "file", p.name, "err", err)
			again = true
		}
	}
	return again, nil
}

// one looks at one file and has it made again if need be. ErrChanged: the live file has to be.
func (s *Shards) one(ctx context.Context, sh *shard, x *Index, p *part) error {
	if p.standing.Load() != changed { // or it could not be made again last time
		what, err := x.check(ctx, p, sh)
		if err != nil {
			return err
		}
		if what == "" {
			p.standing.Store(sound)
			return nil
		}
		p.standing.Store(changed)
		c := Change{File: p.name, First: p.first, Next: x.end(p), What: what}
		if p.name == liveName {
			return &changeError{c}
		}
		s.tell(sh, c)
	}
	return x.remake(ctx, p, sh)
}

// end is where a file ends now.
func (x *Index) end(p *part) uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return p.next
}

// told is how many changes are kept, and for how long, to be shown.
const (
	toldMost = 20
	toldFor  = 24 * time.Hour
)

// tell says that something did not hold: in the messages, to whoever wants to
// know, and in the state for a day.
func (s *Shards) tell(sh *shard, c Change) {
	c.Origin, c.At = sh.origin, time.Now().UTC().Truncate(time.Second)
	s.cfg.Logger.Error("audit index: changed by somebody else, or by the disk; made again from the log", "origin", c.Origin, "file", c.File, "first", c.First, "next", c.Next, "what", c.What)
	s.mu.Lock()
	s.changes = append(s.changes, c)
	s.changes = s.changes[max(0, len(s.changes)-toldMost):]
	s.mu.Unlock()
	if s.cfg.Changed != nil {
		s.cfg.Changed(c)
	}
}

// Changes are those of the last day, the oldest first.
func (s *Shards) Changes() []Change {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := []Change{}
	for _, c := range s.changes {
		if time.Since(c.At) < toldFor {
			list = append(list, c)
		}
	}
	return list
}

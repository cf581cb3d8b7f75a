package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/catalog/beijing"
)

// segments checks all segments, and tells whether they are whole.
func (v *verifier) segments(ctx context.Context) (bool, error) {
	v.sigs = make(map[uint64][]byte)
	if len(v.d.names) == 0 {
		v.problem("missing", nameWAL+"/"+segmentName(0), -1, 0, "there is no segment")
		return false, nil
	}
	for i, name := range v.d.names {
		if want := segmentName(v.d.chain.last.Size); name != want {
			v.problem("missing", nameWAL+"/"+want, -1, v.d.chain.last.Size, "segment is missing; %s follows", name)
			return false, nil
		}
		v.report.Segments++
		if err := v.segment(ctx, name, i == len(v.d.names)-1); err != nil {
			return false, err
		}
		if !v.report.OK() {
			return false, nil
		}
	}
	return true, nil
}

func (v *verifier) segment(ctx context.Context, name string, lastOne bool) error {
	path := nameWAL + "/" + name
	seg, err := os.ReadFile(filepath.Join(v.dir, path))
	if err != nil {
		v.problem("segment", path, -1, v.d.chain.last.Size, "segment cannot be read: %v", err)
		return nil
	}
	if int64(len(seg)) != v.d.meta.Segment {
		v.problem("segment", path, int64(len(seg)), v.d.chain.last.Size, "segment has %d bytes, not %d", len(seg), v.d.meta.Segment)
		return nil
	}
	sigs := v.signatures(path)
	off, err := v.d.chain.walk(seg, 0, func(f *frame, off int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		visit := func(level uint, _ uint64, h *Hash) { v.tiles.add(level, *h) }
		if err := v.d.chain.follow(f, v.entry, visit); err != nil {
			return err
		}
		v.report.Frames++
		v.heads[f.head.Size], v.sigs[f.head.Size] = f.head, f.sig
		v.d.sig = f.sig
		sigs.check(f, off)
		if v.o.Head != nil {
			v.o.Head(f.head)
		}
		return nil
	})
	sigs.wait(v)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("audit: verifying: %w", ctx.Err())
	case errors.Is(err, errNoFrame):
		if at := lastNonZero(seg[off:]); at > 0 {
			v.problem("padding", path, off+int64(firstNonZero(seg[off:])), v.d.chain.last.Size, "bytes behind the last frame are not zero")
		}
	case v.o.Live && lastOne && isTorn(err) && int64(lastNonZero(seg[off:])) <= frameSize(maxBody):
		if at, found := laterFrame(seg, off+frameAlign, v.d.chain.last.Size); found {
			v.problem("frame", path, off, v.d.chain.last.Size, "%v; a later frame lies at offset %d", err, at)
			return nil
		}
		v.warn("frame", path, v.d.chain.last.Size, "the last frame is unfinished")
	default:
		v.problem("frame", path, off, v.d.chain.last.Size, "%v", err)
	}
	return nil
}

// sigCheck verifies the signatures of one segment's heads on all cores.
type sigCheck struct {
	v    *verifier
	path string
	wg   sync.WaitGroup
	free chan struct{}

	mu  sync.Mutex
	bad map[int64]Head // by offset
}

func (v *verifier) signatures(path string) *sigCheck {
	return &sigCheck{v: v, path: path, free: make(chan struct{}, runtime.GOMAXPROCS(0)), bad: make(map[int64]Head)}
}

func (c *sigCheck) check(f *frame, off int64) {
	c.free <- struct{}{}
	c.wg.Go(func() {
		if !verifySM2(c.v.d.pub, f.head.Text(), f.sig) {
			c.mu.Lock()
			c.bad[off] = f.head
			c.mu.Unlock()
		}
		<-c.free
	})
}

func (c *sigCheck) wait(v *verifier) {
	c.wg.Wait()
	for off, h := range c.bad {
		v.problem("signature", c.path, off, h.Size-1, "head of size %d is not signed by the pinned key", h.Size)
	}
}

type pending struct {
	index    uint64
	time     int64
	exchange string
}

// entry checks one entry's content. What is wrong with it is a problem of the
// writer, since the frame's hashes hold; the rest of the log is still checked.
func (v *verifier) entry(s *Stored) error {
	if err := s.decode(); err != nil {
		return err
	}
	o := &s.Entry.Open
	if o.Time <= v.lastTime || o.Time > maxTime {
		return fmt.Errorf("%w: time of entry %d goes back", errBadFrame, s.Index)
	}
	if s.Index > 0 && (v.lastOp == OpLogClose || o.Op == OpLogOpen) {
		return fmt.Errorf("%w: entry %d is %s after %s", errBadFrame, s.Index, o.Op, v.lastOp)
	}
	if s.Index == 0 {
		v.first(o)
	}
	v.lastTime, v.lastOp = o.Time, o.Op
	for _, q := range o.Quarantine {
		v.quarantined[q.Name] = q
	}
	v.pair(s.Index, o)
	if v.o.Entry != nil {
		v.o.Entry(s)
	}
	return nil
}

// first checks log.open and the link to the shard before.
func (v *verifier) first(o *Open) {
	path := nameWAL + "/" + segmentName(0)
	if o.Op != OpLogOpen {
		v.problem("open", path, 0, 0, "entry 0 is %s, not log.open", o.Op)
	}
	if o.Previous != v.d.meta.Previous {
		v.problem("previous", path, 0, 0, "log.open and log.json name different shards before this one")
	}
	if o.Previous == "" {
		return
	}
	prev, err := ParseCheckpoint([]byte(o.Previous))
	if err != nil {
		v.problem("previous", path, 0, 0, "checkpoint of the shard before: %v", err)
		return
	}
	for _, k := range v.o.Keys {
		if prev.Verify(k) == nil {
			return
		}
	}
	v.problem("previous", path, 0, 0, "checkpoint of %s is not signed by a pinned key", prev.Origin)
}

// pair matches outcomes with intents: of the same operation and exchange (and
// leg), or the one that Prev names.
func (v *verifier) pair(index uint64, o *Open) {
	byExchange := fmt.Sprintf("%s %s %s", o.Op, o.Exchange, o.Leg)
	switch o.Phase {
	case PhaseIntent:
		if o.Exchange == "" {
			byExchange = fmt.Sprintf("#%d", index)
		}
		v.intents[byExchange] = pending{index, o.Time, o.Exchange}
	case PhaseDone, PhaseFailed, PhaseDenied:
		_, here := v.intents[byExchange]
		delete(v.intents, byExchange)
		if p, err := ParsePointer(o.Since); err == nil {
			v.report.late[answers(p.Origin, p.Index)] = true
		}
		if o.Prev == nil {
			if o.Exchange != "" && !here { // or the intent is in another gateway's log
				v.report.late[o.Exchange] = true
			}
			return
		}
		for key, p := range v.intents {
			if p.index == *o.Prev {
				delete(v.intents, key)
			}
		}
	}
}

func (v *verifier) pendingIntents() {
	limit := v.lastTime - v.o.MaxPending.Microseconds()
	for _, p := range v.intents {
		if !v.o.Live || p.time < limit {
			text := "intent of %s has no outcome here"
			if v.lastOp == OpLogClose {
				text += nextMayHave
			}
			v.warn("intent", "", p.index, text, time.UnixMicro(p.time).In(beijing.Zone()).Format(time.RFC3339))
			v.report.pending = append(v.report.pending, p)
		}
	}
}

const nextMayHave = "; the next quarter's log may have it"

func answers(origin string, index uint64) string { return fmt.Sprintf("%s:%d", origin, index) }

// Followed takes away the warnings about intents that have their outcome in the
// next shard of the log, which was verified: the quarter turned between the two.
// Of the others it says that they have none there either.
func (r *Report) Followed(next Report) {
	left := make(map[uint64]bool)
	for _, p := range r.pending {
		left[p.index] = !next.late[answers(r.Origin, p.index)] && (p.exchange == "" || !next.late[p.exchange])
	}
	r.Warnings = slices.DeleteFunc(r.Warnings, func(w Problem) bool { return w.Code == "intent" && !left[w.Index] })
	for i, w := range r.Warnings {
		if w.Code == "intent" {
			r.Warnings[i].Text = strings.TrimSuffix(w.Text, nextMayHave) + ", nor in the next quarter's log"
		}
	}
}

// ends checks how the log ends.
func (v *verifier) ends() {
	if v.report.Entries == 0 {
		v.problem("open", nameWAL+"/"+segmentName(0), 0, 0, "log has no entry, not even log.open")
		return
	}
	if !v.o.Live && v.lastOp != OpLogStop && v.lastOp != OpLogClose {
		v.problem("end", "", -1, v.report.Entries-1, "last entry is %s, not log.stop or log.close: the log was not closed, or its end is missing", v.lastOp)
	}
}

// quarantine checks the damaged tails that recoveries moved aside.
func (v *verifier) quarantine() {
	for name, q := range v.quarantined {
		file := nameQuarantine + "/" + name
		b, ok := v.take(file)
		sum := sm3.Sum(b)
		if !ok {
			v.problem("missing", file, -1, NoIndex, "quarantined file is missing")
		} else if int64(len(b)) != q.Bytes || hex.EncodeToString(sum[:]) != q.SM3 {
			v.problem("quarantine", file, -1, NoIndex, "file is not what log.recovered says")
		}
	}
	if !v.o.Live {
		return
	}
	for name := range v.derived { // a recovery may not have come to its entry yet
		if strings.HasPrefix(name, nameQuarantine+"/") {
			v.take(name)
			v.warn("quarantine", name, NoIndex, "no log.recovered names this file yet")
		}
	}
}

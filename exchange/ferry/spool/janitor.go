package spool

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// idsUntil is the size of a sender's journal up to which it keeps the ids of
// acknowledged records. Beyond, only files' numbers can be named if the other
// side loses what it has acknowledged.
const idsUntil = 64 << 20

// quarantine takes a file that cannot be believed out of the way. Beyond the
// caps the newest are deleted instead: the first ones tell most.
func (l *Link) quarantine(part, file string, cause error) {
	l.count.badFiles.Add(1)
	l.cfg.Logger.Warn("spool: bad file", "part", part, "file", file, "error", cause)
	info, err := os.Lstat(l.dir.path(part, file))
	if err != nil {
		return
	}
	files, bytes := l.quarantined()
	if files >= l.cfg.QuarantineFiles || bytes+info.Size() > l.cfg.QuarantineBytes || !info.Mode().IsRegular() {
		if err := l.dir.remove(part, file); err != nil {
			l.trouble("delete a bad file", err)
		}
		l.event(Event{Kind: EventFull, Channel: l.cfg.In, File: file, Reason: cause.Error()})
		return
	}
	to := l.dir.path("quarantine", fmt.Sprintf("%s.%d", file, time.Now().UnixNano()))
	if err := os.Rename(l.dir.path(part, file), to); err != nil {
		l.trouble("quarantine a bad file", err)
		return
	}
	l.event(Event{Kind: EventQuarantined, Channel: l.cfg.In, File: file, Reason: cause.Error()})
}

func (l *Link) quarantined() (files int, bytes int64) {
	entries, err := os.ReadDir(l.dir.path("quarantine", ""))
	if err != nil {
		return 0, 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files++
			bytes += info.Size()
		}
	}
	return files, bytes
}

// janitor removes what is too old, reconciles, and keeps the journals short.
func (l *Link) janitor() error {
	l.sweep("quarantine", l.cfg.QuarantineKeep)
	l.sweep("tmp", staleTmp)
	old := l.cfg.Now().Add(-3 * l.cfg.Reconcile).UnixMilli()
	if l.send != nil {
		l.send.reconcile()
		if err := l.send.shorten(old); err != nil {
			return err
		}
	}
	if l.receive != nil {
		return l.receive.shorten(old)
	}
	return nil
}

func (l *Link) sweep(part string, keep time.Duration) {
	entries, err := os.ReadDir(l.dir.path(part, ""))
	if err != nil {
		l.trouble("list "+part+"/", err)
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > keep {
			if err := l.dir.remove(part, e.Name()); err != nil {
				l.trouble("remove an old file", err)
			}
		}
	}
}

// shorten forgets acknowledged files of long ago.
func (s *sender) shorten(old int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := map[uint64]uint64{} // open file of each epoch: acknowledgements speak of those behind it
	for _, f := range slices.Backward(s.open) {
		first[f.epoch] = f.seq
	}
	for p, f := range s.files {
		open, some := first[p.epoch]
		before := old
		if f.state != stateAcked { // its reason may be asked for
			before = old - s.link.cfg.MaxAge.Milliseconds()
		}
		if f.state != stateOpen && f.created < before && (!some || p.seq < open) {
			delete(s.files, p)
		}
	}
	if !s.journal.long() {
		return nil
	}
	head := []entry{{Op: opEpoch, Epoch: s.epoch, Seq: s.seq, Digest: s.tail[:], Boot: bootID()}}
	for epoch, seq := range s.last {
		if epoch != s.epoch && seq > 0 {
			head = append([]entry{{Op: opEpoch, Epoch: epoch, Seq: seq}}, head...)
		}
	}
	large := s.journal.size > idsUntil
	return s.journal.rewrite(head, func(e *entry) bool {
		f := s.files[pos{e.Epoch, e.Seq}]
		if e.Op != opSent || f == nil {
			return false
		}
		if e.State = f.state; f.state == stateAcked && large {
			e.IDs = nil
		}
		return true
	})
}

// shorten rewrites the receiver's journal to its cursors, the files that are
// still remembered and the ids of the record window.
func (r *receiver) shorten(old int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.windows {
		w.forget(old)
	}
	if !r.journal.long() {
		return nil
	}
	var head []entry
	ws := sortedEpochs(r.windows)
	for i := len(ws) - 1; i >= 0; i-- {
		head = append(head, entry{Op: opCursor, Epoch: ws[i].epoch, Seq: ws[i].contiguous})
	}
	surplus := -r.link.cfg.RecordWindow
	if err := r.journal.each(func(e entry) { surplus += len(e.Hashes) / 16 }); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return r.journal.rewrite(head, func(e *entry) bool {
		surplus -= len(e.Hashes) / 16
		inWindow := surplus <= 0 && len(e.Hashes) > 0
		if !inWindow {
			e.Hashes = nil
		}
		w := r.windows[e.Epoch]
		return inWindow || w != nil && (e.Op == opReceived && w.files[e.Seq] != nil || e.Op == opVoid && e.To > w.contiguous)
	})
}

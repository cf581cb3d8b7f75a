package spool

import (
	"fmt"
	"slices"
	"time"
)

// What the other side says, and what time does, to files that were sent.

// onAck releases what the other side has received. Acknowledgements are facts
// that only grow: old and repeated ones do no harm.
func (s *sender) onAck(ack ackBody) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range ack {
		if e.epoch < s.epoch && !slices.ContainsFunc(s.open, func(f *sentFile) bool { return f.epoch == e.epoch }) {
			continue // settled
		}
		last, known := s.last[e.epoch]
		if known && (e.highest() > last || s.contradicted(e)) || !known && e.epoch > s.epoch {
			if err := s.rollback(e, known); err != nil {
				return err
			}
			continue
		}
		if err := s.release(e); err != nil {
			return err
		}
	}
	return nil
}

// contradicted reports whether the other side has other files than ours under
// our numbers.
func (s *sender) contradicted(e ackEpoch) bool {
	differs := func(seq uint64, m mark) bool {
		f := s.files[pos{e.epoch, seq}]
		return f != nil && f.superseded == nil && m != mark{} && m != mark(f.digest[:8])
	}
	found := differs(e.contiguous, e.mark)
	e.each(func(seq uint64, m mark) { found = found || differs(seq, m) })
	return found
}

func (s *sender) release(e ackEpoch) error {
	note := entry{Op: opAcked, Epoch: e.epoch, Seq: e.contiguous}
	var acked []*sentFile
	for _, f := range s.open {
		if f.epoch == e.epoch && f.superseded == nil && e.has(f.seq) {
			acked = append(acked, f)
			if f.seq > e.contiguous {
				note.Seqs = append(note.Seqs, f.seq)
			}
		}
	}
	if len(acked) == 0 {
		return nil
	}
	// The journal first: a file that is gone from done/ without a word there
	// would be taken for lost.
	if err := s.journal.append(note, true); err != nil {
		return err
	}
	if err := s.link.dir.after("acked"); err != nil {
		return err
	}
	for _, f := range acked {
		s.drop(f, stateAcked)
	}
	s.link.count.filesAcked.Add(uint64(len(acked)))
	s.broadcast()
	return nil
}

// drop ends an open file's retention.
func (s *sender) drop(f *sentFile, state fileState) {
	i := slices.Index(s.open, f)
	if i < 0 {
		return
	}
	s.open = slices.Delete(s.open, i, i+1)
	s.retained -= f.size
	f.state = state
	if err := s.link.dir.remove("done", s.fileName(f)); err != nil {
		s.link.trouble("remove a file from done/", err)
	}
}

func (s *sender) fileName(f *sentFile) string {
	return name{s.link.cfg.Out, Data, f.epoch, f.seq}.file(s.link.cfg.Device.Extension)
}

// rollback: the other side has received more than we know to have sent, or
// other files under our numbers, so our state is older than the truth; or its
// epoch is beyond ours. A new epoch begins, and the records of the epoch's open
// files are sent again in it; the receiver drops those it knows, by their ids.
func (s *sender) rollback(e ackEpoch, known bool) error {
	s.link.event(Event{Kind: EventRollback, Channel: s.link.cfg.Out, Epoch: e.epoch, Range: Range{s.last[e.epoch] + 1, e.highest()}})
	distrusted := s.epoch
	if known {
		distrusted = e.epoch
	}
	s.last[e.epoch] = max(s.last[e.epoch], e.highest())
	if distrusted == s.epoch {
		if err := s.newEpoch(); err != nil {
			return err
		}
	}
	for _, f := range s.open {
		if f.epoch == distrusted {
			s.requeue(f)
		}
	}
	s.broadcast()
	return nil
}

// requeue puts an open file's records into the queue. The file is kept until
// they are in done/ once more.
func (s *sender) requeue(f *sentFile) {
	_, file, err := s.loadRetained(s.fileName(f))
	if err != nil {
		return // the resender will find and name it
	}
	messages, err := parseRecords(file.Body, file.Count)
	if err != nil {
		return
	}
	f.superseded = &group{left: len(messages), done: make(chan struct{})}
	for _, m := range messages {
		s.queue = append(s.queue, queued{m, recordSize(m), f.superseded})
		s.bytes += recordSize(m)
	}
}

// settle ends a superseded file once its records are safe elsewhere.
func (s *sender) settle(f *sentFile) error {
	select {
	case <-f.superseded.done:
	default:
		return nil
	}
	if f.superseded.err != nil {
		s.requeue(f)
		return nil
	}
	if err := s.journal.append(entry{Op: opAcked, Epoch: f.epoch, Seqs: []uint64{f.seq}}, true); err != nil {
		return err
	}
	s.drop(f, stateAcked)
	return nil
}

// resend offers an open file again unless the device has not fetched it yet.
func (s *sender) resend(f *sentFile, why string) error {
	s.mu.Lock()
	file := s.fileName(f)
	soon := time.Since(f.sentAt) < s.link.cfg.GapAfter/2
	open := f.state == stateOpen && f.superseded == nil
	if open && !soon {
		f.sentAt = time.Now()
		f.tries++
	}
	s.mu.Unlock()
	if !open || soon || s.link.dir.waiting(file) || s.deviceFull() {
		return nil
	}
	data, _, err := s.loadRetained(file)
	if err != nil {
		return s.lose(f, file, err)
	}
	// Named first: nothing is repaired without a word, even if this process
	// dies now.
	s.link.event(Event{Kind: EventResent, Channel: s.link.cfg.Out, Epoch: f.epoch, Range: Range{f.seq, f.seq}, Reason: why})
	if err := s.link.dir.offerAgain(file, data); err != nil {
		s.link.trouble("offer a data file again", err)
		return nil
	}
	s.link.count.filesResent.Add(1)
	return nil
}

// lose gives up a retained file that cannot be read any more.
func (s *sender) lose(f *sentFile, file string, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.state != stateOpen {
		return nil // acknowledged meanwhile
	}
	s.link.quarantine("done", file, cause)
	s.link.count.filesLost.Add(1)
	s.link.event(Event{Kind: EventLost, Channel: s.link.cfg.Out, Epoch: f.epoch, Range: Range{f.seq, f.seq}, Reason: "damaged in done/"})
	return s.voidFile(f, Lost)
}

// voidFile ends an open file that was not acknowledged, and says so.
func (s *sender) voidFile(f *sentFile, reason Reason) error {
	if err := s.journal.append(entry{Op: opVoid, Epoch: f.epoch, Seq: f.seq, To: f.seq, Reason: reason}, true); err != nil {
		return err
	}
	state := stateExpired
	if reason == Lost {
		state = stateLost
	}
	s.drop(f, state)
	s.broadcast()
	s.link.control.void(voidBody{epoch: f.epoch, Range: Range{f.seq, f.seq}, reason: reason, digest: f.digest})
	return nil
}

// tick expires and repeats.
func (s *sender) tick() error {
	due, err := s.review()
	if err != nil {
		return err
	}
	for _, f := range due {
		if err := s.resend(f, "not acknowledged"); err != nil {
			return err
		}
	}
	return nil
}

// review ends what time has ended and returns what is to be sent again.
func (s *sender) review() (due []*sentFile, err error) {
	cfg := &s.link.cfg
	now := cfg.Now().UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range slices.Clone(s.open) {
		switch {
		case f.superseded != nil:
			err = s.settle(f)
		case f.notAfter <= now:
			s.link.count.filesExpired.Add(1)
			s.link.event(Event{Kind: EventExpired, Channel: cfg.Out, Epoch: f.epoch, Range: Range{f.seq, f.seq}})
			err = s.voidFile(f, Expired)
		case cfg.OneWay && f.tries+1 >= cfg.Repeat && s.age(f) > cfg.Keep:
			err = s.release(ackEpoch{epoch: f.epoch, contiguous: f.seq})
		case s.due(f):
			due = append(due, f)
		}
		if err != nil {
			return nil, err
		}
	}
	s.lag()
	return due, nil
}

// due: never offered by this process, or not acknowledged for too long.
func (s *sender) due(f *sentFile) bool {
	if f.sentAt.IsZero() {
		return true
	}
	if s.link.cfg.OneWay && f.tries+1 >= s.link.cfg.Repeat {
		return false
	}
	return time.Since(f.sentAt) > s.link.cfg.ResendAfter<<min(f.tries, 3)
}

// lag raises one alarm each time the oldest open file grows too old.
func (s *sender) lag() {
	late := len(s.open) > 0 && !s.link.cfg.OneWay && s.age(s.open[0]) > s.link.cfg.LagAlarm
	if late && !s.lagged {
		f := s.open[0]
		s.link.event(Event{Kind: EventLag, Channel: s.link.cfg.Out, Epoch: f.epoch, Range: Range{f.seq, f.seq},
			Reason: fmt.Sprintf("%d files not acknowledged", len(s.open))})
	}
	s.lagged = late
}

func (s *sender) beat() beatBody {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := beatBody{epoch: s.epoch, sent: s.seq, unacked: len(s.open), bytes: uint64(s.retained)}
	if len(s.open) > 0 {
		b.oldest = s.age(s.open[0]).Milliseconds()
	}
	return b
}

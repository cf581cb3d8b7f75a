package spool

import "time"

// What a receiver says about its cursor, and what it is told.

// ackRepeats is how often an Ack is repeated when there is nothing new: an Ack
// that is lost would have files sent again in vain.
const ackRepeats = 3

// acknowledge writes an Ack if there is something new to say or the last one
// is to be repeated.
func (r *receiver) acknowledge() {
	r.mu.Lock()
	fresh := r.ackDue
	pause := r.link.cfg.ResendAfter >> (1 + r.ackAgain)
	var body ackBody
	if fresh || r.ackAgain > 0 && time.Since(r.acked) > pause {
		for _, w := range sortedEpochs(r.windows) {
			body = append(body, w.ack())
		}
	}
	r.ackDue = false
	r.mu.Unlock()
	if len(body) == 0 {
		return
	}
	posted := r.link.control.post(Ack, body.marshal())
	r.mu.Lock()
	defer r.mu.Unlock()
	if !posted {
		r.ackDue = r.ackDue || fresh
		return
	}
	r.link.count.acksSent.Add(1)
	r.acked = time.Now()
	if r.ackAgain--; fresh {
		r.ackAgain = ackRepeats
	}
}

// seekGaps names gaps that are old enough and asks for them; in one direction
// it passes over those that are too old.
func (r *receiver) seekGaps() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	cfg, now := &r.link.cfg, time.Now()
	for _, w := range sortedEpochs(r.windows) {
		ask, newly := w.due(now, cfg.GapAfter)
		r.link.count.gapsNamed.Add(uint64(len(newly)))
		for _, run := range ranges(newly, len(newly)) {
			r.link.event(Event{Kind: EventGap, Channel: cfg.In, Epoch: w.epoch, Range: run})
		}
		if len(newly) > 0 { // named, whether or not the question can be posted now
			w.named(newly)
		}
		if len(ask) == 0 {
			continue
		}
		if cfg.OneWay {
			if err := r.giveUp(w, ask, now); err != nil {
				return err
			}
			continue
		}
		rs := ranges(ask, maxRanges)
		if r.link.control.post(Nack, nackBody{w.epoch, rs}.marshal()) {
			r.link.count.nacksSent.Add(1)
			w.asked(ask, now, cfg.GapAfter)
		}
	}
	return nil
}

func (r *receiver) giveUp(w *window, seqs []uint64, now time.Time) error {
	w.asked(seqs, now, r.link.cfg.GapAfter)
	for _, seq := range seqs {
		if g := w.gaps[seq]; g == nil || now.Sub(g.since) < r.link.cfg.GiveUp {
			continue
		}
		if err := r.void(w, voidBody{epoch: w.epoch, Range: Range{seq, seq}, reason: Lost}); err != nil {
			return err
		}
	}
	return nil
}

// onVoid passes over what will not come.
func (r *receiver) onVoid(v voidBody) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.windows[v.epoch]
	if w == nil {
		return nil // nothing was missing there
	}
	return r.void(w, v)
}

func (r *receiver) void(w *window, v voidBody) error {
	if v.To <= w.contiguous {
		return nil
	}
	err := r.journal.append(entry{Op: opVoid, Epoch: v.epoch, Seq: v.From, To: v.To, Reason: v.reason, Digest: v.digest[:]}, true)
	if err != nil {
		return err
	}
	missing, closed := w.markVoid(v)
	if missing == 0 {
		return nil
	}
	r.ackDue = true
	r.link.count.voidedFiles.Add(uint64(missing))
	r.link.event(Event{Kind: EventVoid, Channel: r.link.cfg.In, Epoch: v.epoch, Range: v.Range, Reason: v.reason.String()})
	r.link.count.gapsClosed.Add(uint64(len(closed)))
	for _, run := range ranges(closed, len(closed)) {
		r.link.event(Event{Kind: EventGapClosed, Channel: r.link.cfg.In, Epoch: v.epoch, Range: run})
	}
	return nil
}

// onBeat learns from a heartbeat what must have been sent: the only way to
// notice that the last files are missing.
func (r *receiver) onBeat(b beatBody) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.sent == 0 {
		return
	}
	if w := r.window(b.epoch); w != nil {
		w.highest = max(w.highest, b.sent)
	}
}

// named notes that gaps have been made known.
func (w *window) named(seqs []uint64) {
	for _, seq := range seqs {
		if g := w.gaps[seq]; g != nil && g.tries == 0 {
			g.tries = 1
		}
	}
}

package spool

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"
)

const (
	retryFirst = 100 * time.Millisecond // after a failed delivery
	retryLast  = 5 * time.Second
	lastGrace  = 5 * time.Second // for a delivery that is under way when the link ends
)

// delivery is one file's messages on the way to Receive.
type delivery struct {
	messages []Message
	result   chan error
}

// receiver owns the incoming channel's data files and its cursor.
type receiver struct {
	link     *Link
	journal  *journal
	jobs     chan delivery
	patience patience // only used by run's goroutine

	mu       sync.Mutex
	windows  map[uint64]*window // the newest two epochs
	ring     *ring
	ackDue   bool
	ackAgain int       // times the last Ack is still to be repeated
	acked    time.Time // when it was written
	lastFile time.Time // zero: none yet in this process's life
}

func openReceiver(l *Link) (*receiver, error) {
	r := &receiver{link: l, jobs: make(chan delivery), patience: newPatience(l), windows: map[uint64]*window{}, ring: newRing(l.cfg.RecordWindow)}
	path := filepath.Join(l.cfg.StateDir, "in-"+l.cfg.In+".journal")
	var err error
	r.journal, err = openJournal(path, l.cfg.Durable, func(e entry) error { r.replay(e); return nil })
	if err != nil {
		return nil, err
	}
	r.ackDue = len(r.windows) > 0
	return r, nil
}

func (r *receiver) replay(e entry) {
	for i := 0; i+16 <= len(e.Hashes); i += 16 {
		r.ring.add([16]byte(e.Hashes[i : i+16]))
	}
	w := r.window(e.Epoch)
	if w == nil {
		return
	}
	switch e.Op {
	case opCursor:
		w.contiguous = max(w.contiguous, e.Seq)
		w.highest = max(w.highest, e.Seq)
		w.advance()
	case opReceived:
		w.mark(e.Seq, &received{digest: [32]byte(padded(e.Digest)), previous: [32]byte(padded(e.Previous)),
			root: [32]byte(padded(e.Root)), created: e.Created, count: e.Count, void: e.Reason})
	case opVoid:
		w.markVoid(voidBody{epoch: e.Epoch, Range: Range{e.Seq, e.To}, reason: e.Reason, digest: [32]byte(padded(e.Digest))})
	}
}

// window finds an epoch's window. A newer epoch than any pushes the oldest of
// two out; nil means that the epoch is too old.
func (r *receiver) window(epoch uint64) *window {
	if w := r.windows[epoch]; w != nil {
		return w
	}
	ws := sortedEpochs(r.windows)
	if len(ws) >= maxAckEpochs {
		if epoch < ws[len(ws)-1].epoch {
			return nil
		}
		delete(r.windows, ws[len(ws)-1].epoch)
	}
	w := newWindow(epoch)
	r.windows[epoch] = w
	return w
}

// run looks for data files and delivers them, one after the other.
func (r *receiver) run(ctx context.Context) error {
	pause := r.link.cfg.Scan
	for {
		err := r.scan(ctx)
		switch {
		case fatal(err):
			return err
		case ctx.Err() != nil:
			return nil
		case err != nil:
			pause = min(max(2*pause, retryFirst), retryLast)
		default:
			pause = r.link.cfg.Scan
		}
		if !sleep(ctx, pause) {
			return nil
		}
	}
}

func (r *receiver) scan(ctx context.Context) error {
	found, err := r.link.incoming(func(k Kind) bool { return k == Data })
	if err != nil {
		r.link.trouble("list in/", err)
		return nil
	}
	r.patience.forget(found)
	for _, n := range found {
		if ctx.Err() != nil {
			return nil
		}
		file := n.file(r.link.cfg.Device.Extension)
		if !r.patience.over(file) {
			continue
		}
		if err := r.take(ctx, n, file); err != nil {
			return err
		}
	}
	return nil
}

// take brings one data file in. The order of steps is the package's guarantee:
// deliver, cursor, delete.
func (r *receiver) take(ctx context.Context, n name, file string) error {
	f := r.link.read(n, file)
	if f == nil {
		return nil
	}
	verdict := r.judge(f)
	if kind, bad := refusals[verdict]; bad {
		r.link.event(Event{Kind: kind, Channel: f.Channel, Epoch: f.Epoch, Range: Range{f.Seq, f.Seq}})
		r.link.quarantine("in", file, errors.New(string(kind)))
		return nil
	}
	if verdict == fresh {
		if err := r.accept(ctx, f); err != nil {
			return err
		}
	}
	if err := r.link.dir.remove("in", file); err != nil {
		r.link.trouble("remove a file from in/", err)
		return nil
	}
	return r.link.dir.after("removed")
}

type verdict byte

const (
	fresh verdict = iota
	unwanted
	fork
	unchained
)

// refusals are the verdicts that an operator must know of.
var refusals = map[verdict]EventKind{fork: EventFork, unchained: EventChain}

// judge compares a believed file with the cursor.
func (r *receiver) judge(f *File) verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastFile = time.Now()
	before := len(r.windows)
	w := r.windows[f.Epoch]
	if w == nil {
		if w = r.window(f.Epoch); w != nil && before > 0 {
			r.link.event(Event{Kind: EventEpoch, Channel: f.Channel, Epoch: f.Epoch, Range: Range{f.Seq, f.Seq}})
		}
	}
	switch {
	case w == nil:
		r.ackDue = true // tells the sender that its epoch is behind
		r.link.count.staleFiles.Add(1)
		return unwanted
	case w.has(f.Seq):
		r.ackDue = true // ours may have been lost
		known := w.files[f.Seq]
		if known != nil && known.void == 0 && known.digest != f.Digest {
			return fork
		}
		r.link.count.duplicateFiles.Add(1)
		return unwanted
	case f.Seq > w.contiguous+Window:
		w.highest = max(w.highest, f.Seq)
		r.link.count.beyondWindow.Add(1)
		return unwanted
	case !w.follows(f.Seq, &received{digest: f.Digest, previous: f.Previous}):
		r.ackDue = true
		return unchained
	}
	return fresh
}

func (r *receiver) accept(ctx context.Context, f *File) error {
	messages, err := parseRecords(f.Body, f.Count)
	if err != nil { // signed, but not by a program that keeps to this protocol
		r.link.event(Event{Kind: EventVoid, Channel: f.Channel, Epoch: f.Epoch, Range: Range{f.Seq, f.Seq}, Reason: "unreadable"})
		r.link.count.badFiles.Add(1)
		return r.note(f, nil, Lost)
	}
	wanted := r.wanted(f, messages)
	if len(wanted) > 0 {
		if err := r.deliver(ctx, wanted); err != nil {
			return err
		}
	}
	if err := r.link.dir.after("delivered"); err != nil {
		return err
	}
	if err := r.note(f, messages, 0); err != nil {
		return err
	}
	r.link.count.filesReceived.Add(1)
	r.link.count.recordsDelivered.Add(uint64(len(wanted)))
	r.link.count.duplicateRecords.Add(uint64(r.repeated(messages, wanted)))
	return nil
}

// wanted leaves out what has expired and what is known by its id.
func (r *receiver) wanted(f *File, messages []Message) []Message {
	now := r.link.cfg.Now().Add(-r.link.cfg.ClockSkew)
	wanted := make([]Message, 0, len(messages))
	inFile := make(map[string]bool, len(messages))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range messages {
		switch {
		case f.NotAfter < now.UnixMilli() || m.NotAfter.Before(now):
			r.link.count.expiredRecords.Add(1)
		case inFile[m.ID] || r.ring.has(idHash(m.ID)):
		default:
			inFile[m.ID] = true
			wanted = append(wanted, m)
		}
	}
	return wanted
}

// repeated counts the records that were left out as repetitions.
func (r *receiver) repeated(messages, wanted []Message) int {
	now := r.link.cfg.Now().Add(-r.link.cfg.ClockSkew)
	n := len(messages) - len(wanted)
	for _, m := range messages {
		if m.NotAfter.Before(now) {
			n--
		}
	}
	return max(n, 0)
}

func (r *receiver) deliver(ctx context.Context, messages []Message) error {
	job := delivery{messages, make(chan error, 1)}
	select {
	case r.jobs <- job:
	case <-ctx.Done():
		return ctx.Err()
	}
	// Even at the end it is worth a while to learn what became of it: otherwise
	// it would be delivered again.
	select {
	case err := <-job.result:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-job.result:
		return err
	case <-time.After(lastGrace):
		return ctx.Err()
	}
}

// note moves the cursor, on the disk first.
func (r *receiver) note(f *File, messages []Message, void Reason) error {
	root := recordsRoot(messages)
	hashes := make([]byte, 0, 16*len(messages))
	for _, m := range messages {
		h := idHash(m.ID)
		hashes = append(hashes, h[:]...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.journal.append(entry{Op: opReceived, Epoch: f.Epoch, Seq: f.Seq, Created: f.Created, Count: f.Count,
		Reason: void, Digest: f.Digest[:], Previous: f.Previous[:], Root: root[:], Hashes: hashes}, true)
	if err != nil {
		return err
	}
	for i := 0; i < len(hashes); i += 16 {
		r.ring.add([16]byte(hashes[i : i+16]))
	}
	r.ackDue = true
	w := r.window(f.Epoch)
	if w == nil {
		return nil
	}
	known := &received{digest: f.Digest, previous: f.Previous, root: root, created: f.Created, count: f.Count, void: void}
	if w.mark(f.Seq, known) {
		r.link.count.gapsClosed.Add(1)
		r.link.event(Event{Kind: EventGapClosed, Channel: f.Channel, Epoch: f.Epoch, Range: Range{f.Seq, f.Seq}})
	}
	return r.link.dir.after("cursor")
}

func (r *receiver) metrics(m *Metrics) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.windows {
		for seq := w.contiguous + 1; seq <= min(w.highest, w.contiguous+Window); seq++ {
			if !w.has(seq) {
				m.Missing++
			}
		}
	}
}

package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// pos names a file of a channel.
type pos struct{ epoch, seq uint64 }

type fileState byte

const (
	stateOpen fileState = iota // retained in done/
	stateAcked
	stateExpired
	stateLost
)

// sentFile is what a sender knows of a file it has sent.
type sentFile struct {
	pos
	state      fileState
	size       int64
	count      int
	created    int64
	notAfter   int64
	digest     [32]byte
	root       [32]byte
	sentAt     time.Time // last offered; zero: not in this process's life
	tries      int
	superseded *group // its records are queued again: see rollback
}

// group is the messages of one Put.
type group struct {
	left int
	err  error
	done chan struct{}
}

type queued struct {
	message Message
	size    int
	group   *group
}

// sender owns the outgoing channel: it batches, writes, retains and repeats.
type sender struct {
	link    *Link
	journal *journal

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced whenever someone may go on
	queue    []queued
	bytes    int // in queue
	epoch    uint64
	seq      uint64 // last used in epoch
	tail     [32]byte
	last     map[uint64]uint64 // last used, by epoch
	files    map[pos]*sentFile // open ones, and those of the last periods
	open     []*sentFile       // ascending
	retained int64             // bytes of open
	written  time.Time         // of the last data file
	lagged   bool
	settled  map[uint64]int64 // by epoch: end of the last period that has been reconciled, ms
}

func (s *sender) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *sender) put(ctx context.Context, messages []Message) error {
	cfg := &s.link.cfg
	now := cfg.Now()
	items := make([]queued, len(messages))
	g := &group{left: len(messages), done: make(chan struct{})}
	total := 0
	for i, m := range messages {
		if m.NotAfter.IsZero() {
			m.NotAfter = now.Add(cfg.MaxAge)
		}
		if err := checkMessage(m); err != nil {
			return err
		}
		if m.NotAfter.UnixMilli() <= now.UnixMilli() {
			return fmt.Errorf("put: %w", ErrExpired)
		}
		size := recordSize(m)
		if size > s.maxBody() {
			return fmt.Errorf("put: %w: %d bytes, at most %d", ErrTooLarge, size, s.maxBody())
		}
		items[i] = queued{m, size, g}
		total += size
	}
	if len(items) == 0 {
		return nil
	}
	if err := s.enqueue(ctx, items, total); err != nil {
		return err
	}
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.link.stopped:
		select { // both may be ready: the message's fate is the better answer
		case <-g.done:
			return g.err
		default:
			return ErrClosed
		}
	}
}

// maxBody is how many bytes of records fit into a file.
func (s *sender) maxBody() int {
	return s.link.cfg.Device.maxInner() - fixedBytes - len(s.link.cfg.Out)
}

func (s *sender) enqueue(ctx context.Context, items []queued, total int) error {
	s.mu.Lock()
	for len(s.queue) > 0 && s.bytes+total > s.link.cfg.MaxQueued {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.link.stopped:
			return ErrClosed
		}
		s.mu.Lock()
	}
	s.queue = append(s.queue, items...)
	s.bytes += total
	s.broadcast()
	s.mu.Unlock()
	return nil
}

// run turns the queue into files.
func (s *sender) run(ctx context.Context) error {
	for {
		if !s.waitForWork(ctx) {
			return nil
		}
		batch := s.take()
		err := s.write(batch)
		s.finish(batch, err)
		switch {
		case fatal(err):
			return err
		case err != nil:
			s.link.trouble("write a data file", err)
			if !sleep(ctx, time.Second) {
				return nil
			}
		}
	}
}

// waitForWork waits until a file may be written: there are messages, the other
// side keeps up, the device has room and the last file is Linger ago or this
// one will be full. It reports false when ctx has ended.
func (s *sender) waitForWork(ctx context.Context) bool {
	cfg := &s.link.cfg
	for {
		s.mu.Lock()
		changed := s.changed
		ready := len(s.queue) > 0 && s.hasRoom()
		full := len(s.queue) >= MaxRecords || s.bytes >= s.maxBody()
		linger := cfg.Linger - time.Since(s.written)
		s.mu.Unlock()
		switch {
		case !ready:
			select {
			case <-changed:
			case <-ctx.Done():
				return false
			}
		case s.deviceFull():
			if !sleep(ctx, cfg.Scan) {
				return false
			}
		case full || linger <= 0:
			return ctx.Err() == nil
		default:
			timer := time.NewTimer(linger)
			select {
			case <-timer.C:
			case <-changed:
			case <-ctx.Done():
			}
			timer.Stop()
			if ctx.Err() != nil {
				return false
			}
		}
	}
}

// hasRoom: one more file keeps within the window and the bytes. In one
// direction nothing is acknowledged, so only bytes count.
func (s *sender) hasRoom() bool {
	if s.retained >= s.link.cfg.MaxRetained {
		return false
	}
	if s.link.cfg.OneWay {
		return true
	}
	for _, f := range s.open {
		if f.epoch == s.epoch {
			return s.seq+1-f.seq < Window
		}
	}
	return true
}

func (s *sender) deviceFull() bool {
	limit := s.link.cfg.Device.MaxOut
	if limit <= 0 {
		return false
	}
	names, err := s.link.dir.names("out")
	return err != nil || len(names) >= limit
}

// take removes the next file's messages from the queue.
func (s *sender) take() []queued {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	for n < len(s.queue) && n < MaxRecords && size+s.queue[n].size <= s.maxBody() {
		size += s.queue[n].size
		n++
	}
	batch := s.queue[:n:n]
	s.queue = s.queue[n:]
	s.bytes -= size
	s.broadcast()
	return batch
}

// finish tells the callers of Put.
func (s *sender) finish(batch []queued, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range batch {
		g := q.group
		if g.err == nil {
			g.err = err
		}
		if g.left--; g.left == 0 {
			close(g.done)
		}
	}
}

// write makes one data file of the batch. The order of steps is the package's
// guarantee: tmp/, done/, journal, out/.
func (s *sender) write(batch []queued) error {
	cfg, dir := &s.link.cfg, &s.link.dir
	f, messages := s.file(batch)
	inner, err := f.Marshal(cfg.Key)
	if err != nil {
		return err
	}
	data := inner
	if cfg.Device.XML {
		data = f.wrap(inner)
	}
	file := f.name().file(cfg.Device.Extension)
	tmp, err := dir.write(file, data, cfg.Durable)
	if err != nil {
		return err
	}
	if err := dir.retain(tmp, file, data); fatal(err) {
		return err
	} else if err != nil {
		return errors.Join(err, dir.remove("done", file))
	}
	sent := &sentFile{
		pos: pos{f.Epoch, f.Seq}, size: int64(len(data)), count: f.Count, created: f.Created,
		notAfter: f.NotAfter, digest: f.Digest, root: recordsRoot(messages), sentAt: time.Now(),
	}
	if err := s.noteSent(sent, messages); err != nil {
		return err
	}
	if err := dir.after("journal"); err != nil {
		return err
	}
	if err := dir.offer(tmp, file, cfg.Durable); err != nil {
		if fatal(err) {
			return err
		}
		// It is retained: the resender will offer it.
		s.link.trouble("offer a data file", err)
		s.mu.Lock()
		sent.sentAt = time.Time{}
		s.mu.Unlock()
	}
	s.link.count.filesSent.Add(1)
	s.link.count.recordsSent.Add(uint64(f.Count))
	s.link.count.bytesSent.Add(uint64(len(data)))
	return nil
}

func (s *sender) file(batch []queued) (*File, []Message) {
	s.mu.Lock()
	f := &File{Kind: Data, Channel: s.link.cfg.Out, Epoch: s.epoch, Seq: s.seq + 1, Previous: s.tail}
	s.mu.Unlock()
	f.Created, f.Count = s.link.cfg.Now().UnixMilli(), len(batch)
	f.NotAfter = f.Created
	messages := make([]Message, len(batch))
	for i, q := range batch {
		messages[i] = q.message
		f.Body = appendRecord(f.Body, q.message)
		f.NotAfter = max(f.NotAfter, q.message.NotAfter.UnixMilli())
	}
	return f, messages
}

// noteSent makes a retained file part of the sender's state.
func (s *sender) noteSent(f *sentFile, messages []Message) error {
	ids := make([]string, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(f)
	s.written = time.Now()
	err := s.journal.append(entry{
		Op: opSent, Epoch: f.epoch, Seq: f.seq, Created: f.created, Count: f.count,
		Digest: f.digest[:], Root: f.root[:], IDs: ids,
	}, false)
	if f.epoch == s.epoch {
		s.seq, s.tail = f.seq, f.digest
	} else { // rolled back while the file was being written
		s.requeue(f)
		s.broadcast()
	}
	return err
}

func (s *sender) add(f *sentFile) {
	s.files[f.pos] = f
	s.last[f.epoch] = max(s.last[f.epoch], f.seq)
	if f.state == stateOpen {
		s.open = append(s.open, f)
		s.retained += f.size
	}
}

func (s *sender) metrics(m *Metrics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Unacknowledged, m.RetainedBytes, m.Queued = len(s.open), s.retained, len(s.queue)
	if len(s.open) > 0 {
		m.OldestUnacked = s.age(s.open[0])
	}
}

func (s *sender) age(f *sentFile) time.Duration {
	return max(0, s.link.cfg.Now().Sub(time.UnixMilli(f.created)))
}

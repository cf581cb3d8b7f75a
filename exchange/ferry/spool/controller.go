package spool

import (
	"context"
	"sync"
	"time"
)

const (
	controlLife = time.Hour // of a control file
	maxVoids    = 64        // waiting in out/ at a time; more are asked for again
	staleTmp    = time.Hour
)

// controller writes and reads control files and does what time demands.
type controller struct {
	link     *Link
	patience patience // only used by run's goroutine
	epoch    uint64   // of our control files: their sequence begins anew in each process

	mu       sync.Mutex
	seq      uint64
	last     map[Kind]string // newest file of each kind
	voids    []string
	lastBeat int64 // created, of the other side's newest
	peerLag  time.Duration
	heardAt  time.Time
	silent   time.Time
}

// run looks for control files at every scan and does the chores.
func (c *controller) run(ctx context.Context) error {
	var chores chores
	c.heard()
	for {
		if err := c.scan(); err != nil {
			return err
		}
		if err := chores.do(c); err != nil {
			return err
		}
		if !sleep(ctx, c.link.cfg.Scan) {
			return nil
		}
	}
}

func (c *controller) scan() error {
	l := c.link
	if l.cfg.In == "" {
		return nil
	}
	found, err := l.incoming(func(k Kind) bool { return k != Data })
	if err != nil {
		l.trouble("list in/", err)
		return nil
	}
	c.patience.forget(found)
	for _, n := range found {
		if err := c.take(n); err != nil {
			return err
		}
	}
	return nil
}

// take acts on one control file. What it says is done before it is deleted;
// doing it twice is harmless.
func (c *controller) take(n name) error {
	l := c.link
	file := n.file(l.cfg.Device.Extension)
	if !c.patience.over(file) {
		return nil
	}
	f := l.read(n, file)
	if f == nil {
		return nil
	}
	if f.NotAfter >= l.cfg.Now().Add(-l.cfg.ClockSkew).UnixMilli() {
		if err := c.act(f); fatal(err) {
			return err
		} else if err != nil {
			l.quarantine("in", file, err)
			return nil
		}
	}
	if err := l.dir.remove("in", file); err != nil {
		l.trouble("remove a file from in/", err)
	}
	return nil
}

func (c *controller) act(f *File) error {
	l := c.link
	switch f.Kind {
	case Ack:
		body, err := parseAck(f.Body)
		if err != nil || l.send == nil {
			return err
		}
		l.count.acksReceived.Add(1)
		return l.send.onAck(body)
	case Nack:
		body, err := parseNack(f.Body)
		if err != nil || l.send == nil {
			return err
		}
		l.count.nacksReceived.Add(1)
		return l.send.onNack(body)
	case Void:
		body, err := parseVoid(f.Body)
		if err != nil {
			return err
		}
		return l.receive.onVoid(body)
	case Beat:
		body, err := parseBeat(f.Body)
		if err != nil {
			return err
		}
		c.onBeat(f, body)
	case Reconcile:
		body, err := parseReckoning(f.Body)
		if err != nil {
			return err
		}
		return l.receive.onReconcile(body)
	case Account:
		body, err := parseReckoning(f.Body)
		if err != nil || l.send == nil {
			return err
		}
		return l.send.onAccount(body)
	}
	return nil
}

func (c *controller) onBeat(f *File, b beatBody) {
	c.mu.Lock()
	old := f.Created <= c.lastBeat
	if !old {
		c.lastBeat = f.Created
		c.peerLag = time.Duration(b.oldest) * time.Millisecond
	}
	c.mu.Unlock()
	if old {
		return
	}
	c.link.count.beatsReceived.Add(1)
	c.link.receive.onBeat(b)
}

// heard notes that the other side is alive.
func (c *controller) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heardAt = time.Now()
	if !c.silent.IsZero() {
		c.silent = time.Time{}
		c.link.event(Event{Kind: EventBack, Channel: c.link.cfg.In})
	}
}

// listen raises the alarm when nothing has been heard for three heartbeats.
func (c *controller) listen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link.cfg.In != "" && c.silent.IsZero() && time.Since(c.heardAt) > 3*c.link.cfg.BeatEvery {
		c.silent = c.link.cfg.Now()
		c.link.event(Event{Kind: EventSilent, Channel: c.link.cfg.In})
	}
}

// post writes a control file, unless the device has not fetched the last one
// of its kind: then there is no use in another, and post reports false. The
// caller tries again later.
func (c *controller) post(kind Kind, body []byte) bool {
	l := c.link
	if l.cfg.Out == "" {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := c.last[kind]; last != "" && l.dir.waiting(last) {
		return false
	}
	file, err := c.write(kind, body)
	if err != nil {
		l.trouble("write a control file", err)
		return false
	}
	c.last[kind] = file
	return true
}

func (c *controller) write(kind Kind, body []byte) (string, error) {
	l := c.link
	c.seq++
	now := l.cfg.Now()
	f := &File{Kind: kind, Channel: l.cfg.Out, Epoch: c.epoch, Seq: c.seq, Body: body,
		Created: now.UnixMilli(), NotAfter: now.Add(controlLife).UnixMilli()}
	data, err := f.Marshal(l.cfg.Key)
	if err != nil {
		return "", err
	}
	if l.cfg.Device.XML {
		data = f.wrap(data)
	}
	file := f.name().file(l.cfg.Device.Extension)
	tmp, err := l.dir.write(file, data, false)
	if err != nil {
		return "", err
	}
	return file, l.dir.offer(tmp, file, false)
}

// void tells the other side what will not come. If too many are waiting it is
// left out: the other side asks again.
func (c *controller) void(v voidBody) {
	l := c.link
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.voids[:0]
	for _, file := range c.voids {
		if l.dir.waiting(file) {
			waiting = append(waiting, file)
		}
	}
	if c.voids = waiting; len(waiting) >= maxVoids || l.cfg.OneWay {
		return
	}
	file, err := c.write(Void, v.marshal())
	if err != nil {
		l.trouble("write a control file", err)
		return
	}
	c.voids = append(c.voids, file)
}

func (c *controller) metrics(m *Metrics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.PeerSilentSince, m.PeerLag = c.silent, c.peerLag
}

// chores are what has to be done every now and then.
type chores struct {
	ack, gaps, send, beat, slow time.Time
}

func every(last *time.Time, d time.Duration) bool {
	if time.Since(*last) < d {
		return false
	}
	*last = time.Now()
	return true
}

func (t *chores) do(c *controller) error {
	l := c.link
	pace := max(l.cfg.Scan, min(100*time.Millisecond, l.cfg.GapAfter/4))
	if l.send != nil && every(&t.send, pace) {
		if err := l.send.tick(); err != nil {
			return err
		}
	}
	if l.receive != nil && every(&t.gaps, pace) {
		if err := l.receive.seekGaps(); err != nil {
			return err
		}
	}
	if l.receive != nil && !l.cfg.OneWay && every(&t.ack, l.cfg.AckEvery) {
		l.receive.acknowledge()
	}
	if every(&t.beat, l.cfg.BeatEvery) && l.send != nil {
		c.beat()
	}
	c.listen()
	if every(&t.slow, min(time.Minute, l.cfg.Reconcile/8)) {
		return l.janitor()
	}
	return nil
}

func (c *controller) beat() {
	b := c.link.send.beat()
	b.lastIn = -1
	if r := c.link.receive; r != nil {
		r.mu.Lock()
		if !r.lastFile.IsZero() {
			b.lastIn = time.Since(r.lastFile).Milliseconds()
		}
		r.mu.Unlock()
	}
	if c.post(Beat, b.marshal()) {
		c.link.count.beatsSent.Add(1)
	}
}

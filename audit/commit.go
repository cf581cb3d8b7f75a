package audit

import "fmt"

// commits is the committer: it alone extends the tree and writes frames.
// It ends after the request marked last, and goes on answering, with
// ErrPoisoned, when the log has failed.
func (l *Log) commits() {
	defer close(l.ended)
	for {
		batch := l.gather()
		if len(batch) == 0 {
			continue
		}
		b, err := l.commit(batch)
		if err != nil {
			l.poison(err)
			err = l.Err()
		}
		last := false
		at := uint64(0)
		if b != nil {
			at = b.start
		}
		for _, r := range batch {
			n, ends := len(r.entries), r.last // r is its writer's as soon as the result is there
			r.done <- result{batch: b, first: at, err: err}
			at += uint64(n)
			last = last || ends
		}
		if last {
			return
		}
	}
}

// gather waits for a request and takes with it all that are waiting and fit
// into one frame of the live segment.
func (l *Log) gather() []*request {
	var batch []*request
	var entries, body int
	for {
		r := l.carry
		l.carry = nil
		if r == nil {
			if len(batch) == 0 {
				r = <-l.queue
			} else {
				select {
				case r = <-l.queue:
				default:
					return batch
				}
			}
		}
		if len(batch) > 0 && !l.fits(entries+len(r.entries), body+len(r.body)) {
			l.carry = r
			return batch
		}
		if !r.state.CompareAndSwap(waiting, taken) {
			continue // its writer has given up
		}
		batch = append(batch, r)
		entries += len(r.entries)
		body += len(r.body)
		if r.last {
			return batch
		}
	}
}

func (l *Log) fits(entries, body int) bool {
	return entries <= maxBatch && body <= maxBody && frameSize(body) <= l.wal.size-l.wal.off
}

// commit makes a batch durable: one frame, one pwrite, one fdatasync. After
// an error nothing of the committer's state may be trusted.
func (l *Log) commit(requests []*request) (*batch, error) {
	if err := l.Err(); err != nil {
		return nil, l.cause
	}
	var count, body int
	for _, r := range requests {
		count += len(r.entries)
		body += len(r.body)
	}
	if frameSize(body) > l.wal.size-l.wal.off { // a batch of one request, by gather
		if err := l.wal.rotate(l.tree.size, l.cfg.AppendTimeout); err != nil {
			return nil, fmt.Errorf("next segment at entry %d: %w", l.tree.size, err)
		}
	}
	b := newBatch(&l.tree, count)
	buf := appendHeader(l.frame[:0], b.start, count, body)
	now := l.now().UnixMicro()
	for _, r := range requests {
		for i := range r.entries {
			l.lastTime = min(max(l.lastTime+1, now), maxTime)
			l.tree.add(r.stamp(&r.entries[i], l.lastTime, &l.hasher), b.take)
		}
		buf = append(buf, r.body...)
	}
	head := Head{Origin: l.cfg.Origin, Size: l.tree.size, Root: l.tree.root(), Time: l.lastTime, Prev: l.prev}
	sig, err := l.cfg.Signer.SignMessage(head.Text())
	if err != nil {
		return nil, fmt.Errorf("signing head of size %d: %w", head.Size, err)
	}
	if len(sig) == 0 || len(sig) > maxSignature {
		return nil, fmt.Errorf("signing head of size %d: signature of %d bytes", head.Size, len(sig))
	}
	l.frame = finishFrame(buf, head, sig)
	if err := l.wal.write(l.frame); err != nil {
		return nil, fmt.Errorf("writing entries %d to %d: %w", b.start, head.Size-1, err)
	}
	b.head = SignedHead{Head: head, KeyHash: l.keyHash, Signature: sig}
	l.prev = head.digest()
	l.tiles.addBatch(b)
	l.head.Store(&b.head)
	if l.replica != nil {
		l.replica.woken()
	}
	return b, nil
}

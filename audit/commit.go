package audit

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

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
			if r.done != nil {
				r.done <- result{batch: b, first: at, err: err}
			}
			at += uint64(len(r.entries))
			last = last || r.last
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
		if len(batch) > 0 && !l.fits(entries+len(r.entries), body+r.bytes) {
			l.carry = r
			return batch
		}
		if !r.state.CompareAndSwap(waiting, taken) {
			continue // its writer has given up
		}
		batch = append(batch, r)
		entries += len(r.entries)
		body += r.bytes
		if r.last {
			return batch
		}
	}
}

func (l *Log) fits(entries, body int) bool {
	return entries <= maxBatch && body <= maxBody && frameSize(body) <= l.wal.size-l.wal.off
}

// batch remembers enough of one commit to prove its entries: the tree's right
// edge before it, and every perfect node that it made.
type batch struct {
	start uint64
	head  SignedHead
	left  []Hash   // frontier roots of size start
	made  [][]Hash // by level, from index start>>level on
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
		body += r.bytes
	}
	if frameSize(body) > l.wal.size-l.wal.off { // a batch of one request, by gather
		if err := l.wal.rotate(l.tree.size, l.cfg.AppendTimeout); err != nil {
			return nil, fmt.Errorf("next segment at entry %d: %w", l.tree.size, err)
		}
	}
	b := &batch{start: l.tree.size, left: append([]Hash(nil), l.tree.roots...), made: make([][]Hash, bits.Len64(l.tree.size+uint64(count)))}
	buf := appendHeader(make([]byte, 0, frameSize(body)), b.start, count, body)
	now := l.now().UnixMicro()
	for _, r := range requests {
		for _, e := range r.entries {
			l.lastTime = min(max(l.lastTime+1, now), maxTime)
			leaf := e.stamp(l.lastTime)
			buf = binary.BigEndian.AppendUint32(buf, uint32(len(e.raw)))
			buf = append(buf, e.raw...)
			l.tree.add(leaf, func(level uint, _ uint64, h *Hash) { b.made[level] = append(b.made[level], *h) })
		}
	}
	head := Head{Origin: l.cfg.Origin, Size: l.tree.size, Root: l.tree.root(), Time: l.lastTime, Prev: l.prev}
	sig, err := l.cfg.Signer.SignMessage(head.Text())
	if err != nil {
		return nil, fmt.Errorf("signing head of size %d: %w", head.Size, err)
	}
	if len(sig) == 0 || len(sig) > maxSignature {
		return nil, fmt.Errorf("signing head of size %d: signature of %d bytes", head.Size, len(sig))
	}
	if err := l.wal.write(finishFrame(buf, head, sig)); err != nil {
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

// addBatch takes over the nodes of a durable batch.
func (t *tileStore) addBatch(b *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for level := 0; level < len(b.made); level += 8 {
		for _, h := range b.made[level] {
			t.add(uint(level), h)
		}
	}
}

// node finds a perfect node of the tree of size head.Size that an inclusion
// proof of one of the batch's entries can need.
func (b *batch) node(level uint, index uint64) (Hash, error) {
	if from := b.start >> level; index >= from {
		if made := b.made[level]; index-from < uint64(len(made)) {
			return made[index-from], nil
		}
	} else if b.start>>level&1 == 1 && index == from-1 {
		// The left subtree of this size: after those of all higher levels.
		return b.left[bits.OnesCount64(b.start>>level>>1)], nil
	}
	return Hash{}, fmt.Errorf("%w: node %d at level %d", ErrRange, index, level)
}

// receipts proves n of the batch's entries. It runs in the writer's goroutine,
// so that proofs cost the committer nothing.
func (b *batch) receipts(first uint64, n int) ([]Receipt, error) {
	out := make([]Receipt, n)
	for i := range out {
		index := first + uint64(i)
		path, err := inclusionPath(index, b.head.Size, b.node)
		if err != nil {
			return nil, err
		}
		out[i] = Receipt{Origin: b.head.Origin, Index: index, Leaf: b.made[0][index-b.start], Head: b.head, Proof: path}
	}
	return out, nil
}

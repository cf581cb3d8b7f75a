package audit

import (
	"bytes"
	"errors"
	"fmt"
)

// chain follows the frames of a shard from the first one on, recomputing
// every hash. It is what recovery, the verifier and offline proofs share.
type chain struct {
	origin string
	tree   frontier
	prev   Hash // digest of the last head, or of log.json
	last   Head // zero before the first frame
	hasher hasher
}

// follow takes the next frame. each, if not nil, sees every entry with its
// leaf hash computed; the entry's JSON is not decoded. visit, if not nil,
// sees the tree's new nodes.
func (c *chain) follow(f *frame, each func(s *Stored) error, visit func(uint, uint64, *Hash)) error {
	if f.first != c.tree.size {
		return fmt.Errorf("%w: frame begins at entry %d, expected %d", errBadFrame, f.first, c.tree.size)
	}
	for _, raw := range f.entries {
		if each == nil {
			leaf, err := c.hasher.storedLeaf(raw)
			if err != nil {
				return fmt.Errorf("%w: entry %d: %w", errBadFrame, c.tree.size, err)
			}
			c.tree.add(leaf, visit)
			continue
		}
		s, err := c.hasher.parseStored(raw)
		if err != nil {
			return fmt.Errorf("%w: entry %d: %w", errBadFrame, c.tree.size, err)
		}
		s.Index = c.tree.size
		c.tree.add(s.Leaf, visit)
		if err := each(&s); err != nil {
			return err
		}
	}
	switch h := f.head; {
	case h.Size != c.tree.size:
		return fmt.Errorf("%w: head says size %d, entries make %d", errBadFrame, h.Size, c.tree.size)
	case h.Root != c.tree.root():
		return fmt.Errorf("%w: entries do not make the root of size %d", errBadFrame, h.Size)
	case h.Prev != c.prev:
		return fmt.Errorf("%w: head of size %d does not follow the one before", errBadFrame, h.Size)
	case h.Time <= c.last.Time:
		return fmt.Errorf("%w: time of head of size %d goes back", errBadFrame, h.Size)
	}
	c.prev, c.last = f.head.digest(), f.head
	return nil
}

// walk follows all frames of one segment from an offset on. It returns the
// offset behind the last one and why it stopped there: errNoFrame where zeros
// begin, or what is wrong with the bytes.
func (c *chain) walk(seg []byte, off int64, follow func(f *frame, off int64) error) (int64, error) {
	for {
		f, err := parseFrame(c.origin, seg[off:])
		if err != nil {
			return off, err
		}
		if err := follow(f, off); err != nil {
			return off, err
		}
		off += f.length
	}
}

// laterFrame looks for the header of a frame with a higher first index behind
// a damaged place: if there is one, this is no torn tail.
func laterFrame(seg []byte, from int64, after uint64) (int64, bool) {
	for off := from; off+headerLen <= int64(len(seg)); off += frameAlign {
		if !bytes.HasPrefix(seg[off:], []byte(frameMagic)) {
			continue
		}
		if h, err := parseHeader(seg[off:]); err == nil && h.first > after {
			return off, true
		}
	}
	return 0, false
}

func isTorn(err error) bool { return errors.Is(err, errTornFrame) }

package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Reader follows a running log from an entry on, for what is derived from it:
// the index, copies sent elsewhere, supervision. It reads every byte once and
// hashes every entry again. It belongs to one goroutine.
type Reader struct {
	l    *Log
	next uint64

	seg  file
	name string // of seg
	off  int64  // of the next frame in seg

	hasher hasher
	choose func(*Stored) bool // whether an entry, whose JSON is not decoded yet, is fn's; nil: all are

	tile       []Hash // the last full tile read, for entries whose hashes are on disk already
	tileNumber uint64
}

// NewReader begins at entry from, which may be the log's size. Close it.
func (l *Log) NewReader(from uint64) *Reader { return &Reader{l: l, next: from} }

// Next calls fn with every entry that is durable now and was not read yet, and
// returns the index after the last one fn took without an error. After an
// error, which is fn's or the log's, Next goes on where it stopped. The
// Stored's bytes are fn's to keep.
func (r *Reader) Next(ctx context.Context, fn func(Stored) error) (uint64, error) {
	size := r.l.Head().Size
	if r.next > size {
		return r.next, fmt.Errorf("%w: entry %d, log has %d", ErrRange, r.next, size)
	}
	return r.upTo(ctx, size, fn)
}

func (r *Reader) upTo(ctx context.Context, size uint64, fn func(Stored) error) (uint64, error) {
	for r.next < size {
		if err := ctx.Err(); err != nil {
			return r.next, fmt.Errorf("audit: reading: %w", err)
		}
		f, err := r.frame()
		if err != nil {
			return r.next, err
		}
		if err := r.each(f, size, fn); err != nil {
			return r.next, err
		}
	}
	return r.next, nil
}

// Entry reads one entry, which need not be the next one; Next goes on after it.
// Several asked for in ascending order cost one pass over their segments.
func (r *Reader) Entry(ctx context.Context, index uint64) (Stored, error) {
	var found Stored
	if size := r.l.Head().Size; index >= size {
		return found, fmt.Errorf("%w: entry %d, log has %d", ErrRange, index, size)
	}
	if err := r.seek(index); err != nil {
		return found, err
	}
	_, err := r.upTo(ctx, index+1, func(s Stored) error {
		found = s
		return nil
	})
	return found, err
}

// seek goes to the segment that holds entry index, and on in the present one if it can.
func (r *Reader) seek(index uint64) error {
	behind := index < r.next
	r.next = index
	if r.seg == nil {
		return nil
	}
	name, err := r.holding()
	if err != nil || name == r.name && !behind {
		return err
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("audit: reading segment: %w", err)
	}
	return r.enter(name)
}

// Close lets the segment go.
func (r *Reader) Close() error {
	if r.seg == nil {
		return nil
	}
	err := r.seg.Close()
	r.seg = nil
	return err
}

func (r *Reader) each(f *frame, size uint64, fn func(Stored) error) error {
	for i, raw := range f.entries {
		index := f.first + uint64(i)
		if index < r.next || index >= size {
			continue
		}
		s, err := r.checked(index, raw)
		if err == nil && (r.choose == nil || r.choose(&s)) {
			if err = s.decoded(); err == nil {
				err = fn(s)
			}
		}
		if err != nil {
			return err
		}
		r.next = index + 1
	}
	return nil
}

// frame is the one that holds entry next.
func (r *Reader) frame() (*frame, error) {
	if r.seg == nil {
		if err := r.open(); err != nil {
			return nil, err
		}
	}
	for {
		if err := r.skip(); err != nil {
			return nil, fmt.Errorf("%w: from entry %d on: %w", ErrDamaged, r.next, err)
		}
		f, err := r.at(r.off)
		switch {
		case errors.Is(err, errNoFrame): // durable, so it is in the next segment
			if err := r.turn(); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, fmt.Errorf("%w: from entry %d on: %w", ErrDamaged, r.next, err)
		case f.first+uint64(len(f.entries)) > r.next:
			return f, nil
		default:
			r.off += f.length
		}
	}
}

// skip goes over frames that end before entry next, reading only their headers
// and the lengths of their signatures. It stops where it does not see one.
func (r *Reader) skip() error {
	head, length := make([]byte, headerLen), make([]byte, 2)
	for {
		if _, err := r.seg.ReadAt(head, r.off); err != nil {
			return ignoreEOF(err)
		}
		h, err := parseHeader(head)
		if err != nil || h.first+uint64(h.count) > r.next {
			return nil // whoever reads the frame says what is wrong with it
		}
		at := int64(headerLen + h.body + headLen)
		if _, err := r.seg.ReadAt(length, r.off+at); err != nil {
			return ignoreEOF(err)
		}
		r.off += alignUp(at + 2 + int64(binary.BigEndian.Uint16(length)) + 4)
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// at reads the frame at an offset: its header, then as much as it can take.
func (r *Reader) at(off int64) (*frame, error) {
	head := make([]byte, frameAlign)
	n, err := r.seg.ReadAt(head, off)
	if n == 0 && errors.Is(err, io.EOF) {
		return nil, errNoFrame
	}
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(head)
	if err != nil {
		if allZero(head) {
			return nil, errNoFrame
		}
		return nil, err
	}
	b := make([]byte, frameSize(h.body))
	if n, err = r.seg.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return parseFrame(r.l.cfg.Origin, b[:n])
}

// open opens the segment that holds entry next.
func (r *Reader) open() error {
	name, err := r.holding()
	if err != nil {
		return err
	}
	return r.enter(name)
}

// holding names the segment that holds entry next.
func (r *Reader) holding() (in string, err error) {
	entries, err := r.l.cfg.files.ReadDir(r.l.wal.dir)
	if err != nil {
		return "", fmt.Errorf("audit: reading wal: %w", err)
	}
	names, _ := segments(entries)
	for _, name := range names {
		first, err := segmentFirst(name)
		if err != nil {
			return "", err
		}
		if first <= r.next {
			in = name
		}
	}
	return in, nil
}

// turn goes to the segment that begins with entry next.
func (r *Reader) turn() error {
	if err := r.Close(); err != nil {
		return fmt.Errorf("audit: reading segment: %w", err)
	}
	return r.enter(segmentName(r.next))
}

func (r *Reader) enter(name string) error {
	seg, err := r.l.cfg.files.Open(filepath.Join(r.l.wal.dir, name), os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("%w: from entry %d on: %w", ErrDamaged, r.next, err)
	}
	r.seg, r.name, r.off = seg, name, 0
	return nil
}

// decoded is decode with the entry's index in its error.
func (s *Stored) decoded() error {
	if err := s.decode(); err != nil {
		return fmt.Errorf("entry %d: %w", s.Index, err)
	}
	return nil
}

// checked takes an entry apart and compares its leaf with the tree's.
func (r *Reader) checked(index uint64, raw []byte) (Stored, error) {
	s, err := r.hasher.parseStored(raw)
	if err != nil {
		return s, fmt.Errorf("entry %d: %w", index, err)
	}
	s.Index = index
	leaf, err := r.leaf(index)
	if err != nil {
		return s, err
	}
	if leaf != s.Leaf {
		return s, fmt.Errorf("%w: entry %d is not what was signed", ErrDamaged, index)
	}
	return s, nil
}

// leaf reads a tile once for all of its entries.
func (r *Reader) leaf(index uint64) (Hash, error) {
	number := index / tileWidth
	if len(r.tile) == 0 || r.tileNumber != number {
		tile, err := r.l.tiles.leaves(number)
		if err != nil {
			return Hash{}, err
		}
		if tile == nil { // still growing
			return r.l.tiles.node(0, index)
		}
		r.tile, r.tileNumber = tile, number
	}
	return r.tile[index%tileWidth], nil
}

package audit

import (
	"cmp"
	"errors"
	"math/bits"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A long log is not read from its beginning each time it is opened. Recovery
// resumes at a published checkpoint instead: its signature holds, the frame
// that ends with it is there, and the tiles give the tree before that frame,
// from which the frame's entries make the checkpoint's root. All frames from
// that one on are read as ever; those before it are read again by the recheck,
// while the log already works. Whatever is in doubt is decided by reading
// everything, so resuming refuses nothing and repairs nothing by itself.

// resumeFrom is the least number of entries that makes it worth while.
const resumeFrom = 1 << 16

// maxResume is how many checkpoints are tried. Those of the last seconds may
// have lost their tiles with the power; of the minutes before, they are on disk.
const maxResume = 16

// behind is what a resumed recovery has not read: everything before a frame.
type behind struct {
	first uint64 // of the frame
	prev  Hash   // digest of the head before it
	known map[uint64]Head
}

// resume sets the recovery's state to the newest checkpoint that can be
// resumed at, and returns the place of the frame that ends with it in the
// segments. Without one it returns zeros, the log's beginning.
func (r *recovery) resume(names []string) (at int, off int64) {
	if r.whole || r.largest < r.l.cfg.resumeFrom || !r.segmentsWhole() {
		return 0, 0
	}
	covered, err := r.l.tiles.covered()
	if err != nil {
		return 0, 0
	}
	for _, s := range r.candidates() {
		if at, off, ok := r.resumeAt(s.Head, names, covered); ok {
			return at, off
		}
	}
	return 0, 0
}

// segmentsWhole tells whether every segment has its length.
func (r *recovery) segmentsWhole() bool {
	entries, err := r.l.cfg.files.ReadDir(r.l.wal.dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if info, err := e.Info(); isSegment(e.Name()) && (err != nil || info.Size() != r.meta.Segment) {
			return false
		}
	}
	return true
}

// candidates are signed checkpoints, the newest first.
func (r *recovery) candidates() []SignedHead {
	var list []SignedHead
	for _, note := range r.notes {
		s, err := ParseCheckpoint(note)
		if err != nil || s.Origin != r.meta.Origin || s.Size < r.l.cfg.resumeFrom || s.Verify(r.l.cfg.Signer.Public()) != nil {
			continue
		}
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(a, b SignedHead) int { return cmp.Compare(b.Size, a.Size) })
	return slices.CompactFunc(list, func(a, b SignedHead) bool { return a.Size == b.Size && a.digest() == b.digest() })
}

// resumeAt makes sure that the checkpoint is what the frame and the tiles
// before it make, and takes their state over.
func (r *recovery) resumeAt(h Head, names []string, covered uint64) (at int, off int64, ok bool) {
	f, at, off := r.frameEndingAt(h, names)
	if f == nil || f.first == 0 || f.first > covered {
		return 0, 0, false
	}
	tiles := newTileStore(r.l.cfg)
	if tiles.openEdge(f.first) != nil {
		return 0, 0, false
	}
	tree, err := tiles.frontier(f.first)
	if err != nil {
		return 0, 0, false
	}
	trial := chain{origin: r.meta.Origin, tree: frontier{tree.size, slices.Clone(tree.roots)}, prev: f.head.Prev}
	if trial.follow(f, nil, nil) != nil || trial.prev != h.digest() {
		return 0, 0, false
	}
	b := &behind{first: f.first, prev: f.head.Prev, known: make(map[uint64]Head)}
	recorded, err := r.recordedBefore(f.first, tiles)
	if err != nil {
		return 0, 0, false
	}
	for size, k := range r.known {
		if size <= f.first {
			b.known[size] = k
			delete(r.known, size)
		}
	}
	r.recorded, r.used, r.l.behind, r.l.tiles = recorded, true, b, tiles
	r.chain.tree, r.chain.prev, r.chain.last = tree, f.head.Prev, Head{Size: f.first}
	return at, off, true
}

// frameEndingAt looks for the frame with this head, in the segment in which it
// has to be.
func (r *recovery) frameEndingAt(h Head, names []string) (found *frame, at int, off int64) {
	for i, name := range names {
		first, err := segmentFirst(name)
		if err != nil {
			return nil, 0, 0
		}
		if first < h.Size {
			at = i
		}
	}
	seg, err := r.l.cfg.files.ReadFile(filepath.Join(r.l.wal.dir, names[at]))
	if err != nil {
		return nil, 0, 0
	}
	for {
		f, err := parseFrame(r.meta.Origin, seg[off:])
		if err != nil || f.head.Size > h.Size {
			return nil, 0, 0
		}
		if f.head.Size == h.Size {
			return f, at, off
		}
		off += f.length
	}
}

var errNotRecorded = errors.New("audit: quarantine cannot be told")

// recordedBefore tells which quarantined files are named by entries before
// the given one. A file's name begins with the size that the log had, so its
// log.recovered is the entry of that index, or the one after log.open.
func (r *recovery) recordedBefore(before uint64, tiles *tileStore) (map[string]bool, error) {
	recorded := make(map[string]bool)
	found, err := r.l.cfg.files.ReadDir(filepath.Join(r.l.cfg.Dir, nameQuarantine))
	if err != nil {
		return nil, err
	}
	for _, e := range found {
		digits, _, ok := strings.Cut(e.Name(), "-")
		index, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || !ok {
			return nil, errNotRecorded
		}
		if index = max(index, 1); index >= before || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		reader := &Reader{l: &Log{cfg: r.l.cfg, wal: r.l.wal, tiles: tiles}, next: index}
		s, err := reader.one()
		if err = errors.Join(err, reader.Close()); err != nil {
			return nil, err
		}
		for _, q := range s.Entry.Open.Quarantine {
			recorded[q.Name] = true
		}
	}
	return recorded, nil
}

// one reads the next entry.
func (r *Reader) one() (Stored, error) {
	f, err := r.frame()
	if err != nil {
		return Stored{}, err
	}
	s, err := r.checked(r.next, f.entries[r.next-f.first])
	if err != nil {
		return s, err
	}
	return s, s.decoded()
}

// covered is the number of entries for which every full tile is there, by name
// and length; with the power, the newest may have lost either.
func (t *tileStore) covered() (uint64, error) {
	there := make(map[string]bool)
	if err := t.listFull(nameTile, there); err != nil {
		return 0, err
	}
	least := ^uint64(0)
	for l := range 8 {
		n := uint64(0)
		for there[tilePath(l, n, tileWidth)] {
			n++
		}
		least = min(least, (n+1)*tileWidth<<(8*l)-1) // the next one need not be full yet
		if n == 0 {
			break
		}
	}
	return least, nil
}

func (t *tileStore) listFull(dir string, there map[string]bool) error {
	entries, err := t.fs.ReadDir(filepath.Join(t.dir, dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := dir + "/" + e.Name()
		switch {
		case e.IsDir() && !strings.HasSuffix(path, ".p"):
			if err := t.listFull(path, there); err != nil {
				return err
			}
		case !e.IsDir():
			info, err := e.Info()
			if err != nil {
				return err
			}
			there[path] = info.Size() == tileWidth*int64(len(Hash{}))
		}
	}
	return nil
}

// openEdge opens the tiles of a tree that has grown since: of each level the
// hashes behind the last full tile are the beginning of a tile, which now may
// be full.
func (t *tileStore) openEdge(size uint64) error {
	for l := 0; size>>(8*l) > 0; l++ {
		count := size >> (8 * l)
		width := int(count % tileWidth)
		tl := tileLevel{base: count - uint64(width)}
		if width > 0 {
			hashes, err := t.beginning(l, count/tileWidth, width)
			if err != nil {
				return err
			}
			tl.hashes = hashes
		}
		t.levels = append(t.levels, tl)
	}
	return nil
}

// beginning reads the first hashes of a tile, full or partial.
func (t *tileStore) beginning(level int, number uint64, width int) ([]Hash, error) {
	if hashes, err := t.full(level, number); err == nil {
		return slices.Clone(hashes[:width]), nil
	}
	dir := filepath.Dir(tilePath(level, number, width))
	entries, err := t.fs.ReadDir(filepath.Join(t.dir, dir))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		raw, err := t.fs.ReadFile(filepath.Join(t.dir, dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if hashes, err := splitTile(raw); err == nil && len(hashes) >= width {
			return hashes[:width:width], nil
		}
	}
	return nil, ErrDamaged
}

// frontier is the right edge of the tree of the given size.
func (t *tileStore) frontier(size uint64) (frontier, error) {
	f := frontier{size: size}
	for level := bits.Len64(size); level > 0; {
		level--
		if size>>level&1 == 0 {
			continue
		}
		h, err := t.node(uint(level), size>>level-1)
		if err != nil {
			return f, err
		}
		f.roots = append(f.roots, h)
	}
	return f, nil
}

package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Tiles hold the tree's hashes in files of 256, in the layout of C2SP
// tlog-tiles: tile/<L>/<N> has the roots of 256 neighbouring perfect subtrees
// of height 8·L, tile/<L>/<N>.p/<W> the first W of them. They are derived:
// written after the frames are durable, rebuilt when the log is opened.
const tileWidth = 256

// tileLevel holds the hashes of one level that are not in full tiles on disk yet.
type tileLevel struct {
	base   uint64 // index of hashes[0]; a multiple of 256
	hashes []Hash
}

type tileStore struct {
	fs  files
	dir string // the log's directory

	mu     sync.RWMutex
	levels []tileLevel

	partial map[int]string // partial tile on disk by level; publisher only
	writing sync.Mutex     // one tile at a time goes through tile/tmp
}

func newTileStore(c Config) *tileStore {
	return &tileStore{fs: c.files, dir: c.Dir, partial: make(map[int]string)}
}

// add takes neighbouring nodes from the frontier; nodes of other heights than 8·L are
// computed from those when needed.
func (t *tileStore) add(level uint, nodes ...Hash) {
	if level%8 != 0 {
		return
	}
	l := int(level / 8)
	for len(t.levels) <= l {
		t.levels = append(t.levels, tileLevel{})
	}
	t.levels[l].hashes = append(t.levels[l].hashes, nodes...)
}

// node returns a perfect node, from memory or from a full tile.
func (t *tileStore) node(level uint, index uint64) (Hash, error) { return t.find(level, index, t.full) }

// forProof is node for one proof, which asks for several nodes of a tile: each
// tile is read once.
func (t *tileStore) forProof() nodeFunc {
	type place struct {
		level  int
		number uint64
	}
	read := make(map[place][]Hash)
	full := func(level int, number uint64) ([]Hash, error) {
		at := place{level, number}
		if have, ok := read[at]; ok {
			return have, nil
		}
		hashes, err := t.full(level, number)
		if err == nil {
			read[at] = hashes
		}
		return hashes, err
	}
	return func(level uint, index uint64) (Hash, error) { return t.find(level, index, full) }
}

func (t *tileStore) find(level uint, index uint64, full func(level int, number uint64) ([]Hash, error)) (Hash, error) {
	l, below := int(level/8), level%8
	from, n := index<<below, uint64(1)<<below
	t.mu.RLock()
	if l >= len(t.levels) {
		t.mu.RUnlock()
		return Hash{}, fmt.Errorf("%w: no node %d at level %d", ErrRange, index, level)
	}
	tl := t.levels[l]
	t.mu.RUnlock()
	if from >= tl.base {
		at := from - tl.base
		if at+n > uint64(len(tl.hashes)) {
			return Hash{}, fmt.Errorf("%w: no node %d at level %d", ErrRange, index, level)
		}
		return rangeRoot(tl.hashes[at : at+n]), nil
	}
	hashes, err := full(l, from/tileWidth)
	if err != nil {
		return Hash{}, err
	}
	at := from % tileWidth
	return rangeRoot(hashes[at : at+n]), nil
}

// leaves is the full tile of leaf hashes with that number, or nil if it is not
// on disk yet.
func (t *tileStore) leaves(number uint64) ([]Hash, error) {
	t.mu.RLock()
	onDisk := len(t.levels) > 0 && (number+1)*tileWidth <= t.levels[0].base
	t.mu.RUnlock()
	if !onDisk {
		return nil, nil
	}
	return t.full(0, number)
}

// full reads a full tile.
func (t *tileStore) full(level int, number uint64) ([]Hash, error) {
	path := tilePath(level, number, tileWidth)
	raw, err := t.fs.ReadFile(filepath.Join(t.dir, path))
	if err != nil {
		return nil, fmt.Errorf("audit: reading tile: %w", err)
	}
	hashes, err := splitTile(raw)
	if err != nil || len(hashes) != tileWidth {
		return nil, fmt.Errorf("%w: tile %s", ErrDamaged, path)
	}
	return hashes, nil
}

// flush writes the tiles of the tree of the given size: those that became
// full, and the partial ones in place of the last partial ones.
func (t *tileStore) flush(size uint64) error {
	for l := 0; size>>(8*l) > 0; l++ {
		t.mu.RLock()
		tl := t.levels[l]
		t.mu.RUnlock()
		count := size >> (8 * l)
		done := tl.base
		for ; done+tileWidth <= count; done += tileWidth {
			if err := t.write(l, done, tl.hashes[done-tl.base:][:tileWidth]); err != nil {
				return err
			}
		}
		if err := t.flushPartial(l, done, tl.hashes[done-tl.base:count-tl.base]); err != nil {
			return err
		}
		if done > tl.base {
			t.mu.Lock()
			keep := t.levels[l].hashes[done-tl.base:]
			t.levels[l] = tileLevel{base: done, hashes: append(make([]Hash, 0, len(keep)+tileWidth), keep...)}
			t.mu.Unlock()
		}
	}
	return nil
}

func (t *tileStore) flushPartial(l int, first uint64, hashes []Hash) error {
	var name string
	if len(hashes) > 0 {
		name = tilePath(l, first/tileWidth, len(hashes))
	}
	old := t.partial[l]
	if name == old {
		return nil
	}
	if name != "" {
		if err := t.write(l, first, hashes); err != nil {
			return err
		}
	}
	t.partial[l] = name
	if old == "" {
		return nil
	}
	if err := t.fs.Remove(filepath.Join(t.dir, old)); err != nil {
		return fmt.Errorf("audit: removing partial tile: %w", err)
	}
	if filepath.Dir(old) != filepath.Dir(name) {
		if err := t.fs.Remove(filepath.Join(t.dir, filepath.Dir(old))); err != nil {
			return fmt.Errorf("audit: removing partial tile: %w", err)
		}
	}
	return nil
}

// write puts a tile in place by renaming, so that a reader never sees half of it.
func (t *tileStore) write(l int, first uint64, hashes []Hash) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	name := filepath.Join(t.dir, tilePath(l, first/tileWidth, len(hashes)))
	tmp := filepath.Join(t.dir, "tile", "tmp")
	f, err := t.fs.Open(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("audit: writing tile: %w", err)
	}
	_, err = f.WriteAt(joinTile(hashes), 0)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("audit: writing tile: %w", err)
	}
	err = t.fs.Rename(tmp, name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = t.fs.Mkdir(filepath.Dir(name)); err == nil {
			err = t.fs.Rename(tmp, name)
		}
	}
	if err != nil {
		return fmt.Errorf("audit: writing tile: %w", err)
	}
	return nil
}

func joinTile(hashes []Hash) []byte {
	b := make([]byte, 0, len(hashes)*len(Hash{}))
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

func splitTile(raw []byte) ([]Hash, error) {
	if len(raw) == 0 || len(raw)%len(Hash{}) != 0 || len(raw) > tileWidth*len(Hash{}) {
		return nil, ErrDamaged
	}
	hashes := make([]Hash, len(raw)/len(Hash{}))
	for i := range hashes {
		copy(hashes[i][:], raw[i*len(Hash{}):])
	}
	return hashes, nil
}

// tilePath is tile/<L>/<N>[.p/<W>], N in groups of three digits of which all
// but the last begin with x: 1234067 is x001/x234/067.
func tilePath(level int, n uint64, width int) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	s = fmt.Sprintf("tile/%d/%s", level, s)
	if width < tileWidth {
		s += fmt.Sprintf(".p/%d", width)
	}
	return s
}

// tilesOf lists the tiles of a tree of the given size with the range of
// level-L hashes each holds.
func tilesOf(size uint64, each func(path string, level int, first uint64, width int)) {
	for l := 0; l < 8 && size>>(8*l) > 0; l++ {
		count := size >> (8 * l)
		for first := uint64(0); first < count; first += tileWidth {
			width := min(tileWidth, int(count-first))
			each(tilePath(l, first/tileWidth, width), l, first, width)
		}
	}
}

// isPartialTile tells tile/<L>/<N>.p/<W> by its name.
func isPartialTile(path string) bool { return strings.Contains(path, ".p/") }

// restore makes the tiles on disk those of a recovered tree as far as their
// hashes are in memory, and returns how many files had to be written or
// removed.
func (t *tileStore) restore(size uint64) (int, error) {
	want := make(map[string]bool)
	changed := 0
	var err error
	tilesOf(size, func(path string, level int, first uint64, width int) {
		if err != nil || first < t.levels[level].base {
			return
		}
		want[path] = true
		if width < tileWidth {
			t.partial[level] = path
		}
		hashes := t.levels[level].hashes[first-t.levels[level].base:][:width]
		have, readErr := t.fs.ReadFile(filepath.Join(t.dir, path))
		if readErr == nil && string(have) == string(joinTile(hashes)) {
			return
		}
		changed++
		err = t.write(level, first, hashes)
	})
	if err != nil {
		return changed, err
	}
	removed, err := t.removeStale(want)
	if err != nil {
		return changed, err
	}
	for l := range t.levels { // full tiles are on disk now
		tl := t.levels[l]
		full := uint64(len(tl.hashes)) / tileWidth * tileWidth
		t.levels[l] = tileLevel{base: tl.base + full, hashes: append([]Hash(nil), tl.hashes[full:]...)}
	}
	return changed + removed, nil
}

// removeStale removes partial tiles of earlier sizes and what a crash left
// half written. Files that are no tiles at all are left for the verifier.
func (t *tileStore) removeStale(want map[string]bool) (int, error) {
	removed, err := t.tidy(nameTile, want)
	if err != nil {
		return removed, fmt.Errorf("audit: tidying tiles: %w", err)
	}
	return removed, nil
}

func (t *tileStore) tidy(dir string, want map[string]bool) (removed int, err error) {
	entries, err := t.fs.ReadDir(filepath.Join(t.dir, dir))
	if err != nil {
		return 0, err
	}
	left := len(entries)
	for _, e := range entries {
		path := dir + "/" + e.Name()
		switch {
		case e.IsDir():
			var n int
			n, err = t.tidy(path, want)
			removed += n
		case path == nameTile+"/tmp":
			err = t.fs.Remove(filepath.Join(t.dir, path))
		case isPartialTile(path) && !want[path]:
			err = t.fs.Remove(filepath.Join(t.dir, path))
			removed++
			left--
		}
		if err != nil {
			return removed, err
		}
	}
	if left == 0 && strings.HasSuffix(dir, ".p") {
		return removed, t.fs.Remove(filepath.Join(t.dir, dir))
	}
	return removed, nil
}

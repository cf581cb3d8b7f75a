package audit

import (
	"bytes"
	"errors"
	"strings"
)

// note is the checkpoint that the frame with a head of this size gives.
func (v *verifier) note(size uint64) ([]byte, bool) {
	h, ok := v.heads[size]
	if !ok {
		return nil, false
	}
	s := v.d.head()
	s.Head, s.Signature = h, v.sigs[size]
	b, err := s.MarshalText()
	return b, err == nil
}

// isNote tells whether b is, to the byte, the checkpoint of one of the frames.
func (v *verifier) isNote(b []byte) (uint64, error) {
	s, err := ParseCheckpoint(b)
	if err != nil {
		return 0, err
	}
	want, ok := v.note(s.Size)
	if !ok {
		return 0, errors.New("no frame has a head of this size")
	}
	if !bytes.Equal(want, b) {
		return 0, errors.New("differs from the frame's head")
	}
	return s.Size, nil
}

// checkpoints checks heads/last, checkpoint and checkpoints.log against the frames.
func (v *verifier) checkpoints() {
	end := v.report.Entries
	v.checkpointsLog()
	for _, f := range []struct{ code, name string }{{"heads", nameLastHead}, {"checkpoint", nameCheckpoint}} {
		b, ok := v.take(f.name)
		if !ok {
			if !v.o.Live || end > 1 {
				v.problem("missing", f.name, -1, NoIndex, "file is missing")
			}
			continue
		}
		size, err := v.isNote(b)
		if f.name == nameCheckpoint {
			v.published = size
		}
		switch {
		case err != nil:
			v.problem(f.code, f.name, -1, NoIndex, "%v", err)
		case !v.o.Live && size != end:
			v.problem(f.code, f.name, -1, size, "head of size %d, log has %d", size, end)
		}
	}
}

// checkpointsLog checks that its records are heads of the log, up to the last.
func (v *verifier) checkpointsLog() {
	b, ok := v.take(nameCheckpoints)
	if !ok {
		if !v.o.Live || v.report.Entries > 1 {
			v.problem("missing", nameCheckpoints, -1, NoIndex, "file is missing")
		}
		return
	}
	var last uint64
	_, good, err := readCheckpoints(b, func(n uint64, off int64, note []byte) error {
		size, err := v.isNote(note)
		if err == nil && size <= last && n > 0 {
			err = errors.New("sizes do not grow")
		}
		if err != nil {
			v.problem("checkpoint", nameCheckpoints, off, NoIndex, "record %d: %v", n, err)
			return err
		}
		last = size
		v.report.Checkpoints++
		return nil
	})
	if errors.Is(err, errTornRecord) && !v.o.Live {
		v.problem("checkpoint", nameCheckpoints, good, NoIndex, "%v", err)
	} else if err == nil && !v.o.Live && last != v.report.Entries {
		v.problem("checkpoint", nameCheckpoints, good, last, "ends with the head of size %d, log has %d", last, v.report.Entries)
	}
}

// checkTiles compares every tile with the hashes recomputed from the entries.
func (v *verifier) checkTiles() {
	tilesOf(v.report.Entries, func(path string, level int, first uint64, width int) {
		want := joinTile(v.tiles.levels[level].hashes[first:][:width])
		v.report.Tiles++
		have, ok := v.take(path)
		switch {
		case !ok && (!v.o.Live || width == tileWidth && (first+tileWidth)<<(8*level) <= v.published):
			v.problem("tile", path, -1, first<<(8*level), "tile is missing")
		case ok && !bytes.Equal(have, want):
			v.problem("tile", path, int64(firstDifference(have, want)), first<<(8*level), "tile is not that of the entries")
		}
	})
	if v.o.Live {
		v.oldPartials()
	}
}

// oldPartials accepts the partial tiles of a head before the last one, which
// a running log still has: right in content, if no longer the newest.
func (v *verifier) oldPartials() {
	tiles := make(map[string][]byte)
	for name, b := range v.derived {
		if strings.HasPrefix(name, nameTile+"/") && isPartialTile(name) {
			tiles[name] = b
		}
	}
	for level := range v.tiles.levels {
		hashes := v.tiles.levels[level].hashes
		for name, b := range tiles {
			first, width, ok := partialAt(name, level, len(b))
			if !ok || first+uint64(width) > uint64(len(hashes)) {
				continue
			}
			v.take(name)
			if want := joinTile(hashes[first:][:width]); !bytes.Equal(b, want) {
				v.problem("tile", name, int64(firstDifference(b, want)), first<<(8*level), "tile is not that of the entries")
			}
		}
	}
}

// partialAt reads a partial tile's place from its path.
func partialAt(path string, level, length int) (first uint64, width int, ok bool) {
	var n uint64
	dir, _, _ := strings.Cut(path, ".p/")
	for _, part := range strings.Split(dir, "/")[2:] {
		k, err := parseDecimal(strings.TrimLeft(strings.TrimPrefix(part, "x"), "0"))
		if err != nil && strings.Trim(part, "x0") != "" {
			return 0, 0, false
		}
		n = n*1000 + k
	}
	width = length / len(Hash{})
	return n * tileWidth, width, width > 0 && tilePath(level, n, width) == path
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

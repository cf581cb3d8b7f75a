package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"
)

// errAway: the log was closed before everything was read.
var errAway = errors.New("audit: recheck cut short")

// recheck reads, of a resumed log, everything before the frame at which it was
// resumed, beside its work and on at most half a core. Tiles are derived, so a
// wrong one is written anew. Frames are not: if they are not what was signed,
// log.damaged is recorded and the log stops; the next start, which finds that
// entry at the end, reads everything before it takes anything.
func (l *Log) recheck() {
	mended, err := l.readBehind()
	switch {
	case errors.Is(err, errAway):
	case err != nil:
		l.cfg.Logger.Error("audit log is damaged behind its last start", "origin", l.cfg.Origin, "cause", err)
		_, recordErr := l.Append(context.Background(), Entry{Open: Open{Op: OpLogDamaged, Phase: PhaseFailed}})
		l.poison(errors.Join(err, recordErr))
	default:
		if mended > 0 {
			l.cfg.Logger.Warn("audit log has mended tiles", "origin", l.cfg.Origin, "tiles", mended)
		}
		l.note(Entry{Open: Open{Op: OpLogChecked, Phase: PhaseDone, Rows: &mended}})
	}
}

// readBehind returns how many tiles had to be written.
func (l *Log) readBehind() (mended int, err error) {
	entries, err := l.cfg.files.ReadDir(l.wal.dir)
	if err != nil {
		return 0, fmt.Errorf("audit: reading wal: %w", err)
	}
	note, err := l.cfg.files.ReadFile(filepath.Join(l.cfg.Dir, nameMeta))
	if err != nil {
		return 0, fmt.Errorf("audit: reading log.json: %w", err)
	}
	b := l.behind
	c := chain{origin: l.cfg.Origin, prev: metaDigest(note)}
	tiles, known := &tileStore{}, maps.Clone(b.known)
	names, _ := segments(entries)
	for _, name := range names {
		if c.last.Size == b.first {
			break
		}
		began := time.Now()
		if err := l.readAgain(name, &c, tiles, known); err != nil {
			return mended, err
		}
		n, err := l.tiles.mend(tiles)
		if mended += n; err != nil {
			return mended, err
		}
		select {
		case <-l.quit:
			return mended, errAway
		case <-l.failed:
			return mended, errAway
		case <-time.After(time.Since(began)):
		}
	}
	if c.last.Size != b.first || c.prev != b.prev {
		return mended, fmt.Errorf("%w: entries 0 to %d do not lead to the head that follows them", ErrDamaged, b.first)
	}
	if len(known) > 0 {
		return mended, fmt.Errorf("%w: a head that was published is not among the frames", ErrDamaged)
	}
	return mended, nil
}

// errEnough: the frame at which the log was resumed has been reached.
var errEnough = errors.New("frame of the resumed start")

// readAgain follows the frames of one segment as a full recovery does.
func (l *Log) readAgain(name string, c *chain, tiles *tileStore, known map[uint64]Head) error {
	if want := segmentName(c.last.Size); name != want {
		return fmt.Errorf("%w: from entry %d on: wal/%s follows, not wal/%s", ErrDamaged, c.last.Size, name, want)
	}
	seg, err := l.cfg.files.ReadFile(filepath.Join(l.wal.dir, name))
	if err != nil {
		return fmt.Errorf("audit: reading segment: %w", err)
	}
	off, err := c.walk(seg, 0, func(f *frame, _ int64) error {
		if c.last.Size == l.behind.first {
			return errEnough
		}
		err := c.follow(f, nil, func(level uint, _ uint64, h *Hash) { tiles.add(level, *h) })
		if k, ok := known[f.head.Size]; err == nil && ok {
			if k.digest() != f.head.digest() {
				return fmt.Errorf("%w: another head of size %d was published", ErrDamaged, f.head.Size)
			}
			delete(known, f.head.Size)
		}
		return err
	})
	if errors.Is(err, errEnough) || errors.Is(err, errNoFrame) && allZero(seg[off:]) {
		return nil
	}
	return fmt.Errorf("%w: from entry %d on: wal/%s offset %d: %w", ErrDamaged, c.last.Size, name, off, err)
}

// mend holds the full tiles that are known from the entries against those on
// disk, writes those that differ, and lets them go.
func (t *tileStore) mend(known *tileStore) (mended int, err error) {
	for l := range known.levels {
		k := &known.levels[l]
		for ; len(k.hashes) >= tileWidth; k.base, k.hashes = k.base+tileWidth, k.hashes[tileWidth:] {
			want := k.hashes[:tileWidth]
			have, err := t.fs.ReadFile(filepath.Join(t.dir, tilePath(l, k.base/tileWidth, tileWidth)))
			if err == nil && bytes.Equal(have, joinTile(want)) {
				continue
			}
			if err := t.write(l, k.base, want); err != nil {
				return mended, err
			}
			mended++
		}
		k.hashes = append([]Hash(nil), k.hashes...)
	}
	return mended, nil
}

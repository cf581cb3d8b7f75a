package audit

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/emmansun/gmsm/sm3"
)

// recovery reads a shard back. It believes the frames, not the files derived
// from them, but holds them against every signed head it can find: a frame
// missing under such a head is damage, never a torn tail. A long log is
// resumed at one of these heads (see resume) and read whole afterwards.
type recovery struct {
	l     *Log
	meta  meta
	chain chain

	known    map[uint64]Head // heads published before, by size, until found in a frame
	largest  uint64
	notes    [][]byte        // those heads, and the newest records of checkpoints.log, as they stand
	recorded map[string]bool // quarantined files that a log.recovered names
	lastOp   Op
	genesis  Hash // digest of log.json
	whole    bool // everything is read, whatever checkpoints there are
	used     bool // it holds more than what the log says of its own beginnings
}

func (r *recovery) run(ctx context.Context) ([]Entry, error) {
	r.known, r.recorded = make(map[uint64]Head), make(map[string]bool)
	r.chain = chain{origin: r.meta.Origin, prev: r.genesis}
	count, good, err := r.readKnown()
	if err != nil {
		return nil, err
	}
	name, off, err := r.readSegments(ctx)
	if r.l.behind != nil && (errors.Is(err, ErrDamaged) || r.lastOp == OpLogDamaged) {
		return r.again(ctx)
	}
	if err != nil {
		return nil, err
	}
	if r.chain.last.Size < r.largest || len(r.known) > 0 {
		return nil, r.damage(r.chain.last.Size, fmt.Errorf("heads up to size %d were published", r.largest))
	}
	if r.used && r.largest == 0 && !r.l.copied { // nobody could append before the first head was published
		return nil, fmt.Errorf("%w: heads/last and checkpoint are missing", ErrDamaged)
	}
	if r.lastOp == OpLogClose {
		if err := r.finishSealed(count, good); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %s", ErrSealed, r.meta.Origin)
	}
	if err := r.prepareSpare(); err != nil {
		return nil, err
	}
	l := r.l
	l.tree, l.prev, l.lastTime = r.chain.tree, r.chain.prev, max(r.chain.last.Time, r.meta.Created)
	rebuilt, err := l.tiles.restore(l.tree.size)
	if err != nil {
		return nil, err
	}
	if err := r.trimCheckpoints(good); err != nil {
		return nil, err
	}
	l.published.size = 0 // publish again: the last one may not have been finished
	if err := l.openCheckpoints(count, good); err != nil {
		return nil, err
	}
	if err := l.wal.open(name, off); err != nil {
		return nil, errors.Join(fmt.Errorf("audit: opening segment: %w", err), l.published.file.Close())
	}
	entries, err := r.entries(rebuilt)
	if err != nil {
		return nil, errors.Join(err, l.published.file.Close())
	}
	return entries, nil
}

// again reads everything where a resumed recovery has come upon damage.
func (r *recovery) again(ctx context.Context) ([]Entry, error) {
	l := r.l
	l.behind, l.tiles = nil, newTileStore(l.cfg)
	l.head.Store(nil)
	whole := recovery{l: l, meta: r.meta, genesis: r.genesis, whole: true}
	return whole.run(ctx)
}

// damage says from which entry on the log cannot be trusted.
func (r *recovery) damage(index uint64, cause error) error {
	return fmt.Errorf("%w: from entry %d on: %w", ErrDamaged, index, cause)
}

// readKnown collects the heads of heads/last, checkpoint and checkpoints.log.
func (r *recovery) readKnown() (count uint64, good int64, err error) {
	for _, name := range []string{nameLastHead, nameCheckpoint} {
		note, err := r.l.cfg.files.ReadFile(filepath.Join(r.l.cfg.Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, 0, fmt.Errorf("audit: reading %s: %w", name, err)
		}
		if err := r.addKnown(note); err != nil {
			return 0, 0, fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
		}
		r.notes = append(r.notes, note)
	}
	b, err := r.l.cfg.files.ReadFile(filepath.Join(r.l.cfg.Dir, nameCheckpoints))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, fmt.Errorf("audit: reading checkpoints.log: %w", err)
	}
	var last []byte
	var newest [][]byte
	var lastAt int64
	count, good, err = readCheckpoints(b, func(_ uint64, off int64, note []byte) error {
		last, lastAt = note, off
		newest = append(newest, note)
		newest = newest[max(0, len(newest)-maxResume):]
		return nil
	})
	if err != nil && !errors.Is(err, errTornRecord) {
		return 0, 0, err
	}
	r.notes = append(r.notes, newest...)
	if last != nil && r.addKnown(last) != nil {
		// Torn within: of two sectors only one was written. heads/last, which
		// was in place before, still holds its head to account.
		return count - 1, lastAt, nil
	}
	return count, good, nil
}

func (r *recovery) addKnown(note []byte) error {
	s, err := ParseCheckpoint(note)
	if err != nil {
		return err
	}
	if s.Origin != r.meta.Origin {
		return fmt.Errorf("checkpoint of another log")
	}
	if err := s.Verify(r.l.cfg.Signer.Public()); err != nil {
		return err
	}
	r.known[s.Size], r.largest = s.Head, max(r.largest, s.Size)
	return nil
}

// readSegments follows the frames, all of them or those from a checkpoint on,
// and returns the live segment and the offset at which it goes on.
func (r *recovery) readSegments(ctx context.Context) (name string, off int64, err error) {
	entries, err := r.l.cfg.files.ReadDir(r.l.wal.dir)
	if err != nil {
		return "", 0, fmt.Errorf("audit: reading wal: %w", err)
	}
	names, others := segments(entries)
	for _, o := range others {
		if o != spareName && o != spareName+".tmp" {
			return "", 0, fmt.Errorf("%w: wal/%s is no segment", ErrDamaged, o)
		}
	}
	if len(names) == 0 {
		return "", 0, r.damage(0, errors.New("there is no segment"))
	}
	at, from := r.resume(names)
	for i, n := range names[at:] {
		if err := ctx.Err(); err != nil {
			return "", 0, fmt.Errorf("audit: recovery: %w", err)
		}
		if want := segmentName(r.chain.last.Size); from == 0 && n != want {
			return "", 0, r.damage(r.chain.last.Size, fmt.Errorf("wal/%s follows, not wal/%s", n, want))
		}
		if off, err = r.readSegment(n, from, at+i == len(names)-1); err != nil {
			return "", 0, err
		}
		name, from = n, 0
	}
	return name, off, r.checkLastSignature()
}

func (r *recovery) readSegment(name string, from int64, lastOne bool) (int64, error) {
	seg, err := r.l.cfg.files.ReadFile(filepath.Join(r.l.wal.dir, name))
	if err != nil {
		return 0, fmt.Errorf("audit: reading segment: %w", err)
	}
	if int64(len(seg)) != r.meta.Segment {
		return 0, r.damage(r.chain.last.Size, fmt.Errorf("wal/%s has %d bytes, not %d", name, len(seg), r.meta.Segment))
	}
	off, err := r.chain.walk(seg, from, func(f *frame, _ int64) error {
		visit := func(level uint, _ uint64, h *Hash) { r.l.tiles.add(level, *h) }
		if err := r.chain.follow(f, r.look, visit); err != nil {
			return err
		}
		s := SignedHead{Head: f.head, KeyHash: r.l.keyHash, Signature: bytes.Clone(f.sig)}
		r.l.head.Store(&s)
		return r.compareKnown(f.head)
	})
	if errors.Is(err, errNoFrame) && allZero(seg[off:]) {
		return off, nil
	}
	where := fmt.Errorf("wal/%s offset %d: %w", name, off, err)
	if !lastOne || errors.Is(err, errBadFrame) || errors.Is(err, ErrDamaged) || r.chain.last.Size < r.largest {
		return 0, r.damage(r.chain.last.Size, where)
	}
	return off, r.quarantineTail(name, seg, off, where)
}

// look notes what recovery needs of the entries: which quarantined files have
// been recorded, and what the last operation was.
func (r *recovery) look(s *Stored) error {
	r.lastOp = ""
	if !bytes.Contains(s.OpenJSON, []byte(`"op":"log.`)) {
		r.used = true
		return nil
	}
	var o struct {
		Op         Op            `json:"op"`
		Quarantine []Quarantined `json:"quarantine"`
	}
	if err := json.Unmarshal(s.OpenJSON, &o); err != nil {
		return fmt.Errorf("%w: entry %d is not JSON", errBadFrame, s.Index)
	}
	r.lastOp = o.Op
	r.used = r.used || o.Op != OpLogOpen && o.Op != OpLogRecovered && o.Op != OpLogStart
	for _, q := range o.Quarantine {
		r.recorded[q.Name] = true
	}
	return nil
}

func (r *recovery) compareKnown(h Head) error {
	if k, ok := r.known[h.Size]; ok {
		if k.digest() != h.digest() {
			return fmt.Errorf("%w: another head of size %d was published", ErrDamaged, h.Size)
		}
		delete(r.known, h.Size)
	}
	return nil
}

// checkLastSignature verifies the last head, to which all earlier ones are chained.
func (r *recovery) checkLastSignature() error {
	s := r.l.head.Load()
	if s == nil {
		return nil
	}
	if err := s.Verify(r.l.cfg.Signer.Public()); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// quarantineTail moves a torn tail aside. The bytes are copied, synced, and
// only then cleared. Of a replica they are only cleared: they come again.
func (r *recovery) quarantineTail(name string, seg []byte, off int64, cause error) error {
	rest := seg[off:]
	extent := frameSize(maxBody)
	if h, err := parseHeader(rest); err == nil {
		extent = frameSize(h.body)
	}
	end := alignUp(int64(lastNonZero(rest)))
	if end > extent {
		return r.damage(r.chain.last.Size, fmt.Errorf("%w; and %d bytes further on are not zero", cause, end))
	}
	if at, found := laterFrame(rest, frameAlign, r.chain.last.Size); found {
		return r.damage(r.chain.last.Size, fmt.Errorf("%w; a later frame lies at offset %d", cause, off+at))
	}
	if err := r.quarantine(fmt.Sprintf("%012d-%s-%d", r.chain.last.Size, name, off), rest[:end]); err != nil {
		return err
	}
	f, err := r.l.cfg.files.Open(filepath.Join(r.l.wal.dir, name), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("audit: clearing torn tail: %w", err)
	}
	_, err = f.WriteAt(make([]byte, end), off)
	if err == nil {
		err = f.SyncData()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("audit: clearing torn tail: %w", err)
	}
	return nil
}

// quarantine writes a copy that no later recovery overwrites.
func (r *recovery) quarantine(name string, content []byte) error {
	fsys, dir := r.l.cfg.files, filepath.Join(r.l.cfg.Dir, nameQuarantine)
	if r.l.copied {
		return nil
	}
	for base, n := name, 2; ; n++ {
		old, err := fsys.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return fmt.Errorf("audit: quarantine: %w", err)
		}
		if bytes.Equal(old, content) && !r.recorded[name] {
			return nil // copied by a recovery that did not come further
		}
		name = fmt.Sprintf("%s-%d", base, n)
	}
	if err := writeWhole(fsys, filepath.Join(dir, name), content); err != nil {
		return fmt.Errorf("audit: quarantine: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("audit: quarantine: %w", err)
	}
	r.l.cfg.Logger.Warn("audit log moved a torn tail to quarantine", "origin", r.meta.Origin, "file", name, "bytes", len(content))
	return nil
}

// trimCheckpoints moves a torn last record of checkpoints.log aside.
func (r *recovery) trimCheckpoints(good int64) error {
	name := filepath.Join(r.l.cfg.Dir, nameCheckpoints)
	b, err := r.l.cfg.files.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && int64(len(b)) == good {
		return nil
	}
	if err != nil {
		return fmt.Errorf("audit: reading checkpoints.log: %w", err)
	}
	if err := r.quarantine(fmt.Sprintf("%012d-checkpoints.log-%d", r.chain.last.Size, good), b[good:]); err != nil {
		return err
	}
	if err := writeWhole(r.l.cfg.files, name, b[:good]); err != nil {
		return fmt.Errorf("audit: cutting checkpoints.log: %w", err)
	}
	return nil
}

// finishSealed writes what a crash between the durable log.close and the last
// publication has left out, so that the shard is complete to the byte. Nothing
// can be recorded any more, so a torn last checkpoint is replaced, not
// quarantined: the frames hold what it said. A complete shard is not touched.
func (r *recovery) finishSealed(count uint64, good int64) error {
	note, err := r.l.head.Load().MarshalText()
	if err != nil {
		return err
	}
	if err := r.prepareSpare(); err != nil {
		return err
	}
	if _, err := r.l.tiles.restore(r.chain.last.Size); err != nil {
		return err
	}
	fsys, dir := r.l.cfg.files, r.l.cfg.Dir
	records, err := fsys.ReadFile(filepath.Join(dir, nameCheckpoints))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("audit: reading checkpoints.log: %w", err)
	}
	whole := records[:good:good]
	if !bytes.HasSuffix(whole, note) {
		whole = append(whole, checkpointRecord(count, note)...)
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{nameLastHead, note}, {nameCheckpoints, whole}, {nameCheckpoint, note}} {
		name := filepath.Join(dir, f.name)
		if have, err := fsys.ReadFile(name); err == nil && bytes.Equal(have, f.content) {
			continue
		}
		if err := writeWhole(fsys, name, f.content); err != nil {
			return fmt.Errorf("audit: writing %s: %w", f.name, err)
		}
	}
	return fsys.SyncAll(dir)
}

// prepareSpare keeps an existing spare if it is whole, and makes one if a
// crash came between a rotation and the next spare.
func (r *recovery) prepareSpare() error {
	w := r.l.wal
	b, err := w.fs.ReadFile(filepath.Join(w.dir, spareName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = w.create(spareName)
	case err == nil && (int64(len(b)) != w.size || !allZero(b)):
		return fmt.Errorf("%w: wal/next is not empty", ErrDamaged)
	case err == nil:
		err = w.fs.Remove(filepath.Join(w.dir, spareName+".tmp"))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("audit: spare segment: %w", err)
	}
	w.ready <- struct{}{}
	return nil
}

// entries are what the log says of its own recovery: quarantined files that
// no entry names yet, and that it goes on.
func (r *recovery) entries(rebuilt int) ([]Entry, error) {
	dir := filepath.Join(r.l.cfg.Dir, nameQuarantine)
	found, err := r.l.cfg.files.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("audit: reading quarantine: %w", err)
	}
	var moved []Quarantined
	for _, e := range found {
		if r.recorded[e.Name()] || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		b, err := r.l.cfg.files.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("audit: reading quarantine: %w", err)
		}
		sum := sm3.Sum(b)
		moved = append(moved, Quarantined{Name: e.Name(), Bytes: int64(len(b)), SM3: hex.EncodeToString(sum[:])})
	}
	slices.SortFunc(moved, func(a, b Quarantined) int { return strings.Compare(a.Name, b.Name) })
	var out []Entry
	if r.chain.last.Size == 0 { // the crash came before the very first entry
		out = append(out, Entry{Open: Open{Op: OpLogOpen, Previous: r.meta.Previous}})
	}
	if len(moved) > 0 {
		out = append(out, Entry{Open: Open{Op: OpLogRecovered, Quarantine: moved}})
	}
	start := Entry{Open: Open{Op: OpLogStart}}
	if rebuilt > 0 {
		start.Open.Rows = &rebuilt
		start.Closed.Reason = "tiles-rebuilt"
	}
	return append(out, start), nil
}

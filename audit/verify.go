package audit

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// VerifyOptions says what a log is held against.
type VerifyOptions struct {
	// Keys are the auditor's pinned keys of the log (and of the shard before it).
	Keys []*ecdsa.PublicKey
	// Origin, if given, is the log's expected name.
	Origin string
	// MinSize is the least number of entries that the log must have.
	MinSize uint64
	// Known is a checkpoint that the auditor keeps from earlier: the log must
	// have grown out of it.
	Known []byte
	// Live allows what a running or crashed log may show: files derived from
	// the frames may lag behind, the last frame may be unfinished, the spare
	// segment may be in the making, log.stop may be missing. Without it the
	// directory is that of a log that was closed, and must be complete to
	// the byte.
	Live bool
	// MaxPending is how old an intent without outcome may be before a warning.
	// Default 15 minutes.
	MaxPending time.Duration
	// Entry, if not nil, sees every entry in order, and Head every head after
	// the entries under it. What they have seen is what was signed only if the
	// report is OK. The Stored's bytes must not be changed.
	Entry func(*Stored)
	Head  func(Head)
}

// NoIndex is the Index of a problem that no entry is concerned with.
const NoIndex = ^uint64(0)

// Problem is one thing that is wrong, or worth a look.
type Problem struct {
	Code   string // frame, signature, entry, segment, padding, spare, tile, checkpoint, heads, quarantine, missing, extra, open, end, known, origin, previous, log.json, intent
	File   string // relative to the directory; empty for the whole
	Offset int64  // bytes; -1 if it does not apply
	Index  uint64 // first entry concerned, or NoIndex
	Text   string
}

func (p Problem) String() string {
	s := p.Code
	if p.File != "" {
		s += " " + p.File
	}
	if p.Offset >= 0 {
		s += fmt.Sprintf(" offset %d", p.Offset)
	}
	if p.Index != NoIndex {
		s += fmt.Sprintf(" entry %d", p.Index)
	}
	return s + ": " + p.Text
}

// Report is what VerifyDir found.
type Report struct {
	Origin      string
	Previous    string     // final checkpoint of the shard before, as this one carries it; empty: none
	Head        SignedHead // last head whose frame holds
	Entries     uint64
	Frames      int
	Segments    int
	Checkpoints int
	Tiles       int
	Problems    []Problem // each of them makes the log fail
	Warnings    []Problem

	pending []pending       // intents that the warnings "intent" are about
	late    map[string]bool // intents of earlier shards, or their exchanges, that have an outcome here
}

// OK tells whether nothing is wrong.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// VerifyDir checks a log's directory offline, without changing it: every
// signature, every hash, every derived file, and that there is nothing else.
// Any changed, missing or additional byte is a problem. The error wraps
// ErrDamaged if the report has problems, so nil means verified; it is another
// one if the directory could not be read or ctx ended.
//
// What no copy of the files can show is that the whole tail is missing
// together with everything that names it: give MinSize or Known for that.
func VerifyDir(ctx context.Context, dir string, o VerifyOptions) (Report, error) {
	v := newVerifier(dir, o)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return v.report, fmt.Errorf("audit: %s is not a directory", dir)
	}
	if err := v.run(ctx); err != nil {
		return v.report, err
	}
	if !v.report.OK() {
		return v.report, fmt.Errorf("%w: %d problems, the first: %s", ErrDamaged, len(v.report.Problems), v.report.Problems[0])
	}
	return v.report, nil
}

type verifier struct {
	dir    string
	o      VerifyOptions
	report Report
	d      *directory

	// Derived files are read before the segments, so that those of a running
	// log are at least as new as what is derived from them.
	derived map[string][]byte

	published   uint64          // size of the checkpoint
	heads       map[uint64]Head // of all frames, by size
	sigs        map[uint64][]byte
	tiles       *tileStore // all hashes, in memory
	lastTime    int64
	lastOp      Op
	intents     map[string]pending
	quarantined map[string]Quarantined // by name, from log.recovered
}

func newVerifier(dir string, o VerifyOptions) *verifier {
	if o.MaxPending == 0 {
		o.MaxPending = 15 * time.Minute
	}
	return &verifier{dir: dir, o: o, tiles: &tileStore{}, heads: make(map[uint64]Head), intents: make(map[string]pending), quarantined: make(map[string]Quarantined), report: Report{late: make(map[string]bool)}}
}

func (v *verifier) problem(code, file string, offset int64, index uint64, format string, a ...any) {
	v.report.Problems = append(v.report.Problems, Problem{code, file, offset, index, fmt.Sprintf(format, a...)})
}

func (v *verifier) warn(code, file string, index uint64, format string, a ...any) {
	v.report.Warnings = append(v.report.Warnings, Problem{code, file, -1, index, fmt.Sprintf(format, a...)})
}

func (v *verifier) run(ctx context.Context) error {
	if opened, err := v.open(); !opened {
		return err
	}
	whole, err := v.segments(ctx)
	if err == nil {
		v.judge(whole)
	}
	return err
}

// open reads all files but the segments, and tells whether log.json is good.
func (v *verifier) open() (bool, error) {
	if err := v.snapshot(); err != nil {
		return false, err
	}
	d, err := openDir(v.dir, v.o.Keys)
	switch {
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrSignature), errors.Is(err, fs.ErrNotExist):
		v.problem("log.json", nameMeta, -1, NoIndex, "%v", err)
		return false, nil
	case err != nil:
		return false, err
	}
	v.d, v.report.Origin, v.report.Previous = d, d.meta.Origin, d.meta.Previous
	if v.o.Origin != "" && v.o.Origin != d.meta.Origin {
		v.problem("origin", nameMeta, -1, NoIndex, "log is %s, not %s", d.meta.Origin, v.o.Origin)
	}
	v.lastTime = d.meta.Created
	return true, nil
}

// judge holds all other files against the segments.
func (v *verifier) judge(whole bool) {
	v.report.Entries = v.d.chain.last.Size
	if v.d.sig != nil {
		v.report.Head = v.d.head()
	}
	if whole { // otherwise everything else follows from the first damage
		v.ends()
		v.checkpoints()
		v.checkTiles()
		v.quarantine()
		v.pendingIntents()
	} else {
		v.leaveDerived()
	}
	v.names()
	v.against()
}

// snapshot reads all files but the segments.
func (v *verifier) snapshot() error {
	v.derived = make(map[string][]byte)
	err := filepath.WalkDir(v.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if v.o.Live && errors.Is(err, fs.ErrNotExist) {
				return nil // replaced while we were looking
			}
			return err
		}
		rel, err := filepath.Rel(v.dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if e.IsDir() {
			if !strings.Contains(rel, "/") && !ownDirectory(rel) {
				v.problem("extra", rel, -1, NoIndex, "directory does not belong to the log")
			}
			return nil
		}
		if base, ok := strings.CutPrefix(rel, nameWAL+"/"); ok && isSegment(base) {
			return nil
		}
		if !e.Type().IsRegular() {
			v.problem("extra", rel, -1, NoIndex, "not a regular file")
			return nil
		}
		b, err := os.ReadFile(path)
		if v.o.Live && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		v.derived[rel] = b
		return nil
	})
	if err != nil {
		return fmt.Errorf("audit: reading log: %w", err)
	}
	return nil
}

func ownDirectory(name string) bool {
	return name == "." || name == nameWAL || name == nameTile || name == nameQuarantine || name == filepath.Dir(nameLastHead)
}

// take hands a file of the snapshot out once; what is left at the end is extra.
func (v *verifier) take(name string) ([]byte, bool) {
	b, ok := v.derived[name]
	delete(v.derived, name)
	return b, ok
}

// leaveDerived passes over what only a whole log could be compared with.
func (v *verifier) leaveDerived() {
	for name := range v.derived {
		top, _, _ := strings.Cut(name, "/")
		if top == nameTile || top == nameQuarantine || name == nameLastHead || name == nameCheckpoint || name == nameCheckpoints {
			v.take(name)
		}
	}
}

// names finds what does not belong into the directory.
func (v *verifier) names() {
	v.take(nameMeta)
	if lock, ok := v.take(nameLock); !ok {
		v.problem("missing", nameLock, -1, NoIndex, "file is missing")
	} else if len(lock) > 0 {
		v.problem("extra", nameLock, 0, NoIndex, "file is not empty")
	}
	spare, ok := v.take(nameWAL + "/" + spareName)
	switch {
	case !ok && !v.o.Live:
		v.problem("missing", nameWAL+"/"+spareName, -1, NoIndex, "spare segment is missing")
	case ok && (int64(len(spare)) != v.d.meta.Segment || !allZero(spare)) && !v.becameSegment(spare):
		v.problem("spare", nameWAL+"/"+spareName, int64(firstNonZero(spare)), NoIndex, "spare segment is not %d zeros", v.d.meta.Segment)
	}
	for _, name := range slices.Sorted(maps.Keys(v.derived)) {
		if v.o.Live && (strings.HasSuffix(name, ".tmp") || name == nameTile+"/tmp") {
			continue
		}
		if _, err := os.Lstat(filepath.Join(v.dir, name)); v.o.Live && errors.Is(err, fs.ErrNotExist) {
			continue // a partial tile that was replaced meanwhile
		}
		v.problem("extra", name, -1, NoIndex, "file does not belong to the log")
	}
}

// becameSegment: a running log may have made the spare its live segment
// between our reading its name and its content.
func (v *verifier) becameSegment(spare []byte) bool {
	_, err := parseFrame(v.d.meta.Origin, spare)
	return v.o.Live && err == nil
}

func firstNonZero(b []byte) int {
	for i, c := range b {
		if c != 0 {
			return i
		}
	}
	return len(b)
}

// against holds the log against what the auditor knows of it.
func (v *verifier) against() {
	size := v.report.Entries
	if size < v.o.MinSize {
		v.problem("known", "", -1, size, "log has %d entries, at least %d were known", size, v.o.MinSize)
	}
	if len(v.o.Known) == 0 {
		return
	}
	known, err := ParseCheckpoint(v.o.Known)
	if err == nil {
		err = known.Verify(v.d.pub)
	}
	switch {
	case err != nil:
		v.problem("known", "", -1, NoIndex, "the known checkpoint is not of this log: %v", err)
	case known.Origin != v.report.Origin:
		v.problem("known", "", -1, NoIndex, "the known checkpoint is of %s", known.Origin)
	case known.Size > size:
		v.problem("known", "", -1, size, "log has %d entries, the known checkpoint %d", size, known.Size)
	default:
		if h, ok := v.heads[known.Size]; !ok || h.digest() != known.digest() {
			v.problem("known", "", -1, NoIndex, "log never had the known head of size %d", known.Size)
		}
	}
}

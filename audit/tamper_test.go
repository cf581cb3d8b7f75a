package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// smallLog makes a closed log of a few batches in two segments of 4 KiB,
// one of them after a recovery.
func smallLog(t testing.TB, key testKey) string {
	t.Helper()
	dir := t.TempDir()
	cfg := testConfig(dir, key)
	cfg.SegmentSize = 4 << 10
	l := openTest(t, cfg)
	if _, err := l.Append(context.Background(), testEntry(1), testEntry(2)); err != nil {
		t.Fatal(err)
	}
	closeTest(t, l)
	seg := filepath.Join(dir, nameWAL, segmentName(0))
	b := readTest(t, seg)
	copy(b[alignUp(int64(lastNonZero(b))):], "AUB1 half a batch")
	writeTest(t, seg, b)
	l = openTest(t, cfg)
	appendTest(t, l, 1)
	closeTest(t, l)
	if r := verifyTest(t, dir, key, VerifyOptions{}); r.Segments != 2 {
		t.Fatalf("%d segments, want 2", r.Segments)
	}
	return dir
}

func readTest(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeTest(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func filesOf(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			out[rel], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// found tells whether verification fails and names the file.
func found(dir string, key testKey, file string) (Report, bool) {
	r, err := VerifyDir(context.Background(), dir, VerifyOptions{Keys: keysOf(key)})
	if err == nil || r.OK() {
		return r, false
	}
	for _, p := range r.Problems {
		if p.File == file {
			return r, true
		}
	}
	return r, false
}

func TestMissingShortenedLengthenedAndAdditionalFilesAreFound(t *testing.T) {
	key := newKey(t)
	dir := smallLog(t, key)
	for file, b := range filesOf(t, dir) {
		for what, change := range map[string]func(name string) error{
			"missing":    os.Remove,
			"longer":     func(n string) error { return os.WriteFile(n, append(bytes.Clone(b), 0), 0o600) },
			"newline":    func(n string) error { return os.WriteFile(n, append(bytes.Clone(b), '\n'), 0o600) },
			"shorter":    func(n string) error { return os.WriteFile(n, b[:max(len(b)-1, 0)], 0o600) },
			"empty":      func(n string) error { return os.WriteFile(n, nil, 0o600) },
			"additional": func(n string) error { return os.WriteFile(n+".bak", b, 0o600) },
			"directory":  func(n string) error { return errors.Join(os.Remove(n), os.Mkdir(n, 0o700)) },
		} {
			if len(b) == 0 && (what == "shorter" || what == "empty") {
				continue // LOCK is empty
			}
			mine := copyDir(t, dir)
			if err := change(filepath.Join(mine, file)); err != nil {
				t.Fatal(err)
			}
			name := file
			if what == "additional" {
				name += ".bak"
			}
			if what == "missing" && file == filepath.Join(nameWAL, segmentName(7)) {
				name = nameCheckpoint // nothing else tells that a last segment was there
			}
			if r, ok := found(mine, key, name); !ok {
				t.Errorf("%s %s: not found: %v", file, what, r.Problems)
			}
		}
	}
}

// frameAt finds the n-th frame of a segment, or the n-th from the end.
func frameAt(t testing.TB, seg []byte, n int) (from, to int64) {
	t.Helper()
	var starts []int64
	off := int64(0)
	for {
		f, err := parseFrame(testOrigin, seg[off:])
		if err != nil {
			break
		}
		starts = append(starts, off)
		off += f.length
	}
	starts = append(starts, off)
	if n < 0 {
		n += len(starts) - 1
	}
	return starts[n], starts[n+1]
}

// reseal rewrites a frame's checksums, which need no key.
func reseal(frame []byte) {
	binary.BigEndian.PutUint32(frame[headerLen-4:], crc32.Checksum(frame[:headerLen-4], castagnoli))
	body := int(binary.BigEndian.Uint32(frame[20:]))
	at := headerLen + body + headLen
	end := at + 2 + int(binary.BigEndian.Uint16(frame[at:]))
	binary.BigEndian.PutUint32(frame[end:], crc32.Checksum(frame[:end], castagnoli))
}

func TestTamperingIsFound(t *testing.T) {
	key, rogue := newKey(t), newKey(t)
	original := t.TempDir()
	cfg := testConfig(original, key)
	cfg.SegmentSize = 64 << 10
	l := openTest(t, cfg)
	if _, err := l.Append(context.Background(), testEntry(1), testEntry(2), testEntry(3)); err != nil {
		t.Fatal(err)
	}
	appendTest(t, l, 3)
	closeTest(t, l)
	first := readTest(t, filepath.Join(original, nameWAL, segmentName(0)))

	segment := func(change func(seg []byte) []byte) func(dir string) {
		return func(dir string) {
			name := filepath.Join(dir, nameWAL, segmentName(0))
			writeTest(t, name, change(bytes.Clone(first)))
		}
	}
	tests := []struct {
		name   string
		tamper func(dir string)
		code   string
	}{
		{"last batch dropped", segment(func(seg []byte) []byte {
			from, to := frameAt(t, seg, -1)
			clear(seg[from:to])
			return seg
		}), "end"},
		{"batch in the middle dropped", segment(func(seg []byte) []byte {
			from, to := frameAt(t, seg, 2)
			copy(seg[from:], append(bytes.Clone(seg[to:]), make([]byte, to-from)...))
			return seg
		}), "frame"},
		{"two batches exchanged", segment(func(seg []byte) []byte {
			a, b := frameAt(t, seg, 2)
			_, c := frameAt(t, seg, 3)
			copy(seg[a:], append(bytes.Clone(seg[b:c]), seg[a:b]...))
			return seg
		}), "frame"},
		{"batch repeated", segment(func(seg []byte) []byte {
			from, to := frameAt(t, seg, -1)
			copy(seg[to:], seg[from:to])
			return seg
		}), "frame"},
		{"entry changed, checksums renewed", segment(func(seg []byte) []byte {
			from, to := frameAt(t, seg, 1)
			at := bytes.Index(seg[from:to], []byte("clerk-7"))
			copy(seg[int(from)+at:], "clerk-8")
			reseal(seg[from:to])
			return seg
		}), "frame"},
		{"open half changed, checksums renewed", segment(func(seg []byte) []byte {
			from, to := frameAt(t, seg, 1)
			at := bytes.Index(seg[from:to], []byte("FOUND"))
			copy(seg[int(from)+at:], "Found")
			reseal(seg[from:to])
			return seg
		}), "frame"},
		{"entries exchanged, checksums renewed", segment(func(seg []byte) []byte {
			from, to := frameAt(t, seg, 1)
			body := seg[int(from)+headerLen : to]
			n := 4 + int(binary.BigEndian.Uint32(body))
			m := 4 + int(binary.BigEndian.Uint32(body[n:]))
			copy(body, append(bytes.Clone(body[n:n+m]), body[:n]...))
			reseal(seg[from:to])
			return seg
		}), "frame"},
		{"head signed by another key", segment(func(seg []byte) []byte {
			from, to := frameAt(t, seg, -1)
			f, err := parseFrame(testOrigin, seg[from:])
			if err != nil {
				t.Fatal(err)
			}
			sig, err := rogue.SignMessage(f.head.Text())
			if err != nil {
				t.Fatal(err)
			}
			at := headerLen + int(binary.BigEndian.Uint32(seg[from+20:])) + headLen
			head := bytes.Clone(seg[from : int(from)+at-headLen])
			clear(seg[from:to])
			copy(seg[from:], finishFrame(head, f.head, sig))
			return seg
		}), "signature"},
		{"every head signed by another key, checkpoints too", func(dir string) {
			segment(func(seg []byte) []byte { return resignAll(t, seg, rogue) })(dir)
			r, err := VerifyDir(context.Background(), dir, VerifyOptions{Keys: keysOf(key)})
			if err == nil || len(r.Problems) < r.Frames {
				t.Errorf("%d frames, but only %v", r.Frames, r.Problems)
			}
		}, "signature"},
		{"last two batches dropped", segment(func(seg []byte) []byte {
			from, _ := frameAt(t, seg, -2)
			_, to := frameAt(t, seg, -1)
			clear(seg[from:to])
			return seg
		}), "end"},
		{"all batches but the first dropped", segment(func(seg []byte) []byte {
			_, from := frameAt(t, seg, 0)
			clear(seg[from:])
			return seg
		}), "heads"},
		{"last batches dropped, and the checkpoints behind them", func(dir string) {
			segment(func(seg []byte) []byte {
				from, _ := frameAt(t, seg, -3)
				clear(seg[from:])
				return seg
			})(dir)
			publishAgain(t, dir, key)
		}, "end"},
		{"signature removed", segment(func(seg []byte) []byte {
			from, to := frameAt(t, seg, -1)
			f, _ := parseFrame(testOrigin, seg[from:])
			head := bytes.Clone(seg[from : int(from)+headerLen+int(binary.BigEndian.Uint32(seg[from+20:]))])
			clear(seg[from:to])
			copy(seg[from:], finishFrame(head, f.head, nil))
			return seg
		}), "signature"},
		{"whole log made again by another key", func(dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			l := openTest(t, testConfig(dir, rogue))
			appendTest(t, l, 6)
			closeTest(t, l)
		}, "log.json"},
		{"all segments removed", func(dir string) { os.RemoveAll(filepath.Join(dir, nameWAL)) }, "log.json"},
		{"checkpoint removed", func(dir string) { os.Remove(filepath.Join(dir, nameCheckpoint)) }, "missing"},
		{"older checkpoint put back", func(dir string) {
			var note []byte
			readCheckpoints(readTest(t, filepath.Join(dir, nameCheckpoints)), func(n uint64, _ int64, b []byte) error {
				if n == 0 {
					note = bytes.Clone(b)
				}
				return nil
			})
			writeTest(t, filepath.Join(dir, nameCheckpoint), note)
			writeTest(t, filepath.Join(dir, nameLastHead), note)
		}, "checkpoint"},
		{"first record of checkpoints.log removed", func(dir string) {
			name := filepath.Join(dir, nameCheckpoints)
			b := readTest(t, name)
			writeTest(t, name, b[bytes.Index(b, []byte("checkpoint 1 ")):])
		}, "checkpoint"},
		{"checkpoints.log removed", func(dir string) { os.Remove(filepath.Join(dir, nameCheckpoints)) }, "missing"},
		{"tile of another log", func(dir string) {
			name := filepath.Join(dir, "tile/0/000.p/8")
			b := readTest(t, name)
			copy(b, b[32:64])
			writeTest(t, name, b)
		}, "tile"},
		{"additional file", func(dir string) { writeTest(t, filepath.Join(dir, "wal/notes.txt"), []byte("x")) }, "extra"},
		{"additional segment of zeros", func(dir string) {
			writeTest(t, filepath.Join(dir, "wal", segmentName(99)), make([]byte, 64<<10))
		}, "missing"},
		{"short segment name", func(dir string) { writeTest(t, filepath.Join(dir, "wal/7.seg"), nil) }, "extra"},
		{"additional directory", func(dir string) { os.Mkdir(filepath.Join(dir, "spare"), 0o700) }, "extra"},
		{"symbolic link", func(dir string) { os.Symlink("/dev/null", filepath.Join(dir, "heads/link")) }, "extra"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyDir(t, original)
			tt.tamper(dir)
			r, err := VerifyDir(context.Background(), dir, VerifyOptions{Keys: keysOf(key)})
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("not found: %v", err)
			}
			var codes []string
			for _, p := range r.Problems {
				codes = append(codes, p.Code)
			}
			if !strings.Contains(" "+strings.Join(codes, " ")+" ", " "+tt.code+" ") {
				t.Errorf("want a problem %q, got %v", tt.code, r.Problems)
			}
		})
	}
}

// resignAll replaces the signatures of all frames, and chains them anew.
func resignAll(t *testing.T, seg []byte, key testKey) []byte {
	t.Helper()
	out := make([]byte, 0, len(seg))
	for off := int64(0); ; {
		f, err := parseFrame(testOrigin, seg[off:])
		if err != nil {
			return append(out, make([]byte, len(seg)-len(out))...)
		}
		sig, err := key.SignMessage(f.head.Text())
		if err != nil {
			t.Fatal(err)
		}
		body := int(binary.BigEndian.Uint32(seg[off+20:]))
		frame := finishFrame(bytes.Clone(seg[off:off+int64(headerLen+body)]), f.head, sig)
		out = append(out, frame...)
		off += f.length
	}
}

// publishAgain makes the derived files those of what the segments still hold,
// as somebody with write access can, who has no key.
func publishAgain(t *testing.T, dir string, key testKey) {
	t.Helper()
	d, err := openDir(dir, keysOf(key))
	if err != nil {
		t.Fatal(err)
	}
	store := &tileStore{fs: osFiles{}, dir: dir, partial: make(map[int]string)}
	if err := d.frames(func(f *frame, _ string, _ int64) error {
		return d.chain.follow(f, nil, func(level uint, _ uint64, h *Hash) { store.add(level, *h) })
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, nameTile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, nameTile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := store.restore(d.chain.last.Size); err != nil {
		t.Fatal(err)
	}
	note, err := d.head().MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	writeTest(t, filepath.Join(dir, nameCheckpoint), note)
	writeTest(t, filepath.Join(dir, nameLastHead), note)
	writeTest(t, filepath.Join(dir, nameCheckpoints), checkpointRecord(0, note))
}

func TestExchangedTilesAreFound(t *testing.T) {
	key := newKey(t)
	dir := t.TempDir()
	cfg := testConfig(dir, key)
	cfg.SegmentSize = 1 << 20
	l := openTest(t, cfg)
	entries := make([]Entry, 600)
	for i := range entries {
		entries[i] = testEntry(i)
	}
	if _, err := l.Append(context.Background(), entries...); err != nil {
		t.Fatal(err)
	}
	closeTest(t, l)
	verifyTest(t, dir, key, VerifyOptions{})
	a, b := filepath.Join(dir, "tile/0/000"), filepath.Join(dir, "tile/0/001")
	first, second := readTest(t, a), readTest(t, b)
	writeTest(t, a, second)
	writeTest(t, b, first)
	r, err := VerifyDir(context.Background(), dir, VerifyOptions{Keys: keysOf(key)})
	if !errors.Is(err, ErrDamaged) || len(r.Problems) != 2 || r.Problems[0].Code != "tile" || r.Problems[0].Index != 0 || r.Problems[1].Index != 256 {
		t.Errorf("%v: %v", err, r.Problems)
	}
}

// A log rewound consistently, with everything that named its end, is still
// found by whoever remembers a size or a checkpoint.
func TestRewoundLogIsFoundByAnOlderCheckpoint(t *testing.T) {
	key := newKey(t)
	dir := t.TempDir()
	cfg := testConfig(dir, key)
	l := openTest(t, cfg)
	appendTest(t, l, 2)
	closeTest(t, l)
	rewound := copyDir(t, dir)
	l = openTest(t, cfg)
	appendTest(t, l, 2)
	known, _ := l.Head().MarshalText()
	size := l.Head().Size
	closeTest(t, l)
	verifyTest(t, dir, key, VerifyOptions{Known: known, MinSize: size})
	verifyTest(t, rewound, key, VerifyOptions{}) // nothing in the files tells
	for name, o := range map[string]VerifyOptions{"size": {MinSize: size}, "checkpoint": {Known: known}} {
		o.Keys = keysOf(key)
		if r, err := VerifyDir(context.Background(), rewound, o); err == nil || r.Problems[0].Code != "known" {
			t.Errorf("%s: %v", name, r.Problems)
		}
	}
	// A fork: the same beginning, continued otherwise.
	fork := openTest(t, testConfig(rewound, key))
	appendTest(t, fork, 9)
	closeTest(t, fork)
	if r, err := VerifyDir(context.Background(), rewound, VerifyOptions{Keys: keysOf(key), Known: known}); err == nil {
		t.Errorf("fork not found: %+v", r)
	}
}

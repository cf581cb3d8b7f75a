package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// changed is one change to one byte.
type changed struct {
	file string
	at   int
	mask byte
}

func TestEveryFlippedByteOfTheDirectoryIsFoundAndNamed(t *testing.T) {
	key := newKey(t)
	dir := smallLog(t, key)
	files := filesOf(t, dir)
	structure := structureOf(files[nameWAL+"/"+segmentName(0)])
	flips := make(chan changed, 64)
	var wg sync.WaitGroup
	for range 2 {
		short := newShortcut(t, copyDir(t, dir), key)
		wg.Go(func() {
			for p := range flips {
				if err := short.flip(p, files[p.file]); err != nil {
					t.Errorf("%s offset %d changed by %02x: %v", p.file, p.at, p.mask, err)
				}
			}
		})
	}
	places, count := 0, 0
	for file, b := range files {
		for at, zeroRun := 0, 0; at < len(b) && !t.Failed(); at++ {
			if zeroRun++; b[at] != 0 {
				zeroRun = 0
			}
			masks := flipMasks(at, zeroRun > 40, file == nameWAL+"/"+segmentName(0) && structure[at])
			for _, mask := range masks {
				flips <- changed{file, at, mask}
			}
			places, count = places+min(len(masks), 1), count+len(masks)
		}
	}
	close(flips)
	wg.Wait()
	if places < leastPlaces && !t.Failed() {
		t.Errorf("only %d bytes changed", places)
	}
	t.Logf("%d bytes changed, in %d ways", places, count)
}

// shortcut verifies a directory again after a change to one file. One bit of
// every byte goes all the way; for the others, what the verifier has to do before
// it comes to that file is done once for all of them.
type shortcut struct {
	dir            string
	key            testKey
	opened, judged *verifier // before the segments, and after them
}

func newShortcut(t *testing.T, dir string, key testKey) *shortcut {
	t.Helper()
	s := &shortcut{dir: dir, key: key, opened: newVerifier(dir, VerifyOptions{Keys: keysOf(key)})}
	if ok, err := s.opened.open(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	s.judged = s.again(s.opened)
	if ok, err := s.judged.segments(t.Context()); !ok || err != nil {
		t.Fatal(ok, err, s.judged.report.Problems)
	}
	unchanged := s.again(s.judged)
	if unchanged.judge(true); !unchanged.report.OK() {
		t.Fatal(unchanged.report.Problems)
	}
	return s
}

// again is a verifier that goes on from where another one is, and leaves that as it is.
func (s *shortcut) again(from *verifier) *verifier {
	v, d := *from, *from.d
	v.d, v.derived, v.heads = &d, maps.Clone(from.derived), maps.Clone(from.heads)
	v.intents, v.quarantined = maps.Clone(from.intents), maps.Clone(from.quarantined)
	if from.d.chain.last.Size == 0 {
		v.tiles = &tileStore{}
	}
	return &v
}

// flip changes a byte, verifies, and changes it back.
func (s *shortcut) flip(p changed, before []byte) error {
	after := bytes.Clone(before)
	after[p.at] ^= p.mask
	if _, derived := s.opened.derived[p.file]; derived && p.file != nameMeta && p.mask != 1<<(p.at%8) {
		v := s.again(s.judged)
		v.derived[p.file] = after
		v.judge(true)
		return p.found(v.report, before)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, p.file), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(after[p.at:p.at+1], int64(p.at)); err != nil {
		return err
	}
	r, err := s.verify(p)
	if err == nil {
		err = p.found(r, before)
	}
	_, undone := f.WriteAt(before[p.at:p.at+1], int64(p.at))
	return errors.Join(err, undone)
}

func (s *shortcut) verify(p changed) (Report, error) {
	if name, ok := strings.CutPrefix(p.file, nameWAL+"/"); !ok || !isSegment(name) || p.mask == 1<<(p.at%8) {
		r, err := VerifyDir(context.Background(), s.dir, VerifyOptions{Keys: keysOf(s.key)})
		if !errors.Is(err, ErrDamaged) {
			return r, fmt.Errorf("not found: %w", err)
		}
		return r, nil
	}
	v := s.again(s.opened)
	whole, err := v.segments(context.Background())
	v.judge(whole)
	return v.report, err
}

// structureOf are the bytes of a segment's first frame that are not its
// entries' or its signature's own: header, lengths, head and checksum.
func structureOf(seg []byte) map[int]bool {
	body := int(binary.BigEndian.Uint32(seg[20:]))
	head := headerLen + body
	crc := head + headLen + 2 + int(binary.BigEndian.Uint16(seg[head+headLen:]))
	at := make(map[int]bool)
	for _, part := range [][2]int{{0, headerLen + 4}, {head, head + headLen + 2}, {crc, crc + 4}} {
		for i := part[0]; i < part[1]; i++ {
			at[i] = true
		}
	}
	return at
}

// found compares the place that a report names with the one that was changed:
// a frame, a record, or the byte itself.
func (p changed) found(r Report, before []byte) error {
	if r.OK() {
		return errors.New("not found")
	}
	if !strings.HasPrefix(p.file, nameWAL+"/") {
		if !slices.ContainsFunc(r.Problems, func(q Problem) bool { return q.File == p.file }) {
			return fmt.Errorf("the file is not named: %v", r.Problems)
		}
		return nil
	}
	from, to := int64(p.at)&^(frameAlign-1), int64(p.at) // behind the frames, a sector that is not zero
	for off := int64(0); off < int64(len(before)); {
		f, err := parseFrame(testOrigin, before[off:])
		if err != nil {
			break
		}
		if off <= int64(p.at) && int64(p.at) < off+f.length {
			from, to = off, off+f.length-1
		}
		off += f.length
	}
	if !slices.ContainsFunc(r.Problems, func(q Problem) bool { return q.File == p.file && q.Offset >= from && q.Offset <= to }) {
		return fmt.Errorf("the place is not named: %v", r.Problems)
	}
	return nil
}

// threeBatches is the directory of a log that crashed with three batches in
// its segment, that segment, and where each batch ends in it.
func threeBatches(t *testing.T, key testKey, published bool) (dir string, seg []byte, ends [3]int64) {
	t.Helper()
	at := t.TempDir()
	cfg := testConfig(at, key)
	cfg.SegmentSize, cfg.PublishEvery = 4<<10, time.Hour
	l := openTest(t, cfg) // its first entry is the first batch
	for _, batch := range [][]Entry{{testEntry(1), testEntry(2)}, {testEntry(3)}} {
		if _, err := l.Append(context.Background(), batch...); err != nil {
			t.Fatal(err)
		}
	}
	if published {
		if err := l.publish(l.Head(), true); err != nil {
			t.Fatal(err)
		}
	}
	seg = readTest(t, filepath.Join(at, nameWAL, segmentName(0)))
	for i := range ends {
		_, ends[i] = frameAt(t, seg, i)
	}
	return copyDir(t, at), seg, ends
}

// A segment file cut to any length is named, by the verifier and by recovery,
// which changes nothing.
func TestEveryTruncationOfASegmentIsFound(t *testing.T) {
	key := newKey(t)
	dir, whole, _ := threeBatches(t, key, false)
	name := nameWAL + "/" + segmentName(0)
	for n := 0; n < len(whole); n += truncateStep {
		writeTest(t, filepath.Join(dir, name), whole[:n])
		r, err := VerifyDir(context.Background(), dir, VerifyOptions{Keys: keysOf(key), Live: true})
		if !errors.Is(err, ErrDamaged) || r.Problems[0].Code != "segment" || r.Problems[0].File != name || r.Problems[0].Offset != int64(n) {
			t.Fatalf("cut to %d of %d: %v", n, len(whole), r.Problems)
		}
		if _, err := reopen(t, dir, key); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d: recovery says %v", n, err)
		}
		if got := readTest(t, filepath.Join(dir, name)); !bytes.Equal(got, whole[:n]) {
			t.Fatalf("cut to %d: recovery changed it", n)
		}
	}
}

// What was written is lost from any byte on, and reads as zeros: as much of it
// as a power cut can have torn is moved aside, and the batches before it are
// whole; where a published head shows that more was durable, it is damage.
func TestEveryLengthOfAWriteIsRecoveredOrRefused(t *testing.T) {
	key := newKey(t)
	for _, published := range []bool{false, true} {
		dir, seg, ends := threeBatches(t, key, published)
		sizes := [4]uint64{0, 1, 3, 4} // after so many batches
		durable := 1                   // batches: the first one's head is published before anybody can append
		if published {
			durable = 3
		}
		for n := int64(0); n <= ends[2]; n += writtenStep {
			whole, torn := 0, false
			for i, end := range ends {
				if whole == i && allZero(seg[min(n, end):end]) {
					whole = i + 1
				}
			}
			left := append(bytes.Clone(seg[:n]), make([]byte, int64(len(seg))-n)...)
			if from := append([]int64{0}, ends[:]...)[whole]; !allZero(left[from:]) {
				torn = true
			}
			disk := newCrashFiles(filepath.Dir(crashRoot))
			disk.load(t, dir, crashRoot)
			disk.put(filepath.Join(crashRoot, nameWAL, segmentName(0)), left)
			l, err := OpenLog(context.Background(), crashConfig(disk, key, 0))
			if whole < durable {
				if !errors.Is(err, ErrDamaged) {
					t.Fatalf("published %v, %d of %d bytes: %v", published, n, ends[2], err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("published %v, %d of %d bytes: %v", published, n, ends[2], err)
			}
			var ops []Op
			if err := l.Read(context.Background(), sizes[whole], l.Head().Size, func(_ uint64, e Stored) error {
				ops = append(ops, e.Entry.Open.Op)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			want := []Op{OpLogStart}
			if torn {
				want = []Op{OpLogRecovered, OpLogStart}
			}
			if !slices.Equal(ops, want) {
				t.Fatalf("published %v, %d of %d bytes: log goes on with %v, want %v", published, n, ends[2], ops, want)
			}
			closeTest(t, l)
		}
	}
}

// Sectors of the last batch are lost or replaced by rubbish, any of them.
func TestTornSectorsAreRecovered(t *testing.T) {
	key := newKey(t)
	dir, data, ends := threeBatches(t, key, false)
	from, sectors := ends[1], (ends[2]-ends[1])/sector
	for seed := range uint64(tornSeeds) {
		rng := rand.New(rand.NewPCG(seed, 12))
		seg := bytes.Clone(data)
		for s := range sectors {
			part := seg[from+s*sector:][:sector]
			switch rng.IntN(3) {
			case 0:
				clear(part)
			case 1:
				for i := range part[:rng.IntN(sector)] {
					part[i] = byte(rng.Uint32())
				}
			}
		}
		disk := newCrashFiles(filepath.Dir(crashRoot))
		disk.load(t, dir, crashRoot)
		disk.put(filepath.Join(crashRoot, nameWAL, segmentName(0)), seg)
		l, err := OpenLog(context.Background(), crashConfig(disk, key, 0))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if l.Head().Size < 4 { // three of the batches before, log.start
			t.Fatalf("seed %d: log has %d entries", seed, l.Head().Size)
		}
		closeTest(t, l)
	}
}

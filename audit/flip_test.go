package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
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
		mine := copyDir(t, dir)
		wg.Go(func() {
			for p := range flips {
				name := filepath.Join(mine, p.file)
				b := bytes.Clone(files[p.file])
				b[p.at] ^= p.mask
				if err := errors.Join(os.WriteFile(name, b, 0o600), p.check(mine, key, files[p.file]), os.WriteFile(name, files[p.file], 0o600)); err != nil {
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

// check verifies, and compares the place that is named with the one that was
// changed: a frame, a record, or the byte itself.
func (p changed) check(dir string, key testKey, before []byte) error {
	r, err := VerifyDir(context.Background(), dir, VerifyOptions{Keys: keysOf(key)})
	if !errors.Is(err, ErrDamaged) || r.OK() {
		return errors.New("not found")
	}
	if !strings.HasPrefix(p.file, nameWAL+"/") {
		if !slices.ContainsFunc(r.Problems, func(q Problem) bool { return q.File == p.file }) {
			return errors.New("the file is not named: " + err.Error())
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
		return errors.New("the place is not named: " + err.Error())
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

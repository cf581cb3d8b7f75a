package audit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// crashSeeds is how many power cuts the quick tier survives; the integration
// tier makes 10,000 of them.
const crashSeeds = 150

// Wherever the power goes, and whatever of the unsynced sectors and names the
// disk keeps: every acknowledged entry is there again, at its place, the log
// goes on, and what it then is verifies to the byte.
func TestPowerCutsLoseNothingAcknowledged(t *testing.T) { survivePowerCuts(t, crashSeeds) }

func survivePowerCuts(t *testing.T, seeds uint64) {
	key := newKey(t)
	var wg sync.WaitGroup
	for worker := range uint64(4) {
		wg.Go(func() {
			for seed := worker; seed < seeds && !t.Failed(); seed += 4 {
				if err := survive(t, key, seed); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	wg.Wait()
}

const crashRoot = "/var/audit"

// acks are the acknowledged entries: leaf by index.
type acks struct {
	mu    sync.Mutex
	leafs map[uint64]Hash
}

func (a *acks) add(receipts []Receipt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range receipts {
		a.leafs[r.Index] = r.Leaf
	}
}

func (a *acks) copy() map[uint64]Hash {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := make(map[uint64]Hash, len(a.leafs))
	for i, l := range a.leafs {
		m[i] = l
	}
	return m
}

// survive runs a log through one to three power cuts, the later ones perhaps
// in the middle of the recovery from the one before.
func survive(t *testing.T, key testKey, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	resume := uint64(1 + seed%2<<20) // every other one resumes at whatever checkpoint there is
	disk, a := newCrashFiles(filepath.Dir(crashRoot)), &acks{leafs: map[uint64]Hash{}}
	for range 1 + rng.IntN(3) {
		disk.cutAt = 1 + rng.IntN(40<<rng.IntN(4))
		var after *crashFiles
		var before map[uint64]Hash
		disk.cut = func() { before, after = a.copy(), disk.crash(rng) }
		if err := run(crashConfig(disk, key, resume), rng, a); err != nil {
			return fmt.Errorf("before the cut: %w", err)
		}
		if after == nil { // it ended first
			disk.mu.Lock()
			before, after = a.copy(), disk.crash(rng)
			disk.mu.Unlock()
		}
		disk, a = after, &acks{leafs: before}
	}
	if err := check(crashConfig(disk, key, resume), a.leafs); err != nil {
		return err
	}
	if seed%25 != 0 {
		return nil
	}
	dir := t.TempDir()
	if err := disk.save(crashRoot, dir); err != nil {
		return err
	}
	_, err := VerifyDir(context.Background(), dir, VerifyOptions{Keys: keysOf(key)})
	return err
}

func crashConfig(disk *crashFiles, key testKey, resumeFrom uint64) Config {
	cfg := testConfig(crashRoot, key)
	cfg.SegmentSize, cfg.files, cfg.PublishEvery, cfg.resumeFrom = 4<<10, disk, time.Millisecond, resumeFrom
	return cfg
}

// run opens the log and has some writers append; what happens after the cut
// happens to a machine that is off.
func run(cfg Config, rng *rand.Rand, a *acks) error {
	writers, each := 1+rng.IntN(3), rng.IntN(12)
	l, err := OpenLog(context.Background(), cfg)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for n := range each {
				r, err := l.Append(context.Background(), testEntry(n))
				if err != nil {
					return // Close will say why
				}
				a.add(r)
			}
		})
	}
	wg.Wait()
	return l.Close()
}

// check recovers the log for good and looks for everything acknowledged.
func check(cfg Config, acked map[uint64]Hash) error {
	l, err := OpenLog(context.Background(), cfg)
	if err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	if l.behind != nil {
		if _, err := l.readBehind(); err != nil {
			return fmt.Errorf("what lies before the checkpoint resumed at: %w", err)
		}
	}
	for index, leaf := range acked {
		if r, err := l.Receipt(index); err != nil || r.Leaf != leaf {
			return fmt.Errorf("acknowledged entry %d is gone: %w", index, err)
		}
	}
	return l.Close()
}

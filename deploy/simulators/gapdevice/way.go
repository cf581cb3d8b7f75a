package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// rules are what the device does to files.
type rules struct {
	delay, jitter                      time.Duration
	drop, duplicate, reorder, truncate int // percent
	extensions                         []string
	maxSize, perScan                   int
	slow, forget, events               bool
}

// way is one direction.
type way struct {
	name, from, to string
	rules          rules
	random         *rand.Rand
	print          *printer
	held           []parcel
	made           int
}

// parcel is a file inside the device.
type parcel struct {
	file string
	data []byte
	due  time.Time
}

func (w *way) run(ctx context.Context, scan time.Duration) {
	ticker := time.NewTicker(scan)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			if !w.rules.forget {
				w.deliver(time.Now().Add(24 * time.Hour))
			}
			return
		case <-ticker.C:
			w.fetch(scan)
			w.deliver(time.Now())
		}
	}
}

// fetch takes the files that are ready.
func (w *way) fetch(scan time.Duration) {
	entries, err := os.ReadDir(w.from)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gapdevice:", err)
		return
	}
	taken := 0
	for _, e := range entries {
		if !slices.Contains(w.rules.extensions, filepath.Ext(e.Name())) || !e.Type().IsRegular() {
			continue
		}
		if w.rules.perScan > 0 && taken >= w.rules.perScan {
			return
		}
		taken++
		w.take(e.Name(), scan)
	}
}

func (w *way) take(file string, scan time.Duration) {
	path := filepath.Join(w.from, file)
	data, err := os.ReadFile(path)
	if err != nil {
		return // withdrawn meanwhile
	}
	if err := os.Remove(path); err != nil {
		fmt.Fprintln(os.Stderr, "gapdevice:", err)
		return
	}
	if len(data) > w.rules.maxSize {
		w.report("quarantine", file)
		return
	}
	// Every file costs the same number of draws, so that a seed means the
	// same whatever the rules are.
	drop, duplicate, reorder, truncate := w.hits(w.rules.drop), w.hits(w.rules.duplicate), w.hits(w.rules.reorder), w.hits(w.rules.truncate)
	share := w.random.Float64()
	if drop {
		w.report("drop", file)
		return
	}
	due := time.Now().Add(w.rules.delay + time.Duration(share*float64(w.rules.jitter)))
	if reorder {
		due = due.Add(time.Duration((2 + 8*share) * float64(scan)))
		w.report("reorder", file)
	}
	if duplicate {
		w.held = append(w.held, parcel{file, slices.Clone(data), due.Add(time.Duration((1 + 20*share) * float64(scan)))})
		w.report("duplicate", file)
	}
	if truncate {
		data = data[:int(share*float64(len(data)))]
		w.report("truncate", file)
	}
	w.held = append(w.held, parcel{file, data, due})
}

func (w *way) hits(percent int) bool { return w.random.IntN(100) < percent }

// deliver hands out what is due.
func (w *way) deliver(now time.Time) {
	keep := w.held[:0]
	for _, p := range w.held {
		if p.due.After(now) {
			keep = append(keep, p)
			continue
		}
		if err := w.put(p); err != nil {
			fmt.Fprintln(os.Stderr, "gapdevice:", err)
			keep = append(keep, p)
			continue
		}
		w.report("pass", p.file)
	}
	clear(w.held[len(keep):])
	w.held = keep
}

func (w *way) put(p parcel) error {
	final := filepath.Join(w.to, p.file)
	if w.rules.slow {
		return putSlowly(final, p.data)
	}
	// The extension of a file on the way is one that nobody waits for.
	w.made++
	part := final + "." + w.name + strconv.Itoa(w.made) + ".part"
	if err := os.WriteFile(part, p.data, 0o600); err != nil {
		return err
	}
	return os.Rename(part, final)
}

func putSlowly(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for piece := range slices.Chunk(data, max(1, len(data)/3)) {
		if _, err := f.Write(piece); err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

func (w *way) report(event, file string) {
	if w.rules.events {
		w.print.print(map[string]any{"event": event, "way": w.name, "file": file})
	}
}

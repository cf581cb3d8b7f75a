package spool

import (
	"os"
	"time"
)

// patience waits until a file that the device may still be writing has been
// left alone long enough to be whole.
type patience struct {
	link *Link
	seen map[string]looked
}

// looked is what a file looked like when it was last seen.
type looked struct {
	size  int64
	mtime time.Time
	since time.Time
}

func newPatience(l *Link) patience { return patience{l, map[string]looked{}} }

// over reports whether a file of in/ may be read.
func (p *patience) over(file string) bool {
	if p.link.cfg.Device.Atomic {
		return true
	}
	info, err := os.Lstat(p.link.dir.path("in", file))
	if err != nil {
		return false
	}
	seen, known := p.seen[file]
	if !known || seen.size != info.Size() || !seen.mtime.Equal(info.ModTime()) {
		p.seen[file] = looked{info.Size(), info.ModTime(), time.Now()}
		return false
	}
	return time.Since(seen.since) >= p.link.cfg.Device.StableFor
}

// forget drops what is known of files that are gone.
func (p *patience) forget(found []name) {
	if len(p.seen) <= 2*len(found)+64 {
		return
	}
	keep := map[string]looked{}
	for _, n := range found {
		file := n.file(p.link.cfg.Device.Extension)
		if seen, known := p.seen[file]; known {
			keep[file] = seen
		}
	}
	p.seen = keep
}

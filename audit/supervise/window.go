package supervise

// sixtieths is into how many parts a window's time is cut; it slides by one of them.
const sixtieths = 60

// maxGroups bounds the groups of one window, and its distinct values.
const maxGroups = 500_000

// window counts for each group. The zero value is empty. Its fields are the snapshot.
type window struct {
	Groups map[string]*group `json:"groups,omitempty"`
	swept  int64             // number of the slice in which old groups were last removed
}

// group is the count of one value of per.
type group struct {
	Slices []slice          `json:"s"`           // oldest first, none empty
	Seen   map[uint64]int64 `json:"d,omitempty"` // of distinct values: the slice each was last counted in
	Last   []uint64         `json:"e"`           // the newest entries, as evidence
}

// slice is the count of one sixtieth of the time.
type slice struct {
	At int64 `json:"a"` // number: log time over the slice's width
	N  int64 `json:"n"`
}

// evidence is how many entries a card names.
const evidence = 20

// add counts an entry and returns the group. width is of a slice, in
// microseconds. Without room for a new group it returns nil.
func (w *window) add(key string, ts, width int64, n int64, distinct string, index uint64) *group {
	at := ts / width
	g := w.Groups[key]
	if g == nil {
		if len(w.Groups) >= maxGroups && !w.sweep(at) {
			return nil
		}
		if w.Groups == nil {
			w.Groups = make(map[string]*group)
		}
		g = &group{}
		w.Groups[key] = g
	}
	g.expire(at)
	if distinct != "" {
		n = g.meet(distinct, at)
	}
	if k := len(g.Slices); k > 0 && g.Slices[k-1].At == at {
		g.Slices[k-1].N += n
	} else {
		g.Slices = append(g.Slices, slice{at, n})
	}
	if len(g.Last) == evidence {
		g.Last = g.Last[:copy(g.Last, g.Last[1:])]
	}
	g.Last = append(g.Last, index)
	return g
}

// expire forgets what lies before the window that ends with slice at.
func (g *group) expire(at int64) {
	old := 0
	for old < len(g.Slices) && g.Slices[old].At <= at-sixtieths {
		old++
	}
	g.Slices = g.Slices[:copy(g.Slices, g.Slices[old:])]
	if len(g.Slices) == 0 {
		g.Last = g.Last[:0]
	}
}

// meet takes up a distinct value: counted where it was seen last.
func (g *group) meet(value string, at int64) int64 {
	if g.Seen == nil {
		g.Seen = make(map[uint64]int64)
	}
	h := fnv1a(value)
	last, known := g.Seen[h]
	g.Seen[h] = at
	if known && last > at-sixtieths {
		for i := range g.Slices {
			if g.Slices[i].At == last {
				g.Slices[i].N--
			}
		}
	} else if len(g.Seen) > 1024 && int64(len(g.Seen)) > 4*g.total() {
		for v, s := range g.Seen {
			if s <= at-sixtieths {
				delete(g.Seen, v)
			}
		}
	}
	return 1
}

func (g *group) total() int64 {
	var n int64
	for _, s := range g.Slices {
		n += s.N
	}
	return n
}

// sweep removes groups that hold nothing any more and tells whether there is room now.
func (w *window) sweep(at int64) bool {
	if w.swept == at {
		return false
	}
	w.swept = at
	for k, g := range w.Groups {
		if len(g.Slices) == 0 || g.Slices[len(g.Slices)-1].At <= at-sixtieths {
			delete(w.Groups, k)
		}
	}
	return len(w.Groups) < maxGroups
}

// fnv1a is the same in every process, as a snapshot needs.
func fnv1a(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

package auditor

import (
	"fmt"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

// most is how many problems of one kind a report names for one shard.
const most = 100

// Day counts the entries of one day by the calendar of UTC+8.
type Day struct {
	Entries int              `json:"entries"`
	Ops     map[audit.Op]int `json:"ops"`
}

// scan looks at what VerifyDir reads of one shard: what is in the entries, and
// whether they are those that others have a word about.
type scan struct {
	o      *Options
	origin string
	days   map[string]Day
	found  []audit.Problem
	doubts []audit.Problem
	times  map[string]int // problems so far, by code

	day  string // of the last entry, and when it ends
	ends int64

	leaves map[uint64][]audit.Hash // that receipts claim, by index, until seen
	heads  map[uint64][]claim      // that witnesses and receipts claim, by size, until seen
	next   map[uint64]int64        // time of the first entry beyond a witnessed head, by its size
	stamps map[uint64]*stamped     // by size
	paused int64                   // µs in which the log was not running
	first  int64                   // time of the first entry
	last   int64                   // and of the last one
}

// claim is a head that somebody says the log has had.
type claim struct {
	head audit.Head
	code string
	who  string
}

func newScan(o *Options, origin string) *scan {
	s := &scan{o: o, origin: origin, days: make(map[string]Day), times: make(map[string]int),
		leaves: make(map[uint64][]audit.Hash), heads: make(map[uint64][]claim), next: make(map[uint64]int64), stamps: make(map[uint64]*stamped)}
	s.claims()
	return s
}

func (s *scan) problem(code string, index uint64, format string, a ...any) {
	if s.times[code]++; s.times[code] <= most {
		s.found = append(s.found, audit.Problem{Code: code, Offset: -1, Index: index, Text: fmt.Sprintf(format, a...)})
	}
}

func (s *scan) doubt(code string, index uint64, format string, a ...any) {
	if s.times[code]++; s.times[code] <= most {
		s.doubts = append(s.doubts, audit.Problem{Code: code, Offset: -1, Index: index, Text: fmt.Sprintf(format, a...)})
	}
}

func (s *scan) entry(e *audit.Stored) {
	s.count(e.Entry.Open)
	schema(e, s)
	s.personal(e)
	for _, leaf := range s.leaves[e.Index] {
		if leaf != e.Leaf {
			s.problem("receipt", e.Index, "log has another entry here than the receipt")
		}
	}
	delete(s.leaves, e.Index)
	if _, asked := s.next[e.Index]; asked {
		s.next[e.Index] = e.Entry.Open.Time
	}
	s.running(e)
	if s.last = e.Entry.Open.Time; e.Index == 0 {
		s.first = s.last
	}
}

func (s *scan) count(o audit.Open) {
	if o.Time >= s.ends || s.day == "" {
		t := time.UnixMicro(o.Time).In(beijing.Zone())
		s.day = t.Format(time.DateOnly)
		s.ends = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, t.Location()).UnixMicro()
	}
	d := s.days[s.day]
	if d.Ops == nil {
		d.Ops = make(map[audit.Op]int)
	}
	d.Entries++
	d.Ops[o.Op]++
	s.days[s.day] = d
}

func (s *scan) head(h audit.Head) {
	for _, c := range s.heads[h.Size] {
		if c.head != h {
			s.problem(c.code, audit.NoIndex, "%s names another head of size %d than the log has", c.who, h.Size)
		}
	}
	delete(s.heads, h.Size)
	if one := s.stamps[h.Size]; one != nil {
		one.paused = s.paused
	}
}

// finish adds what was found to the report of the shard.
func (s *scan) finish(r *audit.Report) {
	for index := range s.leaves {
		s.problem("receipt", index, "a receipt names an entry that the log does not have")
	}
	for size, list := range s.heads {
		for _, c := range list {
			s.problem(c.code, audit.NoIndex, "%s names a head of size %d, which the log never had", c.who, size)
		}
	}
	s.unstamped()
	for code, n := range s.times {
		if n > most {
			s.doubts = append(s.doubts, audit.Problem{Code: code, Offset: -1, Index: audit.NoIndex, Text: fmt.Sprintf("%d more of this kind", n-most)})
		}
	}
	s.compareDays()
	r.Problems = append(r.Problems, s.found...)
	r.Warnings = append(r.Warnings, s.doubts...)
}

// compareDays holds the counts against those of an earlier report: of the
// last day in it there may be more now, of the others exactly as many.
func (s *scan) compareDays() {
	before := s.o.Days[s.origin]
	last := ""
	for day := range before {
		last = max(last, day)
	}
	for day, n := range before {
		now := s.days[day].Entries
		if now < n.Entries || now > n.Entries && day != last {
			s.problem("days", audit.NoIndex, "%s has %d entries, an earlier report counted %d", day, now, n.Entries)
		}
	}
	for day, n := range s.days {
		if _, there := before[day]; !there && day < last {
			s.problem("days", audit.NoIndex, "%s has %d entries, an earlier report counted none", day, n.Entries)
		}
	}
}

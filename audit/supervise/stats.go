package supervise

import (
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

// Dimension of the statistics.
type Dimension string

// Dimensions.
const (
	ByDepartment Dimension = "department" // that asks
	ByItem       Dimension = "item"
	BySource     Dimension = "source"
	ByOperator   Dimension = "operator"
)

// Dimensions lists them.
func Dimensions() []Dimension { return []Dimension{ByDepartment, ByItem, BySource, ByOperator} }

// Days are the counts of each day, 2006-01-02 in Beijing.
type Days map[string]map[Dimension]map[string]*Tally

// Tally is what is counted of one department, matter, source or operator. For
// a source, Asked counts questions and Good answers of any content; for the
// others, exchanges, and proofs handed over. What a sensitive proof found is not known here.
type Tally struct {
	Asked   int64            `json:"asked,omitempty"`
	Refused int64            `json:"refused,omitempty"` // requests turned away
	Good    int64            `json:"good,omitempty"`
	Failed  int64            `json:"failed,omitempty"` // timeouts, outages, errors, mismatches, denials
	Yellow  int64            `json:"yellow,omitempty"`
	Red     int64            `json:"red,omitempty"`
	Took    map[uint16]int64 `json:"took,omitempty"` // durations by bucket
}

// failures are the outcomes that count as such.
var failures = []string{"TIMEOUT", "UNREACHABLE", "SOURCE_ERROR", "MISMATCH", "DENIED", "WITHHELD"}

// count takes up one entry.
func (d Days) count(e *audit.Entry, f *Facts) {
	o := &e.Open
	good := !slices.Contains(failures, o.Outcome) && o.Phase == audit.PhaseDone
	ended := func(t *Tally) {
		if good {
			t.Good++
		} else {
			t.Failed++
		}
	}
	switch {
	case o.Op == audit.OpQuery && o.Phase == audit.PhaseIntent && o.Leg == "" && e.Closed.Reason == "":
		d.each(e, f, func(t *Tally) { t.Asked++ })
	case o.Op == audit.OpQuery && o.Phase == audit.PhaseDone:
		d.each(e, f, func(t *Tally) { t.took(o.Millis) })
	case o.Op == audit.OpRelease:
		d.each(e, f, ended)
	case o.Op == audit.OpDeny && o.Exchange == "":
		d.each(e, f, func(t *Tally) { t.Refused++ })
	case o.Op == audit.OpSourceCall && o.Phase == audit.PhaseDone && o.Source != "":
		t := d.of(o.Time, BySource, o.Source)
		t.Asked++
		ended(t)
		if o.Millis > 0 {
			t.took(o.Millis)
		}
	}
}

// each does something to the tallies of those who asked, and for what.
func (d Days) each(e *audit.Entry, f *Facts, do func(*Tally)) {
	dept := e.Open.Department
	if dept == "" {
		dept = f.Systems[e.Open.System]
	}
	for dim, value := range map[Dimension]string{ByDepartment: dept, ByItem: e.Open.Item, ByOperator: e.Closed.Actor} {
		if value != "" {
			do(d.of(e.Open.Time, dim, value))
		}
	}
}

// carded counts a card.
func (d Days) carded(c *Card) {
	for dim, value := range map[Dimension]string{ByDepartment: c.Department, ByItem: c.Item, BySource: c.Source, ByOperator: c.Operator} {
		if value == "" {
			continue
		}
		t := d.of(c.Time.UnixMicro(), dim, value)
		if c.Level == Red {
			t.Red++
		} else {
			t.Yellow++
		}
	}
}

func (d Days) of(ts int64, dim Dimension, value string) *Tally {
	day := time.UnixMicro(ts).In(beijing.Zone()).Format(time.DateOnly)
	if d[day] == nil {
		d[day] = map[Dimension]map[string]*Tally{}
	}
	if d[day][dim] == nil {
		d[day][dim] = map[string]*Tally{}
	}
	t := d[day][dim][value]
	if t == nil {
		t = &Tally{}
		d[day][dim][value] = t
	}
	return t
}

func (d Days) forget(before time.Time) {
	first := before.In(beijing.Zone()).Format(time.DateOnly)
	maps.DeleteFunc(d, func(day string, _ map[Dimension]map[string]*Tally) bool { return day < first })
}

// Buckets of durations: sixteen to each doubling, so that a quantile is right within 1/16.

func (t *Tally) took(ms int64) {
	if t.Took == nil {
		t.Took = map[uint16]int64{}
	}
	t.Took[bucket(ms)]++
}

func bucket(ms int64) uint16 {
	if ms < 16 {
		return uint16(max(ms, 0))
	}
	shift := bits.Len64(uint64(ms)) - 5
	return uint16(16*shift) + uint16(ms>>shift)
}

// top is the largest duration of a bucket, in milliseconds.
func top(b uint16) int64 {
	if b < 32 {
		return int64(b)
	}
	shift := int64(b)/16 - 1
	return (int64(b)-16*shift+1)<<shift - 1
}

// quantile is the duration that p of all did not exceed; 0 without any.
func (t *Tally) quantile(p float64) int64 {
	var all, n int64
	for _, k := range t.Took {
		all += k
	}
	for _, b := range slices.Sorted(maps.Keys(t.Took)) {
		if n += t.Took[b]; float64(n) >= p*float64(all) {
			return top(b)
		}
	}
	return 0
}

func (t *Tally) add(u *Tally) {
	t.Asked, t.Refused, t.Good, t.Failed = t.Asked+u.Asked, t.Refused+u.Refused, t.Good+u.Good, t.Failed+u.Failed
	t.Yellow, t.Red = t.Yellow+u.Yellow, t.Red+u.Red
	for b, n := range u.Took {
		if t.Took == nil {
			t.Took = map[uint16]int64{}
		}
		t.Took[b] += n
	}
}

// Line is one row of a table of statistics.
type Line struct {
	Period  string  `json:"period"` // 2006-01-02 or 2006-01
	Value   string  `json:"value"`  // department, matter, source or operator
	Asked   int64   `json:"asked"`
	Refused int64   `json:"refused"`
	Good    int64   `json:"good"`
	Failed  int64   `json:"failed"`
	Rate    float64 `json:"rate"`   // Good of Good and Failed, 0 to 1; 1 without any
	P50     int64   `json:"p50_ms"` // durations
	P95     int64   `json:"p95_ms"`
	Yellow  int64   `json:"yellow"`
	Red     int64   `json:"red"`
}

// Table is the statistics of a dimension from one day to another, both
// included, by day or by month.
func (d Days) Table(dim Dimension, from, to string, monthly bool) []Line {
	sums := map[[2]string]*Tally{}
	for day, dims := range d {
		if day < from || day > to {
			continue
		}
		period := day
		if monthly {
			period = day[:len("2006-01")]
		}
		for value, t := range dims[dim] {
			k := [2]string{period, value}
			if sums[k] == nil {
				sums[k] = &Tally{}
			}
			sums[k].add(t)
		}
	}
	lines := make([]Line, 0, len(sums))
	for k, t := range sums {
		rate := 1.0
		if n := t.Good + t.Failed; n > 0 {
			rate = float64(t.Good) / float64(n)
		}
		lines = append(lines, Line{Period: k[0], Value: k[1], Asked: t.Asked, Refused: t.Refused, Good: t.Good, Failed: t.Failed, Rate: rate,
			P50: t.quantile(0.5), P95: t.quantile(0.95), Yellow: t.Yellow, Red: t.Red})
	}
	slices.SortFunc(lines, func(a, b Line) int {
		if c := strings.Compare(a.Period, b.Period); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
	return lines
}

package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/width"

	"yizheng/catalog"
	"yizheng/exchange"
)

// table shows the parts of an exchange as they end, and all legs at the end.
type table struct {
	w     io.Writer
	began time.Time
	said  map[string]bool
	name  int // width of the widest proof's name
}

func newTable(w io.Writer, parts []exchange.PartView) *table {
	t := &table{w: w, began: time.Now(), said: make(map[string]bool)}
	legs, by := 0, make(map[catalog.RouteClass]int)
	for _, p := range parts {
		legs += len(p.Legs)
		for _, l := range p.Legs {
			by[l.Route]++
		}
		t.name = max(t.name, columns(p.Title()))
	}
	var kinds []string
	for _, r := range routes {
		if n := by[r.class]; n > 0 {
			kinds = append(kinds, fmt.Sprintf("%s %d", r.name, n))
		}
	}
	fmt.Fprintf(w, "同时询问 %d 路（%s）：\n", legs, strings.Join(kinds, "、"))
	return t
}

// seen prints a part as soon as it has been released, and when its department asks for more time.
func (t *table) seen(kind string, p exchange.PartView) {
	switch {
	case kind == "part.deferred":
		t.line(p, "延时办理，办结后送达 / deferred")
	case (kind == "part.released" || kind == "part.withheld") && !t.said[p.Part]:
		t.said[p.Part] = true
		t.line(p, code(p))
	}
}

func (t *table) line(p exchange.PartView, what string) {
	fmt.Fprintf(t.w, "  %5d ms  %s  %s  %s\n", time.Since(t.began).Milliseconds(), pad(p.Title(), t.name), pad(ways(p), 13), what)
}

func code(p exchange.PartView) string {
	if p.State == "withheld" {
		return "WITHHELD"
	}
	return string(p.Code)
}

// routes are the four kinds, as they are named to people.
var routes = []struct {
	class catalog.RouteClass
	name  string
}{{catalog.RouteLocal, "本地"}, {catalog.RouteProvince, "省平台"}, {catalog.RouteCloud, "专有云"}, {catalog.RouteGap, "摆渡"}}

func routeName(c catalog.RouteClass) string {
	for _, r := range routes {
		if r.class == c {
			return r.name
		}
	}
	return string(c)
}

// ways are the routes of a part's legs.
func ways(p exchange.PartView) string {
	var names []string
	for _, l := range p.Legs {
		if n := routeName(l.Route); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return strings.Join(names, "、")
}

// finish prints the whole table.
func (t *table) finish(parts []exchange.PartView, took time.Duration) {
	dept := columns("部门")
	for _, p := range parts {
		for _, l := range p.Legs {
			dept = max(dept, columns(l.Department))
		}
	}
	row := func(name, department, route, code, millis string) {
		fmt.Fprintf(t.w, "%s  %s  %s  %s  %s\n", pad(name, t.name), pad(department, dept), pad(route, 6), pad(code, 13), millis)
	}
	rule := strings.Repeat("─", t.name+dept+33)
	fmt.Fprintln(t.w, rule)
	row("证明", "部门", "路径", "结果", "  毫秒")
	fmt.Fprintln(t.w, rule)
	for _, p := range parts {
		name := p.Title()
		for _, l := range p.Legs {
			row(name, l.Department, routeName(l.Route), string(l.Code), fmt.Sprintf("%6d", l.Millis))
			name = ""
		}
		if len(p.Legs) == 0 { // nobody was asked
			row(name, "—", "—", code(p), "     —")
		}
		fmt.Fprintf(t.w, "  └ %s\n", p.Sentence)
	}
	fmt.Fprintln(t.w, rule)
	fmt.Fprintf(t.w, "全部用时 %d 毫秒。", took.Milliseconds())
}

// columns is how wide s is in a terminal: Chinese characters and full-width signs take two.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n++
		if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
			n++
		}
	}
	return n
}

// pad fills s with spaces to n columns.
func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-columns(s))) }

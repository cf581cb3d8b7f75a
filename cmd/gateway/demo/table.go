package demo

import (
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/text/width"

	"yizheng/exchange"
)

// table shows the legs of an exchange as they end, and all of them at the end.
type table struct {
	w     io.Writer
	began time.Time
	said  map[string]bool
}

func newTable(w io.Writer, parts []exchange.PartView) *table {
	t := &table{w: w, began: time.Now(), said: make(map[string]bool)}
	legs := 0
	for _, p := range parts {
		legs += len(p.Legs)
	}
	fmt.Fprintf(w, "同时询问 %d 路 …\n", legs)
	return t
}

// seen prints a part as soon as it has been released.
func (t *table) seen(kind string, p exchange.PartView) {
	if kind != "part.released" && kind != "part.withheld" || t.said[p.Part] {
		return
	}
	t.said[p.Part] = true
	fmt.Fprintf(t.w, "  +%6d ms  %s %s\n", time.Since(t.began).Milliseconds(), pad(p.Name, 28), code(p))
}

func code(p exchange.PartView) string {
	if p.State == "withheld" {
		return "WITHHELD"
	}
	return string(p.Code)
}

var routes = map[string]string{"local": "本地", "province": "省平台", "cloud": "专有云", "gap": "摆渡"}

// finish prints the whole table.
func (t *table) finish(parts []exchange.PartView, took time.Duration) {
	rule := strings.Repeat("─", 100)
	fmt.Fprintln(t.w, rule)
	fmt.Fprintln(t.w, pad("证明", 28)+pad("部门", 32)+pad("路径", 8)+pad("结果", 15)+"     毫秒")
	fmt.Fprintln(t.w, rule)
	for _, p := range parts {
		name := p.Name
		if p.Role != "applicant" {
			name += "（" + string(p.Role) + "）"
		}
		for _, l := range p.Legs {
			fmt.Fprintf(t.w, "%s%s%s%s%9d\n", pad(name, 28), pad(l.Department, 32), pad(routes[string(l.Route)], 8), pad(string(l.Code), 15), l.Millis)
			name = ""
		}
		if len(p.Legs) == 0 {
			fmt.Fprintf(t.w, "%s%s%s%s\n", pad(name, 28), pad("", 32), pad("", 8), pad(code(p), 15))
		}
		fmt.Fprintf(t.w, "  └ %s\n", p.Sentence)
	}
	fmt.Fprintln(t.w, rule)
	fmt.Fprintf(t.w, "全部用时 %s\n", round(took))
}

// pad fills s with spaces to n columns; Chinese characters take two.
func pad(s string, n int) string {
	used := 0
	for _, r := range s {
		used++
		if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
			used++
		}
	}
	return s + strings.Repeat(" ", max(1, n-used))
}

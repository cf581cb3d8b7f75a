package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// promises are what is measured of the audit log. Where a limit was promised, the
// benchmark reports it beside the figure, as limit-UNIT. A peer does the same
// work; both are of one run. A row without a title is one more peer of the row
// above it. Of Tessera five times as many entries are promised.
var promises = []struct{ title, name, unit, peer, peerName string }{
	{"append, 1 writer: entries/s", appends + "1", "entries/s", "pwrite, fdatasync", raw},
	{"", appends + "1", "entries/s", "Tessera", tessera + "1"},
	{"p50, ms", appends + "1", "p50-ms", "Tessera", tessera + "1"},
	{"p99, ms", appends + "1", "p99-ms", "Tessera", tessera + "1"},
	{"append, 16 writers: entries/s", appends + "16", "entries/s", "pwrite, fdatasync", raw},
	{"", appends + "16", "entries/s", "Tessera", tessera + "16"},
	{"p50, ms", appends + "16", "p50-ms", "Tessera", tessera + "16"},
	{"p99, ms", appends + "16", "p99-ms", "Tessera", tessera + "16"},
	{"append, 256 writers: entries/s", appends + "256", "entries/s", "pwrite, fdatasync", raw},
	{"", appends + "256", "entries/s", "Tessera", tessera + "256"},
	{"p50, ms", appends + "256", "p50-ms", "Tessera", tessera + "256"},
	{"p99, ms", appends + "256", "p99-ms", "Tessera", tessera + "256"},
	{"open a million entries, ms", "BenchmarkMillion/open=resumed", "open-ms", "reading all", "BenchmarkMillion/open=whole"},
	{"inclusion proof, ms", "BenchmarkMillion/inclusion", "proof-ms", "", ""},
	{"verify hashes: entries/s of a core", "BenchmarkMillion/verify=hashes", "entries/core-s", "", ""},
	{"verify all: entries/s of a core", "BenchmarkMillion/verify=full", "entries/core-s", "verifying hashes", "BenchmarkMillion/verify=hashes"},
	{"index, sustained: entries/s", "BenchmarkIndex", "indexed/s", "", ""},
	{"oldest not indexed at 10,000/s, ms", "BenchmarkLag", "lag-max-ms", "", ""},
	{"search a resident, cold p50, ms", "BenchmarkSearch", "cold-p50-ms", "", ""},
	{"warm p50, ms", "BenchmarkSearch", "warm-p50-ms", "", ""},
	{"among how many entries", "BenchmarkSearch", "entries", "", ""},
}

const (
	appends = "BenchmarkAppend/writers="
	raw     = "BenchmarkAppend/raw"
	tessera = "BenchmarkTesseraAppend/writers="
)

// auditTable puts the audit log beside its promises and its peers, as far as this
// run has measured them. Better than a peer is above 1, for rates and for times.
func auditTable(out io.Writer, measured figures) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	header := "audit log\tmeasured\tpromise\tkept\ttimes as good as\tpeer\t\n"
	for _, p := range promises {
		v, known := measured[p.name][p.unit]
		beside := measured[p.peerName][p.unit]
		if !known || p.title == "" && beside == 0 {
			continue
		}
		ratio, peer := "", ""
		if beside > 0 {
			ratio, peer = fmt.Sprintf("%.2f", better(p.unit, v, beside)), p.peer
		}
		figure := number(v)
		limit, kept := judged(p.unit, v, measured[p.name]["limit-"+p.unit])
		if p.title == "" {
			figure = ""
			limit, kept = judged("×/s", better(p.unit, v, beside), timesTessera)
			limit += " ×"
		}
		fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\t%s\t%s\t\n", header, p.title, figure, limit, kept, ratio, peer)
		header = ""
	}
	return w.Flush()
}

const timesTessera = 5

// rate tells whether more of a unit is better.
func rate(unit string) bool { return strings.Contains(unit, "/") }

// better is how many times as good as a peer's a figure is.
func better(unit string, figure, peer float64) float64 {
	if rate(unit) {
		return figure / peer
	}
	return peer / figure
}

// judged words a limit and whether a figure keeps it; nothing where nothing was
// promised.
func judged(unit string, figure, limit float64) (promise, kept string) {
	switch {
	case limit == 0:
		return "", ""
	case rate(unit):
		promise = "≥ " + number(limit)
	default:
		promise = "≤ " + number(limit)
	}
	if better(unit, figure, limit) >= 1 {
		return promise, "yes"
	}
	return promise, "no"
}

// number is a figure with as many digits as say something.
func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

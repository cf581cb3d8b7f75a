package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// pages are what can be done with one page, and the benchmark beside it that does
// only what cannot be avoided.
var pages = []struct{ title, name, beside string }{
	{"SM3 of its own bytes, SM2 signature", "BenchmarkIssuePage/limit", "BenchmarkIssuePage/limit"},
	{"drawn, sealed and signed", "BenchmarkIssuePage/page", "BenchmarkIssuePage/limit"},
	{"with a rare name", "BenchmarkIssuePage/rare_name", "BenchmarkIssuePage/limit"},
	{"without QR code", "BenchmarkIssuePage/no_QR_code", "BenchmarkIssuePage/limit"},
	{"drawn by fpdf, unsigned", "BenchmarkIssuePage/fpdf", "BenchmarkIssuePage/limit"},
	{"two SM2 signatures verified", "BenchmarkVerifyPage/raw", "BenchmarkVerifyPage/raw"},
	{"verified", "BenchmarkVerifyPage/page", "BenchmarkVerifyPage/raw"},
	{"verified, nothing of it seen before", "BenchmarkVerifyPage/first", "BenchmarkVerifyPage/raw"},
	{"a small file verified", "BenchmarkVerify/document", "BenchmarkVerify/raw"},
}

// sealTable puts sealing and verifying a page beside their own cryptography, as far
// as this run has measured them.
func sealTable(out io.Writer, measured figures) error {
	if measured[pages[0].name] == nil {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "one page on one core\ta second\tµs\tof the cryptography\tp99, µs\tKiB above the file\t")
	for _, p := range pages {
		v, beside := measured[p.name], measured[p.beside]
		if v["documents/s"] == 0 || beside["documents/s"] == 0 {
			continue
		}
		worst, above := "", ""
		if v["p99-ns"] > 0 {
			worst, above = fmt.Sprintf("%.0f", v["p99-ns"]/1e3), fmt.Sprintf("%.0f", v["above-file-B"]/1024)
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.1f\t%s\t%s\t\n", p.title, v["documents/s"], 1e6/v["documents/s"], beside["documents/s"]/v["documents/s"], worst, above)
	}
	return w.Flush()
}

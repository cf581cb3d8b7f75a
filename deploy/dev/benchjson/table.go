package main

import (
	"fmt"
	"io"
	"regexp"
	"text/tabwriter"
)

// ways are how a question can reach a department, as the benchmarks are named
// that measure them. Of the first, every other is a part.
var ways = []struct{ title, prefix, rate, typical, worst string }{
	{"HTTPS, direct", "BenchmarkRoundTrip/https/", "trips/s", "p50-ms", "p99-ms"},
	{"Kafka, embedded", "BenchmarkRoundTrip/embedded/", "trips/s", "p50-ms", "p99-ms"},
	{"Apache Kafka", "BenchmarkRoundTrip/kafka/", "trips/s", "p50-ms", "p99-ms"},
	{"gap, one way", "BenchmarkGap/no-fsync/", "envelopes/s", "ms/envelope", ""},
	{"gap, one way, fsync", "BenchmarkGap/fsync/", "envelopes/s", "ms/envelope", ""},
}

var inFlight = []string{"1", "64", "256", "2048"}

// cpus is what go test appends to a name when there is more than one.
var cpus = regexp.MustCompile(`-\d+$`)

// table writes for people what a run has measured of the ferry, the
// seal and the audit log.
func table(out io.Writer, r run) error {
	measured := make(figures)
	for _, b := range r.Benchmarks {
		measured[cpus.ReplaceAllString(b.Name, "")] = b.Values
	}
	if err := ferryTable(out, measured); err != nil {
		return err
	}
	if err := sealTable(out, measured); err != nil {
		return err
	}
	return auditTable(out, measured)
}

// figures are the values of each benchmark, by its name without the processors.
type figures map[string]map[string]float64

// ferryTable compares the ways of the ferry with asking directly, for the same
// number of questions in flight, as far as this run has measured them. It
// writes nothing if the run has no direct way to compare with.
func ferryTable(out io.Writer, measured figures) error {
	if measured[ways[0].prefix+"1"] == nil {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "1 KiB there and back\tin flight\ta second\tmean or p50, ms\tp99, ms\tof direct\t")
	for _, way := range ways {
		for _, n := range inFlight {
			v := measured[way.prefix+n]
			if v == nil {
				continue
			}
			worst, part := "", ""
			if way.worst != "" {
				worst = fmt.Sprintf("%.2f", v[way.worst])
			}
			if direct := measured[ways[0].prefix+n]; direct != nil {
				part = fmt.Sprintf("%.0f %%", 100*v[way.rate]/direct[ways[0].rate])
			}
			fmt.Fprintf(w, "%s\t%s\t%.0f\t%.2f\t%s\t%s\t\n", way.title, n, v[way.rate], v[way.typical], worst, part)
		}
	}
	return w.Flush()
}

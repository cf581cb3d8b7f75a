// Command benchjson turns the lines of `go test -bench` on standard input into
// JSON on standard output: the machine (goos, goarch, cpu) and one object per
// benchmark with its package, name, runs and every measured unit.
//
//	go test -run '^$' -bench . ./... | go run ./deploy/dev/benchjson
//
// With -table it writes instead, for people, how the ways of the ferry compare
// with asking a department directly, what sealing and verifying a page cost
// beside the cryptography in them, and what the audit log does beside what it
// promises and beside its peers.
//
// Input without a single benchmark is an error, so that an empty run is not
// taken for a fast one.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func main() {
	forPeople := flag.Bool("table", false, "write tables of ferry, seal and audit log, not JSON")
	flag.Parse()
	r, err := parse(os.Stdin)
	switch {
	case err != nil:
	case *forPeople:
		err = table(os.Stdout, r)
	default:
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchjson:", err)
		os.Exit(1)
	}
}

type run struct {
	Machine    map[string]string `json:"machine"`
	Benchmarks []benchmark       `json:"benchmarks"`
}

// benchmark is one line: Values maps a unit, such as "ns/op", to its figure.
type benchmark struct {
	Package string             `json:"package"`
	Name    string             `json:"name"`
	Runs    int64              `json:"runs"`
	Values  map[string]float64 `json:"values"`
}

func parse(in io.Reader) (run, error) {
	r := run{Machine: map[string]string{}}
	pkg := ""
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "pkg":
			pkg = value
		case "goos", "goarch", "cpu":
			r.Machine[key] = value
		default:
			if b, ok := parseLine(lines.Text()); ok {
				b.Package = pkg
				r.Benchmarks = append(r.Benchmarks, b)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return r, fmt.Errorf("reading: %w", err)
	}
	if len(r.Benchmarks) == 0 {
		return r, errors.New("no benchmark in the input")
	}
	return r, nil
}

// parseLine reads "BenchmarkName-2  1000  123 ns/op  45 B/op".
func parseLine(line string) (benchmark, bool) {
	f := strings.Fields(line)
	if len(f) < 4 || len(f)%2 != 0 || !strings.HasPrefix(f[0], "Benchmark") {
		return benchmark{}, false
	}
	runs, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return benchmark{}, false
	}
	b := benchmark{Name: f[0], Runs: runs, Values: map[string]float64{}}
	for i := 2; i < len(f); i += 2 {
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return benchmark{}, false
		}
		b.Values[f[i+1]] = v
	}
	return b, true
}

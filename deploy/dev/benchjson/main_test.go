package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParse_ReadsEveryUnitOfEveryBenchmark(t *testing.T) {
	r, err := parse(strings.NewReader(`goos: linux
cpu: Some CPU @ 2 GHz
pkg: yizheng/audit
BenchmarkAppend/256-2   	    1000	     123.5 ns/op	  45 B/op	 3 allocs/op
BenchmarkBroken-2       	    --- FAIL
PASS
ok  	yizheng/audit	1.2s
`))
	if err != nil || len(r.Benchmarks) != 1 {
		t.Fatalf("parse = %+v, %v", r, err)
	}
	b := r.Benchmarks[0]
	if b.Package != "yizheng/audit" || b.Name != "BenchmarkAppend/256-2" || b.Runs != 1000 ||
		b.Values["ns/op"] != 123.5 || b.Values["allocs/op"] != 3 || r.Machine["cpu"] != "Some CPU @ 2 GHz" {
		t.Errorf("read as %+v on %v", b, r.Machine)
	}
}

func TestParse_RefusesARunWithoutBenchmarks(t *testing.T) {
	if _, err := parse(strings.NewReader("PASS\nok\n")); err == nil {
		t.Error("accepted")
	}
}

func TestTable_ComparesWithTheDirectWayAtTheSameWidth(t *testing.T) {
	r, err := parse(strings.NewReader(`BenchmarkRoundTrip/https/1-2 	 10	 1 ns/op	 2 p50-ms	 3 p99-ms	 1000 trips/s
BenchmarkRoundTrip/https/256-2 	 10	 1 ns/op	 2 p50-ms	 3 p99-ms	 8000 trips/s
BenchmarkRoundTrip/kafka/256-2 	 10	 1 ns/op	 4.5 p50-ms	 9 p99-ms	 2000 trips/s
BenchmarkGap/fsync/256 	 10	 1 ns/op	 50.5 ms/envelope	 4000 envelopes/s
BenchmarkGap/fsync/2048 	 10	 1 ns/op	 50.5 ms/envelope	 4000 envelopes/s
`))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := table(&b, r); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(b.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	want := []string{"1 KiB there and back in flight a second mean or p50, ms p99, ms of direct",
		"HTTPS, direct 1 1000 2.00 3.00 100 %", "HTTPS, direct 256 8000 2.00 3.00 100 %", "Apache Kafka 256 2000 4.50 9.00 25 %",
		"gap, one way, fsync 256 4000 50.50 50 %", "gap, one way, fsync 2048 4000 50.50"}
	if !slices.Equal(rows, want) {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if err := table(&b, run{Benchmarks: r.Benchmarks[2:]}); err != nil || b.Len() > 0 {
		t.Errorf("nothing to compare with: %v\n%s", err, b.String())
	}
}

func TestTable_PutsAPageBesideItsOwnCryptography(t *testing.T) {
	r, err := parse(strings.NewReader(`BenchmarkIssuePage/limit 	 10	 1 ns/op	 10000 documents/s
BenchmarkIssuePage/page 	 10	 1 ns/op	 61440 above-file-B	 4000 documents/s	 500000 p99-ns	 2.5 x-limit
BenchmarkVerifyPage/raw-2 	 10	 1 ns/op	 6000 documents/s
BenchmarkVerifyPage/page-2 	 10	 1 ns/op	 3000 documents/s
`))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := table(&b, r); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(b.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"one page on one core a second µs of the cryptography p99, µs KiB above the file",
		"SM3 of its own bytes, SM2 signature 10000 100 1.0",
		"drawn, sealed and signed 4000 250 2.5 500 60",
		"two SM2 signatures verified 6000 167 1.0",
		"verified 3000 333 2.0",
	}
	if !slices.Equal(rows, want) {
		t.Errorf("table:\n%s", b.String())
	}
}

func TestTable_PutsTheAuditLogBesidePromisesAndPeers(t *testing.T) {
	r, err := parse(strings.NewReader(`BenchmarkAppend/writers=256-2 	 10	 1 ns/op	 60000 entries/s	 50000 limit-entries/s	 20 p99-ms	 15 limit-p99-ms	 1.3 x-limit
BenchmarkAppend/raw-2 	 10	 1 ns/op	 6000 entries/s
BenchmarkMillion/inclusion-2 	 10	 1 ns/op	 0.125 proof-ms	 2 limit-proof-ms
BenchmarkTesseraAppend/writers=256-2 	 10	 1 ns/op	 8000 entries/s	 50 p99-ms
`))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := table(&b, r); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(b.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"audit log measured promise kept times as good as peer",
		"append, 256 writers: entries/s 60000 ≥ 50000 yes 10.00 pwrite, fdatasync",
		"≥ 5 × yes 7.50 Tessera",
		"p99, ms 20 ≤ 15 no 2.50 Tessera",
		"inclusion proof, ms 0.125 ≤ 2 yes",
	}
	if !slices.Equal(rows, want) {
		t.Errorf("table:\n%s", b.String())
	}
}

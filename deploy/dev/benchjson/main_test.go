package main

import (
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

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// carry puts n files into a device's way and lets it work until it is empty.
func carry(t *testing.T, r rules, n int) (arrived map[string]string, w *way) {
	t.Helper()
	from, to := t.TempDir(), t.TempDir()
	if len(r.extensions) == 0 {
		r.extensions = []string{".dat"}
	}
	if r.maxSize == 0 {
		r.maxSize = 1000
	}
	w = &way{name: "a-b", from: from, to: to, rules: r, random: rand.New(rand.NewPCG(1, 0)), print: &printer{encoder: json.NewEncoder(io.Discard)}}
	for i := range n {
		if err := os.WriteFile(filepath.Join(from, fmt.Sprintf("F%03d.dat", i)), []byte("0123456789"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.fetch(time.Millisecond)
	w.deliver(time.Now().Add(time.Hour))
	arrived = map[string]string{}
	entries, err := os.ReadDir(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(to, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		arrived[e.Name()] = string(data)
	}
	return arrived, w
}

func TestAQuietDeviceCarriesEverything(t *testing.T) {
	for _, slow := range []bool{false, true} {
		got, w := carry(t, rules{slow: slow}, 20)
		left, _ := os.ReadDir(w.from)
		if len(got) != 20 || got["F007.dat"] != "0123456789" || len(left) != 0 {
			t.Errorf("slow %v: %d files arrived, %d left behind", slow, len(got), len(left))
		}
	}
}

func TestRates(t *testing.T) {
	const n = 400
	dropped, _ := carry(t, rules{drop: 30}, n)
	if lost := n - len(dropped); lost < n*20/100 || lost > n*40/100 {
		t.Errorf("30 %% drop lost %d of %d", lost, n)
	}
	cut, _ := carry(t, rules{truncate: 50}, n)
	short := 0
	for _, data := range cut {
		if len(data) < 10 {
			short++
		}
	}
	if short < n*40/100 || short > n*60/100 {
		t.Errorf("50 %% truncate cut %d of %d", short, n)
	}
}

func TestASeedMeansTheSameEveryTime(t *testing.T) {
	a, _ := carry(t, rules{drop: 50, truncate: 20}, 100)
	b, _ := carry(t, rules{drop: 50, truncate: 20}, 100)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("two runs differ")
	}
}

func TestTooLargeForeignAndSurplusFilesDoNotPass(t *testing.T) {
	if got, _ := carry(t, rules{maxSize: 9}, 3); len(got) != 0 {
		t.Errorf("too large: %d passed", len(got))
	}
	got, w := carry(t, rules{extensions: []string{".xml"}}, 3)
	if left, _ := os.ReadDir(w.from); len(got) != 0 || len(left) != 3 {
		t.Errorf("foreign: %d passed, %d left", len(got), len(left))
	}
	if got, _ := carry(t, rules{perScan: 2}, 3); len(got) != 2 {
		t.Errorf("two in a scan: %d passed", len(got))
	}
}

func TestDelayHoldsFilesBack(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	w := &way{from: from, to: to, rules: rules{delay: time.Minute, extensions: []string{".dat"}, maxSize: 10},
		random: rand.New(rand.NewPCG(1, 0)), print: &printer{encoder: json.NewEncoder(io.Discard)}}
	if err := os.WriteFile(filepath.Join(from, "A.dat"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.fetch(time.Millisecond)
	w.deliver(time.Now().Add(59 * time.Second))
	if got, _ := os.ReadDir(to); len(got) != 0 {
		t.Error("it came early")
	}
	w.deliver(time.Now().Add(61 * time.Second))
	if got, _ := os.ReadDir(to); len(got) != 1 {
		t.Error("it did not come")
	}
}

func TestArguments(t *testing.T) {
	for what, args := range map[string][]string{
		"no directories": {}, "one directory": {"-a", "x"}, "percent": {"-a", "x", "-b", "y", "-drop", "101"},
		"scan": {"-a", "x", "-b", "y", "-scan", "0s"}, "surplus": {"-a", "x", "-b", "y", "z"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

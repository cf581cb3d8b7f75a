// Command gapdevice is a simulated boundary device (网闸): it carries files
// from A/out to B/in and, unless told otherwise, from B/out to A/in, by its own
// scan interval, and does on the way what such devices do: it delays,
// duplicates, reorders, drops, truncates, filters by extension and size. It
// shares no code with the exchange and knows nothing of what is in a file.
//
// On standard output it prints one JSON line when it is ready,
//
//	{"event":"ready","pid":4711,"a":"/spool/a","b":"/spool/b","seed":1}
//
// and, with -events, one for every file it touches. It ends on SIGTERM or
// SIGINT; what it holds back is then delivered or, with -forget, lost.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const usage = `gapdevice: a simulated boundary device

  gapdevice -a /spool/a -b /spool/b -scan 10ms -drop 30 -duplicate 10 -reorder 20 -seed 7

`

type options struct {
	a, b       string
	scan       time.Duration
	rules      rules
	seed       uint64
	oneWay     bool
	extensions string
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(0)
		}
		fmt.Fprintln(os.Stderr, "gapdevice:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "gapdevice:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("gapdevice", flag.ContinueOnError)
	f.Usage = func() { fmt.Fprint(f.Output(), usage); f.PrintDefaults() }
	f.StringVar(&o.a, "a", "", "spool `directory` of side A")
	f.StringVar(&o.b, "b", "", "spool `directory` of side B")
	f.DurationVar(&o.scan, "scan", 10*time.Millisecond, "time between two scans")
	f.DurationVar(&o.rules.delay, "delay", 0, "time a file is held back")
	f.DurationVar(&o.rules.jitter, "jitter", 0, "random time on top of -delay")
	f.IntVar(&o.rules.drop, "drop", 0, "`percent` of files lost")
	f.IntVar(&o.rules.duplicate, "duplicate", 0, "`percent` of files delivered twice, the second time later")
	f.IntVar(&o.rules.reorder, "reorder", 0, "`percent` of files held back for several scans")
	f.IntVar(&o.rules.truncate, "truncate", 0, "`percent` of files cut off")
	f.StringVar(&o.extensions, "extensions", "dat", "extensions that pass, separated by commas; others are left where they are")
	f.IntVar(&o.rules.maxSize, "max-size", 8<<20, "largest file in `bytes`; larger ones are quarantined by the device")
	f.IntVar(&o.rules.perScan, "files-per-scan", 0, "most files taken in one scan and direction; 0: no limit")
	f.BoolVar(&o.rules.slow, "slow", false, "write into in/ under the final name, in pieces, instead of renaming")
	f.BoolVar(&o.oneWay, "one-way", false, "carry from A to B only")
	f.BoolVar(&o.rules.forget, "forget", false, "lose what is held back when told to stop")
	f.BoolVar(&o.rules.events, "events", false, "print a JSON line for every file")
	f.Uint64Var(&o.seed, "seed", 1, "`number` that fixes the device's whims")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.a == "" || o.b == "" || o.scan <= 0 {
		return o, errors.New("want -a DIR, -b DIR, -scan > 0 and no other arguments (-h shows an example)")
	}
	for _, percent := range []int{o.rules.drop, o.rules.duplicate, o.rules.reorder, o.rules.truncate} {
		if percent < 0 || percent > 100 {
			return o, fmt.Errorf("percent %d is not within 0..100", percent)
		}
	}
	for e := range strings.SplitSeq(o.extensions, ",") {
		o.rules.extensions = append(o.rules.extensions, "."+strings.TrimSpace(e))
	}
	return o, nil
}

func run(ctx context.Context, o options) error {
	out := &printer{encoder: json.NewEncoder(os.Stdout)}
	ways := []*way{{name: "a-b", from: filepath.Join(o.a, "out"), to: filepath.Join(o.b, "in")}}
	if !o.oneWay {
		ways = append(ways, &way{name: "b-a", from: filepath.Join(o.b, "out"), to: filepath.Join(o.a, "in")})
	}
	for i, w := range ways {
		w.rules, w.print = o.rules, out
		w.random = rand.New(rand.NewPCG(o.seed, uint64(i)))
		if err := os.MkdirAll(w.from, 0o700); err != nil {
			return err
		}
		if err := os.MkdirAll(w.to, 0o700); err != nil {
			return err
		}
	}
	out.print(map[string]any{"event": "ready", "pid": os.Getpid(), "a": o.a, "b": o.b, "seed": o.seed})
	var running sync.WaitGroup
	for _, w := range ways {
		running.Go(func() { w.run(ctx, o.scan) })
	}
	running.Wait()
	return nil
}

// printer writes JSON lines for several goroutines.
type printer struct {
	mu      sync.Mutex
	encoder *json.Encoder
}

func (p *printer) print(v map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.encoder.Encode(v); err != nil {
		fmt.Fprintln(os.Stderr, "gapdevice: standard output:", err)
	}
}

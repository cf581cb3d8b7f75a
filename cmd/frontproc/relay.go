package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"yizheng/cmd/internal/assembly"
	"yizheng/cmd/internal/process"
	"yizheng/exchange/ferry/relay"
	"yizheng/exchange/ferry/spool"
)

// RelayConfig is a relay's one configuration file. Unknown keys are errors.
// Relative paths are relative to the file. Secrets are only ever named by path.
type RelayConfig struct {
	// Mode is "demo" or "production". Production refuses private keys that are
	// not encrypted.
	Mode string `yaml:"mode"`
	// Fronts are the ids, in the catalogue, of the fronts behind the gap. The
	// relay takes their requests and speaks for them on Kafka, so its principal
	// there needs what theirs would need.
	Fronts []string `yaml:"fronts"`
	// Deferred carries requests that may wait for days, too.
	Deferred bool `yaml:"deferred"`
	// Kafka is the cloud's side.
	Kafka *KafkaConfig `yaml:"kafka"`
	// Spool is the gap's side.
	Spool *SpoolConfig `yaml:"spool"`
	// Passphrase is a file with the passphrase of spool.key.
	Passphrase string `yaml:"passphrase"`
}

func readRelayConfig(path string) (*RelayConfig, error) {
	c := &RelayConfig{}
	if err := decode(path, c); err != nil {
		return nil, err
	}
	assembly.Resolve(filepath.Dir(path), append(append(c.Kafka.paths(), c.Spool.paths()...), &c.Passphrase)...)
	f := faults{file: path}
	f.mode(c.Mode)
	if len(c.Fronts) == 0 {
		f.add("fronts", "至少一个", "needs at least one")
	}
	if c.Kafka == nil {
		f.add("kafka", "缺少此项", "is missing")
	}
	if c.Spool == nil {
		f.add("spool", "缺少此项", "is missing")
	}
	c.Kafka.check(&f)
	c.Spool.check(&f)
	return c, f.err()
}

// countEvery is how often a relay says what it has carried, if it has.
const countEvery = time.Minute

// runRelay carries envelopes until it is told to stop or its spool fails.
func runRelay(ctx context.Context, args []string, out io.Writer) error {
	file, err := configFlag("relay", "/etc/yizheng/relay.yaml", args)
	if err != nil {
		return err
	}
	c, err := readRelayConfig(file)
	if err != nil {
		return err
	}
	if err := c.strict(); err != nil {
		return err
	}
	if err := process.KeepInMemory(); err != nil {
		return err
	}
	return c.run(ctx, out, slog.New(slog.NewJSONHandler(os.Stderr, nil)))
}

func (c *RelayConfig) run(ctx context.Context, out io.Writer, log *slog.Logger) (err error) {
	gap, err := c.Spool.open(ctx, c.Passphrase, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gap.stop()) }()
	bus, err := c.Kafka.open(ctx, "relay-"+c.Spool.Out, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	// One process has the spool, so one has the seat.
	cloud, err := relay.New(relay.Config{Bus: bus, Fronts: c.Fronts, Seat: "relay-" + c.Spool.Out, Deferred: c.Deferred, Logger: log})
	if err != nil {
		return err
	}
	line, err := json.Marshal(map[string]any{"event": "relaying", "fronts": c.Fronts, "out": c.Spool.Out, "in": c.Spool.In, "inspection": c.Spool.Inspection, "mode": c.Mode})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, string(line))
	return c.pump(ctx, cloud, gap, log)
}

// pump carries both ways until ctx ends (nil) or the spool fails.
func (c *RelayConfig) pump(ctx context.Context, cloud *relay.Relay, gap *link, log *slog.Logger) error {
	warn := func(way string, m spool.Message, err error) {
		log.Warn("envelope is not carried", "way", way, "id", m.ID, "bytes", len(m.Body), "err", err)
	}
	all, pumping := errgroup.WithContext(ctx)
	all.Go(func() error {
		return spool.Pump(pumping, cloud, gap, func(m spool.Message, err error) {
			warn("out", m, err)
			if errors.Is(err, spool.ErrTooLarge) {
				if err := cloud.Refuse(pumping, m); err != nil {
					warn("out", m, err)
				}
			}
		})
	})
	all.Go(func() error {
		return spool.Pump(pumping, gap, cloud, func(m spool.Message, err error) { warn("in", m, err) })
	})
	all.Go(func() error {
		select {
		case err := <-gap.failed:
			return err
		case <-pumping.Done():
			return nil
		}
	})
	all.Go(func() error { count(pumping, cloud, gap, log); return nil })
	err := all.Wait()
	select {
	case failed := <-gap.failed: // the cause of whatever else has ended
		return failed
	default:
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func count(ctx context.Context, cloud *relay.Relay, gap *link, log *slog.Logger) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for last := (relay.Counts{}); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		n, m := cloud.Counts(), gap.Metrics()
		if n == last {
			continue
		}
		last = n
		log.Info("carried", "requests", n.Requests, "answers", n.Answers, "heartbeats", n.Heartbeats, "dead_letters", n.DeadLetters,
			"unacknowledged_files", m.Unacknowledged, "missing_files", m.Missing)
	}
}

package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Config describes one side of a gap. Zero durations and sizes take the
// defaults named beside them.
type Config struct {
	Dir      string // the spool directory; made if missing
	StateDir string // default Dir/state; may be on another filesystem
	Out, In  string // channels; either may be empty for a link of one direction
	Key      Signer // signs our files
	PeerKey  KeyFunc

	// Durable has every message on the disk before Put returns, and every
	// cursor before a received file is deleted. Without it a process may die
	// at any point without loss, but not the machine: for a spool in memory
	// and messages whose loss is noticed by their deadline.
	Durable bool
	// OneWay says that the device carries nothing back: there are no
	// acknowledgements. Each file is offered Repeat times and kept for Keep;
	// the receiver names a gap and passes over it after GiveUp.
	OneWay bool
	Repeat int           // 3
	Keep   time.Duration // 24 h
	GiveUp time.Duration // 1 h

	Device Device

	Scan        time.Duration // between looks into in/: 10 ms
	Linger      time.Duration // least time between two data files that are not full: 5 ms
	AckEvery    time.Duration // least time between acknowledgements: 50 ms
	GapAfter    time.Duration // until a gap is asked for: 10 s
	ResendAfter time.Duration // until an unacknowledged file is sent again; doubles up to 8 times: 60 s
	BeatEvery   time.Duration // 30 s; the other side is silent after three
	LagAlarm    time.Duration // age of the oldest unacknowledged file: 120 s
	Reconcile   time.Duration // period of reconciliation, same on both sides: 1 h
	MaxAge      time.Duration // not-after of a message without one: 72 h
	ClockSkew   time.Duration // by which the two clocks may differ: 5 s; negative for none

	MaxRetained  int64 // bytes of unacknowledged files; Put waits: 256 MiB
	MaxQueued    int   // bytes waiting for a file; Put waits: 32 MiB
	RecordWindow int   // record ids remembered by the receiver: 65,536

	QuarantineFiles int           // 1,000
	QuarantineBytes int64         // 64 MiB
	QuarantineKeep  time.Duration // 30 days

	// Events is told what an operator must know; see EventKind. It is called
	// from several goroutines, must return soon and must not call the link.
	Events func(Event)
	Logger *slog.Logger     // default: discard
	Now    func() time.Time // default: time.Now

	step func(string) error // tests: called after each step that changes the disk
}

// Device holds a boundary device's rules.
type Device struct {
	Extension string        `yaml:"extension"`  // without the dot: "dat"
	MaxFile   int           `yaml:"max_file"`   // bytes of a file as the device sees it: 8 MiB
	MaxOut    int           `yaml:"max_out"`    // data files waiting in out/, for a device with a limit per scan; 0: no limit
	XML       bool          `yaml:"xml"`        // base64 in XML, for a device that lets nothing else pass
	Atomic    bool          `yaml:"atomic"`     // the device renames whole files into in/
	StableFor time.Duration `yaml:"stable_for"` // otherwise: size and time unchanged for so long: 200 ms
	Shared    bool          `yaml:"shared"`     // the device reads as the spool's group: files get 0640, not 0600
}

func (c *Config) fill() error {
	if c.Dir == "" || c.Out == "" && c.In == "" {
		return errors.New("gap link: directory and a channel are needed")
	}
	for _, channel := range []string{c.Out, c.In} {
		if channel != "" && !ValidChannel(channel) {
			return fmt.Errorf("gap link: channel %q: want A-Z, 0-9, _, at most %d, no control suffix", channel, maxChannel)
		}
	}
	if c.Out == c.In {
		return errors.New("gap link: both channels have one name")
	}
	if c.Key == nil && (c.Out != "" || !c.OneWay) || c.PeerKey == nil && (c.In != "" || !c.OneWay) {
		return errors.New("gap link: a key of ours or of the other side is missing")
	}
	if !c.OneWay && (c.Out == "" || c.In == "") {
		return errors.New("gap link: two directions need two channels; a single one is one_way")
	}
	if c.StateDir == "" {
		c.StateDir = filepath.Join(c.Dir, "state")
	}
	c.defaults()
	if !ValidExtension(c.Device.Extension) {
		return fmt.Errorf("gap link: extension %q", c.Device.Extension)
	}
	if c.Device.MaxFile < 4096 || c.Device.MaxFile > MaxFileBytes {
		return fmt.Errorf("gap link: max_file %d is not within 4096..%d", c.Device.MaxFile, MaxFileBytes)
	}
	return nil
}

func (c *Config) defaults() {
	for _, d := range []struct {
		at    *time.Duration
		value time.Duration
	}{
		{&c.Keep, 24 * time.Hour}, {&c.GiveUp, time.Hour}, {&c.Scan, 10 * time.Millisecond},
		{&c.Linger, 5 * time.Millisecond}, {&c.AckEvery, 50 * time.Millisecond}, {&c.GapAfter, 10 * time.Second},
		{&c.ResendAfter, time.Minute}, {&c.BeatEvery, 30 * time.Second}, {&c.LagAlarm, 2 * time.Minute},
		{&c.Reconcile, time.Hour}, {&c.MaxAge, 72 * time.Hour}, {&c.ClockSkew, 5 * time.Second},
		{&c.QuarantineKeep, 30 * 24 * time.Hour}, {&c.Device.StableFor, 200 * time.Millisecond},
	} {
		if *d.at == 0 {
			*d.at = d.value
		}
	}
	c.ClockSkew = max(c.ClockSkew, 0)
	for _, n := range []struct {
		at    *int
		value int
	}{{&c.Repeat, 3}, {&c.MaxQueued, 32 << 20}, {&c.RecordWindow, 65536}, {&c.QuarantineFiles, 1000}, {&c.Device.MaxFile, 8 << 20}} {
		if *n.at == 0 {
			*n.at = n.value
		}
	}
	if c.MaxRetained == 0 {
		c.MaxRetained = 256 << 20
	}
	if c.QuarantineBytes == 0 {
		c.QuarantineBytes = 64 << 20
	}
	if c.Device.Extension == "" {
		c.Device.Extension = "dat"
	}
	if c.Events == nil {
		c.Events = func(Event) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

func (d Device) mode() os.FileMode {
	if d.Shared {
		return 0o640
	}
	return 0o600
}

// maxInner is the size of a file before it is wrapped.
func (d Device) maxInner() int {
	if d.XML {
		return unwrappedSize(d.MaxFile)
	}
	return d.MaxFile
}

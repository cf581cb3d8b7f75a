package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/goccy/go-yaml"

	"yizheng/audit"
	"yizheng/exchange/ferry"
	"yizheng/exchange/ferry/relay"
	"yizheng/exchange/ferry/spool"
	"yizheng/identity/jose"
)

// KafkaConfig of the ferry. Everything is TLS with client certificates.
type KafkaConfig struct {
	Brokers     []string `yaml:"brokers"`
	CA          string   `yaml:"ca"`
	Certificate string   `yaml:"certificate"`
	Key         string   `yaml:"key"`
}

func (k *KafkaConfig) paths() []*string {
	if k == nil {
		return nil
	}
	return []*string{&k.CA, &k.Certificate, &k.Key}
}

func (k *KafkaConfig) check(f *faults) {
	if k == nil {
		return
	}
	f.missing(map[string]string{"kafka.ca": k.CA, "kafka.certificate": k.Certificate, "kafka.key": k.Key})
	if len(k.Brokers) == 0 {
		f.add("kafka.brokers", "至少一个", "needs at least one")
	}
}

func (k *KafkaConfig) open(ctx context.Context, client string, log *slog.Logger) (*ferry.Kafka, error) {
	bus, err := ferry.OpenKafka(ctx, ferry.KafkaConfig{Brokers: k.Brokers, ClientID: client, Logger: log,
		TLS: ferry.Files{CA: k.CA, Certificate: k.Certificate, Key: k.Key}})
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return bus, nil
}

// SpoolConfig is one side of a gap. One process uses a spool at a time.
// Durations are like "10ms"; those left out have the defaults named here.
type SpoolConfig struct {
	// Dir has tmp, out, in, done and quarantine, all on one filesystem. The
	// boundary device fetches from out and writes into in.
	Dir   string `yaml:"dir"`
	State string `yaml:"state"` // journals; default: state below dir
	// Inbox is an agent's own: deferred questions wait there, sealed, until they
	// are answered. On a disk, not in memory; default: inbox below dir.
	Inbox string `yaml:"inbox"`
	// Out and In are the channels: A-Z, 0-9, _. The other side has them the
	// other way round.
	Out string `yaml:"out"`
	In  string `yaml:"in"`
	// Key is the SM2 private key that signs our files. It opens no envelope.
	Key string `yaml:"key"`
	// PeerKeys are PEMs of the SM2 public keys that may sign the other side's
	// files; two while one replaces the other.
	PeerKeys []string `yaml:"peer_keys"`
	// Durable has every message on the disk before it counts as taken. Without
	// it only the process may die, not the machine: enough for live questions.
	Durable bool `yaml:"durable"`
	// Device holds the boundary device's rules: extension (dat), max_file (8388608
	// bytes), max_out (no limit), xml, atomic, stable_for (200ms), shared.
	Device spool.Device `yaml:"device"`
	// Inspection is what the device may look into, since nobody can look into a
	// sealed envelope: "header", the clear header of every file, against
	// docs/protocol/gap-spool.xsd (needs device.xml), or "opaque", nothing, by an
	// exemption. Without it: what device.xml says. A front records it in its log.
	Inspection string `yaml:"inspection"`
	// Exemption is the number of the decision that allows "opaque"; production
	// demands it.
	Exemption string `yaml:"exemption"`

	Scan        time.Duration `yaml:"scan"`         // between looks into in: 10ms
	AckEvery    time.Duration `yaml:"ack_every"`    // least time between acknowledgements: 50ms
	GapAfter    time.Duration `yaml:"gap_after"`    // until a missing file is asked for: 10s
	ResendAfter time.Duration `yaml:"resend_after"` // until an unacknowledged file is sent again: 60s
	BeatEvery   time.Duration `yaml:"beat_every"`   // heartbeats of the gap, same on both sides: 30s
	LagAlarm    time.Duration `yaml:"lag_alarm"`    // age of an unacknowledged file that is logged as an alarm: 120s
	Reconcile   time.Duration `yaml:"reconcile"`    // period of reconciliation, same on both sides: 1h
}

func (s *SpoolConfig) paths() []*string {
	if s == nil {
		return nil
	}
	paths := []*string{&s.Dir, &s.State, &s.Inbox, &s.Key}
	for i := range s.PeerKeys {
		paths = append(paths, &s.PeerKeys[i])
	}
	return paths
}

func (s *SpoolConfig) check(f *faults) {
	if s == nil {
		return
	}
	f.missing(map[string]string{"spool.dir": s.Dir, "spool.key": s.Key, "spool.out": s.Out, "spool.in": s.In})
	for key, channel := range map[string]string{"spool.out": s.Out, "spool.in": s.In} {
		if channel != "" && !spool.ValidChannel(channel) {
			f.add(key, "只能用 A-Z、0-9、_，至多 32 位", "may hold A-Z, 0-9 and _ only, at most 32 characters")
		}
	}
	if s.Out != "" && s.Out == s.In {
		f.add("spool.out, spool.in", "不能相同", "must differ")
	}
	s.checkInspection(f)
	f.loggable(map[string]string{"spool.exemption": s.Exemption})
	if len(s.PeerKeys) == 0 {
		f.add("spool.peer_keys", "至少一个", "needs at least one")
	}
	for key, d := range map[string]time.Duration{"scan": s.Scan, "ack_every": s.AckEvery, "gap_after": s.GapAfter,
		"resend_after": s.ResendAfter, "beat_every": s.BeatEvery, "lag_alarm": s.LagAlarm, "reconcile": s.Reconcile, "device.stable_for": s.Device.StableFor} {
		if d < 0 {
			f.add("spool."+key, "不能为负", "must not be negative")
		}
	}
}

func (s *SpoolConfig) checkInspection(f *faults) {
	switch {
	case s.Inspection == "" && s.Device.XML:
		s.Inspection = inspectHeader
	case s.Inspection == "":
		s.Inspection = inspectNothing
	case s.Inspection != inspectHeader && s.Inspection != inspectNothing:
		f.add("spool.inspection", "须为 header 或 opaque", "must be header or opaque")
	case (s.Inspection == inspectHeader) != s.Device.XML:
		f.add("spool.inspection, spool.device.xml", "header 须 xml: true，opaque 须 xml: false", "header needs xml: true, opaque xml: false")
	}
}

// What a boundary device may look into.
const (
	inspectHeader  = "header"
	inspectNothing = "opaque"
)

// link is an open spool that somebody runs.
type link struct {
	*spool.Link
	failed chan error // of the run, unless it was stopped; one at most
	stop   func() error
}

// peers are the keys of the other side, by id.
func (s *SpoolConfig) peers() (map[string]*ecdsa.PublicKey, error) {
	peers := make(map[string]*ecdsa.PublicKey)
	for _, path := range s.PeerKeys {
		pub, err := jose.ReadPublicKey(path)
		if err != nil {
			return nil, fmt.Errorf("spool peer key: %w", err)
		}
		peers[jose.KeyID(pub)] = pub
	}
	return peers, nil
}

// open opens the spool and runs it until stop.
func (s *SpoolConfig) open(ctx context.Context, passphrase string, log *slog.Logger) (*link, error) {
	key, err := jose.ReadKey(s.Key, passphrase)
	if err != nil {
		return nil, fmt.Errorf("spool key: %w", err)
	}
	peers, err := s.peers()
	if err != nil {
		return nil, err
	}
	l, err := spool.Open(spool.Config{Dir: s.Dir, StateDir: s.State, Out: s.Out, In: s.In, Key: key, Durable: s.Durable, Device: s.Device,
		PeerKey: func(kid string) *ecdsa.PublicKey { return peers[kid] },
		Scan:    s.Scan, AckEvery: s.AckEvery, GapAfter: s.GapAfter, ResendAfter: s.ResendAfter, BeatEvery: s.BeatEvery, LagAlarm: s.LagAlarm, Reconcile: s.Reconcile,
		Events: func(e spool.Event) { logEvent(log, e) }, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("spool %s: %w", s.Dir, err)
	}
	// What is in hand at the end still goes out: only stop ends the link.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	failed, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		if err := l.Run(ctx); err != nil {
			failed <- fmt.Errorf("spool %s: 摆渡目录不可用 / the spool cannot be used: %w", s.Dir, err)
		}
	}()
	return &link{l, failed, sync.OnceValue(func() error { cancel(); <-ended; return nil })}, nil
}

// openInbox opens the directory in which an agent keeps deferred questions.
func (s *SpoolConfig) openInbox(log *slog.Logger) (*relay.Inbox, error) {
	return relay.OpenInbox(relay.InboxConfig{Dir: cmp.Or(s.Inbox, filepath.Join(s.Dir, "inbox")), Logger: log})
}

// alarms are the events that somebody has to look at.
func alarm(k spool.EventKind) bool {
	return slices.Contains([]spool.EventKind{spool.EventLost, spool.EventQuarantined, spool.EventFull, spool.EventChain, spool.EventFork,
		spool.EventRollback, spool.EventSilent, spool.EventLag, spool.EventDisk, spool.EventMissing}, k)
}

func logEvent(log *slog.Logger, e spool.Event) {
	level := slog.LevelInfo
	if alarm(e.Kind) {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "gap", "kind", e.Kind, "channel", e.Channel, "epoch", e.Epoch, "from", e.From, "to", e.To,
		"reason", e.Reason, "file", e.File)
}

// decode reads a configuration file; unknown keys are errors.
func decode(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := yaml.NewDecoder(bytes.NewReader(raw), yaml.Strict()).Decode(into); err != nil {
		return fmt.Errorf("configuration %s: 配置有误，请按提示修改 / not valid, see below\n%s", path, yaml.FormatError(err, false, true))
	}
	return nil
}

// faults collects what is wrong with a configuration file.
type faults struct {
	file string
	errs []error
}

func (f *faults) add(key, zh, en string) {
	f.errs = append(f.errs, fmt.Errorf("%s: %s: %s / %s", f.file, key, zh, en))
}

func (f *faults) missing(settings map[string]string) {
	for key, v := range settings {
		if v == "" {
			f.add(key, "缺少此项", "is missing")
		}
	}
}

// loggable refuses names that no entry of the audit log may hold.
func (f *faults) loggable(settings map[string]string) {
	for key, v := range settings {
		if zh, en := audit.NameFault(v); zh != "" {
			f.add(key, zh, en)
		}
	}
}

func (f *faults) mode(m string) {
	if m != "demo" && m != "production" {
		f.add("mode", "须为 demo 或 production", "must be demo or production")
	}
}

func (f *faults) err() error { return errors.Join(f.errs...) }

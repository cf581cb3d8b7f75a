package assembly

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/ship"
	"yizheng/catalog"
	"yizheng/identity/jose"
)

// SinkConfig is one place that gets a copy of the log.
type SinkConfig struct {
	Name string `yaml:"name"` // of its cursor's file: a-z, 0-9 and -
	// Kind is syslog (RFC 5424 over TLS), https (NDJSON by POST), kafka or postgresql.
	Kind string `yaml:"kind"`

	Address string   `yaml:"address"`  // syslog: host:port, usually port 6514
	URL     string   `yaml:"url"`      // https
	Brokers []string `yaml:"brokers"`  // kafka: host:port
	Topic   string   `yaml:"topic"`    // kafka: must exist
	DSNFile string   `yaml:"dsn_file"` // postgresql: file with the connection string; tables: gateway audit schema

	CA          string `yaml:"ca"`          // PEM; who the sink must be. Not for postgresql, whose DSN says it
	Certificate string `yaml:"certificate"` // PEM; ours, if the sink asks for one
	Key         string `yaml:"key"`

	// OpenOnly leaves the closed halves (operators, devices, digests) out; only their
	// salted hashes go.
	OpenOnly bool `yaml:"open_only"`
	// MaxBehind is how old the oldest entry that the sink has not taken may be before the
	// log takes no business any more. Default: any age.
	MaxBehind catalog.Duration `yaml:"max_behind"`
}

// Paths are those that Resolve is for.
func (c *SinkConfig) Paths() []*string { return []*string{&c.DSNFile, &c.CA, &c.Certificate, &c.Key} }

func (c SinkConfig) open() (ship.Sink, error) {
	files := ship.Files{CA: c.CA, Certificate: c.Certificate, Key: c.Key}
	switch c.Kind {
	case "syslog":
		return ship.NewSyslog(c.Address, files)
	case "https":
		return ship.NewHTTPS(c.URL, files)
	case "kafka":
		if len(c.Brokers) == 0 || c.Topic == "" {
			return nil, errors.New("须有 brokers 与 topic / brokers and topic are needed")
		}
		return ship.NewKafka(c.Brokers, c.Topic, files)
	case "postgresql":
		dsn, err := Text(c.DSNFile)
		if err != nil {
			return nil, err
		}
		return ship.NewPostgreSQL(dsn)
	}
	return nil, fmt.Errorf("kind %q: 须为 syslog、https、kafka 或 postgresql / must be syslog, https, kafka or postgresql", c.Kind)
}

// Copies ship a log to all its sinks.
type Copies struct {
	list   []*ship.Shipper
	cancel context.CancelFunc
	all    sync.WaitGroup
	sinks  []ship.Sink
}

// OpenCopies begins to ship the shard that is written, after what is left of those
// before it, and then those that it turns to. A sink that is down does not stop the
// start; one that is configured wrongly does.
func OpenCopies(c AuditConfig, live *audit.Log, log *slog.Logger, keys ...*ecdsa.PublicKey) (*Copies, error) {
	p := &Copies{}
	for i, s := range c.Ship {
		sink, err := s.open()
		conf := ship.Config{Name: s.Name, Dir: c.ShipDir, Sink: sink, Closed: !s.OpenOnly, MaxBehind: time.Duration(s.MaxBehind), Logger: log}
		if s.Kind == "syslog" {
			conf.Back = ship.SyslogBack
		}
		if err = p.add(conf, err); err != nil {
			return nil, errors.Join(fmt.Errorf("audit.ship[%d]: %w", i, err), p.Close())
		}
	}
	return p.start(c, live, log, keys)
}

// EventConfig is one subscriber to what supervision does: yellow and red cards,
// orders, complaints. See docs/SUPERVISION.md.
type EventConfig struct {
	Name        string `yaml:"name"` // of its cursor's file: a-z, 0-9 and -
	URL         string `yaml:"url"`
	CA          string `yaml:"ca"`          // PEM; who the subscriber must be
	Certificate string `yaml:"certificate"` // PEM; ours, if the subscriber asks for one
	Key         string `yaml:"key"`
}

// Paths are those that Resolve is for.
func (c *EventConfig) Paths() []*string { return []*string{&c.CA, &c.Certificate, &c.Key} }

// OpenEvents begins to push the events in the log to subscribers, signed with
// key; dir keeps how far each is. A subscriber that is down is tried again.
func OpenEvents(c AuditConfig, dir string, subscribers []EventConfig, key *jose.Key, live *audit.Log, log *slog.Logger, keys ...*ecdsa.PublicKey) (*Copies, error) {
	p := &Copies{}
	for i, s := range subscribers {
		sink, err := ship.NewEvents(s.URL, ship.Files{CA: s.CA, Certificate: s.Certificate, Key: s.Key}, key)
		if err = p.add(ship.Config{Name: s.Name, Dir: dir, Sink: sink, Closed: true, Logger: log}, err); err != nil {
			return nil, errors.Join(fmt.Errorf("supervise.events[%d]: %w", i, err), p.Close())
		}
	}
	return p.start(c, live, log, keys)
}

// add takes one sink up, unless opening it failed.
func (p *Copies) add(conf ship.Config, opened error) error {
	if opened != nil {
		return opened
	}
	p.sinks = append(p.sinks, conf.Sink)
	for _, other := range p.list {
		if other.Status().Name == conf.Name {
			return fmt.Errorf("名称 %q 重复 / the name is there twice", conf.Name)
		}
	}
	if err := os.MkdirAll(conf.Dir, 0o700); err != nil {
		return fmt.Errorf("cursors: %w", err)
	}
	one, err := ship.New(conf)
	if err == nil {
		p.list = append(p.list, one)
	}
	return err
}

// start ships to all sinks until Close.
func (p *Copies) start(c AuditConfig, live *audit.Log, log *slog.Logger, keys []*ecdsa.PublicKey) (*Copies, error) {
	if len(p.list) == 0 {
		return p, nil
	}
	shards, err := c.shards(live, keys)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	for _, one := range p.list {
		p.all.Go(func() {
			// What ends a shipper is about the log, not about its sink: it was cut, or
			// cannot be read. Nothing may happen then that is seen nowhere else.
			if err := one.Run(ctx, shards); err != nil && ctx.Err() == nil {
				log.Error("audit copy ended: no business is taken any more", "sink", one.Status().Name, "err", err)
				live.Hold("ship "+one.Status().Name, err)
			}
		})
	}
	return p, nil
}

// shards are those that exist, oldest first.
func (c AuditConfig) shards(live *audit.Log, keys []*ecdsa.PublicKey) ([]ship.Shard, error) {
	names, err := auditor.Shards(c.Dir)
	if err != nil {
		return nil, err
	}
	base, now := path.Split(live.Origin())
	var list []ship.Shard
	for _, name := range names {
		if name < now {
			list = append(list, ship.Shard{Origin: base + name, Dir: filepath.Join(c.Dir, name), Keys: keys})
		}
	}
	return append(list, ship.Shard{Origin: live.Origin(), Log: live}), nil
}

// Status says how far each sink is.
func (p *Copies) Status() []ship.Status {
	list := make([]ship.Status, len(p.list))
	for i, s := range p.list {
		list[i] = s.Status()
	}
	return list
}

// Close stops shipping; it goes on from the cursors the next time.
func (p *Copies) Close() error {
	if p.cancel != nil {
		p.cancel()
	}
	p.all.Wait()
	var errs []error
	for _, s := range p.sinks {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

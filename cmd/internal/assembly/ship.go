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
	"strconv"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/ship"
	"yizheng/catalog"
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
	shards, err := c.shards(live, keys)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for i, s := range c.Ship {
		where := "audit.ship[" + strconv.Itoa(i) + "]"
		if names[s.Name] {
			err = fmt.Errorf("%s: 名称 %q 重复 / the name is there twice", where, s.Name)
		}
		names[s.Name] = true
		var sink ship.Sink
		if err == nil {
			sink, err = s.open()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", where, err), p.Close())
		}
		p.sinks = append(p.sinks, sink)
		conf := ship.Config{Name: s.Name, Dir: c.ShipDir, Sink: sink, Closed: !s.OpenOnly, MaxBehind: time.Duration(s.MaxBehind), Logger: log}
		if s.Kind == "syslog" {
			conf.Back = ship.SyslogBack
		}
		one, err := ship.New(conf)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", where, err), p.Close())
		}
		p.list = append(p.list, one)
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
	if len(c.Ship) == 0 {
		return nil, nil
	}
	if err := os.MkdirAll(c.ShipDir, 0o700); err != nil {
		return nil, fmt.Errorf("audit.ship_dir: %w", err)
	}
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

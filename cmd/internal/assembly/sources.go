package assembly

import (
	"context"
	"errors"
	"fmt"

	"yizheng/adapters"
	"yizheng/catalog"
	"yizheng/deploy/simulators/localdb"
	"yizheng/deploy/simulators/systems"
	"yizheng/exchange"
)

// Connections are the ways to source systems, by the name the catalogue uses.
type Connections map[string]ConnectionConfig

// ConnectionConfig is one way to a source system; exactly one kind is set.
type ConnectionConfig struct {
	Platform *adapters.PlatformConfig `yaml:"platform"`
	SQL      *adapters.SQLConfig      `yaml:"sql"`
	// DemoTables fills an SQLite database in memory from configs/demo/systems; demo only.
	DemoTables string `yaml:"demo_tables"`
}

// Resolve makes paths relative to base.
func (c Connections) Resolve(base string) {
	for name, k := range c {
		if p := k.Platform; p != nil {
			Resolve(base, &p.CA, &p.Certificate, &p.Key, &p.AppKeyFile)
			for sid, file := range p.AppKeyFiles {
				Resolve(base, &file)
				p.AppKeyFiles[sid] = file
			}
		}
		if s := k.SQL; s != nil {
			Resolve(base, &s.DSNFile)
		}
		Resolve(base, &k.DemoTables)
		c[name] = k
	}
}

// Check returns a problem for every connection of the named file that is not exactly one kind.
func (c Connections) Check(file string) error {
	var errs []error
	for name, k := range c {
		if (k.Platform != nil) == (k.SQL != nil) {
			errs = append(errs, fmt.Errorf("%s: connections.%s: 须且只能有 platform 或 sql 之一 / needs exactly one of platform and sql", file, name))
		}
	}
	return errors.Join(errs...)
}

// Simulated names the connections that hold simulated data.
func (c Connections) Simulated() []string {
	var names []string
	for name, k := range c {
		if k.DemoTables != "" {
			names = append(names, name)
		}
	}
	return names
}

// Adapter is what both kinds of adapter are.
type Adapter interface {
	exchange.Source
	Prepare(s catalog.Source) error                    // finds the catalogue's mistakes before a resident meets them
	Probe(ctx context.Context, s catalog.Source) error // whether s could be asked now; asks about nobody
	Close() error
}

// Open opens every connection and prepares the sources that are asked from
// here. A peer that is down does not stop the start. What was opened is
// returned even with an error, to be closed.
func (c Connections) Open(ctx context.Context, demo bool, sources []catalog.Source) (map[string]Adapter, error) {
	open := make(map[string]Adapter)
	for name, k := range c {
		a, err := k.open(ctx, name, demo)
		if err != nil {
			return open, fmt.Errorf("connection %s: %w", name, err)
		}
		open[name] = a
	}
	for _, s := range sources {
		a, ok := open[s.Connection]
		if !ok {
			return open, fmt.Errorf("目录中的数据源 %s 需要连接 %s，请在 connections 中配置 / source %s of the catalogue needs connection %s",
				s.ID, s.Connection, s.ID, s.Connection)
		}
		if err := a.Prepare(s); err != nil {
			return open, fmt.Errorf("source %s: %w", s.ID, err)
		}
	}
	return open, nil
}

func (k ConnectionConfig) open(ctx context.Context, name string, demo bool) (Adapter, error) {
	if k.Platform != nil {
		return adapters.NewPlatform(*k.Platform)
	}
	if k.DemoTables == "" {
		return adapters.NewSQL(*k.SQL)
	}
	if !demo {
		return nil, errors.New("demo_tables 只能用于 mode: demo / demo_tables needs mode: demo")
	}
	city, err := systems.Read(k.DemoTables)
	if err != nil {
		return nil, err
	}
	conf := *k.SQL
	if conf.DB, err = localdb.LoadMemory(ctx, name, city.Databases[name]); err != nil {
		return nil, err
	}
	return adapters.NewSQL(conf)
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"yizheng/audit"
	"yizheng/audit/supervise"
	"yizheng/catalog"
	"yizheng/cmd/internal/assembly"
	"yizheng/cmd/internal/process"
	"yizheng/exchange"
	"yizheng/exchange/custody"
	"yizheng/exchange/ferry"
	"yizheng/exchange/reading"
	"yizheng/exchange/store"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
	"yizheng/seal"
	"yizheng/seal/pdf"
	"yizheng/web"
	"yizheng/web/health"
)

// serve runs a gateway until it is told to stop or its audit log fails.
func serve(ctx context.Context, args []string, out io.Writer) error {
	f := flags("serve", "-config FILE", "gateway serve -config configs/gateway.yaml")
	file := f.String("config", "", "配置文件 / configuration file")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *file == "" {
		f.Usage()
		return errUsage
	}
	c, err := readConfig(*file)
	if err != nil {
		return err
	}
	if err := errors.Join(c.strict(), process.KeepInMemory()); err != nil {
		return err
	}
	g := &gateway{config: c, log: slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	defer func() { g.Close(g.log) }()
	if err := g.open(ctx); err != nil {
		return err
	}
	return g.serve(ctx, out)
}

// gateway holds the parts of a running gateway, in the order they are opened.
type gateway struct {
	config *Config
	log    *slog.Logger
	assembly.Closers

	key       *jose.Key
	release   *catalog.Release
	audit     *assembly.AuditLog
	custody   *custody.Custody
	trust     *seal.Trust
	renderer  *pdf.Renderer
	earlier   []*audit.Archive
	exchanges *exchange.Service
	server    *web.Server
	brokers   []string     // of the ferry
	bus       *ferry.Kafka // nil without a ferry
	asker     *ferry.Asker

	supervision *supervise.Engine // nil without supervise

	// What is asked how the gateway is (health.go).
	started         time.Time
	watch           *health.Watch
	metrics         *health.Metrics
	store           *store.Store
	events          *assembly.Copies // nil without supervise
	timeStamps      *seal.TimeStamps // nil without
	certificateEnds []health.End     // of those read at the start
}

// open builds everything from the configuration.
func (g *gateway) open(ctx context.Context) error {
	c := g.config
	var err error
	g.started, g.watch = time.Now().UTC().Truncate(time.Second), health.NewWatch(g.look)
	g.metrics = health.NewMetrics(g.watch)
	if g.certificateEnds, err = c.certificateEnds(); err != nil {
		return err
	}
	if g.key, err = jose.ReadKey(c.Keys.Gateway, c.Keys.Passphrase); err != nil {
		return fmt.Errorf("gateway key: %w", err)
	}
	if g.release, err = c.Catalog.Open(time.Now()); err != nil {
		return err
	}
	persons, err := c.persons()
	if err != nil {
		return err
	}
	if err := g.openAudit(ctx, persons); err != nil {
		return err
	}
	if g.store, err = g.openStore(ctx); err != nil {
		return err
	}
	sources, err := g.openSources(ctx)
	if err != nil {
		return err
	}
	if g.renderer, err = c.Fonts.Open(&g.Closers); err != nil {
		return err
	}
	registry, closeSeals, err := c.Seals.Options(c.Keys.Passphrase)
	if err != nil {
		return err
	}
	g.OnClose(closeSeals)
	g.timeStamps = registry.TimeStamps
	g.trust = registry.Trust
	g.custody, err = custody.Open(ctx, custody.Config{Dir: c.Seals.Dir, Persons: persons, Audit: g.audit.Log, Earlier: g.earlier, Logger: g.log, Registry: registry})
	if err != nil {
		return fmt.Errorf("seals: %w", err)
	}
	if err := keysHere(g.release.Catalogue.Seals, g.custody.Seals().Seals(), c.Mode == "production"); err != nil {
		return err
	}
	token, err := assembly.Secret(c.Keys.Token, 16)
	if err != nil {
		return err
	}
	const tokenKeyID = "fleet"
	shared, err := g.openFleet()
	if err != nil {
		return err
	}
	g.exchanges, err = exchange.New(ctx, exchange.Config{
		Slot: c.Slot, Key: g.key, Release: g.release, Sources: sources, Seals: g.custody.Seals(), Trust: registry.Trust, Renderer: g.renderer, Audit: g.audit.Log, Earlier: g.earlier,
		Pseudonyms: g.audit.Pseudonyms, Store: g.store, Fleet: shared, LegEnded: g.metrics.LegEnded, Logger: g.log,
		TokenKey: func(kid string) []byte {
			if kid == tokenKeyID {
				return token
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	g.OnClose(func() error {
		stop, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		return g.exchanges.Close(stop)
	})
	g.collectDeferred()
	if err := g.openSupervision(); err != nil {
		return err
	}
	desk := reading.New(reading.Config{Origin: c.Origin, Key: g.key, TokenKeyID: tokenKeyID, TokenKey: token, Catalogue: g.release.Catalogue,
		Store: g.store, Audit: g.audit.Log, Pseudonyms: g.audit.Pseudonyms, AllowSimulated: c.Mode == "demo", Logger: g.log})
	searches, err := g.openSearch(persons, g.audit.Pseudonyms)
	if err != nil {
		return err
	}
	peers, err := c.Search.peers()
	if err != nil {
		return err
	}
	monitors, err := c.monitors()
	if err != nil {
		return err
	}
	g.server, err = web.New(web.Config{Catalogue: g.release.Catalogue, Exchanges: g.exchanges, Desk: desk, Audit: g.audit.Log, Custody: g.custody, Persons: persons, Supervision: g.supervision, Font: c.Fonts.Body,
		Search: searches, Peers: peers, Health: g.watch, Metrics: g.metrics, Monitors: monitors,
		Trust: registry.Trust, Renderer: g.renderer, Key: g.key, Demo: c.Mode == "demo", Logger: g.log})
	return err
}

// openAudit opens this quarter's shard, chained to the last if it is new, and
// the earlier ones for reading.
func (g *gateway) openAudit(ctx context.Context, persons *staff.Register) (err error) {
	g.audit, err = assembly.OpenAuditLog(ctx, assembly.Opening{Config: g.config.Audit, Origin: g.config.Origin, Passphrase: g.config.Keys.Passphrase,
		Persons: persons, Demo: g.config.Mode == "demo", Appended: g.metrics.Appended, Logger: g.log}, &g.Closers)
	if err != nil {
		return err
	}
	if g.earlier, err = g.audit.Archives.Valid(ctx, time.Now()); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := g.openEvents(); err != nil {
		return err
	}
	return assembly.RecordStart(ctx, g.audit.Log, g.config.Slot, g.release, g.config.file)
}

func (g *gateway) openStore(ctx context.Context) (*store.Store, error) {
	c := g.config.Store
	digestKey, err := assembly.Secret(g.config.Keys.Store, 32)
	if err != nil {
		return nil, err
	}
	conf := store.Config{Driver: c.Driver, DSN: c.DSN, DigestKey: digestKey}
	if c.DSNFile != "" {
		if conf.DSN, err = assembly.Text(c.DSNFile); err != nil {
			return nil, err
		}
	}
	if c.RedisURL != "" {
		url, err := assembly.Text(c.RedisURL)
		if err != nil {
			return nil, err
		}
		if conf.Redis, err = redis.ParseURL(url); err != nil {
			return nil, fmt.Errorf("store: %s is no Redis URL", c.RedisURL) // the URL may hold a password
		}
	}
	st, err := store.Open(ctx, conf)
	if err != nil {
		return nil, err
	}
	g.OnClose(st.Close)
	return st, nil
}

// openSources opens every connection, and the ferry to the fronts; a peer that
// is down does not stop the start.
func (g *gateway) openSources(ctx context.Context) (map[string]exchange.Source, error) {
	var direct []catalog.Source
	for _, s := range g.release.Catalogue.Sources {
		if s.Front == "" {
			direct = append(direct, s)
		}
	}
	open, err := g.config.Connections.Open(ctx, g.config.Mode == "demo", direct)
	sources := make(map[string]exchange.Source, len(open))
	for name, a := range open {
		sources[name] = a
		g.OnClose(a.Close)
	}
	if err != nil || g.config.Kafka == nil {
		return sources, err
	}
	return sources, g.openFerry(ctx, sources)
}

// serve answers until ctx ends. A failed audit log ends it at once: no log, no answer.
func (g *gateway) serve(ctx context.Context, out io.Writer) error {
	c := g.config.TLS
	certificate, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	ca, err := os.ReadFile(c.ClientCA)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(ca) {
		return fmt.Errorf("tls: %s holds no certificate", c.ClientCA)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", g.config.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	g.announce(out, l.Addr().String())
	return assembly.RunRecorded(ctx, g.audit.Log, nil, func(ctx context.Context) error {
		var watching sync.WaitGroup
		defer watching.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		g.audit.Watch(ctx, &watching)
		watching.Go(func() { g.watchFronts(ctx, out) })
		watching.Go(func() { g.custody.Watch(ctx) })
		watching.Go(func() { g.supervised(ctx) })
		watching.Go(func() { remind(ctx, g.ends, g.log) })
		return g.server.Serve(ctx, l, certificate, clients, 10*time.Second)
	})
}

// announce says on stdout, for people and scripts, where the gateway listens and what it is not.
func (g *gateway) announce(out io.Writer, addr string) {
	note := ""
	if g.config.Mode == "demo" {
		note = "demo: one machine, sample keys, simulated readers, pseudonyms in process"
	}
	line, _ := json.Marshal(map[string]any{"event": "listening", "addr": addr, "mode": g.config.Mode, "release": g.release.Number, // strings and a number always encode
		"note": note, "brokers": strings.Join(g.brokers, ",")})
	fmt.Fprintln(out, string(line))
}

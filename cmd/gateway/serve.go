package main

import (
	"context"
	"crypto/ecdsa"
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
	"time"

	"github.com/redis/go-redis/v9"

	"yizheng/adapters"
	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/deploy/simulators/localdb"
	"yizheng/exchange"
	"yizheng/exchange/reading"
	"yizheng/exchange/store"
	"yizheng/identity/jose"
	"yizheng/seal"
	"yizheng/seal/pdf"
	"yizheng/web"
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
	if err := c.strict(); err != nil {
		return err
	}
	g := &gateway{config: c, log: slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	defer g.close()
	if err := g.open(ctx); err != nil {
		return err
	}
	return g.serve(ctx, out)
}

// gateway holds the parts of a running gateway, in the order they are opened.
type gateway struct {
	config  *Config
	log     *slog.Logger
	closers []func() error // run last first

	key       *jose.Key
	release   *catalog.Release
	audit     *audit.Log
	exchanges *exchange.Service
	server    *web.Server
}

func (g *gateway) onClose(f func() error) { g.closers = append(g.closers, f) }

func (g *gateway) close() {
	for i := len(g.closers) - 1; i >= 0; i-- {
		if err := g.closers[i](); err != nil {
			g.log.Error("close", "err", err)
		}
	}
}

// open builds everything from the configuration.
func (g *gateway) open(ctx context.Context) error {
	c := g.config
	var err error
	if g.key, err = jose.ReadKey(c.Keys.Gateway, c.Keys.Passphrase); err != nil {
		return fmt.Errorf("gateway key: %w", err)
	}
	if g.release, err = c.openRelease(time.Now()); err != nil {
		return err
	}
	pseudonyms, err := g.openAudit(ctx)
	if err != nil {
		return err
	}
	st, err := g.openStore(ctx)
	if err != nil {
		return err
	}
	sources, err := g.openSources(ctx)
	if err != nil {
		return err
	}
	fonts, err := pdf.LoadFonts(c.Fonts.Body, c.Fonts.Fallbacks)
	if err != nil {
		return fmt.Errorf("字体不可用，见 README“字体” / fonts: %w", err)
	}
	g.onClose(fonts.Close)
	renderer, err := pdf.NewRenderer(fonts)
	if err != nil {
		return fmt.Errorf("renderer: %w", err)
	}
	trust, err := seal.LoadTrust(c.Seals.Trust)
	if err != nil {
		return fmt.Errorf("seal trust: %w", err)
	}
	seals, err := seal.OpenRegistry(c.Seals.Dir, seal.RegistryOptions{PassphraseFile: c.Keys.Passphrase, Trust: trust})
	if err != nil {
		return fmt.Errorf("seals: %w", err)
	}
	token, err := secretFile(c.Keys.Token, 16)
	if err != nil {
		return err
	}
	const tokenKeyID = "fleet"
	g.exchanges, err = exchange.New(ctx, exchange.Config{
		Slot: c.Slot, Key: g.key, Release: g.release, Sources: sources, Seals: seals, Renderer: renderer, Audit: g.audit,
		Pseudonyms: pseudonyms, Store: st, Logger: g.log,
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
	g.onClose(func() error {
		stop, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		return g.exchanges.Close(stop)
	})
	desk := reading.New(reading.Config{Origin: c.Origin, Key: g.key, TokenKeyID: tokenKeyID, TokenKey: token, Catalogue: g.release.Catalogue,
		Store: st, Audit: g.audit, Pseudonyms: pseudonyms, AllowSimulated: c.Mode == "demo", Logger: g.log})
	g.server, err = web.New(web.Config{Catalogue: g.release.Catalogue, Exchanges: g.exchanges, Desk: desk, Audit: g.audit,
		Trust: trust, Key: g.key, Demo: c.Mode == "demo", Logger: g.log})
	return err
}

// openRelease reads the newest release and holds it to its signatures.
func (c *Config) openRelease(now time.Time) (*catalog.Release, error) {
	trust, err := c.catalogTrust(now)
	if err != nil {
		return nil, err
	}
	data, number, err := catalog.Latest(c.Catalog.Releases)
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	r, err := catalog.Open(data, trust)
	if err != nil {
		return nil, fmt.Errorf("catalogue release %d: %w", number, err)
	}
	return r, nil
}

func (c *Config) catalogTrust(now time.Time) (catalog.Trust, error) {
	t := catalog.Trust{Administrators: make(map[string]*ecdsa.PublicKey), Need: 2, Now: now, MinNumber: c.Catalog.MinNumber}
	for _, path := range c.Catalog.Administrators {
		pub, err := jose.ReadPublicKey(path)
		if err != nil {
			return t, fmt.Errorf("security administrator: %w", err)
		}
		t.Administrators[jose.KeyID(pub)] = pub
	}
	return t, nil
}

// openAudit opens this quarter's shard; a new one is chained to the last.
func (g *gateway) openAudit(ctx context.Context) (*audit.Pseudonyms, error) {
	c := g.config.Audit
	key, err := jose.ReadKey(c.Key, g.config.Keys.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	conf := audit.Config{Signer: key, Logger: g.log}
	if g.config.Mode == "demo" {
		conf.SegmentSize = 4 << 20 // a laptop need not set 128 MiB aside
	}
	if g.audit, err = openShard(ctx, c.Dir, g.config.Origin, time.Now(), conf); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	g.onClose(g.audit.Close)
	p, err := audit.OpenPseudonyms(c.Pseudonyms)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return p, nil
}

func (g *gateway) openStore(ctx context.Context) (*store.Store, error) {
	c := g.config.Store
	digestKey, err := secretFile(g.config.Keys.Store, 32)
	if err != nil {
		return nil, err
	}
	conf := store.Config{Driver: c.Driver, DSN: c.DSN, DigestKey: digestKey}
	if c.DSNFile != "" {
		if conf.DSN, err = textFile(c.DSNFile); err != nil {
			return nil, err
		}
	}
	if c.RedisURL != "" {
		url, err := textFile(c.RedisURL)
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
	g.onClose(st.Close)
	return st, nil
}

// openSources opens every connection; a peer that is down does not stop the start.
func (g *gateway) openSources(ctx context.Context) (map[string]exchange.Source, error) {
	sources := make(map[string]exchange.Source)
	prepared := make(map[string]adapter)
	for name, k := range g.config.Connections {
		s, err := g.openSource(ctx, name, k)
		if err != nil {
			return nil, fmt.Errorf("connection %s: %w", name, err)
		}
		sources[name], prepared[name] = s, s
		g.onClose(s.Close)
	}
	for _, s := range g.release.Catalogue.Sources {
		if sources[s.Connection] == nil {
			return nil, fmt.Errorf("目录中的数据源 %s 需要连接 %s，请在 connections 中配置 / source %s of the catalogue needs connection %s", s.ID, s.Connection, s.ID, s.Connection)
		}
		if err := prepared[s.Connection].Prepare(s); err != nil {
			return nil, fmt.Errorf("source %s: %w", s.ID, err)
		}
	}
	return sources, nil
}

// adapter is what both kinds of adapter are.
type adapter interface {
	exchange.Source
	Prepare(s catalog.Source) error // finds the catalogue's mistakes before a resident meets them
	Close() error
}

func (g *gateway) openSource(ctx context.Context, name string, k ConnectionConfig) (adapter, error) {
	if k.Platform != nil {
		return adapters.NewPlatform(*k.Platform)
	}
	if k.DemoTables == "" {
		return adapters.NewSQL(*k.SQL)
	}
	if g.config.Mode != "demo" {
		return nil, errors.New("demo_tables 只能用于 mode: demo / demo_tables needs mode: demo")
	}
	tables, err := localdb.Read(k.DemoTables)
	if err != nil {
		return nil, err
	}
	conf := *k.SQL
	if conf.DB, err = localdb.LoadMemory(ctx, name, tables[name]); err != nil {
		return nil, err
	}
	return adapters.NewSQL(conf)
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
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-ctx.Done():
		case <-g.audit.Failed():
			cancel(errAudit)
		}
	}()
	g.announce(out, l.Addr().String())
	err = g.server.Serve(ctx, l, certificate, clients, 10*time.Second)
	cancel(nil)
	<-watched
	if errors.Is(context.Cause(ctx), errAudit) {
		return fmt.Errorf("%w: %w", errAudit, g.audit.Err())
	}
	return err
}

var errAudit = errors.New("审计日志失效，网关已停 / the audit log failed, the gateway has stopped")

// announce says on stdout, for people and scripts, where the gateway listens and what it is not.
func (g *gateway) announce(out io.Writer, addr string) {
	note := ""
	if g.config.Mode == "demo" {
		note = "demo: one machine, sample keys, simulated readers, pseudonyms in process"
	}
	line, _ := json.Marshal(map[string]any{"event": "listening", "addr": addr, "mode": g.config.Mode, "release": g.release.Number, // strings and a number always encode
		"note": note, "weak": g.config.AllowWeak})
	fmt.Fprintln(out, string(line))
}

// secretFile reads a raw secret of exactly n bytes.
func secretFile(path string, n int) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	if len(b) != n {
		return nil, fmt.Errorf("secret %s: 须为 %d 字节 / must be %d bytes", path, n, n)
	}
	return b, nil
}

func textFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

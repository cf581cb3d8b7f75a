package main

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/cmd/internal/assembly"
	"yizheng/exchange"
	"yizheng/exchange/ferry"
	"yizheng/exchange/front"
	"yizheng/identity/jose"
)

// runAgent answers questions until it is told to stop or its audit log fails.
func runAgent(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("frontproc agent", flag.ContinueOnError)
	file := f.String("config", "", "配置文件 / configuration `file`")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "frontproc agent -config FILE\n例 / example: frontproc agent -config /etc/yizheng/frontproc.yaml")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if *file == "" || f.NArg() > 0 {
		f.Usage()
		return errUsage
	}
	c, err := readConfig(*file)
	if err != nil {
		return err
	}
	a := &agent{config: c, log: slog.New(slog.NewJSONHandler(os.Stderr, nil))}
	defer a.close()
	if err := a.open(ctx); err != nil {
		return err
	}
	return a.serve(ctx, out)
}

// agent holds the parts of a running agent, in the order they are opened.
type agent struct {
	config  *Config
	log     *slog.Logger
	closers []func() error

	audit  *audit.Log
	server *ferry.Server
}

func (a *agent) onClose(f func() error) { a.closers = append(a.closers, f) }

func (a *agent) close() {
	for i := len(a.closers) - 1; i >= 0; i-- {
		if err := a.closers[i](); err != nil {
			a.log.Error("close", "err", err)
		}
	}
}

func (a *agent) open(ctx context.Context) error {
	c := a.config
	if c.Mode == "production" {
		if err := protected(c.Key, c.Audit.Key); err != nil {
			return err
		}
	}
	key, err := jose.ReadKey(c.Key, c.Passphrase)
	if err != nil {
		return fmt.Errorf("front key: %w", err)
	}
	release, err := c.Catalog.Open(time.Now())
	if err != nil {
		return err
	}
	known, ok := release.Catalogue.Front(catalog.FrontID(c.Front))
	if pub := release.Catalogue.FrontKey(known.ID); !ok || pub == nil || jose.KeyID(pub) != key.ID() {
		return fmt.Errorf("目录中没有前置机 %s，或其公钥与本机私钥不符 / the catalogue has no front %s with this key", c.Front, c.Front)
	}
	pseudonyms, err := a.openAudit(ctx)
	if err != nil {
		return err
	}
	sources, err := a.openSources(ctx, release.Catalogue, known.ID)
	if err != nil {
		return err
	}
	gateways, err := c.gateways()
	if err != nil {
		return err
	}
	worker := front.NewAgent(front.Config{Front: known.ID, Release: release, GatewayKeys: gateways.byKey, Sources: sources, Audit: a.audit,
		Pseudonyms: pseudonyms, AllowSimulated: c.Mode == "demo", Logger: a.log})
	return a.openFerry(ctx, front.Door{Agent: worker, Key: key, Gateways: gateways.byName}, release.Number)
}

func protected(keys ...string) error {
	var errs []error
	for _, k := range keys {
		if ok, err := jose.IsProtected(k); err != nil || !ok {
			errs = append(errs, fmt.Errorf("production: %s: 私钥未加密或读不到 / private key is not encrypted, or cannot be read", k))
		}
	}
	return errors.Join(errs...)
}

func (a *agent) openAudit(ctx context.Context) (*audit.Pseudonyms, error) {
	c := a.config.Audit
	key, err := jose.ReadKey(c.Key, a.config.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	conf := audit.Config{Signer: key, Logger: a.log}
	if a.config.Mode == "demo" {
		conf.SegmentSize = 4 << 20
	}
	if a.audit, err = assembly.OpenShard(ctx, c.Dir, a.config.Front+"/audit", time.Now(), conf); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	a.onClose(a.audit.Close)
	return audit.OpenPseudonyms(c.Pseudonyms)
}

// openSources opens the department's systems for the sources behind this front.
func (a *agent) openSources(ctx context.Context, c *catalog.Catalogue, id catalog.FrontID) (map[string]exchange.Source, error) {
	var own []catalog.Source
	for _, s := range c.Sources {
		if s.Front == id {
			own = append(own, s)
		}
	}
	open, err := a.config.Connections.Open(ctx, a.config.Mode == "demo", own)
	sources := make(map[string]exchange.Source, len(open))
	for name, s := range open {
		sources[name] = s
		a.onClose(s.Close)
	}
	return sources, err
}

// gatewayKeys are those who may ask.
type gatewayKeys map[string]*ecdsa.PublicKey

func (c *Config) gateways() (gatewayKeys, error) {
	keys := make(gatewayKeys)
	for _, g := range c.Gateways {
		pub, err := jose.ReadPublicKey(g.Key)
		if err != nil {
			return nil, fmt.Errorf("gateway %s: %w", g.Name, err)
		}
		keys[g.Name] = pub
	}
	return keys, nil
}

func (k gatewayKeys) byName(name, keyID string) *ecdsa.PublicKey {
	if pub := k[name]; pub != nil && jose.KeyID(pub) == keyID {
		return pub
	}
	return nil
}

func (k gatewayKeys) byKey(keyID string) *ecdsa.PublicKey {
	for _, pub := range k {
		if jose.KeyID(pub) == keyID {
			return pub
		}
	}
	return nil
}

func (a *agent) openFerry(ctx context.Context, door front.Door, release uint64) error {
	c := a.config.Kafka
	bus, err := ferry.OpenKafka(ctx, ferry.KafkaConfig{Brokers: c.Brokers, ClientID: "front-" + a.config.Front, Logger: a.log,
		TLS: ferry.Files{CA: c.CA, Certificate: c.Certificate, Key: c.Key}})
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	a.onClose(bus.Close)
	a.server, err = ferry.NewServer(bus, ferry.ServerConfig{Front: a.config.Front, Handle: door.Handle, Logger: a.log,
		Describe: func(h *ferry.Heartbeat) { h.Release, h.Keys = release, []string{door.Key.ID()} }})
	return err
}

// serve answers until ctx ends. A failed audit log ends it at once: no log, no answer.
func (a *agent) serve(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-ctx.Done():
		case <-a.audit.Failed():
			cancel(errAudit)
		}
	}()
	line, err := json.Marshal(map[string]string{"event": "serving", "front": a.config.Front, "mode": a.config.Mode})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, string(line))
	err = a.server.Run(ctx)
	cancel(nil)
	<-watched
	if errors.Is(context.Cause(ctx), errAudit) {
		return fmt.Errorf("%w: %w", errAudit, a.audit.Err())
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

var errAudit = errors.New("审计日志失效，前置机已停 / the audit log failed, the front has stopped")

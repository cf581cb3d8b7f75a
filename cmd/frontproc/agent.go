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
	"slices"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/cmd/internal/assembly"
	"yizheng/cmd/internal/process"
	"yizheng/exchange"
	"yizheng/exchange/ferry"
	"yizheng/exchange/ferry/relay"
	"yizheng/exchange/front"
	"yizheng/identity/jose"
)

// runAgent answers questions until it is told to stop or its audit log fails.
func runAgent(ctx context.Context, args []string, out io.Writer) error {
	file, err := configFlag("agent", "/etc/yizheng/frontproc.yaml", args)
	if err != nil {
		return err
	}
	c, err := readConfig(file)
	if err != nil {
		return err
	}
	if err := process.KeepInMemory(); err != nil {
		return err
	}
	a := &agent{config: c, log: slog.New(slog.NewJSONHandler(os.Stderr, nil))}
	defer func() { a.Close(a.log) }()
	if err := a.open(ctx); err != nil {
		return err
	}
	return a.serve(ctx, out)
}

// configFlag reads a command's only flag.
func configFlag(command, example string, args []string) (string, error) {
	f := flag.NewFlagSet("frontproc "+command, flag.ContinueOnError)
	file := f.String("config", "", "配置文件 / configuration `file`")
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "frontproc %s -config FILE\n例 / example: frontproc %s -config %s\n", command, command, example)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return "", err
		}
		return "", errUsage
	}
	if *file == "" || f.NArg() > 0 {
		f.Usage()
		return "", errUsage
	}
	return *file, nil
}

// agent holds the parts of a running agent, in the order they are opened.
type agent struct {
	config *Config
	log    *slog.Logger
	assembly.Closers

	audit  *assembly.AuditLog
	server *ferry.Server
	gap    <-chan error // what ended the spool; nil without one
}

func (a *agent) open(ctx context.Context) error {
	c := a.config
	if err := c.strict(); err != nil {
		return err
	}
	key, err := jose.ReadKey(c.Key, c.Passphrase)
	if err != nil {
		return fmt.Errorf("front key: %w", err)
	}
	release, err := c.openRelease(key)
	if err != nil {
		return err
	}
	if err := a.openAudit(ctx); err != nil {
		return err
	}
	if err := assembly.RecordStart(ctx, a.audit.Log, c.Front, release, c.file); err != nil {
		return err
	}
	sources, err := a.openSources(ctx, c.ownSources(release.Catalogue))
	if err != nil {
		return err
	}
	gateways, err := c.gateways()
	if err != nil {
		return err
	}
	press, err := a.openPress(release.Catalogue, catalog.FrontID(c.Front), key)
	if err != nil {
		return err
	}
	worker, err := front.NewAgent(front.Config{Front: catalog.FrontID(c.Front), Release: release, GatewayKeys: gateways.byKey, Sources: sources, Press: press, Audit: a.audit.Log,
		Pseudonyms: a.audit.Pseudonyms, Reads: c.Reads, DeferredAge: c.DeferredAge, Deferring: c.DeferredWorkers, AllowSimulated: c.Mode == "demo", Logger: a.log})
	if errors.Is(err, front.ErrNoReads) {
		return errors.New("reads: 本前置机有可延时办理的数据源，须给出记录已用读卡的文件 / a source here can be deferred: name the file of used card reads")
	}
	if err != nil {
		return err
	}
	a.OnClose(worker.Close)
	return a.openFerry(ctx, front.Door{Agent: worker, Key: key, Gateways: gateways.byName}, release.Number)
}

// openRelease opens the catalogue, which has to know this front with this key.
func (c *Config) openRelease(key *jose.Key) (*catalog.Release, error) {
	release, err := c.Catalog.Open(time.Now())
	if err != nil {
		return nil, err
	}
	id := catalog.FrontID(c.Front)
	if pub := release.Catalogue.FrontKey(id); pub == nil || jose.KeyID(pub) != key.ID() {
		return nil, fmt.Errorf("目录中没有前置机 %s，或其公钥与本机私钥不符 / the catalogue has no front %s with this key", id, id)
	}
	return release, nil
}

// ownSources are those that are asked from behind this front.
func (c *Config) ownSources(cat *catalog.Catalogue) []catalog.Source {
	return slices.DeleteFunc(slices.Clone(cat.Sources), func(s catalog.Source) bool { return s.Front != catalog.FrontID(c.Front) })
}

func (a *agent) openAudit(ctx context.Context) error {
	c := a.config
	persons, err := assembly.KeyAdministrators(c.Administrators)
	if err != nil {
		return err
	}
	a.audit, err = assembly.OpenAuditLog(ctx, assembly.Opening{Config: c.Audit, Origin: c.Front + "/audit", Passphrase: c.Passphrase,
		Persons: persons, Demo: c.Mode == "demo", Logger: a.log}, &a.Closers)
	if err != nil {
		return err
	}
	return a.recordInspection(ctx)
}

// recordInspection writes down what the boundary device looks into, and by whose leave not.
func (a *agent) recordInspection(ctx context.Context) error {
	s := a.config.Spool
	if s == nil {
		return nil
	}
	_, err := a.audit.Append(ctx, audit.Entry{
		Open:   audit.Open{Op: audit.OpAdmin, Phase: audit.PhaseDone, Route: string(catalog.RouteGap), Status: s.Inspection},
		Closed: audit.Closed{Node: a.config.Front, Object: "gap-inspection", After: s.Inspection, Authority: s.Exemption}})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// openSources opens the department's systems.
func (a *agent) openSources(ctx context.Context, own []catalog.Source) (map[string]exchange.Source, error) {
	open, err := a.config.Connections.Open(ctx, a.config.Mode == "demo", own)
	sources := make(map[string]exchange.Source, len(open))
	for name, s := range open {
		sources[name] = s
		a.OnClose(s.Close)
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

// maxDeferred is how many deferred questions are taken and checked at once. Of
// deferred_workers of them the department is asked; the others wait, checked: a
// card read must be fresh when its question comes, not when it is its turn.
const maxDeferred = 1024

func (a *agent) openFerry(ctx context.Context, door front.Door, release uint64) error {
	c := ferry.ServerConfig{Front: a.config.Front, Handle: door.Handle, Deferred: door.Agent.Deferred() > 0,
		ParallelDeferred: maxDeferred, Logger: a.log,
		Describe: func(h *ferry.Heartbeat) { h.Release, h.Keys = release, []string{door.Key.ID()} }}
	bus, err := a.openBus(ctx)
	if err != nil {
		return err
	}
	if a.gap != nil {
		c.SignEvery = -1 // nobody hedges across a gap
	}
	a.server, err = ferry.NewServer(bus, c)
	return err
}

func (a *agent) openBus(ctx context.Context) (ferry.Bus, error) {
	if k := a.config.Kafka; k != nil {
		bus, err := k.open(ctx, "front-"+a.config.Front, a.log)
		if err != nil {
			return nil, err
		}
		a.OnClose(bus.Close)
		return bus, nil
	}
	l, err := a.config.Spool.open(ctx, a.config.Passphrase, a.log)
	if err != nil {
		return nil, err
	}
	a.OnClose(l.stop)
	inbox, err := a.config.Spool.openInbox(a.log)
	if err != nil {
		return nil, err
	}
	a.OnClose(inbox.Close)
	bus := relay.NewBus(l.Link, inbox, a.log)
	receiving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { _ = bus.Run(receiving) }) // fails only with the link, which reports
	a.OnClose(func() error { stop(); wg.Wait(); return nil })
	a.gap = l.failed
	return bus, nil
}

// serve answers until ctx ends. A failed audit log ends it at once, and so does
// a spool that cannot be used.
func (a *agent) serve(ctx context.Context, out io.Writer) error {
	line, err := json.Marshal(map[string]string{"event": "serving", "front": a.config.Front, "mode": a.config.Mode})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, string(line))
	err = assembly.RunRecorded(ctx, a.audit.Log, a.gap, a.run)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// run answers; meanwhile the log is shown to its witnesses, and turns with the quarter.
func (a *agent) run(ctx context.Context) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.audit.Watch(ctx, &watching)
	return a.server.Run(ctx)
}

// Package demo runs a whole city on one machine: the provincial platform, the
// city's own databases, the audit office's witness, a gateway with a broker in it, the front processors
// behind that broker, those behind a gap with its boundary device and relay,
// and two read agents, each a process of its own as in a real city, with sample
// keys and fictional people. Which there are follows from the catalogue. It
// then does what a clerk does, through the same HTTPS API.
//
// Everything it writes lies in the state directory (keys, configurations,
// audit log), but for the documents, which go to the output directory.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/audit/pseudod"
	"yizheng/catalog"
	"yizheng/cmd/gateway/setup"
	"yizheng/deploy/simulators/systems"
	"yizheng/identity/jose"
)

// Places says where the city's files and programs are.
type Places struct {
	State   string // keys, configurations and logs; made if missing
	Configs string // configs/demo
	Bin     string // directory with gateway, frontproc, readeragent, province and gapdevice
	Font    string // body font; empty: where Debian's packages put it
	Listen  string // the gateway's address; port 0 picks a free one
	Log     io.Writer
	// Services of a real deployment; nil: what a gateway brings along, on one machine.
	Services *Services
}

// City is a running demo city.
type City struct {
	Places
	URL       string // the gateway's
	Release   uint64 // number of the catalogue release
	catalogue *catalog.Catalogue
	Brokers   string // addresses of the gateway's broker, comma separated
	began     time.Time
	witness   string          // address of the audit office's witness
	province  string          // address of the provincial platform
	closed    string          // an address where nobody listens
	locked    *os.File        // holds the state directory
	local     map[string]bool // connections to simulated databases
	stage     int             // of the start; what is started in one stage is stopped together
	processes []*process
	gateway   *process
	up        map[catalog.FrontID]bool // as the gateway has said
	agents    map[string]*agent        // by workstation
}

// agent is a read agent with the simulated reader the clerk puts cards on.
type agent struct {
	process *process
	code    string // the pairing code it shows
}

// Start sets up what is missing and starts every process. Stop the city in any case.
func Start(ctx context.Context, p Places) (*City, error) {
	c := &City{Places: p, agents: make(map[string]*agent), up: make(map[catalog.FrontID]bool), began: time.Now()}
	if err := c.lock(); err != nil {
		return c, err
	}
	if err := free(ctx, p.Listen); err != nil {
		return c, err
	}
	o := setup.Options{Dir: p.State, Catalog: filepath.Join(p.Configs, "catalog"), Font: c.fonts().Body,
		Hosts: []string{"localhost", "127.0.0.1"}, Now: c.began}
	if err := c.prepare(o); err != nil {
		return c, err
	}
	for _, step := range []func(context.Context) error{c.startWitness, c.startProvince, c.prepareCluster, c.startGateway, c.startRelays, c.startDevices, c.startFronts, c.startAgents, c.awaitFronts} {
		c.stage++
		if err := step(ctx); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *City) prepare(o setup.Options) error {
	if _, err := os.Stat(o.Font); err != nil {
		return fmt.Errorf("找不到字体 %s；先运行 make setup，或见 README“字体” / font not found; run make setup, or see README", o.Font)
	}
	if err := errors.Join(c.useServices(), setup.Make(o)); err != nil {
		return err
	}
	for _, name := range []string{"province", "broker"} {
		if err := setup.IssueServer(o, "keys/tls/"+name, name); err != nil {
			return err
		}
	}
	if err := setup.IssueClient(o, "keys/tls/kafka-gw00", "gw00"); err != nil {
		return err
	}
	var err error
	if c.catalogue, err = catalog.Load(o.Catalog, catalog.Options{}); err != nil {
		return err
	}
	if err := c.findLocal(); err != nil {
		return err
	}
	if err := setup.MakeFronts(o); err != nil {
		return err
	}
	if err := setup.SignRoster(o, origin, c.address()); err != nil {
		return err
	}
	if c.Release, err = setup.Publish(o); err != nil {
		return fmt.Errorf("catalogue: %w", err)
	}
	if err := c.protectPseudonyms(); err != nil {
		return err
	}
	return c.writeAppKey()
}

// protectPseudonyms encrypts the keys that a demo city of an earlier version left in clear.
func (c *City) protectPseudonyms() error {
	dirs := map[string]string{c.in("pseudonyms"): c.in("keys/pseudonyms.key")}
	for _, f := range c.catalogue.Fronts {
		dirs[c.fronts(f.ID, "pseudonyms")] = c.fronts(f.ID, "pseudonyms-key.key")
	}
	for dir, key := range dirs {
		kek, err := jose.ReadKey(key, "")
		if err != nil {
			return err
		}
		if _, err := audit.ProtectPseudonyms(dir, pseudod.Wrap(kek)); err != nil {
			return err
		}
	}
	return nil
}

// findLocal notes which connections lead to a simulated database.
func (c *City) findLocal() error {
	known, err := systems.Read(c.systems())
	c.local = make(map[string]bool, len(known.Databases))
	for connection := range known.Databases {
		c.local[connection] = true
	}
	return err
}

func (c *City) startProvince(ctx context.Context) error {
	p, err := c.start(ctx, "province", "-cert", c.in("keys/tls/province.crt"), "-key", c.in("keys/tls/province.key"),
		"-systems", c.systems(), "-rid", requester, "-app-key-file", c.in("keys/province.appkey"))
	if err != nil {
		return err
	}
	e, err := c.await(ctx, p, "listening")
	if err != nil {
		return err
	}
	c.province = e["addr"]
	if c.closed, err = closedPort(); err != nil {
		return err
	}
	return c.writeGatewayConfig()
}

func (c *City) startGateway(ctx context.Context) error {
	p, err := c.start(ctx, "gateway", "serve", "-config", c.in("gateway.yaml"))
	if err != nil {
		return err
	}
	e, err := c.await(ctx, p, "listening")
	if err != nil {
		return err
	}
	c.gateway, c.URL, c.Brokers = p, "https://"+e["addr"], e["brokers"]
	return nil
}

func (c *City) startAgents(ctx context.Context) error {
	for _, ws := range workstations {
		file, err := c.writeAgentConfig(ws)
		if err != nil {
			return err
		}
		p, err := c.start(ctx, "readeragent", "-config", file)
		if err != nil {
			return err
		}
		e, err := c.await(ctx, p, "pairing_code")
		if err != nil {
			return err
		}
		c.agents[ws.id] = &agent{process: p, code: e["code"]}
	}
	return nil
}

// Put lays a person's card on a workstation's reader.
func (c *City) Put(workstation, card string) error {
	return c.agents[workstation].process.say("put " + card)
}

// Remove takes the card away again.
func (c *City) Remove(workstation string) error {
	return c.agents[workstation].process.say("remove")
}

// StopAgent ends a workstation's read agent, as when its window closes.
func (c *City) StopAgent(workstation string) error {
	return c.agents[workstation].process.stop()
}

// Gateway waits until the gateway has ended by itself and returns its exit code.
func (c *City) Gateway(ctx context.Context) (int, error) {
	select {
	case <-c.gateway.ended:
		return c.gateway.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("gateway runs on: %w", ctx.Err())
	}
}

// Stop ends the processes, last started first, and waits for each.
func (c *City) Stop() error {
	var errs []error
	for ; c.stage > 0; c.stage-- {
		var together sync.WaitGroup
		var mu sync.Mutex
		for _, p := range c.processes {
			if p.stage != c.stage {
				continue
			}
			together.Go(func() {
				err := p.stop()
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
		together.Wait()
	}
	c.processes = nil
	return errors.Join(append(errs, c.unlock())...)
}

func (c *City) in(path string) string { return filepath.Join(c.State, path) }

// Package demo runs a whole city on one machine: the provincial platform, the
// city's own databases, a gateway with a broker in it, the front processors
// behind that broker and two read agents, each a process of its own as in a
// real city, with sample keys and fictional people. It then does
// what a clerk does, through the same HTTPS API.
//
// Everything it writes lies in the state directory (keys, configurations,
// audit log), but for the documents, which go to the output directory.
package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"yizheng/catalog"
	"yizheng/cmd/gateway/setup"
)

// Places says where the city's files and programs are.
type Places struct {
	State   string // keys, configurations and logs; made if missing
	Configs string // configs/demo
	Bin     string // directory with gateway, frontproc, readeragent and province
	Font    string // body font; empty: where Debian's packages put it
	Listen  string // the gateway's address; port 0 picks a free one
	Log     io.Writer
}

// City is a running demo city.
type City struct {
	Places
	URL       string // the gateway's
	Release   uint64 // number of the catalogue release
	catalogue *catalog.Catalogue
	Brokers   string   // addresses of the gateway's broker, comma separated
	locked    *os.File // holds the state directory
	processes []*process
	agents    map[string]*agent // by workstation
}

// agent is a read agent with the simulated reader the clerk puts cards on.
type agent struct {
	process *process
	code    string // the pairing code it shows
}

// Start sets up what is missing and starts every process. Stop the city in any case.
func Start(ctx context.Context, p Places) (*City, error) {
	c := &City{Places: p, agents: make(map[string]*agent)}
	if err := c.lock(); err != nil {
		return c, err
	}
	if err := free(ctx, p.Listen); err != nil {
		return c, err
	}
	o := setup.Options{Dir: p.State, Catalog: filepath.Join(p.Configs, "catalog"), Font: c.fonts().Body,
		Hosts: []string{"localhost", "127.0.0.1"}, Now: time.Now()}
	if err := c.prepare(o); err != nil {
		return c, err
	}
	for _, step := range []func(context.Context) error{c.startProvince, c.startGateway, c.startFronts, c.startAgents} {
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
	if err := setup.Make(o); err != nil {
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
	if err := setup.MakeFronts(o); err != nil {
		return err
	}
	if c.Release, err = setup.Publish(o); err != nil {
		return fmt.Errorf("catalogue: %w", err)
	}
	return c.writeAppKey()
}

func (c *City) startProvince(ctx context.Context) error {
	p, err := c.start(ctx, "province", "-cert", c.in("keys/tls/province.crt"), "-key", c.in("keys/tls/province.key"),
		"-people", filepath.Join(c.Configs, "people.yaml"), "-rid", requester, "-app-key-file", c.in("keys/province.appkey"))
	if err != nil {
		return err
	}
	e, err := c.await(ctx, p, "listening")
	if err != nil {
		return err
	}
	return c.writeGatewayConfig(e["addr"])
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
	c.URL, c.Brokers = "https://"+e["addr"], e["brokers"]
	return nil
}

// startFronts starts the front processors and waits until the gateway has heard of each.
func (c *City) startFronts(ctx context.Context) error {
	gateway := c.processes[len(c.processes)-1]
	for _, f := range c.catalogue.Fronts {
		file, err := c.writeFrontConfig(f)
		if err != nil {
			return err
		}
		p, err := c.start(ctx, "frontproc", "agent", "-config", file)
		if err != nil {
			return err
		}
		if _, err := c.await(ctx, p, "serving"); err != nil {
			return err
		}
		if _, err := c.await(ctx, gateway, "front"); err != nil {
			return err
		}
	}
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

// StopFront ends a front processor, as when a department switches it off.
func (c *City) StopFront(id string) error {
	for _, p := range c.processes {
		if p.name == "frontproc" && slices.Contains(p.cmd.Args, c.in("front-"+id+".yaml")) {
			return p.stop()
		}
	}
	return errEnded
}

// Gateway waits until the gateway has ended by itself and returns its exit code.
func (c *City) Gateway(ctx context.Context) (int, error) {
	for _, p := range c.processes {
		if p.name != "gateway" {
			continue
		}
		select {
		case <-p.ended:
			return p.cmd.ProcessState.ExitCode(), nil
		case <-ctx.Done():
			return 0, fmt.Errorf("gateway runs on: %w", ctx.Err())
		}
	}
	return 0, errEnded
}

// Stop ends the processes, last started first, and waits for each.
func (c *City) Stop() error {
	var errs []error
	for i := len(c.processes) - 1; i >= 0; i-- {
		errs = append(errs, c.processes[i].stop())
	}
	c.processes = nil
	return errors.Join(append(errs, c.unlock())...)
}

func (c *City) in(path string) string { return filepath.Join(c.State, path) }

// process is a child with its JSON lines.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	events chan map[string]string
	ended  chan struct{}
	err    error
	mu     sync.Mutex
	last   lastLine
}

// lastLine keeps the last line written: usually why a process has ended.
type lastLine struct {
	mu   sync.Mutex
	text []byte
}

func (l *lastLine) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := bytes.LastIndexByte(bytes.TrimRight(b, "\n"), '\n'); i >= 0 {
		l.text = b[i+1:]
	} else if n := len(l.text); n > 0 && l.text[n-1] != '\n' && n < 4<<10 { // the line goes on
		l.text = append(l.text, b...)
		return len(b), nil
	} else {
		l.text = b
	}
	l.text = bytes.Clone(l.text)
	return len(b), nil
}

func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.TrimSpace(l.text))
}

// free reports a port that somebody else has before anything is started.
func free(ctx context.Context, addr string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s 已被占用：请停掉占用它的程序，或用 -listen 换一个地址 / in use: stop the program that has it, or choose another address with -listen", addr)
	}
	if err != nil {
		return fmt.Errorf("不能在 %s 监听，请用 -listen 换一个地址 / cannot listen there, choose another address with -listen: %w", addr, err)
	}
	return l.Close()
}

// start runs a program of the Bin directory; what it says on stderr goes to the city's log.
func (c *City) start(ctx context.Context, name string, args ...string) (*process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: exec.Command(filepath.Join(c.Bin, name), args...), events: make(chan map[string]string, 64), ended: make(chan struct{})}
	p.cmd.Stderr = io.MultiWriter(c.Log, &p.last)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at the terminal reaches us alone; we stop them in order
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s（先运行 make build / run make build first）: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		p.read(stdout)
		p.err = p.cmd.Wait()
	}()
	c.processes = append(c.processes, p)
	return p, nil
}

// read takes the child's JSON lines until it ends; nobody listens to those beyond the first few.
func (p *process) read(stdout io.Reader) {
	s := bufio.NewScanner(stdout)
	for s.Scan() {
		var raw map[string]any
		if json.Unmarshal(s.Bytes(), &raw) != nil {
			continue
		}
		e := make(map[string]string, len(raw))
		for k, v := range raw {
			e[k] = fmt.Sprint(v)
		}
		select {
		case p.events <- e:
		default:
		}
	}
}

// await returns the next event of a kind.
func (c *City) await(ctx context.Context, p *process, kind string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		select {
		case e := <-p.events:
			if e["event"] == kind {
				return e, nil
			}
		case <-p.ended:
			return nil, fmt.Errorf("%s 意外退出（%w）：%s\n其余见 / the rest is in %s", p.name, errors.Join(p.err, errEnded), p.last.String(), c.in("processes.log"))
		case <-ctx.Done():
			return nil, fmt.Errorf("%s 未就绪 / not ready (%s): %w", p.name, kind, ctx.Err())
		}
	}
}

var errEnded = errors.New("ended unexpectedly")

func (p *process) say(line string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		return fmt.Errorf("tell %s: %w", p.name, err)
	}
	return nil
}

// stop asks politely, then insists.
func (p *process) stop() error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(30 * time.Second):
		return errors.Join(fmt.Errorf("%s did not stop and was killed", p.name), p.cmd.Process.Kill())
	}
}

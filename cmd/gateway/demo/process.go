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
	"sync"
	"syscall"
	"time"

	"yizheng/catalog"
)

// process is a child with its JSON lines.
type process struct {
	name    string
	program Program         // of a front; empty for all others
	front   catalog.FrontID // whose it is
	stage   int
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	events  chan map[string]string
	ended   chan struct{}
	err     error
	mu      sync.Mutex
	last    lastLine
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
	p := &process{name: name, stage: c.stage, cmd: exec.Command(filepath.Join(c.Bin, name), args...), events: make(chan map[string]string, 64), ended: make(chan struct{})}
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
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
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

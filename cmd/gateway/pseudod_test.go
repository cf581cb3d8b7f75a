package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/pseudod"
)

// service is a pseudonym service in a process of its own.
type service struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	said *strings.Builder // on stderr; read it when the process has ended
}

// newPseudod lays out a service that processes of this user may call. Its
// directory has a short name, since a socket's may have 107 bytes.
func newPseudod(t *testing.T, uid int) *service {
	t.Helper()
	dir, err := os.MkdirTemp("", "yzp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what is left says nothing
	s := &service{t: t, dir: dir}
	for name, text := range map[string]string{"words": "correct horse\n",
		"pseudod.yaml": fmt.Sprintf("socket: s\ndir: keys\nkey: kek.key\npassphrase: words\nuids: [%d]\n", uid)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := s.command("keys", "new", "-passphrase", filepath.Join(dir, "words"), filepath.Join(dir, "kek")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return s
}

// command runs this test's program as the gateway (see TestMain).
func (s *service) command(args ...string) *exec.Cmd {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	return &exec.Cmd{Path: self, Args: append([]string{"gateway"}, args...), Env: os.Environ()}
}

// start returns when the service listens.
func (s *service) start() {
	s.t.Helper()
	s.cmd, s.said = s.command("pseudod", "-config", filepath.Join(s.dir, "pseudod.yaml")), &strings.Builder{}
	s.cmd.Stderr = s.said
	stdout, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.kill)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || !strings.Contains(line, "listening") {
		s.kill()
		s.t.Fatalf("%q %v\n%s", line, err, s.said)
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }() // until the process ends
}

// kill ends it as a power cut would.
func (s *service) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	_ = s.cmd.Wait()
}

func TestPseudod_IsKilledAndComesBackWithTheSamePseudonyms(t *testing.T) {
	s := newPseudod(t, os.Getuid())
	s.start()
	socket := filepath.Join(s.dir, "s")
	client := pseudod.NewClient(socket)
	defer client.Close()                // only idle connections
	const number = "690101199003075114" // fictional: region 69 does not exist
	first, err := client.Of("111", number, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{socket: 0o660 | os.ModeSocket, filepath.Join(s.dir, "keys"): 0o700 | os.ModeDir,
		filepath.Join(s.dir, "keys", "idno-"+audit.Quarter(time.Now())+".key"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", path, info.Mode(), err, want)
		}
	}
	s.kill()
	if ref, err := client.Of("111", number, time.Now()); !errors.Is(err, pseudod.ErrUnavailable) || ref.P != "" {
		t.Errorf("from a service that was killed: %+v %v", ref, err)
	}
	s.start()
	if again, err := client.Of("111", number, time.Now()); err != nil || again.P != first.P {
		t.Errorf("after it came back another pseudonym, %v", err)
	}
	s.kill()
	if strings.Contains(s.said.String(), number) {
		t.Error("its messages hold a number")
	}
}

func TestPseudod_CutsOffAUserWhoIsNotListed(t *testing.T) {
	s := newPseudod(t, os.Getuid()+1)
	s.start()
	client := pseudod.NewClient(filepath.Join(s.dir, "s"))
	defer client.Close() // only idle connections
	if err := client.Check(); !errors.Is(err, pseudod.ErrUnavailable) {
		t.Errorf("answered: %v", err)
	}
}

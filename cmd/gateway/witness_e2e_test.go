//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// site is a gateway and a witness, each a process of its own, of a city whose
// other programs are not needed.
type site struct {
	t     *testing.T
	state string
}

func newSite(t *testing.T) *site {
	t.Helper()
	city, _ := startCity(t)
	if err := city.Stop(); err != nil {
		t.Fatal(err)
	}
	return &site{t, city.State}
}

func (s *site) in(name string) string { return filepath.Join(s.state, name) }

// edit replaces what begins with key in a configuration, up to the line's end.
func (s *site) edit(file, key, value string) {
	s.t.Helper()
	b, err := os.ReadFile(s.in(file))
	if err != nil {
		s.t.Fatal(err)
	}
	at := bytes.Index(b, []byte(key))
	if at < 0 {
		s.t.Fatalf("%s has no %q:\n%s", file, key, b)
	}
	end := at + bytes.IndexByte(b[at:], '\n')
	b = append(append(b[:at:at], key+" "+value...), b[end:]...)
	if err := os.WriteFile(s.in(file), b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// launch starts a program and returns where it listens, and what stops it.
func (s *site) launch(command, config string) (addr string, stop func()) {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(programs(s.t), "gateway"), command, "-config", s.in(config))
	var said bytes.Buffer
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	s.t.Cleanup(stop)
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var e struct{ Addr string }
	if err == nil {
		err = json.Unmarshal(line, &e)
	}
	if err != nil {
		stop()
		s.t.Fatalf("%s does not listen: %v\n%s", command, err, said.String())
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }() // until the process ends
	return e.Addr, stop
}

// startWitness starts the witness where the gateway looks for it.
func (s *site) startWitness() (stop func()) {
	s.t.Helper()
	b, err := os.ReadFile(s.in("gateway.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	at := regexp.MustCompile(`url: https://(127\.0\.0\.1:[0-9]+)\n`).FindSubmatch(b[bytes.Index(b, []byte("witnesses:")):])
	if at == nil {
		s.t.Fatalf("no witness in\n%s", b)
	}
	s.edit("witness.yaml", "listen:", string(at[1]))
	_, stop = s.launch("witness", "witness.yaml")
	return stop
}

// refuses starts the gateway, which has to end with 1, and returns what it says.
func (s *site) refuses() string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(programs(s.t), "gateway"), "serve", "-config", s.in("gateway.yaml"))
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 {
		s.t.Errorf("it started, or ended otherwise: %v\n%s", err, out)
	}
	return string(out)
}

// verify asks the gateway for what it must record: 200, or why not.
func (s *site) verify(addr string) (int, string) {
	s.t.Helper()
	ca, err := os.ReadFile(s.in("keys/tls/ca.crt"))
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	resp, err := client.Post("https://"+addr+"/v1/verify", "application/pdf", strings.NewReader("%PDF-1.7"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// until asks again and again for the status.
func (s *site) until(addr string, status int) string {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		got, body := s.verify(addr)
		if got == status {
			return body
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("status %d, want %d: %s", got, status, body)
		}
	}
}

func TestALogThatWasRewoundIsNotStarted(t *testing.T) {
	s := newSite(t)
	if err := os.CopyFS(s.in("earlier"), os.DirFS(s.in("audit"))); err != nil {
		t.Fatal(err)
	}
	s.startWitness()
	addr, stop := s.launch("serve", "gateway.yaml")
	s.until(addr, http.StatusOK)
	stop() // the witness sees the last head
	for _, name := range []string{"audit", "audit-index", "audit-witnessed"} {
		if err := os.RemoveAll(s.in(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(s.in("earlier"), s.in("audit")); err != nil {
		t.Fatal(err)
	}
	if said := s.refuses(); !strings.Contains(said, "回退") || !strings.Contains(said, "rewound") {
		t.Errorf("it does not say why:\n%s", said)
	}
}

func TestNothingIsReleasedWithoutWitness(t *testing.T) {
	s := newSite(t)
	stopWitness := s.startWitness()
	s.edit("gateway.yaml", "  pseudonyms:", "pseudonyms\n  max_unwitnessed: 2s")
	addr, _ := s.launch("serve", "gateway.yaml")
	s.until(addr, http.StatusOK)
	stopWitness()
	if body := s.until(addr, http.StatusServiceUnavailable); !strings.Contains(body, "AUDIT_HELD") {
		t.Errorf("it says %s", body)
	}
	s.startWitness()
	s.until(addr, http.StatusOK)
}

package ship

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/identity/jose"
)

// certificate is a server's for 127.0.0.1, and a file with what vouches for it.
func certificate(t testing.TB) (tls.Certificate, Files) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return s.TLS.Certificates[0], Files{CA: ca}
}

// syslogd is a receiver: what it reads of each message, and its connections.
type syslogd struct {
	net.Listener
	mu    sync.Mutex
	lines []string
	conns []net.Conn
}

func newSyslogd(t testing.TB, own tls.Certificate, address string) *syslogd {
	t.Helper()
	l, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	d := &syslogd{Listener: l}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conns = append(d.conns, c)
			d.mu.Unlock()
			wg.Go(func() { d.read(c) })
		}
	})
	t.Cleanup(func() { d.stop(); wg.Wait() })
	return d
}

func (d *syslogd) read(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		length, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil {
			return
		}
		m := make([]byte, n)
		if _, err := io.ReadFull(in, m); err != nil {
			return
		}
		d.mu.Lock()
		d.lines = append(d.lines, string(m))
		d.mu.Unlock()
	}
}

func (d *syslogd) stop() {
	d.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		c.Close()
	}
}

var rfc5424 = regexp.MustCompile(`^<10[89]>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+08:00 gw1\.example\.gov\.cn yizheng-audit - [a-z.]{1,32} ` +
	`\[entry@32473 origin="gw1\.example\.gov\.cn/audit/2026q4" index="(\d+)" leaf="[0-9a-f]{64}"\] \x{FEFF}\{.*\}$|^<110>1 .* index="(\d+)"`)

func (d *syslogd) indexes(t testing.TB) []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []uint64
	for _, line := range d.lines {
		m := rfc5424.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not of RFC 5424: %q", line)
		}
		n, _ := strconv.ParseUint(m[1]+m[2], 10, 64)
		list = append(list, n)
	}
	return list
}

func TestSyslogLosesNothingWhenTheReceiverIsRestarted(t *testing.T) {
	own, files := certificate(t)
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 900)
	first := newSyslogd(t, own, "127.0.0.1:0")
	address := first.Addr().String()
	sink, err := NewSyslog(address, files)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	s := newShipper(t, t.TempDir(), sink, func(c *Config) { c.Back = SyslogBack })
	running(t, s, sh)
	eventually(t, "it has begun", func() bool { return s.Status().Next > 0 })
	first.stop()
	grow(t, sh.Log, 50)
	eventually(t, "it is known to be gone", func() bool { return s.Status().Error != "" })
	second := newSyslogd(t, own, address)
	eventually(t, "all are taken", func() bool { return s.Status().Next == sh.Log.Head().Size && s.Status().Error == "" })
	eventually(t, "all are read", func() bool {
		got := append(first.indexes(t), second.indexes(t)...)
		slices.Sort(got)
		return slices.Equal(slices.Compact(got), upTo(sh.Log.Head().Size))
	})
}

func TestSyslogSpeaksToNobodyItDoesNotKnow(t *testing.T) {
	_, files := certificate(t)
	other := httptest.NewUnstartedServer(nil)
	pool := x509.NewCertPool()
	other.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	other.StartTLS()
	defer other.Close()
	sink, err := NewSyslog(other.Listener.Addr().String(), files)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 1)
	s := newShipper(t, t.TempDir(), sink, nil)
	running(t, s, sh)
	eventually(t, "it is refused", func() bool { return s.Status().Error != "" })
	time.Sleep(50 * time.Millisecond)
	if s.Status().Next != 0 {
		t.Error("something was shipped to a server that wants a certificate we do not have")
	}
	if _, err := NewSyslog("no-port", files); err == nil {
		t.Error("an address without a port is taken")
	}
}

func TestHTTPSKeepsABatchUntilItIsTaken(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	var calls atomic.Int32
	answers := []int{http.StatusInternalServerError, http.StatusTemporaryRedirect, http.StatusForbidden, http.StatusNoContent}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(calls.Add(1)) - 1
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		status := answers[min(n, len(answers)-1)]
		if status == http.StatusTemporaryRedirect {
			w.Header().Set("Location", "/elsewhere")
		}
		if status/100 == 2 {
			mu.Lock()
			defer mu.Unlock()
			got := strings.SplitAfter(string(body), "\n")
			if r.Header.Get("Yizheng-Count") != fmt.Sprint(len(got)-1) || r.Header.Get("Yizheng-First") != fmt.Sprint(len(lines)) ||
				r.Header.Get("Content-Type") != "application/x-ndjson" || r.Header.Get("Yizheng-Origin") == "" {
				t.Errorf("headers %v", r.Header)
			}
			lines = append(lines, got[:len(got)-1]...)
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	sink, err := NewHTTPS(server.URL+"/in", Files{CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 600)
	s := newShipper(t, t.TempDir(), sink, nil)
	stop := running(t, s, sh)
	eventually(t, "all are taken", func() bool { return s.Status().Next == sh.Log.Head().Size })
	_ = stop()
	mu.Lock()
	defer mu.Unlock()
	if len(lines) != int(sh.Log.Head().Size) {
		t.Errorf("%d lines", len(lines))
	}
	for _, bad := range []string{"http://siem.example/in", "https://", "https://user:word@siem.example/", ":"} {
		if _, err := NewHTTPS(bad, Files{CA: ca}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestEventsReachASubscriberThatWasDown(t *testing.T) {
	signer, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	own, files := certificate(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close() // nobody listens there yet
	sink, err := NewEvents("https://"+address+"/in", files, signer)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 3)
	for _, e := range []audit.Entry{
		{Open: audit.Open{Op: audit.OpSuperviseCard, Phase: audit.PhaseDone, Number: "K<1>", Status: "raised"}, Closed: audit.Closed{Actor: "clerk-1"}},
		{Open: audit.Open{Op: audit.OpComplaint, Phase: audit.PhaseDone}},
	} {
		if _, err := sh.Log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	grow(t, sh.Log, 2)
	s := newShipper(t, t.TempDir(), sink, func(c *Config) { c.Closed = true })
	stop := running(t, s, sh)
	eventually(t, "it is missed", func() bool { return s.Status().Error != "" })

	var mu sync.Mutex
	var ops []string
	server := &httptest.Server{Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		payload, kid, err := jose.Verify(string(body), TypeEvent, func(string) *ecdsa.PublicKey { return signer.Public() })
		var got struct {
			Events []struct {
				Open   struct{ Op string }
				Closed struct{ Actor string }
			}
		}
		if err = errors.Join(err, json.Unmarshal(payload, &got)); err != nil || kid != signer.ID() || r.Header.Get("Content-Type") != "application/jose" {
			t.Errorf("%v, signed by %s", err, kid)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, e := range got.Events {
			ops = append(ops, e.Open.Op+" "+e.Closed.Actor)
		}
	})}, TLS: &tls.Config{Certificates: []tls.Certificate{own}}}
	if server.Listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	server.StartTLS()
	defer server.Close()
	eventually(t, "all are taken", func() bool { return s.Status().Next == sh.Log.Head().Size })
	_ = stop()
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"supervise.card clerk-1", "citizen.complaint "}; !slices.Equal(ops, want) {
		t.Errorf("pushed: %q", ops)
	}
}

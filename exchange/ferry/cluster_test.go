package ferry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cluster is a broker for one test, with names of its own.
type cluster struct {
	brokers  []string
	files    Files
	embedded *Embedded // nil: a real one
	id       string    // part of front names
	slot     string
}

var slots atomic.Int64

func (c *cluster) front() string { return "t-" + c.id }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func newNames(c *cluster) *cluster {
	c.id = strings.ToLower(rand.Text()[:10])
	c.slot = fmt.Sprintf("%02d", slots.Add(1)%100)
	return c
}

// embedded starts an in-process broker for one test.
func embedded(t testing.TB) *cluster {
	t.Helper()
	files := certificates(t)
	e, err := StartEmbedded(EmbeddedConfig{TLS: files, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return newNames(&cluster{brokers: e.Brokers(), files: files, embedded: e})
}

// certificates writes a CA and one certificate that is good for both sides.
func certificates(t testing.TB) Files {
	t.Helper()
	dir := t.TempDir()
	f := Files{CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ferry test CA"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "ferry test"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	caKey, key := ecKey(t), ecKey(t)
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct{ path, kind, der string }{
		{f.CA, "CERTIFICATE", string(caDER)}, {f.Certificate, "CERTIFICATE", string(der)}, {f.Key, "PRIVATE KEY", string(pkcs8)},
	} {
		if err := os.WriteFile(w.path, pem.EncodeToMemory(&pem.Block{Type: w.kind, Bytes: []byte(w.der)}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// open connects; the connection is closed when the test ends.
func (c *cluster) open(t testing.TB) *Kafka {
	t.Helper()
	k, err := OpenKafka(t.Context(), KafkaConfig{Brokers: c.brokers, ClientID: "ferry-test", TLS: c.files, Session: 6 * time.Second, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return k
}

// topics creates what the test's front and slot need.
func (c *cluster) topics(t testing.TB, k *Kafka) {
	t.Helper()
	err := k.EnsureTopics(t.Context(), Layout{Slots: []string{c.slot}, Fronts: []FrontLayout{{Name: c.front(), Deferred: time.Hour}}})
	if err != nil {
		t.Fatal(err)
	}
}

// running runs f until the test ends or stop is called, and waits for it.
func running(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

// asker returns a running asker.
func (c *cluster) asker(t testing.TB, k Bus, change func(*AskerConfig)) *Asker {
	t.Helper()
	config := AskerConfig{Slot: c.slot, Logger: quiet()}
	if change != nil {
		change(&config)
	}
	a, err := NewAsker(k, config)
	if err != nil {
		t.Fatal(err)
	}
	running(t, a.Run)
	select {
	case <-a.Ready():
	case <-time.After(20 * time.Second):
		t.Fatal("the asker does not get ready")
	}
	return a
}

// serve runs a server for the test's front and waits until it has partitions.
func (c *cluster) serve(t testing.TB, k Bus, handle func(context.Context, Message) (Answer, error), change func(*ServerConfig)) (*Server, func()) {
	t.Helper()
	config := ServerConfig{Front: c.front(), Handle: handle, HeartbeatEvery: 10 * time.Second, Logger: quiet()}
	if change != nil {
		change(&config)
	}
	s, err := NewServer(k, config)
	if err != nil {
		t.Fatal(err)
	}
	return s, running(t, s.Run)
}

// echo answers with the request's body.
func echo(_ context.Context, m Message) (Answer, error) { return says(m.Body), nil }

func says(body []byte) Answer {
	return Answer{Size: len(body), Seal: func(Message) ([]byte, map[string]string, error) { return body, nil, nil }}
}

// question asks the test's front; got receives the accepted answer.
func (c *cluster) question(name string, body []byte, limit time.Duration, got *Message) Question {
	return Question{Front: c.front(), Exchange: name, Leg: "1", Deadline: time.Now().Add(limit),
		Seal:   func(int) ([]byte, map[string]string, error) { return body, nil, nil },
		Accept: func(m Message) (bool, error) { *got = m; return true, nil }}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// ready connects and creates the test's topics.
func (c *cluster) ready(t testing.TB) *Kafka {
	t.Helper()
	k := c.open(t)
	c.topics(t, k)
	return k
}

// headers are those of a first attempt that nobody waits for.
func (c *cluster) headers(a *Asker, exchange string, deadline time.Time) map[string]string {
	return map[string]string{HeaderExchange: c.id + exchange, HeaderLeg: "1", HeaderAttempt: "1", HeaderDeadline: millis(deadline),
		HeaderReplyTo: a.ReplyTopic(), HeaderEpoch: a.epoch}
}

func (c *cluster) publish(t testing.TB, k Bus, m Message) {
	t.Helper()
	if err := k.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func (a *Asker) state(front string) FrontState {
	for _, f := range a.Fronts() {
		if f.Front == front {
			return f
		}
	}
	return FrontState{Front: front}
}

// deadLetters waits for n dead letters of the test's front.
func (c *cluster) deadLetters(t testing.TB, k Bus, n int) []Message {
	t.Helper()
	var mu sync.Mutex
	var found []Message
	stop := running(t, func(ctx context.Context) error {
		return k.ConsumeDirect(ctx, DirectConfig{Topic: TopicDeadLetter, Oldest: true}, func(_ context.Context, m Message) error {
			mu.Lock()
			defer mu.Unlock()
			if m.Headers[HeaderSource] == RequestTopic(c.front()) {
				found = append(found, m)
			}
			return nil
		})
	})
	eventually(t, "all dead letters", func() bool { mu.Lock(); defer mu.Unlock(); return len(found) == n })
	stop()
	return found
}

package relay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"yizheng/exchange/ferry"
	"yizheng/exchange/ferry/spool"
	"yizheng/identity/jose"
)

const behind = "police-front" // the front behind the gap

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func must[T any](t testing.TB) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// running runs f until the test ends or stop is called, and waits for it.
func running(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// spools are the two ends of a gap.
type spools struct {
	dirs         [2]string
	cloud, inner *spool.Link
}

// newSpools opens both ends. Something has to carry the files: carry, or a device.
func newSpools(t testing.TB) *spools {
	t.Helper()
	s := &spools{dirs: [2]string{t.TempDir(), t.TempDir()}}
	keys := [2]*jose.Key{must[*jose.Key](t)(jose.GenerateKey()), must[*jose.Key](t)(jose.GenerateKey())}
	channels := [2]string{"CITY_POLICE", "POLICE_CITY"}
	for i, link := range []**spool.Link{&s.cloud, &s.inner} {
		*link = must[*spool.Link](t)(spool.Open(spool.Config{
			Dir: s.dirs[i], Out: channels[i], In: channels[1-i], Key: keys[i], Device: spool.Device{Atomic: true},
			PeerKey: func(kid string) *ecdsa.PublicKey {
				if kid == keys[1-i].ID() {
					return keys[1-i].Public()
				}
				return nil
			},
			Scan: 5 * time.Millisecond, AckEvery: 20 * time.Millisecond, GapAfter: 150 * time.Millisecond,
			ResendAfter: 500 * time.Millisecond, BeatEvery: 250 * time.Millisecond,
		}))
		running(t, (*link).Run)
	}
	return s
}

// carry is a device in its best mood.
func (s *spools) carry(t testing.TB) {
	running(t, func(ctx context.Context) error {
		for ctx.Err() == nil {
			for i, from := range s.dirs {
				files, err := os.ReadDir(filepath.Join(from, "out"))
				if err != nil {
					return err
				}
				for _, f := range files {
					if err := os.Rename(filepath.Join(from, "out", f.Name()), filepath.Join(s.dirs[1-i], "in", f.Name())); err != nil {
						return err
					}
				}
			}
			time.Sleep(2 * time.Millisecond)
		}
		return nil
	})
}

// cloud is the private cloud: an embedded broker, a gateway's asker, a relay.
type cloud struct {
	bus   *ferry.Kafka
	asker *ferry.Asker
	relay *Relay
	mu    sync.Mutex
	lost  []error // what the pumps refused
}

func newCloud(t testing.TB, link *spool.Link) *cloud {
	t.Helper()
	files := certificates(t)
	broker := must[*ferry.Embedded](t)(ferry.StartEmbedded(ferry.EmbeddedConfig{TLS: files, Logger: quiet()}))
	t.Cleanup(broker.Close)
	c := &cloud{bus: must[*ferry.Kafka](t)(ferry.OpenKafka(t.Context(), ferry.KafkaConfig{Brokers: broker.Brokers(), ClientID: "test", TLS: files, Logger: quiet()}))}
	t.Cleanup(func() {
		if err := c.bus.Close(); err != nil {
			t.Error(err)
		}
	})
	err := c.bus.EnsureTopics(t.Context(), ferry.Layout{Slots: []string{"00"}, Fronts: []ferry.FrontLayout{{Name: behind, Deferred: time.Hour}}})
	if err != nil {
		t.Fatal(err)
	}
	c.asker = must[*ferry.Asker](t)(ferry.NewAsker(c.bus, ferry.AskerConfig{Slot: "00", HedgeEvery: -1, Logger: quiet()}))
	running(t, c.asker.Run)
	<-c.asker.Ready()
	c.relay = must[*Relay](t)(New(Config{Bus: c.bus, Fronts: []string{behind}, Deferred: true, Logger: quiet()}))
	refuse := func(_ spool.Message, err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lost = append(c.lost, err)
	}
	running(t, func(ctx context.Context) error { return spool.Pump(ctx, c.relay, link, refuse) })
	running(t, func(ctx context.Context) error { return spool.Pump(ctx, link, c.relay, refuse) })
	return c
}

func (c *cloud) refused() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lost)
}

func (c *cloud) up() bool {
	for _, f := range c.asker.Fronts() {
		if f.Front == behind && f.Up {
			return len(f.Replicas) > 0
		}
	}
	return false
}

// ask asks the front behind the gap.
func (c *cloud) ask(ctx context.Context, name string, body []byte, limit time.Duration) (got ferry.Message, err error) {
	err = c.asker.Ask(ctx, ferry.Question{Front: behind, Exchange: name, Leg: "1", Deadline: time.Now().Add(limit),
		Seal: func(int) ([]byte, map[string]string, error) {
			return body, map[string]string{"yz-kind": "request"}, nil
		},
		Accept: func(m ferry.Message) (bool, error) { got = m; return true, nil }})
	return got, err
}

// serve has handle answer on the isolated side.
func serve(t testing.TB, link *spool.Link, handle func(context.Context, ferry.Message) (ferry.Answer, error)) (s *ferry.Server, stop func()) {
	t.Helper()
	inbox := openTestInbox(t, InboxConfig{Dir: t.TempDir()})
	bus := NewBus(link, inbox, quiet())
	s = must[*ferry.Server](t)(ferry.NewServer(bus, ferry.ServerConfig{Front: behind, Handle: handle, Deferred: true, SignEvery: -1,
		HeartbeatEvery: time.Second, Logger: quiet()}))
	stopBus := running(t, bus.Run)
	stopServer := running(t, s.Run)
	stop = func() { stopServer(); stopBus() }
	t.Cleanup(stop) // before either is stopped alone
	return s, stop
}

func says(body []byte) ferry.Answer {
	return ferry.Answer{Size: len(body), Seal: func(ferry.Message) ([]byte, map[string]string, error) {
		return body, map[string]string{"yz-kind": "answer"}, nil
	}}
}

func echo(_ context.Context, m ferry.Message) (ferry.Answer, error) { return says(m.Body), nil }

// certificates writes a CA and one certificate that is good for both sides.
func certificates(t testing.TB) ferry.Files {
	t.Helper()
	dir := t.TempDir()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "relay test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key))
	pkcs8 := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key))
	f := ferry.Files{CA: filepath.Join(dir, "cert.pem"), Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for path, block := range map[string]*pem.Block{f.CA: {Type: "CERTIFICATE", Bytes: der}, f.Key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func name(i int) string { return fmt.Sprint("X-", i) }

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/cmd/internal/assembly"
	"yizheng/exchange/ferry"
	"yizheng/identity/jose"
)

const goodSpool = `spool:
  dir: spool
  out: CITY_POLICE
  in: POLICE_CITY
  key: keys/relay.key
  peer_keys: [keys/front-gap.pub.pem]
  device: {atomic: true, max_file: 32768}
  scan: 5ms
  gap_after: 200ms
  resend_after: 500ms
`

const goodRelay = `mode: demo
fronts: [police-front]
kafka:
  brokers: [127.0.0.1:9]
  ca: keys/ca.crt
  certificate: keys/relay.crt
  key: keys/relay.tls.key
` + goodSpool

func TestExampleConfigurationsAreValid(t *testing.T) {
	r, err := readRelayConfig("../../configs/relay.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if r.Spool.Key != "../../configs/keys/relay.key" || r.Spool.Dir != "/var/spool/yizheng/police" || r.Spool.GapAfter != 2*time.Second ||
		r.Spool.Device.StableFor != 200*time.Millisecond {
		t.Errorf("read as %+v", r.Spool)
	}
	a, err := readConfig("../../configs/frontproc-gap.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if a.Spool.Out != r.Spool.In || a.Spool.In != r.Spool.Out {
		t.Error("the two examples do not fit together")
	}
	if _, err := readConfig("../../configs/frontproc.example.yaml"); err != nil {
		t.Error(err)
	}
}

func TestAgentHasKafkaOrASpool(t *testing.T) {
	a, z := strings.Index(goodConfig, "kafka:"), strings.Index(goodConfig, "catalog:")
	kafka := goodConfig[a:z]
	if _, err := readConfig(configFile(t, strings.Replace(goodConfig, kafka, goodSpool, 1))); err != nil {
		t.Errorf("a spool: %v", err)
	}
	for label, text := range map[string]string{"both": goodConfig + goodSpool, "neither": strings.Replace(goodConfig, kafka, "", 1)} {
		if _, err := readConfig(configFile(t, text)); err == nil || !strings.Contains(err.Error(), "kafka, spool: ") {
			t.Errorf("%s: %v", label, err)
		}
	}
}

func TestBadRelayConfigurationNamesFileAndPlace(t *testing.T) {
	for label, c := range map[string]struct {
		old, new string
		want     []string
	}{
		"unknown key":            {"mode: demo", "mode: demo\nfront: x", []string{"frontproc.yaml", "front"}},
		"unknown device rule":    {"{atomic: true,", "{atomic: true, fast: true,", []string{"fast"}},
		"another mode":           {"mode: demo", "mode: test", []string{"mode: ", "production"}},
		"no front":               {"[police-front]", "[]", []string{"fronts: "}},
		"no Kafka":               {goodRelay[strings.Index(goodRelay, "kafka:"):strings.Index(goodRelay, "spool:")], "", []string{"kafka: ", "缺少"}},
		"no spool":               {goodSpool, "", []string{"spool: "}},
		"no key":                 {"  key: keys/relay.key\n", "", []string{"spool.key"}},
		"nobody to believe":      {"[keys/front-gap.pub.pem]", "[]", []string{"spool.peer_keys"}},
		"a channel of any kind":  {"CITY_POLICE", "city-police", []string{"spool.out", "A-Z"}},
		"inspection of a kind":   {"  scan: 5ms\n", "  scan: 5ms\n  inspection: body\n", []string{"spool.inspection", "opaque"}},
		"header that is none":    {"  scan: 5ms\n", "  scan: 5ms\n  inspection: header\n", []string{"spool.inspection", "xml"}},
		"one channel":            {"CITY_POLICE", "POLICE_CITY", []string{"spool.out, spool.in"}},
		"time runs backwards":    {"scan: 5ms", "scan: -5ms", []string{"spool.scan"}},
		"two things at once":     {"  dir: spool\n  out: CITY_POLICE\n", "", []string{"spool.dir", "spool.out"}},
		"duration without units": {"scan: 5ms", "scan: fast", []string{"frontproc.yaml", "fast"}},
	} {
		t.Run(label, func(t *testing.T) {
			text := strings.Replace(goodRelay, c.old, c.new, 1)
			if text == goodRelay {
				t.Fatal("the test changes nothing")
			}
			_, err := readRelayConfig(configFile(t, text))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in: %v", w, err)
				}
			}
		})
	}
}

func TestRelayExitCodes(t *testing.T) {
	for label, c := range map[string]struct {
		args []string
		want int
		says string
	}{
		"help":                 {[]string{"-h"}, 0, ""},
		"no configuration":     {nil, 2, ""},
		"what is too much":     {[]string{"-config", "none.yaml", "more"}, 2, ""},
		"no such file":         {[]string{"-config", "none.yaml"}, 1, "none.yaml"},
		"keys are missing":     {[]string{"-config", configFile(t, goodRelay)}, 1, "spool key"},
		"production unguarded": {[]string{"-config", configFile(t, strings.Replace(goodRelay, "demo", "production", 1))}, 1, "relay.key"},
	} {
		t.Run(label, func(t *testing.T) {
			var errOut bytes.Buffer
			if got := run(context.Background(), append([]string{"relay"}, c.args...), io.Discard, &errOut); got != c.want || !strings.Contains(errOut.String(), c.says) {
				t.Errorf("exit code %d, want %d; %s", got, c.want, &errOut)
			}
		})
	}
}

// The command itself, between an embedded broker and the spool of a front.
func TestRelayCarriesQuestionsAndAnswers(t *testing.T) {
	dir := t.TempDir()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	files := clientCertificate(t, dir)
	for _, name := range []string{"relay", "front-gap"} {
		k, err := jose.GenerateKey()
		ok(err)
		ok(k.WriteFile(filepath.Join(dir, name+".key"), nil))
		pub, err := jose.MarshalPublicKeyPEM(k.Public())
		ok(err)
		ok(os.WriteFile(filepath.Join(dir, name+".pub.pem"), pub, 0o600))
	}
	log := slog.New(slog.DiscardHandler)
	broker, err := ferry.StartEmbedded(ferry.EmbeddedConfig{TLS: files, Logger: log})
	ok(err)
	t.Cleanup(broker.Close)
	text := fmt.Sprintf("mode: demo\nfronts: [police-front]\nkafka: {brokers: [%q], ca: %s, certificate: %s, key: %s}\n", broker.String(), files.CA, files.Certificate, files.Key) +
		strings.ReplaceAll(goodSpool, "keys/", "")
	file := filepath.Join(dir, "relay.yaml")
	ok(os.WriteFile(file, []byte(text), 0o600))
	inner := SpoolConfig{Dir: filepath.Join(dir, "inner"), Out: "POLICE_CITY", In: "CITY_POLICE", Key: filepath.Join(dir, "front-gap.key"),
		PeerKeys: []string{filepath.Join(dir, "relay.pub.pem")}, Scan: 5 * time.Millisecond}
	inner.Device.Atomic, inner.Device.MaxFile = true, 32768
	agent := &agent{config: &Config{Front: "police-front", Spool: &inner}, log: log}
	defer agent.Close(log)
	local, err := agent.openBus(t.Context())
	ok(err)

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	bus, err := (&KafkaConfig{Brokers: broker.Brokers(), CA: files.CA, Certificate: files.Certificate, Key: files.Key}).open(ctx, "gateway", log)
	ok(err)
	ok(bus.EnsureTopics(ctx, ferry.Layout{Slots: []string{"00"}, Fronts: []ferry.FrontLayout{{Name: "police-front"}}}))
	asker, err := ferry.NewAsker(bus, ferry.AskerConfig{Slot: "00", HedgeEvery: -1, Logger: log})
	ok(err)
	server, err := ferry.NewServer(local, ferry.ServerConfig{Front: "police-front", SignEvery: -1, Logger: log,
		Handle: func(_ context.Context, m ferry.Message) (ferry.Answer, error) {
			return ferry.Answer{Seal: func(ferry.Message) ([]byte, map[string]string, error) {
				if string(m.Body) == "much" {
					return make([]byte, 40<<10), nil, nil
				}
				return m.Body, nil, nil
			}}, nil
		}})
	ok(err)
	code := make(chan int, 1)
	var out, errOut bytes.Buffer
	running.Go(func() { code <- run(ctx, []string{"relay", "-config", file}, &out, &errOut) })
	for _, f := range []func(context.Context) error{asker.Run, server.Run} {
		running.Go(func() { _ = f(ctx) })
	}
	running.Go(func() { carry(ctx, filepath.Join(dir, "spool"), inner.Dir) })

	for i := range 5 {
		var got ferry.Message
		ok(asker.Ask(ctx, ferry.Question{Front: "police-front", Exchange: fmt.Sprint("X", i), Leg: "1", Deadline: time.Now().Add(15 * time.Second),
			Seal:   func(int) ([]byte, map[string]string, error) { return []byte("sealed"), nil, nil },
			Accept: func(m ferry.Message) (bool, error) { got = m; return true, nil }}))
		if string(got.Body) != "sealed" {
			t.Errorf("answered %q", got.Body)
		}
	}
	for what, question := range map[string][]byte{"question": make([]byte, 40<<10), "answer": []byte("much")} {
		err := asker.Ask(ctx, ferry.Question{Front: "police-front", Exchange: "TOO-LARGE-" + what, Leg: "1", Deadline: time.Now().Add(15 * time.Second),
			Seal:   func(int) ([]byte, map[string]string, error) { return question, nil, nil },
			Accept: func(ferry.Message) (bool, error) { return true, nil }})
		var refused *ferry.RefusedError
		if !errors.As(err, &refused) || refused.Reason != ferry.ReasonTooLarge {
			t.Errorf("%s larger than a file of the device: %v", what, err)
		}
	}
	stop()
	if c := <-code; c != 0 || !strings.Contains(out.String(), `"event":"relaying"`) {
		t.Errorf("ended with %d, said %s%s", c, &out, &errOut)
	}
	running.Wait()
	ok(bus.Close())
}

// carry is a device: it renames files from each side's out into the other's in.
func carry(ctx context.Context, a, b string) {
	for ; ctx.Err() == nil; time.Sleep(2 * time.Millisecond) {
		for from, to := range map[string]string{a: b, b: a} {
			files, _ := os.ReadDir(filepath.Join(from, "out")) // it may not be there yet
			for _, f := range files {
				_ = os.Rename(filepath.Join(from, "out", f.Name()), filepath.Join(to, "in", f.Name()))
			}
		}
	}
}

// certificate writes one that is its own authority and good for both sides.
func clientCertificate(t *testing.T, dir string) ferry.Files {
	t.Helper()
	cert, key := selfSigned(t, "relay test")
	f := ferry.Files{CA: filepath.Join(dir, "tls.crt"), Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	if err := errors.Join(os.WriteFile(f.CA, cert, 0o600), os.WriteFile(f.Key, key, 0o600)); err != nil {
		t.Fatal(err)
	}
	return f
}

func sampleCA(t *testing.T) []byte {
	t.Helper()
	cert, _ := selfSigned(t, assembly.SampleCA)
	return cert
}

// selfSigned makes a certificate and its key, both PEM.
func selfSigned(t *testing.T, name string) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

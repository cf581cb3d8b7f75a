package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
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
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/cmd/internal/assembly"
	"yizheng/identity/jose"
)

// pair writes a certificate for 127.0.0.1, of both kinds and its own authority.
func pair(t *testing.T, base string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(base+name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAuditReplica_KeepsASecondCopyThatVerifies(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	pair(t, in("gateway"))
	pair(t, in("replica"))
	key, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := jose.MarshalPublicKeyPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	config := "listen: 127.0.0.1:0\ntls: { certificate: replica.crt, key: replica.key, client_ca: gateway.crt }\n" +
		"logs:\n  - { origin: gw00.example/audit, dir: copy, key: audit.pub.pem }\n"
	for name, b := range map[string]string{"audit.pub.pem": string(public), "replica.yaml": config} {
		if err := os.WriteFile(in(name), []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(in("copy"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, said := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := auditReplica(ctx, []string{"-config", in("replica.yaml")}, said)
		said.CloseWithError(fmt.Errorf("ended: %w", errors.Join(err, io.EOF)))
		ended <- err
	}()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var at struct{ Addr string }
	if err := json.Unmarshal(line, &at); err != nil {
		t.Fatal(err)
	}
	conf := audit.Config{Dir: in("log"), Origin: "gw00.example/audit/2026q4", Signer: key, SegmentSize: 64 << 10, MinFree: 1,
		AppendTimeout: 20 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	second, err := assembly.OpenReplica(&assembly.ReplicaConfig{URL: "https://" + at.Addr, CA: in("replica.crt"), Certificate: in("gateway.crt"), Key: in("gateway.key")},
		"gw00.example/audit", key.Public(), &conf)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	l, err := audit.OpenLog(ctx, conf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(ctx, audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseDone}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	r, err := audit.VerifyDir(t.Context(), in("copy/2026q4"), audit.VerifyOptions{Keys: []*ecdsa.PublicKey{key.Public()}})
	if err != nil || r.Head.Head != l.Head().Head {
		t.Errorf("copy of %d entries: %v", r.Entries, err)
	}
}

func TestAuditReplica_ConfigurationMustBeComplete(t *testing.T) {
	for name, config := range map[string]string{
		"no client_ca": "listen: 127.0.0.1:0\ntls: { certificate: a, key: b }\nlogs: [{ origin: o, dir: d, key: k }]\n",
		"no log":       "listen: 127.0.0.1:0\ntls: { certificate: a, key: b, client_ca: c }\n",
		"no key":       "listen: 127.0.0.1:0\ntls: { certificate: a, key: b, client_ca: c }\nlogs: [{ origin: o, dir: d }]\n",
		"unknown":      "listen: 127.0.0.1:0\nlisten_too: x\n",
	} {
		file := filepath.Join(t.TempDir(), "replica.yaml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readReplicaFile(file); err == nil || !strings.Contains(err.Error(), " / ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]assembly.ReplicaConfig{"neither": {}, "both": {Dir: "a", URL: "https://b"}, "no such directory": {Dir: "nowhere"}, "no ca": {URL: "https://b"}} {
		if _, err := assembly.OpenReplica(&c, "o", nil, &audit.Config{}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificateUntil is a self-signed certificate in PEM.
func certificateUntil(t *testing.T, until time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.AddDate(-1, 0, 0), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestEveryCertificateInUseIsCounted(t *testing.T) {
	c, err := readConfig("../../configs/gateway.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	soon, late := time.Now().AddDate(0, 0, 5).Truncate(time.Second), time.Now().AddDate(1, 0, 0)
	chain := filepath.Join(t.TempDir(), "chain.crt")
	write(t, chain, append(certificateUntil(t, late), certificateUntil(t, soon)...))
	// every setting of the example that names a certificate, in place of the files
	of := c.certificates()
	for _, key := range []string{"tls.certificate", "tls.client_ca", "administrators", "kafka", "connections"} {
		if strings.Join(of[key], "") == "" {
			t.Errorf("%s is not counted", key)
		}
	}
	ends, err := (&Config{TLS: TLSConfig{Certificate: chain, ClientCA: chain}, Monitors: []string{chain, chain}}).certificateEnds()
	if err != nil || len(ends) != 3 {
		t.Fatalf("%+v, %v", ends, err)
	}
	for _, e := range ends {
		if !e.Until.Equal(soon) || e.Name != "chain.crt" {
			t.Errorf("%+v, want the first of the file to end", e)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty.crt")
	write(t, empty, []byte("no PEM"))
	if _, err := (&Config{Monitors: []string{empty}}).certificateEnds(); err == nil || !strings.Contains(err.Error(), "monitors: "+empty) {
		t.Errorf("a file without certificate: %v", err)
	}
}

func TestTheProbeSaysYesOrNoAndWhy(t *testing.T) {
	report := `{"ready":true,"findings":[]}`
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/admin/health":
			_, _ = w.Write([]byte(report))
		case strings.Contains(report, "true"):
			_, _ = w.Write([]byte(`{"ready":true}`))
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"code":"NOT_READY","title":"暂不能","title_en":"not now"}`))
		}
	}))
	defer s.Close()
	ca, own, key := filepath.Join(t.TempDir(), "ca.crt"), filepath.Join(t.TempDir(), "own.crt"), filepath.Join(t.TempDir(), "own.key")
	write(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	write(t, own, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.TLS.Certificates[0].Certificate[0]}))
	der, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	ask := func(more ...string) (string, error) {
		var out bytes.Buffer
		err := probe(t.Context(), append([]string{"-ca", ca, "-url", s.URL}, more...), &out)
		return out.String(), err
	}
	for name, test := range map[string]struct {
		report string
		with   []string
		no     bool
		says   string
	}{
		"ready":               {`{"ready":true,"findings":[]}`, nil, false, "可用 / up\n"},
		"not ready":           {`{"ready":false}`, nil, true, "NOT_READY"},
		"ready, with a cert":  {`{"ready":true,"findings":[{"code":"ENDS","level":"warn","about":"catalogue","note":"到期","note_en":"ends"}]}`, []string{"-cert", own, "-cert-key", key}, false, "ENDS catalogue: 到期 / ends"},
		"not ready, and why":  {`{"ready":false,"findings":[{"code":"LOG_HELD","level":"stop","note":"停","note_en":"held"}]}`, []string{"-cert", own, "-cert-key", key}, true, "LOG_HELD"},
		"JSON as it was sent": {`{"ready":false,"findings":[]}`, []string{"-cert", own, "-cert-key", key, "-json"}, true, `{"ready":false,"findings":[]}`},
	} {
		report = test.report
		out, err := ask(test.with...)
		if errors.Is(err, errNo) != test.no || !test.no && err != nil || !strings.Contains(out, test.says) {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
	if _, err := ask("-json"); !errors.Is(err, errUsage) {
		t.Errorf("JSON without a certificate: %v", err)
	}
	s.Close()
	if out, err := ask(); !errors.Is(err, errNo) || !strings.Contains(out, "down") {
		t.Errorf("nobody there: %v, %s", err, out)
	}
}

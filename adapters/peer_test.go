package adapters

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/identity"
)

const (
	liMing   = "690102198503120016"
	wangFang = "690102199011250046"
)

func person(t testing.TB, number, name string) identity.Person {
	t.Helper()
	n, _, err := identity.ParseNumber(number)
	if err != nil {
		t.Fatal(err)
	}
	return identity.Person{Type: identity.TypeResident, Number: n, Name: identity.NewName(name)}
}

func askFor(t testing.TB, src catalog.Source, number string) exchange.Ask {
	t.Helper()
	return exchange.Ask{Source: src, Subject: person(t, number, "李明")}
}

// serverFiles writes a self-signed certificate for 127.0.0.1 and its key.
func serverFiles(t testing.TB) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "platform"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return write(t, dir, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		write(t, dir, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func serverCertificate(t testing.TB, cert, key string) tls.Certificate {
	t.Helper()
	c, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// closedPort is an address where nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// built is the directory of the simulator's program, "" until a test needed it.
var built string

var buildProvince = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "province")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "province")
	out, err := exec.Command("go", "build", "-o", path, "yizheng/deploy/simulators/province").CombinedOutput()
	if err != nil {
		os.Stderr.Write(out)
	}
	return path, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// startProvince runs the simulator as the separate program it is and returns
// a configuration that reaches it.
func startProvince(t testing.TB, people string, flags ...string) PlatformConfig {
	t.Helper()
	return startProvinceWith(t, write(t, t.TempDir(), "systems.yaml", []byte(people)), flags...)
}

// startProvinceWith is startProvince with the people of a file or directory.
func startProvinceWith(t testing.TB, systems string, flags ...string) PlatformConfig {
	t.Helper()
	program, err := buildProvince()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := serverFiles(t)
	dir := t.TempDir()
	appKey := write(t, dir, "app.key", []byte("app-key-of-690100\n"))
	args := append([]string{"-cert", cert, "-key", key, "-rid", "690100-yizheng", "-app-key-file", appKey,
		"-systems", systems}, flags...)
	cmd := exec.Command(program, args...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if !testing.Verbose() {
		cmd.Stderr = nil
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the simulator did not end in good order: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var said struct{ Event, Addr string }
	if err := json.Unmarshal(line, &said); err != nil || said.Event != "listening" {
		t.Fatalf("the simulator said %s", line)
	}
	return PlatformConfig{URL: "https://" + said.Addr, CA: cert, RID: "690100-yizheng", AppKeyFile: appKey, AnswerMAC: true}
}

func newPlatform(t testing.TB, c PlatformConfig) *Platform {
	t.Helper()
	p, err := NewPlatform(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func newSQL(t testing.TB, c SQLConfig) *SQL {
	t.Helper()
	s, err := NewSQL(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

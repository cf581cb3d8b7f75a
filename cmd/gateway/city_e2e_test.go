//go:build e2e

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"yizheng/cmd/gateway/demo"
	"yizheng/identity"
)

const demoConfigs = "../../configs/demo"

// programs is the directory of the built programs: $YIZHENG_BIN, or bin.
func programs(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("YIZHENG_BIN")
	if dir == "" {
		dir = "../../bin"
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gateway", "frontproc", "readeragent", "province", "gapdevice", "auditverify"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Fatalf("these tests run the real programs; run make build first, or set YIZHENG_BIN: %v", err)
		}
	}
	return dir
}

// startCity starts a demo city of its own. Everything its processes write,
// temporary files included, lies below the directory returned.
func startCity(t *testing.T) (city *demo.City, home string) {
	t.Helper()
	return startCityOf(t, demoConfigs, nil)
}

// startCityOf starts the city that a directory like configs/demo describes,
// with the services of a real one if there are any.
func startCityOf(t *testing.T, configs string, services *demo.Services) (city *demo.City, home string) {
	t.Helper()
	home = t.TempDir()
	tmp := filepath.Join(home, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	logged, err := os.Create(filepath.Join(home, "processes.log"))
	if err != nil {
		t.Fatal(err)
	}
	city, err = demo.Start(t.Context(), demo.Places{State: filepath.Join(home, "state"), Configs: configs, Bin: programs(t),
		Listen: "127.0.0.1:0", Log: logged, Services: services})
	t.Cleanup(func() {
		if err := city.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := logged.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			b, err := os.ReadFile(logged.Name())
			t.Logf("log of the city's processes (%v), its end:\n%s", err, b[max(0, len(b)-8<<10):])
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return city, home
}

// sampleCard is a person of people.yaml; the simulators read the rest of it.
type sampleCard struct {
	ID    string `yaml:"id"`
	Owned *bool  `yaml:"card"`

	Layout      identity.Layout `yaml:"layout"`
	Name        string          `yaml:"name"`
	EnglishName string          `yaml:"english_name"`
	Sex         string          `yaml:"sex"`
	Nation      string          `yaml:"nation"`
	Birth       string          `yaml:"birth"`
	Address     string          `yaml:"address"`
	Number      string          `yaml:"number"`
	Issuer      string          `yaml:"issuer"`
	ValidFrom   string          `yaml:"valid_from"`
	ValidTo     string          `yaml:"valid_to"`
	Permit      string          `yaml:"permit"`
	Issues      string          `yaml:"issues"`
	Nationality string          `yaml:"nationality"`
	Version     string          `yaml:"version"`
	PastLink    string          `yaml:"past_link"`
}

func samplePeople(t *testing.T) map[string]sampleCard {
	t.Helper()
	var file struct {
		People []sampleCard `yaml:"people"`
	}
	readYAML(t, "people.yaml", &file)
	people := make(map[string]sampleCard)
	for _, p := range file.People {
		people[p.ID] = p
	}
	if len(people) < 20 {
		t.Fatalf("people.yaml has %d people", len(people))
	}
	return people
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(demoConfigs, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// door is one client at the gateway's HTTPS door: a certificate, perhaps a session.
type door struct {
	t       *testing.T
	url     string
	client  *http.Client
	session string
}

// doorOf is a door with the certificate of that name, or none.
func doorOf(t *testing.T, city *demo.City, name string) *door {
	t.Helper()
	if name == "" {
		return newDoor(t, city)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(city.State, "keys/tls", name+".crt"), filepath.Join(city.State, "keys/tls", name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return newDoor(t, city, pair)
}

func newDoor(t *testing.T, city *demo.City, certificates ...tls.Certificate) *door {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(city.State, "keys/tls/ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	conf := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if len(certificates) > 0 { // shown even if the server says that it does not know the issuer
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificates[0], nil }
	}
	transport := &http.Transport{TLSClientConfig: conf}
	t.Cleanup(transport.CloseIdleConnections)
	return &door{t: t, url: city.URL, client: &http.Client{Transport: transport, Timeout: 100 * time.Second}}
}

// of is the same door for a subtest, which fails in its own name.
func (d *door) of(t *testing.T) *door {
	other := *d
	other.t = t
	return &other
}

// answered is what came back: the body, and its code if it is a problem.
type answered struct {
	status int
	code   string
	where  string
	body   []byte
}

// into decodes an answer that has to be a success.
func (a answered) into(t *testing.T, v any) {
	t.Helper()
	if a.status >= 300 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatal(err)
	}
}

// call sends a body: nil, raw bytes, or anything else as JSON. Headers come in pairs.
func (d *door) call(method, path string, body any, header ...string) answered {
	d.t.Helper()
	a, err := d.try(method, path, body, header...)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (d *door) try(method, path string, body any, header ...string) (answered, error) {
	var raw []byte
	switch b := body.(type) {
	case nil:
	case []byte:
		raw = b
	default:
		var err error
		if raw, err = json.Marshal(b); err != nil {
			return answered{}, err
		}
	}
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, bytes.NewReader(raw))
	if err != nil {
		return answered{}, err
	}
	if d.session != "" {
		req.Header.Set("Yizheng-Session", d.session)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return answered{}, err
	}
	defer resp.Body.Close()
	a := answered{status: resp.StatusCode}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return a, err
	}
	var problem struct{ Code, Where string }
	if json.Unmarshal(a.body, &problem) == nil {
		a.code, a.where = problem.Code, problem.Where
	}
	return a, nil
}

package demo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"yizheng/catalog"
)

const requester = "690100-gateway" // our number on the provincial platform

// workstation is a window with a simulated reader.
type workstation struct{ id, sam string }

// Two windows: a family matter needs both. The SAM numbers are the catalogue's.
var workstations = []workstation{
	{"ws-01", "05.03-20191225-0000012345-0987654321"},
	{"ws-02", "05.03-20200618-0000023456-0123456789"},
}

// fonts are where Debian's and Ubuntu's packages put them, or $YIZHENG_FONTS.
func (c *City) fonts() fontPaths {
	dir := os.Getenv("YIZHENG_FONTS")
	if dir == "" {
		dir = "/usr/share/fonts/truetype"
	}
	f := fontPaths{Body: filepath.Join(dir, "babelstone/BabelStoneHan.ttf"),
		Fallbacks: []string{filepath.Join(dir, "hanazono/HanaMinA.ttf"), filepath.Join(dir, "hanazono/HanaMinB.ttf")}}
	if c.Font != "" {
		f.Body = c.Font
	}
	return f
}

type fontPaths struct {
	Body      string   `yaml:"body"`
	Fallbacks []string `yaml:"fallbacks"`
}

type m = map[string]any

// writeGatewayConfig writes the demo gateway's configuration. The connection
// "medical" leads to a port where nobody listens: the city's one dead line.
func (c *City) writeGatewayConfig(province string) error {
	closed, err := closedPort()
	if err != nil {
		return err
	}
	platform := func(addr string) m {
		return m{"platform": m{"url": "https://" + addr, "ca": c.abs("keys/tls/ca.crt"), "server_name": "localhost", "rid": requester,
			"app_key_file": c.abs("keys/province.appkey"), "answer_mac": true}}
	}
	people, err := filepath.Abs(filepath.Join(c.Configs, "people.yaml"))
	if err != nil {
		return err
	}
	local := func() m { return m{"sql": m{"driver": "sqlite"}, "demo_tables": people} }
	return c.writeYAML("gateway.yaml", m{
		"mode": "demo", "listen": c.Listen, "slot": "00", "origin": "gw00.690100.example/audit",
		"tls":  m{"certificate": "keys/tls/gateway.crt", "key": "keys/tls/gateway.key", "client_ca": "keys/tls/ca.crt"},
		"keys": m{"gateway": "keys/gateway.key", "token": "keys/token.key", "store": "keys/store.key"},
		"catalog": m{"releases": "releases",
			"administrators": []string{"keys/admins/security-1.pub.pem", "keys/admins/security-2.pub.pem"}, "min_number": c.Release},
		"seals": m{"dir": "seals", "trust": "trust"},
		"audit": m{"dir": "audit", "key": "keys/audit.key", "pseudonyms": "pseudonyms"},
		"store": m{"driver": "sqlite", "dsn": "state.db"},
		"fonts": c.fonts(),
		"connections": m{
			"province": platform(province), "medical": platform(closed),
			"housing-fund": local(), "realestate-city": local(),
		},
		"kafka": m{"embedded": true, "port": 0, "ca": "keys/tls/ca.crt", "certificate": "keys/tls/kafka-gw00.crt", "key": "keys/tls/kafka-gw00.key",
			"broker_certificate": "keys/tls/broker.crt", "broker_key": "keys/tls/broker.key"},
	})
}

// writeFrontConfig writes a front processor's configuration. Its own keys, log
// and pseudonyms lie below fronts/<id>, as they would on its own machine.
func (c *City) writeFrontConfig(f catalog.Front) (string, error) {
	id := string(f.ID)
	people, err := filepath.Abs(filepath.Join(c.Configs, "people.yaml"))
	if err != nil {
		return "", err
	}
	own := func(name string) string { return c.abs("fronts/" + id + "/" + name) }
	connections := make(m)
	for _, s := range c.catalogue.Sources {
		if s.Front == f.ID {
			connections[s.Connection] = m{"sql": m{"driver": "sqlite"}, "demo_tables": people}
		}
	}
	name := "front-" + id + ".yaml"
	return c.in(name), c.writeYAML(name, m{
		"mode": "demo", "front": id, "key": c.abs("keys/fronts/" + id + ".key"),
		"gateways": []m{{"name": "gw00", "key": c.abs("keys/gateway.pub.pem")}},
		"kafka":    m{"brokers": strings.Split(c.Brokers, ","), "ca": c.abs("keys/tls/ca.crt"), "certificate": own("kafka.crt"), "key": own("kafka.key")},
		"catalog": m{"releases": c.abs("releases"), "min_number": c.Release,
			"administrators": []string{c.abs("keys/admins/security-1.pub.pem"), c.abs("keys/admins/security-2.pub.pem")}},
		"audit":       m{"dir": own("audit"), "key": own("audit-key.key"), "pseudonyms": own("pseudonyms")},
		"connections": connections,
	})
}

func (c *City) writeAgentConfig(ws workstation) (string, error) {
	people, err := filepath.Abs(filepath.Join(c.Configs, "people.yaml"))
	if err != nil {
		return "", err
	}
	name := "agent-" + ws.id + ".yaml"
	return c.in(name), c.writeYAML(name, m{
		"mode": "demo", "gateway": c.URL, "ca": c.abs("keys/tls/ca.crt"),
		"certificate": c.abs("keys/tls/agent-" + ws.id + ".crt"), "key": c.abs("keys/tls/agent-" + ws.id + ".key"),
		"gateway_key": c.abs("keys/gateway.pub.pem"), "agent_key": c.abs("keys/agents/" + ws.id + ".key"),
		"workstation": ws.id, "reader": "simulated", "sam": ws.sam, "cards": people,
		"operator_check": "always", "state": c.abs("agent-" + ws.id + ".seq"),
	})
}

func (c *City) abs(path string) string {
	p, err := filepath.Abs(c.in(path))
	if err != nil { // only without a working directory
		return c.in(path)
	}
	return p
}

func (c *City) writeYAML(name string, v any) error {
	b, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", name, err)
	}
	return os.WriteFile(c.in(name), b, 0o600)
}

// writeAppKey makes the secret the provincial platform and we share.
func (c *City) writeAppKey() error {
	f, err := os.OpenFile(c.in("keys/province.appkey"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(rand.Text())
	return errors.Join(err, f.Close())
}

// closedPort is an address of this machine at which nobody listens.
func closedPort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

package demo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"yizheng/catalog"
)

const origin = "gw00.690100.example/audit" // the gateway's

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

// people is where the simulated readers find their cards, systems where the
// simulated departments learn what they know.
func (c *City) people() string  { return absolute(filepath.Join(c.Configs, "people.yaml")) }
func (c *City) systems() string { return absolute(filepath.Join(c.Configs, "systems")) }

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil { // fails only without a working directory
		return abs
	}
	return path
}

// connections are the ways to the sources that are asked from behind a front,
// or with an empty id from the gateway: to a simulated database,
// to the provincial platform, and else to a platform that is down.
func (c *City) connections(f catalog.FrontID) m {
	ways := make(m)
	for _, s := range c.catalogue.Sources {
		if s.Front != f {
			continue
		}
		switch {
		case c.local[s.Connection]:
			ways[s.Connection] = m{"sql": m{"driver": "sqlite"}, "demo_tables": c.systems()}
		case s.Connection == "province":
			ways[s.Connection] = c.platform(c.province)
		default:
			ways[s.Connection] = c.platform(c.closed)
		}
	}
	return ways
}

func (c *City) platform(addr string) m {
	return m{"platform": m{"url": "https://" + addr, "ca": c.abs("keys/tls/ca.crt"), "server_name": "localhost", "rid": requester,
		"app_key_file": c.abs("keys/province.appkey"), "answer_mac": true}}
}

// address is where the roster says the gateway is: where it listens, or where
// it usually does if it picks a free port this time.
func (c *City) address() string {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil || host == "" || port == "0" {
		return "https://localhost:8443"
	}
	return "https://" + net.JoinHostPort(host, port)
}

func (c *City) writeGatewayConfig() error {
	return c.writeYAML("gateway.yaml", m{
		"mode": "demo", "listen": c.Listen, "slot": "00", "origin": origin,
		"tls":  m{"certificate": "keys/tls/gateway.crt", "key": "keys/tls/gateway.key", "client_ca": "keys/tls/ca.crt"},
		"keys": m{"gateway": "keys/gateway.key", "token": "keys/token.key", "store": "keys/store.key"},
		"catalog": m{"releases": "releases",
			"administrators": []string{"keys/admins/security-1.pub.pem", "keys/admins/security-2.pub.pem"}, "min_number": c.Release},
		"administrators": []m{{"name": "security-1", "role": "security", "key": "keys/admins/security-1.pub.pem", "certificate": "keys/tls/admin-security-1.crt"},
			{"name": "security-2", "role": "security", "key": "keys/admins/security-2.pub.pem", "certificate": "keys/tls/admin-security-2.crt"},
			{"name": "audit", "role": "auditor", "key": "keys/admins/audit.pub.pem", "certificate": "keys/tls/admin-audit.crt"},
			{"name": "approver-1", "role": "approver", "key": "keys/admins/approver-1.pub.pem", "certificate": "keys/tls/admin-approver-1.crt"},
			{"name": "approver-2", "role": "approver", "key": "keys/admins/approver-2.pub.pem", "certificate": "keys/tls/admin-approver-2.crt"},
			{"name": "supervisor-1", "role": "supervisor", "key": "keys/admins/supervisor-1.pub.pem", "certificate": "keys/tls/admin-supervisor-1.crt"},
			{"name": "respondent-1", "role": "respondent", "key": "keys/admins/respondent-1.pub.pem", "certificate": "keys/tls/admin-respondent-1.crt",
				"departments": []string{string(c.catalogue.Callers[0].Department)}}},
		"seals":       m{"dir": "seals", "trust": "trust"},
		"audit":       m{"dir": "audit", "key": "keys/audit.key", "pseudonyms": "pseudonyms", "pseudonym_key": "keys/pseudonyms.key", "witnesses": c.witnesses()},
		"store":       c.storeConfig(),
		"fonts":       c.fonts(),
		"search":      m{"roster": "roster.json", "disclosure_delay": "1ms"},
		"connections": c.connections(""),
		"kafka":       c.ferryConfig(),
		"supervise":   m{"rules": absolute(filepath.Join(c.Configs, "supervise")), "dir": "supervise", "scan": "500ms"},
	})
}

func (c *City) writeAgentConfig(ws workstation) (string, error) {
	name := "agent-" + ws.id + ".yaml"
	return c.in(name), c.writeYAML(name, m{
		"mode": "demo", "gateway": c.URL, "ca": c.abs("keys/tls/ca.crt"),
		"certificate": c.abs("keys/tls/agent-" + ws.id + ".crt"), "key": c.abs("keys/tls/agent-" + ws.id + ".key"),
		"gateway_key": c.abs("keys/gateway.pub.pem"), "agent_key": c.abs("keys/agents/" + ws.id + ".key"),
		"workstation": ws.id, "reader": "simulated", "sam": ws.sam, "cards": c.people(),
		"operator_check": "always", "state": c.abs("agent-" + ws.id + ".seq"),
	})
}

func (c *City) abs(path string) string {
	return absolute(c.in(path))
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

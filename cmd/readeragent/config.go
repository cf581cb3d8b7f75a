package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
)

const (
	modeDemo       = "demo"
	modeProduction = "production"

	readerSimulated = "simulated"

	checkAlways = "always"
	checkNever  = "never"
)

// Config is the whole configuration. Paths are relative to the working directory.
type Config struct {
	// Mode is "demo" or "production". Production refuses the simulated reader.
	Mode string `yaml:"mode"`

	// Gateway is the gateway's address: https://gateway.example:8443
	Gateway string `yaml:"gateway"`

	// CA is a PEM file with the authorities that may issue the gateway's certificate.
	CA string `yaml:"ca"`

	// Certificate and Key are this agent's TLS client certificate and key
	// (PEM, ECDSA P-256), registered for the workstation in the catalogue.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`

	// GatewayKey is a PEM file with the gateway's SM2 public key. Challenges
	// by any other key are refused, and cards are encrypted to this one.
	GatewayKey string `yaml:"gateway_key"`

	// AgentKey is this agent's SM2 private key (PEM PKCS#8), AgentPassphrase
	// the file with its passphrase; it may be left out for a plain key.
	AgentKey        string `yaml:"agent_key"`
	AgentPassphrase string `yaml:"agent_passphrase"`

	// Workstation is this place's identifier in the catalogue.
	Workstation string `yaml:"workstation"`

	// Reader is the kind of card reader: "simulated".
	Reader string `yaml:"reader"`

	// SAM is the simulated reader's security module number; a real reader
	// reports its own: 05.03-20191225-0000012345-0987654321
	SAM string `yaml:"sam"`

	// Cards is the file of sample people for the simulated reader.
	Cards string `yaml:"cards"`

	// OperatorCheck says whether the clerk has compared person and card
	// (人证一致): "always" (simulated reader only) or "never". Default: never.
	OperatorCheck string `yaml:"operator_check"`

	// State is the file that keeps the sequence number of the last read. If it
	// is lost, delete nothing else: a new one starts above all earlier numbers.
	State string `yaml:"state"`
}

// loadConfig reads and checks a configuration. Errors name file, line and what to do.
func loadConfig(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration cannot be read / 无法读取配置: %w", err)
	}
	var c Config
	if err := yaml.UnmarshalWithOptions(raw, &c, yaml.Strict()); err != nil {
		return Config{}, yamlError(path, err)
	}
	if err := c.check(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c Config) check() error {
	var problems []error
	bad := func(key, chinese, english string) {
		problems = append(problems, fmt.Errorf("%s: %s / %s", key, english, chinese))
	}
	for _, required := range []struct{ key, value string }{
		{"gateway", c.Gateway}, {"ca", c.CA}, {"certificate", c.Certificate}, {"key", c.Key},
		{"gateway_key", c.GatewayKey}, {"agent_key", c.AgentKey}, {"workstation", c.Workstation},
		{"sam", c.SAM}, {"cards", c.Cards}, {"state", c.State},
	} {
		if required.value == "" {
			bad(required.key, "缺少此项，请填写", "missing, please set it")
		}
	}
	if u, err := url.Parse(c.Gateway); c.Gateway != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		bad("gateway", "须为 https:// 地址", "must be an https:// address")
	}
	if c.Mode != modeDemo && c.Mode != modeProduction {
		bad("mode", "须为 demo 或 production", "must be demo or production")
	}
	if c.Reader != readerSimulated {
		bad("reader", "须为 simulated", "must be simulated")
	}
	if c.Mode == modeProduction && c.Reader == readerSimulated {
		bad("reader", "生产环境不得使用模拟读卡器", "the simulated reader is refused in production")
	}
	if c.OperatorCheck != "" && c.OperatorCheck != checkAlways && c.OperatorCheck != checkNever {
		bad("operator_check", "须为 always 或 never", "must be always or never")
	}
	return errors.Join(problems...)
}

// yamlError turns a decoder's error into file, line and one-line message,
// without the excerpt of the file that the decoder adds.
func yamlError(path string, err error) error {
	line, message := 1, "not valid YAML"
	var at yaml.Error
	if errors.As(err, &at) {
		message, _, _ = strings.Cut(at.GetMessage(), "\n")
		if token := at.GetToken(); token != nil && token.Position != nil {
			line = token.Position.Line
		}
	}
	return fmt.Errorf("%s:%d: %s / 配置有误，请改正此行", path, line, message)
}

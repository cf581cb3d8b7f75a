package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"yizheng/audit"
	"yizheng/audit/pseudod"
	"yizheng/audit/search"
	"yizheng/cmd/internal/assembly"
	"yizheng/cmd/internal/process"
	"yizheng/identity/jose"
)

// PseudodConfig is the configuration file of the pseudonym service, which runs as
// a user of its own. Unknown keys are errors. Relative paths are relative to the file.
type PseudodConfig struct {
	// Mode is "production" (default) or "demo". Production demands a Key that is
	// protected by a passphrase.
	Mode string `yaml:"mode"`
	// Socket is the Unix socket. Its directory is 0750, or closed further.
	Socket string `yaml:"socket"`
	// Dir has the keys, one a quarter, and is this user's alone (0700).
	Dir string `yaml:"dir"`
	// Key is the SM2 private key that the keys in Dir are encrypted to at rest
	// (gateway keys new). Passphrase is the file with its passphrase.
	Key        string `yaml:"key"`
	Passphrase string `yaml:"passphrase"`
	// UIDs are the numbers of the users whose processes may call: the gateway's.
	UIDs []uint32 `yaml:"uids"`
	// Administrators are the auditors and approvers, as in gateway.yaml. The file is
	// this service's own, so that a gateway cannot add one. Without them no
	// pseudonyms of past quarters are given.
	Administrators []AdministratorConfig `yaml:"administrators"`
	// ResidentsPerHour is how many residents may be asked about their own past in an
	// hour. Default: 60. Negative: none.
	ResidentsPerHour int `yaml:"residents_per_hour"`
}

const pseudodExample = `gateway pseudod -config pseudod.yaml

    socket: /run/yizheng-pseudod/socket
    dir: pseudonyms
    key: keys/pseudonyms.key     # gateway keys new -passphrase keys/passphrase keys/pseudonyms
    passphrase: keys/passphrase
    uids: [991]                  # id -u of the gateway's user
    administrators:
      - { name: auditor-1, role: auditor, key: keys/auditor-1.pub.pem }
      - { name: approver-1, role: approver, key: keys/approver-1.pub.pem }
      - { name: approver-2, role: approver, key: keys/approver-2.pub.pem }
      - { name: security-1, role: security, key: keys/security-1.pub.pem }   # these look after the keys
      - { name: security-2, role: security, key: keys/security-2.pub.pem }

gateway pseudod protect -h   把明文密钥就地加密 / encrypt keys that lie in clear
gateway pseudod destroy -h   保存期满后销毁一个季度的密钥，两人办理 / destroy a quarter's keys after its time; two persons
gateway pseudod rotate -h    密钥泄露时启用新一期 / open another epoch when the keys are compromised
`

// runPseudod computes pseudonyms until it is told to stop, or looks after their keys.
func runPseudod(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "protect":
			return pseudodProtect(args[1:], out)
		case "destroy":
			return pseudodDestroy(ctx, args[1:], out)
		case "rotate":
			return pseudodRotate(ctx, args[1:], out)
		}
	}
	f := flags("pseudod", "-config FILE", pseudodExample)
	file := f.String("config", "", "配置文件 / configuration file")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *file == "" {
		f.Usage()
		return errUsage
	}
	c, err := readPseudodConfig(*file)
	if err != nil {
		return err
	}
	if err := errors.Join(c.strict(), process.KeepInMemory()); err != nil {
		return err
	}
	return c.serve(ctx, out)
}

func readPseudodConfig(path string) (*PseudodConfig, error) {
	c, err := parsePseudodConfig(path)
	if err != nil {
		return nil, err
	}
	return c, c.check(path)
}

// parsePseudodConfig reads a configuration that may lack what only the service needs.
func parsePseudodConfig(path string) (*PseudodConfig, error) {
	c := &PseudodConfig{}
	if err := decodeStrictly(path, c); err != nil {
		return nil, err
	}
	paths := []*string{&c.Socket, &c.Dir, &c.Key, &c.Passphrase}
	for i := range c.Administrators {
		paths = append(paths, &c.Administrators[i].Key, &c.Administrators[i].Certificate)
	}
	assembly.Resolve(filepath.Dir(path), paths...)
	if c.ResidentsPerHour == 0 {
		c.ResidentsPerHour = 60
	}
	return c, nil
}

func (c *PseudodConfig) check(path string) error {
	var errs []error
	for key, missing := range map[string]bool{"socket": c.Socket == "", "dir": c.Dir == "", "uids": len(c.UIDs) == 0} {
		if missing {
			errs = append(errs, fmt.Errorf("%s: %s: 缺少此项 / is missing", path, key))
		}
	}
	if c.Mode != "" && c.Mode != "demo" && c.Mode != "production" {
		errs = append(errs, fmt.Errorf("%s: mode: 须为 demo 或 production / must be demo or production", path))
	}
	return errors.Join(errs...)
}

func (c *PseudodConfig) strict() error {
	if c.Mode == "demo" {
		return nil
	}
	var s assembly.Strictness
	s.PseudonymKey("key", c.Dir, c.Key)
	s.Secrets(c.Passphrase)
	return s.Err()
}

// pseudodProtect encrypts keys that lie in clear.
func pseudodProtect(args []string, out io.Writer) error {
	f := flags("pseudod protect", "-dir DIR -key FILE [-passphrase FILE]", "gateway pseudod protect -dir pseudonyms -key keys/pseudonyms.key -passphrase keys/passphrase")
	dir := f.String("dir", "", "假名密钥的目录 / directory of the pseudonym keys")
	key := f.String("key", "", "保护它们的 SM2 私钥，用 gateway keys new 生成 / SM2 private key that protects them, made by gateway keys new")
	pass := f.String("passphrase", "", "该私钥的口令文件 / file with its passphrase")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *dir == "" || *key == "" {
		f.Usage()
		return errUsage
	}
	kek, err := jose.ReadKey(*key, *pass)
	if err != nil {
		return err
	}
	n, err := audit.ProtectPseudonyms(*dir, pseudod.Wrap(kek))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "已加密 / encrypted: %d。旧备份中的明文密钥须一并销毁 / destroy what older backups hold in clear\n", n)
	return nil
}

// serve answers until ctx ends.
func (c *PseudodConfig) serve(ctx context.Context, out io.Writer) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	persons, err := registerOf(c.Administrators)
	if err != nil {
		return err
	}
	keys, err := assembly.OpenPseudonymKeys(c.Dir, c.Key, c.Passphrase, persons)
	if err != nil {
		return err
	}
	l, err := pseudod.Listen(c.Socket)
	if err != nil {
		return err
	}
	line, _ := json.Marshal(map[string]any{"event": "listening", "socket": c.Socket, "uids": c.UIDs}) // strings and numbers always encode
	fmt.Fprintln(out, string(line))
	return pseudod.Server{Pseudonyms: search.NewVault(keys, persons, nil), UIDs: c.UIDs, ResidentsPerHour: max(c.ResidentsPerHour, 0), Logger: log}.Serve(ctx, l)
}

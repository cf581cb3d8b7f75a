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
)

// PseudodConfig is the configuration file of the pseudonym service, which runs as
// a user of its own. Unknown keys are errors. Relative paths are relative to the file.
type PseudodConfig struct {
	// Socket is the Unix socket. Its directory is 0750, or closed further.
	Socket string `yaml:"socket"`
	// Dir has the keys, one a quarter, and is this user's alone (0700).
	Dir string `yaml:"dir"`
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
    uids: [991]                  # id -u of the gateway's user
    administrators:
      - { name: auditor-1, role: auditor, key: keys/auditor-1.pub.pem }
      - { name: approver-1, role: approver, key: keys/approver-1.pub.pem }
      - { name: approver-2, role: approver, key: keys/approver-2.pub.pem }
`

// runPseudod computes pseudonyms until it is told to stop.
func runPseudod(ctx context.Context, args []string, out io.Writer) error {
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
	if err := process.KeepInMemory(); err != nil {
		return err
	}
	return c.serve(ctx, out)
}

func readPseudodConfig(path string) (*PseudodConfig, error) {
	c := &PseudodConfig{}
	if err := decodeStrictly(path, c); err != nil {
		return nil, err
	}
	paths := []*string{&c.Socket, &c.Dir}
	for i := range c.Administrators {
		paths = append(paths, &c.Administrators[i].Key, &c.Administrators[i].Certificate)
	}
	assembly.Resolve(filepath.Dir(path), paths...)
	if c.ResidentsPerHour == 0 {
		c.ResidentsPerHour = 60
	}
	return c, c.check(path)
}

func (c *PseudodConfig) check(path string) error {
	var errs []error
	for key, missing := range map[string]bool{"socket": c.Socket == "", "dir": c.Dir == "", "uids": len(c.UIDs) == 0} {
		if missing {
			errs = append(errs, fmt.Errorf("%s: %s: 缺少此项 / is missing", path, key))
		}
	}
	return errors.Join(errs...)
}

// serve answers until ctx ends.
func (c *PseudodConfig) serve(ctx context.Context, out io.Writer) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	keys, err := audit.OpenPseudonyms(c.Dir)
	if err != nil {
		return err
	}
	persons, err := registerOf(c.Administrators)
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

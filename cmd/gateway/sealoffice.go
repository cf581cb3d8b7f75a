package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"yizheng/audit/auditor"
	"yizheng/exchange/custody"
	"yizheng/identity/jose"
	"yizheng/seal"
	"yizheng/seal/life"
)

// sealFlags are what every step needs.
type sealFlags struct {
	*flag.FlagSet
	config, key, passphrase, reason *string
}

func newSealFlags(name, arguments, example string) sealFlags {
	f := flags("seal "+name, "-config FILE "+arguments, "gateway seal "+name+" -config gateway.yaml "+example)
	return sealFlags{FlagSet: f, config: f.String("config", "", "网关配置 / the gateway's configuration")}
}

// signing adds the flags of who signs.
func (f *sealFlags) signing(reason bool) {
	f.key = f.String("key", "", "办理人的 SM2 私钥 / private key of the person who acts")
	f.passphrase = f.String("passphrase", "", "该私钥的口令文件 / file with its passphrase")
	f.reason = new(string)
	if reason {
		var codes []string
		for _, r := range life.Reasons() {
			codes = append(codes, string(r))
		}
		f.reason = f.String("reason", "", "原因代码 / reason: "+strings.Join(codes, ", "))
	}
}

// sealOffice is what a step is taken with.
type sealOffice struct {
	config   *Config
	trust    *seal.Trust
	register *life.Register
}

// parse reads the flags, the configuration and the register. least is how many arguments there must be.
func (f sealFlags) parse(args []string, least int) (*sealOffice, error) {
	if err := parse(f.FlagSet, args, least, 1); err != nil {
		return nil, err
	}
	if *f.config == "" || f.key != nil && *f.key == "" {
		f.Usage()
		return nil, errUsage
	}
	c, err := readConfig(*f.config)
	if err != nil {
		return nil, err
	}
	persons, err := c.persons()
	if err != nil {
		return nil, err
	}
	o := &sealOffice{config: c}
	if o.trust, err = seal.LoadTrust(c.Seals.Trust); err != nil {
		return nil, err
	}
	o.register, err = life.Open(c.Seals.Dir, life.Options{Persons: persons, Trust: o.trust})
	if errors.Is(err, life.ErrFiles) { // of one seal; the others want looking after all the same
		fmt.Fprintln(f.Output(), "!", err)
		err = nil
	}
	return o, err
}

// remembered refuses a register that lacks steps which the gateway's audit log or a
// status list knows, as the gateway itself does. It reads the newest quarter whole,
// and an earlier one if that knows of no step.
func (o *sealOffice) remembered(ctx context.Context) error {
	head, err := o.recorded(ctx)
	if err != nil {
		return err
	}
	// Others may have gone on since this register was read.
	if _, err := o.register.Reload(); err != nil && !errors.Is(err, life.ErrFiles) {
		return err
	}
	return custody.Remembered(o.register, o.trust, head)
}

// recorded is the register's head as the audit log knows it, "" where no gateway has run yet.
func (o *sealOffice) recorded(ctx context.Context) (string, error) {
	dirs, key, err := o.audit()
	if err != nil || len(dirs) == 0 {
		return "", err
	}
	return custody.LastRecorded(ctx, dirs, key)
}

// audit is the gateway's log: the directories of its quarters, oldest first and none
// where no gateway has run yet, and its key.
func (o *sealOffice) audit() (dirs []string, key *ecdsa.PublicKey, err error) {
	a := o.config.Audit
	if _, err := os.Stat(a.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if dirs, err = auditor.Shards(a.Dir); err != nil || len(dirs) == 0 {
		return nil, nil, err
	}
	for i, name := range dirs {
		dirs[i] = filepath.Join(a.Dir, name)
	}
	k, err := jose.ReadKey(a.Key, o.config.Keys.Passphrase)
	if err != nil {
		return nil, nil, fmt.Errorf("audit key: %w", err)
	}
	return dirs, k.Public(), nil
}

// take signs a step, enters it and says what has become of the seal. A loss does not
// wait until the audit log has been read: whether the register is whole is seen after.
// first, which may be nil, is done once nothing speaks against the step, and before it
// is entered.
func (f sealFlags) take(ctx context.Context, o *sealOffice, out io.Writer, step life.Step, first func() error) error {
	if step.Action != life.Suspend {
		if err := o.remembered(ctx); err != nil {
			return err
		}
	}
	k, err := jose.ReadKey(*f.key, *f.passphrase)
	if err != nil {
		return err
	}
	step.Reason = life.Reason(*f.reason)
	line, err := step.Sign(k)
	if err != nil {
		return err
	}
	e, err := o.register.AppendAfter(line, first)
	if errors.Is(err, life.ErrFiles) {
		fmt.Fprintln(f.Output(), "!", err)
	} else if err != nil {
		return err
	}
	fmt.Fprintf(out, "第 %d 步 / step %d: %s %s，%s（%s）\n", e.Number, e.Number, e.Action, e.Seal, e.By.Name, e.By.Role)
	s, _ := o.register.Find(e.Seal)
	printSeal(out, s)
	if step.Action != life.Suspend {
		return nil
	}
	if err := o.remembered(ctx); err != nil {
		return fmt.Errorf("此步已登记，但登记簿不完整，运行中的网关不会采用；请改用网关接口停用，并查明登记簿 / entered, but a running gateway will not take it up: suspend through its API, and find out what became of the register: %w", err)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/audit/pseudod"
	"yizheng/cmd/internal/assembly"
	"yizheng/identity/jose"
)

// keyFlags are those of a step with pseudonym keys.
type keyFlags struct {
	*flag.FlagSet
	config, key, passphrase, reason *string
}

func newKeyFlags(name, arguments, example string, reasons []string) keyFlags {
	f := flags("pseudod "+name, "-config FILE -key FILE [-passphrase FILE] "+arguments, "gateway pseudod "+name+" -config pseudod.yaml -key security-1.key "+example)
	return keyFlags{f,
		f.String("config", "", "pseudod.yaml；密钥在网关进程内的，只写 dir、key、passphrase 与 administrators 即可 / pseudod.yaml; where the gateway has the keys, one with dir, key, passphrase and administrators will do"),
		f.String("key", "", "安全管理员的 SM2 私钥 / the security administrator's private key"),
		f.String("passphrase", "", "该私钥的口令文件 / file with its passphrase"),
		f.String("reason", "", "原因代码 / reason: "+strings.Join(reasons, ", "))}
}

// open reads the configuration, the keys and the person's own.
func (f keyFlags) open() (o pseudod.Office, person *jose.Key, err error) {
	if *f.config == "" || *f.key == "" {
		f.Usage()
		return o, nil, errUsage
	}
	c, err := parsePseudodConfig(*f.config)
	if err != nil {
		return o, nil, err
	}
	if c.Dir == "" {
		return o, nil, fmt.Errorf("%s: dir: 缺少此项 / is missing", *f.config)
	}
	o = pseudod.Office{Dir: c.Dir, Now: time.Now}
	if o.Persons, err = registerOf(c.Administrators); err != nil {
		return o, nil, err
	}
	if o.Keys, err = assembly.OpenPseudonymKeys(c.Dir, c.Key, c.Passphrase, o.Persons); err != nil {
		return o, nil, err
	}
	person, err = jose.ReadKey(*f.key, *f.passphrase)
	return o, person, err
}

func take(o pseudod.Office, person *jose.Key, s pseudod.Step) (*audit.KeyStep, error) {
	s.At = time.Now()
	statement, err := s.Sign(person)
	if err != nil {
		return nil, err
	}
	return o.Take(statement)
}

// pseudodDestroy takes one person's step towards the destruction of a quarter's
// keys: the first asks, another approves.
func pseudodDestroy(_ context.Context, args []string, out io.Writer) error {
	f := newKeyFlags("destroy", "-quarter QUARTER [-reason CODE] [-reject]", "-quarter 2023q1", append([]string{pseudod.ReasonRetention}, pseudod.EarlyReasons()...))
	quarter := f.String("quarter", "", "季度，如 2023q1 / the quarter")
	reject := f.Bool("reject", false, "驳回待批准的申请 / reject the pending request")
	if err := parse(f.FlagSet, args, 0, 0); err != nil {
		return err
	}
	if *f.reason == "" {
		*f.reason = pseudod.ReasonRetention
	}
	o, person, err := f.open()
	if err != nil {
		return err
	}
	s, err := destroyStep(o, strings.ToLower(*quarter), *f.reason, *reject)
	if err != nil {
		return err
	}
	done, err := take(o, person, s)
	if err != nil {
		return err
	}
	switch {
	case done != nil:
		fmt.Fprintf(out, "%s：对照密钥已销毁，该季度的假名不再对应任何人；网关将记入审计日志 / destroyed; the gateway records it\n旧备份中的同名密钥须一并销毁 / destroy the same keys on older backups\n  之前 / before %s\n  之后 / after  %s\n", s.Quarter, done.Before, done.After)
	case s.Action == pseudod.Reject:
		fmt.Fprintf(out, "%s：申请已驳回，密钥未动 / rejected, the keys stay\n", s.Quarter)
	default:
		fmt.Fprintf(out, "%s：已申请销毁（%s），须由另一位安全管理员以同一命令批准 / pending; another security administrator approves with the same command\n", s.Quarter, s.Reason)
	}
	return nil
}

// destroyStep is the step that is due. Nobody approves by mistake what somebody
// else wanted for another reason.
func destroyStep(o pseudod.Office, quarter, reason string, reject bool) (pseudod.Step, error) {
	s := pseudod.Step{Action: pseudod.Ask, Quarter: quarter, Reason: reason}
	if audit.EpochQuarter(quarter) != quarter || quarter == "" {
		return s, errors.New("-quarter 须如 2023q1 / must be a quarter like 2023q1")
	}
	pending, err := o.Pending(quarter)
	switch {
	case err != nil:
		return s, err
	case pending == nil && reject:
		return s, errors.New("没有待批准的申请 / no request is pending")
	case pending == nil:
		return s, nil
	case !reject && pending.Reason != reason:
		return s, fmt.Errorf("%s 申请的原因是 %s：核对后以同一 -reason 批准，或以 -reject 驳回 / the pending request gives that reason: approve it with the same -reason, or -reject it", pending.By, pending.Reason)
	}
	s = pseudod.Step{Action: pseudod.Approve, Quarter: quarter, Of: jose.Digest(pending.Statement)}
	if reject {
		s.Action = pseudod.Reject
	}
	return s, nil
}

// pseudodRotate opens another epoch because the present keys are compromised.
func pseudodRotate(_ context.Context, args []string, out io.Writer) error {
	f := newKeyFlags("rotate", "-emergency -reason CODE", "-emergency -reason COMPROMISED", pseudod.RotationReasons())
	emergency := f.Bool("emergency", false, "确认当前密钥已经或可能泄露：季度更替不用此命令 / the present keys are, or may be, compromised; the turn of a quarter needs no command")
	if err := parse(f.FlagSet, args, 0, 0); err != nil {
		return err
	}
	if !*emergency || !slices.Contains(pseudod.RotationReasons(), *f.reason) {
		f.Usage()
		return errUsage
	}
	o, person, err := f.open()
	if err != nil {
		return err
	}
	done, err := take(o, person, pseudod.Step{Action: pseudod.Rotate, Quarter: audit.Quarter(time.Now()), Reason: *f.reason})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s 起用，%s 标为泄露；网关一秒内另起日志分卷，旧条目不重新编码 / opened; that one is marked compromised. The gateway goes on in a shard of its own within a second; entries are never keyed again\n", done.Epoch, done.Compromised)
	return nil
}

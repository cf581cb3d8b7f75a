package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/handover"
	"yizheng/identity/jose"
)

// auditHandover writes a sealed quarter's records of documents for an archive.
func auditHandover(ctx context.Context, args []string, out io.Writer) error {
	f := flags("audit handover", "-config FILE -quarter Q -out FILE", "gateway audit handover -config var/demo/gateway.yaml -quarter 2026q3 -out 2026q3.zip")
	config := f.String("config", "var/demo/gateway.yaml", "网关配置 / the gateway's configuration")
	quarter := f.String("quarter", "", "已封存的季度 / a sealed quarter")
	file := f.String("out", "", "写入的文件，不得已存在 / file to write; must not exist")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *quarter == "" || *file == "" {
		f.Usage()
		return errUsage
	}
	c, err := readConfig(*config)
	if err != nil {
		return err
	}
	s, done, err := c.handoverSource(ctx, *quarter)
	if err != nil {
		return err
	}
	defer done()
	m, err := writeNew(*file, func(w io.Writer) (handover.Manifest, error) { return handover.Write(ctx, w, s) })
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "已写入 / written: %s\n日志 / log: %s\n签发 / issued: %d\n撤回 / withdrawn: %d\n", *file, m.Origin, m.Issued, m.Withdrawn)
	if s.Stamper == nil {
		fmt.Fprintln(out, "没有时间戳：未配置 seals.timestamp / no time stamp: seals.timestamp is not configured")
	}
	return nil
}

func (c *Config) handoverSource(ctx context.Context, quarter string) (s handover.Source, done func(), err error) {
	key, err := jose.ReadKey(c.Audit.Key, c.Keys.Passphrase)
	if err != nil {
		return s, nil, fmt.Errorf("audit key: %w", err)
	}
	s = handover.Source{Dir: filepath.Join(c.Audit.Dir, filepath.Base(quarter)), Trust: c.Seals.Trust, Now: time.Now()}
	if s.Shard, err = audit.OpenArchive(ctx, s.Dir, key.Public()); err != nil {
		return s, nil, fmt.Errorf("%s: 只能移交已封存的季度 / only a sealed quarter can be handed over: %w", quarter, err)
	}
	if s.Signer, err = jose.ReadKey(c.Keys.Gateway, c.Keys.Passphrase); err != nil {
		return s, nil, fmt.Errorf("gateway key: %w", err)
	}
	if c.Seals.Timestamp == nil {
		return s, func() {}, nil
	}
	if s.Stamper, err = c.Seals.Timestamp.Client(); err != nil {
		return s, nil, fmt.Errorf("seals.timestamp: %w", err)
	}
	return s, s.Stamper.Close, nil
}

// writeNew writes a file that did not exist, whole or not at all.
func writeNew[T any](path string, write func(io.Writer) (T, error)) (v T, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return v, err
	}
	v, err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(path) // half a file is none
	}
	return v, err
}

// auditHandoverVerify checks such a file, with nothing but it and pinned keys.
func auditHandoverVerify(_ context.Context, args []string, out io.Writer) error {
	f := flags("audit handover-verify", "-key FILE -signer FILE [-tsa FILE] FILE", "gateway audit handover-verify -key audit.pub.pem -signer gateway.pub.pem 2026q3.zip")
	key := f.String("key", "", "日志公钥，逗号分隔 / keys of the log, comma separated")
	signer := f.String("signer", "", "网关公钥，逗号分隔 / the gateway's keys, comma separated")
	tsa := f.String("tsa", "", "时间戳根证书，逗号分隔；不给则不判断时间戳 / roots of the time stamp authority, comma separated; without them the stamp is not judged")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	if *key == "" || *signer == "" {
		f.Usage()
		return errUsage
	}
	pins := handover.Pins{}
	var err error
	if pins.Log, err = auditor.Keys(*key); err != nil {
		return err
	}
	if pins.Signers, err = auditor.Keys(*signer); err != nil {
		return err
	}
	if *tsa != "" {
		if pins.StampRoots, err = stampRoots(*tsa); err != nil {
			return err
		}
	}
	in, err := os.Open(f.Arg(0))
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	report, err := handover.Verify(in, info.Size(), pins)
	if err != nil {
		fmt.Fprintln(out, "移交包无效 / the hand-over is not good")
		return err
	}
	fmt.Fprint(out, report)
	return nil
}

func stampRoots(files string) (*smx509.CertPool, error) {
	pool := smx509.NewCertPool()
	for path := range strings.SplitSeq(files, ",") {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("%s 里没有证书 / holds no certificate", path)
		}
	}
	return pool, nil
}

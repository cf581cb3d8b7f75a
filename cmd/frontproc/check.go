package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/catalog"
	"yizheng/catalog/beijing"
	"yizheng/cmd/internal/assembly"
	"yizheng/exchange/ferry"
	"yizheng/identity/jose"
)

// checkWithin bounds each question to another machine.
const checkWithin = 10 * time.Second

// expireSoon is when an operator is reminded of what runs out.
const expireSoon = 30 * 24 * time.Hour

// errNo ends a command that has said what is wrong.
var errNo = errors.New("no")

// runCheck tests everything an agent needs and asks nobody about a person. It
// may be run beside a running agent.
func runCheck(ctx context.Context, args []string, out io.Writer) error {
	file, err := configFlag("check", "/etc/yizheng/frontproc.yaml", args)
	if err != nil {
		return err
	}
	c, err := readConfig(file)
	k := &checkup{out: out}
	k.line("配置文件 / configuration", err, "按提示改正配置 / mend the configuration as said")
	if err != nil {
		return errNo
	}
	k.run(ctx, c)
	if k.failed > 0 {
		fmt.Fprintf(out, "%d 项不通过 / failed: %d\n", k.failed, k.failed)
		return errNo
	}
	fmt.Fprintln(out, "全部通过 / all good")
	return nil
}

// checkup prints a line for each thing it has looked at.
type checkup struct {
	out    io.Writer
	failed int
}

// line says that something is as it should be, or why not and what to do.
func (k *checkup) line(what string, err error, todo string) bool {
	if err == nil {
		fmt.Fprintf(k.out, "✓ %s\n", what)
		return true
	}
	k.failed++
	fmt.Fprintf(k.out, "✗ %s\n    %s\n    → %s\n", what, strings.ReplaceAll(err.Error(), "\n", "\n    "), todo)
	return false
}

// soon reminds of what works today and will not for long.
func (k *checkup) soon(what string, until time.Time) {
	if left := time.Until(until); left < expireSoon {
		fmt.Fprintf(k.out, "! %s：%d 天后到期（%s），请尽快更换 / expires in %d days, replace it soon\n", what, int(left.Hours()/24), until.In(beijing.Zone()).Format(time.DateOnly), int(left.Hours()/24))
	}
}

func (k *checkup) run(ctx context.Context, c *Config) {
	if c.Mode == "production" {
		k.line("生产要求 / what production demands", c.strict(), "逐项改正；生产前置机否则不会启动 / mend each; a production front will not start otherwise")
	}
	key, err := jose.ReadKey(c.Key, c.Passphrase)
	k.line("前置机私钥 / front key", err, "检查 key 与 passphrase；没有则用 frontproc init 生成 / check key and passphrase; frontproc init makes one")
	_, err = jose.ReadKey(c.Audit.Key, c.Passphrase)
	k.line("审计私钥 / audit key", err, "检查 audit.key 与 passphrase / check audit.key and passphrase")
	_, err = c.gateways()
	k.line("网关公钥 / gateways' public keys", err, "向目录管理员索取网关公钥 / ask the catalogue administrators for them")
	var release *catalog.Release
	if key != nil {
		release, err = c.openRelease(key)
		if k.line("目录发布 / catalogue release", err, "放入最新发布；核对 administrators、front 与登记的公钥 / bring the newest release; compare administrators, front and the key that was registered") {
			k.soon("目录发布 / catalogue release", release.Expires)
		}
	}
	k.line("时钟 / clock", c.checkClock(release), "启用 NTP 或北斗授时并校准 / have NTP or another time source set the clock")
	k.line("审计目录 / audit directory", c.checkAudit(), "建好目录，授权给前置机用户（700），留足空间 / make it, give it to the front's user (700), leave space")
	k.line("假名密钥 / pseudonym keys", c.checkPseudonyms(), "检查 audit 一节的假名设置；向安全管理员索取 administrators 的公钥 / check what audit says of pseudonyms; ask the security administrators for their public keys")
	if c.Kafka != nil {
		k.kafka(ctx, c)
	} else {
		k.spool(c)
	}
	if release != nil {
		k.sources(ctx, c, c.ownSources(release.Catalogue))
	}
}

// checkClock: a clock that nobody sets drifts, and questions are refused as too old.
func (c *Config) checkClock(release *catalog.Release) error {
	now := time.Now()
	if release != nil && now.Add(time.Minute).Before(release.Created) {
		return fmt.Errorf("本机时间 %s 早于目录发布时间 / this clock is before the catalogue's release: %s", now.Format(time.RFC3339), release.Created.Format(time.RFC3339))
	}
	if c.Mode == "production" && !clockIsSet() {
		return errors.New("系统未与任何时间源同步 / the system says that no time source sets its clock")
	}
	return nil
}

func (c *Config) checkAudit() error {
	if err := assembly.Writable(c.Audit.Dir); err != nil {
		return err
	}
	shards, err := auditor.Shards(c.Audit.Dir)
	if err != nil {
		return err
	}
	if n := len(shards); n > 0 && audit.EpochQuarter(shards[n-1]) > audit.Quarter(time.Now()) {
		return fmt.Errorf("%w: %s", assembly.ErrClock, shards[n-1])
	}
	return nil
}

func (c *Config) checkPseudonyms() error {
	var closers assembly.Closers
	log := slog.New(slog.DiscardHandler)
	defer closers.Close(log)
	persons, err := assembly.KeyAdministrators(c.Administrators)
	if err != nil {
		return err
	}
	_, err = assembly.OpenPseudonyms(c.Audit, c.Passphrase, persons, log, &closers)
	return err
}

func (k *checkup) kafka(ctx context.Context, c *Config) {
	until, err := c.Kafka.checkCertificate(time.Now())
	if k.line("消息总线证书 / certificate for Kafka", err, "用 frontproc init 的 CSR 重新申请证书 / have a certificate issued for the CSR of frontproc init") {
		k.soon("消息总线证书 / certificate for Kafka", until)
	}
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	k.line("消息总线 / Kafka", c.Kafka.reach(ctx, ferry.RequestTopic(c.Front)),
		"检查 brokers、防火墙、证书与主题权限（gateway topics apply） / check brokers, firewall, certificate and the topic's permissions (gateway topics apply)")
}

// checkCertificate holds the client certificate to its key, its CA and the time.
func (k *KafkaConfig) checkCertificate(now time.Time) (until time.Time, err error) {
	pair, err := tls.LoadX509KeyPair(k.Certificate, k.Key)
	if err != nil {
		return until, err
	}
	ca, err := os.ReadFile(k.CA)
	if err != nil {
		return until, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return until, fmt.Errorf("%s: 其中没有证书 / holds no certificate", k.CA)
	}
	rest := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			rest.AddCert(cert)
		}
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: rest, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return pair.Leaf.NotAfter, err
}

func (k *KafkaConfig) reach(ctx context.Context, topic string) error {
	bus, err := k.open(ctx, "frontproc-check", slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, err = bus.Partitions(topic)
	return errors.Join(err, bus.Close())
}

// waitsTooLong is the age at which a file in out/ says that no device fetches.
const waitsTooLong = 2 * time.Minute

func (k *checkup) spool(c *Config) {
	_, err := jose.ReadKey(c.Spool.Key, c.Passphrase)
	k.line("摆渡签名私钥 / key for the gap's files", err, "检查 spool.key；没有则用 frontproc init -gap 生成 / check spool.key; frontproc init -gap makes one")
	_, err = c.Spool.peers()
	k.line("对端公钥 / the other side's keys", err, "向转运（relay）一侧索取公钥 / ask for them at the relay's side")
	k.line("摆渡目录 / spool", c.Spool.checkDirectories(time.Now()), "检查目录权限与文件系统；确认网闸在取走 out、写入 in / check permissions and file system; see that the device fetches from out and writes into in")
}

// checkDirectories looks and touches nothing: an agent may be at work.
func (s *SpoolConfig) checkDirectories(now time.Time) error {
	if err := assembly.Writable(s.Dir); err != nil {
		return err
	}
	var errs []error
	for _, part := range []string{"tmp", "out", "in", "done", "quarantine"} {
		dir := filepath.Join(s.Dir, part)
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			continue // the agent makes it
		}
		if same, err := sameFilesystem(s.Dir, dir); err != nil || !same {
			errs = append(errs, errors.Join(err, fmt.Errorf("%s: 须与 %s 在同一文件系统 / has to be on the file system of %s", dir, s.Dir, s.Dir)))
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.Dir, "out"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > waitsTooLong {
			errs = append(errs, fmt.Errorf("out/%s: 已 %s 未被取走 / not fetched for %s", e.Name(), now.Sub(info.ModTime()).Round(time.Second), now.Sub(info.ModTime()).Round(time.Second)))
			break
		}
	}
	return errors.Join(errs...)
}

// sources has each of the department's systems say whether it could be asked.
func (k *checkup) sources(ctx context.Context, c *Config, own []catalog.Source) {
	open, err := c.Connections.Open(ctx, c.Mode == "demo", own)
	defer func() {
		for _, a := range open {
			_ = a.Close() // nothing was asked
		}
	}()
	if !k.line("业务系统连接 / connections", err, "按目录中的数据源配置 connections / configure connections for the catalogue's sources") {
		return
	}
	for _, s := range slices.SortedFunc(slices.Values(own), func(a, b catalog.Source) int { return strings.Compare(string(a.ID), string(b.ID)) }) {
		within, cancel := context.WithTimeout(ctx, checkWithin)
		err := open[s.Connection].Probe(within, s)
		cancel()
		k.line(fmt.Sprintf("数据源 / source %s（%s）", s.ID, s.Connection), err,
			"检查业务系统是否在线、账号只读权限、表与字段 / see that the system is up, that the account may read, that tables and columns are there")
	}
}

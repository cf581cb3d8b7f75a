package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/stamp"
	"yizheng/cmd/gateway/setup"
	"yizheng/cmd/internal/assembly"
)

// initialise makes keys, CA, administrators and seals for a catalogue.
func initialise(_ context.Context, args []string, out io.Writer) error {
	f := flags("init", "-dir DIR -catalog DIR -font FILE", "gateway init -dir var/city -catalog configs/demo/catalog -font /usr/share/fonts/truetype/babelstone/BabelStoneHan.ttf")
	dir := f.String("dir", "", "放密钥、印章与日志的目录 / directory for keys, seals and logs")
	cat := f.String("catalog", "", "目录 YAML 所在目录 / directory of the catalogue's YAML")
	font := f.String("font", "", "刻章用的 TrueType 字体 / TrueType font for the seals")
	hosts := f.String("hosts", "localhost,127.0.0.1", "网关证书中的主机名，逗号分隔 / host names in the gateway's certificate")
	passphrase := f.String("passphrase", "", "口令文件，用于加密私钥（生产必须） / file with the passphrase that encrypts private keys (needed for production)")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *dir == "" || *cat == "" || *font == "" {
		f.Usage()
		return errUsage
	}
	o := setup.Options{Dir: *dir, Catalog: *cat, Font: *font, Hosts: strings.Split(*hosts, ","), Now: time.Now()}
	if *passphrase != "" {
		p, err := assembly.Text(*passphrase)
		if err != nil {
			return err
		}
		o.Passphrase = []byte(p)
	}
	if err := setup.Make(o); err != nil {
		return err
	}
	fmt.Fprintf(out, "已就绪 / ready: %s（三员 / administrators: keys/admins）\n", *dir)
	return nil
}

// auditCommand holds the auditor's tools.
func auditCommand(ctx context.Context, args []string, out io.Writer) error {
	commands := []struct {
		name string
		run  func(context.Context, []string, io.Writer) error
	}{
		{"verify", auditVerify},
		{"prove", auditProve},
		{"search", auditSearch},
		{"path", auditPath},
		{"apply", auditApply},
		{"approve", auditApprove},
		{"roster", auditRoster},
		{"export", auditExport},
		{"index", auditIndex},
		{"copies", auditCopies},
		{"schema", auditSchema},
		{"replica", auditReplica},
		{"handover", auditHandover},
		{"handover-verify", auditHandoverVerify},
	}
	var names []string
	for _, c := range commands {
		if len(args) > 0 && args[0] == c.name {
			return c.run(ctx, args[1:], out)
		}
		names = append(names, c.name)
	}
	fmt.Fprintf(out, "gateway audit %s -h\n", strings.Join(names, "|"))
	if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
		return nil
	}
	return errUsage
}

func auditVerify(ctx context.Context, args []string, out io.Writer) error {
	f := flags("audit verify", "-dir DIR -key FILE", "gateway audit verify -dir var/demo/audit -key var/demo/keys/audit.pub.pem -live")
	c := auditor.Command{Tokens: stamp.Tokens}
	c.Flags(f)
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	good, err := c.Run(ctx, out)
	if err == nil && !good {
		return errNo
	}
	return err
}

func auditProve(_ context.Context, args []string, out io.Writer) error {
	f := flags("audit prove", "-dir DIR -key FILE -index N", "gateway audit prove -dir var/demo/audit/2026q4 -index 7")
	dir := f.String("dir", "", "一个季度的日志目录 / the directory of one quarter")
	key := f.String("key", "var/demo/keys/audit.pub.pem", "钉住的日志公钥 / pinned key")
	index := f.Uint64("index", 0, "条目序号 / index of the entry")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	keys, err := auditor.Keys(*key)
	if err != nil {
		return err
	}
	stored, receipt, err := audit.Prove(*dir, *index, keys...)
	if err != nil {
		return err
	}
	text, err := receipt.MarshalText()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n\n%s", stored.OpenJSON, text)
	return nil
}

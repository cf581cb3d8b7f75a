package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"yizheng/catalog/beijing"
	"yizheng/seal"
	"yizheng/seal/life"
)

func sealStatus(ctx context.Context, args []string, out io.Writer) error {
	f := newSealFlags("status", "[-json] [-publish FILE -maker FILE -maker-key FILE] [ID]", "-publish trust/seals-status.json -maker maker.crt -maker-key maker.key")
	asJSON := f.Bool("json", false, "输出 JSON / print JSON")
	publish := f.String("publish", "", "写出制章者签名的状态表 / write the status list, signed by the maker")
	cert := f.String("maker", "", "制章者证书 / the seal maker's certificate")
	key := f.String("maker-key", "", "制章者私钥 / the seal maker's private key")
	pass := f.String("maker-passphrase", "", "其口令文件 / file with its passphrase")
	days := f.Int("days", 7, "状态表有效天数 / days until the next list is due")
	o, err := f.parse(args, 0)
	if err != nil {
		return err
	}
	if *publish != "" {
		return o.publish(ctx, out, *publish, *cert, *key, *pass, *days)
	}
	found := false
	for _, s := range o.register.Seals() {
		if f.NArg() == 1 && s.ID != f.Arg(0) {
			continue
		}
		found = true
		if !*asJSON {
			printSeal(out, s)
		} else if err := json.NewEncoder(out).Encode(s); err != nil {
			return err
		}
	}
	if !found && f.NArg() == 1 {
		fmt.Fprintf(out, "登记簿中没有这枚印章 / the register has no such seal: %s\n", f.Arg(0))
		return errNo
	}
	if *asJSON {
		return nil
	}
	return o.printExpiring(out, f.Arg(0))
}

// printExpiring says what ends within 60, 30 and 7 days; id "" means all seals.
func (o *sealOffice) printExpiring(out io.Writer, id string) error {
	seals, err := seal.OpenRegistry(o.config.Seals.Dir, seal.RegistryOptions{PassphraseFile: o.config.Keys.Passphrase, Trust: o.trust, States: o.register.States})
	if err != nil {
		return err
	}
	names := map[string]string{seal.ExpiringSeal: "印章 / the seal", seal.ExpiringCertificate: "签章证书 / its certificate", seal.ExpiringMaker: "制章者证书 / its maker's certificate"}
	for _, e := range seals.Expiring(time.Now()) {
		switch day := e.Until.In(beijing.Zone()).Format(time.DateOnly); {
		case id != "" && id != e.SealID:
		case e.Within == 0:
			fmt.Fprintf(out, "! %s：%s 已于 %s 到期 / has ended\n", e.SealID, names[e.What], day)
		default:
			fmt.Fprintf(out, "! %s：%s 将于 %s 到期，还有 %d 天（%d 天内） / ends in %d days, within %d\n", e.SealID, names[e.What], day, e.Days, e.Within, e.Days, e.Within)
		}
	}
	return nil
}

// publish writes a maker's status list in the place of the last.
func (o *sealOffice) publish(ctx context.Context, out io.Writer, file, cert, key, pass string, days int) error {
	if err := o.remembered(ctx); err != nil {
		return err
	}
	maker, err := seal.ReadCredential(cert, key, pass)
	if err != nil {
		return err
	}
	if err := o.follows(file, maker.Key.ID()); err != nil {
		return err
	}
	l := o.register.StatusList(maker.Key.ID(), time.Now().AddDate(0, 0, days))
	raw, err := seal.SignStatusList(maker, l)
	if err != nil {
		return err
	}
	if err := writeWhole(file, raw); err != nil {
		return err
	}
	fmt.Fprintf(out, "已发布 / published: %s，第 %d 号 / number %d，%d 项变动 / changes\n", file, l.Number, l.Number, len(l.Events))
	return nil
}

// follows refuses to replace a list that this register does not follow: one that knows
// steps it has not, or another maker's, which nothing would tell of any more.
func (o *sealOffice) follows(file, makerKid string) error {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	last, kid, err := seal.ReadStatusList(raw)
	switch {
	case err != nil:
		return fmt.Errorf("%s: 不是状态表，不予覆盖 / not a status list, so it stays: %w", file, err)
	case kid != makerKid:
		return fmt.Errorf("%s: 是另一制章者的状态表，请另用一个文件，如 seals-status-NAME.json / another maker's status list; give this one a file of its own", file)
	case last.Head == "":
		return nil
	}
	if err := o.register.Remembers(last.Number, last.Head); err != nil {
		return fmt.Errorf("%s（第 %d 号 / number %d）: %w", file, last.Number, last.Number, err)
	}
	return nil
}

func sealLog(ctx context.Context, args []string, out io.Writer) error {
	f := newSealFlags("log", "[ID] | -seal ID [-json]", "mz")
	used := f.String("seal", "", "改列这枚印章的每次使用，出自审计日志 / tell every use of this seal instead, out of the audit log")
	asJSON := f.Bool("json", false, "与 -seal 合用：输出 JSON，每次一行 / with -seal: print JSON, a line for each use")
	o, err := f.parse(args, 0)
	if err != nil {
		return err
	}
	if *used != "" {
		return o.printUses(ctx, out, *used, *asJSON)
	}
	for _, e := range o.register.Entries(0) {
		if f.NArg() == 0 || f.Arg(0) == e.Seal {
			fmt.Fprintf(out, "%4d  %s  %-8s %-16s %s（%s） %s\n", e.Number, e.At.In(beijing.Zone()).Format("2006-01-02 15:04:05"), e.Action, e.Seal, e.By.Name, e.By.Role, e.Reason)
		}
	}
	n, head := o.register.Head()
	fmt.Fprintf(out, "共 %d 步，末步摘要 / %d steps, digest of the last: %s\n", n, n, head)
	return nil
}

func printSeal(out io.Writer, s life.Seal) {
	fmt.Fprintf(out, "%s：%s，自 / since %s\n", s.ID, stateName(s.State), s.Since.In(beijing.Zone()).Format("2006-01-02 15:04:05"))
	if c := s.Current; c != nil {
		fmt.Fprintf(out, "  %s（%s）\n", c.Name, c.ESID)
	}
	if c := s.Pending; c != nil {
		fmt.Fprintf(out, "  待办 / pending: %s，%s，%s 提出 / asked by %s %s\n", c.Action, stateName(c.Stage), c.By, c.By, c.Reason)
		if o := c.Order; o != nil {
			fmt.Fprintf(out, "    %s（%s），%d × %d mm，%s – %s\n", o.Name, o.ESID, o.WidthMM, o.HeightMM, o.From.In(beijing.Zone()).Format(time.DateOnly), o.Until.In(beijing.Zone()).Format(time.DateOnly))
		}
	}
}

func stateName(s life.State) string {
	names := map[life.State]string{life.Applied: "已申请", life.Approved: "已批准", life.Made: "已制作", life.Declined: "已驳回",
		life.Issued: "使用中", life.Suspended: "已停用", life.Revoked: "已撤销", life.Destroyed: "已销毁"}
	return names[s] + " " + string(s)
}

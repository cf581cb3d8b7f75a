package main

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"yizheng/identity/jose"
	"yizheng/seal"
	"yizheng/seal/keystore"
	"yizheng/seal/life"
)

// sealCommand looks after the seals: each step is one person's, signed with their
// own key, and a running gateway takes it up at once.
func sealCommand(ctx context.Context, args []string, out io.Writer) error {
	subs := []command{
		{"apply", "申请刻制新印章 / apply for a new seal", sealOrder(life.Apply)},
		{"import", "申请导入别处制作的印章 / apply for a seal made elsewhere", sealImport},
		{"renew", "申请续期 / apply for a renewal", sealOrder(life.Renew)},
		{"replace", "申请更换 / apply for a replacement", sealOrder(life.Replace)},
		{"approve", "批准待办事项（须另一人） / approve what is pending (another person)", sealStep(life.Approve)},
		{"reject", "驳回待办事项 / reject what is pending", sealStep(life.Reject)},
		{"make", "以制章者私钥制作 / make it with the maker's key", sealMake},
		{"issue", "发放：与签章证书绑定并启用 / issue it, bound to the signing certificate", sealIssue},
		{"suspend", "停用（一人即可，立即生效） / suspend it: one person, at once", sealStep(life.Suspend)},
		{"resume", "申请恢复 / ask to resume it", sealStep(life.Resume)},
		{"revoke", "申请撤销 / ask to revoke it", sealStep(life.Revoke)},
		{"destroy", "申请销毁私钥 / ask to destroy its key", sealStep(life.Destroy)},
		{"status", "各印章状态；-publish 发布状态表 / states; publish a status list", sealStatus},
		{"test", "接入检测：试盖一份测试文书并做八项核验 / seal a test document and run the eight checks", sealTest},
		{"log", "登记簿：谁在何时办了什么 / the register: who did what, when", sealLog},
	}
	if len(args) > 0 {
		for _, c := range subs {
			if c.name == args[0] {
				return c.run(ctx, args[1:], out)
			}
		}
	}
	for _, c := range subs {
		fmt.Fprintf(out, "gateway seal %-8s %s\n", c.name, c.summary)
	}
	if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
		return nil
	}
	return errUsage
}

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
	return o, err
}

// take signs a step, enters it and says what has become of the seal.
func (f sealFlags) take(o *sealOffice, out io.Writer, step life.Step) error {
	k, err := jose.ReadKey(*f.key, *f.passphrase)
	if err != nil {
		return err
	}
	step.Reason = life.Reason(*f.reason)
	line, err := step.Sign(k)
	if err != nil {
		return err
	}
	e, err := o.register.Append(line)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "第 %d 步 / step %d: %s %s，%s（%s）\n", e.Number, e.Number, e.Action, e.Seal, e.By.Name, e.By.Role)
	s, _ := o.register.Find(e.Seal)
	printSeal(out, s)
	return nil
}

func sealStep(a life.Action) func(context.Context, []string, io.Writer) error {
	return func(_ context.Context, args []string, out io.Writer) error {
		reason := slices.Contains([]life.Action{life.Suspend, life.Resume, life.Revoke, life.Destroy}, a)
		arguments, example := "-key FILE ID", "-key security-1.key ca-city"
		if reason {
			arguments, example = "-key FILE -reason CODE ID", "-key security-1.key -reason LOST ca-city"
		}
		f := newSealFlags(string(a), arguments, example)
		f.signing(reason)
		o, err := f.parse(args, 1)
		if err != nil {
			return err
		}
		return f.take(o, out, o.register.Next(f.Arg(0), a))
	}
}

// sealOrder is apply, renew and replace.
func sealOrder(a life.Action) func(context.Context, []string, io.Writer) error {
	return func(_ context.Context, args []string, out io.Writer) error {
		f := newSealFlags(string(a), "-key FILE -esid CODE -name NAME -holder FILE -font FILE ID",
			"-key applicant.key -esid 6901000000017 -name 云州市民政局业务专用章 -holder mz.crt -font font.ttf -organ 云州市民政局 -purpose 业务专用章 mz")
		f.signing(a == life.Replace)
		esid := f.String("esid", "", "印章标识，如 13 位备案编码 / identifier inside the seal")
		name := f.String("name", "", "印章名称 / name of the seal")
		holder := f.String("holder", "", "签章证书 PEM / the holder's signing certificate")
		picture := f.String("picture", "", "GIF 印模；不给则按 -font 绘制 / GIF picture; drawn with -font if missing")
		round := seal.RoundSeal{}
		f.StringVar(&round.FontPath, "font", "", "绘制用的 TrueType 字体 / TrueType font to draw with")
		f.StringVar(&round.Name, "organ", "", "环排的单位名称，缺省为印章名称 / name along the arc")
		f.StringVar(&round.Purpose, "purpose", "", "星下文字 / text below the star")
		f.IntVar(&round.DiameterMM, "mm", 42, "直径（毫米） / diameter in millimetres")
		days := f.Int("days", 3*365, "有效天数 / days it is valid")
		o, err := f.parse(args, 1)
		if err != nil {
			return err
		}
		if *esid == "" || *name == "" || *holder == "" || *picture == "" && round.FontPath == "" {
			f.Usage()
			return errUsage
		}
		order := &life.Order{ESID: *esid, Name: *name, VendorID: "YIZHENG", WidthMM: round.DiameterMM, HeightMM: round.DiameterMM,
			From: time.Now().UTC().Truncate(time.Second)}
		order.Until = order.From.AddDate(0, 0, *days)
		if order.Holder, err = readCertificate(*holder); err != nil {
			return err
		}
		if round.Name == "" {
			round.Name = *name
		}
		if order.Picture, err = sealPicture(*picture, round); err != nil {
			return err
		}
		step := o.register.Next(f.Arg(0), a)
		step.Order = order
		return f.take(o, out, step)
	}
}

func sealPicture(file string, round seal.RoundSeal) ([]byte, error) {
	if file != "" {
		return os.ReadFile(file)
	}
	return seal.DrawRoundSeal(round)
}

func sealImport(_ context.Context, args []string, out io.Writer) error {
	f := newSealFlags("import", "-key FILE -seal FILE -holder FILE ID", "-key applicant.key -seal mz.esl -holder mz.crt mz")
	f.signing(false)
	file := f.String("seal", "", "SESeal，DER（*.esl） / the seal, DER")
	holder := f.String("holder", "", "签章证书 PEM / the holder's signing certificate")
	o, err := f.parse(args, 1)
	if err != nil {
		return err
	}
	step := o.register.Next(f.Arg(0), life.Import)
	if step.ESeal, err = os.ReadFile(*file); err != nil {
		return err
	}
	if step.Holder, err = readCertificate(*holder); err != nil {
		return err
	}
	return f.take(o, out, step)
}

// sealMake makes the seal that was approved, and nothing else.
func sealMake(_ context.Context, args []string, out io.Writer) error {
	f := newSealFlags("make", "-key FILE -maker FILE -maker-key FILE ID", "-key maker-person.key -maker maker.crt -maker-key maker.key mz")
	f.signing(false)
	cert := f.String("maker", "", "制章者证书 / the seal maker's certificate")
	key := f.String("maker-key", "", "制章者私钥 / the seal maker's private key")
	pass := f.String("maker-passphrase", "", "其口令文件 / file with its passphrase")
	o, err := f.parse(args, 1)
	if err != nil {
		return err
	}
	maker, err := seal.ReadCredential(*cert, *key, *pass)
	if err != nil {
		return err
	}
	step := o.register.Next(f.Arg(0), life.Make)
	s, _ := o.register.Find(f.Arg(0))
	if s.Pending != nil && s.Pending.Order != nil { // without one the register says why not
		if step.ESeal, err = s.Pending.Order.Make(maker, time.Now()); err != nil {
			return err
		}
	}
	return f.take(o, out, step)
}

func sealIssue(_ context.Context, args []string, out io.Writer) error {
	f := newSealFlags("issue", "-key FILE [-holder-key FILE] ID", "-key security-2.key -holder-key mz.key mz")
	f.signing(false)
	key := f.String("holder-key", "", "签章私钥文件，复制到印章目录；续期或由部门自持时不给 / the signing key, copied to the seal's directory; not for a renewal or a key the department keeps")
	o, err := f.parse(args, 1)
	if err != nil {
		return err
	}
	s, _ := o.register.Find(f.Arg(0))
	if *key != "" && s.Pending != nil && s.Pending.Edition != nil {
		cert, err := seal.ParseCertificate(s.Pending.Edition.Holder)
		if err != nil {
			return err
		}
		if err := keystore.Place(o.register.Dir(s.ID), *key, o.config.Keys.Passphrase, cert.PublicKey.(*ecdsa.PublicKey)); err != nil { // no other is parsed
			return err
		}
	}
	return f.take(o, out, o.register.Next(f.Arg(0), life.Issue))
}

func sealStatus(_ context.Context, args []string, out io.Writer) error {
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
		return o.publish(out, *publish, *cert, *key, *pass, *days)
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
		switch day := e.Until.Local().Format(time.DateOnly); {
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
func (o *sealOffice) publish(out io.Writer, file, cert, key, pass string, days int) error {
	maker, err := seal.ReadCredential(cert, key, pass)
	if err != nil {
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

func sealLog(_ context.Context, args []string, out io.Writer) error {
	f := newSealFlags("log", "[ID]", "mz")
	o, err := f.parse(args, 0)
	if err != nil {
		return err
	}
	for _, e := range o.register.Entries(0) {
		if f.NArg() == 0 || f.Arg(0) == e.Seal {
			fmt.Fprintf(out, "%4d  %s  %-8s %-16s %s（%s） %s\n", e.Number, e.At.Local().Format("2006-01-02 15:04:05"), e.Action, e.Seal, e.By.Name, e.By.Role, e.Reason)
		}
	}
	n, head := o.register.Head()
	fmt.Fprintf(out, "共 %d 步，末步摘要 / %d steps, digest of the last: %s\n", n, n, head)
	return nil
}

func printSeal(out io.Writer, s life.Seal) {
	fmt.Fprintf(out, "%s：%s，自 / since %s\n", s.ID, stateName(s.State), s.Since.Local().Format("2006-01-02 15:04:05"))
	if c := s.Current; c != nil {
		fmt.Fprintf(out, "  %s（%s）\n", c.Name, c.ESID)
	}
	if c := s.Pending; c != nil {
		fmt.Fprintf(out, "  待办 / pending: %s，%s，%s 提出 / asked by %s %s\n", c.Action, stateName(c.Stage), c.By, c.By, c.Reason)
		if o := c.Order; o != nil {
			fmt.Fprintf(out, "    %s（%s），%d × %d mm，%s – %s\n", o.Name, o.ESID, o.WidthMM, o.HeightMM, o.From.Format(time.DateOnly), o.Until.Format(time.DateOnly))
		}
	}
}

func stateName(s life.State) string {
	names := map[life.State]string{life.Applied: "已申请", life.Approved: "已批准", life.Made: "已制作", life.Declined: "已驳回",
		life.Issued: "使用中", life.Suspended: "已停用", life.Revoked: "已撤销", life.Destroyed: "已销毁"}
	return names[s] + " " + string(s)
}

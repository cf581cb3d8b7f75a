package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

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
		{"test", "接入检测（登记在案）：试盖一份测试文书并做八项核验 / on record, seal a test document and run the eight checks", sealTest},
		{"log", "登记簿：谁在何时办了什么；-seal 每次使用 / the register: who did what, when; -seal: every use", sealLog},
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

func sealStep(a life.Action) func(context.Context, []string, io.Writer) error {
	return func(ctx context.Context, args []string, out io.Writer) error {
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
		return f.take(ctx, o, out, o.register.Next(f.Arg(0), a), nil)
	}
}

// sealOrder is apply, renew and replace.
func sealOrder(a life.Action) func(context.Context, []string, io.Writer) error {
	return func(ctx context.Context, args []string, out io.Writer) error {
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
		return f.take(ctx, o, out, step, nil)
	}
}

func sealPicture(file string, round seal.RoundSeal) ([]byte, error) {
	if file != "" {
		return os.ReadFile(file)
	}
	return seal.DrawRoundSeal(round)
}

func sealImport(ctx context.Context, args []string, out io.Writer) error {
	f := newSealFlags("import", "-key FILE -seal FILE -holder FILE ID", "-key applicant.key -seal mz.esl -holder mz.crt mz")
	f.signing(false)
	file := f.String("seal", "", "SESeal，DER（*.esl） / the seal, DER")
	holder := f.String("holder", "", "签章证书 PEM / the holder's signing certificate")
	o, err := f.parse(args, 1)
	if err != nil {
		return err
	}
	if *file == "" || *holder == "" {
		f.Usage()
		return errUsage
	}
	step := o.register.Next(f.Arg(0), life.Import)
	if step.ESeal, err = readSeal(*file); err != nil {
		return err
	}
	if step.Holder, err = readCertificate(*holder); err != nil {
		return fmt.Errorf("-holder %s: 读不出签章证书 / not the holder's certificate: %w", *holder, err)
	}
	if _, err := seal.Inspect(step.ESeal, step.Holder, o.trust); err != nil {
		return fmt.Errorf("-seal %s: 这枚印章不能导入：格式须合 GB/T 38540 或 GM/T 0031，制章者须在信任目录 makers 中，证书须在其列表中 / cannot be imported: it has to keep its standard, be made by a maker in the trust directory, and list the certificate: %w", *file, err)
	}
	return f.take(ctx, o, out, step, nil)
}

// readSeal reads a SESeal in DER, and says what else people give for one.
func readSeal(file string) ([]byte, error) {
	b, err := readFile(file, maxSeal)
	switch {
	case err != nil:
		return nil, fmt.Errorf("-seal: %w", err)
	case bytes.HasPrefix(b, []byte("-----BEGIN")), bytes.HasPrefix(b, []byte("MI")): // 30 82 in base64
		return nil, fmt.Errorf("-seal %s: 是文本（PEM 或 base64），请先转换为 DER / PEM or base64, give it in DER", file)
	case bytes.HasPrefix(b, []byte("%PDF")):
		return nil, fmt.Errorf("-seal %s: 是 PDF 文件，要的是印章本身（*.esl，DER） / a PDF; give the seal itself, in DER", file)
	}
	return b, nil
}

// sealMake makes the seal that was approved, and nothing else.
func sealMake(ctx context.Context, args []string, out io.Writer) error {
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
	return f.take(ctx, o, out, step, nil)
}

func sealIssue(ctx context.Context, args []string, out io.Writer) error {
	f := newSealFlags("issue", "-key FILE [-holder-key FILE] ID", "-key security-2.key -holder-key mz.key mz")
	f.signing(false)
	key := f.String("holder-key", "", "签章私钥文件，复制到印章目录；续期或由部门自持时不给 / the signing key, copied to the seal's directory; not for a renewal or a key the department keeps")
	o, err := f.parse(args, 1)
	if err != nil {
		return err
	}
	var place func() error
	s, _ := o.register.Find(f.Arg(0))
	if *key != "" && s.Pending != nil && s.Pending.Edition != nil {
		cert, err := seal.ParseCertificate(s.Pending.Edition.Holder)
		if err != nil {
			return err
		}
		place = func() error { // it has to be there when the step takes effect
			return keystore.Place(o.register.Dir(s.ID), *key, o.config.Keys.Passphrase, cert.PublicKey.(*ecdsa.PublicKey)) // no other is parsed
		}
	}
	return f.take(ctx, o, out, o.register.Next(f.Arg(0), life.Issue), place)
}

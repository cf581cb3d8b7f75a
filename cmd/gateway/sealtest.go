package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"time"

	"yizheng/seal"
	"yizheng/seal/life"
	"yizheng/seal/pdf"
	"yizheng/seal/tsp"
)

// testWithin bounds the calls of a test, to the time stamp authority and for revocation.
const testWithin = 30 * time.Second

// sealTest is the access test of GB/T 39047 5.2.3.3 d: a department's seal signs a
// document that says it is a test and about nobody, in the form and with the time
// stamp of real ones, and the eight checks are run on it. It is a use of the seal, so
// a step of the register says first who makes it; the gateway records that.
func sealTest(ctx context.Context, args []string, out io.Writer) error {
	f := newSealFlags("test", "-key FILE [-out FILE] ID", "-key applicant.key -out test.pdf ca-city")
	f.signing(false)
	file := f.String("out", "", "保存测试文书 / keep the test document")
	lang := f.String("lang", "zh", "zh 或 en / language of the report")
	o, err := f.parse(args, 1)
	if err != nil {
		return err
	}
	c := o.config
	options, done, err := c.Seals.Options(c.Keys.Passphrase)
	if err != nil {
		return err
	}
	defer func() { _ = done() }() // it only lets connections go
	options.States = o.register.States
	seals, err := seal.OpenRegistry(c.Seals.Dir, options)
	if err != nil {
		return err
	}
	fonts, err := pdf.LoadFonts(c.Fonts.Body, c.Fonts.Fallbacks)
	if err != nil {
		return fmt.Errorf("字体不可用 / fonts: %w", err)
	}
	defer fonts.Close()
	if err := f.take(ctx, o, out, o.register.Next(f.Arg(0), life.Test), nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, testWithin)
	defer cancel()
	sealed, use, err := testDocument(ctx, seals, fonts, f.Arg(0), time.Now())
	if err != nil {
		return err
	}
	if *file != "" {
		if err := os.WriteFile(*file, sealed, 0o600); err != nil {
			return err
		}
	}
	if use.StampFault != nil {
		zh, en := tsp.Text(use.StampFault)
		fmt.Fprintln(out, "!", seal.Text{ZH: zh, EN: en}.In(*lang))
	}
	report := seal.VerifyContext(ctx, sealed, options.Trust, time.Now())
	if err := report.WriteText(out, *lang); err != nil {
		return err
	}
	if !report.Overall {
		return errNo
	}
	return nil
}

// testDocument is about nobody, has no certificate number and says on every line that it is a test.
func testDocument(ctx context.Context, seals *seal.Registry, fonts *pdf.Fonts, id string, at time.Time) ([]byte, seal.Use, error) {
	renderer, err := pdf.NewRenderer(fonts)
	if err != nil {
		return nil, seal.Use{}, err
	}
	picture, name, err := seals.Picture(id)
	if err != nil {
		return nil, seal.Use{}, err
	}
	slot, err := seals.Slot(id)
	if err != nil {
		return nil, seal.Use{}, err
	}
	seed := make([]byte, pdf.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, seal.Use{}, err
	}
	d, err := renderer.Render(pdf.Document{
		Title: "测试文书（无效）", Issuer: name, Number: "TEST", IssuedAt: at, DataTime: at, ValidUntil: at,
		Body: "本文书仅用于印章接入检测，不证明任何事项，不得使用。", Rows: []pdf.Row{{Label: "测试项目", Value: "印章接入检测（测试）"}},
		Watermark: "测试 TEST", Seed: seed, Receipt: "TEST", SealPicture: picture, SealName: name, Signer: name,
	}, slot)
	if err != nil {
		return nil, seal.Use{}, err
	}
	return seals.Sign(ctx, id, d, at)
}

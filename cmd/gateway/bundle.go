package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"yizheng/catalog/beijing"
	"yizheng/exchange/bundle"
	"yizheng/seal"
	"yizheng/seal/pdf"
)

// bundleCommand puts a matter's sealed documents into one file to print or to hand over:
// a cover that lists them with what came of verifying each, and each embedded
// untouched. The file is written whatever came of it; the exit code is 1 if a seal did
// not verify. POST /v1/exchanges/{no}/print-order does it for a clerk, of one exchange.
func bundleCommand(ctx context.Context, args []string, out io.Writer) error {
	f := flags("bundle", "-o FILE -trust DIR [-exchange FILE] [-matter TEXT] PDF...", "gateway bundle -o 清单.pdf -exchange out/exchange.json -trust var/demo/trust -matter 公共租赁住房资格确认 out/*.pdf")
	target := f.String("o", "", "写到哪个文件 / file to write")
	matter := f.String("matter", "", "办理事项，不给则不写 / the matter, left out if missing")
	state := f.String("exchange", "", "办理状态（GET /v1/exchanges/{no} 的答复）：按事项次序列出每项证明及其结果 / answer of GET /v1/exchanges/{no}: every proof in the matter's order, and what came of it")
	by := f.String("by", "经办窗口", "由谁汇总 / who assembles it")
	trustDir := f.String("trust", "var/demo/trust", "核验所用的信任目录 / trust directory to verify with")
	fonts := f.String("fonts", "/usr/share/fonts/truetype", "字体目录 / directory of the fonts")
	if err := parse(f, args, 0, 200); err != nil {
		return err
	}
	if *target == "" || f.NArg() == 0 && *state == "" {
		f.Usage()
		return errUsage
	}
	trust, err := openTrust(*trustDir, "", responders{})
	if err != nil {
		return err
	}
	order := printOrder
	if *state != "" {
		order = matterOrder(*state)
	}
	cover, seals, err := order(ctx, f.Args(), trust, *matter, *by, time.Now())
	if err != nil {
		return err
	}
	fs, err := pdf.LoadFonts(filepath.Join(*fonts, "babelstone/BabelStoneHan.ttf"),
		[]string{filepath.Join(*fonts, "hanazono/HanaMinA.ttf"), filepath.Join(*fonts, "hanazono/HanaMinB.ttf")})
	if err != nil {
		return err
	}
	defer fs.Close()
	if *state == "" {
		legible(fs, cover.Tables[0].Rows)
	}
	r, err := pdf.NewRenderer(fs)
	if err != nil {
		return err
	}
	file, err := r.PrintOrder(cover)
	if err != nil {
		return err
	}
	if err := os.WriteFile(*target, file, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(out, "已写 / written: %s（%d 份 / documents）\n", *target, len(cover.Attachments))
	good := true
	for i, s := range seals {
		fmt.Fprintf(out, "  %s：电子印章 / seal: %s %s\n", f.Arg(i), s.Text.ZH, s.Text.EN)
		good = good && s.Result != seal.Fail && s.Result != seal.Unknown
	}
	if !good {
		return errNo
	}
	return nil
}

// printOrder is the cover, with a row for each file; it verifies each.
func printOrder(ctx context.Context, paths []string, trust *seal.Trust, matter, by string, now time.Time) (d pdf.Document, seals []bundle.Verdict, err error) {
	t := pdf.Table{Columns: []pdf.Column{{Label: "序号", Align: pdf.AlignCenter}, {Label: "材料"}, {Label: "签章"}, {Label: "编号"}, {Label: "电子印章", Align: pdf.AlignCenter}}}
	d = pdf.Document{
		Title: "证明材料清单", Issuer: by, Number: now.In(beijing.Zone()).Format("20060102-150405"), IssuedAt: now, ItemName: matter,
		Body: fmt.Sprintf("下列材料共%d份，作为附件原样嵌入本文件，未作改动。“电子印章”一栏为汇总时核验的结果；每份的真伪以其自身的电子印章为准，取出后可单独核验。本清单不盖章。", len(paths)),
	}
	for i, path := range paths {
		p, err := readPaper(ctx, path, trust)
		if err != nil {
			return d, nil, err
		}
		seals = append(seals, p.Seal)
		t.Rows = append(t.Rows, []string{fmt.Sprint(i + 1), orDash(p.Title), orDash(p.Signer), orDash(p.Number), p.Seal.Text.ZH})
		d.Attachments = append(d.Attachments, p.Attachment(i+1))
	}
	d.Tables = []pdf.Table{t}
	return d, seals, nil
}

// legible puts ? for what no font has in the rows of a list: titles and signers are a
// stranger's words, and one of them must not stop the whole list.
func legible(fs *pdf.Fonts, rows [][]string) {
	for _, row := range rows {
		for i, cell := range row {
			for _, r := range fs.Missing(cell) {
				row[i] = strings.ReplaceAll(row[i], string(r), "?")
			}
		}
	}
}

func orDash(s string) string {
	if s == "" {
		return "—"
	}
	return s
}

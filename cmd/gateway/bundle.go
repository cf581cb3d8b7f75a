package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"yizheng/seal/pdf"
)

// bundle puts a matter's sealed documents into one file to print or to hand over:
// a cover that lists them, and each embedded untouched. The gateway cannot do it:
// results are encrypted to whoever asked.
func bundle(_ context.Context, args []string, out io.Writer) error {
	f := flags("bundle", "-o FILE [-matter TEXT] PDF...", "gateway bundle -o 清单.pdf -matter 公共租赁住房资格确认 out/*.pdf")
	target := f.String("o", "", "写到哪个文件 / file to write")
	matter := f.String("matter", "—", "办理事项 / the matter")
	by := f.String("by", "经办窗口", "由谁汇总 / who assembles it")
	fonts := f.String("fonts", "/usr/share/fonts/truetype", "字体目录 / directory of the fonts")
	if err := parse(f, args, 1, 200); err != nil {
		return err
	}
	if *target == "" {
		f.Usage()
		return errUsage
	}
	cover, err := printOrder(f.Args(), *matter, *by, time.Now())
	if err != nil {
		return err
	}
	fs, err := pdf.LoadFonts(filepath.Join(*fonts, "babelstone/BabelStoneHan.ttf"),
		[]string{filepath.Join(*fonts, "hanazono/HanaMinA.ttf"), filepath.Join(*fonts, "hanazono/HanaMinB.ttf")})
	if err != nil {
		return err
	}
	defer fs.Close()
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
	return nil
}

// printOrder is the cover, with a row for each file.
func printOrder(paths []string, matter, by string, now time.Time) (pdf.Document, error) {
	t := pdf.Table{Columns: []pdf.Column{{Label: "序号", Align: pdf.AlignCenter}, {Label: "材料"}, {Label: "签章"}, {Label: "编号"}, {Label: "电子印章", Align: pdf.AlignCenter}}}
	d := pdf.Document{
		Title: "证明材料清单", Issuer: by, Number: now.Format("20060102-150405"), IssuedAt: now, ItemName: matter,
		Body: fmt.Sprintf("下列材料共%d份，作为附件原样嵌入本文件，未作改动。每份的真伪以其自身的电子印章为准，取出后可单独核验。本清单不盖章。", len(paths)),
	}
	for i, path := range paths {
		file, err := os.ReadFile(path)
		if err != nil {
			return d, err
		}
		about, err := pdf.ReadAbout(file)
		if err != nil {
			return d, fmt.Errorf("%s: %w", path, err)
		}
		sealed := "无"
		if about.Sealed {
			sealed = "有"
		}
		t.Rows = append(t.Rows, []string{fmt.Sprint(i + 1), orDash(about.Title), orDash(about.Signer), orDash(about.Number), sealed})
		d.Attachments = append(d.Attachments, pdf.Attachment{Name: fmt.Sprintf("%02d-%s", i+1, filepath.Base(path)), Description: about.Title, File: file})
	}
	d.Tables = []pdf.Table{t}
	return d, nil
}

func orDash(s string) string {
	if s == "" {
		return "—"
	}
	return s
}

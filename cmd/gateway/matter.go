package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"yizheng/exchange"
	"yizheng/seal"
	"yizheng/seal/pdf"
)

// matterOrder is the cover of a whole matter: a row for each of its proofs in the
// matter's order, with what came of it in words, and the sealed document of each that
// was issued. state is the answer of GET /v1/exchanges/{no}, or of POST. A document
// of another exchange is refused.
func matterOrder(state string) func(ctx context.Context, paths []string, trust *seal.Trust, matter, by string, now time.Time) (pdf.Document, []sealFound, error) {
	return func(ctx context.Context, paths []string, trust *seal.Trust, matter, by string, now time.Time) (pdf.Document, []sealFound, error) {
		view, err := readView(state)
		if err != nil {
			return pdf.Document{}, nil, err
		}
		issued, seals, err := papersOf(ctx, view, paths, trust)
		return matterCover(view, issued, matter, by, now), seals, err
	}
}

// papersOf reads and verifies the documents of an exchange, by their numbers.
func papersOf(ctx context.Context, view exchange.View, paths []string, trust *seal.Trust) (map[string]paper, []sealFound, error) {
	issued, seals := make(map[string]paper), []sealFound(nil)
	for _, path := range paths {
		p, err := readPaper(ctx, path, trust)
		if err != nil {
			return nil, nil, err
		}
		if p.Number == "" || !slices.ContainsFunc(view.Parts, func(v exchange.PartView) bool { return v.Number == p.Number }) || issued[p.Number].path != "" {
			return nil, nil, fmt.Errorf("%s: 不是这次办理所出的证明，或给了两次 / not a document of this exchange, or given twice", path)
		}
		issued[p.Number], seals = p, append(seals, p.seal)
	}
	return issued, seals, nil
}

func matterCover(view exchange.View, issued map[string]paper, matter, by string, now time.Time) pdf.Document {
	d := pdf.Document{
		Title: "证明材料清单", Issuer: by, Number: view.Exchange, IssuedAt: now, ItemName: matter,
		Body: fmt.Sprintf("本次办理（收件号%s）共需证明%d项，已附%d份，按下列次序作为附件原样嵌入本文件，未作改动。“电子印章”一栏为汇总时核验的结果；每份的真伪以其自身的电子印章为准，取出后可单独核验。本清单不盖章。", view.Case, len(view.Parts), len(issued)),
	}
	t := pdf.Table{Columns: []pdf.Column{{Label: "序号", Align: pdf.AlignCenter}, {Label: "证明与编号"}, {Label: "办理结果"}, {Label: "电子印章", Align: pdf.AlignCenter}, {Label: "附件", Align: pdf.AlignCenter}}}
	for i, part := range view.Parts {
		row := []string{fmt.Sprint(i + 1), part.Name, outcome(part), "—", "—"}
		if p, ok := issued[part.Number]; ok && part.Number != "" {
			d.Attachments = append(d.Attachments, p.attachment(len(d.Attachments)+1))
			row[3], row[4] = p.seal.text.ZH, fmt.Sprint(len(d.Attachments))
		} else if part.Number != "" {
			d.Caution += fmt.Sprintf("\n第%d项已出具，但文件未附。", i+1)
		}
		if part.Number != "" {
			row[1] += "\n" + part.Number
		}
		t.Rows = append(t.Rows, row)
	}
	if len(d.Caution) > 0 {
		d.Caution = d.Caution[1:]
	}
	d.Tables = []pdf.Table{t}
	return d
}

// outcome is what came of a part, in the words the clerk reads.
func outcome(p exchange.PartView) string {
	switch {
	case p.Sentence != "" && p.Manual != "":
		return p.Sentence + "（受理号" + p.Manual + "）"
	case p.Sentence != "":
		return p.Sentence
	case p.State == "deferred":
		return "延时办理，尚无结果。"
	}
	return "尚未办结。"
}

func readView(path string) (v exchange.View, err error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err == nil && (v.Exchange == "" || len(v.Parts) == 0) {
		err = fmt.Errorf("不是 GET /v1/exchanges/{no} 的答复 / not an answer of GET /v1/exchanges/{no}")
	}
	if err != nil {
		return v, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// paper is a sealed document, what it says of itself and what came of verifying it.
type paper struct {
	pdf.About
	seal sealFound
	path string
	file []byte
}

func readPaper(ctx context.Context, path string, trust *seal.Trust) (paper, error) {
	v, file, err := verifyFile(ctx, path, trust, nil)
	if err != nil {
		return paper{}, err
	}
	about, err := pdf.ReadAbout(file)
	if err != nil {
		why := seal.Unreadable(err)
		return paper{}, fmt.Errorf("%s: %s / %s", path, why.ZH, why.EN)
	}
	return paper{about, sealIn(v.Report), path, file}, nil
}

// attachment embeds it as the n-th of a print order.
func (p paper) attachment(n int) pdf.Attachment {
	return pdf.Attachment{Name: fmt.Sprintf("%02d-%s", n, filepath.Base(p.path)), Description: p.Title, File: p.file}
}

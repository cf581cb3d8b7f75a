// Package bundle lays out the cover of a matter's proofs: a row for each in the
// matter's order, with what came of it in words, and the sealed document of each that
// was issued embedded as it is. The clerk's route and the command gateway bundle share
// it. It reads documents and verifies nothing itself: a caller says what came of the
// eight checks.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"yizheng/exchange"
	"yizheng/seal"
	"yizheng/seal/pdf"
)

// Verdict is what a list says of the seal of one file.
type Verdict struct {
	Result seal.Result
	Text   seal.Text
}

// Judge sums a report up: ok, fail, absent, or unknown for a file that cannot be judged.
func Judge(r seal.Report) Verdict {
	switch {
	case r.Overall:
		return Verdict{seal.OK, seal.Text{ZH: "核验通过", EN: "ok"}}
	case r.Unsealed, r.Checks[r.Stopped-1].Result == seal.Absent: // or signed without a seal
		return Verdict{seal.Absent, seal.Text{ZH: "无", EN: "absent"}}
	case r.Checks[r.Stopped-1].Result == seal.Unknown:
		return Verdict{seal.Unknown, seal.Text{ZH: "无法核验", EN: "unknown"}}
	}
	return Verdict{seal.Fail, seal.Text{ZH: "核验不通过", EN: "FAIL"}}
}

// Paper is a document, what it says of itself and what came of verifying it.
type Paper struct {
	pdf.About
	Seal Verdict
	Name string // its file name in the bundle, behind a number
	File []byte
}

// Read takes a file that was verified. An error is one of package pdf; seal.Unreadable
// puts it into words.
func Read(ctx context.Context, name string, file []byte, report seal.Report) (Paper, error) {
	about, err := pdf.ReadAbout(ctx, file)
	if err != nil {
		return Paper{}, err
	}
	return Paper{about, Judge(report), name, file}, nil
}

// Attachment embeds it as the n-th of a print order.
func (p Paper) Attachment(n int) pdf.Attachment {
	return pdf.Attachment{Name: fmt.Sprintf("%02d-%s", n, p.Name), Description: p.Title, File: p.File}
}

// ErrForeign is returned for a document that is none of the exchange's, or was given
// already.
var ErrForeign = errors.New("不是这次办理所出的证明，或给了两次 / not a document of this exchange, or given twice")

// Matter is an exchange and the documents of it that were given.
type Matter struct {
	view   exchange.View
	issued map[string]Paper // by number
}

// New returns the matter of an exchange's state, without documents.
func New(view exchange.View) *Matter {
	return &Matter{view: view, issued: make(map[string]Paper)}
}

// Add takes a document in, by its number.
func (m *Matter) Add(p Paper) error {
	_, twice := m.issued[p.Number]
	if p.Number == "" || twice || !slices.ContainsFunc(m.view.Parts, func(v exchange.PartView) bool { return v.Number == p.Number }) {
		return ErrForeign
	}
	m.issued[p.Number] = p
	return nil
}

// Cover is the cover with its attachments, for pdf.Renderer.PrintOrder. matter is its
// name, left out when empty; by is who assembles it.
func (m *Matter) Cover(matter, by string, now time.Time) pdf.Document {
	d := pdf.Document{
		Title: "证明材料清单", Issuer: by, Number: m.view.Exchange, IssuedAt: now, ItemName: matter,
		Body: fmt.Sprintf("本次办理（收件号%s）共需证明%d项，已附%d份，按下列次序作为附件原样嵌入本文件，未作改动。“电子印章”一栏为汇总时核验的结果；每份的真伪以其自身的电子印章为准，取出后可单独核验。本清单不盖章。", m.view.Case, len(m.view.Parts), len(m.issued)),
	}
	t := pdf.Table{Columns: []pdf.Column{{Label: "序号", Align: pdf.AlignCenter}, {Label: "证明与编号"}, {Label: "办理结果"}, {Label: "电子印章", Align: pdf.AlignCenter}, {Label: "附件", Align: pdf.AlignCenter}}}
	for i, part := range m.view.Parts {
		row := []string{fmt.Sprint(i + 1), part.Title(), outcome(part), "—", "—"}
		if p, ok := m.issued[part.Number]; ok && part.Number != "" {
			d.Attachments = append(d.Attachments, p.Attachment(len(d.Attachments)+1))
			row[3], row[4] = p.Seal.Text.ZH, fmt.Sprint(len(d.Attachments))
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

package web

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"yizheng/exchange"
	"yizheng/exchange/bundle"
	"yizheng/seal"
)

// The print order of a whole matter. The gateway holds a resident's documents as
// ciphertext only, so the clerk's client shows those it has decrypted. Each must be one
// that this exchange released, byte for byte, as the record of its issue in the log says;
// then they are bound as they are, and nothing is kept.

const (
	printOrderPath = "/v1/exchanges/:no/print-order"
	maxPapers      = 64       // documents of one matter
	maxOrder       = 20 * mib // body: 15 MiB of documents in base64
)

func (s *Server) printOrder(ctx context.Context, r *request) (reply, error) {
	defer clear(r.body)
	var in struct {
		Documents [][]byte `json:"documents"` // PDF files
		Reason    string   `json:"reason"`    // only of a further print
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	defer func() {
		for _, d := range in.Documents {
			clear(d)
		}
	}()
	if n := len(in.Documents); n == 0 || n > maxPapers {
		return reply{}, newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "documents", fmt.Sprintf("请给出 1–%d 份已放行的证明（PDF，base64）", maxPapers),
			fmt.Sprintf("give 1 to %d released documents (PDF, base64)", maxPapers))
	}
	x, err := s.exchanges.Find(ctx, r.who, r.param("no"))
	if err != nil {
		return reply{}, err
	}
	file, err := s.exchanges.PrintOrder(ctx, r.who, x, in.Reason, func(v exchange.View) (exchange.Bound, error) {
		return s.bind(ctx, v, s.assembler(r.who), in.Documents)
	})
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, contentType: "application/pdf", body: file, personal: true,
		header: http.Header{"Content-Disposition": {`attachment; filename="` + x.Number + `.pdf"`}}}, nil
}

// assembler is the window, kiosk or system in words, for the cover.
func (s *Server) assembler(who exchange.Principal) string {
	c, _ := s.catalogue.Caller(who.Caller)
	return c.Name
}

// bind makes the print order of those documents.
func (s *Server) bind(ctx context.Context, v exchange.View, by string, files [][]byte) (b exchange.Bound, err error) {
	matter := bundle.New(v)
	for i, file := range files {
		p, err := s.paper(ctx, fmt.Sprintf("documents[%d]", i), file)
		if err != nil {
			return b, err
		}
		if err := matter.Add(p); err != nil {
			return b, foreign(fmt.Sprintf("documents[%d]", i))
		}
		b.Numbers = append(b.Numbers, p.Number)
	}
	item, _ := s.catalogue.Item(v.Item)
	if s.working(ctx, func() { b.File, err = s.renderer.PrintOrder(matter.Cover(item.Name, by, time.Now())) }) != nil {
		return b, engaged()
	}
	if err != nil {
		return b, fmt.Errorf("print order: %w", err)
	}
	return b, nil
}

// paper verifies one document against the record of its issue, and its seal.
func (s *Server) paper(ctx context.Context, where string, file []byte) (bundle.Paper, error) {
	report, err := s.examine(ctx, file, time.Time{})
	if err != nil {
		return bundle.Paper{}, engaged()
	}
	if !certificateNumber(report.Number) { // damaged, or not made here
		if why := report.Checks[seal.CheckFormat-1]; why.Result != seal.OK {
			return bundle.Paper{}, &exchange.Refusal{Reason: exchange.ReasonUnsealed, Where: where, Chinese: why.Reason.ZH, English: why.Reason.EN}
		}
		return bundle.Paper{}, foreign(where)
	}
	rec, err := s.lookUp(ctx, report.Number, base64.StdEncoding.EncodeToString(exchange.DocumentDigest(report.Seed(), file)))
	if err != nil {
		return bundle.Paper{}, err
	}
	switch {
	case rec.Matches == nil || !*rec.Matches:
		return bundle.Paper{}, foreign(where)
	case rec.State == "withdrawn":
		return bundle.Paper{}, &exchange.Refusal{Reason: exchange.ReasonWithdrawn, Where: where, Chinese: "这份证明已由签发机关撤回，不得打印；请收回并重新办理", English: "this document was withdrawn by its issuer and must not be printed; take it back and ask again"}
	case report.Unproven && !rec.Recorded.IsZero(): // by the signer, but our log knows
		if report, err = s.examine(ctx, file, rec.Recorded); err != nil {
			return bundle.Paper{}, engaged()
		}
	}
	if !report.Overall {
		why := report.Checks[report.Stopped-1]
		return bundle.Paper{}, &exchange.Refusal{Reason: exchange.ReasonUnsealed, Where: where,
			Chinese: "这份证明的电子印章核验不通过，未汇总：" + why.Reason.ZH, English: "the seal of this document does not verify, nothing was bound: " + why.Reason.EN}
	}
	p, err := bundle.Read(ctx, report.Number+".pdf", file, report)
	if err != nil {
		return bundle.Paper{}, fmt.Errorf("print order: %w", err)
	}
	return p, nil
}

// engaged is busy as the record of the order's outcome can name it.
func engaged() error {
	p := busy()
	return &exchange.Refusal{Reason: exchange.ReasonUnavailable, Chinese: p.Title, English: p.TitleEN}
}

// foreign refuses what this exchange has not released, as this gateway's log has it.
func foreign(where string) error {
	return &exchange.Refusal{Reason: exchange.ReasonForeign, Where: where,
		Chinese: "这份文件不是本次办理在本网关放行的证明原件，或给了两次；请给出各项结果解密所得的原件，未作改动，每份一次",
		English: "this file is not one that this exchange released at this gateway, or it was given twice; give the documents as they were decrypted, unchanged, each once"}
}

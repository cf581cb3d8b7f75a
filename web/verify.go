package web

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/exchange"
	"yizheng/seal"
)

// issueRecord is what the log says publicly of a certificate number.
type issueRecord struct {
	Number string `json:"number"`
	State  string `json:"state"` // valid, expired, unknown
	Issued string `json:"issued,omitempty"`
	Until  string `json:"until,omitempty"`
	// Matches: the log's salted digest is that of the document shown. Only set when one was.
	Matches *bool  `json:"matches,omitempty"`
	Receipt string `json:"receipt,omitempty"` // inclusion proof of the issue leaf
}

// record looks a number up. Department, type and proof are only told to who
// holds the document: digest is its salted digest, empty if nothing was shown.
func (s *Server) record(ctx context.Context, number, digest string) (issueRecord, error) {
	r := issueRecord{Number: number, State: "unknown"}
	index, ok := s.exchanges.Issued(number)
	if !ok {
		return r, nil
	}
	e, receipt, err := s.issueLeaf(ctx, index)
	if err != nil {
		return r, err
	}
	r.State = "valid"
	if time.Now().In(beijing).Format(time.DateOnly) > e.Open.Valid {
		r.State = "expired"
	}
	if digest == "" {
		return r, nil
	}
	same := digest == e.Open.Digest
	r.Matches = &same
	if same {
		text, err := receipt.MarshalText()
		if err != nil {
			return r, err
		}
		r.Issued, r.Until, r.Receipt = e.Open.Date, e.Open.Valid, string(text)
	}
	return r, nil
}

// issueLeaf reads a leaf back from the log with its proof under the present head.
func (s *Server) issueLeaf(ctx context.Context, index uint64) (audit.Entry, audit.Receipt, error) {
	var entry audit.Entry
	err := s.audit.Read(ctx, index, index+1, func(_ uint64, e audit.Stored) error {
		entry = e.Entry
		return nil
	})
	if err != nil {
		return entry, audit.Receipt{}, fmt.Errorf("read issue leaf: %w", err)
	}
	receipt, err := s.audit.Receipt(index)
	return entry, receipt, err
}

var beijing = time.FixedZone("CST", 8*3600)

// verifyDocument runs the eight checks on a PDF, or looks up its salted digest
// alone. The document is not kept.
func (s *Server) verifyDocument(ctx context.Context, r *request) (reply, error) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return s.verifyDigest(ctx, r)
	}
	file, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return reply{}, newProblem(http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE", "", "文件超过 20 MiB", "the file exceeds 20 MiB")
	}
	if err != nil {
		return reply{}, newProblem(http.StatusBadRequest, "MALFORMED_BODY", "", "文件未完整收到，请重传", "the file did not arrive whole; send it again")
	}
	defer clear(file)
	report := seal.Verify(file, s.trust, time.Now())
	answer := struct {
		Report seal.Report  `json:"report"`
		Record *issueRecord `json:"record,omitempty"`
	}{Report: report}
	if number := report.Number; number != "" {
		rec, err := s.record(ctx, number, base64.StdEncoding.EncodeToString(exchange.DocumentDigest(report.Seed(), file)))
		if err != nil {
			return reply{}, err
		}
		answer.Record = &rec
	}
	a, err := jsonReply(http.StatusOK, answer)
	if answer.Record != nil && answer.Record.Matches != nil { // never log a number that came from outside unless it is ours
		a.subject = audit.Entry{Open: audit.Open{Number: answer.Record.Number}}
	}
	return a, err
}

func (s *Server) verifyDigest(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Number string `json:"number"`
		Digest string `json:"digest"` // salted, docs/protocol/commitments.md
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	if in.Number == "" || in.Digest == "" {
		return reply{}, newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "digest", "须给出编号与文书加盐摘要", "give the certificate number and the document's salted digest")
	}
	rec, err := s.record(ctx, in.Number, in.Digest)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, map[string]any{"record": rec})
}

// verifyNumber tells a number's status only: a number is no secret and proves nothing.
func (s *Server) verifyNumber(ctx context.Context, r *request) (reply, error) {
	rec, err := s.record(ctx, r.param("number"), "")
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, map[string]any{"record": rec})
}

func (s *Server) checkpoint(context.Context, *request) (reply, error) {
	text, err := s.audit.Head().MarshalText()
	return reply{status: http.StatusOK, contentType: "text/plain; charset=utf-8", body: text}, err
}

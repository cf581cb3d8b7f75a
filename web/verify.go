package web

import (
	"context"
	"encoding/base64"
	"net/http"
	"regexp"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
	"yizheng/exchange"
	"yizheng/identity"
	"yizheng/seal"
)

// issueRecord is what the log says publicly of a certificate number.
type issueRecord struct {
	Number string `json:"number"`
	State  string `json:"state"` // valid, expired, withdrawn, unknown
	// Withdrawn is since when, if it is.
	Withdrawn time.Time `json:"withdrawn,omitzero"`
	// Recorded is when the log took the record of the issue: the document existed then.
	Recorded time.Time `json:"recorded,omitzero"`
	Issued   string    `json:"issued,omitempty"`
	Until    string    `json:"until,omitempty"`
	// Matches: the log's salted digest is that of the document shown. Only set when one was.
	Matches *bool  `json:"matches,omitempty"`
	Receipt string `json:"receipt,omitempty"` // inclusion proof of the issue leaf
	// Open is the issue leaf's public half as stored, and Closed the salted hash of the
	// other: with them the receipt proves that the log has this document.
	Open   string `json:"open,omitempty"`
	Closed []byte `json:"closed,omitempty"`
}

// lookUp finds a number's issue record. Department, type and proof are only told to who
// holds the document: digest is its salted digest, empty if nothing was shown.
func (s *Server) lookUp(ctx context.Context, number, digest string) (issueRecord, error) {
	r := issueRecord{Number: number, State: "unknown"}
	stored, receipt, ok, err := s.exchanges.IssueRecord(ctx, number)
	if err != nil || !ok {
		return r, err
	}
	issued := stored.Entry.Open
	r.State = "valid"
	if time.Now().In(beijing.Zone()).Format(time.DateOnly) > issued.Valid {
		r.State = "expired"
	}
	if w, _ := s.exchanges.Withdrawal(number); !w.Since.IsZero() {
		r.State, r.Withdrawn = "withdrawn", w.Since
	}
	if digest == "" {
		return r, nil
	}
	same := digest == issued.Digest
	r.Matches = &same
	if same {
		text, err := receipt.MarshalText()
		if err != nil {
			return r, err
		}
		r.Recorded = time.UnixMicro(issued.Time).UTC()
		r.Issued, r.Until, r.Receipt = issued.Date, issued.Valid, string(text)
		closed := stored.ClosedHash()
		r.Open, r.Closed = string(stored.OpenJSON), closed[:]
	}
	return r, nil
}

// looked is what the log keeps of a look-up: the number, unless it came from
// outside and is not ours. It is in the closed half. Nobody can show a document
// that bears the number of a blank, so that who reads the open half would learn
// of a sensitive proof that something was found.
func (r issueRecord) looked() audit.Entry {
	if r.State == "unknown" {
		return audit.Entry{}
	}
	return audit.Entry{Closed: audit.Closed{Object: r.Number}}
}

// verifyDocument runs the eight checks on a PDF, or looks up its salted digest
// alone. The document is not kept.
func (s *Server) verifyDocument(ctx context.Context, r *request) (reply, error) {
	switch r.contentType() {
	case "application/json":
		return s.verifyDigest(ctx, r)
	case "", "application/pdf", "application/octet-stream":
	default:
		return reply{}, wrongType("application/pdf, application/octet-stream, application/json")
	}
	file := r.body
	defer clear(file)
	report, err := s.examine(ctx, file, time.Time{})
	if err != nil {
		return reply{}, err
	}
	answer := struct {
		Report seal.Report  `json:"report"`
		Record *issueRecord `json:"record,omitempty"`
	}{Report: report}
	if certificateNumber(report.Number) {
		rec, err := s.lookUp(ctx, report.Number, base64.StdEncoding.EncodeToString(exchange.DocumentDigest(report.Seed(), file)))
		if err != nil {
			return reply{}, err
		}
		answer.Record = &rec
		if report.Unproven && !rec.Recorded.IsZero() { // by the signer, but our log knows
			if answer.Report, err = s.examine(ctx, file, rec.Recorded); err != nil {
				return reply{}, err
			}
		}
	}
	a, err := jsonReply(http.StatusOK, answer)
	if answer.Record != nil {
		a.subject = answer.Record.looked()
	}
	return a, err
}

// examine runs the eight checks; seen is when the document is known to have existed,
// zero for a stranger's. Calls for fresh revocation end with the deadline.
func (s *Server) examine(ctx context.Context, file []byte, seen time.Time) (report seal.Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	err = s.working(ctx, func() { report = seal.VerifyWitnessed(ctx, file, s.trust, time.Now(), seen) })
	return report, err
}

// examineWithin bounds how long a verification may take.
const examineWithin = 10 * time.Second

func (s *Server) verifyDigest(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Number string `json:"number"`
		Digest string `json:"digest"` // salted, docs/protocol/commitments.md
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	if !certificateNumber(in.Number) {
		return reply{}, badNumber()
	}
	if d, err := base64.StdEncoding.DecodeString(in.Digest); err != nil || len(d) != 32 {
		return reply{}, newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "digest", "须给出文书的加盐摘要：32 字节的标准 base64", "give the document's salted digest: 32 bytes in standard base64")
	}
	rec, err := s.lookUp(ctx, in.Number, in.Digest)
	if err != nil {
		return reply{}, err
	}
	a, err := jsonReply(http.StatusOK, map[string]any{"record": rec})
	a.subject = rec.looked()
	return a, err
}

// verifyNumber tells a number's status only: a number is no secret and proves nothing.
func (s *Server) verifyNumber(ctx context.Context, r *request) (reply, error) {
	rec, err := s.status(ctx, r)
	if err != nil {
		return reply{}, err
	}
	a, err := jsonReply(http.StatusOK, map[string]any{"record": rec})
	a.subject = rec.looked()
	return a, err
}

// status looks up the number in the path. Only what has a number's form is looked up, or ever shown back.
func (s *Server) status(ctx context.Context, r *request) (issueRecord, error) {
	number := r.param("number")
	if !certificateNumber(number) {
		return issueRecord{}, badNumber()
	}
	return s.lookUp(ctx, number, "")
}

var numberForm = regexp.MustCompile(`^[0-9]{16}[0-9A-HJKMNP-TV-Z]{10}[0-9A-Z]$`)

// certificateNumber reports whether s has the form of one, check character included.
func certificateNumber(s string) bool {
	if !numberForm.MatchString(s) {
		return false
	}
	check, err := identity.Mod3736(s[:len(s)-1])
	return err == nil && check == s[len(s)-1]
}

func badNumber() *problem {
	return newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "number", "文书编号不对（末位为校验位），请核对是否抄错", "not a certificate number (the last character is a check character); check it for typing errors")
}

func (s *Server) checkpoint(context.Context, *request) (reply, error) {
	text, err := s.audit.Latest().Head().MarshalText()
	return reply{status: http.StatusOK, contentType: "text/plain; charset=utf-8", body: text}, err
}

package web_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"yizheng/audit"
	"yizheng/exchange"
	"yizheng/seal/pdf"
)

// TestPrintOrder_BindsWhatTheExchangeReleased, and nothing else. Every attempt has its
// intent and its outcome in the log, which has nothing of the files.
func TestPrintOrder_BindsWhatTheExchangeReleased(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	x, r := s.released()
	_, other := s.released()
	path := "/v1/exchanges/" + x.Exchange + "/print-order"
	order := func(who *client, path, reason string, documents ...[]byte) got {
		body := map[string]any{"documents": documents}
		if reason != "" {
			body["reason"] = reason
		}
		return who.call(http.MethodPost, path, body)
	}
	changed := bytes.Replace(r.Document, []byte("/Lang(zh-CN)"), []byte("/Lang(zh-TW)"), 1)
	for _, tt := range []struct {
		name      string
		reason    string
		documents [][]byte
		status    int
		code      string
		where     string
	}{
		{"a changed file", "", [][]byte{r.Document, changed}, http.StatusUnprocessableEntity, "NOT_OF_EXCHANGE", "documents[1]"},
		{"one that goes on", "", [][]byte{append(bytes.Clone(r.Document), "\n%%EOF\n"...)}, http.StatusUnprocessableEntity, "NOT_OF_EXCHANGE", "documents[0]"},
		{"one of another exchange", "", [][]byte{other.Document}, http.StatusUnprocessableEntity, "NOT_OF_EXCHANGE", "documents[0]"},
		{"twice", "", [][]byte{r.Document, r.Document}, http.StatusUnprocessableEntity, "NOT_OF_EXCHANGE", "documents[1]"},
		{"no PDF", "", [][]byte{[]byte("secret words")}, http.StatusUnprocessableEntity, "SEAL_NOT_VERIFIED", "documents[0]"},
		{"half of it", "", [][]byte{r.Document[:len(r.Document)/2]}, http.StatusUnprocessableEntity, "SEAL_NOT_VERIFIED", "documents[0]"},
		{"the first time", "", [][]byte{r.Document}, http.StatusOK, "", ""},
		{"again without a reason", "", [][]byte{r.Document}, http.StatusConflict, "REPRINT_REASON", "reason"},
		{"again", "PAPER_JAM", [][]byte{r.Document}, http.StatusOK, "", ""},
	} {
		before := s.count("")
		a := order(s.desk(), path, tt.reason, tt.documents...)
		want(t, a, tt.status, tt.code)
		phases := ""
		ok(t, s.audit.Read(t.Context(), uint64(before), s.audit.Head().Size, func(_ uint64, e audit.Stored) error {
			if e.Entry.Open.Op == audit.OpDocPrint || e.Entry.Open.Op == audit.OpDocReprint {
				phases += fmt.Sprint(" ", e.Entry.Open.Phase, e.Entry.Open.Outcome)
			}
			if e.Entry.Closed.Object == "print-order" && e.Entry.Open.Phase != audit.PhaseIntent && (e.Entry.Open.Prev == nil || *e.Entry.Open.Prev != uint64(before)) {
				t.Errorf("%s: the outcome does not name its intent", tt.name)
			}
			return nil
		}))
		if tt.status == http.StatusOK {
			if !bytes.Contains(a.body, r.Document) || phases != " intent done done" {
				t.Errorf("%s: %d bytes, in the log%s", tt.name, len(a.body), phases)
			}
			if about, err := pdf.ReadAbout(t.Context(), a.body); err != nil || about.Title != "证明材料清单" || about.Signer != "" {
				t.Errorf("%s: %+v %v", tt.name, about, err)
			}
			continue
		}
		if phases != " intent failed"+tt.code || !strings.Contains(string(a.body), `"where":"`+tt.where+`"`) || bytes.Contains(a.body, []byte("secret")) {
			t.Errorf("%s: in the log%s\n%s", tt.name, phases, a.body)
		}
	}

	// Refused before there is an intent.
	want(t, order(s.desk(), path, "", [][]byte{}...), http.StatusUnprocessableEntity, "INVALID_REQUEST")
	want(t, order(s.desk(), path, "", make([][]byte, 65)...), http.StatusBadRequest, "MALFORMED_BODY")                                           // null is no file
	want(t, s.desk().call(http.MethodPost, path, `{"documents":[`+strings.Repeat(`"",`, 1<<20)+`""]}`), http.StatusBadRequest, "MALFORMED_BODY") // read no further than it could be right
	many := make([][]byte, 65)
	for i := range many {
		many[i] = []byte("x")
	}
	want(t, order(s.desk(), path, "", many...), http.StatusUnprocessableEntity, "INVALID_REQUEST")
	want(t, order(s.desk(), path, "BORED", r.Document), http.StatusUnprocessableEntity, "INVALID_REQUEST")
	want(t, order(s.desk(), path, "", make([]byte, 16<<20)), http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE")
	want(t, order(s.as("clerk-02"), path, "", r.Document), http.StatusNotFound, "NO_SUCH_EXCHANGE")
	want(t, order(s.as(""), path, "", r.Document), http.StatusUnauthorized, "CERTIFICATE_REQUIRED")

	var asked struct {
		Asked string `json:"asked"`
	}
	st := exchange.WithdrawalStatement{Action: exchange.WithdrawAsk, Number: r.Number, Reason: "WRONG_DATA"}
	s.withdraw("security-1", st).into(t, &asked)
	st.Action, st.Of = exchange.WithdrawApprove, asked.Asked
	want(t, s.withdraw("security-2", st), http.StatusOK, "")
	want(t, order(s.desk(), path, "OTHER", r.Document), http.StatusConflict, "DOCUMENT_WITHDRAWN")
}

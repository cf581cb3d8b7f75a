package web_test

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"testing"
	"unicode/utf16"

	"yizheng/audit"
)

// statisticsPDF asks for a month's statistics as pages to print.
func (g *gateway) statisticsPDF() got {
	g.t.Helper()
	return g.as("admin-supervisor-1").call(http.MethodPost, "/v1/supervision/statistics",
		map[string]string{"by": "department", "from": "2026-11-01", "to": "2026-11-30", "period": "day", "format": "pdf"})
}

func TestStatisticsArePagesToPrint(t *testing.T) {
	g := start(t, nil)
	g.ordered(nil)
	before := g.count(audit.OpAuditExport)
	a := g.statisticsPDF()
	want(t, a, http.StatusOK, "")
	if kind := a.Header.Get("Content-Type"); kind != "application/pdf" {
		t.Errorf("content type %q", kind)
	}
	if !bytes.HasPrefix(a.body, []byte("%PDF-1.")) || !bytes.Contains(a.body[max(0, len(a.body)-32):], []byte("%%EOF")) {
		t.Errorf("%d bytes are no PDF", len(a.body))
	}
	var title []byte // the document's own, which is not compressed: UTF-16BE
	for _, u := range utf16.Encode([]rune("电子监察统计")) {
		title = binary.BigEndian.AppendUint16(title, u)
	}
	if !bytes.Contains(a.body, title) {
		t.Error("the document has another title")
	}
	if n := g.count(audit.OpAuditExport); n == before {
		t.Error("the export is not in the log")
	}
}

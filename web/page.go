package web

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
)

//go:embed pages/*.html
var pages embed.FS

// page renders one of the embedded pages; html/template escapes every value.
func page(name string, data any) (reply, error) {
	t, err := template.ParseFS(pages, "pages/"+name)
	if err != nil {
		return reply{}, fmt.Errorf("page %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return reply{}, fmt.Errorf("page %s: %w", name, err)
	}
	return reply{status: http.StatusOK, contentType: "text/html; charset=utf-8", body: b.Bytes()}, nil
}

// startPage shows, in the demo, the last exchange as anybody may see it: routes,
// times and outcomes, "answered" for sensitive proofs, and no person.
func (s *Server) startPage(context.Context, *request) (reply, error) {
	data := map[string]any{"City": s.catalogue.City.Name, "Demo": s.demo}
	if s.demo {
		data["Last"] = s.exchanges.Last()
	}
	return page("start.html", data)
}

// paperPage is where a QR code leads. The number tells a status; the fragment stays in the browser.
func (s *Server) paperPage(ctx context.Context, r *request) (reply, error) {
	rec, err := s.record(ctx, r.param("number"), "")
	if err != nil {
		return reply{}, err
	}
	return page("paper.html", rec)
}

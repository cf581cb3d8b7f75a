package web

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"

	"yizheng/catalog"
	"yizheng/exchange"
)

//go:embed pages
var pages embed.FS

// words are what the pages call routes and results.
var words = template.FuncMap{"route": routeName, "outcome": outcomeOf}

// page renders one of the embedded pages; html/template escapes every value.
func page(name string, data any) (reply, error) {
	t, err := template.New(name).Funcs(words).ParseFS(pages, "pages/"+name)
	if err != nil {
		return reply{}, fmt.Errorf("page %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return reply{}, fmt.Errorf("page %s: %w", name, err)
	}
	return reply{status: http.StatusOK, contentType: "text/html; charset=utf-8", body: b.Bytes()}, nil
}

// start is what the start page shows.
type start struct {
	City    string
	Demo    bool
	Last    *exchange.PublicView
	Slowest int64 // ms, of the legs shown
	Refresh int   // seconds after which the page loads itself anew; 0: never
}

// startPage shows, in the demo, the last exchange as anybody may see it: routes,
// times and outcomes, "answered" for sensitive proofs, and no person.
func (s *Server) startPage(context.Context, *request) (reply, error) {
	data := start{City: s.catalogue.City.Name, Demo: s.demo, Slowest: 1}
	if !s.demo {
		return page("start.html", data)
	}
	data.Last, data.Refresh = s.exchanges.Last(), 5
	if data.Last != nil {
		for _, r := range data.Last.Rows {
			data.Slowest = max(data.Slowest, r.Millis)
		}
		if data.Last.State == "running" {
			data.Refresh = 1
		}
	}
	return page("start.html", data)
}

// paperPage is where a QR code leads. The number tells a status; the fragment
// stays in the browser, and nothing here reads it: facts that were not verified
// must not be shown under our name.
func (s *Server) paperPage(ctx context.Context, r *request) (reply, error) {
	rec, err := s.status(ctx, r)
	if err != nil {
		return reply{}, err
	}
	a, err := page("paper.html", rec)
	a.subject = rec.looked()
	return a, err
}

// asset serves the pages' style sheet; pages use nothing from elsewhere.
func (s *Server) asset(_ context.Context, r *request) (reply, error) {
	if r.param("name") != "pages.css" {
		return reply{}, newProblem(http.StatusNotFound, "NO_SUCH_CALL", "name", "没有这个文件", "no such file")
	}
	b, err := pages.ReadFile("pages/pages.css")
	return reply{status: http.StatusOK, contentType: "text/css; charset=utf-8", body: b}, err
}

func routeName(route string) string {
	switch catalog.RouteClass(route) {
	case catalog.RouteLocal:
		return "本地"
	case catalog.RouteProvince:
		return "省平台"
	case catalog.RouteCloud:
		return "政务云"
	case catalog.RouteGap:
		return "摆渡"
	}
	return route
}

// outcome is a result in a word, its code below it, and how it is coloured.
type outcome struct{ Text, Code, Class string }

func outcomeOf(code string) outcome {
	switch exchange.Code(code) {
	case exchange.Found:
		return outcome{"已查到", code, "good"}
	case exchange.Answered:
		return outcome{"已答复", code, "plain"}
	case exchange.NotFound:
		return outcome{"未查到", code, "open"}
	case exchange.Pending:
		return outcome{"人工核验", code, "open"}
	case exchange.Timeout:
		return outcome{"未按时答复", code, "open"}
	case exchange.Unreachable:
		return outcome{"网络中断", code, "open"}
	case exchange.Multiple:
		return outcome{"查到多条", code, "bad"}
	case exchange.Mismatch:
		return outcome{"信息不一致", code, "bad"}
	case exchange.SourceError:
		return outcome{"系统异常", code, "bad"}
	case exchange.Denied:
		return outcome{"无权取用", code, "bad"}
	case exchange.GlyphMissing:
		return outcome{"字库缺字", code, "bad"}
	}
	return outcome{"询问中", "", "open"}
}

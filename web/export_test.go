package web

import "time"

// RouteRow is what the tests may know of a route.
type RouteRow struct {
	Method, Path string
	Public       bool
	Class, Op    string
	Limit        int64
	Timed        bool
}

// RouteTable is the table of routes.
func (s *Server) RouteTable() []RouteRow {
	var rows []RouteRow
	for _, rt := range s.routes() {
		rows = append(rows, RouteRow{rt.method, rt.path, rt.door == anyone, string(rt.class), string(rt.op), rt.limit, rt.timeout > 0})
	}
	return rows
}

// OpenAPI is the document as it is served.
func (s *Server) OpenAPI() []byte { return s.openapi }

// Strict decodes as requests are decoded.
var Strict = strict

// ReasonCodes are the codes of exchange refusals that HTTP knows.
func ReasonCodes() []string {
	var list []string
	for r := range statuses {
		list = append(list, string(r))
	}
	return list
}

// Hurry shortens the times of clients: a request's body, one event, the beat of a stream.
func (s *Server) Hurry(body, event, beat time.Duration) {
	s.times.body, s.times.event, s.times.beat, s.times.patience = body, event, beat, event
}

// Explode makes every handler that needs the catalogue panic.
func (s *Server) Explode() { s.catalogue = nil }

// ExplodeSeals makes every handler that is about seals panic.
func (s *Server) ExplodeSeals() { s.custody = nil }

// ExplodeOrders makes every print order panic once its documents are verified.
func (s *Server) ExplodeOrders() { s.renderer = nil }

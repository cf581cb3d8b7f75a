package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/audit/supervise"
	"yizheng/audit/supervise/report"
	"yizheng/catalog"
	"yizheng/identity/staff"
)

// supervisionRoutes are the supervisors' part of the API, and that of those
// who must answer them.
func (s *Server) supervisionRoutes() []route {
	const get, post = http.MethodGet, http.MethodPost
	quick := 10 * time.Second
	return []route{
		{get, "/v1/supervision", supervisor, recorded, audit.OpAdmin, 0, quick, s.superviseStatus},
		{get, "/v1/supervision/rules", supervisor, recorded, audit.OpAdmin, 0, quick, s.superviseRules},
		{post, "/v1/supervision/cards", supervisor, recorded, audit.OpAdmin, 4 * kib, quick, s.searchCards},
		{get, "/v1/supervision/cards/:id", supervisor, recorded, audit.OpAdmin, 0, quick, s.showCard},
		{post, "/v1/supervision/cards/:id/confirm", supervisor, inside, "", 0, quick, s.confirmCard},
		{post, "/v1/supervision/cards/:id/dismiss", supervisor, inside, "", 4 * kib, quick, s.dismissCard},
		{post, "/v1/supervision/orders", supervisor, inside, "", 16 * kib, quick, s.issueOrder},
		{get, "/v1/supervision/orders", supervisor, recorded, audit.OpAdmin, 0, quick, s.listOrders},
		{get, "/v1/supervision/orders/:id", supervisor, recorded, audit.OpAdmin, 0, quick, s.showOrder},
		{post, "/v1/supervision/orders/:id/return", supervisor, inside, "", 16 * kib, quick, s.returnOrder},
		{post, "/v1/supervision/orders/:id/close", supervisor, inside, "", 0, quick, s.closeOrder},
		{post, "/v1/supervision/statistics", supervisor, recorded, audit.OpAuditExport, 4 * kib, 30 * time.Second, s.statistics},

		{get, "/v1/orders", addressee, recorded, audit.OpAdmin, 0, quick, s.myOrders},
		{post, "/v1/orders/:id/answer", addressee, inside, "", 16 * kib, quick, s.answerOrder},
	}
}

// engine is the supervision of this gateway, if it has one.
func (s *Server) engine() (*supervise.Engine, error) {
	if s.supervision == nil {
		return nil, newProblem(http.StatusNotFound, "NO_SUPERVISION", "", "本网关没有启用电子监察（配置 supervise）", "this gateway runs without supervision (configuration: supervise)")
	}
	return s.supervision, nil
}

// superviseProblem is what a refusal of the engine means to a caller.
func superviseProblem(err error) error {
	text := err.Error()
	for _, general := range []error{supervise.ErrCode, supervise.ErrText} {
		text = strings.TrimPrefix(text, general.Error()+": ")
	}
	zh, en, _ := strings.Cut(text, " / ")
	switch {
	case errors.Is(err, supervise.ErrBehind):
		return newProblem(http.StatusServiceUnavailable, "SUPERVISION_BEHIND", "", zh, en)
	case errors.Is(err, supervise.ErrUnknown):
		return newProblem(http.StatusNotFound, "NO_SUCH_CARD", "", zh, en)
	case errors.Is(err, supervise.ErrSettled):
		return newProblem(http.StatusConflict, "SETTLED", "", zh, en)
	case errors.Is(err, supervise.ErrDiffer):
		return newProblem(http.StatusConflict, listsDiffer, "", zh, en)
	case errors.Is(err, supervise.ErrConcerned):
		return newProblem(http.StatusForbidden, "CONCERNED", "", zh, en)
	case errors.Is(err, supervise.ErrNotAddressed):
		return newProblem(http.StatusForbidden, "NOT_ADDRESSED", "", zh, en)
	case errors.Is(err, supervise.ErrText):
		return newProblem(http.StatusUnprocessableEntity, "TEXT_REFUSED", "text", zh, en)
	case errors.Is(err, supervise.ErrCode):
		return newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "", zh, en)
	}
	return err
}

// about is the record of looking at something of supervision.
func about(object string, r reply, err error) (reply, error) {
	r.subject = audit.Entry{Closed: audit.Closed{Object: "supervision/" + object}}
	return r, err
}

func (s *Server) superviseStatus(context.Context, *request) (reply, error) {
	e, err := s.engine()
	if err != nil {
		return reply{}, err
	}
	a, err := jsonReply(http.StatusOK, e.Status())
	return about("status", a, err)
}

func (s *Server) superviseRules(context.Context, *request) (reply, error) {
	e, err := s.engine()
	if err != nil {
		return reply{}, err
	}
	a, err := jsonReply(http.StatusOK, map[string]any{"indicators": e.Rules()})
	return about("rules", a, err)
}

func (s *Server) searchCards(_ context.Context, r *request) (reply, error) {
	e, err := s.engine()
	if err != nil {
		return reply{}, err
	}
	var f supervise.Filter
	if err := r.decode(&f); err != nil {
		return reply{}, err
	}
	if err := filterProblem(f); err != nil {
		return reply{}, err
	}
	a, err := jsonReply(http.StatusOK, map[string]any{"cards": orEmpty(e.Cards(f))})
	return about("cards", a, err)
}

// filterProblem refuses what no card could fit, which would look like "none".
func filterProblem(f supervise.Filter) error {
	bad := func(where, zh, en string) error {
		return newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", where, zh, en)
	}
	day := func(s string) bool {
		_, err := time.Parse(time.DateOnly, s)
		return s == "" || err == nil
	}
	switch {
	case !slices.Contains([]supervise.Status{"", supervise.Raised, supervise.Confirmed, supervise.Dismissed}, f.Status):
		return bad("status", "须为 raised、confirmed 或 dismissed", "must be raised, confirmed or dismissed")
	case !slices.Contains([]supervise.Level{"", supervise.Yellow, supervise.Red}, f.Level):
		return bad("level", "须为 yellow 或 red", "must be yellow or red")
	case !day(f.From) || !day(f.To) || f.From != "" && f.To != "" && f.To < f.From:
		return bad("from", "from 与 to 须为日期（如 2026-11-01），先后有序", "from and to must be days (2026-11-01), in order")
	}
	return nil
}

// orEmpty keeps null out of answers.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (s *Server) showCard(_ context.Context, r *request) (reply, error) {
	return s.card(r, func(e *supervise.Engine, id string) (supervise.Card, error) { return e.Card(id) })
}

func (s *Server) confirmCard(ctx context.Context, r *request) (reply, error) {
	return s.card(r, func(e *supervise.Engine, id string) (supervise.Card, error) {
		return e.Settle(ctx, id, string(r.who.Operator), supervise.Confirmed, "")
	})
}

func (s *Server) dismissCard(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Reason string `json:"reason"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	return s.card(r, func(e *supervise.Engine, id string) (supervise.Card, error) {
		return e.Settle(ctx, id, string(r.who.Operator), supervise.Dismissed, in.Reason)
	})
}

func (s *Server) card(r *request, do func(*supervise.Engine, string) (supervise.Card, error)) (reply, error) {
	e, err := s.engine()
	if err != nil {
		return reply{}, err
	}
	c, err := do(e, r.param("id"))
	if err != nil {
		return reply{}, superviseProblem(err)
	}
	a, err := jsonReply(http.StatusOK, c)
	return about("card/"+c.ID, a, err)
}

func (s *Server) issueOrder(ctx context.Context, r *request) (reply, error) {
	var d supervise.Demand
	if err := r.decode(&d); err != nil {
		return reply{}, err
	}
	if d.Department != "" {
		if _, ok := s.catalogue.Department(catalog.DepartmentID(d.Department)); !ok {
			return reply{}, newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "department", "目录中没有这个部门", "the catalogue has no such department")
		}
	}
	if d.Person != "" && !s.hasAccount(d.Person) { // it goes into the log, so it must be none but a known one
		return reply{}, newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "person", "人员名册和目录中没有这个账号", "neither the staff register nor the catalogue has this account")
	}
	return s.order(func(e *supervise.Engine) (supervise.Order, error) { return e.Issue(ctx, string(r.who.Operator), d) })
}

// hasAccount tells whether somebody acts under this name: a person of the staff
// register, a clerk, or a system that acts under its own.
func (s *Server) hasAccount(name string) bool {
	_, clerk := s.catalogue.OperatorByID(catalog.OperatorID(name))
	_, system := s.catalogue.Caller(catalog.CallerID(name))
	return clerk || system || slices.ContainsFunc(s.persons.Persons(), func(p staff.Person) bool { return p.Name == name })
}

func (s *Server) returnOrder(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Due  string `json:"due"`
		Text string `json:"text"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	return s.order(func(e *supervise.Engine) (supervise.Order, error) {
		return e.Return(ctx, r.param("id"), string(r.who.Operator), in.Due, in.Text)
	})
}

func (s *Server) closeOrder(ctx context.Context, r *request) (reply, error) {
	return s.order(func(e *supervise.Engine) (supervise.Order, error) {
		return e.Close(ctx, r.param("id"), string(r.who.Operator))
	})
}

func (s *Server) answerOrder(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Answer string `json:"answer"`
		Text   string `json:"text"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	return s.order(func(e *supervise.Engine) (supervise.Order, error) {
		return e.Answer(ctx, r.param("id"), string(r.who.Operator), s.departmentOf(r), in.Answer, in.Text)
	})
}

func (s *Server) showOrder(_ context.Context, r *request) (reply, error) {
	return s.order(func(e *supervise.Engine) (supervise.Order, error) { return e.Order(r.param("id")) })
}

func (s *Server) order(do func(*supervise.Engine) (supervise.Order, error)) (reply, error) {
	e, err := s.engine()
	if err != nil {
		return reply{}, err
	}
	o, err := do(e)
	if err != nil {
		return reply{}, superviseProblem(err)
	}
	a, err := jsonReply(http.StatusOK, o)
	return about("order/"+o.ID, a, err)
}

func (s *Server) listOrders(context.Context, *request) (reply, error) {
	return s.orders(func(supervise.Order) bool { return true })
}

// myOrders are those the caller may answer.
func (s *Server) myOrders(_ context.Context, r *request) (reply, error) {
	department, who := s.departmentOf(r), string(r.who.Operator)
	return s.orders(func(o supervise.Order) bool {
		return department != "" && o.Department == department && (o.Person == "" || o.Person == who)
	})
}

func (s *Server) orders(mine func(supervise.Order) bool) (reply, error) {
	e, err := s.engine()
	if err != nil {
		return reply{}, err
	}
	list := slices.DeleteFunc(e.Orders(), func(o supervise.Order) bool { return !mine(o) })
	a, err := jsonReply(http.StatusOK, map[string]any{"orders": orEmpty(list)})
	return about("orders", a, err)
}

// departmentOf is the department for which somebody answers: a respondent's
// own, or that of a clerk's window.
func (s *Server) departmentOf(r *request) string {
	if p, ok := s.persons.ByCertificate(r.who.Certificate, time.Now()); ok {
		if p.Role != staff.Respondent {
			return ""
		}
		return p.Departments[0]
	}
	c, _ := s.catalogue.Caller(r.who.Caller)
	return string(c.Department)
}

// statisticsRequest chooses a table.
type statisticsRequest struct {
	By     supervise.Dimension `json:"by"`
	From   string              `json:"from"`
	To     string              `json:"to"`
	Period string              `json:"period"` // day, month
	Format string              `json:"format"` // json (default), xlsx, pdf
}

func (q statisticsRequest) problem() error {
	bad := func(where, zh, en string) error {
		return newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", where, zh, en)
	}
	from, err := time.Parse(time.DateOnly, q.From)
	to, err2 := time.Parse(time.DateOnly, q.To)
	switch {
	case !slices.Contains(supervise.Dimensions(), q.By):
		return bad("by", "须为 department、item、source 或 operator", "must be department, item, source or operator")
	case q.Period != "day" && q.Period != "month":
		return bad("period", "须为 day 或 month", "must be day or month")
	case !slices.Contains([]string{"", "json", "xlsx", "pdf"}, q.Format):
		return bad("format", "须为 json、xlsx 或 pdf", "must be json, xlsx or pdf")
	case err != nil || err2 != nil || to.Before(from) || to.Sub(from) > 400*24*time.Hour:
		return bad("from", "from 与 to 须为日期（如 2026-11-01），先后有序，相隔不超过 400 天", "from and to must be days (2026-11-01), in order, at most 400 days apart")
	}
	return nil
}

func (s *Server) statistics(ctx context.Context, r *request) (reply, error) {
	e, err := s.engine()
	if err != nil {
		return reply{}, err
	}
	var q statisticsRequest
	if err := r.decode(&q); err != nil {
		return reply{}, err
	}
	if err := q.problem(); err != nil {
		return reply{}, err
	}
	t := report.Table{By: q.By, From: q.From, To: q.To, Monthly: q.Period == "month", Lines: e.Statistics(q.By, q.From, q.To, q.Period == "month")}
	a, err := s.tabulate(ctx, t, q.Format)
	return about("statistics/"+string(q.By), a, err)
}

// tabulate writes a table in the format asked for.
func (s *Server) tabulate(ctx context.Context, t report.Table, format string) (reply, error) {
	var file []byte
	var err error
	kind := "application/pdf"
	switch format {
	case "xlsx":
		kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
		file, err = report.XLSX(t)
	case "pdf":
		file, err = s.printer.PDF(ctx, t)
	default:
		return jsonReply(http.StatusOK, map[string]any{"by": t.By, "lines": t.Lines})
	}
	if errors.Is(err, report.ErrTooLong) {
		return reply{}, newProblem(http.StatusUnprocessableEntity, "TOO_MANY_ROWS", "from", "行数过多，请缩短期间、改为按月，或导出 xlsx", "too many rows: choose a shorter period, months, or xlsx")
	}
	return reply{status: http.StatusOK, contentType: kind, body: file}, err
}

// admitStaff lets in the persons of supervision. A clerk, too, may be asked for an answer.
func (s *Server) admitStaff(rt route, r *request) (admitted bool) {
	p, ok := s.persons.ByCertificate(r.who.Certificate, time.Now())
	if !ok || rt.door == supervisor && p.Role != staff.Supervisor || rt.door == addressee && p.Role != staff.Respondent {
		return false
	}
	r.who.Operator, r.role = catalog.OperatorID(p.Name), string(p.Role)
	return true
}

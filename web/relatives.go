package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"yizheng/audit"
	"yizheng/audit/supervise"
	"yizheng/identity"
)

// relativesRoutes are about whom an operator may not look up. Whoever enters a
// list of numbers could learn from its cards who is looked up; so nobody does that
// alone: it holds once one of those who guard searches for persons has entered the
// same numbers. Whoever is refused either is on record.
func (s *Server) relativesRoutes() []route {
	const get, post, quick = http.MethodGet, http.MethodPost, 10 * time.Second
	return []route{
		{post, "/v1/supervision/relatives", supervisor, inside, "", 16 * kib, quick, s.relativesRefused(s.proposeRelatives)},
		{get, "/v1/supervision/relatives", supervisor, recorded, audit.OpAdmin, 0, quick, s.listRelatives},
		{get, "/v1/supervision/relatives/:id", approver, recorded, audit.OpAdmin, 0, quick, s.showRelatives},
		{post, "/v1/supervision/relatives/:id/approve", approver, inside, "", 16 * kib, quick, s.relativesRefused(s.approveRelatives)},
	}
}

// proposeRelatives takes ID numbers, as applyForSubjects does: they are in memory
// until it answers, and only pseudonyms are kept.
func (s *Server) proposeRelatives(ctx context.Context, r *request) (reply, error) {
	defer clear(r.body)
	e, err := s.engine()
	if err != nil {
		return reply{}, err
	}
	var in struct {
		Operator string   `json:"operator"`
		Numbers  []string `json:"numbers"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	if !s.hasAccount(in.Operator) { // it goes into the log, so it must be none but a known one
		return reply{}, newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "operator", "人员名册和目录中没有这个账号", "neither the staff register nor the catalogue has this account")
	}
	numbers, err := declaredNumbers(in.Numbers)
	if err != nil {
		return reply{}, err
	}
	p, err := e.Propose(ctx, string(r.who.Operator), in.Operator, numbers)
	return relativesReply(p.ID, p, err)
}

// declaredNumbers are those of a declaration. Errors say which one is wrong by its
// place, never what it is.
func declaredNumbers(texts []string) ([]identity.Number, error) {
	if texts == nil { // which is not to say that there is nobody
		return nil, newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "numbers", "须给出号码列表；没有须回避的人写 []", "give the list of numbers; [] if there is nobody")
	}
	numbers := make([]identity.Number, len(texts))
	for i, text := range texts {
		var err error
		if numbers[i], _, err = identity.ParseNumber(text); err != nil {
			return nil, newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", fmt.Sprintf("numbers[%d]", i), "号码格式、出生日期或校验码不对，请核对", "the number's form, birth date or check digit is wrong; check it")
		}
	}
	return numbers, nil
}

func (s *Server) listRelatives(context.Context, *request) (reply, error) {
	e, err := s.engine()
	if err != nil {
		return reply{}, err
	}
	declared, waiting := e.Relatives()
	return relativesReply("all", map[string]any{"declared": orEmpty(declared), "waiting": orEmpty(waiting)}, nil)
}

func (s *Server) showRelatives(_ context.Context, r *request) (reply, error) {
	e, err := s.engine()
	if err != nil {
		return reply{}, err
	}
	p, err := e.Proposal(r.param("id"))
	return relativesReply(p.ID, p, err)
}

// approveRelatives takes the numbers of the declaration again, and keeps as little of
// them as proposeRelatives.
func (s *Server) approveRelatives(ctx context.Context, r *request) (reply, error) {
	defer clear(r.body)
	e, err := s.engine()
	if err != nil {
		return reply{}, err
	}
	var in struct {
		Numbers []string `json:"numbers"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	numbers, err := declaredNumbers(in.Numbers)
	if err != nil {
		return reply{}, err
	}
	d, err := e.Approve(ctx, r.param("id"), string(r.who.Operator), r.role, numbers)
	return relativesReply(r.param("id"), d, err)
}

// proposalID is the form of a list's number. Anything else in its place could be
// anything, and is not put on record.
var proposalID = regexp.MustCompile(`^R[A-Z2-7]{16}$`)

// relativesRefused puts on record that a person was refused a step, which the engine
// does only for a list that it voids.
func (s *Server) relativesRefused(do func(context.Context, *request) (reply, error)) func(context.Context, *request) (reply, error) {
	return func(ctx context.Context, r *request) (reply, error) {
		a, err := do(ctx, r)
		if err == nil {
			return a, nil
		}
		if p := asProblem(err); p.Status >= http.StatusInternalServerError || p.Code == listsDiffer {
			return a, err
		}
		known := audit.Entry{Open: audit.Open{Disclose: audit.DiscloseNever}, Closed: audit.Closed{Role: r.role}}
		if id := r.param("id"); proposalID.MatchString(id) {
			known.Open.Number = id
		}
		if recErr := s.record(ctx, route{op: audit.OpSuperviseRelatives}, r, reply{subject: known}, err); recErr != nil {
			return reply{}, errors.Join(unrecorded(), recErr)
		}
		return a, err
	}
}

// listsDiffer is the code of a list that became void.
const listsDiffer = "LISTS_DIFFER"

func relativesReply(object string, v any, err error) (reply, error) {
	if errors.Is(err, supervise.ErrNames) {
		return reply{}, newProblem(http.StatusServiceUnavailable, "UNAVAILABLE", "", "假名服务没有应答，未办理，请稍后再试", "the pseudonym service does not answer; nothing was done, try again later")
	}
	if err != nil {
		return reply{}, superviseProblem(err)
	}
	a, err := jsonReply(http.StatusOK, v)
	return about("relatives/"+object, a, err)
}

package web

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"yizheng/audit/search"
)

// inquirer is who asks the audit log, for its record.
func (r *request) inquirer() search.Who {
	return search.Who{Actor: string(r.who.Operator), Role: r.role, System: string(r.who.Caller), Certificate: r.who.Certificate,
		Session: r.who.Session, Address: r.who.Address, Trace: r.number, Node: r.peer}
}

// inquiries refuses what needs the index where there is none.
func (s *Server) inquiries() (*search.Service, error) {
	if s.search == nil {
		return nil, newProblem(http.StatusServiceUnavailable, "UNAVAILABLE", "", "本网关未建审计索引，不能检索；见 audit.index", "this gateway has no audit index and cannot be searched; see audit.index")
	}
	return s.search, nil
}

func (s *Server) searchAudit(ctx context.Context, r *request) (reply, error) {
	var in search.Ask
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	a, err := q.Search(ctx, r.inquirer(), in)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, a)
}

func (s *Server) auditPath(ctx context.Context, r *request) (reply, error) {
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	a, err := q.Path(ctx, r.inquirer(), r.param("no"))
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, a)
}

// applyForSubjects, proposeRelatives and approveRelatives are the only calls of a
// person that take ID numbers; this one sends them on to the other gateways
// (takeApplication). They are in memory until it answers.
func (s *Server) applyForSubjects(ctx context.Context, r *request) (reply, error) {
	defer clear(r.body)
	var in struct {
		Statement string   `json:"statement"`
		Numbers   []string `json:"numbers"`
		Salt      string   `json:"salt"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	salt, err := base64.StdEncoding.Strict().DecodeString(in.Salt)
	if err != nil {
		return reply{}, newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "salt", "须为 16 字节的 base64", "must be 16 bytes in base64")
	}
	v, err := q.Apply(ctx, r.inquirer(), in.Statement, in.Numbers, salt)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, v)
}

func (s *Server) listApplications(context.Context, *request) (reply, error) {
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, map[string]any{"applications": q.Applications()})
}

func (s *Server) showApplication(_ context.Context, r *request) (reply, error) {
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	v, err := q.Find(r.param("id"))
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, v)
}

func (s *Server) decideApplication(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Statement string `json:"statement"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	v, err := q.Decide(ctx, r.inquirer(), r.param("id"), in.Statement)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, v)
}

func (s *Server) issueTicket(ctx context.Context, r *request) (reply, error) {
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	ticket, err := q.Issue(ctx, r.inquirer(), r.param("id"))
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, map[string]string{"ticket": ticket})
}

// answerPeer tells another node of the roster what this log holds.
func (s *Server) answerPeer(ctx context.Context, r *request) (reply, error) {
	var in search.PeerAsk
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	a, err := q.AnswerPeer(ctx, r.inquirer(), in)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, a)
}

// takeApplication holds an application that was made at another gateway. Its
// numbers are in memory until it answers.
func (s *Server) takeApplication(ctx context.Context, r *request) (reply, error) {
	defer clear(r.body)
	var in search.PeerApplication
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	held, err := q.TakeApplication(ctx, r.inquirer(), in)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, held)
}

// answerPersons tells another gateway what this log has about the persons of an
// application that it holds.
func (s *Server) answerPersons(ctx context.Context, r *request) (reply, error) {
	var in search.PeerPersonsAsk
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	a, err := q.AnswerPersons(ctx, r.inquirer(), in)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, a)
}

// answerUsages tells another gateway what this log has about a resident there.
func (s *Server) answerUsages(ctx context.Context, r *request) (reply, error) {
	defer clear(r.body)
	var in search.PeerUsageAsk
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	person, there, err := s.exchanges.ResidentElsewhere(in.Subject)
	if err != nil {
		return reply{}, err
	}
	who := r.inquirer()
	who.Actor, who.System = string(there.Operator), string(there.Caller)
	a, err := q.AnswerUsages(ctx, who, person, in)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, a)
}

// A resident's own questions come with the subject token of a read of their card.

func (s *Server) findUsage(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Subject string        `json:"subject_token"`
		Period  search.Period `json:"period,omitzero"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	person, err := s.exchanges.Resident(ctx, r.who, in.Subject)
	if err != nil {
		return reply{}, err
	}
	u, err := q.FindUsage(ctx, r.inquirer(), person, in.Subject, in.Period)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, u)
}

func (s *Server) complain(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Subject string           `json:"subject_token"`
		About   search.Complaint `json:"about"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	person, err := s.exchanges.Resident(ctx, r.who, in.Subject)
	if err != nil {
		return reply{}, err
	}
	record, err := q.Complain(ctx, r.inquirer(), person, in.About)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusCreated, map[string]string{"record": record})
}

func (s *Server) usagePeriod(context.Context, *request) (reply, error) {
	q, err := s.inquiries()
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, q.UsagePeriod())
}

func (s *Server) heartbeat(context.Context, *request) (reply, error) {
	if _, err := s.inquiries(); err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, map[string]any{"heartbeat": "OK", "time": time.Now().UTC().Truncate(time.Second)})
}

package web

import (
	"context"
	"errors"
	"net/http"

	"yizheng/audit"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
	"yizheng/seal"
	"yizheng/seal/life"
)

// listSeals shows all seals of the register, and where it ends, so that a person
// can sign the next step.
func (s *Server) listSeals(context.Context, *request) (reply, error) {
	r := s.custody.Register()
	n, head := r.Head()
	return jsonReply(http.StatusOK, map[string]any{"steps": n, "head": head, "seals": append([]life.Seal{}, r.Seals()...)})
}

// sealHistory is one step as administrators see it.
type sealHistory struct {
	Number uint64      `json:"number"`
	At     string      `json:"at"`
	Action life.Action `json:"action"`
	Reason life.Reason `json:"reason,omitempty"`
	By     string      `json:"by"`
	Role   staff.Role  `json:"role"`
}

func (s *Server) showSeal(_ context.Context, r *request) (reply, error) {
	one, ok := s.custody.Register().Find(r.param("id"))
	if !ok {
		return reply{}, newProblem(http.StatusNotFound, "NO_SUCH_SEAL", "id", "登记簿中没有这枚印章", "the register has no such seal")
	}
	steps := []sealHistory{}
	for _, e := range s.custody.Register().Entries(0) {
		if e.Seal == one.ID {
			steps = append(steps, sealHistory{e.Number, e.At.Format("2006-01-02T15:04:05Z"), e.Action, e.Reason, e.By.Name, e.By.Role})
		}
	}
	a, err := jsonReply(http.StatusOK, map[string]any{"seal": one, "steps": steps})
	a.subject = audit.Entry{Closed: audit.Closed{Object: "seal/" + one.ID}}
	return a, err
}

// sealStep takes one person's signed step. It holds for what is sealed from its answer on.
func (s *Server) sealStep(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Statement string `json:"statement"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	step, p, err := life.Read(in.Statement, s.persons)
	if err == nil && (p.Name != string(r.who.Operator) || step.Seal != r.param("id")) {
		err = staff.ErrStranger
	}
	if err != nil {
		return reply{}, newProblem(http.StatusUnprocessableEntity, "STATEMENT_INVALID", "statement", "声明无法核实，或不是提交者本人就这枚印章签名的", "the statement cannot be verified, or is not by who sends it about this seal")
	}
	if _, err := s.custody.Append(ctx, in.Statement); err != nil {
		return reply{}, sealProblem(err)
	}
	one, _ := s.custody.Register().Find(step.Seal)
	return jsonReply(http.StatusOK, map[string]any{"seal": one})
}

// sealProblem is what an administrator may know of why a step was refused.
func sealProblem(err error) error {
	var no *life.Refusal
	switch {
	case errors.As(err, &no):
		return newProblem(http.StatusConflict, "SEAL_STEP_REFUSED", "statement", no.Chinese, no.English)
	case errors.Is(err, life.ErrMoved):
		return newProblem(http.StatusConflict, "REGISTER_MOVED", "statement", "登记簿已有新步骤，请重新查看后再签", "the register has moved on since this was signed; look at it again and sign anew")
	case errors.Is(err, seal.ErrMaterial), errors.Is(err, jose.ErrToken), errors.Is(err, life.ErrTime):
		return newProblem(http.StatusUnprocessableEntity, "SEAL_MATERIAL", "statement", "印章、证书或时间不合要求，请核对制章者、证书与时钟", "seal, certificate or time will not do; check maker, certificate and clock")
	case errors.Is(err, life.ErrBusy):
		return newProblem(http.StatusServiceUnavailable, "BUSY", "", "登记簿正被使用，请稍后重试", "the register is in use; try again later")
	}
	return err
}

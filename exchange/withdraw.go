package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// A wrongly issued document is withdrawn by two persons: one asks, giving a reason
// code, and a security administrator who is somebody else approves. Both sign what
// they want with their own key, and both must act for the department that the issue
// leaf names. The audit log is the only place where withdrawals
// are kept: the issue leaf stays, a withdrawal leaf follows it, and nothing takes
// that away again. From then on verification says so, and since when.

// TypeWithdrawal is the JWS typ of a person's statement about a withdrawal.
const TypeWithdrawal = "yz-withdrawal+jws"

// WithdrawalAction is what a person wants.
type WithdrawalAction string

// Actions. A rejected request can be made again.
const (
	WithdrawAsk     WithdrawalAction = "ask"
	WithdrawApprove WithdrawalAction = "approve"
	WithdrawReject  WithdrawalAction = "reject"
)

// WithdrawalReasons are the codes of why a document is withdrawn.
func WithdrawalReasons() []string {
	return []string{"WRONG_DATA", "WRONG_PERSON", "WRONG_SEAL", "SUPERSEDED", "UNAUTHORISED"}
}

// WithdrawalStatement is what a person signs.
type WithdrawalStatement struct {
	V      int              `json:"v"` // 1
	Action WithdrawalAction `json:"action"`
	Number string           `json:"number"`
	Reason string           `json:"reason,omitempty"` // ask: one of WithdrawalReasons
	Of     string           `json:"of,omitempty"`     // approve, reject: Withdrawal.Asked
	At     time.Time        `json:"at"`
}

// Sign is the statement as compact JWS.
func (w WithdrawalStatement) Sign(k *jose.Key) (string, error) {
	w.V, w.At = 1, w.At.UTC().Truncate(time.Second)
	payload, err := json.Marshal(w)
	if err != nil {
		return "", fmt.Errorf("withdrawal: %w", err)
	}
	return jose.Sign(k, TypeWithdrawal, payload)
}

// Withdrawal is what has been asked and decided about a document.
type Withdrawal struct {
	Number string
	Asked  string // digest of the pending request, "" if there is none
	By     string // who asked
	Reason string
	Since  time.Time // since when the document is withdrawn; zero: it is not
}

// maxStatementAge is how old a statement may be, or ahead of the clock.
const maxStatementAge = 10 * time.Minute

// Withdrawal returns what has been asked and decided about a document. ok is false
// for a number that was not issued here.
func (s *Service) Withdrawal(number string) (w Withdrawal, ok bool) {
	if _, ok := s.documents.find(number); !ok {
		return w, false
	}
	return s.documents.withdrawal(number), true
}

// Withdraw takes a person's statement. by is who sent it and has to be who signed
// it; number is the document it was sent for. It returns a *Refusal.
func (s *Service) Withdraw(ctx context.Context, persons *staff.Register, by, number, statement string, who Principal) (Withdrawal, error) {
	st, p, err := openWithdrawal(persons, statement)
	if err != nil {
		return Withdrawal{}, &Refusal{Reason: ReasonStatement, Where: "statement", Chinese: "声明无法核实：格式、签名或签名人不对", English: "the statement cannot be verified: form, signature or signer", Err: err}
	}
	s.documents.deciding.Lock() // one decision at a time: each depends on the last
	defer s.documents.deciding.Unlock()
	w, ok := s.Withdrawal(number)
	if !ok {
		return w, refuse(ReasonNoDocument, "number", "本网关没有签发过这个编号；请到编号所示的网关办理", "this gateway has issued no such number; ask the gateway that the number names")
	}
	if err := allowWithdrawal(w, st, p, by, s.now()); err != nil {
		return w, err
	}
	if err := s.ownDocument(ctx, number, p); err != nil {
		return w, err
	}
	return s.recordWithdrawal(ctx, w, st, p, jose.Digest(statement), who)
}

func openWithdrawal(persons *staff.Register, statement string) (st WithdrawalStatement, p staff.Person, err error) {
	_, p, err = persons.Verify(statement, TypeWithdrawal, func(payload []byte) (time.Time, error) {
		if err := jose.Unmarshal(payload, &st); err != nil {
			return time.Time{}, err
		}
		if st.V != 1 {
			return time.Time{}, errors.New("not a statement about a withdrawal")
		}
		return st.At, nil
	})
	return st, p, err
}

// allowWithdrawal is the rule: who may do what about a document in which state.
func allowWithdrawal(w Withdrawal, st WithdrawalStatement, p staff.Person, by string, now time.Time) error {
	no := func(where, zh, en string) error { return refuse(ReasonWithdrawal, where, zh, en) }
	age := now.Sub(st.At)
	switch {
	case p.Name != by:
		return no("statement", "声明须由提交者本人签名", "the statement is not signed by who sends it")
	case st.Number != w.Number:
		return no("statement", "声明所指的是另一份文书", "the statement is about another document")
	case age > maxStatementAge || age < -maxStatementAge:
		return no("statement", "声明已过时，请校时后重新签名", "the statement is too old or in the future; check the clock and sign anew")
	case !w.Since.IsZero():
		return no("number", "这份文书已经撤回，撤回不可更改", "the document is withdrawn already, and stays so")
	case p.Role != staff.Security && (p.Role != staff.Applicant || st.Action == WithdrawApprove):
		return no("statement", "您的角色不可办理此步", "your role does not allow this")
	case st.Action == WithdrawAsk && w.Asked != "":
		return no("number", "已有待批准的撤回申请", "a request to withdraw it is pending")
	case st.Action == WithdrawAsk && !slices.Contains(WithdrawalReasons(), st.Reason):
		return no("statement", "须给出原因代码", "a reason code is needed")
	case st.Action == WithdrawAsk:
		return nil
	case st.Action != WithdrawApprove && st.Action != WithdrawReject:
		return no("statement", "没有这种步骤", "no such action")
	case w.Asked == "" || st.Of != w.Asked:
		return no("statement", "没有这件待批准的撤回申请", "no such request to withdraw it is pending")
	case st.Action == WithdrawApprove && w.By == p.Name:
		return no("statement", "申请人不得批准自己的申请，须由另一人办理", "nobody approves their own request; somebody else must")
	}
	return nil
}

// ownDocument refuses who does not act for the department that a document is of.
func (s *Service) ownDocument(ctx context.Context, number string, p staff.Person) error {
	issued, _, _, err := s.IssueRecord(ctx, number)
	if err != nil {
		return err
	}
	if !p.ActsFor(issued.Entry.Open.Provider) {
		return refuse(ReasonWithdrawal, "number", "这份文书不是您所属单位出具的，请由出具单位的人员办理", "the document is not of a department that you act for; a person of its issuer must do this")
	}
	return nil
}

// recordWithdrawal makes the statement durable; only then does it hold.
func (s *Service) recordWithdrawal(ctx context.Context, w Withdrawal, st WithdrawalStatement, p staff.Person, digest string, who Principal) (Withdrawal, error) {
	e := s.entry(audit.OpWithdraw, audit.PhaseIntent, who)
	e.Closed.Actor, e.Closed.Role, e.Closed.Auth = p.Name, string(p.Role), "signature"
	e.Closed.Object, e.Closed.Decision, e.Closed.Digests = w.Number, string(st.Action), map[string]string{"statement": digest}
	switch st.Action {
	case WithdrawAsk:
		e.Closed.Reason = st.Reason
	case WithdrawApprove:
		e.Open.Phase, e.Open.Number, e.Open.Status = audit.PhaseDone, w.Number, "withdrawn"
		e.Open.Date = s.now().In(beijing.Zone()).Format(time.DateOnly)
		e.Closed.Reason, e.Closed.Approvals = w.Reason, []string{w.By, p.Name}
	case WithdrawReject:
		e.Open.Phase = audit.PhaseDenied
	}
	receipts, err := s.append(ctx, e)
	if err != nil {
		return w, err
	}
	stored, _, err := s.audit.Shard(receipts[0].Origin).Entry(context.WithoutCancel(ctx), receipts[0].Index)
	if err != nil {
		return w, fmt.Errorf("withdrawal: read back: %w", err)
	}
	s.documents.decided(stored.Entry) // with the log's own time, as it will be read again
	return s.documents.withdrawal(w.Number), nil
}

// decided takes up a record of a withdrawal.
func (d *documents) decided(e audit.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.withdrawals == nil {
		d.withdrawals = make(map[string]Withdrawal)
	}
	number := e.Closed.Object
	if e.Open.Number != "" { // a closed half may be gone one day, the withdrawal is not
		number = e.Open.Number
	}
	w := d.withdrawals[number]
	switch {
	case !w.Since.IsZero(): // final
	case e.Open.Phase == audit.PhaseIntent:
		w = Withdrawal{Asked: e.Closed.Digests["statement"], By: e.Closed.Actor, Reason: e.Closed.Reason}
	case e.Open.Phase == audit.PhaseDone:
		w.Asked, w.Since = "", time.UnixMicro(e.Open.Time).UTC().Truncate(time.Second)
	default:
		w = Withdrawal{}
	}
	d.withdrawals[number] = w
}

func (d *documents) withdrawal(number string) Withdrawal {
	d.mu.RLock()
	defer d.mu.RUnlock()
	w := d.withdrawals[number]
	w.Number = number
	return w
}

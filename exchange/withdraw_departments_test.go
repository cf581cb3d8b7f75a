package exchange

import (
	"errors"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/identity/staff"
)

// TestWithdrawalIsForPersonsOfTheIssuer: nobody withdraws, or approves withdrawing,
// what another department has issued.
func TestWithdrawalIsForPersonsOfTheIssuer(t *testing.T) {
	g := newRegistry(t, "2026q4")
	const own, others = "11690100006900026F", "11690100MB69001143"
	for number, department := range map[string]string{"A": own, "B": others, "C": "", "D": own} {
		receipts, err := g.log.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpIssue, Number: number, Provider: department}})
		if err != nil {
			t.Fatal(err)
		}
		g.documents.add(number, g.log, receipts[0])
	}
	var persons []staff.Person
	for _, p := range []staff.Person{
		{Name: "applicant", Role: staff.Applicant, Departments: []string{own}},
		{Name: "bound", Role: staff.Security, Departments: []string{others, "11690000MB6900018L"}},
		{Name: "security", Role: staff.Security},
	} {
		g.keys[p.Name] = newKey(t)
		p.Key = g.keys[p.Name].Public()
		persons = append(persons, p)
	}
	var err error
	if g.persons, err = staff.NewRegister(persons); err != nil {
		t.Fatal(err)
	}
	refused := func(by string, st WithdrawalStatement) {
		t.Helper()
		before, _ := g.Withdrawal(st.Number)
		st.At = time.Now()
		line, err := st.Sign(g.keys[by])
		if err != nil {
			t.Fatal(err)
		}
		var no *Refusal
		if _, err := g.Withdraw(t.Context(), g.persons, by, st.Number, line, Principal{}); !errors.As(err, &no) || no.Reason != ReasonWithdrawal || no.Where != "number" {
			t.Errorf("%s %s %s: %v", by, st.Action, st.Number, err)
		}
		g.is("after a refusal", before)
	}
	ask := func(number string) WithdrawalStatement {
		return WithdrawalStatement{Action: WithdrawAsk, Number: number, Reason: "WRONG_DATA"}
	}
	decide := func(number string, a WithdrawalAction) WithdrawalStatement {
		w, _ := g.Withdrawal(number)
		return WithdrawalStatement{Action: a, Number: number, Of: w.Asked}
	}
	refused("applicant", ask("B"))
	refused("applicant", ask("C")) // of nobody knows whom
	refused("bound", ask("A"))
	for _, number := range []string{"A", "D"} {
		g.says("applicant", ask(number))
	}
	g.says("security", ask("B"))
	refused("bound", decide("A", WithdrawApprove))
	refused("bound", decide("A", WithdrawReject))
	refused("applicant", decide("B", WithdrawReject))
	for number, by := range map[string]string{"A": "security", "B": "bound"} {
		if w := g.says(by, decide(number, WithdrawApprove)); w.Since.IsZero() {
			t.Errorf("%s: %+v", number, w)
		}
	}
	if w := g.says("applicant", decide("D", WithdrawReject)); w.Asked != "" || !w.Since.IsZero() {
		t.Errorf("D: %+v", w)
	}
}

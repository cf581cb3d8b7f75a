package search

import (
	"context"
	"testing"

	"yizheng/audit"
)

// Something panics between a question's intent and its outcome: the panic goes
// on, to be a 500 in the end, and the log has both.
func TestAQuestionWhoseHandlingPanicsHasItsOutcome(t *testing.T) {
	for name, test := range map[string]struct {
		op  audit.Op
		ask func(*office)
	}{
		"search": {audit.OpAuditSearch, func(o *office) {
			o.Service.Logs = nil
			_, _ = o.Search(t.Context(), as("auditor-1"), Ask{Filter: Filter{Case: "XF-1"}})
		}},
		"a peer's search": {audit.OpAuditSearch, func(o *office) {
			o.Service.Logs = nil
			_, _ = o.Service.answerPeer(t.Context(), as("gw01"), PeerAsk{By: "auditor-1", Filter: Filter{Case: "XF-1"}})
		}},
		"a resident's view": {audit.OpCitizenView, func(o *office) {
			_, _ = o.viewed(t.Context(), as("clerk-01"), person(t, liYu), func(audit.Known) (int, bool, error) { panic(liYu) })
		}},
		"with a ticket": {audit.OpAuditSearch, func(o *office) {
			ticket, _ := o.ticketFor(liYu)
			o.Service.Logs = nil
			_, _ = o.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket})
		}},
		"a search that is recorded": {audit.OpAuditSearch, func(o *office) {
			_, _ = o.recorded(t.Context(), as("auditor-1"), Ask{Filter: Filter{Case: "XF-1"}}, func(context.Context) (Answer, error) { panic("x") })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			panicked := func() (yes bool) {
				defer func() { yes = recover() != nil }()
				test.ask(o)
				return false
			}()
			if !panicked {
				t.Error("the panic was swallowed")
			}
			list := o.entries(test.op)
			if len(list) < 2 {
				t.Fatalf("%d entries", len(list))
			}
			intent, outcome := list[len(list)-2].Open, list[len(list)-1].Open
			if intent.Phase != audit.PhaseIntent || outcome.Phase != audit.PhaseFailed || outcome.Outcome != "ABANDONED" || outcome.Prev == nil {
				t.Errorf("%+v\n%+v", intent, outcome)
			}
		})
	}
}

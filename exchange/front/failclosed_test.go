package front

import (
	"fmt"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/exchange/envelope"
	"yizheng/exchange/ferry"
)

// errand is a question that a front answers, and the operation without whose
// record no envelope leaves.
type errand struct {
	name  string
	op    audit.Op
	phase audit.Phase
	ask   func(q *Question, a *envelope.Attributes)
}

func errands() []errand {
	return []errand{
		{"a proof", audit.OpSourceCall, audit.PhaseDone, nil},
		{"a sensitive proof", audit.OpSourceCall, audit.PhaseDone, func(q *Question, _ *envelope.Attributes) { q.Source, q.Terms.Proof = "ue-2", "UE-02" }},
		{"a document sealed here", audit.OpSeal, "", func(q *Question, _ *envelope.Attributes) {
			*q = ordered(*q)
			q.Source, q.Terms.Proof = "ue-5", "UE-05"
		}},
		{"a sensitive document sealed here", audit.OpSeal, "", func(q *Question, _ *envelope.Attributes) {
			*q = ordered(*q)
			q.Source, q.Terms.Proof = "ue-6", "UE-06"
		}},
		{"a deferred question", audit.OpSourceCall, audit.PhaseDone, func(_ *Question, a *envelope.Attributes) {
			a.ReplyTo, a.SignedAt, a.Deadline = ferry.TopicDeferredReply, time.Now(), time.Now().Add(72*time.Hour)
		}},
		{"a refusal", audit.OpDeny, audit.PhaseDenied, func(q *Question, _ *envelope.Attributes) { q.Terms.Release = 6 }},
	}
}

// The log is spoilt at each record that a question makes. No envelope leaves
// unless the records are acknowledged, and the department's system is not asked
// unless the intent is.
func TestWhereverTheLogFailsNoEnvelopeLeavesWithoutItsRecord(t *testing.T) {
	for _, e := range errands() {
		for _, way := range audittest.Ways() {
			t.Run(fmt.Sprintf("%s, %s", e.name, way), func(t *testing.T) {
				t.Parallel()
				for k := 1; spoil(t, e, k, way); k++ {
					if k > 10 {
						t.Fatal("so many records of one question?")
					}
				}
			})
		}
	}
}

// spoil reports whether there was a k-th record. If not, all must have gone well.
func spoil(t *testing.T, e errand, k int, way audittest.Way) bool {
	d := newDesk(t)
	d.Press = seals.press(t, ownSeal)
	q := cardRead(time.Now()).question(t, "X-1")
	change := func(*envelope.Attributes) {}
	if e.ask != nil {
		var a envelope.Attributes
		e.ask(&q, &a)
		if a.ReplyTo != "" {
			change = func(b *envelope.Attributes) { b.ReplyTo, b.SignedAt, b.Deadline = a.ReplyTo, a.SignedAt, a.Deadline }
		}
	}
	m := attempt(t, q, 1, own["stranger"], change)
	d.spoiler.Spoil(k, way)
	answer, err := d.door().Handle(t.Context(), m)
	if spoilt := d.spoiler.Spoilt(); spoilt != (err != nil) || spoilt != (answer.Seal == nil) {
		t.Fatalf("record %d spoilt: %v; answered: %v, %v\n%s", k, spoilt, answer.Seal != nil, err, d.logged)
	}
	intents, last := 0, 0
	for _, entry := range d.entries("") {
		if entry.Open.Op == audit.OpSourceCall && entry.Open.Phase == audit.PhaseIntent {
			intents++
		}
		if entry.Open.Op == e.op && (e.phase == "" || entry.Open.Phase == e.phase) {
			last++
		}
	}
	if d.system.times() > intents {
		t.Errorf("record %d: the system was asked without an intent", k)
	}
	if err == nil && last != 1 {
		t.Errorf("answered with %d records %s", last, e.op)
	}
	if err == nil {
		if sealed, _, err := answer.Seal(m); err != nil || len(sealed) == 0 {
			t.Errorf("no envelope: %v", err)
		}
		return false
	}
	<-d.log.Failed()
	asked := d.system.times()
	again := attempt(t, cardRead(time.Now()).question(t, "X-2"), 1, own["stranger"], nil)
	if answer, err := d.door().Handle(t.Context(), again); err == nil || answer.Seal != nil || d.system.times() != asked {
		t.Errorf("the next question: %v", err)
	}
	return true
}

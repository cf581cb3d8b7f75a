package search

import (
	"strings"
	"testing"

	"yizheng/audit"
)

// An exchange number whose check character holds.
const exchangeNumber = "20261122008Q2V6JZ4TXQ"

// leg is the record of a source call.
func leg(source, id, outcome string) audit.Entry {
	return audit.Entry{Open: audit.Open{Op: audit.OpSourceCall, Phase: audit.PhaseDone, Exchange: exchangeNumber, Leg: id, Source: source, Outcome: outcome}}
}

func listed(t *testing.T, n *node, kind Kind, front, origin, url string) Listed {
	t.Helper()
	return Listed{Origin: origin, Kind: kind, Name: "节点", Department: "116901000069000425", Front: front, URL: url, Isolated: url == "", Keys: []string{listKey(t, n.key)}}
}

func honest(*PeerAnswer) {}

const frontBase = "hr-front.690100.example/audit"

func TestAPathGoesThroughEveryLogOnTheRoster(t *testing.T) {
	o := newOffice(t)
	front, other := newNode(t, frontBase), newNode(t, "gw01.690100.example/audit")
	o.add(audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseIntent, Exchange: exchangeNumber}})
	front.add(leg("hr-source", "HR-01.1", "FOUND"))
	o.add(leg("hr-source", "HR-01.1", "FOUND"), leg("hr-source", "HR-02.1", "TIMEOUT"), leg("re-city", "RE-01.1", "FOUND"))
	front.add(leg("hr-source", "HR-03.1", "FOUND"))
	other.add(audit.Entry{Open: audit.Open{Op: audit.OpRelease, Phase: audit.PhaseDone, Exchange: exchangeNumber}})
	fs, os := front.serve(honest), other.serve(honest)
	o.Peers = fs.Client()
	o.Peers.Transport = os.Client().Transport // both have the test's certificate
	o.roster(listed(t, front, KindFront, "hr-front", frontBase, fs.URL), listed(t, other, KindGateway, "", "gw01.690100.example/audit", os.URL))
	a, err := o.Path(t.Context(), as("auditor-1"), exchangeNumber)
	must(t, err)
	if len(a.Rows) != 7 || !a.Complete || len(a.Logs) != 3 {
		t.Fatalf("%d rows of %+v", len(a.Rows), a.Logs)
	}
	for i := range a.Rows[1:] {
		if a.Rows[i].Entry.Open.Time > a.Rows[i+1].Entry.Open.Time {
			t.Error("not in order of time")
		}
	}
	m := a.Reading
	if len(m.Both) != 1 || m.Both[0].Leg != "HR-01.1" || len(m.Unanswered) != 1 || m.Unanswered[0].Leg != "HR-02.1" || m.Unanswered[0].Outcome != "TIMEOUT" ||
		len(m.Unasked) != 1 || m.Unasked[0].Leg != "HR-03.1" || len(m.Unchecked) != 0 || m.Balanced() {
		t.Errorf("reconciled: %+v", m)
	}
	if e := front.last(audit.OpAuditSearch); e.Closed.Actor != "auditor-1" || e.Closed.Node != "gw00" || *e.Closed.Rows != 2 {
		t.Errorf("the front recorded %+v", e)
	}
	if e := o.last(audit.OpAuditSearch); !strings.Contains(e.Closed.Object, exchangeNumber) {
		t.Errorf("the gateway recorded %+v", e)
	}
}

func TestALogThatDoesNotAnswerIsNamed(t *testing.T) {
	forged := newNode(t, frontBase)
	forged.add(leg("hr-source", "HR-01.1", "FOUND"))
	for name, test := range map[string]struct {
		answer func(*PeerAnswer)
		change func(*Listed)
		state  Answering
	}{
		"isolated":           {honest, func(l *Listed) { l.URL, l.Isolated = "", true }, Isolated},
		"unreachable":        {honest, func(l *Listed) { l.URL = "https://127.0.0.1:1" }, Unreachable},
		"index behind":       {func(a *PeerAnswer) { a.Shards[0].CompleteTo-- }, func(*Listed) {}, Behind},
		"another key":        {honest, func(l *Listed) { l.Keys = []string{listKey(t, newKey(t))} }, Doubtful},
		"another log's rows": {honest, func(l *Listed) { l.Origin = "fp-other/audit" }, Doubtful},
		"a changed row": {func(a *PeerAnswer) {
			a.Rows[0].Open = strings.Replace(a.Rows[0].Open, "FOUND", "NOT_FOUND", 1)
		}, func(*Listed) {}, Doubtful},
		"a row twice":         {func(a *PeerAnswer) { a.Rows = append(a.Rows, a.Rows...) }, func(*Listed) {}, Doubtful},
		"a row without proof": {func(a *PeerAnswer) { a.Rows[0].Receipt = "" }, func(*Listed) {}, Doubtful},
		"not its salt":        {func(a *PeerAnswer) { a.Rows[0].Salt = "00" }, func(*Listed) {}, Doubtful},
		"silent about shards": {func(a *PeerAnswer) { a.Shards = nil }, func(*Listed) {}, Doubtful},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.add(leg("hr-source", "HR-01.1", "FOUND"))
			s := forged.serve(test.answer)
			o.Peers = s.Client()
			l := listed(t, forged, KindFront, "hr-front", frontBase, s.URL)
			test.change(&l)
			o.roster(l)
			a, err := o.Path(t.Context(), as("auditor-1"), exchangeNumber)
			must(t, err)
			if got := a.Logs[1]; got.State != test.state || !strings.Contains(got.Chinese, "结果不完整") || a.Complete {
				t.Errorf("%+v, complete %v", got, a.Complete)
			}
			if len(a.Rows) != 1 && test.state != Behind {
				t.Errorf("%d rows", len(a.Rows))
			}
			if m := a.Reading; len(m.Unanswered) != 0 || test.state != Behind && len(m.Unchecked) != 1 {
				t.Errorf("reconciled: %+v", m)
			}
		})
	}
}

func TestALogThatRefusesIsNamed(t *testing.T) {
	o := newOffice(t)
	front := newNode(t, frontBase)
	s := front.serve(honest)
	o.Peers = s.Client()
	o.roster(listed(t, front, KindFront, "hr-front", frontBase, s.URL))
	a, err := o.Search(t.Context(), Who{Actor: "no account!"}, Ask{Everywhere: true})
	must(t, err)
	if a.Logs[1].State != Refused {
		t.Errorf("%+v", a.Logs)
	}
}

func TestASearchEverywhereGoesOnByTime(t *testing.T) {
	o := newOffice(t)
	front := newNode(t, frontBase)
	s := front.serve(honest)
	o.Peers = s.Client()
	o.roster(listed(t, front, KindFront, "hr-front", frontBase, s.URL))
	for range 4 {
		o.add(leg("hr-source", "HR-01.1", "FOUND"))
		front.add(leg("hr-source", "HR-01.1", "FOUND"))
	}
	ask := Ask{Filter: Filter{Source: "hr-source"}, Everywhere: true, Limit: 3}
	seen := map[string]bool{}
	for range 4 {
		a, err := o.Search(t.Context(), as("auditor-1"), ask)
		must(t, err)
		for _, r := range a.Rows {
			seen[r.Entry.Open.ID] = true
		}
		if ask.Filter.To = a.NextTo; a.NextTo.IsZero() {
			break
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d of 8 entries", len(seen))
	}
}

func TestATicketSearchNamesTheLogsItCannotCover(t *testing.T) {
	o := newOffice(t)
	o.add(o.query(liYu, "PRH"))
	front := newNode(t, frontBase)
	o.roster(listed(t, front, KindFront, "hr-front", frontBase, "https://hr-front.690100.example:8443"))
	ticket, _ := o.ticketFor(liYu)
	a, err := o.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket})
	must(t, err)
	if a.Complete || a.Logs[1].State != OtherKeys {
		t.Errorf("%+v", a.Logs)
	}
}

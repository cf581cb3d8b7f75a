package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/exchange"
	"yizheng/exchange/envelope"
	"yizheng/identity"
)

func TestAnswerHoldsTheGrantedFieldsAndTheIssuersOnly(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	q := cardRead(time.Now()).question(t, "X-1")
	got := d.handle(attributes(q), q)
	want := found(map[string]any{"certificate_no": "6901020026001234", "status": "1", "region": "690102"}) // region chooses the seal
	if got.Refusal != "" || got.State != want.State || !got.DataTime.Equal(want.DataTime) || !reflect.DeepEqual(got.Records, want.Records) {
		t.Errorf("refusal %q, state %q, records %v", got.Refusal, got.State, got.Records)
	}
	if d.system.times() != 1 {
		t.Fatalf("asked %d times", d.system.times())
	}
	ask := d.system.asked[0]
	if !ask.Subject.Number.Equal(q.Person.Number) || ask.Source.ID != "ue" || ask.Digest != q.Terms.Digest() || ask.Operator != "clerk-01" || ask.Caller != "hall" {
		t.Error("the adapter is asked something else")
	}
	list := d.entries(audit.OpSourceCall)
	if len(list) != 2 || list[0].Open.Phase != audit.PhaseIntent || list[1].Open.Phase != audit.PhaseDone {
		t.Fatalf("entries %+v", list)
	}
	o, c := list[1].Open, list[1].Closed
	if o.Outcome != "FOUND" || o.Exchange != "X-1" || o.Leg != "UE-01.1" || o.System != "hall" || o.Item != "PRH" || o.Proof != "UE-01" || o.Case != "SJ-1" ||
		o.Purpose != "P-PRH" || o.Source != "ue" || o.Route != "cloud" || o.Release != 7 || len(o.Subjects) != 1 || !slices.Equal(o.Fields, q.Terms.Fields) ||
		c.Actor != "clerk-01" || c.Node != "hr-front" || !slices.Equal(c.Legs, []string{q.Terms.Digest().String()}) {
		t.Errorf("entry %+v %+v", o, c)
	}
}

func TestSensitiveProofIsRecordedAsAnsweredWhateverWasFound(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for i, a := range []exchange.Answer{found(registered()), {State: exchange.StateNotFound}, {State: exchange.StateNotIssuable}} {
		d.system.gives(a, nil)
		q := cardRead(time.Now()).question(t, fmt.Sprintf("X-%d", i))
		q.Source, q.Terms.Proof = "ue-2", "UE-02"
		if got := d.handle(attributes(q), q); got.State != a.State {
			t.Errorf("state %q, refusal %q", got.State, got.Refusal)
		}
	}
	for _, e := range d.entries(audit.OpSourceCall) {
		if e.Open.Phase == audit.PhaseDone && e.Open.Outcome != audit.OutcomeAnswered {
			t.Errorf("outcome %q", e.Open.Outcome)
		}
	}
}

func TestWhatASourceSaysPassesAsItIs(t *testing.T) {
	t.Parallel()
	for _, state := range []exchange.State{exchange.StateNotFound, exchange.StateMultiple, exchange.StatePending, exchange.StateNotIssuable} {
		d := newDesk(t)
		d.system.gives(exchange.Answer{State: state}, nil)
		q := cardRead(time.Now()).question(t, "X-1")
		if got := d.handle(attributes(q), q); got.State != state || len(got.Records) > 0 {
			t.Errorf("%s became %q", state, got.State)
		}
	}
}

func TestAdaptersErrorsAreMapped(t *testing.T) {
	t.Parallel()
	late := func(ctx context.Context, _ exchange.Ask) (exchange.Answer, error) {
		<-ctx.Done()
		return exchange.Answer{}, ctx.Err()
	}
	failing := func(err error) func(context.Context, exchange.Ask) (exchange.Answer, error) {
		return func(context.Context, exchange.Ask) (exchange.Answer, error) { return exchange.Answer{}, err }
	}
	missing := registered()
	delete(missing, "status")
	wrong := registered()
	wrong["certificate_no"] = 6901020026001234
	for name, c := range map[string]struct {
		says func(context.Context, exchange.Ask) (exchange.Answer, error)
		want Refusal
	}{
		"nobody there":               {failing(fmt.Errorf("dial: %w", exchange.ErrUnreachable)), Unreachable},
		"too late":                   {late, TooLate},
		"nonsense":                   {failing(errors.New("HTTP 500")), Failed},
		"an error that names people": {failing(errors.New("no row for " + liNumber + " " + liName)), Failed},
		"a panic that names people":  {func(context.Context, exchange.Ask) (exchange.Answer, error) { panic(liNumber + liName) }, Failed},
		"record without a member":    {func(context.Context, exchange.Ask) (exchange.Answer, error) { return found(missing), nil }, Failed},
		"member of another type":     {func(context.Context, exchange.Ask) (exchange.Answer, error) { return found(wrong), nil }, Failed},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.system.says(c.says)
			q := cardRead(time.Now()).question(t, "X-1")
			attrs := attributes(q)
			attrs.Deadline = time.Now().Add(300 * time.Millisecond)
			if got := d.handle(attrs, q); got.Refusal != c.want || got.State != "" || len(got.Records) > 0 {
				t.Errorf("refusal %q, state %q", got.Refusal, got.State)
			}
			list := d.entries(audit.OpSourceCall)
			if n := len(list); n != 2 || list[1].Open.Outcome != string(c.want) {
				t.Errorf("entries %+v", list)
			}
		})
	}
}

func TestSourceWithoutConnectionHereIsAnError(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	q := cardRead(time.Now()).question(t, "X-1")
	q.Source, q.Terms.Proof = "ue-nobody", "UE-04"
	q.Terms.Fields = []string{"certificate_no"}
	if got := d.handle(attributes(q), q); got.Refusal != Failed {
		t.Errorf("refusal %q", got.Refusal)
	}
}

func TestFieldsNobodyKnowsAreDropped(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	fields := registered()
	fields["mother"] = "nobody's business"
	d.system.gives(found(fields), nil)
	q := cardRead(time.Now()).question(t, "X-1")
	q.Terms.Fields = []string{"months"}
	got := d.handle(attributes(q), q)
	if want := map[string]any{"months": json.Number("5"), "region": "690102"}; len(got.Records) != 1 || !reflect.DeepEqual(got.Records[0].Fields, want) {
		t.Errorf("refusal %q, records %v", got.Refusal, got.Records)
	}
}

// changed is one thing wrong with a question that is otherwise good.
type changed struct {
	code  string
	read  func(*read)
	q     func(*Question)
	attrs func(*envelope.Attributes)
	agent func(*desk)
}

func TestRefusedQuestionIsRecordedAndNeverReachesTheSystem(t *testing.T) {
	second := identity.Salts{ID: [16]byte{1}, Name: [16]byte{2}}
	for name, c := range map[string]changed{
		"leg digest of another question":    {code: "LEG_DIGEST", attrs: func(a *envelope.Attributes) { a.LegDigest[0]++ }},
		"field added after signing":         {code: "LEG_DIGEST", attrs: func(a *envelope.Attributes) {}, q: nil, agent: nil, read: nil},
		"envelope of another exchange":      {code: "LEG_DIGEST", attrs: func(a *envelope.Attributes) { a.Exchange = "X-2" }},
		"envelope of another leg":           {code: "LEG_DIGEST", attrs: func(a *envelope.Attributes) { a.Leg = "UE-01.2" }},
		"other release":                     {code: "RELEASE", q: func(q *Question) { q.Terms.Release = 6 }},
		"release that has expired":          {code: "RELEASE", agent: func(d *desk) { d.at(release.Expires) }, read: later(release.Expires)},
		"deadline is over":                  {code: "DEADLINE", attrs: func(a *envelope.Attributes) { a.Deadline = time.Now().Add(-time.Millisecond) }},
		"unknown source":                    {code: "SOURCE", q: func(q *Question) { q.Source = "none" }},
		"unknown proof":                     {code: "SOURCE", q: func(q *Question) { q.Terms.Proof = "ZZ-99" }},
		"source of another front":           {code: "SOURCE", q: func(q *Question) { q.Source, q.Terms.Proof = "si", "SI-01" }},
		"source not of the proof":           {code: "SOURCE", q: func(q *Question) { q.Source = "ue-nobody" }},
		"no attestation":                    {code: "CARD_READ", q: func(q *Question) { q.Attestation = "" }},
		"attestation that is none":          {code: "CARD_READ", q: func(q *Question) { q.Attestation = "a.b.c" }},
		"attestation changed":               {code: "CARD_READ", q: func(q *Question) { q.Attestation = flip(q.Attestation) }},
		"attestation by a stranger":         {code: "CARD_READ", read: func(r *read) { r.agent = "stranger" }},
		"attestation by the gateway itself": {code: "CARD_READ", read: func(r *read) { r.agent = "gateway" }},
		"attestation by another window":     {code: "CARD_READ", read: func(r *read) { r.agent = "agent-2" }},
		"challenge by a stranger":           {code: "CARD_READ", read: func(r *read) { r.gateway = "stranger" }},
		"unknown workstation":               {code: "CARD_READ", read: func(r *read) { r.challenge.Workstation = "ws-99" }},
		"workstation of another caller": {code: "CARD_READ", read: func(r *read) {
			r.challenge.Workstation, r.agent = "ws-02", "agent-2"
			r.reading.SAM = "05.03-20200618-0000023456-0123456789"
		}},
		"reader of another workstation": {code: "CARD_READ", read: func(r *read) { r.reading.SAM = "05.03-20200618-0000023456-0123456789" }},
		"read yesterday":                {code: "CARD_READ", read: later(time.Now().Add(-24 * time.Hour))},
		"read eleven minutes ago":       {code: "CARD_READ", read: later(time.Now().Add(-11 * time.Minute))},
		"read in an hour":               {code: "CARD_READ", read: later(time.Now().Add(time.Hour))},
		"read after the challenge had ended": {code: "CARD_READ", read: func(r *read) {
			r.challenge.Expires = r.reading.At.Add(-time.Minute).UnixMilli()
			r.challenge.IssuedAt = r.challenge.Expires - 1000
		}},
		"simulated reader in production":      {code: "CARD_READ", agent: func(d *desk) { d.AllowSimulated = false }},
		"asked by another caller":             {code: "CARD_READ", q: func(q *Question) { q.Caller = "other" }},
		"challenge of another caller":         {code: "CARD_READ_ELSEWHERE", read: func(r *read) { r.challenge.Caller = "other" }},
		"another operator":                    {code: "CARD_READ_ELSEWHERE", q: func(q *Question) { q.Operator = "clerk-02" }},
		"another matter":                      {code: "CARD_READ_ELSEWHERE", q: func(q *Question) { q.Terms.Item = "OTHER" }},
		"another case":                        {code: "CARD_READ_ELSEWHERE", q: func(q *Question) { q.Terms.Case = "SJ-2" }},
		"another purpose":                     {code: "CARD_READ_ELSEWHERE", q: func(q *Question) { q.Terms.Purpose = "P-OTHER" }},
		"number of somebody else":             {code: "PERSON", q: func(q *Question) { q.Person.Number = wang(); q.Terms.Commitment = commit(*q) }},
		"name of somebody else":               {code: "PERSON", q: func(q *Question) { q.Person.Name = identity.NewName(wangName) }},
		"other salts":                         {code: "PERSON", q: func(q *Question) { q.Salts = second; q.Terms.Commitment = commit(*q) }},
		"other commitment":                    {code: "COMMITMENT", q: func(q *Question) { q.Terms.Commitment = make([]byte, 32) }},
		"no commitment":                       {code: "COMMITMENT", q: func(q *Question) { q.Terms.Commitment = nil }},
		"matter without a grant":              {code: "NO_GRANT", q: func(q *Question) { q.Terms.Item = "OTHER"; q.Terms.Purpose = "P-OTHER" }, read: func(r *read) { r.challenge.Item, r.challenge.Purpose = "OTHER", "P-OTHER" }},
		"purpose that the matter has not":     {code: "PURPOSE", q: func(q *Question) { q.Terms.Purpose = "P-OTHER" }, read: func(r *read) { r.challenge.Purpose = "P-OTHER" }},
		"matter nobody knows":                 {code: "PURPOSE", q: func(q *Question) { q.Terms.Item = "ZZZ" }, read: func(r *read) { r.challenge.Item = "ZZZ" }},
		"grant that has ended":                {code: "NO_GRANT", agent: func(d *desk) { d.at(grantEnd) }, read: later(grantEnd), attrs: func(a *envelope.Attributes) { a.Deadline = grantEnd.Add(time.Minute) }},
		"field outside the grant":             {code: "FIELD", q: func(q *Question) { q.Terms.Fields = []string{"certificate_no", "education"} }},
		"field that does not exist":           {code: "FIELD", q: func(q *Question) { q.Terms.Fields = []string{"nothing"} }},
		"clerk did not compare face and card": {code: "EVIDENCE", read: func(r *read) { r.reading.OperatorChecked = false }},
		"proof that wants a face check": {code: "EVIDENCE", q: func(q *Question) {
			q.Source, q.Terms.Proof = "ue-3", "UE-03"
			q.Terms.Fields = []string{"certificate_no"}
		}},
	} {
		t.Run(name, func(t *testing.T) { c.refused(t, name == "field added after signing") })
	}
}

// refused asks with the change and expects DENIED, one entry and no question to the system.
func (c changed) refused(t *testing.T, afterSigning bool) {
	d := newDesk(t)
	r := cardRead(time.Now())
	if c.read != nil {
		c.read(&r)
	}
	q := r.question(t, "X-1")
	if c.q != nil {
		c.q(&q)
	}
	attrs := attributes(q)
	if c.attrs != nil {
		c.attrs(&attrs)
	}
	if afterSigning {
		q.Terms.Fields = append(q.Terms.Fields, "months")
	}
	if c.agent != nil {
		c.agent(d)
	}
	d.denied(d.handle(attrs, q), attrs, c.code)
}

// denied holds a refusal to what must be so of every refusal.
func (d *desk) denied(got Reply, attrs envelope.Attributes, code string) {
	d.t.Helper()
	if got.Refusal != Denied || got.State != "" || len(got.Records) > 0 || !got.DataTime.IsZero() {
		d.t.Errorf("refusal %q, state %q, %d records", got.Refusal, got.State, len(got.Records))
	}
	if n := d.system.times(); n > 0 {
		d.t.Errorf("the system was asked %d times", n)
	}
	if n := len(d.entries(audit.OpSourceCall)); n > 0 {
		d.t.Errorf("%d entries about a call", n)
	}
	list := d.entries(audit.OpDeny)
	if len(list) != 1 {
		d.t.Fatalf("%d entries about a refusal", len(list))
	}
	o, c := list[0].Open, list[0].Closed
	if c.Reason != code || o.Phase != audit.PhaseDenied || o.Outcome != "DENIED" || o.Exchange != attrs.Exchange || o.Leg != attrs.Leg || o.System != attrs.Sender || c.Node != "hr-front" {
		d.t.Errorf("reason %q, want %q; %+v", c.Reason, code, o)
	}
}

var grantEnd = time.Date(2036, 1, 2, 0, 0, 0, 0, time.UTC)

func (d *desk) at(now time.Time) { d.Now = func() time.Time { return now } }

// later is a read at another time.
func later(at time.Time) func(*read) {
	return func(r *read) {
		r.reading.At = at.Add(-time.Second)
		r.challenge.IssuedAt, r.challenge.Expires = at.Add(-2*time.Second).UnixMilli(), at.Add(58*time.Second).UnixMilli()
	}
}

func wang() identity.Number {
	n, _, err := identity.ParseNumber(wangNumber)
	if err != nil {
		panic(err)
	}
	return n
}

func commit(q Question) []byte {
	sum := identity.IDDigest(q.Salts.ID, q.Person.Type, q.Person.Number)
	return sum[:]
}

// flip changes one character of a token's signature.
func flip(token string) string {
	i := len(token) - 10
	c := byte('A')
	if token[i] == c {
		c = 'B'
	}
	return token[:i] + string(c) + token[i+1:]
}

func TestMalformedQuestionIsRefused(t *testing.T) {
	t.Parallel()
	q := cardRead(time.Now()).question(t, "X-1")
	good, err := q.encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"nothing":               "",
		"not JSON":              "question",
		"two questions":         string(good) + string(good),
		"member nobody knows":   strings.Replace(string(good), `"v":1`, `"v":1,"also":"that"`, 1),
		"other version":         strings.Replace(string(good), `"v":1`, `"v":2`, 1),
		"short salt":            strings.Replace(string(good), `"salt_id":"`, `"salt_id":"","was":"`, 1),
		"invalid number":        strings.Replace(string(good), liNumber, "690102198503120017", 1),
		"number of other type":  strings.Replace(string(good), `"type":"111"`, `"type":"553"`, 1),
		"commitment not base64": strings.Replace(string(good), `"commitment":"`, `"commitment":"!`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			attrs := attributes(q)
			raw, err := d.Handle(t.Context(), attrs, []byte(body))
			d.ok(err)
			got, err := decodeReply(raw)
			d.ok(err)
			d.denied(got, attrs, "MESSAGE")
		})
	}
}

func TestOneCardReadServesOneExchange(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := cardRead(time.Now())
	first := r.question(t, "X-1")
	if got := d.handle(attributes(first), first); got.State != exchange.StateFound {
		t.Fatalf("refusal %q", got.Refusal)
	}
	if got := d.handle(attributes(first), first); got.State != exchange.StateFound { // retried in the same exchange
		t.Errorf("the same exchange again: %q", got.Refusal)
	}
	second := first
	second.Terms.Exchange = "X-2"
	if got := d.handle(attributes(second), second); got.Refusal != Denied {
		t.Errorf("a second exchange: state %q, refusal %q", got.State, got.Refusal)
	}
	again := r.question(t, "X-3") // attested anew, on the same challenge
	if got := d.handle(attributes(again), again); got.Refusal != Denied {
		t.Errorf("a second attestation of the challenge: state %q, refusal %q", got.State, got.Refusal)
	}
	if d.system.times() != 2 {
		t.Errorf("asked %d times", d.system.times())
	}
	for _, e := range d.entries(audit.OpDeny) {
		if e.Closed.Reason != "CARD_READ_REUSED" {
			t.Errorf("reason %q", e.Closed.Reason)
		}
	}
}

func TestUsedReadsAreForgottenWhenNobodyCouldUseThemAnyMore(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	now := time.Now()
	for i := range 3 {
		d.ok(d.once(fmt.Sprint(i), "X"))
	}
	d.at(now.Add(d.Deferred() + d.DeferredAge + 2*time.Minute))
	d.ok(d.once("new", "X"))
	if len(d.reads.used) != 1 {
		t.Errorf("%d reads are remembered", len(d.reads.used))
	}
}

func TestWithoutALogNothingIsAskedAndNothingAnswered(t *testing.T) {
	t.Parallel()
	t.Run("a good question", func(t *testing.T) {
		d := newDesk(t)
		d.ok(d.log.Close())
		q := cardRead(time.Now()).question(t, "X-1")
		body, err := q.encode()
		d.ok(err)
		if raw, err := d.Handle(t.Context(), attributes(q), body); err == nil || raw != nil {
			t.Errorf("%s, %v", raw, err)
		}
		if d.system.times() != 0 {
			t.Error("the system was asked")
		}
	})
	t.Run("a bad question", func(t *testing.T) {
		d := newDesk(t)
		d.ok(d.log.Close())
		if raw, err := d.Handle(t.Context(), attributes(Question{}), []byte("{}")); err == nil || raw != nil {
			t.Errorf("%s, %v", raw, err)
		}
	})
	t.Run("a log that fails while the system is asked", func(t *testing.T) {
		d := newDesk(t)
		d.system.says(func(context.Context, exchange.Ask) (exchange.Answer, error) {
			return found(registered()), d.log.Close()
		})
		q := cardRead(time.Now()).question(t, "X-1")
		body, err := q.encode()
		d.ok(err)
		if raw, err := d.Handle(t.Context(), attributes(q), body); err == nil || raw != nil {
			t.Errorf("%s, %v", raw, err)
		}
	})
}

// A gateway that was taken over has every key of a gateway, knows the release,
// and can write down whom it likes. What it lacks is a card on a reader.
func TestGatewayThatWasTakenOverLearnsNothing(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]func(*read){
		"attests itself":         func(r *read) { r.agent = "gateway" },
		"keeps an old read":      later(time.Now().Add(-time.Hour)),
		"makes up a reader":      func(r *read) { r.reading.SAM = "05.03-00000000-0000000000-0000000000" },
		"makes up a window":      func(r *read) { r.challenge.Workstation = "ws-77" },
		"replays within an hour": nil,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			read, code := cardRead(time.Now()), "CARD_READ"
			read.number, read.name = wangNumber, wangName
			if r != nil {
				r(&read)
			} else { // of somebody who is at a window at this moment, for another exchange
				code = "CARD_READ_REUSED"
				v, err := identity.VerifyAttestation(read.question(t, "X-0").Attestation, identity.AttestationPolicy{
					GatewayKey: d.GatewayKeys, AgentKey: anyKey, SAMAllowed: func(string, string) bool { return true }, AllowSimulated: true,
					MaxSkew: time.Minute, Now: time.Now()})
				d.ok(err)
				d.ok(d.once(v.Challenge.Nonce, "X-0"))
			}
			q := read.question(t, "X-1")
			attrs := attributes(q)
			d.denied(d.handle(attrs, q), attrs, code)
		})
	}
}

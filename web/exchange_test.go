package web_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/exchange"
	"yizheng/identity/jose"
)

// desk is a gateway with a clerk whose session is paired.
func desk(t *testing.T, answers department) (*gateway, *client, *agent) {
	g := start(t, answers)
	a := g.connect("ws-01", "381204")
	return g, g.login("clerk-01", a), a
}

func newReplyKey(t testing.TB) *jose.Key {
	k, err := jose.GenerateKey()
	ok(t, err)
	return k
}

func TestCardToSealedDocumentOverHTTPS(t *testing.T) {
	g, clerk, a := desk(t, nil)
	reply := newReplyKey(t)
	v := clerk.read(a)
	var x answer
	resp := clerk.call(http.MethodPost, "/v1/exchanges", question(reply, v.Token), "Prefer", "wait=10", "Idempotency-Key", "k1", "Content-Type", "application/json; charset=UTF-8")
	want(t, resp, http.StatusOK, "")
	resp.into(t, &x)
	if x.State != "ended" || x.Sufficient == nil || !*x.Sufficient || resp.Header.Get("Location") != "/v1/exchanges/"+x.Exchange {
		t.Fatalf("%s", resp.body)
	}
	r := g.open(reply, x.Results["RE-01"])
	if r.Code != exchange.Found || r.Data == "" || len(r.Document) == 0 {
		t.Fatalf("result: %s, %d bytes", r.Code, len(r.Document))
	}
	again := clerk.call(http.MethodPost, "/v1/exchanges", question(reply, v.Token), "Prefer", "wait=10", "Idempotency-Key", "k1")
	if again.StatusCode != http.StatusOK || !strings.Contains(string(again.body), x.Exchange) {
		t.Errorf("a repeated request got %s", again.body)
	}
	fetched := clerk.call(http.MethodGet, "/v1/exchanges/"+x.Exchange+"/results/RE-01", nil)
	if string(fetched.body) != x.Results["RE-01"] || fetched.Header.Get("Content-Type") != "application/jose" {
		t.Error("the fetched result is not the one that was answered")
	}
	g.verifyBoth(t, r)
	var kinds []string
	g.follow(clerk, x.Exchange, "", func(e sse) { kinds = append(kinds, e.kind) })
	if got := strings.Join(kinds, " "); got != "leg.asked leg.ended part.released exchange.ended" {
		t.Errorf("events: %s", got)
	}
	g.follow(clerk, x.Exchange, "1", func(e sse) {
		if e.id == "0" || e.id == "1" {
			t.Errorf("event %s came again after Last-Event-ID 1", e.id)
		}
	})
	want(t, clerk.call(http.MethodPost, "/v1/exchanges/"+x.Exchange+"/legs/RE-01.1/retry", nil), http.StatusConflict, "NOT_RETRYABLE")
	page := g.as("").call(http.MethodGet, "/", nil)
	for _, secret := range []string{sampleName, sampleNumber, "690102001001GB00012F00030301", ask["case"], r.Number} {
		if strings.Contains(string(page.body), secret) {
			t.Errorf("the start page shows %q", secret)
		}
	}
	want(t, clerk.call(http.MethodDelete, "/v1/exchanges/"+x.Exchange, nil), http.StatusNoContent, "")
	want(t, clerk.call(http.MethodGet, "/v1/exchanges/"+x.Exchange, nil), http.StatusNotFound, "NO_SUCH_EXCHANGE")
	want(t, clerk.call(http.MethodDelete, "/v1/sessions/"+clerk.session, nil), http.StatusNoContent, "")
	want(t, clerk.call(http.MethodPost, "/v1/read-sessions", ask), http.StatusForbidden, "NOT_PAIRED")
}

// follow reads an exchange's events to their end.
func (g *gateway) follow(k *client, number, after string, seen func(sse)) {
	req := k.request(http.MethodGet, "/v1/exchanges/"+number+"/events", nil)
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), 10*time.Second)
	defer cancel()
	resp, err := k.http.Do(req.WithContext(ctx))
	ok(g.t, err)
	defer resp.Body.Close()
	g.events(resp.Body, "/v1/exchanges/{no}/events", seen)
	ok(g.t, ctx.Err())
}

// verifyBoth shows the document, its digest and its number to public verification.
func (g *gateway) verifyBoth(t *testing.T, r exchange.Result) {
	t.Helper()
	public := g.as("")
	type finding struct {
		Report struct{ Overall bool }
		Record struct {
			State, Issued, Receipt string
			Matches                *bool
		}
	}
	var whole, changed, digest, number finding
	public.call(http.MethodPost, "/v1/verify", r.Document, "Content-Type", "application/pdf").into(t, &whole)
	if !whole.Report.Overall || whole.Record.State != "valid" || whole.Record.Matches == nil || !*whole.Record.Matches || whole.Record.Receipt == "" {
		t.Errorf("the document: %+v", whole)
	}
	bad := append([]byte(nil), r.Document...)
	bad[len(bad)/2] ^= 1
	public.call(http.MethodPost, "/v1/verify", bad, "Content-Type", "application/pdf").into(t, &changed)
	if changed.Report.Overall || changed.Record.Matches != nil && *changed.Record.Matches || changed.Record.Receipt != "" {
		t.Errorf("a changed document: %+v", changed)
	}
	public.call(http.MethodPost, "/v1/verify", map[string]string{"number": r.Number, "digest": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, "Content-Type", "application/json").into(t, &digest)
	if digest.Record.Matches == nil || *digest.Record.Matches || digest.Record.Issued != "" {
		t.Errorf("a wrong digest: %+v", digest)
	}
	public.call(http.MethodGet, "/v1/verify/"+r.Number, nil).into(t, &number)
	if number.Record.State != "valid" || number.Record.Issued != "" || number.Record.Receipt != "" || number.Record.Matches != nil {
		t.Errorf("a number alone: %+v", number)
	}
	if page := public.call(http.MethodGet, "/v/"+r.Number, nil); !strings.Contains(string(page.body), "在有效期内") {
		t.Error("the paper page does not show the status")
	}
}

// A window that shows an old notice learns which one is in force, and its token is not spent.
func TestAnOutdatedNoticeIsRefusedOverHTTPS(t *testing.T) {
	g, clerk, a := desk(t, nil)
	q := question(newReplyKey(t), clerk.read(a).Token)
	var item struct {
		Notice struct {
			ID      string
			Version int
		}
	}
	clerk.call(http.MethodGet, "/v1/items/PRH", nil).into(t, &item)
	if item.Notice.ID != "N-PRH" || item.Notice.Version != 2 {
		t.Errorf("%+v", item)
	}
	q["notice"] = "N-PRH@1"
	old := clerk.call(http.MethodPost, "/v1/exchanges", q)
	want(t, old, http.StatusConflict, "NOTICE_OUTDATED")
	if !strings.Contains(string(old.body), "N-PRH@2") {
		t.Errorf("%s", old.body)
	}
	q["notice"] = "N-PRH@2"
	want(t, clerk.call(http.MethodPost, "/v1/exchanges", q, "Prefer", "wait=10"), http.StatusOK, "")
	if n := g.count(audit.OpDeny); n != 1 {
		t.Errorf("%d refusals on record", n)
	}
}

func TestAnswersAtOnceAndEndsLater(t *testing.T) {
	release := make(chan struct{})
	slow := department(func(ctx context.Context, a exchange.Ask) (exchange.Answer, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return department(nil).Query(ctx, a)
	})
	g, clerk, a := desk(t, slow)
	reply := newReplyKey(t)
	v := clerk.read(a)
	var x answer
	began := time.Now()
	resp := clerk.call(http.MethodPost, "/v1/exchanges", question(reply, v.Token))
	want(t, resp, http.StatusAccepted, "")
	resp.into(t, &x)
	if x.State != "running" || len(x.Results) != 0 || time.Since(began) > 20*time.Second {
		t.Fatalf("%s after %s", resp.body, time.Since(began))
	}
	want(t, clerk.call(http.MethodGet, "/v1/exchanges/"+x.Exchange+"/results/RE-01", nil), http.StatusNotFound, "NO_RESULT")
	want(t, clerk.call(http.MethodPost, "/v1/exchanges", question(reply, v.Token)), http.StatusConflict, "SUBJECT_TOKEN_SPENT")
	go func() { time.Sleep(50 * time.Millisecond); close(release) }()
	last := ""
	g.follow(clerk, x.Exchange, "", func(e sse) { last = e.kind })
	if last != "exchange.ended" {
		t.Errorf("the stream ended after %s", last)
	}
}

func TestFailedLegIsAskedAgainOverHTTPS(t *testing.T) {
	fail := make(chan struct{}, 1)
	fail <- struct{}{}
	_, clerk, a := desk(t, func(ctx context.Context, ask exchange.Ask) (exchange.Answer, error) {
		select {
		case <-fail:
			return exchange.Answer{}, exchange.ErrUnreachable
		default:
			return department(nil).Query(ctx, ask)
		}
	})
	var x answer
	clerk.call(http.MethodPost, "/v1/exchanges", question(newReplyKey(t), clerk.read(a).Token), "Prefer", "respond-async, wait=10").into(t, &x)
	if x.Parts[0].Code != exchange.Unreachable || !x.Parts[0].Legs[0].Retryable {
		t.Fatalf("%+v", x.Parts)
	}
	want(t, clerk.call(http.MethodPost, "/v1/exchanges/"+x.Exchange+"/legs/RE-01.1/retry", nil), http.StatusAccepted, "")
	x.State = "" // before the retry it had ended
	for end := time.Now().Add(20 * time.Second); x.State != "ended" && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		clerk.call(http.MethodGet, "/v1/exchanges/"+x.Exchange, nil).into(t, &x)
	}
	if x.Parts[0].Code != exchange.Found {
		t.Errorf("after the retry: %s", x.Parts[0].Code)
	}
}

// Whatever one clerk began does not exist for another, nor for a system, nor for an agent.
func TestNobodySeesAnothersExchangeOrRead(t *testing.T) {
	g, clerk, a := desk(t, nil)
	v := clerk.read(a)
	var x answer
	clerk.call(http.MethodPost, "/v1/exchanges", question(newReplyKey(t), v.Token), "Prefer", "wait=10").into(t, &x)
	b := g.connect("ws-02", "777001")
	other := g.login("clerk-02", b)
	calls := []struct{ method, path, unknown string }{
		{http.MethodGet, "/v1/exchanges/" + x.Exchange, "NO_SUCH_EXCHANGE"},
		{http.MethodGet, "/v1/exchanges/" + x.Exchange + "/events", "NO_SUCH_EXCHANGE"},
		{http.MethodGet, "/v1/exchanges/" + x.Exchange + "/results/RE-01", "NO_SUCH_EXCHANGE"},
		{http.MethodPost, "/v1/exchanges/" + x.Exchange + "/legs/RE-01.1/retry", "NO_SUCH_EXCHANGE"},
		{http.MethodPost, "/v1/exchanges/" + x.Exchange + "/parts/RE-01/prints", "NO_SUCH_EXCHANGE"},
		{http.MethodDelete, "/v1/exchanges/" + x.Exchange, "NO_SUCH_EXCHANGE"},
	}
	for who, k := range map[string]*client{"another clerk": other, "a system": g.as("system-housing")} {
		for _, c := range calls {
			var body any
			if strings.HasSuffix(c.path, "/prints") {
				body = map[string]string{}
			}
			mine, nobodys := k.call(c.method, c.path, body), k.call(c.method, strings.Replace(c.path, x.Exchange, "202611220000000000000", 1), body)
			if mine.StatusCode != http.StatusNotFound || mine.problem() != c.unknown || nobodys.problem() != c.unknown {
				t.Errorf("%s, %s %s: %d %s", who, c.method, c.path, mine.StatusCode, mine.problem())
			}
		}
	}
	want(t, other.call(http.MethodGet, "/v1/read-sessions/"+v.ReadSession, nil), http.StatusNotFound, "NO_SUCH_READ")
	want(t, other.call(http.MethodPost, "/v1/exchanges", question(newReplyKey(t), v.Token)), http.StatusForbidden, "SUBJECT_TOKEN_ELSEWHERE")
	want(t, b.call(http.MethodPost, "/v1/read-sessions/"+v.ReadSession+"/failure", map[string]string{"code": "NO_CARD"}), http.StatusNotFound, "NO_SUCH_READ")
	want(t, a.call(http.MethodGet, "/v1/exchanges/"+x.Exchange, nil), http.StatusForbidden, "UNKNOWN_CERTIFICATE")
	thief := g.as("clerk-02")
	thief.session = clerk.session
	want(t, thief.call(http.MethodPost, "/v1/read-sessions", ask), http.StatusForbidden, "NOT_PAIRED")
	want(t, other.call(http.MethodDelete, "/v1/sessions/"+clerk.session, nil), http.StatusNoContent, "")
	want(t, clerk.call(http.MethodGet, "/v1/exchanges/"+x.Exchange, nil), http.StatusOK, "")
	want(t, clerk.call(http.MethodGet, "/v1/read-sessions/"+v.ReadSession, nil), http.StatusOK, "")
}

// No record, no byte of an answer.
func TestNothingLeavesWhenTheLogCannotBeWritten(t *testing.T) {
	g, clerk, a := desk(t, nil)
	reply := newReplyKey(t)
	v := clerk.read(a)
	second := clerk.read(a)
	var x answer
	resp := clerk.call(http.MethodPost, "/v1/exchanges", question(reply, v.Token), "Prefer", "wait=10")
	resp.into(t, &x)
	document := g.open(reply, x.Results["RE-01"]).Document
	var waiting struct {
		ReadSession string `json:"read_session"`
	}
	clerk.call(http.MethodPost, "/v1/read-sessions", ask).into(t, &waiting)
	ok(t, os.RemoveAll(g.logs))
	public := g.as("")
	began := time.Now()
	for name, call := range map[string]func() got{
		"a stored result": func() got { return clerk.call(http.MethodGet, "/v1/exchanges/"+x.Exchange+"/results/RE-01", nil) },
		"a new exchange": func() got {
			return clerk.call(http.MethodPost, "/v1/exchanges", question(reply, second.Token), "Prefer", "wait=5")
		},
		"a card read": a.answer,
		"a deletion":  func() got { return clerk.call(http.MethodDelete, "/v1/exchanges/"+x.Exchange, nil) },
		"a verified document": func() got {
			return public.call(http.MethodPost, "/v1/verify", document, "Content-Type", "application/pdf")
		},
		"a number's status": func() got { return public.call(http.MethodGet, "/v1/verify/"+x.Parts[0].Number, nil) },
		"a paper page":      func() got { return public.call(http.MethodGet, "/v/"+x.Parts[0].Number, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			resp := call()
			if resp.StatusCode != http.StatusServiceUnavailable || resp.problem() != "UNAVAILABLE" || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%d %s %s", resp.StatusCode, resp.problem(), resp.body)
			}
			for what, secret := range map[string]string{"ciphertext": x.Results["RE-01"], "a status": `"state"`, "a page": "<html", "a report": "checks"} {
				if strings.Contains(string(resp.body), secret) {
					t.Errorf("the answer holds %s", what)
				}
			}
		})
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("refusals took %s", took)
	}
}

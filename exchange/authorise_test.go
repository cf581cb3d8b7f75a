package exchange

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/identity"
)

// TestRequestIsRefused is the table of reasons. Every refusal is recorded, and
// nothing is asked.
func TestRequestIsRefused(t *testing.T) {
	t.Parallel()
	with := func(change func(*identity.SubjectClaims)) func(*city, *Request) {
		return func(c *city, r *Request) {
			claims := c.claims()
			change(&claims)
			r.Subjects = []SubjectToken{{Role: "applicant", Token: c.mint(claims).Token}}
		}
	}
	c := newCity(t)
	for _, test := range []struct {
		name   string
		change func(*city, *Request)
		reason Reason
		where  string
	}{
		{"no token", func(_ *city, r *Request) { r.Subjects = nil }, ReasonRole, "subjects"},
		{"too many tokens", func(c *city, r *Request) {
			for range 9 {
				r.Subjects = append(r.Subjects, r.Subjects[0])
			}
		}, ReasonInvalid, "subjects"},
		{"an ID number for a token", func(_ *city, r *Request) { r.Subjects[0].Token = liNumber }, ReasonToken, "subjects[0].token"},
		{"a token of another fleet", func(c *city, r *Request) {
			token, err := identity.MintSubject(make([]byte, 16), "fleet", c.claims())
			c.ok(err)
			r.Subjects[0].Token = token
		}, ReasonToken, "subjects[0].token"},
		{"an expired token", func(c *city, _ *Request) { c.offset.Store(int64(11 * time.Minute)) }, ReasonToken, "subjects[0].token"},
		{"another caller's", with(func(c *identity.SubjectClaims) { c.Caller = "system" }), ReasonTokenElsewhere, "subjects[0].token"},
		{"another operator's", with(func(c *identity.SubjectClaims) { c.Operator = "clerk-02" }), ReasonTokenElsewhere, "subjects[0].token"},
		{"another workstation's", with(func(c *identity.SubjectClaims) { c.Workstation = "ws-03" }), ReasonTokenElsewhere, "subjects[0].token"},
		{"another item's", with(func(c *identity.SubjectClaims) { c.Item = "OTHER" }), ReasonTokenElsewhere, "subjects[0].token"},
		{"another case's", with(func(c *identity.SubjectClaims) { c.Case = "C-2" }), ReasonTokenElsewhere, "subjects[0].token"},
		{"another purpose's", with(func(c *identity.SubjectClaims) { c.Purpose = "P-OTHER" }), ReasonTokenElsewhere, "subjects[0].token"},
		{"another role's", with(func(c *identity.SubjectClaims) { c.Role = "spouse" }), ReasonTokenElsewhere, "subjects[0].token"},
		{"the same token twice", func(_ *city, r *Request) { r.Subjects = append(r.Subjects, r.Subjects[0]) }, ReasonInvalid, "subjects[1]"},
		{"unknown item", func(_ *city, r *Request) { r.Item = "NONE" }, ReasonTokenElsewhere, "subjects[0].token"},
		{"unknown item in token and request", func(c *city, r *Request) {
			with(func(c *identity.SubjectClaims) { c.Item = "NONE" })(c, r)
			r.Item = "NONE"
		}, ReasonUnknownItem, "item"},
		{"unknown situation", func(_ *city, r *Request) { r.Situation = "NONE" }, ReasonUnknownItem, "situation"},
		{"no situation where there are several", func(_ *city, r *Request) { r.Situation = "" }, ReasonUnknownItem, "situation"},
		{"no case", func(c *city, r *Request) {
			with(func(c *identity.SubjectClaims) { c.Case = "" })(c, r)
			r.Case = ""
		}, ReasonInvalid, "case"},
		{"a case of 65 characters", func(c *city, r *Request) {
			r.Case = strings.Repeat("案", 65)
			with(func(c *identity.SubjectClaims) { c.Case = r.Case })(c, r)
		}, ReasonInvalid, "case"},
		{"a purpose of another item", func(c *city, r *Request) {
			with(func(c *identity.SubjectClaims) { c.Purpose = "P-OTHER" })(c, r)
			r.Purpose = "P-OTHER"
		}, ReasonPurpose, "purpose"},
		{"no reply key", func(_ *city, r *Request) { r.ReplyKey = nil }, ReasonReplyKey, "reply_key"},
		{"a private reply key", func(_ *city, r *Request) {
			r.ReplyKey = json.RawMessage(`{"kty":"EC","crv":"SM2","x":"AA","y":"AA","d":"AA"}`)
		}, ReasonReplyKey, "reply_key"},
		{"the spouse is missing", func(_ *city, r *Request) { r.Situation = "FAMILY" }, ReasonRole, "subjects"},
		{"one too many", func(c *city, r *Request) {
			claims := c.claims()
			claims.Role, claims.Person = "spouse", person(c.t, wangNumber, wangName)
			r.Subjects = append(r.Subjects, c.mint(claims))
		}, ReasonRole, "subjects[1].role"},
		{"one person in two roles", func(c *city, r *Request) {
			claims := c.claims()
			claims.Role = "spouse"
			r.Situation, r.Subjects = "FAMILY", append(r.Subjects, c.mint(claims))
		}, ReasonInvalid, "subjects[1]"},
		{"an ID number for a case", func(c *city, r *Request) {
			r.Case = "SJ-" + wangNumber[:6] + "-" + wangNumber[6:]
			with(func(c *identity.SubjectClaims) { c.Case = r.Case })(c, r)
		}, ReasonInvalid, "case"},
		{"a proof of another situation", func(_ *city, r *Request) { r.Proofs = []catalog.ProofCode{"MR-01"} }, ReasonOutsideItem, "proofs"},
		{"fields of another proof", func(_ *city, r *Request) { r.Fields = map[catalog.ProofCode][]string{"MR-01": {"state"}} }, ReasonOutsideItem, "fields"},
		{"a field outside the grant", func(_ *city, r *Request) { r.Fields = map[catalog.ProofCode][]string{"SI-01": {"month", "spouse"}} }, ReasonOutsideGrant, "fields.SI-01"},
		{"an empty list of fields", func(_ *city, r *Request) { r.Fields = map[catalog.ProofCode][]string{"SI-01": {}} }, ReasonInvalid, "fields.SI-01"},
		{"null for fields", func(_ *city, r *Request) { r.Fields = map[catalog.ProofCode][]string{"SI-01": nil} }, ReasonInvalid, "fields.SI-01"},
		{"an unregistered caller", func(c *city, _ *Request) { c.who.Caller = "nobody" }, ReasonNoGrant, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(c.entries(audit.OpDeny))
			defer func(who Principal) { c.who = who; c.offset.Store(0) }(c.who)
			req := c.request("ONE")
			test.change(c, &req)
			_, err := c.Exchange(context.Background(), c.who, req, "key")
			var r *Refusal
			if reasonOf(err) != test.reason {
				t.Fatalf("%v", err)
			}
			r = err.(*Refusal)
			if r.Where != test.where || r.Chinese == "" || r.English == "" || strings.Contains(r.Error(), liNumber) {
				t.Errorf("%+v", r)
			}
			denied := c.entries(audit.OpDeny)[before:]
			if len(denied) != 1 || denied[0].Open.Outcome != string(test.reason) || denied[0].Open.Case != "" {
				t.Errorf("%d records of the refusal", len(denied))
			}
			for name, f := range c.sources {
				if f.times() > 0 {
					t.Errorf("%s was asked", name)
				}
			}
			if len(c.exchanges)+len(c.keys) > 0 {
				t.Error("the refused request is kept")
			}
		})
	}
}

func TestRequestMayAskForLess(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	req := c.request("ALL")
	req.Proofs = []catalog.ProofCode{"SI-01", "HF-01", "SI-01"}
	req.Fields = map[catalog.ProofCode][]string{"SI-01": {"base", "base"}}
	x := c.ended(req)
	if v := c.View(x); len(v.Parts) != 2 || *v.Sufficient {
		t.Errorf("%+v", v)
	}
	if d := c.data(c.result(x, "SI-01")); len(d.Records[0]) != 1 || d.Records[0]["base"] == nil {
		t.Error("more fields than asked for")
	}
	if asked := c.sources["si"].asked[0].Terms.Fields; len(asked) != 1 {
		t.Errorf("%v", asked)
	}
}

func TestQuotaIsPerMinuteAndCaller(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.who.Caller = "kiosk" // two a minute
	c.sources["si"].gives(Answer{}, ErrUnreachable)
	c.ended(c.request("ONE"))
	x := c.ended(c.request("ONE"))
	if _, err := c.Exchange(context.Background(), c.who, c.request("ONE"), ""); reasonOf(err) != ReasonQuota {
		t.Errorf("%v", err)
	}
	if _, err := c.Retry(context.Background(), c.who, x.Number, "SI-01.1"); reasonOf(err) != ReasonQuota {
		t.Errorf("a retry asks as well: %v", err)
	}
	c.offset.Store(int64(time.Minute))
	c.ended(c.request("ONE"))
	c.who.Caller = "hall"
	c.ended(c.request("ONE"))
}

// FuzzRequest holds any JSON against the plan: a refusal or a plan inside the grant, never a panic.
func FuzzRequest(f *testing.F) {
	c := newCity(f)
	claims := c.claims()
	token := c.mint(claims)
	good, err := json.Marshal(c.request("ALL"))
	c.ok(err)
	for _, seed := range []string{
		string(good), `{}`, `{"item":"PRH"}`, `{"fields":{"SI-01":[]}}`, `{"fields":{"":null}}`, `{"proofs":["SI-01","SI-01"]}`,
		`{"subjects":[{"role":"applicant","token":""}]}`, `{"reply_key":"x"}`, `{"reply_key":{"kty":"EC","crv":"P-256","x":"","y":""}}`,
		`{"item":"PRH","situation":"FAMILY","fields":{"HF-01":["account"]},"proofs":["HF-01"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var req Request
		if json.Unmarshal(text, &req) != nil {
			return
		}
		_, _ = c.identify(c.who, req)
		req.Item, req.Case, req.Purpose = "PRH", claims.Case, claims.Purpose
		req.Subjects = []SubjectToken{token}
		subjects, err := c.identify(c.who, req)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.authorise(c.who, req, subjects)
		if err != nil {
			if reasonOf(err) == "" {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		for _, pt := range p.parts {
			g, ok := c.release.Catalogue.GrantFor("hall", "PRH", pt.proof.Code)
			if !ok || pt.denied || len(pt.fields) == 0 || len(pt.fields) > len(g.Fields) {
				t.Fatalf("a plan outside the grant: %s", pt.id)
			}
		}
	})
}

package web_test

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/exchange"
	"yizheng/seal/life"
)

// bodies are all routes that take one, and whether a seal signs because of it. Then
// what it signs is a document that the gateway has rendered itself.
var bodies = map[string]bool{
	"POST /v1/sessions":                             false,
	"POST /v1/agents/connect":                       false,
	"POST /v1/read-sessions":                        false,
	"POST /v1/read-sessions/{id}/attestation":       false,
	"POST /v1/read-sessions/{id}/failure":           false,
	"POST /v1/exchanges":                            true,
	"POST /v1/exchanges/{no}/parts/{part}/prints":   false,
	"POST /v1/exchanges/{no}/print-order":           false, // an unsealed cover around sealed documents
	"POST /v1/verify":                               false,
	"POST /v1/admin/seals/{id}/steps":               false, // a person's statement, signed already
	"POST /v1/admin/certificates/{number}/withdraw": false, // likewise
	"POST /v1/audit/search":                         false,
	"POST /v1/audit/applications":                   false, // likewise
	"POST /v1/audit/applications/{id}/decisions":    false, // likewise
	"POST /v1/audit/peer/search":                    false,
	"POST /v1/audit/peer/usages":                    false,
	"POST /v1/audit/peer/applications":              false,
	"POST /v1/audit/peer/persons":                   false,
	"POST /v1/citizen/findUsage":                    false,
	"POST /v1/citizen/complaints":                   false,

	"POST /v1/supervision/cards":                  false,
	"POST /v1/supervision/cards/{id}/dismiss":     false,
	"POST /v1/supervision/orders":                 false,
	"POST /v1/supervision/relatives":              false,
	"POST /v1/supervision/relatives/{id}/approve": false,
	"POST /v1/supervision/orders/{id}/return":     false,
	"POST /v1/supervision/statistics":             false,
	"POST /v1/orders/{id}/answer":                 false,
}

// lookups are the fields that may hold a digest: it is compared, not signed.
var lookups = []string{"POST /v1/verify digest"}

func TestNoRouteTakesADigestToSign(t *testing.T) {
	g := start(t, nil)
	digest := regexp.MustCompile(`(?i)digest|hash|tbs|to_?sign|sm3|sha`)
	var met, found []string
	for path, ops := range g.api.root["paths"].(map[string]any) {
		for method, op := range mapOf(ops) {
			body := mapOf(op)["requestBody"]
			if body == nil {
				continue
			}
			route := strings.ToUpper(method) + " " + path
			met = append(met, route)
			if _, known := bodies[route]; !known {
				t.Errorf("%s takes a body; say in this test whether a seal signs because of it", route)
			}
			for _, field := range g.api.fields(body, map[string]bool{}) {
				if digest.MatchString(field) {
					found = append(found, route+" "+field)
				}
			}
		}
	}
	if len(met) != len(bodies) {
		t.Errorf("routes with a body: %v", met)
	}
	if !slices.Equal(found, lookups) {
		t.Errorf("fields for digests: %v, want only %v", found, lookups)
	}
}

// fields are the names of all properties below a place of the document.
func (d *document) fields(v any, seen map[string]bool) (names []string) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			names = append(names, d.fields(item, seen)...)
		}
	case map[string]any:
		if ref, isRef := v["$ref"].(string); isRef && !seen[ref] {
			seen[ref] = true
			target, _ := d.at(split(ref)...)
			names = append(names, d.fields(target, seen)...)
		}
		for key, sub := range v {
			if key == "properties" {
				for name := range mapOf(sub) {
					names = append(names, name)
				}
			}
			names = append(names, d.fields(sub, seen)...)
		}
	}
	return names
}

// Every record of a release whose document was sealed names the seal's certificate.
func (g *gateway) sealings() (n int) {
	g.t.Helper()
	g.count(audit.OpRelease) // waits for what is queued
	ok(g.t, g.audit.Read(g.t.Context(), 0, g.audit.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Closed.SealCert != "" {
			n++
		}
		return nil
	}))
	return n
}

func TestOnlyAnExchangeMakesASealSign(t *testing.T) {
	g, clerk, a := desk(t, nil) // sessions, agents/connect
	clerk.read(a)               // read-sessions, attestation
	if n := g.sealings(); n != 0 {
		t.Errorf("%d signatures before an exchange", n)
	}
	r := g.sealed(t, clerk, a)
	sealed := g.sealings()
	if len(r.Document) == 0 || sealed == 0 {
		t.Fatalf("an exchange: %s, %d signatures", r.Code, sealed)
	}
	outside := g.as("")
	for name, call := range map[string]func() got{
		"verify a document": func() got {
			return outside.call(http.MethodPost, "/v1/verify", r.Document, "Content-Type", "application/pdf")
		},
		"verify a digest": func() got {
			return outside.call(http.MethodPost, "/v1/verify", map[string]string{"number": r.Number, "digest": base64.StdEncoding.EncodeToString(make([]byte, 32))}, "Content-Type", "application/json")
		},
		"a step about a seal": func() got { return g.step("security-1", "re", life.Suspend, life.Lost) },
		"a withdrawal": func() got {
			return g.withdraw("security-1", exchange.WithdrawalStatement{Action: exchange.WithdrawAsk, Number: r.Number, Reason: "WRONG_DATA", At: time.Now()})
		},
	} {
		if answer := call(); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", name, answer.StatusCode, answer.body)
		}
		if n := g.sealings(); n != sealed {
			t.Errorf("%s: %d signatures more", name, n-sealed)
		}
	}
}

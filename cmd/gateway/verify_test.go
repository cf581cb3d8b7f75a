package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"yizheng/identity/jose"
)

// TestVerify_AskedResponderThatGivesNoAnswerMakesNothingValid, whatever a list says.
func TestVerify_AskedResponderThatGivesNoAnswerMakesNothingValid(t *testing.T) {
	d := newSealDesk(t)
	d.issued()
	d.seal(0, "test", "applicant", "-out", d.path("good.pdf"), "mz")
	faulty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("no")) }))
	t.Cleanup(faulty.Close)
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	check := func(want int, args ...string) string {
		t.Helper()
		return d.run(want, append([]string{"verify", d.path("good.pdf"), "-trust", d.path("trust")}, args...)...)
	}
	if said := check(0); strings.Contains(said, "吊销：") {
		t.Errorf("offline: %s", said)
	}
	for _, tt := range []struct {
		name, ocsp, zh, en, from string
	}{
		{"down", down.URL, "未能查吊销，吊销服务：连接被拒绝", "the connection was refused", down.URL},
		{"faulty", faulty.URL, "不是 OCSP 答复", "no OCSP responder", faulty.URL},
		{"named by no certificate", "named", "没有可问的吊销服务", "no responder to ask", ""},
	} {
		if said := check(1, "-ocsp", tt.ocsp); !strings.Contains(said, "5. 签章者证书有效性 [未知]") || !strings.Contains(said, tt.zh) || !strings.Contains(said, "吊销：签章者证书") || !strings.Contains(said, tt.from) {
			t.Errorf("%s: %s", tt.name, said)
		}
		if said := check(1, "-ocsp", tt.ocsp, "-lang", "en"); !strings.Contains(said, "[unknown]") || !strings.Contains(said, tt.en) || !strings.Contains(said, "revocation: maker's certificate") {
			t.Errorf("%s: %s", tt.name, said)
		}
		if said := check(1, "-ocsp", tt.ocsp, "-json"); !strings.Contains(said, `"overall":false`) || !strings.Contains(said, `"stopped":5`) || !strings.Contains(said, `"revocation":[{"of":"signer","state":"unknown"`) {
			t.Errorf("%s: %s", tt.name, said)
		}
	}
}

// TestVerify_WhatWasAskedOnlineAndIsNotAnsweredDoesNotPass: the gateway is down, and
// offline the same file is good.
func TestVerify_WhatWasAskedOnlineAndIsNotAnsweredDoesNotPass(t *testing.T) {
	d := newSealDesk(t)
	d.issued()
	d.seal(0, "test", "applicant", "-out", d.path("good.pdf"), "mz")
	key, err := jose.GenerateKey()
	d.ok(err)
	down := httptest.NewTLSServer(http.NotFoundHandler())
	down.Close()
	good := []string{"verify", d.path("good.pdf"), "-trust", d.path("trust")}
	d.run(0, good...)
	online := append(good, "-online", down.URL)
	pinnedKey := append(slices.Clone(online), "-log-key", pinned(t, d.dir, "log", key))
	for _, tt := range []struct {
		name string
		args []string
		says []string
	}{
		{"asked", online, []string{"未知，不算通过"}},
		{"a proof demanded", pinnedKey, []string{"未知，不算通过", "日志：要求了证明（-log-key）而没有证明，不算通过"}},
		{"in English", append(slices.Clone(pinnedKey), "-lang", "en"), []string{"so this does not pass", "log: a proof was demanded (-log-key) and there is none"}},
		{"in JSON", append(slices.Clone(pinnedKey), "-json"), []string{`"log":{"result":"fail"`}},
	} {
		said := d.run(1, tt.args...)
		for _, want := range tt.says {
			if !strings.Contains(said, want) {
				t.Errorf("%s: does not say %q:\n%s", tt.name, want, said)
			}
		}
	}
}

package web_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// Under the pages' content security policy nothing but the style sheet would load; the pages do not try.
func TestPagesNeedNothingFromElsewhere(t *testing.T) {
	g := start(t, nil)
	foreign := regexp.MustCompile(`(?i)<script|<style|style=|\son[a-z]+=|(src|href)="(https?:)?//`)
	for path, says := range map[string]string{"/": "还没有交换", "/v/690100202611220004K7M2XQ9R1": "没有这个编号的签发记录"} {
		a := g.as("").call(http.MethodGet, path, nil)
		if m := foreign.Find(a.body); m != nil {
			t.Errorf("%s: %s", path, m)
		}
		if !strings.Contains(string(a.body), says) || !strings.Contains(string(a.body), `href="/assets/pages.css"`) {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	css := g.as("").call(http.MethodGet, "/assets/pages.css", nil)
	if strings.Contains(string(css.body), "url(") || strings.Contains(string(css.body), "@import") {
		t.Error("the style sheet loads something")
	}
}

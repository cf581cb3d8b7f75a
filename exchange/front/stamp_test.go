package front

import (
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/exchange"
	"yizheng/seal"
	"yizheng/seal/tsp"
	"yizheng/seal/tsp/tsptest"
)

// TestFrontStampsWhatItSeals, and does as configured when the authority is down: both
// logs say what came of it, and the gateway takes the document either way.
func TestFrontStampsWhatItSeals(t *testing.T) {
	for _, tt := range []struct {
		name           string
		mode           seal.Mode
		down, required bool
		code           exchange.Code
		atFront        string // in the front's seal log: a time, a word, or no entry
	}{
		{"in SES mode", seal.ModeSES, false, true, exchange.Found, "time"},
		{"in CMS mode", seal.ModeCMS, false, true, exchange.Found, "time"},
		{"authority down, on_failure proceed", seal.ModeSES, true, false, exchange.Found, "unavailable"},
		{"authority down, on_failure require", seal.ModeSES, true, true, exchange.SourceError, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			authority, m := tsptest.New(t), *seals
			m.mode, m.tsa = tt.mode, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Root.Raw})
			if tt.down {
				authority.Code = http.StatusServiceUnavailable
			}
			client, err := tsp.NewClient(tsp.Config{URL: authority.URL, RootCAs: authority.RootCAs, Timeout: 5 * time.Second})
			must(t, err)
			t.Cleanup(client.Close)
			m.stamps = &seal.TimeStamps{Client: client, Required: tt.required}
			h := newHallOf(t, &m)
			part, r := h.ask("UE-05")
			if part.Code != tt.code || (len(r.Document) > 0) != (tt.code == exchange.Found) {
				t.Fatalf("%+v\n%s", part, h.logged)
			}
			atFront := ""
			for _, use := range h.desk.entries(audit.OpSeal) {
				atFront = use.Closed.Stamp
			}
			if authority.Calls.Load() == 0 || !said(atFront, tt.atFront) {
				t.Errorf("the front's seal log says %q, want %q", atFront, tt.atFront)
			}
			if tt.code != exchange.Found {
				return
			}
			report := seal.Verify(r.Document, h.trust, time.Now())
			want := seal.Absent
			if tt.atFront == "time" {
				want = seal.OK
			}
			if got := report.Checks[seal.CheckStamp-1]; !report.Overall || got.Result != want {
				t.Errorf("check 8: %+v", got)
			}
			released := h.entries(audit.OpRelease, h.asked.Terms.Exchange)
			if len(released) != 1 || (released[0].Closed.Stamp == "") == (want == seal.OK) || want == seal.OK && released[0].Closed.Stamp != atFront {
				t.Errorf("the gateway's record says %+v, the front's %q", released, atFront)
			}
			if strings.Contains(h.logged.String()+h.desk.logged.String(), "level=ERROR") {
				t.Errorf("logged:\n%s%s", h.logged, h.desk.logged)
			}
		})
	}
}

// said compares what a record says of a time stamp; "time" is any.
func said(have, want string) bool {
	if want != "time" {
		return have == want
	}
	_, err := time.Parse(time.RFC3339, have)
	return err == nil
}

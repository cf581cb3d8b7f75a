package exchange

import (
	"testing"

	"yizheng/audit"
	"yizheng/catalog"
)

func TestTheIntentSaysWhichNoticeWasShown(t *testing.T) {
	for name, tt := range map[string]struct {
		item   catalog.Notice
		said   string
		want   string
		reason Reason
	}{
		"the item's, unsaid":               {catalog.Notice{ID: "N-PRH", Version: 3}, "", "N-PRH@3", ""},
		"the item's, said":                 {catalog.Notice{ID: "N-PRH", Version: 3}, "N-PRH@3", "N-PRH@3", ""},
		"out of date":                      {catalog.Notice{ID: "N-PRH", Version: 3}, "N-PRH@2", "", ReasonNotice},
		"another notice":                   {catalog.Notice{ID: "N-PRH", Version: 3}, "N-HPW@3", "", ReasonNotice},
		"the caller's, of an item without": {catalog.Notice{}, "HALL-7@12", "HALL-7@12", ""},
		"none":                             {catalog.Notice{}, "", "", ""},
		"free text":                        {catalog.Notice{}, "同意", "", ReasonInvalid},
		"a person's number":                {catalog.Notice{}, liNumber + "@1", "", ReasonInvalid},
	} {
		got, err := shown(catalog.Item{Notice: tt.item}, tt.said)
		if got != tt.want || reasonOf(err) != tt.reason || (err == nil) != (tt.reason == "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestTheNoticeIsInTheLogBeforeAnybodyIsAsked(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	req := c.request("ONE")
	req.Notice = "HALL-7@12"
	c.ended(req)
	for _, e := range c.entries(audit.OpQuery) {
		if want := map[audit.Phase]string{audit.PhaseIntent: "HALL-7@12"}[e.Open.Phase]; e.Open.Consent != want {
			t.Errorf("%s: %q", e.Open.Phase, e.Open.Consent)
		}
	}
}

func TestARequestRefusedForItsNoticeIsOnRecordAndAsksNobody(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	req := c.request("ONE")
	req.Notice = "not a notice"
	_, err := c.Exchange(t.Context(), c.who, req, "")
	if reasonOf(err) != ReasonInvalid || len(c.entries(audit.OpDeny)) != 1 || len(c.entries(audit.OpQuery)) != 0 {
		t.Errorf("%v", err)
	}
}

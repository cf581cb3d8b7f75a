package web_test

import (
	"net/http"
	"testing"

	"yizheng/audit"
	"yizheng/exchange"
)

// lookUps are the log's entries of public look-ups.
func (g *gateway) lookUps() []audit.Entry {
	var list []audit.Entry
	ok(g.t, g.audit.Read(g.t.Context(), 0, g.audit.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Open.Op == audit.OpVerify {
			list = append(list, e.Entry)
		}
		return nil
	}))
	return list
}

// Nobody looks up a number that no document bears, so that a looked-up number
// in the open half would tell that a sensitive proof was found.
func TestOpenHalfDoesNotNameWhatWasLookedUp(t *testing.T) {
	g, clerk, a := desk(t, nil)
	reply := newReplyKey(t)
	var x answer
	clerk.call(http.MethodPost, "/v1/exchanges", question(reply, clerk.read(a).Token), "Prefer", "wait=10").into(t, &x)
	r := g.open(reply, x.Results["RE-01"])
	if r.Code != exchange.Found {
		t.Fatal(r.Code)
	}
	g.verifyBoth(t, r)
	public := g.as("")
	want(t, public.call(http.MethodGet, "/v1/verify/690100202611220004K7M2XQ9R1", nil), http.StatusOK, "")
	list := g.lookUps()
	if len(list) != 6 {
		t.Fatalf("%d look-ups recorded, want 6", len(list))
	}
	for i, e := range list {
		named := r.Number
		if i == len(list)-1 {
			named = "" // not ours
		}
		if e.Open.Number != "" || e.Closed.Object != named && i != 1 { // the changed document may have lost its number
			t.Errorf("look-up %d: open %q, closed %q", i, e.Open.Number, e.Closed.Object)
		}
		if e.Open.Exchange+e.Open.Leg+e.Open.Proof+e.Open.Digest != "" {
			t.Errorf("look-up %d: %+v", i, e.Open)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/seal"
	"yizheng/seal/life"
	"yizheng/web/health"
)

func TestSealInUseWithoutAKeyAnywhereStopsTheStart(t *testing.T) {
	for name, c := range map[string]struct {
		front   catalog.FrontID
		state   seal.State
		keyHere bool
		refused bool
	}{
		"key here":            {"", seal.Issued, true, false},
		"kept at a front":     {"hr-front", seal.Issued, false, false},
		"revoked, key erased": {"", seal.Revoked, false, false},
		"nowhere":             {"", seal.Issued, false, true},
	} {
		err := keysHere([]catalog.Seal{{ID: "hr", Front: c.front}}, []seal.Info{{ID: "other"}, {ID: "hr", State: c.state, KeyHere: c.keyHere}}, false)
		if (err != nil) != c.refused || err != nil && !strings.Contains(err.Error(), "seal hr has no key here") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnprotectedKeyOfASealStopsProduction(t *testing.T) {
	have := []seal.Info{{ID: "hr", KeyHere: true}}
	if err := keysHere(nil, have, true); err == nil || !strings.Contains(err.Error(), "seal hr is not encrypted") {
		t.Errorf("in production: %v", err)
	}
	if err := keysHere(nil, have, false); err != nil {
		t.Errorf("in a demo: %v", err)
	}
}

// TestRemind_LogsWhatExpires once at the start, for a seal that ends in 20 days.
func TestRemind_LogsWhatExpires(t *testing.T) {
	d := newSealDesk(t)
	d.issued("-days", "20")
	seals, err := seal.OpenRegistry(d.path("seals"), seal.RegistryOptions{})
	d.ok(err)
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	remind(ctx, func(now time.Time) []health.End { return sealEnds(seals, now) }, slog.New(slog.NewTextHandler(&log, nil)))
	if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "name=mz") || !strings.Contains(said, "within=30") {
		t.Errorf("logged: %s", said)
	}
	if said := d.seal(0, "status", ""); !strings.Contains(said, "within 30") {
		t.Errorf("status: %s", said)
	}
}

// TestEndsAreShownByTheDayOfBeijing: what ends at midnight there ends on the day before
// in UTC.
func TestEndsAreShownByTheDayOfBeijing(t *testing.T) {
	at := time.Date(2026, 12, 31, 16, 0, 0, 0, time.UTC)
	var log, out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	remind(ctx, func(time.Time) []health.End { return []health.End{{What: "seal", Until: at, Days: -1}} }, slog.New(slog.NewTextHandler(&log, nil)))
	if !strings.Contains(log.String(), "on=2027-01-01") {
		t.Errorf("logged: %s", log.String())
	}
	printSeal(&out, life.Seal{Pending: &life.Change{Order: &life.Order{From: at.AddDate(-1, 0, 0), Until: at}}})
	if !strings.Contains(out.String(), "2026-01-01 – 2027-01-01") {
		t.Errorf("status: %s", out.String())
	}
}

// TestTrustEnds_AlertsBeforeACertificateEndsAndWhenAListIsOverdue, not while a list is
// simply as short-lived as lists are.
func TestTrustEnds_AlertsBeforeACertificateEndsAndWhenAListIsOverdue(t *testing.T) {
	d := newSealDesk(t)
	d.issued()
	d.publish(0)
	trust, err := seal.LoadTrust(d.path("trust"))
	d.ok(err)
	until := make(map[string]time.Time)
	for _, e := range trust.Ends() {
		until[e.What] = e.Until
	}
	at := func(what string, now time.Time) health.End {
		for _, e := range trustEnds(trust, now) {
			if e.What == what {
				return e
			}
		}
		t.Fatalf("%s is not among %v", what, until)
		return health.End{}
	}
	if e := at("trust.makers", until["trust.makers"].Add(-29*24*time.Hour)); e.Within != 30 || e.Days != 29 || e.Name != "maker.crt" {
		t.Errorf("a maker's certificate: %+v", e)
	}
	if e := at("trust.seals-status", until["trust.seals-status"].Add(-time.Hour)); e.Within != 0 || e.Days != 0 {
		t.Errorf("a list that is due: %+v", e)
	}
	if e := at("trust.seals-status", until["trust.seals-status"].Add(time.Hour)); e.Days != -1 {
		t.Errorf("a list that is overdue: %+v", e)
	}
}

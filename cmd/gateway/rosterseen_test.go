package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/audit/search"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

func TestAGatewayNoticesAnOlderRosterAfterARestart(t *testing.T) {
	const origin = "gw00.690100.example/audit"
	own, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	listed, err := search.NewKey(own.Public())
	if err != nil {
		t.Fatal(err)
	}
	var persons []staff.Person
	var signers []*jose.Key
	for _, name := range []string{"security-1", "security-2"} {
		k, err := jose.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		persons, signers = append(persons, staff.Person{Name: name, Role: staff.Security, Key: k.Public()}), append(signers, k)
	}
	register, err := staff.NewRegister(persons)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := &SearchConfig{Roster: filepath.Join(dir, "roster.json"), RosterSeen: filepath.Join(dir, "audit-roster")}
	use := func(number uint64) error {
		t.Helper()
		m, err := search.NewRoster(search.Roster{V: 1, Number: number, Created: time.Now(), Logs: []search.Listed{
			{Origin: origin, Kind: search.KindGateway, Name: "网关", Department: "11690100MB69001143", URL: "https://localhost:8443", Keys: []string{listed}}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range signers {
			if err := m.AddSignature(k, search.TypeRoster); err != nil {
				t.Fatal(err)
			}
		}
		data, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.Roster, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := c.roster(origin, register)
		if err != nil {
			return err
		}
		return rememberRoster(c.RosterSeen, *r)
	}
	for _, number := range []uint64{1, 3} {
		if err := use(number); err != nil {
			t.Fatal(err)
		}
	}
	if err := use(2); !errors.Is(err, search.ErrRosterOlder) {
		t.Errorf("an older roster: %v", err)
	}
	without := SearchConfig{RosterSeen: c.RosterSeen}
	if _, err := without.roster(origin, register); err == nil || !strings.Contains(err.Error(), "Put search.roster back") {
		t.Errorf("the roster was taken away: %v", err)
	}
	alone := SearchConfig{RosterSeen: filepath.Join(dir, "never")}
	if r, err := alone.roster(origin, register); r != nil || err != nil {
		t.Errorf("never a roster: %v, %v", r, err)
	}
	if err := os.WriteFile(c.RosterSeen, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := use(4); err == nil {
		t.Error("a number that cannot be read is passed over")
	}
}

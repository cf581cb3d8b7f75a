package adapters

import (
	"net/http"
	"testing"

	"yizheng/exchange"
)

func TestProbe_TellsWhetherADatabaseCouldBeAsked(t *testing.T) {
	s := memory(t, SQLConfig{})
	if err := s.Probe(t.Context(), fundSQL(`SELECT je AS v FROM account WHERE asked = :number`)); err != nil {
		t.Error(err)
	}
	for what, text := range map[string]string{"table": `SELECT je AS v FROM accounts WHERE asked = :number`, "column": `SELECT sum AS v FROM account WHERE asked = :number`,
		"person": `SELECT je AS v FROM account`} {
		if err := s.Probe(t.Context(), fundSQL(text)); err == nil {
			t.Errorf("no such %s, and could be asked", what)
		}
	}
	down := newSQL(t, SQLConfig{Driver: "pgx", DSN: "postgres://u@" + closedPort(t) + "/d"})
	wantKind(t, down.Probe(t.Context(), fundSQL(`SELECT 1 AS v WHERE '' = :number`)), exchange.ErrUnreachable)
}

func TestProbe_AsksThePlatformAboutNobody(t *testing.T) {
	config := fake(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	if err := newPlatform(t, config).Probe(t.Context(), fundEntry()); err != nil {
		t.Error(err)
	}
	config.URL = "https://" + closedPort(t)
	wantKind(t, newPlatform(t, config).Probe(t.Context(), fundEntry()), exchange.ErrUnreachable)
}

package adapters

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/deploy/simulators/localdb"
	"yizheng/deploy/simulators/systems"
	"yizheng/exchange"
)

// What the systems of this suite know: number asked -> code, person answered.
const (
	nobody      = "690102194802090015"
	stranger    = "69010319861230008X" // the answer is about 王芳
	waiting     = "690103195203010061"
	refused     = "690102200310190093"
	ambiguous   = "690102194802090090"
	unspoken    = "69010420000704001X" // a code nobody described
	textForNull = "69010219700101004X" // the number is null
)

// rig is one adapter with a peer that knows the people above.
type rig struct {
	source exchange.Source
	entry  catalog.Source
	slow   catalog.Source // an entry whose answer takes longer than a minute, or for ever
	down   exchange.Source
	auth   catalog.Authenticity
	broken catalog.Source // an entry that does not fit the adapter
}

func mappingOver(rows string) catalog.Mapping {
	first := rows + "[0].code"
	return catalog.Mapping{
		NotFoundWhen: rows + " == []", NotIssuableWhen: first + ` == "07"`, PendingWhen: first + ` == "06"`,
		MultipleWhen: first + ` == "09"`, FoundWhen: first + ` == "00"`,
		Records: rows, DataTime: rows + "[0].sjsj",
		Subject: catalog.SubjectMapping{Number: ".zjhm", Name: ".xm"},
		Fields:  map[string]string{"balance": ".je", "unit": ".dwmc"},
	}
}

const conformancePeople = `
province:
  services:
    fund:
      key: zjhm
      not_found: {data: []}
      records:
        - {number: "690102198503120016", answer: {data: [{code: "00", zjhm: "690102198503120016", xm: 李明, je: "96315.40", dwmc: null, bz: 备注, sjsj: "20261122100000"}]}}
        - {number: "69010319861230008X", answer: {data: [{code: "00", zjhm: "690102199011250046", xm: 王芳, je: "1.00", sjsj: "20261122100000"}]}}
        - {number: "69010219700101004X", answer: {data: [{code: "00", zjhm: null, xm: null, je: "1.00", sjsj: "20261122100000"}]}}
        - {number: "690103195203010061", answer: {data: [{code: "06"}]}}
        - {number: "690102200310190093", answer: {data: [{code: "07"}]}}
        - {number: "690102194802090090", answer: {data: [{code: "09"}]}}
        - {number: "69010420000704001X", answer: {data: [{code: "88", xm: 王㐂}]}}
    slow:
      key: zjhm
      not_found: {data: []}
      records:
        - {number: "690102198503120016", delay: 2m, answer: {}}
`

func platformRig(t *testing.T) rig {
	t.Helper()
	config := startProvince(t, conformancePeople)
	down := config
	down.URL = "https://" + closedPort(t)
	entry := catalog.Source{ID: "fund-p", Answer: mappingOver(".data"), Query: catalog.Query{
		Service: "fund", Params: map[string]string{"zjhm": "number", "xm": "name", "lx": "=1"}}}
	slow, wrong := entry, entry
	slow.ID, slow.Query.Service = "slow-p", "slow"
	wrong.ID, wrong.Query.Params = "wrong-p", map[string]string{"xm": "name"}
	return rig{newPlatform(t, config), entry, slow, newPlatform(t, down), catalog.AuthPeerMAC, wrong}
}

var conformanceTables = map[string]systems.Table{"account": {
	Columns: []string{"asked TEXT", "code TEXT", "zjhm TEXT", "xm TEXT", "je TEXT", "dwmc TEXT", "bz TEXT", "sjsj TEXT"},
	Rows: [][]any{
		{liMing, "00", liMing, "李明", "96315.40", nil, "备注", "20261122100000"},
		{stranger, "00", wangFang, "王芳", "1.00", nil, nil, "20261122100000"},
		{textForNull, "00", nil, nil, "1.00", nil, nil, "20261122100000"},
		{waiting, "06", nil, nil, nil, nil, nil, nil},
		{refused, "07", nil, nil, nil, nil, nil, nil},
		{ambiguous, "09", nil, nil, nil, nil, nil, nil},
		{unspoken, "88", nil, "王㐂", nil, nil, nil, nil},
	},
}}

const conformanceSQL = `SELECT code, zjhm, xm, je, dwmc, bz, sjsj FROM account WHERE asked = :number`

func sqlRig(t *testing.T) rig {
	t.Helper()
	db, err := localdb.LoadMemory(t.Context(), "fund", systems.Database{Tables: conformanceTables})
	if err != nil {
		t.Fatal(err)
	}
	entry := catalog.Source{ID: "fund-s", Answer: mappingOver(".data"), Query: catalog.Query{SQL: conformanceSQL}}
	slow, wrong := entry, entry
	slow.ID = "slow-s"
	slow.Query.SQL = `WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) AS code FROM n WHERE :number <> ''`
	wrong.ID, wrong.Query.SQL = "wrong-s", `SELECT 1`
	down := newSQL(t, SQLConfig{Driver: "sqlite", DSN: t.TempDir() + "/no/such.db"})
	return rig{newSQL(t, SQLConfig{Driver: "sqlite", DB: db}), entry, slow, down, catalog.AuthChannel, wrong}
}

func TestPlatform_Conforms(t *testing.T) { conform(t, platformRig(t)) }
func TestSQL_Conforms(t *testing.T)      { conform(t, sqlRig(t)) }

// conform is what the exchange relies on, whatever the adapter.
func conform(t *testing.T, r rig) {
	t.Run("states are told apart", func(t *testing.T) {
		for number, state := range map[string]exchange.State{
			liMing: exchange.StateFound, nobody: exchange.StateNotFound, waiting: exchange.StatePending,
			refused: exchange.StateNotIssuable, ambiguous: exchange.StateMultiple, stranger: exchange.StateFound,
		} {
			a, err := r.source.Query(t.Context(), askFor(t, r.entry, number))
			if err != nil || a.State != state || a.Authenticity != r.auth {
				t.Errorf("got %s %s, %v; want %s", a.State, a.Authenticity, err, state)
			}
			if (a.State == exchange.StateFound) != (len(a.Records) == 1) {
				t.Errorf("%s with %d records", a.State, len(a.Records))
			}
		}
	})
	t.Run("fields are mapped exactly and nothing else", func(t *testing.T) {
		a, err := r.source.Query(t.Context(), askFor(t, r.entry, liMing))
		if err != nil {
			t.Fatal(err)
		}
		rec := a.Records[0]
		got, err := json.Marshal(rec.Fields)
		if err != nil || string(got) != `{"balance":"96315.40"}` || rec.Number != liMing || rec.Name != "李明" {
			t.Errorf("record %s %s %s, %v", rec.Number, rec.Name, got, err)
		}
		if want := time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC); !a.DataTime.Equal(want) {
			t.Errorf("data time %v", a.DataTime)
		}
	})
	t.Run("another person's answer passes unjudged", func(t *testing.T) {
		a, err := r.source.Query(t.Context(), askFor(t, r.entry, stranger))
		if err != nil || a.Records[0].Number != wangFang || a.Records[0].Name != "王芳" {
			t.Errorf("%v, %v", a.State, err)
		}
		a, err = r.source.Query(t.Context(), askFor(t, r.entry, textForNull))
		if err != nil || a.Records[0].Number != "" || a.Records[0].Name != "" {
			t.Errorf("a source that does not say whom: %v, %v", a.State, err)
		}
	})
	t.Run("an undescribed answer is an error that tells nothing", func(t *testing.T) {
		_, err := r.source.Query(t.Context(), askFor(t, r.entry, unspoken))
		wantKind(t, err, ErrAnswer)
	})
	t.Run("an entry that does not fit is refused", func(t *testing.T) {
		_, err := r.source.Query(t.Context(), askFor(t, r.broken, liMing))
		wantKind(t, err, ErrSource)
	})
	t.Run("the deadline ends a slow question", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		started := time.Now()
		_, err := r.source.Query(ctx, askFor(t, r.slow, liMing))
		wantKind(t, err, context.DeadlineExceeded)
		if took := time.Since(started); took > 30*time.Second { // the answer would take longer than a minute
			t.Errorf("took %v", took)
		}
		if _, err := r.source.Query(t.Context(), askFor(t, r.entry, liMing)); err != nil {
			t.Errorf("the next question: %v", err)
		}
	})
	t.Run("a peer that is down is unreachable, and soon at once", func(t *testing.T) {
		for range 6 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := r.down.Query(ctx, askFor(t, r.entry, liMing))
			cancel()
			wantKind(t, err, exchange.ErrUnreachable)
		}
	})
	t.Run("many ask at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 64 {
			number := []string{liMing, stranger, nobody, waiting}[i%4]
			wg.Go(func() {
				a, err := r.source.Query(t.Context(), askFor(t, r.entry, number))
				if err != nil {
					t.Error(err)
				} else if number == liMing && a.Records[0].Number != liMing {
					t.Error("one question got another's answer")
				}
			})
		}
		wg.Wait()
	})
}

// wantKind checks an error's kind, that it is of no other, and that it names nobody.
func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	for _, k := range []error{exchange.ErrUnreachable, context.DeadlineExceeded, ErrAnswer, ErrSource} {
		if errors.Is(err, k) != (k == kind) {
			t.Fatalf("error %v, want %v alone", err, kind)
		}
	}
	for _, secret := range []string{"690", "李", "王", "96315"} {
		if strings.Contains(strings.ReplaceAll(err.Error(), "690100-yizheng", ""), secret) {
			t.Fatalf("error tells of a person: %v", err)
		}
	}
}

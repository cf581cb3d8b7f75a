package catalog_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/itchyny/gojq"

	"yizheng/catalog"
	"yizheng/deploy/simulators/localdb"
	"yizheng/deploy/simulators/systems"
	"yizheng/identity"
)

const demo = "../configs/demo"

type people struct {
	People []card `yaml:"people"`
}

type card struct {
	ID          string `yaml:"id"`
	Layout      string `yaml:"layout"`
	Card        *bool  `yaml:"card"`
	Name        string `yaml:"name"`
	Number      string `yaml:"number"`
	Sex         string `yaml:"sex"`
	Nation      string `yaml:"nation"`
	Birth       string `yaml:"birth"`
	Address     string `yaml:"address"`
	Issuer      string `yaml:"issuer"`
	ValidFrom   string `yaml:"valid_from"`
	ValidTo     string `yaml:"valid_to"`
	Permit      string `yaml:"permit"`
	Issues      string `yaml:"issues"`
	EnglishName string `yaml:"english_name"`
	Nationality string `yaml:"nationality"`
	Version     string `yaml:"version"`
	PastLink    string `yaml:"past_link"`
}

type expectation struct {
	Person    string                  `yaml:"person"`
	With      map[catalog.Role]string `yaml:"with"`
	Item      catalog.ItemCode        `yaml:"item"`
	Situation catalog.SituationCode   `yaml:"situation"`
	Proofs    map[string]string       `yaml:"proofs"`
}

// town is the demo city as its files describe it, asked without any network.
type town struct {
	*catalog.Catalogue
	systems systems.City
	cards   map[string]card
	local   map[string]*sql.DB
}

func openTown(t *testing.T) *town {
	t.Helper()
	c, err := catalog.Load(demo+"/catalog", catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := &town{Catalogue: c, cards: map[string]card{}, local: map[string]*sql.DB{}}
	var file people
	read(t, "people.yaml", &file)
	for _, p := range file.People {
		v.cards[p.ID] = p
	}
	if v.systems, err = systems.Read(demo + "/systems"); err != nil {
		t.Fatal(err)
	}
	for name, l := range v.systems.Databases {
		l.Slow = nil // raw knows of it and need not wait
		db, err := localdb.LoadMemory(t.Context(), name, l)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		v.local[name] = db
	}
	return v
}

func read(t *testing.T, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(demo, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(text, v, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
}

// The catalogue's mappings, the people's data and expect.yaml have to agree
// before any process is started. This is no second exchange: it follows the
// mappings just far enough to know the code.
func TestDemoDataGivesWhatIsExpected(t *testing.T) {
	v := openTown(t)
	var file struct {
		Expect  []expectation `yaml:"expect"`
		Refused []struct {
			Person string `yaml:"person"`
			Reason string `yaml:"reason"`
		} `yaml:"refused"`
	}
	read(t, "expect.yaml", &file)
	seen, had := map[string]bool{}, map[string]bool{} // codes, persons and situations; proofs that somebody has
	for _, r := range file.Refused {
		seen[r.Person] = true
	}
	for _, e := range file.Expect {
		item, ok := v.Item(e.Item)
		situation, found := item.Situation(e.Situation)
		if !ok || !found || v.cards[e.Person].ID == "" {
			t.Fatalf("%s %s/%s: unknown", e.Person, e.Item, e.Situation)
		}
		subjects := map[catalog.Role]string{catalog.RoleApplicant: e.Person}
		maps.Copy(subjects, e.With)
		seen[string(e.Item)+"/"+string(e.Situation)] = true
		for _, person := range subjects {
			seen[person] = true
		}
		if got := slices.Sorted(maps.Keys(subjects)); !slices.Equal(got, slices.Sorted(slices.Values(item.RolesIn(situation)))) {
			t.Errorf("%s %s: roles %v, want those of the situation", e.Person, e.Item, got)
		}
		got := map[string]string{}
		for _, code := range situation.Proofs() {
			proof, _ := v.Proof(code)
			for role, person := range subjects {
				key := string(code)
				if role != catalog.RoleApplicant {
					key += "@" + string(role)
				}
				if proof.SubjectRole == catalog.SubjectAny || proof.SubjectRole == role {
					got[key] = v.ask(t, v.cards[person], e.Item, proof)
					seen[got[key]] = true
					had[string(code)] = had[string(code)] || got[key] == "FOUND"
				}
			}
		}
		if !maps.Equal(got, e.Proofs) {
			t.Errorf("%s %s/%s:\ngot  %v\nwant %v", e.Person, e.Item, e.Situation, got, e.Proofs)
		}
	}
	v.covered(t, seen, had)
}

// covered: everything there is occurs in expect.yaml.
func (v *town) covered(t *testing.T, seen, had map[string]bool) {
	t.Helper()
	for _, code := range gravity {
		if !seen[code] {
			t.Errorf("nobody gets %s", code)
		}
	}
	for id := range v.cards {
		if !seen[id] {
			t.Errorf("nothing is expected of %s", id)
		}
	}
	for _, item := range v.Items {
		for _, s := range item.Situations {
			if !seen[string(item.Code)+"/"+string(s.Code)] {
				t.Errorf("nobody is in %s/%s", item.Code, s.Code)
			}
		}
	}
	for _, p := range v.Proofs {
		never := p.Code == "DC-01" || p.Code == "MI-01" // granted to nobody; the line that is down
		if had[string(p.Code)] == never {
			t.Errorf("%s is found: %v", p.Code, !never)
		}
	}
}

var gravity = []string{"MISMATCH", "FOUND", "MULTIPLE", "NOT_ISSUABLE", "PENDING", "SOURCE_ERROR", "TIMEOUT", "UNREACHABLE", "NOT_FOUND", "GLYPH_MISSING", "DENIED"}

func (v *town) ask(t *testing.T, p card, item catalog.ItemCode, proof catalog.Proof) string {
	t.Helper()
	if _, ok := v.GrantFor("window-hall", item, proof.Code); !ok {
		return "DENIED"
	}
	codes, records, name := map[string]bool{}, 0, p.Name
	for _, id := range proof.Sources {
		source, _ := v.Source(id)
		code, n, theirs := v.source(t, p, proof, source)
		codes[code] = true
		if records += n; theirs != "" {
			name = theirs
		}
	}
	for _, code := range gravity {
		switch {
		case !codes[code]:
		case code == "FOUND" && records > proof.Cardinality.Max:
			return "MULTIPLE"
		case code == "FOUND" && strings.ContainsFunc(name, func(r rune) bool { return r >= 0xE000 && r <= 0xF8FF }):
			return "GLYPH_MISSING"
		default:
			return code
		}
	}
	return ""
}

// source is one leg: its code, its records, and the name if the source's counts.
func (v *town) source(t *testing.T, p card, proof catalog.Proof, s catalog.Source) (code string, n int, name string) {
	raw, code := v.raw(t, p, s)
	if code != "" {
		return code, 0, ""
	}
	m := s.Answer
	for _, c := range []struct{ expr, code string }{
		{m.NotFoundWhen, "NOT_FOUND"}, {m.NotIssuableWhen, "NOT_ISSUABLE"}, {m.PendingWhen, "PENDING"}, {m.MultipleWhen, "MULTIPLE"}, {m.FoundWhen, "FOUND"},
	} {
		if c.expr != "" && jq(t, c.expr, raw) == true {
			code = c.code
			break
		}
	}
	if code == "" {
		return "SOURCE_ERROR", 0, ""
	}
	if s, _ := jq(t, m.DataTime, raw).(string); len(s) != 14 {
		t.Errorf("%s: data time %q", proof.Code, s)
	}
	if code != "FOUND" {
		return code, 0, ""
	}
	records, _ := jq(t, m.Records, raw).([]any)
	for _, r := range records {
		fields := map[string]any{}
		for field, expr := range m.Fields {
			if value := jq(t, expr, r); value != nil {
				fields[field] = value
			}
		}
		number, _ := jq(t, m.Subject.Number, r).(string)
		theirs, _ := jq(t, m.Subject.Name, r).(string)
		same, taken := v.about(t, p, m.Accept15, number, theirs)
		if !same {
			return "MISMATCH", 0, ""
		}
		name = taken
		if err := v.ValidateRecord(proof.Code, fields); errors.Is(err, catalog.ErrRecord) {
			return "SOURCE_ERROR", 0, ""
		}
	}
	return "FOUND", len(records), name
}

func (v *town) about(t *testing.T, p card, accept15 bool, number, name string) (same bool, taken string) {
	t.Helper()
	own, _, err := identity.ParseNumber(p.Number)
	if err != nil {
		t.Fatalf("%s: %v", p.ID, err)
	}
	old, has := own.Old15()
	if number != p.Number && !(accept15 && has && number == old) {
		return false, ""
	}
	switch identity.CompareNames(identity.NewName(p.Name), name, v.Runes()) {
	case identity.NameConflict:
		return false, ""
	case identity.NameMapped:
		return true, name
	}
	return true, ""
}

// raw is the source's answer as plain JSON, or the code where there is none.
func (v *town) raw(t *testing.T, p card, s catalog.Source) (any, string) {
	t.Helper()
	if db := v.local[s.Connection]; db != nil {
		if v.systems.Databases[s.Connection].Slow[p.Number] > s.Limit(v.Deadlines) && s.Deferred == 0 {
			return nil, "TIMEOUT"
		}
		return map[string]any{"data": rows(t, db, s.Query.SQL, p.Number)}, ""
	}
	service, ok := v.systems.Services[s.Query.Service]
	if s.Connection != "province" {
		return nil, "UNREACHABLE"
	} else if !ok || s.Query.Params[service.Key] != "number" {
		t.Fatalf("service %s is not there, or asked by something else than its key", s.Query.Service)
	}
	answer := service.NotFound
	for _, r := range service.Records {
		switch {
		case r.Number != p.Number:
		case r.Delay > s.Limit(v.Deadlines):
			return nil, "TIMEOUT"
		case r.Status != 0 || r.Body != "":
			return nil, "SOURCE_ERROR"
		default:
			answer = r.Answer
		}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), "{now}", "20261122103000")), &plain); err != nil {
		t.Fatal(err)
	}
	return plain, ""
}

func rows(t *testing.T, db *sql.DB, query, number string) []any {
	t.Helper()
	own, _, err := identity.ParseNumber(number)
	if err != nil {
		t.Fatal(err)
	}
	old, _ := own.Old15()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	args := []any{sql.Named("number", number)}
	if strings.Contains(query, ":number15") {
		args = append(args, sql.Named("number15", old))
	}
	found, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	list := []any{}
	for found.Next() {
		cells, pointers := make([]any, len(columns)), make([]any, len(columns))
		for i := range cells {
			pointers[i] = &cells[i]
		}
		if err := found.Scan(pointers...); err != nil {
			t.Fatal(err)
		}
		row := map[string]any{}
		for i, name := range columns {
			row[name] = cells[i]
		}
		list = append(list, row)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func jq(t *testing.T, expr string, input any) any {
	t.Helper()
	q, err := gojq.Parse(expr)
	if err != nil {
		t.Fatal(err)
	}
	value, _ := q.Run(input).Next()
	if _, failed := value.(error); failed {
		return nil
	}
	return value
}

func TestDemoCityIsLargeEnough(t *testing.T) {
	c, err := catalog.Load(demo+"/catalog", catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	routes := map[catalog.RouteClass]int{}
	for _, s := range c.Sources {
		routes[s.Route]++
	}
	if len(c.Departments) < 24 || len(c.Proofs) < 19 || len(c.Items) < 10 || len(routes) < 4 {
		t.Errorf("%d departments, %d proofs, %d items, sources by route %v", len(c.Departments), len(c.Proofs), len(c.Items), routes)
	}
	var file people
	read(t, "people.yaml", &file)
	for _, p := range file.People {
		if _, _, err := identity.ParseNumber(p.Number); err != nil {
			t.Errorf("%s: %v", p.ID, err)
		}
	}
}

//go:build e2e

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/cmd/gateway/demo"
	"yizheng/exchange"
)

// expectation is a line of expect.yaml.
type expectation struct {
	Person    string                   `yaml:"person"`
	With      map[string]string        `yaml:"with"` // role -> person
	Item      string                   `yaml:"item"`
	Situation string                   `yaml:"situation"`
	Proofs    map[string]exchange.Code `yaml:"proofs"` // part -> code
}

// person is whose card a part is about.
func (e expectation) person(part string) string {
	if _, role, ok := strings.Cut(part, "@"); ok {
		return e.With[role]
	}
	return e.Person
}

// handed is one result a clerk got.
type handed struct {
	name   string // for messages and file names: case, matter and part
	person string
	item   string
	want   exchange.Code // before PENDING hides NOT_ISSUABLE
	exchange.Result
	view json.RawMessage // the part as GET of the exchange shows it
}

// expectations is expect.yaml.
type expectations struct {
	Expect  []expectation `yaml:"expect"`
	Refused []struct {
		Person string `yaml:"person"`
		Reason string `yaml:"reason"`
	} `yaml:"refused"`
}

// TestExpectations runs the demo city and asks for every person what
// expect.yaml says, as a clerk does, through HTTPS. What has been handed over
// is then verified by every means there is, and what the city wrote is
// searched for the people.
func TestExpectations(t *testing.T) {
	city, home := startCity(t)
	all := append(places{cityFiles(home), spoolFiles(city), frontFiles(city), sqliteFile(city)}, auditPlaces(home)...)
	clerk, err := city.Login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	results := meetExpectations(t, city, home, clerk)
	t.Run("nothing of the people on disk while running", func(t *testing.T) { all.clean(t) })
	if err := city.Stop(); err != nil {
		t.Fatal(err)
	}
	all = append(all, copyLog(t, city, home)...)
	t.Run("nothing of the people is left", func(t *testing.T) { all.clean(t) })
	t.Run("what is planted is found", func(t *testing.T) { all.findPlanted(t) })
	t.Run("the log is whole", func(t *testing.T) { auditedAll(t, city, results) })
}

// meetExpectations holds a city against expect.yaml, and its documents, which
// go to home/out, against everything that can be known of them.
func meetExpectations(t *testing.T, city *demo.City, home string, clerk *demo.Clerk) []handed {
	began := time.Now()
	var expect expectations
	readYAML(t, "expect.yaml", &expect)
	results := askAll(t, clerk, doorOf(t, city, "clerk-01"), expect.Expect)
	t.Logf("%d exchanges, %d results, in %v", len(expect.Expect), len(results), time.Since(began))
	if took := time.Since(began); took > 3*time.Minute {
		t.Errorf("took %v, want less than 3 minutes", took)
	}
	t.Run("every code occurs", func(t *testing.T) { everyCode(t, expect.Expect) })
	t.Run("NOT_ISSUABLE and PENDING look the same", func(t *testing.T) { sameToTheEye(t, results) })
	t.Run("together", func(t *testing.T) {
		t.Run("refused cards", func(t *testing.T) {
			t.Parallel() // a reader that waits for a card in vain takes a minute
			for _, r := range expect.Refused {
				t.Run(r.Person, func(t *testing.T) { refusedCard(t, clerk, r.Person, r.Reason) })
			}
		})
		t.Run("documents", func(t *testing.T) {
			t.Parallel()
			checkDocuments(t, city, filepath.Join(home, "out"), results)
		})
	})
	return results
}

// askAll does every line, some at a time: most of it is waiting for departments.
func askAll(t *testing.T, clerk *demo.Clerk, raw *door, lines []expectation) []handed {
	t.Helper()
	const atOnce = 4
	var (
		results = make([][]handed, len(lines))
		places  = make(chan struct{}, atOnce)
		readers sync.Mutex // of the two windows, which one card at a time is laid on
		going   sync.WaitGroup
	)
	for i, e := range lines {
		places <- struct{}{}
		going.Go(func() {
			defer func() { <-places }()
			t.Run(fmt.Sprintf("%s %s %s", e.Person, e.Item, e.Situation), func(t *testing.T) {
				results[i] = ask(t, clerk, &readers, raw.of(t), e, fmt.Sprintf("E2E-%03d", i+1))
			})
		})
	}
	going.Wait()
	return slices.Concat(results...)
}

// ask does one line as a clerk does and compares it.
func ask(t *testing.T, clerk *demo.Clerk, readers *sync.Mutex, raw *door, e expectation, number string) []handed {
	c := demo.Case{Item: e.Item, Situation: e.Situation, Purpose: "P-" + e.Item, Cards: []demo.Card{{Role: "applicant", Person: e.Person}}}
	for role, person := range e.With {
		c.Cards = append(c.Cards, demo.Card{Role: role, Person: person})
	}
	readers.Lock()
	tokens, err := clerk.Read(t.Context(), c, number)
	readers.Unlock()
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	began := time.Now()
	a, err := clerk.Begin(t.Context(), c, number, tokens)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	if err := clerk.Follow(t.Context(), a.Exchange, func(string, exchange.PartView) {}); err != nil {
		t.Fatalf("follow: %v", err)
	}
	if a, err = clerk.Fetch(t.Context(), a.Exchange); err != nil {
		t.Fatal(err)
	}
	if a.State != "ended" || a.Sufficient == nil {
		t.Errorf("state %q after the last event", a.State)
	}
	got := make(map[string]exchange.Code)
	for _, p := range a.Parts {
		got[p.Part] = p.Code
		if p.Sentence == "" || strings.ContainsAny(p.Sentence, "{}") {
			t.Errorf("%s: sentence %q", p.Part, p.Sentence)
		}
	}
	want := make(map[string]exchange.Code)
	for part, code := range e.Proofs {
		want[part] = code.Shown()
	}
	if !maps.Equal(got, want) {
		t.Errorf("codes\n got %v\nwant %v", got, want)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("took %v; the longest deadline is 8 s, and a deferred question takes 5 s", took)
	}
	return fetchAll(t, clerk, raw, e, a, number)
}

// fetchAll gets every part's result.
func fetchAll(t *testing.T, clerk *demo.Clerk, raw *door, e expectation, a demo.Answer, number string) []handed {
	var bare struct {
		Parts []json.RawMessage `json:"parts"`
	}
	raw.call("GET", "/v1/exchanges/"+a.Exchange, nil).into(t, &bare)
	var list []handed
	for i, p := range a.Parts {
		r, err := clerk.Result(t.Context(), a.Exchange, p.Part)
		if err != nil {
			t.Errorf("%s: %v", p.Part, err)
			continue
		}
		h := handed{name: number + " " + e.Item + " " + p.Part, person: e.person(p.Part), item: e.Item, want: e.Proofs[p.Part], Result: r, view: bare.Parts[i]}
		if r.Code != p.Code || r.Sentence != p.Sentence || r.Part != p.Part || r.Exchange != a.Exchange {
			t.Errorf("%s: result and progress differ: %s %q, %s %q", h.name, r.Code, r.Sentence, p.Code, p.Sentence)
		}
		if (r.Document != nil) != (h.want == exchange.Found) || (r.Data != "") != (h.want == exchange.Found || h.want == exchange.GlyphMissing) {
			t.Errorf("%s: %s with document %v, data %v", h.name, h.want, r.Document != nil, r.Data != "")
		}
		list = append(list, h)
	}
	return list
}

// refusedCard: a card that has to fail before anything is asked.
func refusedCard(t *testing.T, clerk *demo.Clerk, person, reason string) {
	card := demo.Card{Role: "applicant", Person: person}
	c := demo.Case{Item: "PRH", Situation: "LOCAL", Purpose: "P-PRH", Cards: []demo.Card{card}}
	failure := map[string]string{"expired": "CARD_EXPIRED", "no-card": "NO_CARD"}[reason]
	if failure == "" {
		t.Fatalf("expect.yaml: unknown reason %q", reason)
	}
	tokens, err := clerk.Read(t.Context(), c, "E2E-REFUSED")
	if !errors.Is(err, demo.ErrRead) || !strings.Contains(err.Error(), failure) || len(tokens) > 0 {
		t.Errorf("read: %v, want %s", err, failure)
	}
}

// everyCode: every code that the routes can give is in expect.yaml.
func everyCode(t *testing.T, lines []expectation) {
	seen, total := make(map[exchange.Code]int), 0
	for _, e := range lines {
		for _, code := range e.Proofs {
			seen[code]++
			total++
		}
	}
	for _, code := range []exchange.Code{exchange.Found, exchange.NotFound, exchange.Multiple, exchange.Mismatch, exchange.Pending,
		exchange.NotIssuable, exchange.Timeout, exchange.Unreachable, exchange.SourceError, exchange.Denied, exchange.GlyphMissing} {
		if seen[code] == 0 {
			t.Errorf("%s never occurs", code)
		}
	}
	if seen[exchange.Found]*2 < total {
		t.Errorf("%d of %d are FOUND, want most", seen[exchange.Found], total)
	}
}

// sameToTheEye compares what a caller gets for NOT_ISSUABLE and for PENDING, numbers and times apart.
func sameToTheEye(t *testing.T, results []handed) {
	faces := make(map[exchange.Code]map[string]string)
	for _, h := range results {
		if h.want != exchange.Pending && h.want != exchange.NotIssuable {
			continue
		}
		if faces[h.want] == nil {
			faces[h.want] = make(map[string]string)
		}
		if h.ManualNumber == "" {
			t.Errorf("%s: no number to come back with", h.name)
		}
		r := h.Result
		r.Exchange, r.Receipt = "", ""
		r.Pad = ""    // it makes up for the receipt, whose length differs
		clear(r.Seed) // random, of one length
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b) + "\n" + withoutMillis(t, h.view)
		faces[h.want][h.Part] = strings.ReplaceAll(text, h.ManualNumber, "NUMBER")
	}
	compared := 0
	for part, face := range faces[exchange.NotIssuable] {
		pending, ok := faces[exchange.Pending][part]
		if !ok {
			continue
		}
		compared++
		if face != pending {
			t.Errorf("%s\nNOT_ISSUABLE %s\nPENDING      %s", part, face, pending)
		}
	}
	if compared == 0 {
		t.Error("no proof is NOT_ISSUABLE for one person and PENDING for another; nothing was compared")
	}
}

// withoutMillis is JSON with every member "ms" removed.
func withoutMillis(t *testing.T, raw json.RawMessage) string {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	var strip func(v any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "ms")
			for _, e := range v {
				strip(e)
			}
		case []any:
			for _, e := range v {
				strip(e)
			}
		}
	}
	strip(v)
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// demoCatalogue is the catalogue as its files say it.
func demoCatalogue(t *testing.T) *catalog.Catalogue {
	t.Helper()
	c, err := catalog.Load(filepath.Join(demoConfigs, "catalog"), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shardOf is the only shard of the city's log.
func shardOf(t *testing.T, city *demo.City) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(city.State, "audit"))
	if err != nil {
		t.Fatal(err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !e.IsDir() })
	if len(entries) != 1 {
		t.Fatalf("%d shards", len(entries))
	}
	return filepath.Join(city.State, "audit", entries[0].Name())
}

package adapters

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"yizheng/catalog"
	"yizheng/deploy/simulators/localdb"
	"yizheng/deploy/simulators/systems"
	"yizheng/exchange"
	"yizheng/identity"
)

// The demo city's entries fit their adapters, and its systems' answers the
// entries: every source finds somebody, says "not found" of somebody, and fails
// in no way but those that an answer nobody described may have.
func TestDemoCity_EverySourceFindsSomebodyAndNotEverybody(t *testing.T) {
	demo := filepath.Join("..", "configs", "demo")
	connections := map[string]exchange.Source{"province": newPlatform(t, startProvinceWith(t, filepath.Join(demo, "systems")))}
	city, err := systems.Read(filepath.Join(demo, "systems"))
	if err != nil {
		t.Fatal(err)
	}
	for name, local := range city.Databases {
		db, err := localdb.LoadMemory(t.Context(), name, local)
		if err != nil {
			t.Fatal(err)
		}
		connections[name] = newSQL(t, SQLConfig{Driver: "sqlite", DB: db})
	}
	persons := demoPersons(t, filepath.Join(demo, "people.yaml"))
	book, err := catalog.Load(filepath.Join(demo, "catalog"), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range book.Sources {
		peer := connections[src.Connection]
		if peer == nil {
			continue // an address where nobody listens
		}
		t.Run(string(src.ID), func(t *testing.T) {
			t.Parallel()
			seen := map[exchange.State]int{}
			var last error
			for _, within := range []time.Duration{500 * time.Millisecond, 10 * time.Second} { // on a slow machine once more
				for _, p := range persons {
					ctx, cancel := context.WithTimeout(t.Context(), within)
					a, err := peer.Query(ctx, exchange.Ask{Source: src, Subject: p})
					cancel()
					if errors.Is(err, ErrSource) || errors.Is(err, exchange.ErrUnreachable) {
						t.Fatal(err)
					}
					if err != nil {
						last = err
						continue
					}
					seen[a.State]++
				}
				// a source that never says "not found" has others wait
				if seen[exchange.StateFound] > 0 && seen[exchange.StateNotFound]+seen[exchange.StatePending] > 0 {
					return
				}
			}
			t.Errorf("%d persons: %v, last error %v", len(persons), seen, last)
		})
	}
}

func demoPersons(t *testing.T, path string) (persons []identity.Person) {
	t.Helper()
	people, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		People []struct{ Number, Name string } `yaml:"people"`
	}
	if err := yaml.Unmarshal(people, &file); err != nil {
		t.Fatal(err)
	}
	for _, p := range file.People {
		if n, _, err := identity.ParseNumber(p.Number); err == nil { // some are there to be refused
			persons = append(persons, identity.Person{Type: n.Type(), Number: n, Name: identity.NewName(p.Name)})
		}
	}
	if len(persons) < 10 {
		t.Fatalf("%d persons", len(persons))
	}
	return persons
}

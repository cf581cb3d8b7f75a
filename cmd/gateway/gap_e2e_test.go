//go:build e2e

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/cmd/gateway/demo"
	"yizheng/cmd/gateway/setup"
	"yizheng/exchange"
)

const landFront catalog.FrontID = "land-front"

// The relay is killed at any point while questions cross. Each is answered all
// the same, and the department asked once.
func TestKilledRelayLosesNoQuestion(t *testing.T) {
	city, _ := startCity(t)
	clerk, err := city.Login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q := questionTo(t, landFront)
	const kills = 20
	began := time.Now()
	for i := range kills {
		number := fmt.Sprintf("KILL-%d", i)
		tokens, err := clerk.Read(t.Context(), q.matter, number)
		if err != nil {
			t.Fatal(err)
		}
		a, err := clerk.Begin(t.Context(), q.matter, number, tokens)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(60 * time.Millisecond))
		if err := errors.Join(city.KillProgram(demo.Relay, landFront), city.StartProgram(t.Context(), demo.Relay, landFront)); err != nil {
			t.Fatal(err)
		}
		if err := clerk.Follow(t.Context(), a.Exchange, func(string, exchange.PartView) {}); err != nil {
			t.Fatal(err)
		}
		if a, err = clerk.Fetch(t.Context(), a.Exchange); err != nil {
			t.Fatal(err)
		}
		if got := codesBySource(a)[q.source.ID]; got != exchange.Found {
			t.Errorf("%s: %s", number, got)
		}
	}
	t.Logf("%d kills in %v", kills, time.Since(began).Round(10*time.Millisecond))
	if err := city.Stop(); err != nil {
		t.Fatal(err)
	}
	asked := askedAt(t, city, landFront)
	if len(asked) != kills {
		t.Errorf("%d questions reached the department, want %d", len(asked), kills)
	}
	for number, n := range asked {
		if n != 1 {
			t.Errorf("the department was asked %d times for %s", n, number)
		}
	}
}

// askedAt counts, by case number, how often a front has asked its department's system.
func askedAt(t *testing.T, city *demo.City, f catalog.FrontID) map[string]int {
	t.Helper()
	asked := make(map[string]int)
	for _, e := range frontLog(t, city, f) {
		if e.Open.Op == audit.OpSourceCall && e.Open.Phase == audit.PhaseIntent {
			asked[e.Open.Case]++
		}
	}
	return asked
}

// A device that stands still makes its department TIMEOUT, then, when three
// heartbeats are missing, UNREACHABLE at once, and nobody else anything. When it
// works again so does the route, and what is over is not asked any more.
func TestDeviceThatStandsStill(t *testing.T) {
	city, home := startCityOf(t, withDeadline(t, landFront, "3s"), nil)
	clerk, err := city.Login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q := questionTo(t, landFront)
	ask := func(number string, want exchange.Code, limit time.Duration) {
		t.Helper()
		began := time.Now()
		codes := codesBySource(doMatter(t, clerk, q.matter, number))
		if took := time.Since(began); took > limit {
			t.Errorf("%s took %v", number, took)
		}
		for id, code := range codes {
			if id == q.source.ID && code != want || id != q.source.ID && code != exchange.Found && code != exchange.NotFound {
				t.Errorf("%s: %s gave %s", number, id, code)
			}
		}
	}
	ask("GAP-1", exchange.Found, 5*time.Second)
	if err := city.StopProgram(demo.Device, landFront); err != nil {
		t.Fatal(err)
	}
	ask("GAP-2", exchange.Timeout, 6*time.Second)
	if err := city.AwaitFront(t.Context(), landFront, false); err != nil {
		t.Fatal(err)
	}
	ask("GAP-3", exchange.Unreachable, 3*time.Second)
	if err := errors.Join(city.StartProgram(t.Context(), demo.Device, landFront), city.AwaitFront(t.Context(), landFront, true)); err != nil {
		t.Fatal(err)
	}
	ask("GAP-4", exchange.Found, 5*time.Second)
	awaitEvents(t, filepath.Join(home, "processes.log"), "peer-silent", "peer-back", "reconciled")
	if err := city.Stop(); err != nil {
		t.Fatal(err)
	}
	recorded := slices.ContainsFunc(frontLog(t, city, landFront), func(e audit.Entry) bool {
		return e.Closed.Object == "gap-inspection" && e.Closed.After == "header"
	})
	if !recorded {
		t.Error("what the device looks into is not in the front's log")
	}
	asked := askedAt(t, city, landFront)
	if asked["GAP-1"] != 1 || asked["GAP-2"] != 0 || asked["GAP-3"] != 0 || asked["GAP-4"] != 1 {
		t.Errorf("the department was asked %v", asked)
	}
}

// withDeadline is a copy of the demo city in which a front's sources have that deadline.
func withDeadline(t *testing.T, f catalog.FrontID, deadline string) (configs string) {
	t.Helper()
	configs = t.TempDir()
	if err := os.CopyFS(configs, os.DirFS(demoConfigs)); err != nil {
		t.Fatal(err)
	}
	line := []byte("    front: " + string(f) + "\n")
	changed := 0
	err := filepath.WalkDir(filepath.Join(configs, "catalog"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		changed += bytes.Count(b, line)
		return os.WriteFile(path, bytes.ReplaceAll(b, line, append(slices.Clone(line), "    deadline: "+deadline+"\n"...)), 0o600)
	})
	if err != nil || changed == 0 {
		t.Fatalf("%d sources changed, %v", changed, err)
	}
	return configs
}

// awaitEvents waits until the gap's two sides have each logged every kind of event.
func awaitEvents(t *testing.T, file string, kinds ...string) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		missing := slices.DeleteFunc(slices.Clone(kinds), func(kind string) bool {
			for _, channel := range []string{"CITY_LAND", "LAND_CITY"} {
				if !strings.Contains(string(b), fmt.Sprintf(`"kind":%q,"channel":%q`, kind, channel)) {
					return false
				}
			}
			return true
		})
		if len(missing) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not logged by both sides: %v", missing)
		}
	}
}

// The self-test, beside each running front: all is good and nobody is asked
// about; without the broker it says so.
func TestSelfTestOfFronts(t *testing.T) {
	city, _ := startCity(t)
	check := func(f catalog.FrontID) (code int, said string) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(programs(t), "frontproc"), "check", "-config", filepath.Join(city.State, "agent-"+string(f)+".yaml"))
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	fronts := demoCatalogue(t).Fronts
	for _, f := range fronts {
		code, said := check(f.ID)
		if code != 0 || !strings.Contains(said, "all good") || strings.Contains(said, "✗") {
			t.Errorf("%s: %d\n%s", f.ID, code, said)
		}
		for _, s := range demoCatalogue(t).Sources {
			if s.Front == f.ID && !strings.Contains(said, "✓ 数据源 / source "+string(s.ID)) {
				t.Errorf("%s: nothing about %s", f.ID, s.ID)
			}
		}
	}
	if err := city.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, f := range fronts {
		if n := len(askedAt(t, city, f.ID)); n > 0 {
			t.Errorf("%s was asked %d times", f.ID, n)
		}
		if code, said := check(f.ID); !setup.BehindGap(demoCatalogue(t), f.ID) && (code != 1 || !strings.Contains(said, "✗ 消息总线 / Kafka")) {
			t.Errorf("%s, without a broker: %d\n%s", f.ID, code, said)
		}
	}
}

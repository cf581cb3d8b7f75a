package supervise

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const demoRules = "../../configs/demo/supervise"

func mustLoad(t testing.TB, dir string) *Rules {
	t.Helper()
	r, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheDefaultRulesCoverEveryKind(t *testing.T) {
	r := mustLoad(t, demoRules)
	kinds := map[Kind]int{}
	for _, c := range r.rules {
		kinds[c.kind]++
	}
	for _, k := range Kinds() {
		if kinds[k] == 0 {
			t.Errorf("no rule of kind %s", k)
		}
	}
}

// oneRule is a file with one good rule, in which a test changes a line.
const oneRule = `indicator: I
kind: integrity
name: 名
name_en: name
rules:
  - id: R-1
    version: 1
    name: 名
    name_en: name
    state: "on"
    on: [query]
    where: phase == "intent"
    windows:
      n: {count: entries, per: [actor], over: 1h}
    when: n > 3
    card: yellow
    about: [actor]
    quiet: 1h
    to: operator
`

func loadText(t testing.TB, files ...string) (*Rules, error) {
	t.Helper()
	dir := t.TempDir()
	for i, text := range files {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(dir)
}

func TestMistakesInRulesAreNamedWithTheirLine(t *testing.T) {
	if _, err := loadText(t, oneRule); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ old, new, at, says string }{
		"unknown key":              {"to: operator", "to: operator\n    why: x", ":20:", "why"},
		"unknown variable":         {"n > 3", "m > 3", ":15:", "m"},
		"unknown kind":             {"kind: integrity", "kind: luck", ":2:", "kind"},
		"text compared to number":  {"n > 3", "phase > 3", ":15:", "mismatched"},
		"not a condition":          {"n > 3", "n + 3", ":15:", "bool"},
		"call":                     {"n > 3", "len(phase) > 3", ":15:", "Builtin"},
		"method":                   {"n > 3", "phase.foo > 3", ":15:", "Member"},
		"loop":                     {"n > 3", "'all([1], # > 0)'", ":15:", "Pointer"},
		"float":                    {"n > 3", "n > 3.5", ":15:", "Float"},
		"regular expression":       {"n > 3", `phase matches "a+"`, ":15:", "matches"},
		"range":                    {"n > 3", "n in 1..1000000", ":15:", ".."},
		"variable declared":        {"n > 3", "let a = 1; a > 0", ":15:", "no variable"},
		"nil":                      {"n > 3", "phase == nil", ":15:", "Nil"},
		"two verdicts":             {"when: n > 3", "when: n > 3\n    await: {on: [query], match: [case], within: HOUR}", ":15:", "await"},
		"no verdict":               {"when: n > 3", "", ":6:", "await"},
		"window named as variable": {"n: {count", "hour: {count", ":14:", "new name"},
		"window over nothing":      {"over: 1h", "over: 1s", ":14:", "1m"},
		"window counts a number":   {"count: entries", "count: ms", ":14:", "ms"},
		"group by a number":        {"per: [actor]", "per: [hour]", ":14:", "hour"},
		"negative time":            {"quiet: 1h", "quiet: -1h", ":18:", "-1h"},
		"unquoted on":              {`state: "on"`, "state: maybe", ":10:", "on"},
		"its own entries":          {"on: [query]", "on: [supervise.card]", ":11:", "own entries"},
		"unknown party":            {"to: operator", "to: nobody", ":19:", "party"},
		"small id":                 {"id: R-1", "id: r-1", ":6:", "capital"},
		"version zero":             {"version: 1", "version: 0", ":7:", "from 1"},
		"anchor":                   {"on: [query]", "on: &a [query]", ":1:", "anchors"},
		"key given twice":          {"to: operator", "to: operator\n    to: fonts", ":20:", "to"},
	} {
		text := strings.Replace(oneRule, tt.old, tt.new, 1)
		if text == oneRule {
			t.Fatalf("%s: changes nothing", name)
		}
		_, err := loadText(t, text)
		if err == nil || !strings.Contains(err.Error(), tt.at) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: want %s and %q in:\n%v", name, tt.at, tt.says, err)
		}
	}
}

func TestARuleIsGivenOnce(t *testing.T) {
	_, err := loadText(t, oneRule, strings.Replace(oneRule, "indicator: I", "indicator: J", 1))
	if err == nil || !strings.Contains(err.Error(), "R-1") || !strings.Contains(err.Error(), "b.yaml:6:") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a directory without rules is accepted")
	}
}

func TestConditionsFailRatherThanWrapAround(t *testing.T) {
	vars := blank()
	vars["n"] = 0
	for text, want := range map[string]string{
		`ms * 100 > limit * 80`:                     "true",
		`100 / n > 1`:                               "error",
		`100 % n > 1`:                               "error",
		`9223372036854775807 + ms > 0`:              "error",
		`-9223372036854775807 - ms - ms - ms < 0`:   "error",
		`4611686018427387904 * ms > 0`:              "error",
		`ms > 1 and (phase == "x" or n == 0)`:       "true",
		`not (phase in ["a", "b"]) and ms - 5 == 0`: "true",
		`n > 0 and 100 / n > 1`:                     "false",
	} {
		vars["ms"] = 5
		c, err := compile(text, vars, reflect.Bool)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var m machine
		got := "error"
		if is, err := m.is(c, vars); err == nil {
			got = map[bool]string{true: "true", false: "false"}[is]
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(oneRule)
	f.Add("rules: [{")
	f.Add(strings.Replace(oneRule, "n > 3", "((n)) > -3 ? true : false", 1))
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := loadText(t, text); err == nil && len(r.rules) == 0 {
			t.Error("accepted without a rule")
		}
	})
}

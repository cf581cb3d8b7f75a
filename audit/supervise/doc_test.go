package supervise

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestTheManualExplainsEveryRuleAndEveryVariable(t *testing.T) {
	raw, err := os.ReadFile("../../docs/SUPERVISION.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(raw)
	for _, name := range slices.Concat(textVars, numberVars, flagVars) {
		if !strings.Contains(manual, "| `"+name+"` |") {
			t.Errorf("variable %s is not explained", name)
		}
	}
	for _, in := range mustLoad(t, demoRules).Indicators {
		for _, r := range in.Rules {
			if !strings.Contains(manual, "| "+r.ID+" | "+r.Name+" |") {
				t.Errorf("rule %s is not explained, or by another name", r.ID)
			}
			if r.When != "" && !strings.Contains(manual, "`"+r.When+"`") {
				t.Errorf("rule %s: the manual gives another condition", r.ID)
			}
		}
	}
}

package supervise

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"yizheng/audit"
)

// ruleCheck checks and compiles one rule.
type ruleCheck struct {
	f    *ruleFile
	path string
	rule *rule
	vars map[string]any // what its conditions may name
}

func (c *ruleCheck) bad(field, chinese, english string) {
	c.f.bad(c.path+"."+field, chinese, english)
}

func (c *ruleCheck) check() {
	r := c.rule
	if r.Version < 1 {
		c.bad("version", "须为 1 起的整数，规则每改一次加一", "a whole number from 1, raised with every change")
	}
	if r.Name == "" || r.NameEN == "" {
		c.bad("name", "须有 name 与 name_en", "name and name_en are needed")
	}
	if r.State != "on" && r.State != "off" {
		c.bad("state", `须为 "on" 或 "off"（带引号）`, `must be "on" or "off", quoted`)
	}
	if r.Card != Yellow && r.Card != Red {
		c.bad("card", "须为 yellow 或 red", "must be yellow or red")
	}
	if !slices.Contains(parties, r.To) {
		c.bad("to", "须为 "+strings.Join(parties, "、")+" 之一", "unknown party")
	}
	if r.Each != "" && r.Each != "leg" {
		c.bad("each", "只能是 leg", "can only be leg")
	}
	if a := r.RedAfter; a != nil && (a.Yellows < 1 || a.Yellows > 1000 || a.Within <= 0 || r.Card == Red) {
		c.bad("red_after", "yellows 须为 1–1000，within 须大于 0，且 card 须为 yellow", "yellows must be 1 to 1000, within more than 0, and card yellow")
	}
	c.operations("on", r.On)
	c.vars = blank()
	r.where = c.condition("where", r.Where, false)
	c.texts("about", r.About)
	c.windows()
	c.verdict()
	r.digest = digestOf(r.Rule)
}

// operations refuses the engine's own entries: a rule about cards would feed itself.
func (c *ruleCheck) operations(field string, ops []audit.Op) {
	if len(ops) == 0 {
		c.bad(field, "至少一种操作，见 docs/protocol/audit-log.md", "at least one operation")
	}
	for _, op := range ops {
		if strings.HasPrefix(string(op), "supervise.") || op == "" {
			c.bad(field, fmt.Sprintf("不能监察 %q", op), "rules cannot look at the engine's own entries")
		}
	}
}

// texts checks a list of variables that are texts.
func (c *ruleCheck) texts(field string, names []string) {
	for _, name := range names {
		if kindOf(c.vars, name) != reflect.String {
			c.bad(field, fmt.Sprintf("%q 不是文字变量，可用：%s", name, strings.Join(textVars, ", ")), "not a text variable")
		}
	}
}

func (c *ruleCheck) windows() {
	r := c.rule
	for name := range r.Windows {
		r.windows = append(r.windows, countdown{Window: r.Windows[name], name: name})
	}
	sort.Slice(r.windows, func(i, j int) bool { return r.windows[i].name < r.windows[j].name })
	for i := range r.windows {
		w := &r.windows[i]
		field := "windows." + w.name
		if !plainVar.MatchString(w.name) || kindOf(c.vars, w.name) != reflect.Invalid {
			c.bad(field, "窗口名须为小写字母开头的新名字", "a window's name is a new name in small letters")
		}
		if (w.Count == "") == (w.Sum == "") {
			c.bad(field, "count 与 sum 须恰好给一个", "give exactly one of count and sum")
		}
		if w.Count != "" && w.Count != "entries" {
			c.texts(field+".count", []string{w.Count})
		}
		if w.Sum != "" && kindOf(c.vars, w.Sum) != reflect.Int {
			c.bad(field+".sum", fmt.Sprintf("%q 不是数字变量，可用：%s", w.Sum, strings.Join(numberVars, ", ")), "not a number variable")
		}
		c.texts(field+".per", w.Per)
		if time.Duration(w.Over) < time.Minute {
			c.bad(field+".over", "至少 1m", "at least 1m")
		}
		w.where = c.condition(field+".where", w.Where, false)
		w.width = max(w.Over.micros()/sixtieths, 1)
	}
	for _, w := range r.windows {
		c.vars[w.name] = 0
	}
}

// verdict compiles what raises the card: a condition, or something that did not follow.
func (c *ruleCheck) verdict() {
	r := c.rule
	if (r.When == "") == (r.Await == nil) {
		c.bad("when", "when 与 await 须恰好给一个", "give exactly one of when and await")
		return
	}
	r.redWhen = c.condition("red_when", r.RedWhen, false)
	if r.Await == nil {
		r.when = c.condition("when", r.When, true)
		if r.Scan != 0 {
			c.bad("scan", "只用于 await；其余规则逐条即时判断", "only with await; other rules are judged entry by entry")
		}
		return
	}
	c.operations("await.on", r.Await.On)
	if len(r.Await.Match) == 0 {
		c.bad("await.match", "至少一个变量", "at least one variable")
	}
	c.texts("await.match", r.Await.Match)
	r.within = c.compiled("await.within", r.Await.Within, reflect.Int)
	c.vars = blank() // of the entry that follows
	r.awaitWhere = c.condition("await.where", r.Await.Where, false)
}

func (c *ruleCheck) condition(field, text string, needed bool) *condition {
	if text == "" && !needed {
		return nil
	}
	return c.compiled(field, text, reflect.Bool)
}

func (c *ruleCheck) compiled(field, text string, want reflect.Kind) *condition {
	p, err := compile(text, c.vars, want)
	if err != nil {
		c.bad(field, err.Error(), "")
	}
	return p
}

package supervise

import (
	"fmt"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"yizheng/audit"
)

// Kind of indicator (国办函〔2016〕108号 五(二)3): Overreach stands in the
// place of 裁量(收费)异常, as a gateway charges nothing.
type Kind string

// Kinds.
const (
	Timeliness Kind = "timeliness" // 时效异常
	Process    Kind = "process"    // 流程异常
	Content    Kind = "content"    // 内容异常
	Overreach  Kind = "overreach"  // 越权取用
	Integrity  Kind = "integrity"  // 廉政风险
)

// Kinds in the order of the guide.
func Kinds() []Kind { return []Kind{Timeliness, Process, Content, Overreach, Integrity} }

// Level of a card.
type Level string

// Levels.
const (
	Yellow Level = "yellow" // 黄牌
	Red    Level = "red"    // 红牌
)

// Indicator is one file of rules.
type Indicator struct {
	Code   string `yaml:"indicator" json:"indicator"`
	Kind   Kind   `yaml:"kind" json:"kind"`
	Name   string `yaml:"name" json:"name"`
	NameEN string `yaml:"name_en" json:"name_en"`
	Rules  []Rule `yaml:"rules" json:"rules"`
}

// Rule says what raises a card. See the package comment.
type Rule struct {
	ID       string            `yaml:"id" json:"id"`
	Version  int               `yaml:"version" json:"version"`
	Name     string            `yaml:"name" json:"name"`
	NameEN   string            `yaml:"name_en" json:"name_en"`
	State    string            `yaml:"state" json:"state"` // on, off
	On       []audit.Op        `yaml:"on" json:"on"`
	Each     string            `yaml:"each" json:"each,omitempty"` // "leg": looks at every leg that an intent lists
	Where    string            `yaml:"where" json:"where,omitempty"`
	Windows  map[string]Window `yaml:"windows" json:"windows,omitempty"`
	When     string            `yaml:"when" json:"when,omitempty"`
	Await    *Await            `yaml:"await" json:"await,omitempty"`
	Card     Level             `yaml:"card" json:"card"`
	RedWhen  string            `yaml:"red_when" json:"red_when,omitempty"`
	RedAfter *RedAfter         `yaml:"red_after" json:"red_after,omitempty"`
	About    []string          `yaml:"about" json:"about,omitempty"`
	Quiet    Duration          `yaml:"quiet" json:"quiet,omitempty"`
	Scan     Duration          `yaml:"scan" json:"scan,omitempty"`
	To       string            `yaml:"to" json:"to"`
}

// Window is something counted over a sliding time. One of Count and Sum is given.
type Window struct {
	Count string   `yaml:"count" json:"count,omitempty"` // "entries", or a text whose distinct values are counted
	Sum   string   `yaml:"sum" json:"sum,omitempty"`     // a number that is added up
	Where string   `yaml:"where" json:"where,omitempty"` // which of the rule's entries; default all
	Per   []string `yaml:"per" json:"per,omitempty"`     // texts; each combination is counted for itself
	Over  Duration `yaml:"over" json:"over"`
}

// Await is an entry that must follow.
type Await struct {
	On     []audit.Op `yaml:"on" json:"on"`
	Where  string     `yaml:"where" json:"where,omitempty"`
	Match  []string   `yaml:"match" json:"match"`   // texts that both entries have alike
	Within string     `yaml:"within" json:"within"` // milliseconds, computed from the first entry
}

// RedAfter turns a yellow card red when there were as many others about the
// same before it that nobody has dismissed.
type RedAfter struct {
	Yellows int      `yaml:"yellows" json:"yellows"`
	Within  Duration `yaml:"within" json:"within"`
}

// The parties a card may be for.
const (
	ToOperator   = "operator"   // the account concerned
	ToDepartment = "department" // the asking department
	ToProvider   = "provider"   // the answering department
	ToFonts      = "fonts"      // who looks after fonts (字库管理员)
	ToSecurity   = "security"   // the security administrators
)

var parties = []string{ToOperator, ToDepartment, ToProvider, ToFonts, ToSecurity}

// Duration is a time.Duration written "90s" or "24h" in YAML and JSON.
type Duration time.Duration

// MarshalText writes "1h0m0s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads, from zero to 400 days.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 || v > 400*24*time.Hour {
		return fmt.Errorf("%q 须为 90s、30m、24h 一类，不超过 9600h / write 90s, 30m or 24h, at most 9600h", text)
	}
	*d = Duration(v)
	return nil
}

// UnmarshalYAML is UnmarshalText that knows where the text stands.
func (d *Duration) UnmarshalYAML(n ast.Node) error {
	if err := d.UnmarshalText([]byte(n.String())); err != nil {
		return &misplaced{n.GetToken(), err}
	}
	return nil
}

// misplaced is a value that does not fit, and where.
type misplaced struct {
	token *token.Token
	err   error
}

func (m *misplaced) Error() string { return m.err.Error() }

func (d Duration) micros() int64 { return time.Duration(d).Microseconds() }

// Facts is what the catalogue in force tells the rules. Version changes with it.
type Facts struct {
	Version string
	Sources map[string]SourceFacts     // by catalogue resource
	Systems map[string]string          // calling system -> its department
	Items   map[string]map[string]bool // matter -> the proofs it may take
}

// SourceFacts are the promises of one source.
type SourceFacts struct {
	Department string
	Route      string
	Limit      time.Duration // for one answer
	Deferred   time.Duration // for an answer by hand; 0: none
}

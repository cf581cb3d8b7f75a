package search

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
	"yizheng/catalog"
	"yizheng/identity"
	"yizheng/identity/jose"
)

// Filter is what an auditor looks for, by codes; what is empty does not filter.
// Persons are looked for by ticket only.
type Filter struct {
	From        time.Time `json:"from,omitzero"` // inclusive
	To          time.Time `json:"to,omitzero"`   // exclusive
	Op          string    `json:"op,omitempty"`
	Phase       string    `json:"phase,omitempty"`
	Outcome     string    `json:"outcome,omitempty"`
	Department  string    `json:"department,omitempty"` // who asked
	System      string    `json:"system,omitempty"`
	Operator    string    `json:"operator,omitempty"`
	Workstation string    `json:"workstation,omitempty"`
	Item        string    `json:"item,omitempty"`
	Proof       string    `json:"proof,omitempty"`
	Case        string    `json:"case,omitempty"`
	Provider    string    `json:"provider,omitempty"` // who answered
	Source      string    `json:"source,omitempty"`
	Exchange    string    `json:"exchange,omitempty"`
	Number      string    `json:"number,omitempty"` // of a document
}

// Ask is one page of a search.
type Ask struct {
	Filter Filter `json:"filter,omitzero"`
	// Everywhere asks every log on the roster, not this gateway's alone. Pages
	// go on with To then, and with Before otherwise.
	Everywhere bool      `json:"everywhere,omitempty"`
	Before     *Position `json:"before,omitempty"`
	Limit      int       `json:"limit,omitempty"` // 1 to 1,000, default 100
	Proofs     bool      `json:"proofs,omitempty"`
	Ticket     string    `json:"ticket,omitempty"` // looks for its persons, everywhere; no other filter then
}

// Position is a place in a gateway's log: a quarter, and an entry of it.
type Position struct {
	Quarter string `json:"quarter"` // 2026q4
	Index   uint64 `json:"index"`
}

const defaultLimit = 100

// words are the values that the filter consists of, by the names of its fields.
func (f Filter) words() map[string]string {
	return map[string]string{"op": f.Op, "phase": f.Phase, "outcome": f.Outcome, "department": f.Department, "system": f.System,
		"operator": f.Operator, "workstation": f.Workstation, "item": f.Item, "proof": f.Proof, "case": f.Case,
		"provider": f.Provider, "source": f.Source, "exchange": f.Exchange, "number": f.Number}
}

// names are the fields that filter, for the record: values are not written down,
// since somebody may have typed what does not belong into a log.
func (f Filter) names() string {
	var list []string
	if !f.From.IsZero() {
		list = append(list, "from")
	}
	if !f.To.IsZero() {
		list = append(list, "to")
	}
	words := f.words()
	for _, name := range []string{"op", "phase", "outcome", "department", "system", "operator", "workstation", "item", "proof", "case", "provider", "source", "exchange", "number"} {
		if words[name] != "" {
			list = append(list, name)
		}
	}
	return strings.Join(list, ",")
}

// numbered is the form of exchange and certificate numbers; their last
// character checks the others.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

var numbered = regexp.MustCompile(`^[0-9]{10,16}[0-9A-HJKMNP-TV-Z]{10}[0-9A-Z]$`)

func isNumbered(s string) bool {
	if !numbered.MatchString(s) {
		return false
	}
	check, err := identity.Mod3736(s[:len(s)-1])
	return err == nil && check == s[len(s)-1]
}

// check refuses what no code looks like, an ID number above all.
func (a Ask) check() error {
	for name, value := range a.Filter.words() {
		_, fault := catalog.CaseFault(value)
		switch {
		case value == "":
		case name == "exchange" || name == "number":
			if !isNumbered(value) {
				return invalid(name, "编号格式或校验位不对，请核对", "the number is malformed, or its check character is wrong")
			}
		case fault != "":
			return invalid(name, "检索条件须为 1–64 个字符的编码，不得含有身份证件号码；按人检索须先申请", "a filter is a code of 1 to 64 characters and holds no ID number; looking for a person needs an approved application")
		}
	}
	switch {
	case a.Limit < 0 || a.Limit > maxRows:
		return invalid("limit", "一页 1–1000 条", "a page has 1 to 1,000 entries")
	case !a.Filter.From.IsZero() && !a.Filter.To.IsZero() && !a.Filter.From.Before(a.Filter.To):
		return invalid("from", "起止时间不对：起须早于止", "the period is wrong: from must be before to")
	case a.Before != nil && audit.EpochQuarter(a.Before.Quarter) == "":
		return invalid("before", "季度须如 2026q4", "a quarter looks like 2026q4")
	case a.Everywhere && a.Before != nil:
		return invalid("before", "各节点一并检索时以 to 翻页", "a search everywhere goes on with to")
	case a.Ticket != "" && (a.Everywhere || a.Filter != Filter{To: a.Filter.To}): // to is where a page begins
		return invalid("ticket", "凭票据检索时不得另设条件", "a search by ticket takes no filter")
	}
	return nil
}

func (a Ask) query() index.Query {
	f := a.Filter
	q := index.Query{From: f.From, To: f.To, Op: f.Op, Phase: f.Phase, Outcome: f.Outcome, Department: f.Department, System: f.System,
		Actor: f.Operator, Workstation: f.Workstation, Item: f.Item, Proof: f.Proof, Case: f.Case, Provider: f.Provider, Source: f.Source,
		Exchange: f.Exchange, Number: f.Number, Limit: a.Limit}
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	if a.Before != nil {
		q.BeforeShard, q.Before = a.Before.Quarter, a.Before.Index
	}
	return q
}

// FilterDigest lets an auditor show later what they looked for:
//
//	b64url( SM3( "yizheng-audit-filter-v1" ‖ 0x0A ‖ salt (16) ‖ the filter as JSON ) )
//
// The salt is in the answer, the digest in the record.
func FilterDigest(salt []byte, f Filter) (string, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("audit search: %w", err)
	}
	return jose.Digest("yizheng-audit-filter-v1\n" + string(salt) + string(text)), nil
}

func newSalt() []byte {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails (crypto/rand, Go 1.24)
	return salt
}

package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/itchyny/gojq"
)

func (k *checker) sources() {
	used := map[SourceID]ProofCode{}
	for i, p := range k.c.Proofs {
		for j, id := range p.Sources {
			path := fmt.Sprintf("proofs[%d].sources[%d]", i, j)
			if _, ok := k.sourceOf[id]; !ok {
				k.bad(path, "数据源 %s 不存在，请先在 sources 中登记", "source %s is not there, add it under sources first", string(id))
			} else if other, dup := used[id]; dup {
				k.bad(path, "数据源 %s 已用于 %s；一个数据源的映射只对应一种证明", "source %s already serves %s; a source's mapping fits one proof", string(id), string(other))
			} else {
				used[id] = p.Code
			}
		}
	}
	for i, s := range k.c.Sources {
		path := fmt.Sprintf("sources[%d]", i)
		k.source(path, s)
		if _, ok := used[s.ID]; !ok {
			k.bad(path+".id", "没有证明使用此数据源，请删除或列入某证明的 sources", "no proof uses this source, remove it or list it under a proof's sources")
		}
	}
}

func (k *checker) fronts() {
	for i, f := range k.c.Fronts {
		path := fmt.Sprintf("fronts[%d]", i)
		k.department(path+".department", f.Department)
		k.key(path+".key", f.Key)
		k.once(path+".key", strings.TrimSpace(f.Key))
	}
}

// front checks that a source which is only reached by ferry names its front, and no other does.
func (k *checker) front(path string, s Source) {
	ferried := s.Route == RouteCloud || s.Route == RouteGap
	known := slices.ContainsFunc(k.c.Fronts, func(f Front) bool { return f.ID == s.Front })
	switch {
	case ferried && !known:
		k.bad(path+".front", "此通道须经前置机，front 须是 fronts 中的一个", "this route needs a front processor: front must be one of fronts")
	case !ferried && s.Front != "":
		k.bad(path+".front", "此通道不经前置机，请删去 front", "this route has no front processor, remove front")
	case ferried && s.Authenticity != AuthSignature:
		k.bad(path+".authenticity", "前置机的答复都有签名，应为 source-signature", "a front signs its answers: must be source-signature")
	}
}

func (k *checker) source(path string, s Source) {
	k.front(path, s)
	k.department(path+".department", s.Department)
	if k.c.Deadlines.For(s.Route) == 0 {
		k.bad(path+".route", "通道应为 local、province、cloud 或 gap，且在 deadlines 中有时限", "the route is one of local, province, cloud, gap and has a deadline")
	}
	if !idForm.MatchString(s.Connection) {
		k.bad(path+".connection", "连接名格式不对，应符合 %s", "the connection's name must match %s", idForm)
	}
	k.text(path+".scope", s.Scope)
	if s.Authenticity.rank() == 0 {
		k.bad(path+".authenticity", "应为 channel、peer-mac 或 source-signature", "must be channel, peer-mac or source-signature")
	}
	if s.UpdateCycle < 0 {
		k.bad(path+".update_cycle", "更新周期不能为负", "the update cycle must not be negative")
	}
	if s.Deadline < 0 || s.Deadline > Duration(k.c.Deadlines.For(s.Route)) {
		k.bad(path+".deadline", "数据源时限须短于其通道时限", "a source's own deadline must be within its route's")
	}
	k.deferred(path+".deferred", s)
	k.query(path+".query", s.Query)
	k.mapping(path+".answer", s.Answer)
}

// deferred checks that only a front is given more time than a clerk waits.
func (k *checker) deferred(path string, s Source) {
	switch {
	case s.Deferred == 0:
	case s.Front == "":
		k.bad(path, "只有经前置机的数据源可延时办理", "only a source behind a front processor can be deferred")
	case time.Duration(s.Deferred) <= s.Limit(k.c.Deadlines) || time.Duration(s.Deferred) > MaxDeferred:
		k.bad(path, "延时期限须长于即时时限，且不超过 %s", "must be longer than the live limit and at most %s", Duration(MaxDeferred))
	}
}

// query checks that exactly one kind of question is asked and that it is about the card's number.
func (k *checker) query(path string, q Query) {
	switch {
	case q.Service == "" && q.SQL == "":
		k.bad(path, "须给出 service 或 sql", "give service or sql")
	case q.SQL != "" && (q.Service != "" || len(q.Params) > 0):
		k.bad(path, "service/params 与 sql 只能取其一", "service with params, or sql, not both")
	case q.SQL != "":
		k.sql(path+".sql", q.SQL)
	default:
		k.params(path+".params", q.Params)
	}
}

func (k *checker) params(path string, params map[string]string) {
	keyed := false
	for name, value := range params {
		switch {
		case value == "number" || value == "number15":
			keyed = true
		case value == "name" || strings.HasPrefix(value, "="):
		default:
			k.bad(path+"."+name, "取值应为 number、name、number15 或 =固定值", "the value is one of number, name, number15 or =literal")
		}
	}
	if !keyed {
		k.bad(path, "必须以证件号码查询：至少一个参数取 number", "must ask by the card's number: one parameter has to be number")
	}
}

var (
	sqlWord  = regexp.MustCompile(`(?i)\b(insert|update|delete|merge|drop|alter|create|truncate|attach|detach|pragma|vacuum|grant|revoke|call|exec|execute|into|copy|lock|set|begin|commit)\b`)
	sqlParam = regexp.MustCompile(`:+[A-Za-z_][A-Za-z0-9_]*`)
)

// sql accepts one reading statement whose only variable parts are the known parameters.
func (k *checker) sql(path, text string) {
	bare, closed := withoutLiterals(text)
	switch {
	case !closed:
		k.bad(path, "引号未闭合", "a quote is not closed")
	case strings.Contains(bare, ";"):
		k.bad(path, "只能有一条语句，不能含分号", "one statement only, without a semicolon")
	case strings.Contains(bare, "--") || strings.Contains(bare, "/*"):
		k.bad(path, "语句中不能有注释", "no comments inside the statement")
	case !strings.EqualFold(firstWord(bare), "select"):
		k.bad(path, "须是 SELECT 语句", "must be a SELECT statement")
	case sqlWord.MatchString(bare):
		k.bad(path, "只读语句不能含 %s", "a reading statement must not contain %s", sqlWord.FindString(bare))
	case strings.ContainsAny(bare, "?$@"):
		k.bad(path, "参数应写成 :number、:name 或 :number15", "write parameters as :number, :name or :number15")
	default:
		k.sqlParams(path, bare)
	}
}

func (k *checker) sqlParams(path, bare string) {
	keyed := false
	for _, p := range sqlParam.FindAllString(bare, -1) {
		switch p {
		case ":number", ":number15":
			keyed = true
		case ":name":
		default:
			if strings.HasPrefix(p, "::") {
				continue // a PostgreSQL cast
			}
			k.bad(path, "未知参数 %s，可用 :number、:name、:number15", "unknown parameter %s; there are :number, :name, :number15", p)
		}
	}
	if !keyed {
		k.bad(path, "必须以证件号码查询：条件中要有 :number", "must ask by the card's number: :number is missing")
	}
}

// withoutLiterals blanks quoted strings and identifiers.
func withoutLiterals(text string) (string, bool) {
	var b strings.Builder
	var quote rune
	for _, r := range text {
		switch {
		case quote == 0 && (r == '\'' || r == '"' || r == '`'):
			quote = r
			b.WriteByte(' ')
		case quote == 0:
			b.WriteRune(r)
		case r == quote:
			quote = 0
		}
	}
	return b.String(), quote == 0
}

func firstWord(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '(' })
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

func (k *checker) mapping(path string, m Mapping) {
	for _, row := range []struct {
		key, expr string
		required  bool
	}{
		{"not_found_when", m.NotFoundWhen, true}, {"not_issuable_when", m.NotIssuableWhen, false},
		{"pending_when", m.PendingWhen, false}, {"multiple_when", m.MultipleWhen, false},
		{"found_when", m.FoundWhen, true}, {"records", m.Records, true}, {"data_time", m.DataTime, true},
		{"subject.number", m.Subject.Number, true}, {"subject.name", m.Subject.Name, false},
	} {
		if row.expr != "" {
			k.jq(path+"."+row.key, row.expr)
		} else if row.required {
			k.bad(path+"."+row.key, "必须写明 jq 表达式", "a jq expression is required")
		}
	}
	for name, expr := range m.Fields {
		k.jq(path+".fields."+name, expr)
	}
}

func (k *checker) jq(path, expr string) {
	q, err := gojq.Parse(expr)
	if err == nil {
		_, err = gojq.Compile(q)
	}
	if err != nil {
		k.bad(path, "jq 表达式有误：%v", "jq expression: %v", err)
	}
}

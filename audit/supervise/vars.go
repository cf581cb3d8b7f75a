package supervise

import (
	"strconv"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

// The variables of a condition, beside its rule's windows. docs/SUPERVISION.md
// explains each; a test holds it against this list.
var (
	textVars = []string{"op", "phase", "outcome", "dept", "system", "item", "case", "basis", "purpose", "consent", "proof", "provider", "source",
		"route", "auth", "exchange", "leg", "number", "status", "subject", "actor", "role", "workstation", "device", "reason", "object", "relatives"}
	numberVars = []string{"ms", "rows", "subjects", "fields", "hour", "minute", "weekday", "limit", "deferred", "due", "risk"}
	flagVars   = []string{"outside", "relative"}
	constants  = map[string]int{"SECOND": 1000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
)

// blank is every variable with the zero value of its type.
func blank() map[string]any {
	vars := make(map[string]any, 64)
	for _, name := range textVars {
		vars[name] = ""
	}
	for _, name := range numberVars {
		vars[name] = 0
	}
	for _, name := range flagVars {
		vars[name] = false
	}
	for name, v := range constants {
		vars[name] = v
	}
	return vars
}

// fill sets the variables from an entry and what the catalogue says of it.
func fill(vars map[string]any, e *audit.Entry, f *Facts) {
	o, c := &e.Open, &e.Closed
	vars["op"], vars["phase"], vars["outcome"], vars["system"] = string(o.Op), string(o.Phase), o.Outcome, o.System
	vars["dept"] = o.Department
	if o.Department == "" {
		vars["dept"] = f.Systems[o.System]
	}
	vars["item"], vars["case"], vars["basis"], vars["purpose"], vars["consent"] = o.Item, o.Case, o.Basis, o.Purpose, o.Consent
	vars["proof"], vars["provider"], vars["source"], vars["route"], vars["auth"] = o.Proof, o.Provider, o.Source, o.Route, o.Authenticity
	vars["exchange"], vars["leg"], vars["number"], vars["status"] = o.Exchange, o.Leg, o.Number, o.Status
	vars["subject"] = ""
	if len(o.Subjects) > 0 {
		vars["subject"] = subjectKey(o.Subjects[0])
	}
	vars["actor"], vars["role"], vars["workstation"], vars["device"] = c.Actor, c.Role, c.Workstation, c.Device
	vars["reason"], vars["object"] = c.Reason, c.Object
	vars["ms"], vars["rows"], vars["subjects"], vars["fields"], vars["risk"] = int(o.Millis), 0, len(o.Subjects), len(o.Fields), c.Risk
	if o.Rows != nil {
		vars["rows"] = *o.Rows
	}
	at := time.UnixMicro(o.Time).In(beijing.Zone())
	vars["hour"], vars["minute"], vars["weekday"] = at.Hour(), at.Minute(), (int(at.Weekday())+6)%7+1
	list, known := f.Items[o.Item]
	vars["outside"] = known && o.Proof != "" && !list[o.Proof]
	promises(vars, f.Sources[o.Source])
	vars["due"] = 0
}

func promises(vars map[string]any, s SourceFacts) {
	vars["limit"], vars["deferred"] = int(s.Limit.Milliseconds()), int(s.Deferred.Milliseconds())
}

func subjectKey(s audit.SubjectRef) string { return s.Type + "/" + s.Epoch + "/" + s.P }

// fillLeg sets the variables of one leg that an intent lists: "leg source
// digest", and for a deferral until when. False if it is not of that form.
func fillLeg(vars map[string]any, listed string, at int64, f *Facts) bool {
	part := strings.Fields(listed)
	if len(part) < 3 {
		return false
	}
	s := f.Sources[part[1]]
	vars["leg"], vars["source"], vars["route"], vars["provider"] = part[0], part[1], s.Route, s.Department
	promises(vars, s)
	vars["due"] = 0
	if len(part) > 3 {
		until, err := time.Parse(time.RFC3339, part[3])
		if err != nil {
			return false
		}
		vars["due"] = int((until.UnixMicro() - at) / 1000)
	}
	return true
}

// key joins the values of variables, so that different lists differ.
func key(vars map[string]any, names []string) string {
	if len(names) == 1 {
		return vars[names[0]].(string) // only texts get this far, see load
	}
	var b strings.Builder
	for _, name := range names {
		v := vars[name].(string)
		b.WriteString(strconv.Itoa(len(v)))
		b.WriteByte(':')
		b.WriteString(v)
	}
	return b.String()
}

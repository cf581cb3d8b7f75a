package audit

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// What encoding/json makes of Open and Closed, to the byte, in a third of its
// time: every entry of the gateway goes through here. A test holds the two to
// each other, field by field.

// appendTo appends the open half.
func (o *Open) appendTo(b []byte) []byte {
	start := len(b)
	b = strconv.AppendInt(appendName(b, "v"), int64(o.V), 10)
	b = appendString(appendName(b, "id"), o.ID)
	b = strconv.AppendInt(appendName(b, "ts"), o.Time, 10)
	b = appendString(appendName(b, "op"), string(o.Op))
	b = appendText(b, "phase", string(o.Phase))
	b = appendText(b, "outcome", o.Outcome)
	b = appendNumber(b, "ms", o.Millis)
	b = appendSubjects(b, "subjects", o.Subjects)
	b = appendText(b, "dept", o.Department)
	b = appendText(b, "system", o.System)
	b = appendText(b, "item", o.Item)
	b = appendText(b, "case", o.Case)
	b = appendText(b, "basis", o.Basis)
	b = appendText(b, "purpose", o.Purpose)
	b = appendText(b, "consent", o.Consent)
	b = appendText(b, "proof", o.Proof)
	b = appendText(b, "provider", o.Provider)
	b = appendText(b, "source", o.Source)
	b = appendText(b, "iface", o.Interface)
	b = appendText(b, "route", o.Route)
	b = appendText(b, "auth", o.Authenticity)
	b = appendTexts(b, "fields", o.Fields)
	b = appendText(b, "class", o.Class)
	b = appendCount(b, "rows", o.Rows)
	b = appendText(b, "exchange", o.Exchange)
	b = appendText(b, "leg", o.Leg)
	if o.Release != 0 {
		b = strconv.AppendUint(appendName(b, "release"), o.Release, 10)
	}
	b = appendText(b, "number", o.Number)
	b = appendText(b, "date", o.Date)
	b = appendText(b, "valid", o.Valid)
	b = appendText(b, "status", o.Status)
	b = appendText(b, "digest", o.Digest)
	if o.Prev != nil {
		b = strconv.AppendUint(appendName(b, "prev"), *o.Prev, 10)
	}
	b = appendText(b, "disclose", o.Disclose)
	b = appendText(b, "previous", o.Previous)
	if len(o.Quarantine) > 0 {
		text, _ := json.Marshal(o.Quarantine) // names and numbers: never fails
		b = append(appendName(b, "quarantine"), text...)
	}
	b = appendText(b, "since", o.Since)
	return embrace(b, start)
}

// appendTo appends the closed half.
func (c *Closed) appendTo(b []byte) []byte {
	start := len(b)
	b = appendText(b, "actor", c.Actor)
	b = appendText(b, "role", c.Role)
	b = appendText(b, "auth", c.Auth)
	b = appendText(b, "certsn", c.CertSN)
	b = appendText(b, "session", c.Session)
	b = appendText(b, "workstation", c.Workstation)
	b = appendText(b, "device", c.Device)
	b = appendText(b, "node", c.Node)
	b = appendText(b, "ip", c.IP)
	b = appendText(b, "trace", c.Trace)
	b = appendTexts(b, "legs", c.Legs)
	b = appendTable(b, "digests", c.Digests)
	b = appendTable(b, "commitments", c.Commitments)
	b = appendText(b, "result", c.Result)
	b = appendCount(b, "rows", c.Rows)
	b = appendText(b, "reason", c.Reason)
	b = appendText(b, "decision", c.Decision)
	b = appendText(b, "rule", c.Rule)
	b = appendNumber(b, "risk", int64(c.Risk))
	b = appendTexts(b, "approvals", c.Approvals)
	b = appendText(b, "sealcert", c.SealCert)
	b = appendText(b, "object", c.Object)
	b = appendText(b, "before", c.Before)
	b = appendText(b, "after", c.After)
	b = appendText(b, "authority", c.Authority)
	b = appendText(b, "stamp", c.Stamp)
	b = appendTexts(b, "evidence", c.Evidence)
	return embrace(b, start)
}

// embrace makes an object of the members from start on, each of which begins
// with a comma.
func embrace(b []byte, start int) []byte {
	if len(b) == start {
		return append(b, "{}"...)
	}
	b[start] = '{'
	return append(b, '}')
}

func appendName(b []byte, name string) []byte {
	return append(append(append(b, `,"`...), name...), `":`...)
}

func appendText(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(appendName(b, name), s)
}

func appendNumber(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(appendName(b, name), n, 10)
}

func appendCount(b []byte, name string, n *int) []byte {
	if n == nil {
		return b
	}
	return strconv.AppendInt(appendName(b, name), int64(*n), 10)
}

func appendTexts(b []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = appendName(b, name)
	start := len(b)
	for _, s := range list {
		b = appendString(append(b, ','), s)
	}
	b[start] = '['
	return append(b, ']')
}

func appendTable(b []byte, name string, table map[string]string) []byte {
	if len(table) == 0 {
		return b
	}
	b = appendName(b, name)
	start := len(b)
	for _, key := range slices.Sorted(maps.Keys(table)) {
		b = append(appendString(append(b, ','), key), ':')
		b = appendString(b, table[key])
	}
	return embrace(b, start)
}

func appendSubjects(b []byte, name string, list []SubjectRef) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(appendName(b, name), '[')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		s, start := &list[i], len(b)
		b = appendString(appendName(b, "type"), s.Type)
		b = appendString(appendName(b, "epoch"), s.Epoch)
		b = appendString(appendName(b, "p"), s.P)
		b = embrace(appendText(b, "role", s.Role), start)
	}
	return append(b, ']')
}

// appendString quotes a string. Codes, which entries are made of, need no escapes.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string: never fails
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

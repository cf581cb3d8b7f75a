package auditor

import (
	"encoding/base64"
	"regexp"
	"strings"
	"time"

	"yizheng/audit"
)

var (
	opForm   = regexp.MustCompile(`^[a-z]+(\.[a-z]+)*$`)
	ulidForm = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{26}$`)
)

// schema holds an entry against docs/protocol/audit-log.md §1. New operations
// may be added, so an unknown one is no problem.
func schema(e *audit.Stored, s *scan) {
	o := e.Entry.Open
	bad := func(field string) { s.problem("schema", e.Index, "field %s is not of its form", field) }
	if !ulidForm.MatchString(o.ID) {
		bad("id")
	}
	if !opForm.MatchString(string(o.Op)) {
		bad("op")
	}
	switch o.Phase {
	case "", audit.PhaseIntent, audit.PhaseDone, audit.PhaseFailed, audit.PhaseDenied:
	default:
		bad("phase")
	}
	for _, ref := range o.Subjects {
		p, err := base64.StdEncoding.Strict().DecodeString(ref.P)
		if err != nil || len(p) != 16 || audit.EpochQuarter(ref.Epoch) == "" || !subjectType(ref.Type) {
			bad("subjects")
		}
	}
	for field, day := range map[string]string{"date": o.Date, "valid": o.Valid, "disclose": o.Disclose} {
		if field == "disclose" && (day == audit.DiscloseNow || day == audit.DiscloseNever) {
			continue
		}
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			bad(field)
		}
	}
}

func subjectType(t string) bool {
	switch t {
	case "idno", "idno-invalid", "uscc", "phone":
		return true
	}
	return false
}

// personal looks for numbers of persons: in an entry they may stand as
// pseudonyms only. It names the place, never the number.
func (s *scan) personal(e *audit.Stored) {
	for half, text := range map[string][]byte{"open": e.OpenJSON, "closed": e.ClosedJSON} {
		for at := range audit.IDNumbers(text) {
			s.problem("personal", e.Index, "%s half, byte %d: looks like an ID number", half, at)
		}
		for at, word := range audit.Words(text) {
			if len(word) == 11 && word[0] == '1' && word[1] >= '3' && digits(string(word)) {
				s.doubt("personal", e.Index, "%s half, byte %d: looks like a mobile number", half, at)
			}
		}
	}
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

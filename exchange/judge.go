package exchange

import (
	"strings"
	"time"

	"yizheng/catalog"
	"yizheng/exchange/certificate"
)

// verdict is what the answers of a proof's sources amount to together.
type verdict struct {
	code     Code
	records  []map[string]any // granted fields only
	full     []map[string]any // all of the proof's fields, for the issuer rule; not handed over
	name     string           // the person's name as to be printed
	dataTime time.Time        // the oldest of those that answered
	auth     catalog.Authenticity
	stale    bool
	undated  bool     // a source that found nothing did not say as of when
	scopes   []string // of the sources that answered
	missing  []string // who did not answer, for a partial result
	leg      *leg     // the one the sentence speaks of
	wording  Wording
}

// order of weight when nothing was found: what the clerk must know first.
var gravity = []Code{Mismatch, Multiple, Denied, NotIssuable, Pending, SourceError, Timeout, Unreachable, NotFound}

// judge merges the sources' answers. Found somewhere is found, naming who is
// missing; not found needs every source to say so; anything else is the gravest.
func (s *Service) judge(pt *part) verdict {
	v := verdict{name: pt.subject.claims.Person.Name.Reveal()}
	if pt.denied {
		v.code = Denied
		v.wording.Contact = s.department(pt.proof.Owner).Contact
		return v
	}
	codes := make(map[Code]*leg)
	for _, l := range pt.legs {
		if codes[l.answer.code] == nil {
			codes[l.answer.code] = l
		}
	}
	if codes[Mismatch] == nil && codes[Found] != nil { // with a mismatch somebody else's data is about: nothing of this proof is safe
		v.code, v.leg = Found, codes[Found]
		s.merge(&v, pt)
	} else {
		for _, c := range gravity {
			if l := codes[c]; l != nil {
				v.code, v.leg = c, l
				break
			}
		}
	}
	if len(v.full) > pt.proof.Cardinality.Max {
		v = verdict{code: Multiple, leg: v.leg, name: v.name}
	}
	if v.code == NotFound {
		for _, l := range pt.legs {
			s.vouch(&v, l)
		}
	}
	s.word(&v, pt)
	return v
}

// merge gathers what the sources that found something said.
func (s *Service) merge(v *verdict, pt *part) {
	for _, l := range pt.legs {
		switch l.answer.code {
		case Found:
			v.full = append(v.full, l.answer.records...)
			if l.answer.name != "" {
				v.name = l.answer.name
			}
			s.vouch(v, l)
		case NotFound:
			s.vouch(v, l)
		default:
			v.missing = append(v.missing, s.party(pt, l))
		}
	}
	for _, r := range v.full {
		v.records = append(v.records, Granted(r, pt.fields))
	}
}

// Granted keeps the granted fields of a record.
func Granted(record map[string]any, fields []string) map[string]any {
	granted := make(map[string]any, len(fields))
	for _, f := range fields {
		if value, ok := record[f]; ok {
			granted[f] = value
		}
	}
	return granted
}

// vouch lets a source's answer count: the whole is as old as the oldest answer,
// as authentic as the least, and speaks of the scopes of those who answered.
func (s *Service) vouch(v *verdict, l *leg) {
	a := l.answer
	if v.auth == "" || a.auth.Less(v.auth) {
		v.auth = a.auth
	}
	v.scopes = append(v.scopes, l.source.Scope)
	if a.dataTime.IsZero() { // only "not found" may say no time
		v.undated = true
		return
	}
	if v.dataTime.IsZero() || a.dataTime.Before(v.dataTime) {
		v.dataTime = a.dataTime
	}
	at := s.now()
	if a.document != nil {
		at = a.document.at // as the document has it
	}
	if l.source.Stale(a.dataTime, at) {
		v.stale = true
	}
}

// word prepares the blanks of the sentence.
func (s *Service) word(v *verdict, pt *part) {
	d := s.department(v.leg.source.Department)
	v.wording = Wording{
		Department: s.party(pt, v.leg), Place: d.Place, Contact: d.Contact, Missing: strings.Join(v.missing, "、"),
		Scope: strings.Join(v.scopes, "、"),
	}
	switch {
	case v.code == NotFound && v.undated:
		v.dataTime = time.Time{}
		v.wording.DataTime = "答复时（" + certificate.Time(s.now()) + "，来源未注明数据时间）"
	case !v.dataTime.IsZero():
		v.wording.DataTime = certificate.Time(v.dataTime)
	}
	if t := v.leg.answer.since; !t.IsZero() {
		v.wording.Since = certificate.Time(t)
	}
	if v.code.Retryable() {
		for _, l := range pt.legs {
			if l.answer.code == NotFound {
				v.wording.Elsewhere = append(v.wording.Elsewhere, l.source.Scope)
			}
		}
	}
}

// party names whom a leg asked; where a proof has several sources, one
// department may answer for some of its districts and not for others.
func (s *Service) party(pt *part, l *leg) string {
	name := s.department(l.source.Department).Name
	if len(pt.legs) > 1 {
		name += "（" + l.source.Scope + "）"
	}
	return name
}

func (s *Service) department(id catalog.DepartmentID) catalog.Department {
	d, _ := s.release.Catalogue.Department(id) // a release without it does not load
	return d
}

package exchange

import (
	"strings"
	"time"

	"yizheng/catalog"
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
	missing  []string // departments that did not answer, for a partial result
	leg      *leg     // the one the sentence speaks of
	wording  Wording
}

// order of weight when nothing was found: what the clerk must know first.
var gravity = []Code{Mismatch, Multiple, NotIssuable, Pending, SourceError, Timeout, Unreachable, NotFound}

// judge merges the sources' answers. Found somewhere is found, naming who is
// missing; not found needs every source to say so; anything else is the gravest.
func (s *Service) judge(pt *part) verdict {
	v := verdict{name: pt.subject.claims.Person.Name.Reveal()}
	if pt.denied {
		v.code = Denied
		if d, ok := s.release.Catalogue.Department(pt.proof.Owner); ok {
			v.wording.Contact = d.Contact
		}
		return v
	}
	codes := make(map[Code]*leg)
	for _, l := range pt.legs {
		if codes[l.answer.code] == nil {
			codes[l.answer.code] = l
		}
	}
	if l := codes[Mismatch]; l != nil { // somebody else's data is about: nothing of this proof is safe to hand over
		v.code, v.leg = Mismatch, l
	} else if l := codes[Found]; l != nil {
		v.code, v.leg = Found, l
		s.merge(&v, pt)
	} else {
		for _, c := range gravity {
			if l := codes[c]; l != nil {
				v.code, v.leg = c, l
				break
			}
		}
	}
	if v.code == Found && len(v.full) > pt.proof.Cardinality.Max {
		v.code, v.records, v.full = Multiple, nil, nil
	}
	s.word(&v, pt)
	return v
}

// merge gathers what the sources that found something said.
func (s *Service) merge(v *verdict, pt *part) {
	for _, l := range pt.legs {
		a := l.answer
		switch a.code {
		case Found:
			v.full = append(v.full, a.records...)
			if a.name != "" {
				v.name = a.name
			}
		case NotFound:
		default:
			v.missing = append(v.missing, s.department(l.source.Department).Name)
			continue
		}
		if v.dataTime.IsZero() || a.dataTime.Before(v.dataTime) {
			v.dataTime = a.dataTime
		}
		if v.auth == "" || a.auth.Less(v.auth) {
			v.auth = a.auth
		}
		if cycle := time.Duration(l.source.UpdateCycle); cycle > 0 && s.now().Sub(a.dataTime) > cycle {
			v.stale = true
		}
	}
	for _, r := range v.full {
		granted := make(map[string]any, len(pt.fields))
		for _, f := range pt.fields {
			if value, ok := r[f]; ok {
				granted[f] = value
			}
		}
		v.records = append(v.records, granted)
	}
}

// word prepares the blanks of the sentence.
func (s *Service) word(v *verdict, pt *part) {
	d := s.department(v.leg.source.Department)
	v.wording = Wording{
		Department: d.Name, Place: d.Place, Contact: d.Contact, Missing: strings.Join(v.missing, "、"),
	}
	if v.code == NotFound { // "not found" is only as fresh as the oldest source that says so
		for _, l := range pt.legs {
			if t := l.answer.dataTime; v.dataTime.IsZero() || t.Before(v.dataTime) {
				v.dataTime = t
			}
		}
	}
	if !v.dataTime.IsZero() {
		v.wording.DataTime = chineseTime(v.dataTime)
	}
	if t := v.leg.answer.since; !t.IsZero() {
		v.wording.Since = chineseTime(t)
	}
	var scopes []string
	for _, l := range pt.legs {
		scopes = append(scopes, l.source.Scope)
	}
	v.wording.Scope = strings.Join(scopes, "、")
}

func (s *Service) department(id catalog.DepartmentID) catalog.Department {
	d, _ := s.release.Catalogue.Department(id) // a release without it does not load
	return d
}

package seal

import (
	"cmp"
	"slices"
	"time"
)

// What of a seal expires.
const (
	ExpiringSeal        = "seal"
	ExpiringCertificate = "certificate"
	ExpiringMaker       = "maker" // the maker's certificate: makes no new seals, those made stay valid
)

// Alerts are the days before an expiry at which it becomes more urgent.
var alerts = [...]int{7, 30, 60}

// Expiry is something of a seal that ends soon, or has ended.
type Expiry struct {
	SealID string
	Name   string // of the seal
	What   string // ExpiringSeal, ExpiringCertificate or ExpiringMaker
	Until  time.Time
	Days   int // whole days left, 0 on the last one, negative when it has ended
	Within int // 60, 30 or 7 days; 0 when it has ended
}

// Expiring lists what of the seals in use ends within 60 days, soonest first: the
// seals themselves, their holders' certificates and their makers'. Revoked seals are
// left out.
func (r *Registry) Expiring(now time.Time) []Expiry {
	var list []Expiry
	for id, h := range r.held() {
		if h.faulty || h.state.State == Revoked {
			continue
		}
		name := h.seal.Info.Property.Name
		for _, e := range []Expiry{
			{What: ExpiringSeal, Until: h.seal.Info.Property.ValidEnd},
			{What: ExpiringCertificate, Until: h.cert.NotAfter},
			{What: ExpiringMaker, Until: h.maker.NotAfter},
		} {
			e.SealID, e.Name = id, name
			if e.judge(now) {
				list = append(list, e)
			}
		}
	}
	slices.SortFunc(list, func(a, b Expiry) int {
		return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.SealID, b.SealID), cmp.Compare(a.What, b.What))
	})
	return list
}

// judge fills in how long is left and reports whether that is worth an alert.
func (e *Expiry) judge(now time.Time) bool {
	left := e.Until.Sub(now)
	if left < 0 {
		e.Days = -1 - int(-left/(24*time.Hour))
		return true
	}
	e.Days = int(left / (24 * time.Hour))
	for _, days := range alerts {
		if left <= time.Duration(days)*24*time.Hour {
			e.Within = days
			return true
		}
	}
	return false
}

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
	Within int // 60, 30 or 7 days; 0 when it has ended, or later than that
}

// Expiring lists what of the seals in use ends within 60 days, soonest first: the
// seals themselves, their holders' certificates and their makers'. Revoked seals are
// left out.
func (r *Registry) Expiring(now time.Time) []Expiry {
	var list []Expiry
	for _, e := range r.Ends(now) {
		if _, _, soon := Left(e.Until, now); soon {
			list = append(list, e)
		}
	}
	return list
}

// Ends lists when what is in use ends, however late; else as Expiring.
func (r *Registry) Ends(now time.Time) []Expiry {
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
			e.Days, e.Within, _ = Left(e.Until, now)
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b Expiry) int {
		return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.SealID, b.SealID), cmp.Compare(a.What, b.What))
	})
	return list
}

// Left tells how long something lasts, as in Expiry, and whether its end is near
// enough, or past, for an alert.
func Left(until, now time.Time) (days, within int, soon bool) {
	left := until.Sub(now)
	if left < 0 {
		return -1 - int(-left/(24*time.Hour)), 0, true
	}
	days = int(left / (24 * time.Hour))
	for _, d := range alerts {
		if left <= time.Duration(d)*24*time.Hour {
			return days, d, true
		}
	}
	return days, 0, false
}

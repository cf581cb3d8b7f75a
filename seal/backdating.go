package seal

import (
	"time"

	"yizheng/seal/revocation"
)

// A signing time is what the signer says. Whoever has a key that was stolen, or the
// maker's, can write any, so that it counts against a later revocation for that
// reason only if somebody else proves it: a time stamp, or the record of the issue in
// an audit log that the caller trusts (VerifyWitnessed). An orderly end of a
// certificate or seal leaves what was signed before it as good as it was.

// fate of a key, as far as the end of its certificate or seal tells.
type fate int

const (
	kept      fate = iota // it stayed with its holder
	undecided             // suspended, or nobody says why
	lost                  // others had it, or may have had it
)

// ending is the end of a certificate or seal after the signing time. The zero value
// is none.
type ending struct {
	since time.Time
	fate  fate
	what  Text // ended, and why
}

// certificateEnding is that of a certificate.
func certificateEnding(s revocation.Status, zh, en string) ending {
	if s.Since.IsZero() {
		return ending{}
	}
	e := ending{since: s.Since, fate: undecided}
	switch {
	case s.Reason.Compromised():
		e.fate = lost
	case s.Reason.Orderly():
		e.fate = kept
	}
	whyZH, whyEN := s.Reason.Text()
	e.what = say("%[1]s已于 %[2]s 被吊销（%[3]s）", "%[4]s was revoked on %[2]s (%[5]s)", zh, moment(s.Since), whyZH, en, whyEN)
	return e
}

// ending is that of a seal: from when on it was out of use without coming back.
func (l *StatusList) ending(esid string, now time.Time) (e ending) {
	if l == nil {
		return e
	}
	revoked := false
	for _, one := range l.Events {
		if one.ESID != esid || one.At.After(now) || revoked {
			continue
		}
		if one.State == Issued {
			e = ending{}
			continue
		}
		if e.since.IsZero() {
			e.since = one.At
		}
		f := one.Reason.fate()
		if f == lost && one.State == Suspended { // it may come back
			f = undecided
		}
		e.fate = max(e.fate, f)
		revoked = one.State == Revoked
		e.what = say("印章已于 %[1]s %[2]s（%[3]s）", "the seal was %[4]s on %[1]s (%[5]s)", moment(e.since), stateNames[one.State].ZH, one.Reason.Text().ZH, stateNames[one.State].EN, one.Reason.Text().EN)
	}
	return e
}

var stateNames = map[State]Text{Suspended: {"停用", "suspended"}, Revoked: {"撤销", "revoked"}}

// reasons are the codes of the register of seals (docs/protocol/seal-register.md).
var reasons = map[Reason]struct {
	fate fate
	text Text
}{
	"LOST": {lost, Text{"丢失", "lost"}}, "COMPROMISED": {lost, Text{"密钥泄露", "key compromise"}},
	"REORGANISED": {kept, Text{"机构变更", "reorganised"}}, "EXPIRED": {kept, Text{"到期", "expired"}}, "FOUND": {kept, Text{"找回", "found"}},
	"MISTAKE": {kept, Text{"办理有误", "mistake"}}, "RETIRED": {kept, Text{"不再使用", "retired"}}, "": {undecided, Text{"未说明原因", "no reason given"}},
}

// fate of the key of a seal that is out of use for a reason.
func (r Reason) fate() fate {
	if known, ok := reasons[r]; ok {
		return known.fate
	}
	return undecided
}

// Text names the reason; a code not known here stands for itself.
func (r Reason) Text() Text {
	if known, ok := reasons[r]; ok {
		return known.text
	}
	return Text{string(r), string(r)}
}

// judge says whether the ending speaks against a document that claims to be older: ok,
// fail, or unknown where the fate of the key is.
func (v *verification) judge(e ending) Result {
	if e.since.IsZero() || e.fate == kept || !v.proven.IsZero() && v.proven.Before(e.since) {
		return OK
	}
	v.r.Unproven = true
	if e.fate == lost {
		return Fail
	}
	return Unknown
}

// onlyClaimed is the reason of a check that an ending speaks against.
func (v *verification) onlyClaimed(e ending) Text {
	t := say("；签章时间（%[1]s）只是签章者自称，没有时间戳证明在此之前", "; that the signing time (%[1]s) is before it is only claimed, no time stamp proves it", moment(v.at))
	if !v.proven.IsZero() {
		t = say("；经证明的时间（%[1]s）不在此之前", "; what is proven (%[1]s) is not before it", moment(v.proven))
	}
	return e.what.and(t)
}

// checkBackdating judges what ended after the signing time; it leaves a check 6 that
// failed already as it is.
func (v *verification) checkBackdating() {
	if v.r.Checks[CheckTime-1].Result != OK {
		return
	}
	worst := OK
	for _, e := range []ending{certificateEnding(v.revoked, "签章者证书", "the signer's certificate"), v.trust.statusOf(v.maker).ending(v.r.ESID, v.now)} {
		if r := v.judge(e); r == Fail || r == Unknown && worst == OK {
			worst = r
			v.r.set(CheckTime, r, v.onlyClaimed(e))
		}
	}
}

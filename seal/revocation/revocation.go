// Package revocation finds out whether a certificate was revoked at a time, from
// revocation lists (RFC 5280) and OCSP responders (RFC 6960), with SM2 and SM3.
//
// Information comes from lists added by hand, which need no network, and from the
// addresses of the configuration. Addresses inside certificates are not followed
// unless the configuration says so (Named), nor are redirections: whoever sends a
// certificate must not choose whom this machine calls. What was fetched is kept until it is due again, a failure for half a minute:
// a responder that cannot be reached costs one deadline and not one for every
// document, and one that has no good answer about a certificate still is asked about
// others. All who need the same answer wait for one call; others do not wait for it.
//
// Every Status says where it comes from, when that was made and when the next is due.
// A list that is out of date is believed during the grace period of the Policy, and
// for as long as one likes about times before it was made. Whatever source says
// "revoked" is believed against the others.
package revocation

import (
	"errors"
	"fmt"
	"time"

	"yizheng/catalog/beijing"
	"yizheng/seal/reach"
)

// ErrFormat is wrapped by errors about lists and answers that are not of the
// standard's form, or have critical extensions not known here.
var ErrFormat = errors.New("revocation: malformed")

// ErrNotOCSP and ErrNotList are returned for what is not even of the outer form of an
// answer or a list: whatever is at that address, it is something else.
var (
	ErrNotOCSP = fmt.Errorf("%w: not an OCSP response", ErrFormat)
	ErrNotList = fmt.Errorf("%w: not a revocation list", ErrFormat)
)

// Refusal is an OCSP answer that is a refusal (RFC 6960, 4.2.1).
type Refusal struct{ Status int }

func (r *Refusal) Error() string {
	return fmt.Sprintf("revocation: the OCSP responder refused with status %d", r.Status)
}

// ErrUntrusted is returned for a list or an answer that is not signed by the issuer
// or by a responder it appointed.
var ErrUntrusted = errors.New("revocation: not signed by the issuer or its responder")

// ErrUnreachable is wrapped when there was no whole answer of any kind in time.
var ErrUnreachable = errors.New("revocation: unreachable")

// ErrNotNamed is the fault of a certificate that names no responder which could be
// asked, or of an authority that none is configured for.
var ErrNotNamed = errors.New("revocation: no responder for this certificate")

// State of a certificate.
type State string

// The states. Unknown is not a pass: see Status.Tolerated.
const (
	Good    State = "good"
	Revoked State = "revoked"
	Unknown State = "unknown"
)

// Kinds of source.
const (
	SourceCRL  = "crl"
	SourceOCSP = "ocsp"
)

// Policy says what to do when there is nothing fresh.
type Policy struct {
	// Grace is how long after its next update was due an answer is still believed.
	Grace time.Duration
	// Required makes Unknown final; otherwise it is tolerated, and said.
	Required bool
	// Answered lets only a responder's answer make a certificate Good; a list may still
	// say that it is revoked.
	Answered bool
}

// Status is what is known about a certificate at one time.
type Status struct {
	State     State
	Tolerated bool      // Unknown, and the policy goes on without
	Since     time.Time // of the revocation, also of one after the time asked about; else zero
	Reason    Reason    // of that revocation
	Stale     bool      // the next update was due before now

	Source     string    // SourceCRL, SourceOCSP, or "" when there is none
	From       string    // file or address; without a source, the address asked in vain
	ProducedAt time.Time // thisUpdate
	NextUpdate time.Time // zero when the source names none
	Fault      error     // why there is no source although somebody was to be asked; else nil
}

// Text is the status as a sentence in Chinese and in English, freshness included.
func (s Status) Text() (zh, en string) {
	whyZH, whyEN := s.Reason.Text()
	switch {
	case s.State == Revoked:
		zh, en = "证书自 "+moment(s.Since)+" 起被吊销，"+whyZH, "the certificate has been revoked since "+moment(s.Since)+", "+whyEN
	case s.State == Good && !s.Since.IsZero():
		zh, en = "签章时证书有效；此后于 "+moment(s.Since)+" 被吊销，"+whyZH, "valid when used; revoked later, on "+moment(s.Since)+", "+whyEN
	case s.State == Good:
		zh, en = "证书未吊销", "not revoked"
	case s.Source == "" && s.Fault != nil:
		return faultText(s.Fault)
	case s.Source == "":
		return "没有吊销列表或吊销服务，未查吊销", "without a revocation list or responder: revocation was not looked up"
	case s.Stale:
		zh, en = "吊销信息过期，且已超过宽限期", "the revocation information is out of date, beyond the grace period"
	default:
		zh, en = "签发者的吊销服务不认识此证书", "the issuer's responder does not know the certificate"
	}
	zhFresh, enFresh := s.freshness()
	return zh + "（" + zhFresh + "）", en + " (" + enFresh + ")"
}

// faultText puts a Fault into words; addresses are for Status.From.
func faultText(err error) (zh, en string) {
	var call *reach.Fault
	var refused *Refusal
	switch {
	case errors.As(err, &call):
		zh, en = call.Text()
		return "未能查吊销，吊销服务：" + zh, "revocation could not be looked up: " + en
	case errors.As(err, &refused):
		why := refusals[refused.Status]
		return fmt.Sprintf("未能查吊销：吊销服务（OCSP）不予答复，状态 %d%s；请向其运营单位核实", refused.Status, why[0]),
			fmt.Sprintf("revocation could not be looked up: the OCSP responder refused with status %d%s; ask who runs it", refused.Status, why[1])
	case errors.Is(err, ErrNotOCSP):
		return "未能查吊销：该地址的答复不是 OCSP 答复；请核对吊销服务的地址", "revocation could not be looked up: what answers there is no OCSP responder; check its address"
	case errors.Is(err, ErrNotList):
		return "未能查吊销：该地址给出的不是吊销列表；请核对吊销列表的地址", "revocation could not be looked up: what is at that address is no revocation list; check the address"
	case errors.Is(err, ErrUnreachable):
		return "未能查吊销：吊销服务没有完整答复；请稍后再试", "revocation could not be looked up: the revocation service gave no whole answer; try again later"
	case errors.Is(err, ErrUntrusted):
		return "吊销服务的答复不是签发者或其指定者签名的，不予采信；请核对其地址，并向签发机构核实", "the answer about revocation is not signed by the issuer or a responder of it, and not believed; check the address, and ask the authority"
	case errors.Is(err, ErrNotNamed):
		return "未能查吊销：没有可问的吊销服务，证书未写明地址，也未配置；请配置签发机构的吊销服务地址", "revocation could not be looked up: no responder to ask, the certificate names none and none is configured; configure the authority's"
	}
	return "未能查吊销：吊销服务的答复有误，不予采信；请向其运营单位核实", "revocation could not be looked up: the answer about revocation is faulty and not believed; ask who runs the service"
}

// refusals are the statuses of RFC 6960, 4.2.1.
var refusals = map[int][2]string{
	1: {"（认为请求有误）", " (it calls the question malformed)"},
	2: {"（其内部故障）", " (a fault of its own)"},
	3: {"（请稍后再试）", " (try later)"},
	5: {"（要求请求签名）", " (it wants questions signed)"},
	6: {"（未授权查询此机构的证书）", " (it does not answer for this authority, or not to you)"},
}

func (s Status) freshness() (zh, en string) {
	zh, en = "吊销列表 "+moment(s.ProducedAt), "revocation list of "+moment(s.ProducedAt)
	if s.Source == SourceOCSP {
		zh, en = "OCSP 答复 "+moment(s.ProducedAt), "OCSP answer of "+moment(s.ProducedAt)
	}
	switch {
	case s.NextUpdate.IsZero():
		return zh, en
	case s.Stale:
		return zh + "，应于 " + moment(s.NextUpdate) + " 更新，已过期", en + ", out of date since " + moment(s.NextUpdate)
	}
	return zh + "，下次更新 " + moment(s.NextUpdate), en + ", next due " + moment(s.NextUpdate)
}

func moment(t time.Time) string { return t.In(beijing.Zone()).Format("2006-01-02 15:04:05") }

// answer is what one source says about one certificate.
type answer struct {
	source, from         string
	unknown              bool      // the responder does not know the certificate
	since                time.Time // of the revocation, zero when not revoked
	reason               Reason
	produced, nextUpdate time.Time
}

// clockSkew is how far ahead another's clock may be.
const clockSkew = 5 * time.Minute

// due is when an answer ceases to be fresh. One that names no next update says that
// newer information is there at any time (RFC 6960, 4.2.2.1).
func (a answer) due() time.Time {
	if a.nextUpdate.IsZero() {
		return a.produced.Add(clockSkew)
	}
	return a.nextUpdate
}

// judge turns an answer into the status at a time.
func (p Policy) judge(a answer, at, now time.Time) Status {
	s := Status{
		State: Good, Since: a.since, Reason: a.reason, Stale: a.due().Before(now),
		Source: a.source, From: a.from, ProducedAt: a.produced, NextUpdate: a.nextUpdate,
	}
	switch {
	case !a.since.IsZero() && !a.since.After(at):
		s.State = Revoked
	case a.unknown, a.produced.Before(at) && a.due().Add(p.Grace).Before(now):
		s.State, s.Tolerated = Unknown, !p.Required
	}
	return s
}

// better reports whether s tells more than t: a revocation more than anything, an
// answer more than none, a compromise of the key more than another reason, the newer
// more than the older.
func (s Status) better(t Status) bool {
	rank := map[State]int{Unknown: 0, Good: 1, Revoked: 2}
	switch {
	case rank[s.State] != rank[t.State]:
		return rank[s.State] > rank[t.State]
	case s.Since.IsZero() != t.Since.IsZero():
		return t.Since.IsZero()
	case s.Reason.graver(t.Reason) || t.Reason.graver(s.Reason):
		return s.Reason.graver(t.Reason)
	}
	return s.ProducedAt.After(t.ProducedAt)
}

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrFormat, what) }

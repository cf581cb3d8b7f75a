package exchange

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/catalog/beijing"
)

// append makes entries durable even if the caller has hung up: a lost caller
// must not lose the record. The log bounds the wait itself.
func (s *Service) append(ctx context.Context, entries ...audit.Entry) ([]audit.Receipt, error) {
	receipts, err := s.audit.Append(context.WithoutCancel(ctx), entries...)
	if err != nil {
		return nil, &Refusal{Reason: ReasonUnavailable, Chinese: "审计日志暂不可写，未放行任何结果；请稍后重试",
			English: "the audit log cannot be written, nothing was released; try again later", Err: err}
	}
	return receipts, nil
}

// entry starts a record with what all records of an exchange share.
func (s *Service) entry(op audit.Op, phase audit.Phase, who Principal) audit.Entry {
	dept := ""
	if c, ok := s.release.Catalogue.Caller(who.Caller); ok {
		dept = string(c.Department)
	}
	workstation := ""
	if len(who.Workstations) > 0 {
		workstation = string(who.Workstations[0])
	}
	return audit.Entry{
		Open: audit.Open{Op: op, Phase: phase, Department: dept, System: string(who.Caller), Release: s.release.Number},
		Closed: audit.Closed{
			Actor: string(who.Operator), Auth: "certificate", CertSN: who.Certificate, Session: who.Session,
			Workstation: workstation, Node: s.slot, IP: who.Address, Trace: who.Trace,
		},
	}
}

// about adds the exchange and its terms.
func (x *Exchange) about(e audit.Entry) audit.Entry {
	e.Open.Exchange, e.Open.Item, e.Open.Case = x.Number, string(x.plan.item.Code), x.Request.Case
	e.Open.Purpose, e.Open.Basis = x.plan.purpose.Code, x.plan.basis.Code
	return e
}

// prev points at the record of the intent, if it is in this log: a deferred
// part may be finished by another gateway, or in another quarter. Auditors find
// it by the exchange's number then.
func (s *Service) prev(x *Exchange) *uint64 {
	if x.intent.Origin != s.audit.Latest().Origin() {
		return nil
	}
	return &x.intentIndex
}

// workstations are those at which the cards were read, in the order of the subjects.
func (x *Exchange) workstations() []string {
	var list []string
	for _, sub := range x.subjects() {
		if w := sub.claims.Workstation; !slices.Contains(list, w) {
			list = append(list, w)
		}
	}
	return list
}

func (s *Service) ref(sub *subject) (audit.SubjectRef, error) {
	p := sub.claims.Person
	r, err := s.pseudonyms.Of(string(p.Type), p.Number.Reveal(), s.now())
	if err != nil {
		return r, &Refusal{Reason: ReasonUnavailable, Chinese: "假名服务暂不可用，未放行任何结果；请稍后重试",
			English: "the pseudonym service is not available, nothing was released; try again later", Err: fmt.Errorf("pseudonym: %w", err)}
	}
	r.Role = string(sub.role)
	return r, nil
}

// recordIntent writes one record of all legs that will be asked, and waits
// until it is durable. Its pointer is printed in every document of the exchange.
func (s *Service) recordIntent(ctx context.Context, x *Exchange) error {
	e := x.about(s.entry(audit.OpQuery, audit.PhaseIntent, x.who))
	for _, sub := range x.subjects() {
		r, err := s.ref(sub)
		if err != nil {
			return err
		}
		e.Open.Subjects = append(e.Open.Subjects, r)
	}
	e.Open.Consent = x.plan.notice
	e.Closed.Workstation = strings.Join(x.workstations(), ",")
	x.plan.pickup.record(&e)
	for _, pt := range x.plan.parts {
		if pt.gone {
			continue
		}
		for _, f := range pt.fields {
			if !pt.proof.Sensitive { // the legs' digests cover them
				e.Open.Fields = append(e.Open.Fields, pt.id+"."+f)
			}
		}
		for _, l := range pt.legs {
			e.Closed.Legs = append(e.Closed.Legs, l.id+" "+string(l.source.ID)+" "+l.digest.String())
		}
	}
	if x.repeated {
		e.Closed.Reason = "REPEATED"
	}
	receipts, err := s.append(ctx, e)
	if err != nil {
		return err
	}
	if x.intent.Origin == "" { // a repeat may know its first intent, which documents name
		x.intent, x.intentIndex = receipts[0].Pointer(), receipts[0].Index
	}
	return nil
}

// recordWithheld is the outcome of an intent, or of one part of it, that comes to
// nothing because something panicked.
func (s *Service) recordWithheld(ctx context.Context, x *Exchange, part string) {
	e := x.about(s.entry(audit.OpRelease, audit.PhaseFailed, x.who))
	e.Open.Outcome, e.Open.Leg, e.Open.Prev = "WITHHELD", part, s.prev(x)
	e.Closed.Reason = "ABANDONED"
	if _, err := s.append(ctx, e); err != nil {
		s.log.Error("outcome not recorded", "exchange", x.Number, "part", part, "err", err)
	}
}

// recordRetry is the intent of asking one leg again.
func (s *Service) recordRetry(ctx context.Context, x *Exchange, pt *part, l *leg) error {
	e := x.about(s.entry(audit.OpQuery, audit.PhaseIntent, x.who))
	ref, err := s.ref(pt.subject)
	if err != nil {
		return err
	}
	e.Open.Subjects, e.Open.Proof = []audit.SubjectRef{ref}, string(pt.proof.Code)
	e.Open.Leg, e.Open.Prev, e.Open.Consent = l.id, s.prev(x), x.plan.notice
	e.Closed.Legs = []string{l.id + " " + string(l.source.ID) + " " + l.digest.String()}
	e.Closed.Reason = "RETRY"
	_, err = s.append(ctx, e)
	return err
}

// recordLegs notes that legs have ended. It does not wait: the release record's head covers it.
func (s *Service) recordLegs(x *Exchange, pt *part, legs []*leg) {
	for _, l := range legs {
		if err := s.audit.AppendAsync(s.legEnd(x, pt, l)); err != nil {
			s.log.Error("leg not recorded", "exchange", x.Number, "leg", l.id, "err", err)
		}
	}
}

// legEnd is the record of a leg's end, which is counted now that it may be known.
func (s *Service) legEnd(x *Exchange, pt *part, l *leg) audit.Entry {
	e := x.about(s.entry(audit.OpSourceCall, audit.PhaseDone, x.who))
	e.Open.Leg, e.Open.Proof, e.Open.Source = l.id, string(pt.proof.Code), string(l.source.ID)
	e.Open.Provider, e.Open.Route = string(l.source.Department), string(l.source.Route)
	e.Open.Authenticity, e.Open.Millis = string(l.answer.auth), l.millis
	e.Open.Outcome = l.answer.code.Public(pt.proof.Sensitive)
	if pt.proof.Sensitive {
		e.Open.Authenticity, e.Open.Millis = "", 0 // both differ with what was found
	}
	e.Open.Prev = s.prev(x)
	s.legEnded(e.Open.Provider, e.Open.Route, e.Open.Outcome)
	return e
}

// recordRelease writes what is about to leave: the release record and, for a
// document, its public issue leaf, in one batch; and waits until both are durable.
// Of a sensitive proof the ends of its legs come with them, no earlier. The
// receipts are those of the release record and, if there is one, the issue leaf.
func (s *Service) recordRelease(ctx context.Context, x *Exchange, pt *part, legs []*leg, v verdict, is *issued, took time.Duration) ([]audit.Receipt, error) {
	ref, err := s.ref(pt.subject)
	if err != nil {
		return nil, err
	}
	e := x.about(s.entry(audit.OpRelease, audit.PhaseDone, x.who))
	e.Open.Subjects = []audit.SubjectRef{ref}
	e.Open.Proof, e.Open.Outcome, e.Open.Prev = string(pt.proof.Code), v.code.Public(pt.proof.Sensitive), s.prev(x)
	e.Open.Provider = string(pt.proof.Owner)
	if !pt.proof.Sensitive {
		e.Open.Authenticity, e.Open.Millis = string(v.auth), took.Milliseconds()
	}
	entries := s.commit(pt, v, is, e)
	own := len(entries)
	if pt.proof.Sensitive {
		for _, l := range legs {
			entries = append(entries, s.legEnd(x, pt, l))
		}
	}
	receipts, err := s.append(ctx, entries...)
	if err != nil {
		return nil, err
	}
	if own > 1 { // blanks too: a number of the log that nobody knew would be a blank
		s.documents.add(is.number, s.audit, receipts[1])
	}
	return receipts[:own], nil
}

// commit adds the salted commitments and the issue leaf. A sensitive proof gets
// both whatever it found, see blank, so that their mere presence tells nobody
// that something was there.
func (s *Service) commit(pt *part, v verdict, is *issued, release audit.Entry) []audit.Entry {
	if v.wording.Receipt != "" && !pt.proof.Sensitive {
		release.Closed.Digests = map[string]string{"manual": manualDigest(v.wording.Receipt)}
	}
	if is == nil {
		return []audit.Entry{release}
	}
	seed := is.secret.Seed()
	release.Closed.Commitments = map[string]string{
		"result": b64(ResultCommitment(seed, v.code)),
		"fields": b64(is.root),
	}
	if pt.proof.Sensitive { // the same members whatever was found
		// salted: a number that is still pending when it is used would recur
		release.Closed.Digests = map[string]string{"manual": manualDigest(b64(seed) + v.wording.Receipt)}
	}
	if !pt.mayIssue() || is.file == nil && !pt.proof.Sensitive {
		return []audit.Entry{release}
	}
	release.Closed.Object = sealLog(pt.proof, is.use.SealID)
	digest := b64(DocumentDigest(seed, is.file))
	release.Closed.Commitments["document"] = digest
	if !pt.proof.Sensitive {
		release.Closed.SealCert, release.Closed.Stamp = is.use.CertSN, is.use.Stamp()
	}
	return []audit.Entry{release, s.issueLeaf(pt, is.number, is.until, digest)}
}

// sealLog names the seal that was used, as records of its other steps do. For a
// sensitive proof it names every seal the issuer may have, used or not.
func sealLog(proof catalog.Proof, used string) string {
	if !proof.Sensitive {
		return "seal/" + used
	}
	var all []string
	for _, id := range proof.Issuer.Seals() {
		all = append(all, "seal/"+string(id))
	}
	return strings.Join(all, " ")
}

// manualDigest lets a resident who shows a 受理号 be matched with its record; the number is random and kept nowhere.
func manualDigest(number string) string {
	d := sm3.Sum([]byte("yizheng-manual-v1\n" + number))
	return b64(d[:])
}

// issueLeaf is the public record of a document: no person, case, item or field.
func (s *Service) issueLeaf(pt *part, number string, until time.Time, digest string) audit.Entry {
	return audit.Entry{Open: audit.Open{
		Op: audit.OpIssue, Phase: audit.PhaseDone, Provider: string(pt.proof.Owner), Proof: string(pt.proof.Code),
		Number: number, Date: s.now().In(beijing.Zone()).Format(time.DateOnly), Valid: until.In(beijing.Zone()).Format(time.DateOnly),
		Status: "valid", Digest: digest,
	}}
}

// RecordView makes durable that who is about to see the outcome of sensitive
// parts of an exchange in v. Each release is recorded once for each of them.
func (s *Service) RecordView(ctx context.Context, who Principal, x *Exchange, v View) error {
	var entries []audit.Entry
	shown := x.unseen(who, v)
	for _, pt := range shown {
		e := x.about(s.entry(audit.OpDocView, audit.PhaseDone, who))
		e.Open.Leg, e.Open.Proof = pt.id, string(pt.proof.Code)
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil
	}
	if _, err := s.append(ctx, entries...); err != nil {
		return err
	}
	x.saw(who, shown)
	return nil
}

// recordClose ends the exchange: the sufficiency of what was found stays with the caller, only the time is open.
func (s *Service) recordClose(ctx context.Context, x *Exchange) error {
	e := x.about(s.entry(audit.OpQuery, audit.PhaseDone, x.who))
	e.Open.Prev, e.Open.Millis = s.prev(x), s.now().Sub(x.Began).Milliseconds()
	_, err := s.append(ctx, e)
	return err
}

// recordRefusal writes why a request was turned away and passes the refusal on.
// If even that cannot be recorded, the caller learns only that the log is down.
func (s *Service) recordRefusal(ctx context.Context, who Principal, req Request, cause error) error {
	var r *Refusal
	if !errors.As(cause, &r) || r.Reason == ReasonUnavailable {
		return cause
	}
	e := s.entry(audit.OpDeny, audit.PhaseDenied, who)
	if _, ok := s.release.Catalogue.Item(req.Item); ok { // never copy unknown text into the log
		e.Open.Item = string(req.Item)
	}
	e.Open.Outcome, e.Closed.Reason = string(r.Reason), r.Where
	if _, err := s.append(ctx, e); err != nil {
		return err
	}
	return cause
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

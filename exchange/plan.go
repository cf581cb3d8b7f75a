package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"yizheng/catalog"
	"yizheng/identity"
	"yizheng/identity/jose"
)

// subject is one person of an exchange, opened from a token. It lives in
// memory until the exchange is forgotten.
type subject struct {
	role   catalog.Role
	claims identity.SubjectClaims
}

// plan is what an exchange will ask, decided before anything is asked.
type plan struct {
	item      catalog.Item
	situation catalog.Situation
	basis     catalog.Term
	purpose   catalog.Term
	notice    string // shown to the residents; empty where the item has none and the caller names none
	parts     []*part
	reply     jose.ReplyKey
	pickup    pickup
}

// part is one proof about one person: asked, judged, sealed and released by
// itself, so that a slow department delays only its own document.
type part struct {
	id      string // proof code, with "@role" for others than the applicant
	proof   catalog.Proof
	subject *subject
	grant   catalog.Grant
	denied  bool
	fields  []string // granted, and asked for if the request narrowed them
	legs    []*leg
	order   *Order // what its front needs for a seal that is hosted there; nil without one
	result  *result
	manual  string                      // 受理号, once the part has one
	until   time.Time                   // not zero: deferred, and its department has time until then
	gone    bool                        // the person is not known here (any more): nothing can be asked again
	seen    map[catalog.OperatorID]bool // a view of the result is recorded for them
}

// mayIssue reports whether a document can come of the part.
func (pt *part) mayIssue() bool { return !pt.denied && pt.grant.Output != catalog.OutputData }

// leg is one question to one source.
type leg struct {
	id     string
	source catalog.Source
	terms  LegTerms
	digest LegDigest
	answer checked   // the last attempt's
	until  time.Time // not zero: asked again with more time, and waits for the answer
	ended  bool
	millis int64
}

// identify opens the subject tokens and holds them against who asks and what for.
func (s *Service) identify(who Principal, req Request) ([]*subject, error) {
	if len(req.Subjects) == 0 {
		return nil, refuse(ReasonRole, "subjects", "缺少读卡凭据，请先刷身份证", "no subject token; read a card first")
	}
	if len(req.Subjects) > 8 {
		return nil, refuse(ReasonInvalid, "subjects", "一次最多 8 人", "at most 8 persons in one exchange")
	}
	var subjects []*subject
	for i, t := range req.Subjects {
		where := fmt.Sprintf("subjects[%d]", i)
		claims, err := s.openToken(t.Token, where+".token")
		if err != nil {
			return nil, err
		}
		if err := bound(who, req, t.Role, claims, where); err != nil {
			return nil, err
		}
		for _, o := range subjects {
			if o.role == t.Role || o.claims.JTI == claims.JTI {
				return nil, refuse(ReasonInvalid, where, "同一身份或同一凭据出现两次", "the same role or token appears twice")
			}
			if o.claims.Person.Type == claims.Person.Type && o.claims.Person.Number.Equal(claims.Person.Number) {
				return nil, refuse(ReasonInvalid, where, "两种身份刷的是同一人的证件，请为每人各刷本人的证件",
					"one person's card was read for two roles; read each person's own card")
			}
		}
		subjects = append(subjects, &subject{role: t.Role, claims: claims})
	}
	return subjects, nil
}

func (s *Service) openToken(token, where string) (identity.SubjectClaims, error) {
	claims, err := identity.OpenSubject(s.tokenKey, token, s.now())
	switch {
	case errors.Is(err, identity.ErrExpiredToken):
		return claims, refuse(ReasonToken, where, "读卡凭据已过期，请重新刷证", "subject token expired; read the card again")
	case err != nil:
		return claims, refuse(ReasonToken, where, "读卡凭据无效，请重新刷证", "subject token not valid; read the card again")
	}
	return claims, nil
}

// Resident is the person of a live subject token that was minted for who brings
// it, whatever the matter: for the person's own questions, which it does not
// spend. A refusal is recorded.
func (s *Service) Resident(ctx context.Context, who Principal, token string) (identity.Person, error) {
	claims, err := s.openToken(token, "subject")
	if err == nil {
		err = bound(who, Request{Item: catalog.ItemCode(claims.Item), Case: claims.Case, Purpose: claims.Purpose}, catalog.Role(claims.Role), claims, "subject")
	}
	if err != nil {
		return identity.Person{}, s.recordRefusal(ctx, who, Request{}, err)
	}
	return claims.Person, nil
}

// ResidentElsewhere is whom a subject token is about that was shown to another
// gateway of the fleet, and who showed it there. That gateway has held the token
// to them, as Resident does.
func (s *Service) ResidentElsewhere(token string) (identity.Person, Principal, error) {
	claims, err := s.openToken(token, "subject")
	return claims.Person, Principal{Caller: catalog.CallerID(claims.Caller), Operator: catalog.OperatorID(claims.Operator)}, err
}

// bound holds a token to the caller, operator, workstation, item, case, purpose and role it was minted for.
func bound(who Principal, req Request, role catalog.Role, c identity.SubjectClaims, where string) error {
	elsewhere := ""
	switch {
	case c.Caller != string(who.Caller):
		elsewhere = "caller"
	case c.Operator != string(who.Operator):
		elsewhere = "operator"
	case !slices.Contains(who.Workstations, catalog.WorkstationID(c.Workstation)):
		elsewhere = "workstation"
	case c.Item != string(req.Item):
		elsewhere = "item"
	case c.Case != req.Case:
		elsewhere = "case"
	case c.Purpose != req.Purpose:
		elsewhere = "purpose"
	case c.Role != string(role):
		elsewhere = "role"
	default:
		return nil
	}
	return refuse(ReasonTokenElsewhere, where+".token",
		"读卡凭据不属于本次请求（"+elsewhere+" 不符），请为本件重新刷证",
		"subject token was minted for another "+elsewhere+"; read the card again for this case")
}

// authorise turns a request into a plan or refuses it. Default deny: only the
// proofs of the item's situation, only with a grant, only the granted fields.
func (s *Service) authorise(who Principal, req Request, subjects []*subject) (*plan, error) {
	c := s.release.Catalogue
	item, ok := c.Item(req.Item)
	if !ok {
		return nil, refuse(ReasonUnknownItem, "item", "没有这个事项，请核对事项编码", "no such item; check the item code")
	}
	p := &plan{item: item}
	if p.situation, ok = item.Situation(req.Situation); !ok {
		return nil, refuse(ReasonUnknownItem, "situation", "本事项没有这种情形", "the item has no such situation")
	}
	if chinese, english := catalog.CaseFault(req.Case); english != "" {
		return nil, refuse(ReasonInvalid, "case", chinese, english)
	}
	if !slices.Contains(item.Purposes, req.Purpose) {
		return nil, refuse(ReasonPurpose, "purpose", "本事项不允许此用途", "the item does not allow this purpose")
	}
	p.purpose, _ = c.Purpose(req.Purpose)
	p.basis, _ = c.LegalBasis(item.LegalBasis)
	var err error
	if p.notice, err = shown(item, req.Notice); err != nil {
		return nil, err
	}
	if p.reply, err = jose.ParseReplyKey(req.ReplyKey); err != nil {
		return nil, refuse(ReasonReplyKey, "reply_key", "回执公钥无效：须为 SM2 或 P-256 的 JWK", "reply_key must be an SM2 or P-256 public JWK")
	}
	if err := present(item.RolesIn(p.situation), subjects); err != nil {
		return nil, err
	}
	codes, err := wanted(p.situation, req)
	if err != nil {
		return nil, err
	}
	for _, code := range codes {
		if err := s.addParts(p, who, req, code, subjects); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// shown is the notice that the residents were shown: the item's in the version in
// force. A caller that says which it shows cannot go on with one that is out of date.
func shown(item catalog.Item, said string) (string, error) {
	current := ""
	if item.Notice != (catalog.Notice{}) {
		current = item.Notice.String()
	}
	if said == "" {
		return current, nil
	}
	if _, ok := catalog.ParseNotice(said); !ok {
		return "", refuse(ReasonInvalid, "notice", "告知书写作 编码@版本，如 N-PRH@1", "name the notice as id@version, such as N-PRH@1")
	}
	if current != "" && said != current {
		return "", refuse(ReasonNotice, "notice", "出示的告知书不是现行版本；现行为 "+current+"，请向当事人重新出示后再办，已记录",
			"the notice shown is not the one in force, "+current+"; show that one and ask again; this has been recorded")
	}
	return said, nil
}

// present holds the persons who showed a card to those the situation asks for.
func present(roles []catalog.Role, subjects []*subject) error {
	for _, role := range roles {
		if !slices.ContainsFunc(subjects, func(s *subject) bool { return s.role == role }) {
			return refuse(ReasonRole, "subjects", "本情形须由 "+string(role)+" 本人刷证", "this situation needs a card read of role "+string(role))
		}
	}
	for i, s := range subjects {
		if !slices.Contains(roles, s.role) {
			return refuse(ReasonRole, fmt.Sprintf("subjects[%d].role", i), "本情形没有身份 "+clip(string(s.role)), "this situation has no role "+clip(string(s.role)))
		}
	}
	return nil
}

// wanted is the list of proofs to ask for, in the situation's order.
func wanted(s catalog.Situation, req Request) ([]catalog.ProofCode, error) {
	all := slices.Clone(s.Required)
	for _, group := range s.AnyOf {
		all = append(all, group...)
	}
	all = append(all, s.Optional...)
	for _, code := range req.Proofs {
		if !slices.Contains(all, code) {
			return nil, refuse(ReasonOutsideItem, "proofs", "证明 "+clip(string(code))+" 不在本事项的材料清单内，已记录", "proof "+clip(string(code))+" is not in the item's list; this has been recorded")
		}
	}
	for code := range req.Fields {
		if !slices.Contains(all, code) {
			return nil, refuse(ReasonOutsideItem, "fields", "证明 "+clip(string(code))+" 不在本事项的材料清单内，已记录", "proof "+clip(string(code))+" is not in the item's list; this has been recorded")
		}
	}
	var list []catalog.ProofCode
	for _, code := range all {
		if (len(req.Proofs) == 0 || slices.Contains(req.Proofs, code)) && !slices.Contains(list, code) {
			list = append(list, code)
		}
	}
	return list, nil
}

// clip keeps an echoed code short and printable.
func clip(s string) string {
	r := []rune(s)
	if len(r) > 32 {
		r = r[:32]
	}
	for i, c := range r {
		if c < ' ' || c == 0x7f {
			r[i] = '?'
		}
	}
	return string(r)
}

func (s *Service) addParts(p *plan, who Principal, req Request, code catalog.ProofCode, subjects []*subject) error {
	proof, ok := s.release.Catalogue.Proof(code)
	if !ok {
		return fmt.Errorf("plan: item %s lists unknown proof %s", p.item.Code, code)
	}
	asked := 0
	for _, sub := range subjects {
		if proof.SubjectRole != "any" && proof.SubjectRole != sub.role {
			continue
		}
		asked++
		pt := &part{id: partID(code, sub.role), proof: proof, subject: sub}
		if err := s.grant(pt, who, req); err != nil {
			return err
		}
		p.parts = append(p.parts, pt)
	}
	if asked == 0 {
		return refuse(ReasonRole, "subjects", "证明“"+proof.Name+"”须由 "+string(proof.SubjectRole)+" 本人刷证", "proof "+string(code)+" needs a card read of role "+string(proof.SubjectRole))
	}
	return nil
}

func partID(code catalog.ProofCode, role catalog.Role) string {
	if role == "applicant" {
		return string(code)
	}
	return string(code) + "@" + string(role)
}

// grant fills in what this caller may see of the proof; without a grant, a
// sufficient identity level or a source as authentic as the grant demands, the part is denied.
func (s *Service) grant(pt *part, who Principal, req Request) error {
	narrowed, some := req.Fields[pt.proof.Code]
	if some && len(narrowed) == 0 {
		return refuse(ReasonInvalid, "fields."+string(pt.proof.Code), "所列数据项为空：请至少列出一项，或不写此证明以取全部授权项", "the list of fields is empty: name at least one, or leave the proof out to get all that is granted")
	}
	g, ok := s.release.Catalogue.GrantFor(who.Caller, req.Item, pt.proof.Code)
	if !ok || !s.now().Before(g.NotAfter) || !pt.subject.claims.Satisfies(pt.proof.MinLevel, pt.proof.Evidence) {
		pt.denied = true
		return nil
	}
	pt.grant, pt.fields = g, slices.Clone(g.Fields)
	if some {
		for _, f := range narrowed {
			if !slices.Contains(g.Fields, f) {
				return refuse(ReasonOutsideGrant, "fields."+string(pt.proof.Code), "数据项 "+clip(f)+" 未获授权，已记录", "field "+clip(f)+" is outside the grant; this has been recorded")
			}
		}
		pt.fields = slices.Clone(narrowed)
	}
	slices.Sort(pt.fields)
	pt.fields = slices.Compact(pt.fields)
	for i, id := range pt.proof.Sources {
		src, ok := s.release.Catalogue.Source(id)
		if !ok {
			return fmt.Errorf("plan: proof %s names unknown source %s", pt.proof.Code, id)
		}
		if src.Authenticity.Less(g.Authenticity) {
			pt.denied = true
			pt.legs = nil
			return nil
		}
		pt.legs = append(pt.legs, &leg{id: fmt.Sprintf("%s.%d", pt.id, i+1), source: src})
	}
	if len(pt.legs) == 0 { // a catalogue does not load with such a proof
		pt.denied = true
	}
	return nil
}

// bind fixes every leg's digest once the exchange has its number.
func (p *plan) bind(number string, req Request, release uint64) {
	for _, pt := range p.parts {
		for _, l := range pt.legs {
			l.terms = LegTerms{
				Exchange: number, Leg: l.id, Commitment: pt.subject.claims.Commitment(), Item: p.item.Code,
				Proof: pt.proof.Code, Fields: pt.fields, Purpose: req.Purpose, Case: req.Case, Release: release,
			}
			l.digest = l.terms.Digest()
		}
	}
}

// deadline is the leg's own limit: the source's if it states one, else its route's.
func (s *Service) deadline(src catalog.Source) time.Duration {
	return src.Limit(s.release.Catalogue.Deadlines)
}

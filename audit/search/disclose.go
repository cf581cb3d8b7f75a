package search

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
	"yizheng/catalog/beijing"
	"yizheng/identity"
)

// A resident asks who used their data, after a read of their own card. The calls
// and names of fields are those of Estonia's Andmejälgija (findUsage,
// usagePeriod, heartbeat), so that a portal made for one can ask the other.

// Period bounds a resident's question.
type Period struct {
	Start  time.Time `json:"periodStart,omitzero"` // inclusive
	End    time.Time `json:"periodEnd,omitzero"`   // exclusive
	Offset int       `json:"offset,omitempty"`
	Limit  int       `json:"limit,omitempty"` // 1 to 1,000, default 100
	Proofs bool      `json:"proofs,omitempty"`
}

// Usage is one use of a resident's data. Action is in words for people.
type Usage struct {
	LogTime        time.Time `json:"logtime"`
	Action         string    `json:"action"`
	ReceiverCode   string    `json:"receiverCode,omitempty"` // department
	ReceiverName   string    `json:"receiverName,omitempty"`
	ReceiverSystem string    `json:"receiverSystem,omitempty"`
	Item           string    `json:"item,omitempty"`
	Case           string    `json:"case,omitempty"`
	Basis          string    `json:"basis,omitempty"`
	Purpose        string    `json:"purpose,omitempty"`
	Proof          string    `json:"proof,omitempty"`
	Provider       string    `json:"provider,omitempty"`
	Outcome        string    `json:"outcome,omitempty"`
	Fields         []string  `json:"fields,omitempty"`
	Exchange       string    `json:"exchange,omitempty"`
	Number         string    `json:"number,omitempty"` // of the certificate
	Origin         string    `json:"origin"`
	Index          uint64    `json:"index"`
	Evidence       *Evidence `json:"evidence,omitempty"`
}

// Evidence proves a usage without the closed half: LeafHashWithheld(Open,
// Closed) is the leaf of Receipt.
type Evidence struct {
	Open    string `json:"open"`    // as stored
	Closed  string `json:"closed"`  // salted hash of the closed half, standard base64
	Receipt string `json:"receipt"` // docs/protocol/audit-log.md §9
}

// Usages is the answer to findUsage. What is withheld is not counted.
type Usages struct {
	Total  int     `json:"totalUsages"`
	Usages []Usage `json:"usages"`
	// Complete: every log that may hold more has answered. Logs names them.
	Complete bool   `json:"complete"`
	Logs     []Log  `json:"logs"`
	Record   string `json:"record"` // this view's own entry
}

// maxUsages bounds what one question reads.
const maxUsages = 20_000

// FindUsage shows a resident the entries about them, newest first, of all
// gateways on the roster. The view is recorded before anything is shown, here and
// at every other gateway; token is what the person's card read gave, by which the
// others know whom it is about.
func (s *Service) FindUsage(ctx context.Context, who Who, person identity.Person, token string, p Period) (Usages, error) {
	if p.Offset < 0 || p.Limit < 0 || p.Limit > maxRows || !p.Start.IsZero() && !p.End.IsZero() && !p.Start.Before(p.End) {
		return Usages{}, invalid("limit", "起止时间、起始位置或条数不对；一次至多 1000 条", "period, offset or limit is wrong; at most 1,000 at a time")
	}
	if p.Limit == 0 {
		p.Limit = defaultLimit
	}
	if p.Offset > maxUsages-p.Limit { // and no sum of the two overflows
		return Usages{}, invalid("offset", "起始位置过大，请缩短期间", "the offset is too large; make the period shorter")
	}
	var u Usages
	record, err := s.viewed(ctx, who, person, func(known audit.Known) (int, bool, error) {
		var err error
		u, err = s.usages(ctx, known, token, p)
		return len(u.Usages), u.Complete, err
	})
	if err != nil {
		return Usages{}, err
	}
	u.Record = record
	return u, nil
}

// viewed does what a resident asked for about themself between its two records.
func (s *Service) viewed(ctx context.Context, who Who, person identity.Person, do func(audit.Known) (shown int, whole bool, err error)) (record string, err error) {
	view, err := s.viewEntry(person, audit.OpCitizenView)
	if err != nil {
		return "", err
	}
	known, err := s.Pseudonyms.Own(ctx, string(person.Type), person.Number.Reveal(), s.quarters())
	if err != nil {
		return "", unavailable(err)
	}
	if len(known.Subjects) == 0 { // an empty list must never become a search without persons
		return "", unavailable(errors.New("audit search: no pseudonym of this quarter"))
	}
	rec, err := s.begin(ctx, who, view)
	if err != nil {
		return "", err
	}
	defer rec.abandoned(ctx)
	shown, whole, err := do(known)
	return rec.intent.Pointer().String(), rec.done(ctx, shown, whole, err)
}

// viewEntry is a record of what a resident does; they may see it at once.
func (s *Service) viewEntry(person identity.Person, op audit.Op) (audit.Entry, error) {
	ref, err := s.Pseudonyms.Of(string(person.Type), person.Number.Reveal(), s.Now())
	if err != nil {
		return audit.Entry{}, unavailable(err)
	}
	return audit.Entry{Open: audit.Open{Op: op, Subjects: []audit.SubjectRef{ref}, Disclose: audit.DiscloseNow}}, nil
}

// usages merges what this gateway's log and the others' have.
func (s *Service) usages(ctx context.Context, known audit.Known, token string, p Period) (Usages, error) {
	hits, shards, err := s.disclosedNow(ctx, known, p.Start, p.End)
	if err != nil {
		return Usages{}, err
	}
	u := Usages{Total: len(hits), Usages: []Usage{}, Logs: []Log{s.own(shards).lacking(known.Destroyed)}}
	list := s.usagesOf(hits[:min(p.Offset+p.Limit, len(hits))])
	for _, other := range s.askGateways(ctx, PeerUsageAsk{Subject: token, Start: p.Start, End: p.End, Limit: p.Offset + p.Limit}) {
		u.Logs = append(u.Logs, other.log)
		u.Total += other.total
		list = append(list, other.usages...)
	}
	u.Complete = !slices.ContainsFunc(u.Logs, func(l Log) bool { return !l.whole() })
	slices.SortStableFunc(list, func(a, b Usage) int { return b.LogTime.Compare(a.LogTime) })
	for _, one := range list[min(p.Offset, len(list)):min(p.Offset+p.Limit, len(list))] {
		if err := s.prove(&one, p.Proofs); err != nil {
			return Usages{}, err
		}
		u.Usages = append(u.Usages, one)
	}
	return u, nil
}

// disclosedNow are all entries of this gateway's log that the resident may see.
func (s *Service) disclosedNow(ctx context.Context, known audit.Known, from, to time.Time) ([]index.Hit, []Shard, error) {
	sizes, err := s.ready(ctx)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	return s.disclosed(ctx, index.Query{From: from, To: to, Subjects: known.Subjects, Limit: maxRows}, sizes)
}

// disclosed are all entries that the resident may see now.
func (s *Service) disclosed(ctx context.Context, q index.Query, sizes map[string]uint64) (shown []index.Hit, shards []Shard, err error) {
	for read := 0; read < maxUsages; {
		f, err := s.find(ctx, q, sizes)
		if err != nil {
			return nil, nil, err
		}
		read += len(f.hits)
		for _, h := range f.hits {
			if s.open(h.Entry.Open) {
				shown = append(shown, h)
			}
		}
		for _, sh := range f.shards {
			if !slices.ContainsFunc(shards, func(o Shard) bool { return o.Origin == sh.Origin }) {
				shards = append(shards, sh)
			}
		}
		if f.next == nil {
			return shown, shards, nil
		}
		q.BeforeShard, q.Before = f.next.Quarter, f.next.Index
	}
	return nil, nil, refuse(http.StatusUnprocessableEntity, "INVALID_REQUEST", "periodStart", "期间内条目过多，请缩短期间", "the period holds too many entries; make it shorter")
}

// open tells whether a resident may see an entry about them now: from the day
// it says; never, if it says so; else after the delay, in which who handles the
// case may still say so.
func (s *Service) open(o audit.Open) bool { return s.openAt(o, s.Now()) }

func (s *Service) openAt(o audit.Open, now time.Time) bool {
	switch o.Disclose {
	case audit.DiscloseNow:
		return true
	case audit.DiscloseNever:
		return false
	case "":
		return !now.Before(time.UnixMicro(o.Time).Add(s.Delay))
	}
	day, err := time.ParseInLocation(time.DateOnly, o.Disclose, beijing.Zone())
	return err == nil && !now.Before(day)
}

func (s *Service) usagesOf(hits []index.Hit) []Usage {
	list := make([]Usage, len(hits))
	for i, h := range hits {
		list[i] = s.usage(h.Origin, h.Index, h.Entry.Open)
		list[i].Evidence = &Evidence{Open: string(h.OpenJSON), Closed: h.ClosedHash().String()}
	}
	return list
}

// usage is an entry's open half in the words of this interface.
func (s *Service) usage(origin string, index uint64, o audit.Open) Usage {
	u := Usage{LogTime: time.UnixMicro(o.Time).UTC(), Action: action(o), ReceiverCode: o.Department, ReceiverSystem: o.System,
		Item: o.Item, Case: o.Case, Basis: o.Basis, Purpose: o.Purpose, Proof: o.Proof, Provider: o.Provider, Outcome: o.Outcome,
		Fields: o.Fields, Exchange: o.Exchange, Number: o.Number, Origin: origin, Index: index}
	if s.Department != nil {
		u.ReceiverName = s.Department(o.Department)
	}
	return u
}

// prove adds the receipt of this gateway's log to the evidence, or leaves all
// evidence out if none is wanted.
func (s *Service) prove(u *Usage, wanted bool) error {
	if !wanted {
		u.Evidence = nil
		return nil
	}
	if u.Evidence.Receipt != "" { // another gateway's
		return nil
	}
	receipt, err := s.Logs.Receipt(u.Origin, u.Index)
	if err != nil {
		return unavailable(err)
	}
	text, err := receipt.MarshalText()
	if err != nil {
		return fmt.Errorf("audit search: %w", err)
	}
	u.Evidence.Receipt = string(text)
	return nil
}

// action says in words what an entry records.
func action(o audit.Open) string {
	names := map[audit.Op]string{
		audit.OpCardRead: "读取证件", audit.OpFaceCheck: "人证比对", audit.OpConsent: "同意授权", audit.OpConsentEnd: "撤回授权",
		audit.OpQuery: "查询", audit.OpSourceCall: "向数据来源查询", audit.OpRelease: "取得数据与证明", audit.OpSeal: "加盖电子印章",
		audit.OpDocView: "查看证明", audit.OpDocPrint: "打印证明", audit.OpDocReprint: "重新打印证明", audit.OpDeny: "请求被拒绝",
		audit.OpWithdraw: "撤回证明", audit.OpVerify: "核验证明", audit.OpCitizenView: "本人查看使用记录", audit.OpComplaint: "本人提出异议",
	}
	name := names[o.Op]
	if name == "" {
		name = string(o.Op)
	}
	switch o.Phase {
	case audit.PhaseIntent:
		return name + "（发起）"
	case audit.PhaseFailed:
		return name + "（未成功）"
	case audit.PhaseDenied:
		return name + "（被拒绝）"
	}
	return name
}

// UsagePeriod is the answer to usagePeriod: since when there are entries.
type UsagePeriod struct {
	Start time.Time `json:"periodStart"`
}

// UsagePeriod tells since when this gateway has kept a log.
func (s *Service) UsagePeriod() UsagePeriod {
	var first time.Time
	for _, st := range s.Logs.State() {
		if at, ok := quarterStart(path.Base(st.Origin)); ok && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return UsagePeriod{Start: first}
}

func quarterStart(quarter string) (time.Time, bool) {
	at, ok := within(quarter)
	return time.Date(at.Year(), at.Month()-(at.Month()-1)%3, 1, 0, 0, 0, 0, beijing.Zone()), ok
}

// ComplaintReasons are the codes of what a resident objects to.
func ComplaintReasons() []string {
	return []string{"NOT_ME", "NOT_ASKED", "NO_BASIS", "TOO_MUCH", "WRONG_DATA", "OTHER"}
}

// Complaint names the entry that a resident objects to.
type Complaint struct {
	Origin string `json:"origin"`
	Index  uint64 `json:"index"`
	Reason string `json:"reason"` // one of ComplaintReasons
}

// Complain records a resident's objection to an entry about them that they may
// see. Supervision takes it up from the log. It returns the record's place.
func (s *Service) Complain(ctx context.Context, who Who, person identity.Person, c Complaint) (string, error) {
	if !slices.Contains(ComplaintReasons(), c.Reason) {
		return "", invalid("reason", "须给出原因代码："+strings.Join(ComplaintReasons(), "、"), "give a reason code: "+strings.Join(ComplaintReasons(), ", "))
	}
	e, err := s.viewEntry(person, audit.OpComplaint)
	if err != nil {
		return "", err
	}
	o, err := s.about(ctx, person, c)
	if err != nil {
		return "", err
	}
	e.Open.Phase, e.Open.Outcome = audit.PhaseDone, c.Reason
	e.Open.Department, e.Open.Item, e.Open.Case, e.Open.Exchange = o.Department, o.Item, o.Case, o.Exchange
	if c.Origin == s.Log.Latest().Origin() { // an index means nothing in another quarter
		e.Open.Prev = &c.Index
	}
	e = who.mark(e)
	e.Closed.Object = fmt.Sprintf("entry/%s:%d", c.Origin, c.Index)
	receipts, err := s.Log.Append(context.WithoutCancel(ctx), e)
	if err != nil {
		return "", unavailable(err)
	}
	return receipts[0].Pointer().String(), nil
}

// about is the open half of an entry, if it is about the person and disclosed.
// Otherwise it looks as if there were none.
func (s *Service) about(ctx context.Context, person identity.Person, c Complaint) (audit.Open, error) {
	none := refuse(http.StatusNotFound, "NO_SUCH_ENTRY", "index", "本网关没有这条使用记录，请核对日志名与序号；其他网关的记录须向该网关提出", "this gateway has no such usage; check origin and index. One of another gateway is objected to there")
	at, ok := within(path.Base(c.Origin))
	if !ok {
		return audit.Open{}, none
	}
	known, err := s.Pseudonyms.Own(ctx, string(person.Type), person.Number.Reveal(), []time.Time{at})
	if err != nil {
		return audit.Open{}, unavailable(err)
	}
	stored, err := s.Logs.Entry(ctx, c.Origin, c.Index)
	if err != nil {
		return audit.Open{}, none
	}
	o := stored.Entry.Open
	mine := slices.ContainsFunc(o.Subjects, func(r audit.SubjectRef) bool {
		r.Role = ""
		return slices.Contains(known.Subjects, r)
	})
	if !mine || !s.open(o) {
		return audit.Open{}, none
	}
	return o, nil
}

package catalog

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Catalogue is everything a city has agreed: who holds what, who may ask for
// it, for which matter, and which keys speak for whom. It is read-only once
// loaded and safe for concurrent use; a change is a new release.
type Catalogue struct {
	City         City          `json:"city" yaml:"city"`
	Departments  []Department  `json:"departments" yaml:"departments"`
	Seals        []Seal        `json:"seals" yaml:"seals"`
	Fronts       []Front       `json:"fronts,omitempty" yaml:"fronts,optional"`
	Sources      []Source      `json:"sources" yaml:"sources"`
	Proofs       []Proof       `json:"proofs" yaml:"proofs"`
	Items        []Item        `json:"items" yaml:"items"`
	Purposes     []Term        `json:"purposes" yaml:"purposes"`
	LegalBases   []Term        `json:"legal_bases" yaml:"legal_bases"`
	Callers      []Caller      `json:"callers" yaml:"callers"`
	Operators    []Operator    `json:"operators" yaml:"operators"`
	Workstations []Workstation `json:"workstations" yaml:"workstations"`
	Grants       []Grant       `json:"-" yaml:"grants"` // in a release each travels countersigned, see Release
	Deadlines    Deadlines     `json:"deadlines" yaml:"deadlines"`

	// NameMap says which encoded character an old private-use code point of a
	// card stands for, both in upper-case hex: {"E863": "4DAE"}.
	NameMap map[string]string `json:"name_map,omitempty" yaml:"name_map"`

	ix     *index
	notes  Problems
	places map[string]place // path -> where it is written; nil in a release
}

// Named identifiers, so that a proof code cannot be passed where an item code belongs.
type (
	DepartmentID  string // 18-character unified social credit code (GB 32100)
	SealID        string
	SourceID      string
	FrontID       string
	ProofCode     string
	ItemCode      string
	SituationCode string
	CallerID      string
	OperatorID    string
	WorkstationID string
	Role          string
)

// The roles a person can have in a matter. SubjectAny stands only in
// Proof.SubjectRole: the proof is asked about each subject.
const (
	RoleApplicant Role = "applicant"
	RoleSpouse    Role = "spouse"
	RoleChild     Role = "child"
	RolePrincipal Role = "principal" // on whose behalf a delegate asks
	SubjectAny    Role = "any"
)

// Chinese is the role in a person's words; the code itself if there are none.
func (r Role) Chinese() string {
	switch r {
	case RoleApplicant:
		return "本人"
	case RoleSpouse:
		return "配偶"
	case RoleChild:
		return "子女"
	case RolePrincipal:
		return "委托人"
	}
	return string(r)
}

// City names the place this catalogue is for.
type City struct {
	Code      string `json:"code" yaml:"code"` // GB/T 2260, six digits
	Name      string `json:"name" yaml:"name"`
	VerifyURL string `json:"verify_url" yaml:"verify_url"` // https origin printed in QR codes
}

// Department is an organ that answers, issues or asks.
type Department struct {
	ID       DepartmentID `json:"id" yaml:"id"`
	Name     string       `json:"name" yaml:"name"`
	Place    string       `json:"place" yaml:"place"`                                // where a resident goes for manual verification
	Contact  string       `json:"contact" yaml:"contact"`                            // who can change a grant
	GrantKey string       `json:"grant_key,omitempty" yaml:"grant_key,optional,pem"` // PEM of the SM2 key that countersigns this department's grants; in YAML a path. Needed by owners of proofs
}

// Seal is one electronic seal known here. The key and the SESeal are the seal registry's.
//
// A seal with a Front is hosted there: its key never leaves the department, and
// that front draws and seals the documents that bear it. The id of a hosted
// seal is the esID inside it.
type Seal struct {
	ID         SealID       `json:"id" yaml:"id"`
	Department DepartmentID `json:"department" yaml:"department"`
	Name       string       `json:"name" yaml:"name"`                      // text of the seal
	Front      FrontID      `json:"front,omitempty" yaml:"front,optional"` // who holds the key; empty: the gateway
	// ESID is the identifier inside the seal (GB/T 38540 esID), such as the thirteen
	// digits of the seal register; empty: the same as ID.
	ESID string `json:"esid,omitempty" yaml:"esid,optional"`
}

// Identifier is the identifier inside the seal.
func (s Seal) Identifier() string { return cmp.Or(s.ESID, string(s.ID)) }

// RouteClass decides a leg's deadline and how its answer travels.
type RouteClass string

const (
	RouteLocal    RouteClass = "local"
	RouteProvince RouteClass = "province"
	RouteCloud    RouteClass = "cloud"
	RouteGap      RouteClass = "gap"
)

// Deadlines is the one table of time limits.
type Deadlines struct {
	Local    Duration `json:"local" yaml:"local"`
	Province Duration `json:"province" yaml:"province"`
	Cloud    Duration `json:"cloud" yaml:"cloud"`
	Gap      Duration `json:"gap" yaml:"gap"`
	SyncWait Duration `json:"sync_wait" yaml:"sync_wait"` // at most 120 s
}

// For is the time one leg over the route has; 0 for an unknown route.
func (d Deadlines) For(route RouteClass) time.Duration {
	switch route {
	case RouteLocal:
		return time.Duration(d.Local)
	case RouteProvince:
		return time.Duration(d.Province)
	case RouteCloud:
		return time.Duration(d.Cloud)
	case RouteGap:
		return time.Duration(d.Gap)
	}
	return 0
}

// Duration is a time.Duration written "3s" in YAML and JSON.
type Duration time.Duration

// String is the form of the files, as of time.Duration.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes "3s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration %q: want a number with a unit such as 3s or 90s", text)
	}
	*d = Duration(v)
	return nil
}

// Authenticity says how sure one is that an answer is the source's own. Ordered: channel < peer-mac < source-signature.
type Authenticity string

const (
	AuthChannel   Authenticity = "channel"
	AuthPeerMAC   Authenticity = "peer-mac"
	AuthSignature Authenticity = "source-signature"
)

// Less reports whether a is weaker than b. An unknown value is weaker than all others.
func (a Authenticity) Less(b Authenticity) bool { return a.rank() < b.rank() }

func (a Authenticity) rank() int {
	switch a {
	case AuthChannel:
		return 1
	case AuthPeerMAC:
		return 2
	case AuthSignature:
		return 3
	}
	return 0
}

// Front is a front processor: it stands beside one department's systems, is
// reached by ferry, checks every question for itself and signs every answer.
type Front struct {
	ID         FrontID      `json:"id" yaml:"id"`
	Department DepartmentID `json:"department" yaml:"department"`
	Key        string       `json:"key" yaml:"key,pem"` // PEM of the SM2 key that opens questions and signs answers; in YAML a path
}

// Source is one system of one department that can answer for a proof.
type Source struct {
	ID           SourceID     `json:"id" yaml:"id"`
	Department   DepartmentID `json:"department" yaml:"department"`
	Route        RouteClass   `json:"route" yaml:"route"`
	Front        FrontID      `json:"front,omitempty" yaml:"front,optional"` // the front processor it stands behind; empty: asked by the gateway itself
	Connection   string       `json:"connection" yaml:"connection"`          // name of a connection in the configuration of whoever asks it
	Scope        string       `json:"scope" yaml:"scope"`                    // the 范围 named in "not found"
	Authenticity Authenticity `json:"authenticity" yaml:"authenticity"`
	UpdateCycle  Duration     `json:"update_cycle" yaml:"update_cycle,optional"`   // older data is shown as possibly out of date; 0: real time
	Deadline     Duration     `json:"deadline,omitempty" yaml:"deadline,optional"` // shorter than its route's; 0: the route's
	// Deferred is how long the department may take for a question that was not
	// answered in time, by hand for instance; 0: never. Only behind a front.
	Deferred Duration `json:"deferred,omitempty" yaml:"deferred,optional"`
	Query    Query    `json:"query" yaml:"query"`
	Answer   Mapping  `json:"answer" yaml:"answer"`
}

// Limit is the time one leg to this source has under the table d.
func (s Source) Limit(d Deadlines) time.Duration {
	if s.Deadline > 0 {
		return time.Duration(s.Deadline)
	}
	return d.For(s.Route)
}

// Stale reports whether data of dataTime is, at a time, older than it should be.
func (s Source) Stale(dataTime, at time.Time) bool {
	return s.UpdateCycle > 0 && at.Sub(dataTime) > time.Duration(s.UpdateCycle)
}

// MaxDeferred is the longest time a department may be given, a working month.
const MaxDeferred = 31 * 24 * time.Hour

// LongestDeferred is the longest Deferred of the sources that keep chooses.
func (c *Catalogue) LongestDeferred(keep func(Source) bool) time.Duration {
	var longest time.Duration
	for _, s := range c.Sources {
		if keep(s) {
			longest = max(longest, time.Duration(s.Deferred))
		}
	}
	return longest
}

// Query is what the adapter of the connection needs for this source. Only the part of its kind is set.
type Query struct {
	Service string            `json:"service,omitempty" yaml:"service,optional"` // platform: sid
	Params  map[string]string `json:"params,omitempty" yaml:"params,optional"`   // platform: request field -> one of "number", "name", "number15", or "=literal"
	SQL     string            `json:"sql,omitempty" yaml:"sql,optional"`         // sql: one SELECT with named parameters :number, :name, :number15
}

// Mapping turns a source's raw JSON answer into records. Each value is a jq
// expression over the answer: for a platform the decoded body of the response,
// for SQL {"time": when asked, "data": [{column: value, …}, …]}. The conditions are tried in this
// order: not_found_when, not_issuable_when, pending_when, multiple_when,
// found_when; an answer none of them knows is a source error.
type Mapping struct {
	NotFoundWhen    string            `json:"not_found_when" yaml:"not_found_when"`
	NotIssuableWhen string            `json:"not_issuable_when,omitempty" yaml:"not_issuable_when,optional"`
	PendingWhen     string            `json:"pending_when,omitempty" yaml:"pending_when,optional"`
	MultipleWhen    string            `json:"multiple_when,omitempty" yaml:"multiple_when,optional"`
	FoundWhen       string            `json:"found_when" yaml:"found_when"`
	Records         string            `json:"records" yaml:"records"`                      // jq yielding an array of raw records
	DataTime        string            `json:"data_time" yaml:"data_time"`                  // jq yielding RFC 3339 or YYYYMMDDhhmmss (Beijing time)
	Subject         SubjectMapping    `json:"subject" yaml:"subject"`                      // whom the answer is about, per record
	Fields          map[string]string `json:"fields" yaml:"fields"`                        // proof field -> jq over one raw record; null: the record has no such field
	Accept15        bool              `json:"accept15,omitempty" yaml:"accept15,optional"` // the source still keeps 15-digit numbers
}

// SubjectMapping finds the person in a raw record. Name is empty where the source keeps none.
type SubjectMapping struct {
	Number string `json:"number" yaml:"number"`
	Name   string `json:"name" yaml:"name,optional"`
}

// Proof is one kind of proof (证明): what it says, who issues it, how sensitive it is.
type Proof struct {
	Code        ProofCode       `json:"code" yaml:"code"`
	Name        string          `json:"name" yaml:"name"`   // 社会保险参保缴费证明
	Title       string          `json:"title" yaml:"title"` // printed
	Owner       DepartmentID    `json:"owner" yaml:"owner"` // signs the grants
	Issuer      IssuerRule      `json:"issuer" yaml:"issuer"`
	Sources     []SourceID      `json:"sources" yaml:"sources"`
	Sensitive   bool            `json:"sensitive" yaml:"sensitive,optional"`
	MinLevel    int             `json:"min_level" yaml:"min_level"`                  // identity level 1..5, GB/T 39047 table 1
	Evidence    []string        `json:"evidence,omitempty" yaml:"evidence,optional"` // accepted in place of the level: card_chip+operator_checked
	SubjectRole Role            `json:"subject_role" yaml:"subject_role"`            // whom it asks about; "any": each subject
	Cardinality Cardinality     `json:"cardinality" yaml:"cardinality"`
	Fields      []Field         `json:"fields" yaml:"fields"`
	Schema      json.RawMessage `json:"schema" yaml:"schema,file"` // JSON Schema 2020-12 of one record; in YAML the path of a file
	Level       string          `json:"level" yaml:"level"`        // trust level A..D of the document, 国办函〔2016〕108号
	Body        string          `json:"body" yaml:"body"`          // opening sentence with placeholders, see the package comment
	Validity    Validity        `json:"validity" yaml:"validity"`
	Notes       []string        `json:"notes,omitempty" yaml:"notes,optional"` // printed below the table, with placeholders
	// SealPosition is where the seal is drawn; without it over issuer and date.
	SealPosition SealPosition `json:"seal_position,omitzero" yaml:"seal_position,optional"`
}

// SealPosition is where the middle of a document's seal lies on A4 paper.
type SealPosition struct {
	Page string `json:"page,omitempty" yaml:"page,optional"` // last (default) or first
	// Anchor is what x and y are measured from: issuer (default; to the right and down
	// of the usual place), or a corner of the paper, from which they go inwards:
	// top-left, top-right, bottom-left, bottom-right.
	Anchor string `json:"anchor,omitempty" yaml:"anchor,optional"`
	X      int    `json:"x,omitempty" yaml:"x,optional"` // mm
	Y      int    `json:"y,omitempty" yaml:"y,optional"` // mm
}

// IssuerRule chooses the issuer's seal: Seal, unless By names a field of the first record whose value is in Map.
type IssuerRule struct {
	Seal SealID            `json:"seal" yaml:"seal"`
	By   string            `json:"by,omitempty" yaml:"by,optional"`
	Map  map[string]SealID `json:"map,omitempty" yaml:"map,optional"`
}

// For is the seal for an answer with these records' fields, first record first.
func (r IssuerRule) For(records []map[string]any) SealID {
	if r.By == "" || len(records) == 0 {
		return r.Seal
	}
	value, _ := records[0][r.By].(string)
	if id, ok := r.Map[value]; ok {
		return id
	}
	return r.Seal
}

// Seals lists every seal the rule can choose, each once.
func (r IssuerRule) Seals() []SealID {
	list := []SealID{r.Seal}
	for _, value := range slices.Sorted(maps.Keys(r.Map)) {
		if !slices.Contains(list, r.Map[value]) {
			list = append(list, r.Map[value])
		}
	}
	return list
}

// Cardinality says how many records are one answer. More is MULTIPLE.
type Cardinality struct {
	Max int `json:"max" yaml:"max"` // 1: one
}

// Field is one item of a proof. In a record the values are, by type: text and
// code a string, number a JSON number, money a string with two decimals
// ("1234.50", yuan), date "YYYY-MM-DD", month "YYYY-MM".
type Field struct {
	Name  string            `json:"name" yaml:"name"`
	Label string            `json:"label" yaml:"label"`                    // Chinese, printed
	Type  string            `json:"type" yaml:"type"`                      // text, number, money, date, month, code
	Codes map[string]string `json:"codes,omitempty" yaml:"codes,optional"` // for code: value -> Chinese
	Mask  bool              `json:"mask,omitempty" yaml:"mask,optional"`   // masked on the document; granted data carry it whole
}

// Validity is how long the document may be used and how it says so.
// Its last day is Until. DayOnly, or at least one of Days and Months, is set.
type Validity struct {
	Days     int    `json:"days" yaml:"days,optional"`
	Months   int    `json:"months,omitempty" yaml:"months,optional"`
	MonthEnd bool   `json:"month_end,omitempty" yaml:"month_end,optional"` // never beyond the month of issue (当月有效)
	DayOnly  bool   `json:"day_only,omitempty" yaml:"day_only,optional"`   // on the day of issue only (查询当日有效)
	Wording  string `json:"wording" yaml:"wording"`                        // printed verbatim after replacement of placeholders
}

// Until is the last day of use, at midnight of issued's zone, for a document
// issued at that time. "30 日内有效" counts from the day after issue.
func (v Validity) Until(issued time.Time) time.Time {
	y, m, d := issued.Date()
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, issued.Location()) }
	until := day(y, m+time.Month(v.Months), d)
	if last := day(y, m+time.Month(v.Months)+1, 0); until.After(last) {
		until = last // 30 November plus three months is 28 February, not 2 March
	}
	until = until.AddDate(0, 0, v.Days)
	if last := day(y, m+1, 0); v.MonthEnd && until.After(last) {
		return last
	}
	return until
}

// Item is a matter (事项) with the proofs its situations need.
type Item struct {
	Code       ItemCode     `json:"code" yaml:"code"`
	Name       string       `json:"name" yaml:"name"`
	Department DepartmentID `json:"department" yaml:"department"`   // handles it
	LegalBasis string       `json:"legal_basis" yaml:"legal_basis"` // code in LegalBases
	Purposes   []string     `json:"purposes" yaml:"purposes"`       // codes in Purposes
	Roles      []Role       `json:"roles" yaml:"roles"`             // persons who each show a card, applicant first
	Notice     Notice       `json:"notice,omitzero" yaml:"notice,optional"`
	Situations []Situation  `json:"situations" yaml:"situations"`
}

// Situation returns the situation with this code; it may be left empty where there is only one.
func (i Item) Situation(code SituationCode) (Situation, bool) {
	for _, s := range i.Situations {
		if s.Code == code || code == "" && len(i.Situations) == 1 {
			return s, true
		}
	}
	return Situation{}, false
}

// RolesIn is who shows a card in situation s: its own roles, else the item's.
func (i Item) RolesIn(s Situation) []Role {
	if len(s.Roles) > 0 {
		return s.Roles
	}
	return i.Roles
}

// Situation (情形) is one way to fulfil an item.
type Situation struct {
	Code     SituationCode `json:"code" yaml:"code"`
	Name     string        `json:"name" yaml:"name"`
	Roles    []Role        `json:"roles,omitempty" yaml:"roles,optional"` // where fewer persons come than the item names
	Required []ProofCode   `json:"required" yaml:"required,optional"`
	AnyOf    [][]ProofCode `json:"any_of,omitempty" yaml:"any_of,optional"` // of each group one must be found
	Optional []ProofCode   `json:"optional,omitempty" yaml:"optional,optional"`
}

// Proofs lists every proof of the situation once: required, any_of, optional.
func (s Situation) Proofs() []ProofCode {
	var all []ProofCode
	all = append(all, s.Required...)
	for _, group := range s.AnyOf {
		all = append(all, group...)
	}
	all = append(all, s.Optional...)
	return all
}

// Lists reports whether the proof belongs to the situation.
func (s Situation) Lists(code ProofCode) bool {
	for _, p := range s.Proofs() {
		if p == code {
			return true
		}
	}
	return false
}

// Term is a code with its Chinese wording.
type Term struct {
	Code string `json:"code" yaml:"code"`
	Text string `json:"text" yaml:"text"`
}

// The kinds of callers.
const (
	CallerWindow = "window" // clerks, each with an own certificate (Operator)
	CallerKiosk  = "kiosk"
	CallerSystem = "system"
)

// Caller is a system, window or kiosk that may ask. A kiosk or system is known
// by its client certificate, a window by its operators'.
type Caller struct {
	ID          CallerID     `json:"id" yaml:"id"`
	Name        string       `json:"name" yaml:"name"`
	Kind        string       `json:"kind" yaml:"kind"` // window, kiosk, system
	Department  DepartmentID `json:"department" yaml:"department"`
	Certificate string       `json:"certificate,omitempty" yaml:"certificate,optional,cert"` // as Operator.Certificate; kiosk and system only
	PerMinute   int          `json:"per_minute" yaml:"per_minute"`                           // exchanges per minute
}

// Operator is a person at a window; Certificate is the lower hex SM3 of the client certificate's public key (SPKI DER).
type Operator struct {
	ID          OperatorID `json:"id" yaml:"id"`
	Caller      CallerID   `json:"caller" yaml:"caller"`
	Certificate string     `json:"certificate" yaml:"certificate,cert"` // in YAML a path to the PEM certificate or a hex digest
}

// Workstation is a window PC or kiosk with its read agent.
type Workstation struct {
	ID          WorkstationID `json:"id" yaml:"id"`
	Caller      CallerID      `json:"caller" yaml:"caller"`
	AgentKey    string        `json:"agent_key" yaml:"agent_key,pem"`      // PEM of the agent's SM2 key; in YAML a path
	Certificate string        `json:"certificate" yaml:"certificate,cert"` // as Operator.Certificate, of the agent's TLS client
	SAMs        []string      `json:"sams" yaml:"sams"`                    // SAM numbers of its readers
	Simulated   bool          `json:"simulated,omitempty" yaml:"simulated,optional"`
}

// Grant lets a caller see fields of a proof for an item. Default deny.
type Grant struct {
	ID           string       `json:"id" yaml:"id"`
	Caller       CallerID     `json:"caller" yaml:"caller"`
	Item         ItemCode     `json:"item" yaml:"item"`
	Proof        ProofCode    `json:"proof" yaml:"proof"`
	Fields       []string     `json:"fields" yaml:"fields"`
	Output       Output       `json:"output" yaml:"output"`
	Authenticity Authenticity `json:"authenticity" yaml:"authenticity"` // the least acceptable
	NotAfter     time.Time    `json:"not_after" yaml:"not_after"`       // in YAML RFC 3339, or YYYY-MM-DD for the end of that day in Beijing
}

// Output is what leaves with a found proof.
type Output string

const (
	OutputData     Output = "data"
	OutputDocument Output = "document"
	OutputBoth     Output = "both"
)

package search

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// JWS types of what persons and gateways sign.
const (
	TypeApplication = "yz-audit-application+jws"
	TypeDecision    = "yz-audit-decision+jws"
	TypeTicket      = "yz-audit-ticket+jws"
)

const (
	maxSubjects   = 20   // persons an application may name
	maxRows       = 1000 // entries a ticket may show
	statementLife = 10 * time.Minute
	saltSize      = 16
)

// Reasons are the codes of why somebody looks for a person.
func Reasons() []string {
	return []string{"COMPLAINT", "INSPECTION", "COURT", "DISCIPLINE", "INCIDENT", "DATA_SUBJECT"}
}

// Application is what an auditor signs: whose entries they need, why, and how far.
// It holds no number: Subjects commits to them (see Commit).
type Application struct {
	V        int       `json:"v"` // 1
	Case     string    `json:"case"`
	Reason   string    `json:"reason"` // one of Reasons
	From     time.Time `json:"from"`   // inclusive
	To       time.Time `json:"to"`     // exclusive
	Max      int       `json:"max"`    // entries, 1 to 1,000
	Persons  int       `json:"persons"`
	Subjects string    `json:"subjects"` // Commit of the numbers
	At       time.Time `json:"at"`
}

// Decision is what an approver signs.
type Decision struct {
	V      int    `json:"v"`
	Action Action `json:"action"`
	Of     string `json:"of"`   // ID of the application
	List   string `json:"list"` // digest of the pseudonyms, as the gateway shows it
	// Others are those of the other gateways that hold the application: each has
	// keys of its own, and gives nothing unless the approval names its list.
	Others []string  `json:"others,omitempty"`
	At     time.Time `json:"at"`
}

// Action of a Decision.
type Action string

// Actions. One rejection ends an application.
const (
	Approve Action = "approve"
	Reject  Action = "reject"
)

// names tells whether a decision is about a list of pseudonyms.
func (d Decision) names(list string) bool { return d.List == list || slices.Contains(d.Others, list) }

// Ticket is what a gateway signs with its log's key when an application is
// approved. It is good at the gateway that signed it, for the person it names.
type Ticket struct {
	V      int    `json:"v"`
	Ticket string `json:"ticket"` // random
	Origin string `json:"origin"` // of the gateway's log
	// For is the log of another gateway that is shown this instead of the ticket, so
	// that it cannot go on to a third with it.
	For         string    `json:"for,omitempty"`
	Application string    `json:"application"`
	Applicant   string    `json:"applicant"`
	Approvers   []string  `json:"approvers"`
	Case        string    `json:"case"`
	Reason      string    `json:"reason"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	Max         int       `json:"max"`
	Persons     int       `json:"persons"`
	List        string    `json:"list"`
	Issued      time.Time `json:"iat"`
	Expires     time.Time `json:"exp"`
}

// Sign is the application as compact JWS.
func (a Application) Sign(k *jose.Key) (string, error) {
	a.V, a.At, a.From, a.To = 1, second(a.At), second(a.From), second(a.To)
	return sign(k, TypeApplication, a)
}

// Sign is the decision as compact JWS.
func (d Decision) Sign(k *jose.Key) (string, error) {
	d.V, d.At = 1, second(d.At)
	return sign(k, TypeDecision, d)
}

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func sign(k *jose.Key, typ string, v any) (string, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("audit search: %w", err)
	}
	return jose.Sign(k, typ, payload)
}

// openApplication verifies who signed an application.
func openApplication(persons *staff.Register, statement string) (a Application, p staff.Person, err error) {
	_, p, err = persons.Verify(statement, TypeApplication, func(payload []byte) (time.Time, error) {
		err := errors.Join(jose.Unmarshal(payload, &a), version(a.V))
		return a.At, err
	})
	return a, p, err
}

// OpenDecision verifies who signed a decision.
func OpenDecision(persons *staff.Register, statement string) (d Decision, p staff.Person, err error) {
	_, p, err = persons.Verify(statement, TypeDecision, func(payload []byte) (time.Time, error) {
		err := errors.Join(jose.Unmarshal(payload, &d), version(d.V))
		return d.At, err
	})
	return d, p, err
}

func version(v int) error {
	if v != 1 {
		return fmt.Errorf("version %d", v)
	}
	return nil
}

// Commit binds an application to numbers without telling them:
//
//	b64url( SM3( "yizheng-audit-subjects-v1" ‖ 0x0A ‖ salt (16) ‖ each number ‖ 0x0A ) )
//
// in ascending order of their bytes, each once. Whoever is told numbers and
// salt, as an approver may be, computes the same.
func Commit(salt []byte, numbers []string) string {
	h := sm3.New()
	h.Write([]byte("yizheng-audit-subjects-v1\n"))
	h.Write(salt)
	for _, n := range slices.Compact(slices.Sorted(slices.Values(numbers))) {
		h.Write([]byte(n + "\n"))
	}
	return b64.EncodeToString(h.Sum(nil))
}

// ListDigest names a list of pseudonyms:
//
//	b64url( SM3( "yizheng-audit-list-v1" ‖ 0x0A ‖ each type ‖ 0x20 ‖ epoch ‖ 0x20 ‖ p ‖ 0x0A ) )
//
// in ascending order of these lines.
func ListDigest(subjects []audit.SubjectRef) string {
	lines := make([]string, len(subjects))
	for i, s := range subjects {
		lines[i] = s.Type + " " + s.Epoch + " " + s.P + "\n"
	}
	slices.Sort(lines)
	return jose.Digest("yizheng-audit-list-v1\n" + strings.Join(lines, ""))
}

var b64 = base64.RawURLEncoding.Strict()

// fault says what is wrong with an application, "" if nothing is.
func (a Application) fault(now time.Time, numbers []string, salt []byte) (where, zh, en string) {
	caseZH, caseEN := catalog.CaseFault(a.Case)
	age := now.Sub(a.At)
	switch {
	case age > statementLife || age < -statementLife:
		return "statement", "声明已过时，请校时后重新签名", "the statement is too old or in the future; check the clock and sign anew"
	case caseEN != "":
		return "case", caseZH, caseEN
	case !slices.Contains(Reasons(), a.Reason):
		return "reason", "须给出原因代码：" + strings.Join(Reasons(), "、"), "give a reason code: " + strings.Join(Reasons(), ", ")
	case !a.From.Before(a.To):
		return "from", "起止时间不对：起须早于止", "the period is wrong: from must be before to"
	case a.Max < 1 || a.Max > maxRows:
		return "max", "至多条数须为 1–1000", "max must be 1 to 1,000"
	case len(numbers) == 0 || len(numbers) > maxSubjects || len(numbers) != a.Persons:
		return "numbers", "一件申请须列 1–20 个号码，并与声明中的人数相同", "an application names 1 to 20 numbers, as many as the statement says"
	case len(slices.Compact(slices.Sorted(slices.Values(numbers)))) != len(numbers):
		return "numbers", "号码重复", "a number is given twice"
	case len(salt) != saltSize || Commit(salt, numbers) != a.Subjects:
		return "numbers", "号码与声明中的承诺值不符，请重新签名", "the numbers are not those the statement commits to; sign anew"
	}
	return "", "", ""
}

// ID names an application by its signed statement; decisions name it so.
func ID(statement string) string { return jose.Digest(statement) }

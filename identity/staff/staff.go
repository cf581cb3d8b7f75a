// Package staff knows the persons who administer a gateway, and what they have
// signed.
//
// A person has one name, one role and one SM2 key of their own. What a person
// wants done is a statement: a compact JWS (package jose) that only that key can
// have made. Whoever acts on a statement verifies it here, and holds its signer's
// name and role against its own rule. Nobody has two roles, and no two persons
// share a key or a certificate, so that "two persons" means two people.
package staff

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"yizheng/identity/jose"
)

// Role of a person. A role allows only what is written beside it.
type Role string

// Roles.
const (
	Applicant Role = "applicant" // a department's person: applies for seals and for withdrawals
	Security  Role = "security"  // security administrator: decides about seals and withdrawals
	Maker     Role = "maker"     // makes seals with the seal maker's key
	Auditor   Role = "auditor"   // searches the audit log, and applies to look for a person in it
	Approver  Role = "approver"  // decides about such applications

	Supervisor Role = "supervisor" // decides about yellow and red cards and issues supervision orders (监察员)
	Respondent Role = "respondent" // answers the supervision orders of one department
)

var roles = []Role{Applicant, Security, Maker, Auditor, Approver, Supervisor, Respondent}

// Administers tells the roles that look after seals and documents from those
// that look after the audit log. Nobody does both.
func (r Role) Administers() bool { return r == Applicant || r == Security || r == Maker }

// Person is somebody who may sign statements.
type Person struct {
	Name string // a staff account, never a resident's name or number
	Role Role
	Key  *ecdsa.PublicKey // SM2
	// Departments are the unified social credit codes of those that an applicant acts for,
	// or a security administrator is bound to (see ActsFor), and of the one whose orders a
	// respondent answers.
	Departments []string
	// Certificate is the lower-case hex SM3 of the public key (SPKI) of the
	// person's TLS certificate; "" for a person who does not use the API.
	Certificate string
	// Until ends what the person may sign; zero means no end. What was signed before stays good.
	Until time.Time
}

// ActsFor reports whether a person may act in a matter of a department: an applicant for
// those listed and no others, anybody else for all unless some are listed.
func (p Person) ActsFor(department string) bool {
	if p.Role != Applicant && len(p.Departments) == 0 {
		return true
	}
	return department != "" && slices.Contains(p.Departments, department)
}

// ErrStranger is returned for a statement by nobody on the list, or by somebody whose time was over.
var ErrStranger = errors.New("not signed by a registered person (不是登记人员签名的)")

// Register holds the persons of one gateway. It never changes.
type Register struct {
	persons       []Person
	byKey, byCert map[string]Person
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// NewRegister checks a list of persons: plain names, known roles, nobody twice
// under any name, key or certificate.
func NewRegister(persons []Person) (*Register, error) {
	r := &Register{persons: slices.Clone(persons), byKey: map[string]Person{}, byCert: map[string]Person{}}
	names := map[string]bool{}
	for _, p := range persons {
		switch {
		case !plainName.MatchString(p.Name):
			return nil, fmt.Errorf("staff: %q: 姓名须为账号（字母、数字、._-） / a name must be an account of letters, digits, ._-", p.Name)
		case !slices.Contains(roles, p.Role):
			return nil, fmt.Errorf("staff: %s: 角色须为 applicant、security、maker、auditor、approver、supervisor 或 respondent / the role must be applicant, security, maker, auditor, approver, supervisor or respondent", p.Name)
		case p.Role == Respondent && (len(p.Departments) != 1 || p.Departments[0] == ""):
			return nil, fmt.Errorf("staff: %s: 答复人（respondent）须用 departments 写明一个部门 / a respondent needs departments with the one they answer for", p.Name)
		case p.Key == nil || jose.KeyID(p.Key) == "":
			return nil, fmt.Errorf("staff: %s: 缺少 SM2 公钥 / has no SM2 key", p.Name)
		case names[p.Name] || r.byKey[jose.KeyID(p.Key)].Name != "" || p.Certificate != "" && r.byCert[p.Certificate].Name != "":
			return nil, fmt.Errorf("staff: %s: 姓名、密钥或证书与他人重复；一人一角色 / name, key or certificate is somebody else's; one person has one role", p.Name)
		}
		names[p.Name] = true
		r.byKey[jose.KeyID(p.Key)] = p
		if p.Certificate != "" {
			r.byCert[p.Certificate] = p
		}
	}
	return r, nil
}

// Persons lists everybody.
func (r *Register) Persons() []Person { return slices.Clone(r.persons) }

// ByCertificate finds the person behind a TLS certificate (Person.Certificate).
// Somebody whose time is over at now is not found.
func (r *Register) ByCertificate(digest string, now time.Time) (Person, bool) {
	if r == nil || digest == "" {
		return Person{}, false
	}
	p, ok := r.byCert[digest]
	return p, ok && p.actsAt(now)
}

// ByKey finds the person behind a key id.
func (r *Register) ByKey(kid string) (Person, bool) {
	if r == nil {
		return Person{}, false
	}
	p, ok := r.byKey[kid]
	return p, ok
}

func (p Person) actsAt(t time.Time) bool { return p.Until.IsZero() || !t.After(p.Until) }

// Verify checks a statement of type typ and returns its payload and its signer.
// signedAt reads from the payload when it was signed. Errors: ErrStranger, or one
// of package jose's.
func (r *Register) Verify(statement, typ string, signedAt func(payload []byte) (time.Time, error)) ([]byte, Person, error) {
	payload, kid, err := jose.Verify(statement, typ, func(kid string) *ecdsa.PublicKey {
		p, _ := r.ByKey(kid)
		return p.Key
	})
	if errors.Is(err, jose.ErrUnknownKey) {
		return nil, Person{}, ErrStranger
	}
	if err != nil {
		return nil, Person{}, err
	}
	at, err := signedAt(payload)
	if err != nil {
		return nil, Person{}, err
	}
	p, _ := r.ByKey(kid)
	if !p.actsAt(at) {
		return nil, Person{}, fmt.Errorf("%w: %s", ErrStranger, p.Name)
	}
	return payload, p, nil
}

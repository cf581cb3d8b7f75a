package search

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// TypeRoster is the JWS typ of a roster.
const TypeRoster = "yz-audit-roster+jws"

// rosterSigners is how many security administrators a roster needs.
const rosterSigners = 2

// Kind of a log.
type Kind string

// Kinds.
const (
	KindGateway    Kind = "gateway"
	KindFront      Kind = "front"      // a department's front processor
	KindDepartment Kind = "department" // a system of a department that keeps such a log itself
)

// Roster lists every log that has to be asked about an exchange.
type Roster struct {
	V       int       `json:"v"`      // 1
	Number  uint64    `json:"number"` // grows with every new roster
	Created time.Time `json:"created"`
	Logs    []Listed  `json:"logs"`
}

// Listed is one log.
type Listed struct {
	Origin     string `json:"origin"` // without the quarter: gw00.690100.example/audit
	Kind       Kind   `json:"kind"`
	Name       string `json:"name"`
	Department string `json:"department"`
	Front      string `json:"front,omitempty"` // of a front: its id in the catalogue
	// URL is where the log answers, https. A log in an isolated network has none;
	// its export is held against the others' answers.
	URL      string   `json:"url,omitempty"`
	Isolated bool     `json:"isolated,omitempty"`
	Keys     []string `json:"keys"` // of its shards' signatures: DER SubjectPublicKeyInfo, standard base64
}

var plainOrigin = regexp.MustCompile(`^[a-z0-9][a-z0-9./_-]{0,119}$`)

// Check says what is wrong with a roster.
func (r Roster) Check() error {
	if r.V != 1 || r.Number == 0 || len(r.Logs) == 0 {
		return errors.New("roster: 版本须为 1，须有编号与日志 / v must be 1, with a number and logs")
	}
	known := map[string]bool{}
	for _, l := range r.Logs {
		u, err := url.Parse(l.URL)
		switch {
		case !plainOrigin.MatchString(l.Origin) || known[l.Origin]:
			return fmt.Errorf("roster: %q: 日志名格式不对或重复 / origin malformed or listed twice", l.Origin)
		case !slices.Contains([]Kind{KindGateway, KindFront, KindDepartment}, l.Kind) || l.Kind == KindFront != (l.Front != ""):
			return fmt.Errorf("roster: %s: kind 须为 gateway、front（并给出 front）或 department / kind must be gateway, front (with front) or department", l.Origin)
		case l.Name == "" || l.Department == "":
			return fmt.Errorf("roster: %s: 缺少名称或部门 / name or department is missing", l.Origin)
		case l.Isolated != (l.URL == ""):
			return fmt.Errorf("roster: %s: 隔离网络的日志没有 url，其余须有 / a log in an isolated network has no url, every other has one", l.Origin)
		case l.URL != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil):
			return fmt.Errorf("roster: %s: url 须为 https 地址 / url must be an https address", l.Origin)
		}
		if keys, err := l.PublicKeys(); err != nil || len(keys) == 0 {
			return fmt.Errorf("roster: %s: 公钥读不懂 / keys cannot be read: %w", l.Origin, err)
		}
		known[l.Origin] = true
	}
	return nil
}

// PublicKeys are the keys that the log's heads may be signed with.
func (l Listed) PublicKeys() ([]*ecdsa.PublicKey, error) {
	var keys []*ecdsa.PublicKey
	for _, text := range l.Keys {
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return nil, err
		}
		k, err := smx509.ParsePKIXPublicKey(der)
		if err != nil {
			return nil, err
		}
		pub, ok := k.(*ecdsa.PublicKey)
		if !ok {
			return nil, errors.New("not an SM2 key")
		}
		keys = append(keys, pub)
	}
	return keys, nil
}

// NewKey is a public key as a roster lists it.
func NewKey(pub *ecdsa.PublicKey) (string, error) {
	der, err := smx509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("roster: %w", err)
	}
	return base64.StdEncoding.EncodeToString(der), nil
}

// ParseRoster reads a roster file without verifying who signed it.
func ParseRoster(data []byte) (Roster, *jose.MultiSigned, error) {
	m, err := jose.ParseMultiSigned(data)
	if err != nil {
		return Roster{}, nil, fmt.Errorf("roster: %w", err)
	}
	var r Roster
	if err := jose.Unmarshal(m.Payload(), &r); err != nil {
		return Roster{}, nil, fmt.Errorf("roster: %w", err)
	}
	return r, m, r.Check()
}

// NewRoster wraps a roster that nobody has signed yet.
func NewRoster(r Roster) (*jose.MultiSigned, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("roster: %w", err)
	}
	return jose.NewMultiSigned(payload), nil
}

// OpenRoster verifies a roster: signed by two of the security administrators.
func OpenRoster(data []byte, persons *staff.Register) (Roster, []string, error) {
	r, m, err := ParseRoster(data)
	if err != nil {
		return Roster{}, nil, err
	}
	signed, err := m.Verify(TypeRoster, func(kid string) *ecdsa.PublicKey {
		if p, ok := persons.ByKey(kid); ok && p.Role == staff.Security {
			return p.Key
		}
		return nil
	})
	if err != nil {
		return Roster{}, nil, fmt.Errorf("roster: %w", err)
	}
	var names []string
	for _, kid := range signed {
		p, _ := persons.ByKey(kid)
		if !slices.Contains(names, p.Name) && (p.Until.IsZero() || !r.Created.After(p.Until)) {
			names = append(names, p.Name)
		}
	}
	if len(names) < rosterSigners {
		return Roster{}, nil, fmt.Errorf("roster: 须两名安全管理员签名，现有 %d / needs the signatures of two security administrators, has %d", len(names), len(names))
	}
	return r, names, nil
}

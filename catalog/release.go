package catalog

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/identity/jose"
)

// TypeRelease is the JWS typ of a signed release (docs/protocol/catalogue-release.md).
const TypeRelease = "yz-release+jws"

const releaseVersion = 1

// What Open can find wrong with a release. Each is wrapped with particulars.
var (
	ErrUnsigned         = errors.New("release unsigned, changed, or signed by a stranger / 目录发布包未签名、被改动或签名人不明")
	ErrTooFewSignatures = errors.New("release not signed by enough security administrators / 目录发布包的安全管理员签名不足")
	ErrOlder            = errors.New("release number is too low / 目录发布包编号过低，已有更新的发布")
	ErrNotYet           = errors.New("release not valid yet / 目录发布包尚未生效")
	ErrExpired          = errors.New("release expired / 目录发布包已过期")
	ErrGrantSignature   = errors.New("grant not signed by the department that owns the proof / 授权未经证明责任部门签名")
	ErrFormat           = errors.New("release malformed / 目录发布包格式不对")
)

// Release is one numbered state of a city's catalogue. NewRelease makes one to
// be signed; Open reads a signed one, and only what Open returns is trusted.
type Release struct {
	Number    uint64
	Created   time.Time // these three in whole seconds, UTC
	NotBefore time.Time
	Expires   time.Time
	Previous  string // Digest of the release before; "" for the first
	Catalogue *Catalogue
	Signers   []string // key ids of the administrators, in order of signing; set by Open

	signed *jose.MultiSigned
}

// releasePayload is what the administrators sign.
type releasePayload struct {
	V         int       `json:"v"`
	Number    uint64    `json:"number"`
	Created   time.Time `json:"created"`
	NotBefore time.Time `json:"not_before"`
	Expires   time.Time `json:"expires"`
	Previous  string    `json:"previous"`
	Catalogue Catalogue `json:"catalogue"`
	Grants    []string  `json:"grants"`
}

// ReleaseOptions are what a new release says besides its catalogue.
type ReleaseOptions struct {
	Number    uint64 // above that of every release before
	Created   time.Time
	NotBefore time.Time // zero: Created
	Expires   time.Time
	Previous  string   // Digest of the release before; "" for the first
	Grants    []string // the catalogue's grants, each as SignGrant returns it
}

// NewRelease makes the unsigned release of a complete catalogue. Every grant of
// the catalogue needs its signed form in o.Grants, and nothing else may be there.
func NewRelease(c *Catalogue, o ReleaseOptions) (*Release, error) {
	if o.NotBefore.IsZero() {
		o.NotBefore = o.Created
	}
	if o.Number == 0 || o.Created.IsZero() || !o.NotBefore.Before(o.Expires) {
		return nil, fmt.Errorf("new release: %w: number from 1, and a time of creation and an end after the beginning are needed", ErrFormat)
	}
	if err := Validate(c); err != nil {
		return nil, fmt.Errorf("new release: %w", err)
	}
	grants, err := openGrants(c, o.Grants)
	if err != nil {
		return nil, fmt.Errorf("new release: %w", err)
	}
	if err := sameGrants(c.Grants, grants); err != nil {
		return nil, fmt.Errorf("new release: %w", err)
	}
	p := releasePayload{
		V: releaseVersion, Number: o.Number, Previous: o.Previous, Catalogue: *c, Grants: o.Grants,
		Created: second(o.Created), NotBefore: second(o.NotBefore), Expires: second(o.Expires),
	}
	payload, err := marshal(p)
	if err != nil {
		return nil, fmt.Errorf("new release: %w", err)
	}
	return p.release(c, jose.NewMultiSigned(payload)), nil
}

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// marshal is JSON without the escapes meant for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (p releasePayload) release(c *Catalogue, signed *jose.MultiSigned) *Release {
	return &Release{
		Number: p.Number, Created: p.Created, NotBefore: p.NotBefore, Expires: p.Expires,
		Previous: p.Previous, Catalogue: c, signed: signed,
	}
}

// AddSignature signs the release as one security administrator. A key signs once.
func (r *Release) AddSignature(k *jose.Key) error {
	if err := r.signed.AddSignature(k, TypeRelease); err != nil {
		return fmt.Errorf("sign release %d: %w", r.Number, err)
	}
	return nil
}

// Marshal is the release's file.
func (r *Release) Marshal() ([]byte, error) { return r.signed.Marshal() }

// Digest is what the next release names as its previous: base64url of the SM3 of the payload.
func (r *Release) Digest() string { return digest(r.signed.Payload()) }

func digest(payload []byte) string {
	sum := sm3.Sum(payload)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Trust is whom and what Open believes.
type Trust struct {
	Administrators map[string]*ecdsa.PublicKey // security administrators by key id (jose.KeyID)
	Need           int                         // how many of them have to sign; below 2 it is 2
	Now            time.Time                   // zero: the present
	MinNumber      uint64                      // the lowest number still acceptable
	AnyTime        bool                        // do not check not_before and expires: for looking at old releases
}

// Open verifies a release file and returns what it says. The error wraps
// ErrUnsigned, ErrTooFewSignatures, ErrFormat, ErrOlder, ErrNotYet, ErrExpired,
// ErrGrantSignature or is Problems of the catalogue inside; they are checked in
// this order.
func Open(data []byte, t Trust) (*Release, error) {
	signed, err := jose.ParseMultiSigned(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsigned, err)
	}
	signers, err := t.signers(signed)
	if err != nil {
		return nil, err
	}
	p, err := parsePayload(signed.Payload())
	if err != nil {
		return nil, err
	}
	if err := t.acceptable(p); err != nil {
		return nil, err
	}
	r, err := p.open(signed)
	if err != nil {
		return nil, err
	}
	r.Signers = signers
	return r, nil
}

// ReadDraft reads a release whose signatures are still missing, for the
// administrator who is to look at it (Diff) and sign it (AddSignature). The
// grants and the catalogue are checked as in Open; nobody vouches for the rest.
func ReadDraft(data []byte) (*Release, error) {
	signed, err := jose.ParseMultiSigned(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	p, err := parsePayload(signed.Payload())
	if err != nil {
		return nil, err
	}
	return p.open(signed)
}

// open checks what is inside and makes its look-ups.
func (p releasePayload) open(signed *jose.MultiSigned) (*Release, error) {
	c := &p.Catalogue
	var err error
	if c.Grants, err = openGrants(c, p.Grants); err != nil {
		return nil, err
	}
	if err := Validate(c); err != nil {
		return nil, fmt.Errorf("release %d: %w", p.Number, err)
	}
	return p.release(c, signed), nil
}

func (t Trust) signers(signed *jose.MultiSigned) ([]string, error) {
	signers, err := signed.Verify(TypeRelease, func(kid string) *ecdsa.PublicKey {
		pub := t.Administrators[kid]
		if pub == nil || jose.KeyID(pub) != kid {
			return nil // one key must not count under two names
		}
		return pub
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsigned, err)
	}
	if need := max(t.Need, 2); len(signers) < need {
		return nil, fmt.Errorf("%w: %d of %d", ErrTooFewSignatures, len(signers), need)
	}
	return signers, nil
}

func parsePayload(payload []byte) (releasePayload, error) {
	var p releasePayload
	if err := jose.Unmarshal(payload, &p); err != nil {
		return p, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if p.V != releaseVersion {
		return p, fmt.Errorf("%w: version %d, this program knows %d", ErrFormat, p.V, releaseVersion)
	}
	return p, nil
}

func (t Trust) acceptable(p releasePayload) error {
	now := t.Now
	if now.IsZero() {
		now = time.Now()
	}
	switch {
	case p.Number == 0 || p.Number < t.MinNumber:
		return fmt.Errorf("%w: number %d, want %d or above", ErrOlder, p.Number, max(t.MinNumber, 1))
	case !t.AnyTime && now.Before(p.NotBefore):
		return fmt.Errorf("%w: release %d begins %s", ErrNotYet, p.Number, p.NotBefore.Format(time.RFC3339))
	case !t.AnyTime && !now.Before(p.Expires):
		return fmt.Errorf("%w: release %d ended %s", ErrExpired, p.Number, p.Expires.Format(time.RFC3339))
	}
	return nil
}

// sameGrants makes sure that what was signed is what the catalogue says.
func sameGrants(want, signed []Grant) error {
	for _, g := range want {
		if !slices.ContainsFunc(signed, func(s Grant) bool { return s.equal(g) }) {
			return fmt.Errorf("%w: grant %s has no signature, or changed since", ErrGrantSignature, g.ID)
		}
	}
	if len(signed) != len(want) {
		return fmt.Errorf("%w: %d signed grants for %d of the catalogue", ErrGrantSignature, len(signed), len(want))
	}
	return nil
}

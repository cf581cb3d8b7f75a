package catalog

import (
	"bytes"
	"crypto/ecdsa"
	"fmt"

	"yizheng/identity/jose"
)

// TypeGrant is the JWS typ of a grant signed by its department (docs/protocol/catalogue-release.md).
const TypeGrant = "yz-grant+jws"

const grantVersion = 1

// grantPayload is what the department that owns the proof signs. City and
// owner keep a grant from being used where it was not given.
type grantPayload struct {
	V     int          `json:"v"`
	City  string       `json:"city"`
	Owner DepartmentID `json:"owner"`
	Grant Grant        `json:"grant"`
}

// SignGrant countersigns a grant of the catalogue with the key of the
// department that owns the proof: a compact JWS. It refuses any other key.
func SignGrant(k *jose.Key, c *Catalogue, g Grant) (string, error) {
	owner, pub := ownerKey(c, g.Proof)
	if pub == nil || jose.KeyID(pub) != k.ID() {
		return "", fmt.Errorf("sign grant %s: %w: the key is not that of %s", g.ID, ErrGrantSignature, owner)
	}
	g.NotAfter = second(g.NotAfter)
	payload, err := marshal(grantPayload{V: grantVersion, City: c.City.Code, Owner: owner, Grant: g})
	if err != nil {
		return "", fmt.Errorf("sign grant %s: %w", g.ID, err)
	}
	token, err := jose.Sign(k, TypeGrant, payload)
	if err != nil {
		return "", fmt.Errorf("sign grant %s: %w", g.ID, err)
	}
	return token, nil
}

// ownerKey looks through the lists, as a catalogue may not have been validated yet.
func ownerKey(c *Catalogue, code ProofCode) (DepartmentID, *ecdsa.PublicKey) {
	for _, p := range c.Proofs {
		if p.Code != code {
			continue
		}
		for _, d := range c.Departments {
			if d.ID == p.Owner {
				return d.ID, publicKey(d.GrantKey)
			}
		}
		return p.Owner, nil
	}
	return "", nil
}

// openGrants verifies signed grants against the catalogue's departments and proofs.
func openGrants(c *Catalogue, tokens []string) ([]Grant, error) {
	keys := map[string]*ecdsa.PublicKey{}
	for _, d := range c.Departments {
		if pub := publicKey(d.GrantKey); pub != nil {
			keys[jose.KeyID(pub)] = pub
		}
	}
	grants := make([]Grant, 0, len(tokens))
	for i, token := range tokens {
		g, err := openGrant(c, token, keys)
		if err != nil {
			return nil, fmt.Errorf("grants[%d]: %w", i, err)
		}
		grants = append(grants, g)
	}
	return grants, nil
}

func openGrant(c *Catalogue, token string, keys map[string]*ecdsa.PublicKey) (Grant, error) {
	payload, kid, err := jose.Verify(token, TypeGrant, func(kid string) *ecdsa.PublicKey { return keys[kid] })
	if err != nil {
		return Grant{}, fmt.Errorf("%w: %w", ErrGrantSignature, err)
	}
	var p grantPayload
	if err := jose.Unmarshal(payload, &p); err != nil {
		return Grant{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if p.V != grantVersion {
		return Grant{}, fmt.Errorf("%w: grant of version %d", ErrFormat, p.V)
	}
	owner, pub := ownerKey(c, p.Grant.Proof)
	if pub == nil || jose.KeyID(pub) != kid || p.Owner != owner || p.City != c.City.Code {
		return Grant{}, fmt.Errorf("%w: grant %s", ErrGrantSignature, p.Grant.ID)
	}
	return p.Grant, nil
}

func (g Grant) equal(h Grant) bool {
	g.NotAfter, h.NotAfter = second(g.NotAfter), second(h.NotAfter)
	a, errA := marshal(g)
	b, errB := marshal(h)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

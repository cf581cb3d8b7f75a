package catalog

import (
	"crypto/ecdsa"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// index answers the look-ups; it is made once, when the catalogue has been validated.
type index struct {
	departments  map[DepartmentID]Department
	seals        map[SealID]Seal
	fronts       map[FrontID]Front
	sources      map[SourceID]Source
	proofs       map[ProofCode]Proof
	items        map[ItemCode]Item
	callers      map[CallerID]Caller
	operators    map[OperatorID]Operator
	workstations map[WorkstationID]Workstation
	purposes     map[string]Term
	bases        map[string]Term
	grants       map[grantKey]Grant
	byCert       map[string]any // Caller, Operator or Workstation
	keys         map[string]*ecdsa.PublicKey
	schemas      map[ProofCode]*jsonschema.Schema
	names        map[rune]rune
}

type grantKey struct {
	caller CallerID
	item   ItemCode
	proof  ProofCode
}

func byID[K comparable, V any](list []V, id func(V) K) map[K]V {
	m := make(map[K]V, len(list))
	for _, v := range list {
		m[id(v)] = v
	}
	return m
}

func buildIndex(c *Catalogue, schemas map[ProofCode]*jsonschema.Schema) *index {
	ix := &index{
		departments:  byID(c.Departments, func(v Department) DepartmentID { return v.ID }),
		seals:        byID(c.Seals, func(v Seal) SealID { return v.ID }),
		fronts:       byID(c.Fronts, func(v Front) FrontID { return v.ID }),
		sources:      byID(c.Sources, func(v Source) SourceID { return v.ID }),
		proofs:       byID(c.Proofs, func(v Proof) ProofCode { return v.Code }),
		items:        byID(c.Items, func(v Item) ItemCode { return v.Code }),
		callers:      byID(c.Callers, func(v Caller) CallerID { return v.ID }),
		operators:    byID(c.Operators, func(v Operator) OperatorID { return v.ID }),
		workstations: byID(c.Workstations, func(v Workstation) WorkstationID { return v.ID }),
		grants:       byID(c.Grants, func(v Grant) grantKey { return grantKey{v.Caller, v.Item, v.Proof} }),
		purposes:     byID(c.Purposes, func(v Term) string { return v.Code }),
		bases:        byID(c.LegalBases, func(v Term) string { return v.Code }),
		byCert:       map[string]any{},
		keys:         map[string]*ecdsa.PublicKey{},
		schemas:      schemas,
		names:        map[rune]rune{},
	}
	for _, v := range c.Callers {
		if v.Certificate != "" {
			ix.byCert[v.Certificate] = v
		}
	}
	for _, v := range c.Operators {
		ix.byCert[v.Certificate] = v
	}
	for _, v := range c.Workstations {
		ix.byCert[v.Certificate] = v
		ix.keys["agent "+string(v.ID)] = publicKey(v.AgentKey)
	}
	for _, v := range c.Fronts {
		ix.keys["front "+string(v.ID)] = publicKey(v.Key)
	}
	for _, v := range c.Departments {
		ix.keys["grant "+string(v.ID)] = publicKey(v.GrantKey)
	}
	for from, to := range c.NameMap {
		f, _ := strconv.ParseUint(from, 16, 32)
		t, _ := strconv.ParseUint(to, 16, 32)
		ix.names[rune(f)] = rune(t)
	}
	return ix
}

// Department with this id.
func (c *Catalogue) Department(id DepartmentID) (Department, bool) {
	v, ok := c.ix.departments[id]
	return v, ok
}

// Seal with this id.
func (c *Catalogue) Seal(id SealID) (Seal, bool) { v, ok := c.ix.seals[id]; return v, ok }

// HostedAt is the front that seals documents of the proof itself, at least for
// some answers; "" if the gateway has all its seals. No proof has two such fronts.
func (c *Catalogue) HostedAt(p Proof) FrontID {
	for _, id := range p.Issuer.Seals() {
		if s, ok := c.Seal(id); ok && s.Front != "" {
			return s.Front
		}
	}
	return ""
}

// Front with this id.
func (c *Catalogue) Front(id FrontID) (Front, bool) { v, ok := c.ix.fronts[id]; return v, ok }

// FrontKey is the key of a front processor; nil if unknown.
func (c *Catalogue) FrontKey(id FrontID) *ecdsa.PublicKey { return c.ix.keys["front "+string(id)] }

// Source with this id.
func (c *Catalogue) Source(id SourceID) (Source, bool) { v, ok := c.ix.sources[id]; return v, ok }

// Proof with this code.
func (c *Catalogue) Proof(code ProofCode) (Proof, bool) { v, ok := c.ix.proofs[code]; return v, ok }

// Item with this code.
func (c *Catalogue) Item(code ItemCode) (Item, bool) { v, ok := c.ix.items[code]; return v, ok }

// Caller with this id.
func (c *Catalogue) Caller(id CallerID) (Caller, bool) { v, ok := c.ix.callers[id]; return v, ok }

// CallerByCertificate is the kiosk or system with this certificate (KeyDigest).
func (c *Catalogue) CallerByCertificate(digest string) (Caller, bool) {
	v, ok := c.ix.byCert[digest].(Caller)
	return v, ok
}

// Operator is the clerk with this certificate (KeyDigest).
func (c *Catalogue) Operator(digest string) (Operator, bool) {
	v, ok := c.ix.byCert[digest].(Operator)
	return v, ok
}

// OperatorByID is the clerk with this id.
func (c *Catalogue) OperatorByID(id OperatorID) (Operator, bool) {
	v, ok := c.ix.operators[id]
	return v, ok
}

// Workstation with this id.
func (c *Catalogue) Workstation(id WorkstationID) (Workstation, bool) {
	v, ok := c.ix.workstations[id]
	return v, ok
}

// WorkstationByCertificate is the workstation whose read agent has this certificate (KeyDigest).
func (c *Catalogue) WorkstationByCertificate(digest string) (Workstation, bool) {
	v, ok := c.ix.byCert[digest].(Workstation)
	return v, ok
}

// AgentKey is the key with which the workstation's read agent signs; nil if unknown.
func (c *Catalogue) AgentKey(id WorkstationID) *ecdsa.PublicKey {
	return c.ix.keys["agent "+string(id)]
}

// GrantKey is the key with which the department signs grants; nil if it has none.
func (c *Catalogue) GrantKey(id DepartmentID) *ecdsa.PublicKey { return c.ix.keys["grant "+string(id)] }

// Purpose with this code.
func (c *Catalogue) Purpose(code string) (Term, bool) { v, ok := c.ix.purposes[code]; return v, ok }

// LegalBasis with this code.
func (c *Catalogue) LegalBasis(code string) (Term, bool) { v, ok := c.ix.bases[code]; return v, ok }

// GrantFor is the grant for the three, if there is one. It may have ended: the
// caller compares NotAfter with its own clock.
func (c *Catalogue) GrantFor(caller CallerID, item ItemCode, proof ProofCode) (Grant, bool) {
	g, ok := c.ix.grants[grantKey{caller, item, proof}]
	return g, ok
}

// Runes maps private-use code points of cards to the characters they stand for (NameMap).
func (c *Catalogue) Runes() map[rune]rune { return c.ix.names }

// Notes are what Load could not check, such as key files without a key directory.
func (c *Catalogue) Notes() Problems { return c.notes }

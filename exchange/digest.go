package exchange

import (
	"bytes"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"slices"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/catalog"
)

// The frozen byte formats of this file are written down, with vectors, in
// docs/protocol/leg-digest.md and docs/protocol/commitments.md.

// LegDigest binds an answer to the one question it answers. Nothing of the
// transport is in it, so a repeated or hedged attempt is the same leg.
type LegDigest [32]byte

func (d LegDigest) String() string { return base64.RawURLEncoding.EncodeToString(d[:]) }

// LegTerms are the terms of one leg that its digest covers.
type LegTerms struct {
	Exchange   string
	Leg        string
	Commitment []byte // subject commitment: the attestation's digest of type and number
	Item       catalog.ItemCode
	Proof      catalog.ProofCode
	Fields     []string // order does not matter
	Purpose    string
	Case       string
	Release    uint64 // catalogue release number
}

// Digest computes SM3("yizheng-leg-v1" 0x0A ‖ fields), each field as a 32-bit
// big-endian length and its bytes, the field list as its count and its sorted members.
func (t LegTerms) Digest() LegDigest {
	h := sm3.New()
	h.Write([]byte("yizheng-leg-v1\n"))
	put(h, []byte(t.Exchange))
	put(h, []byte(t.Leg))
	put(h, t.Commitment)
	put(h, []byte(t.Item))
	put(h, []byte(t.Proof))
	fields := slices.Sorted(slices.Values(t.Fields)) // by bytes
	putCount(h, len(fields))
	for _, f := range fields {
		put(h, []byte(f))
	}
	put(h, []byte(t.Purpose))
	put(h, []byte(t.Case))
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], t.Release)
	put(h, n[:])
	return LegDigest(h.Sum(nil))
}

func put(h hash.Hash, b []byte) {
	putCount(h, len(b))
	h.Write(b)
}

func putCount(h hash.Hash, n int) {
	var l [4]byte
	binary.BigEndian.PutUint32(l[:], uint32(n))
	h.Write(l[:])
}

// Secret is the 128 random bits of one issued document. It is printed in the
// QR code's fragment and kept nowhere else; every salt of the document derives
// from it, so whoever holds the document can open its commitments and nobody
// else can guess them.
type Secret [16]byte

func (Secret) String() string { return "[secret]" }

// Format keeps the value out of every fmt verb.
func (Secret) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[secret]")) }

// MarshalJSON refuses: the one place that may carry a secret encodes it itself.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"[secret]"`), nil }

// Seed is HMAC-SM3(secret, "yizheng-seed-v1"), the 32 bytes inside the PDF and the returned data.
func (s Secret) Seed() []byte { return mac(s[:], []byte("yizheng-seed-v1")) }

// Lookup is SM3("yizheng-lookup-v1" 0x0A ‖ secret): what a verifier sends instead of the secret.
func (s Secret) Lookup() []byte {
	h := sm3.New()
	h.Write([]byte("yizheng-lookup-v1\n"))
	h.Write(s[:])
	return h.Sum(nil)
}

// ResultCommitment is HMAC-SM3(seed, "yizheng-result-v1" 0x0A ‖ code), the code as callers see it.
func ResultCommitment(seed []byte, code Code) []byte {
	return mac(seed, []byte("yizheng-result-v1\n"), []byte(code.Shown()))
}

// DocumentDigest is the salted digest of an issue leaf:
// SM3("yizheng-doc-v1" 0x0A ‖ seed ‖ SM3(file)).
func DocumentDigest(seed, file []byte) []byte {
	d := sm3.Sum(file)
	h := sm3.New()
	h.Write([]byte("yizheng-doc-v1\n"))
	h.Write(seed)
	h.Write(d[:])
	return h.Sum(nil)
}

// UseCommitment stands for one use of a seal in the log of the front that holds
// it: HMAC-SM3(seed, "yizheng-seal-use-v1" 0x0A ‖ digest), digest being SM3 of
// the signature in lower-case hex, empty where nothing was sealed.
func UseCommitment(seed []byte, digest string) []byte {
	return mac(seed, []byte("yizheng-seal-use-v1\n"), []byte(digest))
}

func mac(key []byte, parts ...[]byte) []byte {
	m := hmac.New(sm3.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// FieldCommitment commits to one field of one record without showing it:
// salt = HMAC-SM3(seed, "yizheng-salt-v1" 0x0A ‖ u32 record ‖ u32 len ‖ name),
// commitment = SM3("yizheng-field-v1" 0x0A ‖ salt ‖ u32 record ‖ name ‖ value),
// name and value length-prefixed, the value as compact JSON with sorted keys.
func FieldCommitment(seed []byte, record int, name string, value any) ([]byte, error) {
	v, err := compactJSON(value)
	if err != nil {
		return nil, fmt.Errorf("commit to field %s: value has no JSON form", name)
	}
	var rec [4]byte
	binary.BigEndian.PutUint32(rec[:], uint32(record))
	var nameLen [4]byte
	binary.BigEndian.PutUint32(nameLen[:], uint32(len(name)))
	salt := mac(seed, []byte("yizheng-salt-v1\n"), rec[:], nameLen[:], []byte(name))
	h := sm3.New()
	h.Write([]byte("yizheng-field-v1\n"))
	h.Write(salt)
	h.Write(rec[:])
	put(h, []byte(name))
	put(h, v)
	return h.Sum(nil), nil
}

// compactJSON is JSON without white space, keys sorted, nothing escaped that need not be.
func compactJSON(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// FieldsRoot commits to all records at once: the RFC 6962 tree head (over SM3)
// of the field commitments, records in order, fields by name. One hash, so that
// not even the number of rows shows in the log.
func FieldsRoot(seed []byte, records []map[string]any) ([]byte, error) {
	var leaves [][]byte
	for i, r := range records {
		for _, n := range sortedNames(r) {
			c, err := FieldCommitment(seed, i, n, r[n])
			if err != nil {
				return nil, err
			}
			leaves = append(leaves, c)
		}
	}
	return treeHead(leaves), nil
}

func sortedNames(record map[string]any) []string { return slices.Sorted(maps.Keys(record)) }

// treeHead is RFC 6962 section 2.1 with SM3.
func treeHead(leaves [][]byte) []byte {
	switch len(leaves) {
	case 0:
		d := sm3.Sum(nil)
		return d[:]
	case 1:
		d := sm3.Sum(append([]byte{0}, leaves[0]...))
		return d[:]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	node := append([]byte{1}, treeHead(leaves[:k])...)
	d := sm3.Sum(append(node, treeHead(leaves[k:])...))
	return d[:]
}

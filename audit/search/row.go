package search

import (
	"cmp"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"yizheng/audit"
	"yizheng/audit/index"
)

// Row is one entry as an auditor sees it. Open and Closed are the texts as
// stored: their bytes, with the salt, make the leaf hash.
type Row struct {
	Origin  string     `json:"origin"` // of the shard
	Index   uint64     `json:"index"`
	Leaf    audit.Hash `json:"-"`
	Open    string     `json:"open"`
	Closed  string     `json:"closed"`
	Salt    string     `json:"salt"`              // lower hex
	Receipt string     `json:"receipt,omitempty"` // inclusion proof, docs/protocol/audit-log.md §9

	Entry audit.Entry `json:"-"`
}

func rowOf(h index.Hit) Row {
	return Row{Origin: h.Origin, Index: h.Index, Leaf: h.Leaf, Open: string(h.OpenJSON), Closed: string(h.ClosedJSON),
		Salt: hex.EncodeToString(h.Salt[:]), Entry: h.Entry}
}

// UnmarshalJSON reads a row and computes its leaf hash from what it holds.
func (r *Row) UnmarshalJSON(b []byte) error {
	type plain Row
	if err := json.Unmarshal(b, (*plain)(r)); err != nil {
		return err
	}
	salt, err := hex.DecodeString(r.Salt)
	if err != nil || len(salt) != audit.SaltSize {
		return fmt.Errorf("audit search: salt of entry %d of %s is not %d bytes", r.Index, r.Origin, audit.SaltSize)
	}
	r.Leaf = audit.LeafHash([]byte(r.Open), []byte(r.Closed), [audit.SaltSize]byte(salt))
	if err := json.Unmarshal([]byte(r.Open), &r.Entry.Open); err != nil {
		return fmt.Errorf("audit search: open half of entry %d of %s: %w", r.Index, r.Origin, err)
	}
	if err := json.Unmarshal([]byte(r.Closed), &r.Entry.Closed); err != nil {
		return fmt.Errorf("audit search: closed half of entry %d of %s: %w", r.Index, r.Origin, err)
	}
	return nil
}

// Verify checks the row's receipt: signed by one of the keys, in the log named
// base (its shards are base/quarter), and of this very entry.
func (r Row) Verify(base string, keys ...*ecdsa.PublicKey) error {
	return proven(base, r.Origin, r.Index, r.Receipt, r.Leaf, keys)
}

// proven checks that a receipt is of this entry of a shard of the log named base,
// and signed by one of the keys.
func proven(base, origin string, index uint64, text string, leaf audit.Hash, keys []*ecdsa.PublicKey) error {
	receipt, err := audit.ParseReceipt([]byte(text))
	if err != nil {
		return err
	}
	if receipt.Origin != origin || receipt.Index != index || !strings.HasPrefix(origin, base+"/") {
		return fmt.Errorf("%w: receipt is of entry %d of %s", audit.ErrProof, receipt.Index, receipt.Origin)
	}
	err = audit.ErrSignature
	for _, k := range keys {
		if err = receipt.Verify(k, leaf); err == nil {
			return nil
		}
	}
	return err
}

// newestFirst orders rows of several logs by time.
func newestFirst(rows []Row) {
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(b.Entry.Open.Time, a.Entry.Open.Time) })
}

package audit

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/transparency-dev/merkle/proof"
)

// Receipt proves that an entry is in the log: its place, its leaf hash, a
// signed head and the Merkle path between them.
type Receipt struct {
	Origin string
	Index  uint64
	Leaf   Hash
	Head   SignedHead
	Proof  []Hash // from the leaf's sibling upwards (RFC 6962 §2.1.1)
}

const receiptMagic = "c2sp.org/tlog-proof@v1"

// maxProof is the longest path that a tree of 2⁶⁴ entries can have.
const maxProof = 64

// MarshalText writes the receipt in the form of c2sp.org/tlog-proof@v1, whose
// "extra" line holds the leaf hash. Hashes are SM3 and the signature is SM2.
func (r Receipt) MarshalText() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nextra %s\nindex %d\n", receiptMagic, r.Leaf, r.Index)
	for _, h := range r.Proof {
		b.WriteString(h.String() + "\n")
	}
	b.WriteByte('\n')
	note, err := r.Head.MarshalText()
	if err != nil {
		return nil, err
	}
	b.Write(note)
	return b.Bytes(), nil
}

// UnmarshalText is ParseReceipt into r.
func (r *Receipt) UnmarshalText(text []byte) error {
	p, err := ParseReceipt(text)
	if err == nil {
		*r = p
	}
	return err
}

// ParseReceipt reads a receipt. It checks the form only; see Verify.
func ParseReceipt(text []byte) (Receipt, error) {
	if len(text) > maxNote {
		return Receipt{}, fmt.Errorf("audit: receipt longer than %d bytes", maxNote)
	}
	front, note, ok := strings.Cut(string(text), "\n\n")
	lines := strings.Split(front, "\n")
	if !ok || len(lines) < 3 || len(lines) > 3+maxProof || lines[0] != receiptMagic {
		return Receipt{}, fmt.Errorf("audit: not a %s receipt", receiptMagic)
	}
	var r Receipt
	var err error
	extra, ok := strings.CutPrefix(lines[1], "extra ")
	if !ok {
		return Receipt{}, fmt.Errorf("audit: receipt without leaf hash")
	}
	if r.Leaf, err = parseHash(extra); err != nil {
		return Receipt{}, err
	}
	index, ok := strings.CutPrefix(lines[2], "index ")
	if r.Index, err = parseDecimal(index); err != nil || !ok {
		return Receipt{}, fmt.Errorf("audit: receipt without index")
	}
	for _, line := range lines[3:] {
		h, err := parseHash(line)
		if err != nil {
			return Receipt{}, err
		}
		r.Proof = append(r.Proof, h)
	}
	if r.Head, err = ParseCheckpoint([]byte(note)); err != nil {
		return Receipt{}, err
	}
	r.Origin = r.Head.Origin
	return r, nil
}

// Verify checks that the entry with the given leaf hash is in the log whose
// key is pub. Errors wrap ErrSignature or ErrProof.
func (r Receipt) Verify(pub *ecdsa.PublicKey, leaf Hash) error {
	if leaf != r.Leaf {
		return fmt.Errorf("%w: receipt is of another entry", ErrProof)
	}
	if r.Origin != r.Head.Origin {
		return fmt.Errorf("%w: receipt and head name different logs", ErrProof)
	}
	if err := r.Head.Verify(pub); err != nil {
		return err
	}
	return r.Includes(leaf)
}

// Includes is Verify for a head that is trusted already: it checks only that
// the head's tree holds the leaf. Errors wrap ErrProof.
func (r Receipt) Includes(leaf Hash) error {
	path := make([][]byte, len(r.Proof))
	for i := range r.Proof {
		path[i] = r.Proof[i][:]
	}
	if err := proof.VerifyInclusion(sm3Hasher{}, r.Index, r.Head.Size, leaf[:], path, r.Head.Root[:]); err != nil {
		return fmt.Errorf("%w: entry %d in size %d", ErrProof, r.Index, r.Head.Size)
	}
	return nil
}

// Pointer is the short form of a receipt for paper and QR codes: where an
// entry is and what it hashes to. The proof is fetched, or cut from a copy of
// the log, when somebody asks.
func (r Receipt) Pointer() Pointer { return Pointer{Origin: r.Origin, Index: r.Index, Leaf: r.Leaf} }

// Pointer names one entry of one log.
type Pointer struct {
	Origin string
	Index  uint64
	Leaf   Hash
}

// String writes "origin:index:leaf", the leaf hash in base64url without padding.
func (p Pointer) String() string {
	return p.Origin + ":" + strconv.FormatUint(p.Index, 10) + ":" + base64.RawURLEncoding.EncodeToString(p.Leaf[:])
}

// ParsePointer reads what String wrote.
func ParsePointer(s string) (Pointer, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 || !validOrigin(parts[0]) {
		return Pointer{}, fmt.Errorf("audit: not a receipt pointer")
	}
	p := Pointer{Origin: parts[0]}
	var err error
	if p.Index, err = parseDecimal(parts[1]); err != nil {
		return Pointer{}, fmt.Errorf("audit: receipt pointer: %w", err)
	}
	leaf, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(leaf) != len(p.Leaf) {
		return Pointer{}, fmt.Errorf("audit: receipt pointer has no leaf hash")
	}
	copy(p.Leaf[:], leaf)
	if p.String() != s {
		return Pointer{}, fmt.Errorf("audit: receipt pointer is not in canonical form")
	}
	return p, nil
}

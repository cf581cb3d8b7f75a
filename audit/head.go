package audit

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
)

// A Signer signs heads with the log's SM2 key. SignMessage returns the ASN.1
// DER signature (GB/T 32918.2, GB/T 35276) over SM3 with the default user id.
// It is called by one goroutine at a time.
type Signer interface {
	Public() *ecdsa.PublicKey
	SignMessage(msg []byte) ([]byte, error)
}

// signatureType is the type of our note signatures: 0xff, which the signed
// note format leaves to private use, and an identifier.
const signatureType = "\xffsm2-sm3/v1"

// noteKeyHash is the 4-byte key hash of a signature line:
// SM3(name ‖ 0x0A ‖ 0xFF ‖ "sm2-sm3/v1" ‖ first 16 bytes of SM3(SPKI)).
func noteKeyHash(name string, pub *ecdsa.PublicKey) (uint32, error) {
	id, err := KeyID(pub)
	if err != nil {
		return 0, err
	}
	raw, _ := hex.DecodeString(id) // just encoded
	sum := sm3.Sum(append([]byte(name+"\n"+signatureType), raw...))
	return binary.BigEndian.Uint32(sum[:4]), nil
}

// Head is one state of the log: so many entries with this root.
type Head struct {
	Origin string
	Size   uint64 // number of entries
	Root   Hash
	Time   int64 // microseconds since the Unix epoch, not before any entry's
	Prev   Hash  // SM3 of the previous head's 80 bytes; of log.json for the first
}

// headLen is the length of a head inside a frame: size, root, time, prev.
const headLen = 8 + 32 + 8 + 32

func (h Head) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, h.Size)
	b = append(b, h.Root[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Time))
	return append(b, h.Prev[:]...)
}

func headFrom(origin string, b []byte) Head {
	h := Head{Origin: origin, Size: binary.BigEndian.Uint64(b), Time: int64(binary.BigEndian.Uint64(b[40:]))}
	copy(h.Root[:], b[8:])
	copy(h.Prev[:], b[48:])
	return h
}

func (h Head) digest() Hash { return sm3.Sum(h.appendTo(make([]byte, 0, headLen))) }

// Text is the signed note text of the head, a C2SP tlog-checkpoint with two
// extension lines.
func (h Head) Text() []byte {
	b := make([]byte, 0, len(h.Origin)+160)
	b = append(append(b, h.Origin...), '\n')
	b = append(strconv.AppendUint(b, h.Size, 10), '\n')
	b = append(base64.StdEncoding.AppendEncode(b, h.Root[:]), "\ntime "...)
	b = append(strconv.AppendInt(b, h.Time, 10), "\nprev "...)
	return append(base64.StdEncoding.AppendEncode(b, h.Prev[:]), '\n')
}

// SignedHead is a head with the log's signature over its text.
type SignedHead struct {
	Head
	KeyHash   uint32 // of the signature line
	Signature []byte // SM2, ASN.1 DER
	// Cosignatures are the other signature lines (witnesses), as they stand.
	Cosignatures []string
}

// Verify checks the log's own signature. The error wraps ErrSignature.
func (s SignedHead) Verify(pub *ecdsa.PublicKey) error {
	kh, err := noteKeyHash(s.Origin, pub)
	if err != nil {
		return err
	}
	if kh != s.KeyHash {
		return fmt.Errorf("%w: head of size %d is signed by another key", ErrSignature, s.Size)
	}
	if !verifySM2(pub, s.Text(), s.Signature) {
		return fmt.Errorf("%w: head of size %d", ErrSignature, s.Size)
	}
	return nil
}

func verifySM2(pub *ecdsa.PublicKey, msg, sig []byte) bool {
	return sm2.VerifyASN1WithSM2(pub, nil, msg, sig)
}

// MarshalText writes the signed note: a checkpoint.
func (s SignedHead) MarshalText() ([]byte, error) {
	b := appendNote(nil, s.Text(), s.Origin, s.KeyHash, s.Signature)
	for _, line := range s.Cosignatures {
		b = append(append(b, line...), '\n')
	}
	return b, nil
}

func appendNote(b, text []byte, name string, keyHash uint32, sig []byte) []byte {
	b = append(append(b, text...), '\n')
	b = append(append(append(b, "— "...), name...), ' ')
	raw := append(binary.BigEndian.AppendUint32(nil, keyHash), sig...)
	return append(base64.StdEncoding.AppendEncode(b, raw), '\n')
}

const (
	maxNote      = 64 << 10
	maxOrigin    = 128
	maxSignature = 256 // an SM2 signature in DER has at most 72 bytes
)

// validOrigin allows lower-case letters, digits and "./-_", 1 to 128 characters.
func validOrigin(s string) bool {
	if s == "" || len(s) > maxOrigin {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("./-_", c) >= 0) {
			return false
		}
	}
	return true
}

// ParseCheckpoint reads a checkpoint. It checks the form only; the caller
// goes on to Verify.
func ParseCheckpoint(note []byte) (SignedHead, error) {
	text, sigs, err := splitNote(note)
	if err != nil {
		return SignedHead{}, err
	}
	h, err := parseHead(text)
	if err != nil {
		return SignedHead{}, err
	}
	s := SignedHead{Head: h}
	for _, line := range sigs {
		if name, keyHash, sig, ok := parseSignature(line); ok && name == h.Origin && s.Signature == nil {
			s.KeyHash, s.Signature = keyHash, sig
		} else {
			s.Cosignatures = append(s.Cosignatures, line)
		}
	}
	if s.Signature == nil {
		return SignedHead{}, fmt.Errorf("%w: checkpoint of %s has no signature of its log", ErrSignature, h.Origin)
	}
	return s, nil
}

// splitNote separates a note's text (with its last newline) from its signature lines.
func splitNote(note []byte) (text []byte, sigs []string, err error) {
	i := bytes.LastIndex(note, []byte("\n\n"))
	if len(note) > maxNote || i < 0 || note[len(note)-1] != '\n' || i+2 >= len(note) {
		return nil, nil, fmt.Errorf("audit: not a signed note")
	}
	return note[:i+1], strings.Split(string(note[i+2:len(note)-1]), "\n"), nil
}

func parseSignature(line string) (name string, keyHash uint32, sig []byte, ok bool) {
	rest, found := strings.CutPrefix(line, "— ")
	name, enc, two := strings.Cut(rest, " ")
	if !found || !two {
		return "", 0, nil, false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(enc)
	if err != nil || len(raw) < 5 || len(raw) > 4+maxSignature || base64.StdEncoding.EncodeToString(raw) != enc {
		return "", 0, nil, false
	}
	return name, binary.BigEndian.Uint32(raw), raw[4:], true
}

func parseHead(text []byte) (Head, error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) != 6 || lines[5] != "" {
		return Head{}, fmt.Errorf("audit: a checkpoint of this log has five lines of text")
	}
	h := Head{Origin: lines[0]}
	if !validOrigin(h.Origin) {
		return Head{}, fmt.Errorf("audit: bad origin in checkpoint")
	}
	var err error
	if h.Size, err = parseDecimal(lines[1]); err != nil {
		return Head{}, fmt.Errorf("audit: size of checkpoint: %w", err)
	}
	if h.Root, err = parseHash(lines[2]); err != nil {
		return Head{}, err
	}
	us, err := parseDecimal(strings.TrimPrefix(lines[3], "time "))
	if err != nil || us > math.MaxInt64 {
		return Head{}, fmt.Errorf("audit: time of checkpoint is not a number of microseconds")
	}
	h.Time = int64(us)
	if h.Prev, err = parseHash(strings.TrimPrefix(lines[4], "prev ")); err != nil {
		return Head{}, err
	}
	if !bytes.Equal(h.Text(), text) { // prefixes missing, or written otherwise than we write
		return Head{}, fmt.Errorf("audit: checkpoint is not in canonical form")
	}
	return h, nil
}

// parseDecimal reads an unsigned number without sign or leading zeros.
func parseDecimal(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("audit: not a decimal number")
	}
	return n, nil
}

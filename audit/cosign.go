package audit

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/emmansun/gmsm/sm3"
)

// A cosignature is a witness's word that a checkpoint continues everything it
// has seen of that log before. It is a signature line of the checkpoint's note
// in the form of c2sp.org/tlog-cosignature, with SM2 in Ed25519's place:
//
//	— <witness> base64( u32 key hash | u64 time, s | SM2 signature (DER) )
//
// over "cosignature/v1\ntime <seconds>\n" and the checkpoint's text. The key
// hash is SM3(name ‖ 0x0A ‖ 0xFF ‖ "sm2-sm3-cosig/v1" ‖ first 16 bytes of SM3(SPKI)).

const cosignatureType = "\xffsm2-sm3-cosig/v1"

// WitnessKey is a witness as an auditor pins it.
type WitnessKey struct {
	Name string // as an origin's: lower-case letters, digits and "./-_"
	Key  *ecdsa.PublicKey
}

func (w WitnessKey) hash() (uint32, error) {
	if !validOrigin(w.Name) {
		return 0, fmt.Errorf("audit: bad name of a witness")
	}
	id, err := KeyID(w.Key)
	if err != nil {
		return 0, err
	}
	raw, _ := hex.DecodeString(id) // just encoded
	sum := sm3.Sum(append([]byte(w.Name+"\n"+cosignatureType), raw...))
	return binary.BigEndian.Uint32(sum[:4]), nil
}

func cosigned(h Head, seconds uint64) []byte {
	b := strconv.AppendUint([]byte("cosignature/v1\ntime "), seconds, 10)
	return append(append(b, '\n'), h.Text()...)
}

// Cosign makes the signature line of a witness, without its line end. Whoever
// calls it has checked that h continues the last head it has cosigned.
func Cosign(name string, s Signer, h Head, at time.Time) (string, error) {
	kh, err := WitnessKey{Name: name, Key: s.Public()}.hash()
	if err != nil {
		return "", err
	}
	seconds := uint64(at.Unix())
	sig, err := s.SignMessage(cosigned(h, seconds))
	if err != nil {
		return "", fmt.Errorf("audit: cosigning: %w", err)
	}
	raw := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, kh), seconds)
	return "— " + name + " " + base64.StdEncoding.EncodeToString(append(raw, sig...)), nil
}

// ErrNotCosigned: a signature line is not this witness's cosignature of this head.
var ErrNotCosigned = errors.New("audit: not cosigned by this witness")

// Check verifies a signature line and returns when the witness saw the head.
func (w WitnessKey) Check(h Head, line string) (time.Time, error) {
	kh, err := w.hash()
	if err != nil {
		return time.Time{}, err
	}
	name, hash, raw, ok := parseSignature(line)
	if !ok || name != w.Name || hash != kh || len(raw) <= 8 {
		return time.Time{}, ErrNotCosigned
	}
	seconds := binary.BigEndian.Uint64(raw)
	if seconds > maxTime/1_000_000 || !verifySM2(w.Key, cosigned(h, seconds), raw[8:]) {
		return time.Time{}, ErrNotCosigned
	}
	return time.Unix(int64(seconds), 0), nil
}

// Witnessed tells which of the witnesses have cosigned the head, and when.
func (s SignedHead) Witnessed(by []WitnessKey) map[string]time.Time {
	seen := make(map[string]time.Time)
	for _, w := range by {
		for _, line := range s.Cosignatures {
			if at, err := w.Check(s.Head, line); err == nil {
				seen[w.Name] = at
			}
		}
	}
	return seen
}

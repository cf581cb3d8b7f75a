package audit

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/catalog/beijing"
)

const metaFormat = "yizheng-audit/1"

// meta is the text of log.json: what a shard is. It is written once, signed,
// and bound to the frames by being the "previous head" of the first one.
type meta struct {
	Format   string    `json:"format"`
	Origin   string    `json:"origin"`
	Shard    string    `json:"shard"` // quarter of its creation, "2026q4"
	Hash     string    `json:"hash"`
	Created  int64     `json:"created"` // microseconds
	Segment  int64     `json:"segment"` // bytes
	Keys     []metaKey `json:"keys"`
	Previous string    `json:"previous,omitempty"` // final checkpoint of the previous shard
	// Compromised are epochs whose pseudonyms somebody else may be able to resolve.
	Compromised []string `json:"compromised,omitempty"`
}

type metaKey struct {
	ID   string `json:"id"`
	SPKI string `json:"spki"` // DER, base64
}

// Quarter names the calendar quarter of a moment in UTC+8: "2026q4".
func Quarter(t time.Time) string {
	t = t.In(beijing.Zone())
	return fmt.Sprintf("%04dq%d", t.Year(), (int(t.Month())+2)/3)
}

// ShardOrigin is the origin of a node's shard for the quarter of t:
// base/2026q4.
func ShardOrigin(base string, t time.Time) string { return base + "/" + Quarter(t) }

func newMeta(c Config, now int64) (meta, error) {
	id, err := KeyID(c.Signer.Public())
	if err != nil {
		return meta{}, err
	}
	der, err := marshalKey(c.Signer.Public())
	if err != nil {
		return meta{}, err
	}
	return meta{
		Format: metaFormat, Origin: c.Origin, Shard: Quarter(time.UnixMicro(now)), Hash: "SM3", Created: now,
		Segment: c.SegmentSize, Keys: []metaKey{{ID: id, SPKI: base64.StdEncoding.EncodeToString(der)}},
		Previous: string(c.Previous), Compromised: c.Compromised,
	}, nil
}

// sign makes the content of log.json.
func (m meta) sign(s Signer) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("audit: log.json: %w", err)
	}
	text = append(text, '\n')
	kh, err := noteKeyHash(m.Origin, s.Public())
	if err != nil {
		return nil, err
	}
	sig, err := s.SignMessage(text)
	if err != nil {
		return nil, fmt.Errorf("audit: signing log.json: %w", err)
	}
	return appendNote(nil, text, m.Origin, kh, sig), nil
}

// readMeta reads log.json and finds which of the keys signed it.
func readMeta(note []byte, keys []*ecdsa.PublicKey) (meta, *ecdsa.PublicKey, error) {
	var m meta
	text, sigs, err := splitNote(note)
	if err != nil {
		return m, nil, fmt.Errorf("%w: log.json is not a signed note", ErrDamaged)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return m, nil, fmt.Errorf("%w: log.json cannot be read", ErrDamaged)
	}
	again, err := json.Marshal(m)
	if err != nil || !bytes.Equal(append(again, '\n'), text) {
		return m, nil, fmt.Errorf("%w: log.json is not in canonical form", ErrDamaged)
	}
	if m.Format != metaFormat || m.Hash != "SM3" || !validOrigin(m.Origin) || !validSegment(m.Segment) || len(m.Keys) != 1 {
		return m, nil, fmt.Errorf("%w: log.json is of an unknown format", ErrDamaged)
	}
	if len(sigs) != 1 {
		return m, nil, fmt.Errorf("%w: log.json has %d signatures", ErrDamaged, len(sigs))
	}
	name, keyHash, sig, ok := parseSignature(sigs[0])
	if !ok || name != m.Origin {
		return m, nil, fmt.Errorf("%w: log.json has no signature of its log", ErrDamaged)
	}
	for _, pub := range keys {
		kh, err := noteKeyHash(m.Origin, pub)
		if err != nil {
			return m, nil, err
		}
		id, _ := KeyID(pub)
		if kh == keyHash && id == m.Keys[0].ID && verifySM2(pub, text, sig) {
			return m, pub, nil
		}
	}
	return m, nil, fmt.Errorf("%w: log.json is not signed by a known key", ErrSignature)
}

// metaDigest is what the first head has for its previous one.
func metaDigest(note []byte) Hash { return sm3.Sum(note) }

func validSegment(n int64) bool { return n >= 4<<10 && n <= 1<<30 && n%frameAlign == 0 }

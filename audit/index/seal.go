package index

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/audit"
	"yizheng/identity/jose"
)

// seal says what a full file is: its bytes, after all of its rows were held to
// the log. Whoever can write the file cannot make another seal: it is signed by
// the log's key, as JWS beside the file, and remembered while the file is open.
type seal struct {
	V          int    `json:"v"` // 1
	Origin     string `json:"origin"`
	First      uint64 `json:"first"`
	Next       uint64 `json:"next"`
	From       int64  `json:"from"` // times of the first and the last entry, microseconds
	To         int64  `json:"to"`
	Digest     string `json:"digest"` // b64url SM3 of the file
	Words      int    `json:"words"`  // how many words there were,
	WordDigest string `json:"worddigest"`
}

const (
	sealType   = "yz-audit-index+jws"
	sealSuffix = ".seal"
)

// put seals a file whose bytes have this digest and whose rows are the log's.
func (x *Index) put(p *part, digest string) error {
	n := x.words.count()
	p.seal = &seal{V: 1, Origin: x.cfg.Origin, First: p.first, Next: p.next, From: p.from, To: p.to, Digest: digest, Words: n, WordDigest: x.words.digest(n)}
	if x.cfg.Key == nil {
		return nil
	}
	payload, err := json.Marshal(p.seal)
	if err != nil {
		return fmt.Errorf("audit index: %w", err)
	}
	token, err := jose.Sign(x.cfg.Key, sealType, payload)
	if err == nil {
		err = audit.ReplaceFile(filepath.Join(x.cfg.Dir, p.name+sealSuffix), []byte(token))
	}
	if err != nil {
		return fmt.Errorf("audit index: sealing %s: %w", p.name, err)
	}
	return nil
}

// readSeal gives a file that was just opened its seal, if it has a good one.
// What the file should hold is then what the seal says, not what is in it.
func (p *part) readSeal(c Config, w *words) {
	if c.Key == nil || p.name == liveName {
		return
	}
	token, err := os.ReadFile(filepath.Join(c.Dir, p.name+sealSuffix))
	if err != nil {
		return
	}
	payload, _, err := jose.Verify(string(token), sealType, func(kid string) *ecdsa.PublicKey {
		if kid != c.Key.ID() {
			return nil
		}
		return c.Key.Public()
	})
	var s seal
	if err != nil || jose.Unmarshal(payload, &s) != nil || s.V != 1 || s.Origin != c.Origin || s.First != p.first || s.WordDigest != w.digest(s.Words) {
		return // its rows are held to the log
	}
	p.seal, p.next, p.from, p.to = &s, s.Next, s.From, s.To
}

// digest is that of a file as it is on disk now.
func digest(name string, at *pace) (_ string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("audit index: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sm3.New()
	for {
		n, err := io.CopyN(h, f, 1<<20)
		if errors.Is(err, io.EOF) {
			return base64.RawURLEncoding.EncodeToString(h.Sum(nil)), nil
		}
		if err == nil && n > 0 {
			err = at.rest()
		}
		if err != nil {
			return "", fmt.Errorf("audit index: %w", err)
		}
	}
}

package auditor

import (
	"crypto/ecdsa"
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/audit"
)

type signer struct{ *sm2.PrivateKey }

func newSigner(t *testing.T) signer {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{k}
}

func (s signer) Public() *ecdsa.PublicKey { return &s.PublicKey }
func (s signer) SignMessage(msg []byte) ([]byte, error) {
	return s.Sign(rand.Reader, msg, sm2.DefaultSM2SignerOpts)
}

// history makes a closed log of some entries and tells what it was like after each.
func history(t *testing.T, own signer, n int) (dir string, heads []audit.SignedHead) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "2026q4")
	l, err := audit.OpenLog(t.Context(), audit.Config{Dir: dir, Origin: "gw1.example.gov.cn/audit/2026q4", Signer: own, SegmentSize: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, err := l.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpLogin}}); err != nil {
			t.Fatal(err)
		}
		heads = append(heads, l.Head())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, append(heads, l.Head())
}

// seer is a witness with its key.
type seer struct {
	audit.WitnessKey
	own signer
}

func newSeer(t *testing.T, name string) seer {
	t.Helper()
	own := newSigner(t)
	return seer{audit.WitnessKey{Name: name, Key: own.Public()}, own}
}

func cosigned(t *testing.T, h audit.SignedHead, by ...seer) []byte {
	t.Helper()
	for _, w := range by {
		line, err := audit.Cosign(w.Name, w.own, h.Head, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		h.Cosignatures = append(h.Cosignatures, line)
	}
	b, err := h.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestALogMustBeTheOneThatWitnessesSaw(t *testing.T) {
	own := newSigner(t)
	one, two := newSeer(t, "witness-1"), newSeer(t, "witness-2")
	both := []audit.WitnessKey{one.WitnessKey, two.WitnessKey}
	dir, heads := history(t, own, 5)
	_, others := history(t, own, 9) // another history under the same name and key
	foreign := heads[2]
	foreign.Signature = others[2].Signature
	for name, c := range map[string]struct {
		w    Witnesses
		says string
	}{
		"seen by both":              {Witnesses{By: both, Note: cosigned(t, heads[3], one, two)}, ""},
		"seen by one, one needed":   {Witnesses{By: both, Need: 1, Note: cosigned(t, heads[3], two)}, ""},
		"seen by one, both needed":  {Witnesses{By: both, Note: cosigned(t, heads[3], two)}, "cosigned by 1"},
		"by the same one twice":     {Witnesses{By: both, Note: cosigned(t, heads[3], one, one)}, "cosigned by 1"},
		"by nobody":                 {Witnesses{By: both, Note: cosigned(t, heads[3])}, "cosigned by 0"},
		"by a stranger":             {Witnesses{By: both[:1], Note: cosigned(t, heads[3], two)}, "cosigned by 0"},
		"no checkpoint":             {Witnesses{By: both}, "no witnessed checkpoint"},
		"more was seen":             {Witnesses{By: both, Note: cosigned(t, others[8], one, two)}, "rewound or rewritten"},
		"something else was seen":   {Witnesses{By: both, Note: cosigned(t, others[2], one, two)}, "rewound or rewritten"},
		"not signed by the log":     {Witnesses{By: both, Note: cosigned(t, foreign, one, two)}, "not signed by the log's key"},
		"nothing seen for too long": {Witnesses{By: both, Note: cosigned(t, heads[0], one, two), MaxAge: time.Nanosecond}, "are not witnessed"},
	} {
		t.Run(name, func(t *testing.T) {
			var said []string
			good, err := VerifyChain(t.Context(), []string{dir}, Options{Keys: []*ecdsa.PublicKey{own.Public()}, Witnesses: &c.w}, func(_ string, r audit.Report) error {
				for _, p := range r.Problems {
					said = append(said, p.Text)
				}
				return nil
			})
			text := strings.Join(said, "\n")
			if err != nil || good != (c.says == "") || !strings.Contains(text, c.says) {
				t.Errorf("good %v, %v:\n%s", good, err, text)
			}
		})
	}
}

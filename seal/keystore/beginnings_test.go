package keystore

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
)

func TestMessagesThatBeginAlikeAreSignedAsAnyOther(t *testing.T) {
	private, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBegun(private)
	if err != nil {
		t.Fatal(err)
	}
	key := Key{public: &private.PublicKey, begun: b}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := range 100 { // more beginnings than are remembered
				beginning := bytes.Repeat([]byte{byte(n)}, n*7)
				rest := fmt.Appendf(nil, "rest %d of %d", n, worker)
				sig, err := key.SignBegun(beginning, rest)
				if err != nil || !sm2.VerifyASN1WithSM2(&private.PublicKey, nil, append(beginning, rest...), sig) {
					t.Errorf("beginning %d: signature does not verify: %v", n, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestSumIsThatOfTheWholeMessage(t *testing.T) {
	var b Beginnings
	beginning := bytes.Repeat([]byte("seal"), 100)
	for _, rest := range []string{"", "one", "another"} {
		sum, err := b.Sum(beginning, []byte(rest))
		if want := sm3.Sum(append(bytes.Clone(beginning), rest...)); err != nil || !bytes.Equal(sum, want[:]) {
			t.Errorf("%q: %x, want %x: %v", rest, sum, want, err)
		}
	}
}

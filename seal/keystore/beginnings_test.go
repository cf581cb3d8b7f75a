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
			for n := range 100 {
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

// Strangers' documents are verified too, and each may begin as it likes.
func TestBeginningsTakeABoundedAmountOfMemory(t *testing.T) {
	var b Beginnings
	for n := range 140 { // more than there is room for
		beginning := bytes.Repeat([]byte{byte(n), byte(n >> 8)}, maxBeginning/2)
		for _, long := range [][]byte{beginning, append(beginning, 1)} {
			sum, err := b.Sum(long, []byte("rest"))
			if err != nil {
				t.Fatal(err)
			}
			if n%50 > 0 {
				continue
			}
			if want := sm3.Sum(append(bytes.Clone(long), "rest"...)); !bytes.Equal(sum, want[:]) {
				t.Fatalf("beginning %d of %d bytes: %x, want %x", n, len(long), sum, want)
			}
		}
		held := 0
		for _, k := range b.states {
			held += len(k.beginning) + stateSize
		}
		if held > maxBeginnings || held != b.size || len(b.states) == 0 {
			t.Fatalf("after %d: %d bytes in %d beginnings, counted %d", n, held, len(b.states), b.size)
		}
	}
}

func TestSumIsThatOfTheWholeMessage(t *testing.T) {
	var b Beginnings
	beginning := bytes.Repeat([]byte("seal"), 100)
	forged := bytes.Clone(beginning)
	forged[9] ^= 1 // looks the same where it is looked up
	if markOf(nil, beginning) != markOf(nil, forged) {
		t.Fatal("two marks")
	}
	for n, rest := range []string{"", "one", "another", "", "one", "another"} {
		beginning := [][]byte{beginning, forged}[n%2]
		sum, err := b.Sum(beginning, []byte(rest))
		if want := sm3.Sum(append(bytes.Clone(beginning), rest...)); err != nil || !bytes.Equal(sum, want[:]) {
			t.Errorf("%d %q: %x, want %x: %v", n, rest, sum, want, err)
		}
	}
}

package seal

import (
	"bytes"
	"context"
	"testing"

	"yizheng/seal/pdf"
)

// What a verifier remembers of one document never speaks for another: after a good
// one, every byte of a document that begins like it still counts.
func TestVerify_AfterADocumentOfTheSameKindEveryByteCounts(t *testing.T) {
	c := newCity(t)
	trust, file := c.trust(), c.sealed()
	again, _, err := c.registry(RegistryOptions{Trust: trust}).Sign(context.Background(), "mz", c.draft(signed), signed)
	c.ok(err)
	for range 2 {
		for _, good := range [][]byte{file, again} {
			if r := Verify(good, trust, now); !r.Overall {
				t.Fatalf("%+v", r.Checks)
			}
		}
	}
	f, err := pdf.Open(t.Context(), file)
	c.ok(err)
	common := f.Common()
	if common == 0 || !bytes.Equal(file[:common], again[:common]) {
		t.Fatalf("%d bytes in common", common)
	}
	for _, at := range []int{20, common / 2, common - 30, common - 1, common, common + 40} {
		changed := bytes.Clone(file)
		changed[at] ^= 1
		for range 2 {
			if r := Verify(changed, trust, now); r.Overall {
				t.Errorf("byte %d of %d (%d in common) changed and verified", at, len(file), common)
			}
		}
	}
	if r := Verify(file, trust, now); !r.Overall {
		t.Errorf("after the changed ones: %+v", r.Checks)
	}
}

package audit

import (
	"errors"
	"testing"
)

func TestRootOfEverySizeIsTheOneThatWasSigned(t *testing.T) {
	l := openTest(t, testConfig(t.TempDir(), newKey(t)))
	heads := []Head{l.Head().Head}
	for _, n := range []int{1, 1, 1, 5, 60, 200, 1, 300} {
		for i := range n {
			if err := l.AppendAsync(testEntry(i)); err != nil {
				t.Fatal(err)
			}
		}
		appendTest(t, l, 1)
		heads = append(heads, l.Head().Head)
	}
	for _, h := range heads {
		if got, err := l.Root(h.Size); err != nil || got != h.Root {
			t.Errorf("of %d entries: %v, %v; signed was %v", h.Size, got, err, h.Root)
		}
	}
	if got, err := l.Root(0); err != nil || Hash(sm3Hasher{}.EmptyRoot()) != got {
		t.Errorf("of none: %v, %v", got, err)
	}
	if _, err := l.Root(l.Head().Size + 1); !errors.Is(err, ErrRange) {
		t.Errorf("of more than there are: %v", err)
	}
}

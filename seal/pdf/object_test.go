package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func parsed(text string) (any, error) {
	p := &parser{b: []byte(text), mem: &memory{left: maxValues}}
	return p.value(0)
}

func TestDictionariesOfAnySizeAreSearchedAlike(t *testing.T) {
	for _, n := range []int{0, 1, largeDict - 1, largeDict, 1000} {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, "/K%d %d", (i*7)%n, i)
		}
		v, err := parsed("<<" + text.String() + ">>")
		d, ok := v.(dict)
		if err != nil || !ok || d == nil || len(d) != n {
			t.Fatalf("%d entries: %v, %v", n, v, err)
		}
		for i := range n {
			if got := d.get(name(fmt.Sprintf("K%d", (i*7)%n))); n%7 != 0 && got != float64(i) {
				t.Errorf("%d entries: entry %d is %v", n, i, got)
			}
		}
		if d.has("K") || d.get("Type") != nil {
			t.Errorf("%d entries: found what is not there", n)
		}
		if n == 0 {
			continue
		}
		if _, err := parsed("<<" + text.String() + "/#4B0 1>>"); !errors.Is(err, ErrSyntax) { // K0
			t.Errorf("%d entries: key that stands twice: %v", n, err)
		}
	}
}

// Values that are read later do not run over those that were read before.
func TestArraysAndDictionariesKeepTheirValues(t *testing.T) {
	var text strings.Builder
	for i := range 3 * slab {
		fmt.Fprintf(&text, "[%d [%d] << /A %d /B [] /C << >> >>]", i, i, i)
	}
	v, err := parsed("[" + text.String() + "]")
	if err != nil {
		t.Fatal(err)
	}
	for i, one := range v.(array) {
		a := one.(array)
		inner, d, n := a[1].(array), a[2].(dict), float64(i)
		if a[0] != n || inner[0] != n || len(inner) != 1 || d.get("A") != n || len(d.get("B").(array)) != 0 || d.get("C").(dict) == nil {
			t.Fatalf("element %d is %v", i, one)
		}
	}
}

// What is decoded eight digits at a time is what is decoded one by one.
func TestHexadecimalStringsAreDecodedAlike(t *testing.T) {
	for _, base := range []string{"0123456789abcdef", "9999999999999999aa", "ffffffffffffffffff", "ABCDEF0011223344"} {
		for at := range base {
			for c := range 256 {
				text := []byte(base)
				text[at] = byte(c)
				var quick, slow str
				ok, err := quick.decodePairs(text), slow.decode(text)
				if ok != (err == nil && !slow.spaced && !slow.odd) {
					t.Fatalf("%q: pairs %v, else %v", text, ok, err)
				}
				if ok && (!bytes.Equal(quick.bytes, slow.bytes) || quick.lower != slow.lower || quick.upper != slow.upper) {
					t.Fatalf("%q: pairs %+v, else %+v", text, quick, slow)
				}
			}
		}
	}
}

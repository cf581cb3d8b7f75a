package pdf

import (
	"errors"
	"math/rand/v2"
	"testing"

	"rsc.io/qr/coding"
)

// TestQRCodesAreThoseOfAnotherEncoder compares every module, in every version.
func TestQRCodesAreThoseOfAnotherEncoder(t *testing.T) {
	var plans qrPlans
	var on qrSheet
	random := rand.New(rand.NewPCG(1, 2))
	for v := coding.Version(1); v <= coding.MaxVersion; v++ {
		room := v.DataBytes(coding.M) - 2
		if v > 9 {
			room--
		}
		payload := make([]byte, room-random.IntN(min(8, room)))
		for i := range payload {
			payload[i] = byte(random.Uint32())
		}
		got, err := plans.encode(string(payload), &on)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := coding.NewPlan(v, coding.M, 0)
		if err != nil {
			t.Fatal(err)
		}
		want, err := plan.Encode(coding.String(payload))
		if err != nil {
			t.Fatal(err)
		}
		if got.size != want.Size {
			t.Fatalf("version %d: %d modules, want %d", v, got.size, want.Size)
		}
		for y := range want.Size {
			for x := range want.Size {
				if dark := got.bits[y*((got.size+7)/8)+x/8]<<(x%8)&0x80 != 0; dark != want.Black(x, y) {
					t.Fatalf("version %d: module %d, %d is dark: %v", v, x, y, dark)
				}
			}
		}
	}
	if _, err := plans.encode(string(make([]byte, 2332)), &on); !errors.Is(err, ErrDocument) {
		t.Errorf("a payload that no version holds: %v", err)
	}
}

func BenchmarkQR(b *testing.B) {
	var plans qrPlans
	var on qrSheet
	payload := make([]byte, 620) // as long as a real one
	for b.Loop() {
		if _, err := plans.encode(string(payload), &on); err != nil {
			b.Fatal(err)
		}
	}
}

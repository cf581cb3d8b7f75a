package seal

import "testing"

// BenchmarkVerify verifies one sealed page over and over, as a department does with
// what its citizens bring; raw is what its two SM2 signatures alone would cost.
func BenchmarkVerify(b *testing.B) {
	c := newCity(b)
	file, trust := c.sealed(), c.trust()
	if r := Verify(file, trust, now); !r.Overall {
		b.Fatalf("%+v", r.Checks)
	}
	b.Run("document", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(file)))
		for b.Loop() {
			if r := Verify(file, trust, now); !r.Overall {
				b.Fatal("not verified")
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		message := []byte("what is signed")
		value := c.ok2(signSM2(c.holder.Key.SM2(), message))
		for b.Loop() {
			for range 2 {
				if !verifySM2(c.holder.Cert, message, value) {
					b.Fatal("not verified")
				}
			}
		}
	})
}

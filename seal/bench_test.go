package seal

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// BenchmarkVerify verifies one sealed page over and over, as a department does with
// what its citizens bring, on one core; raw is what its two SM2 signatures alone
// would cost.
func BenchmarkVerify(b *testing.B) {
	oneCore(b)
	c := newCity(b)
	file, trust := c.sealed(), c.trust()
	if r := Verify(file, trust, now); !r.Overall {
		b.Fatalf("%+v", r.Checks)
	}
	var raw float64 // seconds
	b.Run("raw", func(b *testing.B) { raw = twoSignatures(b, &c.holder) })
	b.Run("document", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(file)))
		each := perRound(b, func(int) {
			if r := Verify(file, trust, now); !r.Overall {
				b.Fatal("not verified")
			}
		})
		b.ReportMetric(each/raw, "x-raw")
	})
}

// twoSignatures verifies a raw SM2 signature twice and returns the seconds.
func twoSignatures(b *testing.B, holder *Credential) float64 {
	message := []byte("what is signed")
	value, err := signSM2(holder.Key.SM2(), message)
	if err != nil {
		b.Fatal(err)
	}
	return perRound(b, func(int) {
		for range 2 {
			if !verifySM2(holder.Cert, message, value) {
				b.Fatal("not verified")
			}
		}
	})
}

func oneCore(b *testing.B) {
	b.Helper()
	before := runtime.GOMAXPROCS(1)
	b.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// perRound runs the benchmark's loop and returns what a round of it, which is one
// document, costs in seconds of the processor: on an idle core that is its duration,
// and on a busy one about what the duration would be.
func perRound(b *testing.B, round func(n int)) float64 {
	b.Helper()
	from := processorTime(b)
	for n := 0; b.Loop(); n++ {
		round(n)
	}
	each := (processorTime(b) - from).Seconds() / float64(b.N)
	b.ReportMetric(1/each, "documents/s")
	return each
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

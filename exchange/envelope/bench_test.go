package envelope_test

import (
	"fmt"
	"testing"

	"yizheng/exchange/envelope"
)

func BenchmarkSeal(b *testing.B) {
	p := newPair(b)
	from, to := envelope.Sender{Key: p.gateway}, envelope.Recipient{Key: p.front.Public()}
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			body := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := envelope.Seal(from, to, p.request(), body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	p := newPair(b)
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			der, _ := p.seal(b, p.request(), make([]byte, size))
			r := p.reader()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := r.Open(der); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRefuse shows that a refusal costs what an opening costs, wherever the
// message was changed.
func BenchmarkRefuse(b *testing.B) {
	p := newPair(b)
	der, _ := p.seal(b, p.request(), make([]byte, 1<<10))
	for _, c := range []struct {
		name string
		at   int // from the end
	}{{"padding", 1}, {"structure", 300}, {"body", 900}} {
		b.Run(c.name, func(b *testing.B) {
			changed := append([]byte(nil), der...)
			changed[len(changed)-c.at] ^= 0x40
			r := p.reader()
			for b.Loop() {
				if _, _, err := r.Open(changed); err == nil {
					b.Fatal("opened")
				}
			}
		})
	}
}

package auditor

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/stamp"
	"yizheng/seal/tsp/tsptest"
)

// authority is one whose clock is set by the test, and the check of its tokens.
func authority(t *testing.T, now *time.Time) (*tsptest.Authority, Stamps) {
	t.Helper()
	a := tsptest.New(t)
	a.GenTime = func() time.Time { return *now }
	roots := filepath.Join(t.TempDir(), "tsa.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Root.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	verify, err := stamp.Tokens(roots)
	if err != nil {
		t.Fatal(err)
	}
	return a, Stamps{Dir: t.TempDir(), Verify: verify}
}

// grow appends an entry an hour and returns the heads, one an entry.
func (n *node) grow(l *audit.Log, count int) []audit.SignedHead {
	n.t.Helper()
	var heads []audit.SignedHead
	for i := range count {
		_, err := l.Append(n.t.Context(), issue(i))
		n.must(err)
		heads = append(heads, l.Head())
		n.now = n.now.Add(time.Hour)
	}
	return heads
}

// stamps of heads by an authority, each so long after the head's own time.
func (n *node) stamps(a *tsptest.Authority, after time.Duration, heads ...audit.SignedHead) [][]byte {
	n.t.Helper()
	var lines [][]byte
	for _, h := range heads {
		now := time.UnixMicro(h.Time).Add(after)
		a.GenTime = func() time.Time { return now }
		line, err := audit.Stamp{Head: h, Token: a.Stamp(h.Signature)}.MarshalText()
		n.must(err)
		lines = append(lines, line)
	}
	return lines
}

func (n *node) stamped(o Stamps, lines ...[]byte) Shard {
	n.t.Helper()
	n.must(os.WriteFile(filepath.Join(o.Dir, "2026q4"), append(bytes.Join(lines, []byte("\n")), '\n'), 0o600))
	return n.verify(Options{Stamps: o})
}

func TestTimeStamps(t *testing.T) {
	n := newNode(t)
	a, o := authority(t, &n.now)
	l := n.open()
	heads := n.grow(l, 8)
	n.must(l.Close())
	good := n.stamps(a, time.Minute, heads...)

	forged, err := audit.ParseStamp(good[3])
	n.must(err)
	forged.Token[len(forged.Token)-1] ^= 1
	swapped, err := audit.ParseStamp(good[3])
	n.must(err)
	swapped.Head = heads[4]
	elsewhere, err := audit.ParseStamp(good[3])
	n.must(err)
	elsewhere.Head.Origin = "gw2.example.gov.cn/audit/2026q4"
	line := func(s audit.Stamp) []byte {
		b, err := s.MarshalText()
		n.must(err)
		return b
	}
	stranger, _ := authority(t, &n.now)
	signed := func(change func(*audit.SignedHead)) audit.SignedHead {
		h := heads[3]
		change(&h)
		h.Signature, err = n.key.SignMessage(h.Text())
		n.must(err)
		return h
	}
	longer := signed(func(h *audit.SignedHead) { h.Size += 1000 })
	rewritten := signed(func(h *audit.SignedHead) { h.Root[0] ^= 1 })
	unsigned := heads[3]
	unsigned.Signature = heads[2].Signature

	with := func(more ...[]byte) [][]byte { return slices.Concat(good, more) }
	for _, test := range []struct {
		name  string
		lines [][]byte
		want  []string
	}{
		{"one an hour", good, nil},
		{"in another order", slices.Concat(good[4:], good[:4]), nil},
		{"every other hour", [][]byte{good[0], good[2], good[4], good[6]}, nil},
		{"every third hour", [][]byte{good[0], good[3], good[6]}, []string{"stamp"}}, // two hours and a minute
		{"forged", with(line(forged)), []string{"stamp"}},
		{"of another head's signature", with(line(swapped)), []string{"stamp"}},
		{"of another log", with(line(elsewhere)), []string{"stamp"}},
		{"of another authority", with(n.stamps(stranger, time.Minute, heads[3])...), []string{"stamp"}},
		{"of a size that the log never had", with(n.stamps(a, time.Minute, longer)...), []string{"stamp"}},
		{"of another root of the same size", with(n.stamps(a, time.Minute, rewritten)...), []string{"stamp"}},
		{"of a head that the log has not signed", with(n.stamps(a, time.Minute, unsigned)...), []string{"stamp"}},
		{"gap", slices.Concat(good[:2], good[5:]), []string{"stamp"}},
		{"missing at the beginning", good[4:], []string{"stamp"}},
		{"missing at the end", good[:5], []string{"stamp"}},
		{"all at once, at the end", good[7:], []string{"stamp"}},
		{"late", n.stamps(a, 3*time.Hour, heads...), []string{"stamp"}},
		{"the log's clock was ahead", n.stamps(a, -10*time.Minute, heads...), []string{"stamp"}},
		{"a torn line", slices.Insert(slices.Clone(good), 3, good[3][:40]), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := n.stamped(o, test.lines...)
			wantCodes(t, s, test.want...)
			if torn := test.name == "a torn line"; torn != slices.Contains(codes(s.Warnings), "stamp") {
				t.Errorf("doubts: %v", s.Warnings)
			}
		})
	}
	n.must(os.Remove(filepath.Join(o.Dir, "2026q4")))
	wantCodes(t, n.verify(Options{Stamps: o}), "stamp")
	wantCodes(t, n.verify(Options{}))
}

// What nobody could stamp while the log was not running has not waited, but
// what was done before has.
func TestTimeStamps_PausesDoNotCount(t *testing.T) {
	for _, test := range []struct {
		name   string
		before int // entries without a stamp before the pause, one an hour
		want   []string
	}{{"one", 1, nil}, {"four", 4, []string{"stamp"}}} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			a, o := authority(t, &n.now)
			l := n.open()
			heads := n.grow(l, 1)
			n.grow(l, test.before)
			n.must(l.Close())
			n.now = n.now.Add(60 * time.Hour)
			l = n.open()
			heads = append(heads, n.grow(l, 1)...)
			n.must(l.Close())
			wantCodes(t, n.stamped(o, n.stamps(a, time.Minute, heads...)...), test.want...)
		})
	}
}

package audit

import (
	"bytes"
	"testing"
)

func FuzzParseFrame(f *testing.F) {
	head := Head{Origin: testOrigin, Size: 1, Time: minTime}
	body := append([]byte{0, 0, 0, 9}, "{}\nxx {}\n"...)
	whole := finishFrame(append(appendHeader(nil, 0, 1, len(body)), body...), head, []byte{0x30, 0})
	f.Add(whole)
	f.Add(whole[:100])
	f.Add(make([]byte, 1024))
	f.Add([]byte("AUB1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := parseFrame(testOrigin, b)
		if err != nil {
			return
		}
		if fr.length%frameAlign != 0 || fr.length > int64(len(b)) || len(fr.entries) == 0 {
			t.Fatalf("frame of %d bytes with %d entries out of %d bytes", fr.length, len(fr.entries), len(b))
		}
		var again []byte
		for _, e := range fr.entries {
			again = append(again, byte(len(e)>>24), byte(len(e)>>16), byte(len(e)>>8), byte(len(e)))
			again = append(again, e...)
		}
		again = finishFrame(append(appendHeader(nil, fr.first, len(fr.entries), len(again)), again...), fr.head, fr.sig)
		if !bytes.Equal(again, b[:fr.length]) {
			t.Fatal("a frame has two spellings")
		}
	})
}

func FuzzParseStored(f *testing.F) {
	f.Add([]byte("{}\n00112233445566778899aabbccddeeff {}\n"))
	f.Add([]byte("{}\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := new(hasher).parseStored(b)
		if err != nil {
			return
		}
		again := append(bytes.Clone(s.OpenJSON), '\n')
		again = appendHex(again, s.Salt[:])
		again = append(append(append(again, ' '), s.ClosedJSON...), '\n')
		if !bytes.Equal(again, b) {
			t.Fatal("an entry has two spellings")
		}
		_ = s.decode()
	})
}

func appendHex(b, raw []byte) []byte {
	for _, c := range raw {
		b = append(b, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
	}
	return b
}

func FuzzParseReceipt(f *testing.F) {
	head := SignedHead{Head: Head{Origin: testOrigin, Size: 9, Time: minTime}, KeyHash: 7, Signature: []byte{0x30, 1, 2}}
	text, _ := Receipt{Origin: testOrigin, Index: 3, Head: head, Proof: make([]Hash, 4)}.MarshalText()
	f.Add(text)
	head.Cosignatures = []string{"— witness AAAAAAA="}
	text, _ = Receipt{Origin: testOrigin, Head: head}.MarshalText()
	f.Add(text)
	f.Add([]byte(receiptMagic + "\nextra \nindex 1\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReceipt(b)
		if err != nil {
			return
		}
		again, err := r.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		second, err := ParseReceipt(again)
		if err != nil || second.Leaf != r.Leaf || second.Head.digest() != r.Head.digest() || len(second.Proof) != len(r.Proof) {
			t.Fatalf("what was parsed does not survive: %v", err)
		}
	})
}

func FuzzParsePointer(f *testing.F) {
	f.Add(Pointer{Origin: testOrigin, Index: 12}.String())
	f.Add("a:1:")
	f.Add("a:01:AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePointer(s); err == nil && p.String() != s {
			t.Fatal("a pointer has two spellings")
		}
	})
}

func FuzzReadCheckpoints(f *testing.F) {
	f.Add(append(checkpointRecord(0, []byte("abc\n")), checkpointRecord(1, []byte("de\n"))...))
	f.Add([]byte("checkpoint 0 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		_, good, _ := readCheckpoints(b, func(n uint64, _ int64, note []byte) error {
			again = append(again, checkpointRecord(n, note)...)
			return nil
		})
		if !bytes.Equal(again, b[:good]) {
			t.Fatal("records have two spellings")
		}
	})
}

func FuzzReadMeta(f *testing.F) {
	f.Add([]byte(`{"format":"yizheng-audit/1"}` + "\n\n— x AAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, pub, err := readMeta(b, nil); err == nil || pub != nil {
			t.Fatal("log.json accepted without a key")
		}
	})
}

func FuzzNormalise(f *testing.F) {
	f.Add("idno", "690101199003075114")
	f.Add("", "６９０１０１ 900307 511")
	f.Add("uscc", "x")
	f.Fuzz(func(t *testing.T, kind, number string) {
		k, n, err := normalise(kind, number)
		if err != nil {
			return
		}
		if k2, n2, err := normalise(kind, n); err != nil || k2 != k || n2 != n {
			t.Fatal("a normalised number changes when normalised again")
		}
	})
}

package ses

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func goodSignature(t testing.TB) []byte {
	return signatureOver(t, sealV4(t, infoV(t, 4, propV4(), "GIF", nil)), 4)
}

func TestParse_RefusesWhatIsNotStrictDER(t *testing.T) {
	good := goodSignature(t)
	replace := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("nothing to mangle: %x", old)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	for _, tt := range []struct {
		name string
		der  []byte
	}{
		{"empty", nil},
		{"not a sequence", []byte{0x04, 0x01, 0x00}},
		{"something after the padding", append(bytes.Clone(good), 0, 0, 1)},
		{"indefinite length", append([]byte{0x30, 0x80}, good[4:]...)},
		{"length in more octets than needed", append([]byte{0x30, 0x83, 0x00}, good[2:]...)},
		{"kind with a leading zero octet of length", replace("\x02\x01\x01", "\x02\x81\x01")},
		{"negative version", replace("\x02\x01\x04", "\x02\x01\x84")},
		{"IA5String above 7F", replace("vendor", "vend\xf6r")},
		{"UTF8String that is not", replace("某局", "\xffabcde")},
		{"time with an offset shape", replace("20260301083000Z", "2026030108300+Z")},
		{"time that does not exist", replace("20260301083000Z", "20261301083000Z")},
		{"time without Z", replace("20260301083000Z", "202603010830001")},
		{"BIT STRING with unused bits", replace("\x03\x21\x00\x5a", "\x03\x21\x01\x5a")},
		{"wrong type for a name", replace("\x0c\x15", "\x16\x15")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseSignature(tt.der); !errors.Is(err, ErrFormat) {
				t.Errorf("got %v, want ErrFormat", err)
			}
		})
	}
	seal := sealV4(t, infoV(t, 4, propV4(), "GIF", nil))
	if _, err := ParseSeal(append(seal, 0)); !errors.Is(err, ErrFormat) {
		t.Errorf("a SESeal with a zero after it: %v", err)
	}
}

func TestParse_RefusesMixedVersionsAndCounts(t *testing.T) {
	v1, _ := sealV1(t)
	v4 := sealV4(t, infoV(t, 4, propV4(), "GIF", nil))
	tbs := der(t, tbsV1ASN{1, raw(v4), bits(hash), bits(hash), "p", cert, alg})
	for name, in := range map[string][]byte{
		"V1 seal in a V4 signature": signatureOver(t, v1, 1),
		"V4 seal in a V1 signature": der(t, signatureV1ASN{raw(tbs), bits(value)}),
		"three elements": der(t, struct {
			A, B, C int
		}{1, 2, 3}),
	} {
		if _, err := ParseSignature(in); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParse_EveryTruncationIsAnErrorAndNoByteMakesItPanic(t *testing.T) {
	good := goodSignature(t)
	for n := range good {
		if _, err := ParseSignature(good[:n]); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	for i := range good {
		for _, x := range []byte{0x01, 0x80, 0xff} {
			bad := bytes.Clone(good)
			bad[i] ^= x
			if s, err := ParseSignature(bad); err == nil {
				_ = s.CheckFormat()
			}
		}
	}
}

func TestParse_ResultDoesNotAliasTheInput(t *testing.T) {
	in := goodSignature(t)
	s, err := ParseSignature(in)
	if err != nil {
		t.Fatal(err)
	}
	clear(in)
	if !bytes.Equal(s.TBS.DataHash, hash) || s.Raw[0] != 0x30 {
		t.Error("the result changed with the input")
	}
}

func TestMarshal_RefusesWhatCannotBeWritten(t *testing.T) {
	good := SealInfo{ESID: "1", Property: Property{Kind: Unit, ListType: Certificates, Certs: [][]byte{cert}, ValidEnd: day}, Picture: Picture{"GIF", pix("GIF"), 42, 42}}
	if _, err := MarshalSealInfo(good); err != nil {
		t.Fatalf("the unchanged info: %v", err)
	}
	for name, change := range map[string]func(*SealInfo){
		"esID not ASCII":          func(i *SealInfo) { i.ESID = "章" },
		"name not UTF-8":          func(i *SealInfo) { i.Property.Name = "\xff" },
		"picture type of V5":      func(i *SealInfo) { i.Picture.Type = "PNG" },
		"list of the other type":  func(i *SealInfo) { i.Property.ListType = Digests },
		"no picture":              func(i *SealInfo) { i.Picture.Data = nil },
		"own critical extension":  func(i *SealInfo) { i.Extensions = []Extension{{ID: alg, Critical: true}} },
		"validity ends too early": func(i *SealInfo) { i.Property.ValidStart = day.Add(time.Second) },
	} {
		bad := good
		change(&bad)
		if _, err := MarshalSealInfo(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	seal := sealV4(t, infoV(t, 4, propV4(), "GIF", nil))
	if _, err := MarshalTBS(seal, cert, day, hash[:20], "p", nil); !errors.Is(err, ErrFormat) {
		t.Errorf("short hash: %v", err)
	}
	if _, err := MarshalTBS(seal, cert, day, hash, "签", nil); !errors.Is(err, ErrFormat) {
		t.Errorf("propertyInfo: %v", err)
	}
}

func FuzzParseSignature(f *testing.F) {
	f.Add(goodSignature(f))
	f.Add(signatureOver(f, sealV4(f, infoV(f, 5, propV4(), "PNG", nil)), 5))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := ParseSignature(in)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error outside the family: %v", err)
			}
			return
		}
		_ = s.CheckFormat()
		if !bytes.HasPrefix(in, s.Raw) || !bytes.Contains(s.Raw, s.RawTBS) || !bytes.Contains(s.RawTBS, s.Seal.Raw) {
			t.Fatal("raw parts are not the input's own bytes")
		}
	})
}

func FuzzParseSeal(f *testing.F) {
	v1, _ := sealV1(f)
	f.Add(v1)
	f.Add(sealV4(f, infoV(f, 4, propV4(), "GIF", nil)))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := ParseSeal(in)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Raw, in) {
			t.Fatal("raw is not the input")
		}
		if s.CheckFormat() != nil {
			return
		}
		// What we would write parses to the same meaning.
		again, err := MarshalSealInfo(s.Info)
		if err != nil {
			return // a fraction of a second or a year the writer refuses
		}
		whole, err := MarshalSeal(again, s.MakerCert, s.Signature, s.TimeStamp)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseSeal(whole); err != nil || back.Version != s.Version {
			t.Fatalf("own output refused: %v", err)
		}
	})
}

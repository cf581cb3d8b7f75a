package ses

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"
	"time"
)

// The structures below are written with encoding/asn1 from the text of the
// standards, so that parser and writer are not only tested against each other.
type (
	headerASN struct {
		ID      string `asn1:"ia5"`
		Version int
		Vid     string `asn1:"ia5"`
	}
	propertyV1 struct {
		Type                  int
		Name                  string `asn1:"utf8"`
		Certs                 [][]byte
		Created, Start, Until time.Time `asn1:"utc"`
	}
	propertyV4 struct {
		Type                  int
		Name                  string `asn1:"utf8"`
		ListType              int
		Certs                 [][]byte
		Created, Start, Until time.Time `asn1:"generalized"`
	}
	digestASN struct {
		Type  string `asn1:"printable"`
		Value []byte
	}
	propertyDigests struct {
		Type                  int
		Name                  string `asn1:"utf8"`
		ListType              int
		Digests               []digestASN
		Created, Start, Until time.Time `asn1:"generalized"`
	}
	pictureASN struct {
		Type          string `asn1:"ia5"`
		Data          []byte
		Width, Height int
	}
	infoASN struct {
		Header   headerASN
		ESID     string `asn1:"ia5"`
		Property asn1.RawValue
		Picture  pictureASN
		Ext      asn1.RawValue `asn1:"optional"`
	}
	extASN struct {
		ID       asn1.ObjectIdentifier
		Critical bool `asn1:"optional"`
		Value    []byte
	}
	sealV1ASN struct {
		Info asn1.RawValue
		Sign struct {
			Cert []byte
			Alg  asn1.ObjectIdentifier
			Sig  asn1.BitString
		}
	}
	signedV1ASN struct {
		Info asn1.RawValue
		Cert []byte
		Alg  asn1.ObjectIdentifier
	}
	sealV4ASN struct {
		Info asn1.RawValue
		Cert []byte
		Alg  asn1.ObjectIdentifier
		Sig  asn1.BitString
	}
	sealV5ASN struct {
		Info  asn1.RawValue
		Cert  []byte
		Alg   asn1.ObjectIdentifier
		Sig   asn1.BitString
		Stamp asn1.BitString `asn1:"tag:0,explicit"`
	}
	tbsV1ASN struct {
		Version  int
		Seal     asn1.RawValue
		Time     asn1.BitString
		Hash     asn1.BitString
		Property string `asn1:"ia5"`
		Cert     []byte
		Alg      asn1.ObjectIdentifier
	}
	tbsV4ASN struct {
		Version  int
		Seal     asn1.RawValue
		Time     time.Time `asn1:"generalized"`
		Hash     asn1.BitString
		Property string   `asn1:"ia5"`
		Ext      []extASN `asn1:"optional,tag:0,explicit,omitempty"`
	}
	signatureV1ASN struct {
		TBS asn1.RawValue
		Sig asn1.BitString
	}
)

var (
	day   = time.Date(2026, 3, 1, 8, 30, 0, 0, time.UTC)
	alg   = OIDSM2WithSM3
	cert  = []byte{0x30, 0x03, 0x02, 0x01, 0x07}
	value = []byte("signature value")
	hash  = bytes.Repeat([]byte{0x5a}, 32)
)

func der(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func raw(b []byte) asn1.RawValue   { return asn1.RawValue{FullBytes: b} }
func bits(b []byte) asn1.BitString { return asn1.BitString{Bytes: b, BitLength: 8 * len(b)} }

func infoV(t testing.TB, version int, property any, picture string, ext []byte) []byte {
	i := infoASN{Header: headerASN{"ES", version, "vendor"}, ESID: "69000000000001", Property: raw(der(t, property)), Picture: pictureASN{picture, pix(picture), 42, 42}}
	if ext != nil {
		i.Ext = raw(ext)
	}
	return der(t, i)
}

// pix is the beginning of a picture.
func pix(kind string) []byte { return append(bytes.Clone(pictureMarks[kind]), "pix"...) }

func propV4() propertyV4 {
	return propertyV4{1, "某局业务专用章", 1, [][]byte{cert}, day, day, day.AddDate(5, 0, 0)}
}

func sealV4(t testing.TB, info []byte) []byte {
	return der(t, sealV4ASN{raw(info), cert, alg, bits(value)})
}

func signatureOver(t testing.TB, seal []byte, version int) []byte {
	tbs := der(t, tbsV4ASN{Version: version, Seal: raw(seal), Time: day, Hash: bits(hash), Property: "/ByteRange"})
	return der(t, sealV4ASN{raw(tbs), cert, alg, bits(value)})
}

func sealV1(t testing.TB) ([]byte, []byte) {
	info := infoV(t, 1, propertyV1{1, "旧章", [][]byte{cert}, day, day, day.AddDate(5, 0, 0)}, "JPG", nil)
	s := sealV1ASN{Info: raw(info)}
	s.Sign.Cert, s.Sign.Alg, s.Sign.Sig = cert, alg, bits(value)
	return der(t, s), info
}

func TestParseSeal_ReadsWhatTheStandardsDescribe(t *testing.T) {
	v1, info1 := sealV1(t)
	v4info := infoV(t, 4, propV4(), "GIF", nil)
	v5info := infoV(t, 5, propV4(), "PNG", nil)
	tests := []struct {
		name    string
		der     []byte
		version Version
		signed  []byte
		stamp   []byte
	}{
		{"V1, two elements", v1, V1, der(t, signedV1ASN{raw(info1), cert, alg}), nil},
		{"V4, four elements", sealV4(t, v4info), V4, v4info, nil},
		{"V5, four elements, header says 5", sealV4(t, v5info), V5, v5info, nil},
		{"V5, five elements", der(t, sealV5ASN{raw(v5info), cert, alg, bits(value), bits([]byte("token"))}), V5, v5info, []byte("token")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseSeal(tt.der)
			if err != nil {
				t.Fatal(err)
			}
			if s.Version != tt.version || !bytes.Equal(s.Signed, tt.signed) || !bytes.Equal(s.Raw, tt.der) || !bytes.Equal(s.TimeStamp, tt.stamp) {
				t.Errorf("version %d, signed %x, stamp %x", s.Version, s.Signed, s.TimeStamp)
			}
			if !bytes.Equal(s.MakerCert, cert) || !bytes.Equal(s.Signature, value) || !s.Algorithm.Equal(alg) {
				t.Errorf("maker's part read as %x %x %v", s.MakerCert, s.Signature, s.Algorithm)
			}
			p := s.Info.Property
			if !p.Created.Equal(day) || !p.ValidEnd.Equal(day.AddDate(5, 0, 0)) || len(p.Certs) != 1 || s.Info.Picture.Width != 42 {
				t.Errorf("property read as %+v", p)
			}
			if err := s.CheckFormat(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseSeal_ReadsDigestList(t *testing.T) {
	p := propertyDigests{1, "某局", 2, []digestASN{{"SM3", hash}}, day, day, day.AddDate(1, 0, 0)}
	s, err := ParseSeal(sealV4(t, infoV(t, 4, p, "GIF", nil)))
	if err != nil {
		t.Fatal(err)
	}
	d := s.Info.Property.Digests
	if len(d) != 1 || d[0].Type != "SM3" || !bytes.Equal(d[0].Value, hash) {
		t.Errorf("digest list read as %+v", d)
	}
}

func TestParseSignature_ReadsWhatTheStandardsDescribe(t *testing.T) {
	v1seal, _ := sealV1(t)
	timeInfo := []byte("\x18\x0f20260301083000Z")
	tbs1 := der(t, tbsV1ASN{1, raw(v1seal), bits(timeInfo), bits(hash), "p", cert, alg})
	v1 := der(t, signatureV1ASN{raw(tbs1), bits(value)})
	v4 := signatureOver(t, sealV4(t, infoV(t, 4, propV4(), "GIF", nil)), 4)
	v5 := signatureOver(t, sealV4(t, infoV(t, 5, propV4(), "PNG", nil)), 5)
	var shape sealV4ASN
	if _, err := asn1.Unmarshal(v4, &shape); err != nil {
		t.Fatal(err)
	}
	stamped := der(t, sealV5ASN{shape.Info, cert, alg, bits(value), bits([]byte("token"))})
	for _, tt := range []struct {
		name    string
		der     []byte
		version Version
		stamp   string
	}{{"V1", v1, V1, ""}, {"V4", v4, V4, ""}, {"V5", v5, V5, ""}, {"V4 with time stamp", stamped, V4, "token"}} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseSignature(append(bytes.Clone(tt.der), 0, 0, 0))
			if err != nil {
				t.Fatal(err)
			}
			if s.Version != tt.version || !bytes.Equal(s.Raw, tt.der) || !bytes.Contains(tt.der, s.RawTBS) || string(s.TimeStamp) != tt.stamp {
				t.Errorf("version %d, stamp %q", s.Version, s.TimeStamp)
			}
			if !bytes.Equal(s.TBS.DataHash, hash) || !bytes.Equal(s.Cert, cert) || !bytes.Equal(s.Signature, value) {
				t.Errorf("signature read as %+v", s.TBS)
			}
			if tt.version == V1 && !bytes.Equal(s.TBS.TimeInfo, timeInfo) || tt.version != V1 && !s.TBS.Time.Equal(day) {
				t.Errorf("time read as %v %x", s.TBS.Time, s.TBS.TimeInfo)
			}
			if at, ok := s.TBS.SigningTime(); !ok || !at.Equal(day) {
				t.Errorf("signing time %v %v", at, ok)
			}
			if err := s.CheckFormat(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSigningTime_OfV1(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"GeneralizedTime", "\x18\x0f20260301083000Z", true},
		{"UTCTime", "\x17\x0d260301083000Z", true},
		{"bare digits", "20260301083000Z", true},
		{"China Standard Time in words of ofdrw", "2026-03-01 16:30:00", true},
		{"the same with a fraction", "2026-03-01 16:30:00.5", false},
		{"no such day", "2026-02-30 16:30:00", false},
		{"time stamp token", "\x30\x03\x02\x01\x00", false},
		{"empty", "", false},
	} {
		at, ok := TBS{TimeInfo: []byte(tt.in)}.SigningTime()
		if ok != tt.ok || ok && !at.Equal(day) {
			t.Errorf("%s: %v %v", tt.name, at, ok)
		}
	}
}

func TestMarshal_IsWhatTheStandardDescribes(t *testing.T) {
	rawInfo, err := MarshalSealInfo(SealInfo{
		Header: Header{VendorID: "vendor"}, ESID: "69000000000001",
		Property: Property{Kind: Unit, Name: "某局业务专用章", ListType: Certificates, Certs: [][]byte{cert}, Created: day, ValidStart: day, ValidEnd: day.AddDate(5, 0, 0)},
		Picture:  Picture{"GIF", pix("GIF"), 42, 42},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := infoV(t, 4, propV4(), "GIF", nil); !bytes.Equal(rawInfo, want) {
		t.Fatalf("sealInfo\n got %x\nwant %x", rawInfo, want)
	}
	seal, err := MarshalSeal(rawInfo, cert, value, nil)
	if err != nil || !bytes.Equal(seal, sealV4(t, rawInfo)) {
		t.Fatalf("seal %x, %v", seal, err)
	}
	tbs, err := MarshalTBS(seal, cert, day.Add(400*time.Millisecond), hash, "/ByteRange", nil)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := MarshalSignature(tbs, cert, value, nil)
	if want := signatureOver(t, seal, 4); err != nil || !bytes.Equal(sig, want) {
		t.Fatalf("signature\n got %x\nwant %x (%v)", sig, want, err)
	}
}

func TestParse_AcceptsCriticalFalseWrittenOut(t *testing.T) {
	// SEQUENCE { SEQUENCE { OID 1.2.3, BOOLEAN FALSE, OCTET STRING 01 } }
	ext := []byte("\x30\x0c\x30\x0a\x06\x02\x2a\x03\x01\x01\x00\x04\x01\x01")
	info := infoV(t, 4, propV4(), "GIF", ext)
	s, err := ParseSeal(sealV4(t, info))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CheckFormat(); err != nil {
		t.Error(err)
	}
	if len(s.Info.Extensions) != 1 || s.Info.Extensions[0].Critical || !bytes.Equal(s.Signed, info) {
		t.Errorf("extensions %+v; signed bytes must stay as they stood", s.Info.Extensions)
	}
}

func TestCheckFormat_NamesTheFault(t *testing.T) {
	critical := []byte("\x30\x0c\x30\x0a\x06\x02\x2a\x03\x01\x01\xff\x04\x01\x01")
	noCerts, kind3, backwards := propV4(), propV4(), propV4()
	noCerts.Certs, kind3.Type, backwards.Until = nil, 3, day.AddDate(-1, 0, 0)
	other := der(t, infoASN{Header: headerASN{"XX", 4, "v"}, ESID: "1", Property: raw(der(t, propV4())), Picture: pictureASN{"GIF", pix("GIF"), 1, 1}})
	for _, tt := range []struct {
		name, want string
		info       []byte
	}{
		{"unknown critical extension", "eSealInfo.extDatas: unknown critical extension", infoV(t, 4, propV4(), "GIF", critical)},
		{"mark is not ES", `"ES"`, other},
		{"header of another version", "version 3", infoV(t, 3, propV4(), "GIF", nil)},
		{"unknown kind", "seal type 3", infoV(t, 4, kind3, "GIF", nil)},
		{"empty list", "list is empty", infoV(t, 4, noCerts, "GIF", nil)},
		{"validity backwards", "ends before", infoV(t, 4, backwards, "GIF", nil)},
		{"PNG in V4", "picture type", infoV(t, 4, propV4(), "PNG", nil)},
		{"picture of another type than named", "not of the type", bytes.Replace(infoV(t, 4, propV4(), "GIF", nil), []byte("GIF8"), []byte("PK\x03\x04"), 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseSignature(signatureOver(t, sealV4(t, tt.info), 4))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.CheckFormat(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	s, err := ParseSignature(signatureOver(t, sealV4(t, infoV(t, 4, propV4(), "GIF", nil)), 5))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CheckFormat(); err == nil || !strings.Contains(err.Error(), "signature version 5") {
		t.Errorf("version mismatch: %v", err)
	}
}

package ses

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// infoOf is a seal's information of a version with a picture of a type.
func infoOf(v Version, picture string) SealInfo {
	return SealInfo{
		Header: Header{Version: int(v), VendorID: "vendor"}, ESID: "69000000000001",
		Property: Property{Kind: Unit, Name: "某局业务专用章", ListType: Certificates, Certs: [][]byte{cert, hash}, Created: day, ValidStart: day, ValidEnd: day.AddDate(5, 0, 0)},
		Picture:  Picture{picture, pix(picture), 45, 30},
	}
}

func TestMarshal_EveryVersionReadsBackAsItWasWritten(t *testing.T) {
	digests := infoOf(V5, "PNG")
	digests.Property.ListType, digests.Property.Certs, digests.Property.Digests = Digests, nil, []CertDigest{{"SM3", hash}, {"1.2.156.10197.1.401", hash}}
	extended := infoOf(V4, "BMP")
	extended.Extensions = []Extension{{ID: []int{1, 2, 3}, Value: []byte("x")}, {ID: []int{1, 2, 4}, Value: []byte{}}}
	for _, tt := range []struct {
		name      string
		info      SealInfo
		sealStamp []byte
		stamp     []byte
		ext       []Extension
	}{
		{"V1", infoOf(V1, "JPG"), nil, nil, nil},
		{"V4", infoOf(V4, "GIF"), nil, nil, nil},
		{"V4 unnamed", infoOf(0, "GIF"), nil, []byte("token"), nil},
		{"V4 with extensions", extended, nil, nil, []Extension{{ID: []int{1, 2, 5}, Value: []byte("y")}}},
		{"V5", infoOf(V5, "PNG"), nil, nil, nil},
		{"V5 with digests and time stamps", digests, []byte("seal's"), []byte("signature's"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := Version(tt.info.Header.Version)
			if want == 0 {
				want = V4
			}
			must := func(b []byte, err error) []byte {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			info := must(MarshalSealInfo(tt.info))
			seal := must(MarshalSeal(info, cert, value, tt.sealStamp))
			tbs := must(MarshalTBS(seal, cert, day, hash, "/ByteRange", tt.ext))
			sig, err := ParseSignature(must(MarshalSignature(tbs, cert, value, tt.stamp)))
			if err != nil {
				t.Fatal(err)
			}
			if err := sig.CheckFormat(); err != nil {
				t.Error(err)
			}
			at, ok := sig.TBS.SigningTime()
			if sig.Version != want || sig.Seal.Version != want || !ok || !at.Equal(day) || !bytes.Equal(sig.RawTBS, tbs) || !bytes.Equal(sig.Seal.Raw, seal) {
				t.Errorf("version %d, seal %d, time %v", sig.Version, sig.Seal.Version, at)
			}
			if !bytes.Equal(sig.TimeStamp, tt.stamp) || !bytes.Equal(sig.Seal.TimeStamp, tt.sealStamp) || len(sig.TBS.Extensions) != len(tt.ext) {
				t.Errorf("stamps %q %q", sig.TimeStamp, sig.Seal.TimeStamp)
			}
			if toSign := must(SealToSign(info, cert)); !bytes.Equal(sig.Seal.Signed, toSign) {
				t.Errorf("maker signs\n%x\nverifier takes\n%x", toSign, sig.Seal.Signed)
			}
			p, q := sig.Seal.Info.Property, tt.info.Property
			if p.Name != q.Name || len(p.Certs) != len(q.Certs) || len(p.Digests) != len(q.Digests) || !p.ValidEnd.Equal(q.ValidEnd) || sig.Seal.Info.Picture.Height != 30 {
				t.Errorf("property %+v", p)
			}
		})
	}
}

func TestMarshal_RefusesWhatAVersionDoesNotHave(t *testing.T) {
	info := func(v Version) []byte {
		b, err := MarshalSealInfo(infoOf(v, "GIF"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	seal := func(v Version) []byte {
		b, err := MarshalSeal(info(v), cert, value, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tbs1, err := MarshalTBS(seal(V1), cert, day, hash, "p", nil)
	if err != nil {
		t.Fatal(err)
	}
	listed := infoOf(V1, "GIF")
	listed.Property.ListType, listed.Property.Certs, listed.Property.Digests = Digests, nil, []CertDigest{{"SM3", hash}}
	for name, try := range map[string]func() ([]byte, error){
		"unknown version":             func() ([]byte, error) { return MarshalSealInfo(infoOf(3, "GIF")) },
		"PNG in V1":                   func() ([]byte, error) { return MarshalSealInfo(infoOf(V1, "PNG")) },
		"digests in V1":               func() ([]byte, error) { return MarshalSealInfo(listed) },
		"stamp on a V4 seal":          func() ([]byte, error) { return MarshalSeal(info(V4), cert, value, []byte("t")) },
		"stamp on a V1 signature":     func() ([]byte, error) { return MarshalSignature(tbs1, cert, value, []byte("t")) },
		"extension of a V1 signature": func() ([]byte, error) { return MarshalTBS(seal(V1), cert, day, hash, "p", []Extension{{ID: alg}}) },
		"seal of no known shape":      func() ([]byte, error) { return MarshalTBS(cert, cert, day, hash, "p", nil) },
		"information of no seal":      func() ([]byte, error) { return MarshalSeal(cert, cert, value, nil) },
		"to sign for no seal":         func() ([]byte, error) { return SealToSign(hash, cert) },
		"signature over what is none": func() ([]byte, error) { return MarshalSignature(hash, cert, value, nil) },
	} {
		if _, err := try(); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	late := infoOf(V1, "GIF")
	late.Property.ValidEnd = time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := MarshalSealInfo(late); err == nil {
		t.Error("a UTCTime of 2050 was written")
	}
}

package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/seal/pdf/pdftest"
)

var dummyDER = []byte{0x30, 0x03, 0x02, 0x01, 0xAB}

func signedSample(t testing.TB) []byte {
	t.Helper()
	out, err := render(t, sampleDocument()).Fill(dummyDER)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReadSignatureReturnsWhatFillWrote(t *testing.T) {
	d := sampleDocument()
	draft, err := testRenderer(t, d).Render(d, SignatureSlot{MaxBytes: 64, Reason: "证明签发"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := draft.Fill(dummyDER)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ReadSignature(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	if s.ByteRange != draft.ByteRange() || s.Filter != "Gomain.GMPkiLite" || s.SubFilter != "GM.sm2seal" {
		t.Errorf("read %v %s %s", s.ByteRange, s.Filter, s.SubFilter)
	}
	if len(s.Contents) != 64 || !bytes.HasPrefix(s.Contents, dummyDER) || bytes.Trim(s.Contents[5:], "\x00") != nil {
		t.Errorf("contents %x", s.Contents)
	}
	if !s.M.Equal(d.IssuedAt.Truncate(time.Second)) || s.Reason != "证明签发" || s.Name != d.Signer || s.DocMDP != 1 {
		t.Errorf("read %+v", s)
	}
	digest, err := Digest(out, s.ByteRange)
	if err != nil || !bytes.Equal(digest, draft.Digest()) {
		t.Errorf("digest differs, error %v", err)
	}
	before, after, err := s.Covered(out)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sm3.Sum(append(bytes.Clone(before), after...)); !bytes.Equal(sum[:], digest) {
		t.Error("Covered and Digest disagree")
	}
}

func TestReadPrivateReturnsWhatRenderWrote(t *testing.T) {
	d := sampleDocument()
	p, err := ReadPrivate(t.Context(), signedSample(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.Seed, d.Seed) || p.Receipt != d.Receipt || p.Number != d.Number || p.QR != d.QR || p.Until != untilText(d.ValidUntil) {
		t.Errorf("read %+v", p)
	}
}

func TestFillRefusesWhatDoesNotFit(t *testing.T) {
	draft := render(t, sampleDocument())
	for _, n := range []int{0, draft.Capacity() + 1} {
		if _, err := draft.Fill(make([]byte, n)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes: got %v", n, err)
		}
	}
	if _, err := draft.Fill(make([]byte, draft.Capacity())); err != nil {
		t.Error(err)
	}
}

// sameLength replaces old by new, which is padded to the same length.
func sameLength(t *testing.T, b []byte, old, new string) []byte {
	t.Helper()
	if len(new) > len(old) || !bytes.Contains(b, []byte(old)) {
		t.Fatalf("cannot replace %q", old)
	}
	return bytes.Replace(b, []byte(old), []byte(new+strings.Repeat(" ", len(old)-len(new))), 1)
}

func TestReadSignatureNamesTheCause(t *testing.T) {
	good := signedSample(t)
	s, err := ReadSignature(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	br := s.ByteRange
	token := fmt.Sprintf("[0 %d %d %d]", br[1], br[2], br[3])
	cases := []struct {
		name   string
		want   error
		change func(b []byte) []byte
	}{
		{"empty file", ErrStructure, func(b []byte) []byte { return nil }},
		{"no PDF", ErrStructure, func(b []byte) []byte { return []byte("hello") }},
		{"cut off", ErrStructure, func(b []byte) []byte { return b[:len(b)/2] }},
		{"no ByteRange", ErrNoSignature, func(b []byte) []byte { return sameLength(t, b, "/ByteRange", "/ByteRangX") }},
		{"field emptied", ErrStructure, func(b []byte) []byte { return sameLength(t, b, "/FT/Sig", "/FT/Btn") }},
		{"range begins late", ErrByteRange, func(b []byte) []byte { return sameLength(t, b, token, "[1"+token[2:]) }},
		{"range ends early", ErrByteRange, func(b []byte) []byte {
			return sameLength(t, b, token, fmt.Sprintf("[0 %d %d %d]", br[1], br[2], br[3]-1))
		}},
		{"range too long", ErrByteRange, func(b []byte) []byte {
			return sameLength(t, b, token, fmt.Sprintf("[0 %d %d %d]", br[1], br[2], br[3]+1))
		}},
		{"gap wider than the token", ErrByteRange, func(b []byte) []byte {
			return sameLength(t, b, token, fmt.Sprintf("[0 %d %d %d]", br[1]-1, br[2], br[3]))
		}},
		{"two numbers", ErrByteRange, func(b []byte) []byte { return sameLength(t, b, token, "[0 1]") }},
		{"overflowing numbers", ErrByteRange, func(b []byte) []byte { return sameLength(t, b, token, "[0 1e9 0 1]") }},
		{"upper-case digit", ErrContents, func(b []byte) []byte { b[br[1]+9] = 'A'; return b }},
		{"white space between digits", ErrContents, func(b []byte) []byte { b[br[2]-3] = ' '; return b }},
		{"not hexadecimal", ErrStructure, func(b []byte) []byte { b[br[2]-3] = 'g'; return b }},
		{"contents as literal string", ErrContents, func(b []byte) []byte { b[br[1]] = '('; b[br[2]-1] = ')'; return b }},
		{"no contents", ErrContents, func(b []byte) []byte { return sameLength(t, b, "/Contents <", "/Contentz <") }},
		{"line end appended", ErrByteRange, func(b []byte) []byte { return append(b, '\n') }},
		{"bytes appended", ErrRevision, func(b []byte) []byte { return append(b, "garbage"...) }},
		{"comment appended", ErrRevision, func(b []byte) []byte { return append(b, "% a long comment behind the end"...) }},
		{"incremental update", ErrRevision, func(b []byte) []byte {
			return append(b, fmt.Sprintf("9 0 obj\n<<>>\nendobj\nxref\n0 0\ntrailer\n<</Size 10/Root 1 0 R/Prev 1>>\nstartxref\n%d\n%%%%EOF\n", len(b))...)
		}},
		{"second signature appended", ErrManySignatures, func(b []byte) []byte {
			return append(b, fmt.Sprintf("99 0 obj\n<</Type/Sig/ByteRange[0 1 2 3]/Contents<00>>>\nendobj\nxref\n0 0\ntrailer\n<</Size 100/Root 1 0 R/Prev 1>>\nstartxref\n%d\n%%%%EOF\n", len(b))...)
		}},
		{"object number used twice", ErrStructure, func(b []byte) []byte { return sameLength(t, b, "\n2 0 obj", "\n1 0 obj") }},
		{"cross-reference entry moved", ErrStructure, func(b []byte) []byte {
			at := bytes.LastIndex(b, []byte("xref\n0 ")) + 40
			b[at] ^= 1
			return b
		}},
		{"key twice in a dictionary", ErrStructure, func(b []byte) []byte {
			return sameLength(t, b, "/Type/Sig/Filter/Gomain.GMPkiLite", "/Type/Sig/M 1")
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ReadSignature(t.Context(), c.change(bytes.Clone(good))); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestReadPrivateIsStrict(t *testing.T) {
	good := signedSample(t)
	for name, change := range map[string][2]string{
		"other application":           {"/PieceInfo<</Yizheng", "/PieceInfo<</Yizhenk"},
		"other version":               {"/V 2/Seed", "/V 3/Seed"},
		"other key":                   {"/Receipt<", "/Receipx<"},
		"version 1 with the key of 2": {"/V 2/Seed", "/V 1/Seed"},
		"no day":                      {"/Until<32", "/Until<3a"},
		"short seed":                  {"/Seed<73", "/Seed<"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadPrivate(t.Context(), sameLength(t, good, change[0], change[1])); !errors.Is(err, ErrNoPrivate) {
				t.Errorf("got %v, want ErrNoPrivate", err)
			}
		})
	}
}

// foreign is a signed file of another program.
func foreign(f pdftest.Foreign) []byte {
	f.Filter, f.SubFilter = "Adobe.PPKLite", "adbe#2epkcs7.detached"
	return f.Build(func([]byte) []byte { return dummyDER })
}

func TestReadSignature_ReadsFilesOfOthersInEveryForm(t *testing.T) {
	for _, form := range []pdftest.Form{pdftest.Table, pdftest.Stream, pdftest.Hybrid} {
		for _, update := range []bool{false, true} {
			file := foreign(pdftest.Foreign{Form: form, Update: update, M: "D:20240102030405Z", Upper: true, DocMDP: 2})
			s, err := ReadSignature(t.Context(), file)
			if err != nil {
				t.Errorf("form %d, update %v: %v", form, update, err)
				continue
			}
			if s.SubFilter != "adbe.pkcs7.detached" || !s.M.Equal(time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)) || s.DocMDP != 2 || s.Later != (Later{}) {
				t.Errorf("form %d, update %v: read %+v", form, update, s)
			}
		}
	}
	mixed := foreign(pdftest.Foreign{})
	i := bytes.Index(mixed, []byte("ab000000"))
	mixed[i] = 'A'
	if _, err := ReadSignature(t.Context(), mixed); !errors.Is(err, ErrContents) {
		t.Errorf("digits of mixed case: %v", err)
	}
	if _, err := ReadPrivate(t.Context(), foreign(pdftest.Foreign{})); !errors.Is(err, ErrNoPrivate) {
		t.Errorf("private data: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, form := range []pdftest.Form{pdftest.Table, pdftest.Stream, pdftest.Hybrid} {
		f.Add(foreign(pdftest.Foreign{Form: form, Update: true}))
	}
	f.Add([]byte("%PDF-1.7\n1 0 obj\n<</Length 9>>\nstream\nabc\nendstream\nendobj\n%%EOF"))
	f.Add([]byte("%PDF-1.7\nxref\n0 1\n0000000000 65535 f \ntrailer\n<</Root 1 0 R>>\nstartxref\n9\n%%EOF"))
	f.Add([]byte("%PDF-1.7\n1 0 obj [<</A(\\)\\053)/B<ab>/C#41[1 0 R -2.5 null true]>>] endobj"))
	f.Add([]byte("%PDF-1.7\n1 0 obj " + strings.Repeat("[", 100)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadSignature(t.Context(), b)
		if err == nil {
			if _, err := Digest(b, s.ByteRange); err != nil {
				t.Errorf("accepted, but no digest: %v", err)
			}
		}
		_, _ = ReadPrivate(t.Context(), b)
	})
}

func FuzzDigest(f *testing.F) {
	f.Add([]byte("abcdef"), 0, 1, 2, 3)
	f.Add([]byte("abcdef"), 0, 1<<62, 1<<62, 1<<62)
	f.Fuzz(func(t *testing.T, b []byte, a, l, c, d int) {
		_, _ = Digest(b, [4]int{a, l, c, d})
	})
}

// What documents of one kind have in common ends where the first object stands that
// may tell whom the document is about.
func TestCommonIsWhatTheRendererSharesBetweenDocuments(t *testing.T) {
	one, other := sampleDocument(), sampleDocument()
	other.Body, other.Number = "兹证明王㐂居住于本市。", "6901002025030500000124-K"
	r := testRenderer(t, one, other)
	for _, d := range []Document{one, other} {
		draft, err := r.Render(d, SignatureSlot{MaxBytes: 512})
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(t.Context(), draft.file)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := f.Common(), len(draft.prefix.b); got != want {
			t.Errorf("%d bytes in common, the renderer shares %d", got, want)
		}
	}
	for name, file := range map[string][]byte{"of another program": foreign(pdftest.Foreign{}), "no PDF behind its header": []byte("%PDF-1.7\n")} {
		if f, err := Open(t.Context(), file); err != nil || f.Common() != 0 {
			t.Errorf("%s: %d bytes in common: %v", name, f.Common(), err)
		}
	}
}

func TestHexadecimalPairsAreReadAsAnyOtherDigits(t *testing.T) {
	for c := range 256 {
		for _, text := range []string{string([]byte{byte(c), '1'}), string([]byte{'A', byte(c)}), string([]byte{'0', 'b', byte(c), byte(c)})} {
			var pairs, slow str
			clean := pairs.decodePairs([]byte(text))
			err := slow.decode([]byte(text))
			if clean != (err == nil && !slow.spaced && !slow.odd) {
				t.Errorf("%q: pairs %v, read %+v: %v", text, clean, slow, err)
			}
			if clean && (!bytes.Equal(pairs.bytes, slow.bytes) || pairs.lower != slow.lower || pairs.upper != slow.upper) {
				t.Errorf("%q: %+v, want %+v", text, pairs, slow)
			}
		}
	}
}

package pdf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"yizheng/seal/pdf/pdftest"
)

// packedFile is a file whose object stream is data, said to hold count objects, the
// first of them at byte first.
func packedFile(data []byte, first, count int, filter string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.5\n")
	at := b.Len()
	fmt.Fprintf(&b, "3 0 obj <</Type/ObjStm/N %d/First %d%s/Length %d>>\nstream\n%s\nendstream\nendobj\n", count, first, filter, len(data), data)
	table := b.Len()
	rows := pdftest.Deflate([]byte{2, 0, 3, 0, 1, byte(at >> 8), byte(at), 0})
	fmt.Fprintf(&b, "4 0 obj <</Type/XRef/Root 1 0 R/Size 5/W[1 2 1]/Index[1 1 3 1]/Filter/FlateDecode/Length %d>>\nstream\n%s\nendstream\nendobj\nstartxref\n%d\n%%%%EOF", len(rows), rows, table)
	return b.Bytes()
}

func TestReadSignature_RefusesHostileStructureWithinBounds(t *testing.T) {
	zeros := bytes.Repeat([]byte{'['}, maxInflate+1)
	values := strings.Repeat("0 ", maxValues+1)
	loop := "%PDF-1.4\n1 0 obj <</Type/Catalog>> endobj\n"
	for _, tt := range []struct {
		name, says string
		file       []byte
	}{
		{"stream that inflates without end", "hold more than", packedFile(pdftest.Deflate(zeros), 4, 1, "/Filter/FlateDecode")},
		{"more values than any file has", "values", []byte("%PDF-1.4\n1 0 obj [" + values + "] endobj")},
		{"object stream of another filter", "not read here", packedFile([]byte("1 0 <<>>"), 4, 1, "/Filter/LZWDecode")},
		{"object stream with more objects than it has", "index", packedFile([]byte("1 0 <<>>"), 4, 2, "")},
		{"object that is not in its stream", "should hold", packedFile([]byte("7 0 <<>>"), 4, 1, "")},
		{"no zlib stream", "object 3", packedFile([]byte("1 0 <<>>"), 4, 1, "/Filter/FlateDecode")},
		{"unknown predictor", "predictor", packedFile(pdftest.Deflate([]byte("1 0 <<>>")), 4, 1, "/Filter/FlateDecode/DecodeParms<</Predictor 15/Columns 2000>>")},
		{"revisions in a circle", "section", []byte(loop + "xref\n0 1\n0000000000 65535 f \ntrailer <</Root 1 0 R/Prev 50>>\nstartxref\n50\n%%EOF")},
		{"startxref into nowhere", "section", []byte(loop + "startxref\n7\n%%EOF")},
		{"no startxref", "no startxref", []byte(loop + "%%EOF")},
		{"entry for nothing", "entry of object 7", []byte(loop + "xref\n7 1\n0000000009 00000 n \ntrailer <</Root 1 0 R>>\nstartxref\n48\n%%EOF")},
		{"object beside the table", "no cross-reference", []byte(loop + "xref\n0 1\n0000000000 65535 f \ntrailer <</Root 1 0 R>>\nstartxref\n48\n%%EOF")},
		{"nested without end", "deeply", []byte("%PDF-1.4\n1 0 obj " + strings.Repeat("[", 10_000))},
		{"table of too many entries", "section", []byte(loop + "xref\n0 99999999\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := tt.file
			// The circle's offsets are those of the table itself.
			if i := bytes.Index(file, []byte("xref\n")); i > 0 && strings.HasPrefix(string(file), loop) {
				file = bytes.ReplaceAll(file, []byte("/Prev 50"), fmt.Appendf(nil, "/Prev %d", i))
				file = bytes.ReplaceAll(file, []byte("startxref\n50"), fmt.Appendf(nil, "startxref\n%d", i))
				file = bytes.ReplaceAll(file, []byte("startxref\n48"), fmt.Appendf(nil, "startxref\n%d", i))
			}
			began := time.Now()
			_, err := ReadSignature(t.Context(), file)
			if !errors.Is(err, ErrStructure) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// formFile is a file with a signature in object 2, which the field 3 holds, and the
// other objects from 4 on. fields is the list of its form, end what its last line is.
func formFile(fields, end string, others ...string) []byte {
	const open = "<</Type/Sig/Filter/X/ByteRange[0 %010d %010d %010d]/Contents "
	objects := append([]string{"<</Type/Catalog/AcroForm<</Fields " + fields + ">>>>",
		fmt.Sprintf(open, 0, 0, 0) + "<00>>>", "<</FT/Sig/T(a)/V 2 0 R>>"}, others...)
	var b, table bytes.Buffer
	b.WriteString("%PDF-1.4\n")
	for i, o := range objects {
		fmt.Fprintf(&table, "%010d 00000 n \n", b.Len())
		fmt.Fprintf(&b, "%d 0 obj %s endobj\n", i+1, o)
	}
	at := b.Len()
	fmt.Fprintf(&b, "xref\n1 %d\n%strailer <</Root 1 0 R>>\nstartxref\n%d\n%s", len(objects), &table, at, end)
	from := bytes.Index(b.Bytes(), []byte("<00>"))
	return bytes.Replace(b.Bytes(), fmt.Appendf(nil, open, 0, 0, 0), fmt.Appendf(nil, open, from, from+4, b.Len()-from-4), 1)
}

// sameOffsets is the data of an object stream whose index names one string of size
// bytes count times, and where that string begins.
func sameOffsets(count, size int) (data []byte, first int) {
	index := strings.Repeat("1 0 ", count)
	return []byte(index + "(" + strings.Repeat("x", size) + ")"), len(index)
}

// sections is a file of cross-reference streams, each of which says of 100 000 numbers
// that they are at byte 0.
func sections(count int) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.5\n")
	rows := pdftest.Deflate(make([]byte, maxObjects))
	for i := range count {
		fmt.Fprintf(&b, "%d 0 obj <</Type/XRef/W[0 1 0]/Size %d/Filter/FlateDecode/Length %d>>\nstream\n%s\nendstream\nendobj\n", i+1, maxObjects, len(rows), rows)
	}
	b.WriteString("startxref\n9\n%%EOF")
	return b.Bytes()
}

// hybrids is a file of two tables that name the same cross-reference stream.
func hybrids() []byte {
	b := []byte("%PDF-1.5\n1 0 obj <</Type/XRef/W[0 1 0]/Size 1/Length 1>>\nstream\n0\nendstream\nendobj\n")
	prev := len(b)
	b = append(b, "xref\ntrailer <</XRefStm 9>>\n"...)
	last := len(b)
	return fmt.Appendf(b, "xref\ntrailer <</XRefStm 9/Prev %d>>\nstartxref\n%d\n%%%%EOF", prev, last)
}

// Whoever can send a file can send these: each is small, and reading it must take no
// more time and memory than reading an honest one of its size.
func TestReadSignature_TakesStepsAndMemoryInProportionToTheFile(t *testing.T) {
	const many = 20_000
	data, first := sameOffsets(1000, 1<<20)
	ends := strings.Repeat("%%EOF\n", 200_000)
	for _, tt := range []struct {
		name string
		file []byte
		want error
		says string
	}{
		{"lists of fields that hold themselves", formFile("5 0 R", "%%EOF", "null", "[<</T(x)/Kids 5 0 R>><</T(y)/Kids 5 0 R>>]"), ErrStructure, "list of two fields"},
		{"fields that hold each other's lists", formFile("[3 0 R<</T(x)/Kids 4 0 R>>]", "%%EOF", "[<</T(x)/Kids 5 0 R>><</T(y)/Kids 5 0 R>>]", "[<</T(x)/Kids 4 0 R>><</T(y)/Kids 4 0 R>>]"), ErrStructure, "list of two fields"},
		{"fields that share one long list", formFile("["+strings.Repeat("<</Kids 4 0 R>>", many)+"]", "%%EOF", "["+strings.Repeat("null ", 20*many)+"]"), ErrStructure, "list of two fields"},
		{"objects that share one long string", packedFile(pdftest.Deflate(data), first, 1000, "/Filter/FlateDecode"), ErrStructure, "index of object stream"},
		{"long cross-reference streams", sections(300), ErrStructure, "cross-reference stream: size"},
		{"tables without end", []byte("%PDF-1.4\n" + strings.Repeat("xref trailer<<>>", 100_000)), ErrStructure, "cross-reference sections"},
		{"one stream of two tables", hybrids(), ErrStructure, "of its own"},
		{"ends before a long tail", formFile("[3 0 R]", ends+strings.Repeat("\n", len(ends))), nil, ""},
		{"number that is none", formFile("[3 0 R]", "%%EOF", "<</Length 5 0 R>>\nstream\n\nendstream", "NaN"), ErrStructure, "not an object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			done := make(chan error, 1)
			go func() {
				_, err := ReadSignature(t.Context(), tt.file)
				done <- err
			}()
			select {
			case err := <-done:
				if !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v, want %v, %q", err, tt.want, tt.says)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("is still reading after 30 s")
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 128<<20 {
				t.Errorf("took %d MiB for a file of %d KiB", used>>20, len(tt.file)>>10)
			}
		})
	}
}

func TestOpen_EndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f, err := Open(ctx, foreign(pdftest.Foreign{})); !errors.Is(err, context.Canceled) || f != nil {
		t.Errorf("got %v, %v", f, err)
	}
}

func TestReadSignature_SaysThatAFileIsEncrypted(t *testing.T) {
	file := foreign(pdftest.Foreign{})
	file = bytes.Replace(file, []byte("trailer <</Root"), []byte("trailer <</Encrypt<</Filter/Standard>>/Root"), 1)
	if _, err := ReadSignature(t.Context(), file); !errors.Is(err, ErrByteRange) { // the signed bytes are shifted
		t.Errorf("got %v", err)
	}
	plain := []byte("%PDF-1.4\n1 0 obj <</Type/Catalog>> endobj\nxref\n0 2\n0000000000 65535 f \n0000000009 00000 n \ntrailer <</Root 1 0 R/Encrypt<<>>>>\nstartxref\n42\n%%EOF")
	if _, err := ReadSignature(t.Context(), plain); !errors.Is(err, ErrEncrypted) {
		t.Errorf("got %v", err)
	}
}

func TestReadSignature_CountsWhatWasAppended(t *testing.T) {
	signed := foreign(pdftest.Foreign{Form: pdftest.Stream})
	start := bytes.LastIndex(signed, []byte("startxref\n"))
	var prev int
	if _, err := fmt.Sscanf(string(signed[start:]), "startxref\n%d", &prev); err != nil {
		t.Fatal(err)
	}
	for _, form := range []pdftest.Form{pdftest.Table, pdftest.Stream, pdftest.Hybrid} {
		w := pdftest.Append(signed, form, prev, 20)
		w.Put(pdftest.Content, "<< /Length 2 >>\nstream\nET\nendstream")
		w.Put(30, "<< /Length 0 >>\nstream\n\nendstream")
		w.End()
		s, err := ReadSignature(t.Context(), w.Bytes())
		if !errors.Is(err, ErrRevision) || s.Later.Revisions != 1 || s.Later.Replaced != 1 || s.Later.Added < 1 || s.Later.Bytes != len(w.Bytes())-len(signed) {
			t.Errorf("form %d: %v, %+v", form, err, s.Later)
		}
	}
}

func TestReadSignature_WantsTheFieldToHoldTheSignature(t *testing.T) {
	for name, change := range map[string][2]string{
		"field of another type":  {"/FT /Sig", "/FT /Btn"},
		"field without value":    {"/V 6 0 R", "/W 6 0 R"},
		"field holds another":    {"/V 6 0 R", "/V 3 0 R"},
		"form without the field": {"/Fields [ 4", "/Fields [ 3"},
		"no form":                {"/AcroForm", "/AcroFrom"},
	} {
		b := foreign(pdftest.Foreign{})
		if !bytes.Contains(b, []byte(change[0])) {
			t.Fatalf("%s: nothing to change", name)
		}
		b = bytes.Replace(b, []byte(change[0]), []byte(change[1]), 1)
		_, err := ReadSignature(t.Context(), b)
		if !errors.Is(err, ErrStructure) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

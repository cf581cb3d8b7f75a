package pdf

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// deskDocuments differ in everything that a desk holds: characters, pages, fonts'
// subsets, watermark and size.
func deskDocuments() []Document {
	long, short, bare := insuranceDocument(300), sampleDocument(), sampleDocument()
	short.Title, short.Body, short.Together = "居住证明", "兹证明王㐂居住于本市。", []string{"王㐂"}
	bare.Watermark, bare.QR, bare.Rows, bare.Notes = "", "", nil, nil
	return []Document{sampleDocument(), long, short, bare}
}

// drawn returns each document as a renderer of its own draws it.
func drawn(t *testing.T, fonts *Fonts, docs []Document) (files [][]byte) {
	t.Helper()
	for _, d := range docs {
		r, err := NewRenderer(fonts)
		if err != nil {
			t.Fatal(err)
		}
		draft, err := r.Render(d, SignatureSlot{MaxBytes: 512})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, draft.file)
	}
	return files
}

func TestRenderDocumentsDoNotTouchEachOther(t *testing.T) {
	docs := deskDocuments()
	fonts := testFonts(t, docs...)
	want := drawn(t, fonts, docs)
	r, err := NewRenderer(fonts)
	if err != nil {
		t.Fatal(err)
	}
	missing := docs[0]
	missing.Body = "龘"
	var drafts []*Draft
	for _, n := range []int{0, 1, 2, 3, 2, 0, 3, 1} { // behind each other in several orders
		if _, err := r.Render(missing, SignatureSlot{}); err == nil {
			t.Fatal("drew a character that is missing")
		}
		draft, err := r.Render(docs[n], SignatureSlot{MaxBytes: 512})
		if err != nil {
			t.Fatal(err)
		}
		drafts = append(drafts, draft)
	}
	for i, n := range []int{0, 1, 2, 3, 2, 0, 3, 1} {
		if !bytes.Equal(drafts[i].file, want[n]) {
			t.Errorf("draft %d is not what document %d is when drawn alone", i, n)
		}
	}
}

func TestRenderConcurrentlyGivesTheSameFiles(t *testing.T) {
	docs := deskDocuments()
	fonts := testFonts(t, docs...)
	want := drawn(t, fonts, docs)
	r, err := NewRenderer(fonts)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 8 {
				n := (worker + i) % len(docs)
				draft, err := r.Render(docs[n], SignatureSlot{MaxBytes: 512})
				if err != nil || !bytes.Equal(draft.file, want[n]) {
					t.Errorf("document %d beside others: %v", n, err)
				}
			}
		})
	}
	all.Wait()
}

func TestDeskIsWipedBetweenDocuments(t *testing.T) {
	for n, d := range deskDocuments() {
		r := testRenderer(t, d)
		on := newDesk(r.fonts)
		l, err := r.layout(&d, on)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := write(l, SignatureSlot{MaxBytes: 512}); err != nil {
			t.Fatal(err)
		}
		memory := [][]byte{on.pattern.b, on.writer.b, on.writer.scratch, on.code.code, on.code.modules, on.code.image}
		for _, p := range on.pages {
			memory = append(memory, p.b)
		}
		on.wipe()
		for i, b := range memory {
			if bytes.ContainsFunc(b[:cap(b)], func(r rune) bool { return r != 0 }) {
				t.Errorf("document %d: memory %d still holds text", n, i)
			}
		}
		for _, s := range []sheet{on.text, on.rows[0], on.rows[1]} {
			if slices.ContainsFunc(s.chars[:cap(s.chars)], func(c char) bool { return c != char{} }) {
				t.Errorf("document %d: its characters are still there", n)
			}
		}
		for _, s := range on.subsets {
			if len(s.cids) > 0 || slices.ContainsFunc(s.runes[:cap(s.runes)], func(r rune) bool { return r != 0 }) {
				t.Errorf("document %d: a subset still holds its characters", n)
			}
		}
	}
}

// The digits of a signature are those of encoding/hex, whatever came before it.
func TestFillWritesTheDigitsOfEverySignature(t *testing.T) {
	r := testRenderer(t, sampleDocument())
	one := bytes.Repeat([]byte("seal and certificate "), 20)
	other := bytes.Clone(one)
	other[3], other[300] = 0xFF, 0xFE
	for i, signature := range [][]byte{one, other, one[:257], other[:1], append(other[:400:400], 1, 2, 3), bytes.Repeat([]byte{7}, 512), one} {
		draft, err := r.Render(sampleDocument(), SignatureSlot{MaxBytes: 512})
		if err != nil {
			t.Fatal(err)
		}
		file, err := draft.Fill(signature)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := draft.Fill(signature); !errors.Is(err, ErrFilled) {
			t.Errorf("filled again: %v", err)
		}
		s, err := ReadSignature(t.Context(), file)
		if err != nil || !bytes.Equal(s.Contents[:len(signature)], signature) || len(bytes.Trim(s.Contents[len(signature):], "\x00")) > 0 {
			t.Errorf("signature %d is not what stands in the file: %v", i, err)
		}
	}
}

// What a document takes beside its own file does not grow with its pages.
func TestRenderTakesLittleMemoryBesideTheFile(t *testing.T) {
	const most = 128 << 10 // bytes; signing takes as much again at most
	long := insuranceDocument(800)
	r := testRenderer(t, long)
	least := uint64(1 << 62)
	for range 8 { // a desk that the collector took away is made anew
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		draft, err := r.Render(long, SignatureSlot{MaxBytes: 512})
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc-uint64(len(draft.file)))
	}
	if least > most {
		t.Errorf("%d bytes beside the file, at most %d", least, most)
	}
}

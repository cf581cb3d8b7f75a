package pdf

import (
	"bytes"
	"errors"
	"testing"
)

// sealedSample is a certificate with something in the place of a signature.
func sealedSample(t testing.TB, d Document) []byte {
	t.Helper()
	file, err := render(t, d).Fill([]byte{0x30, 0x03, 0x02, 0x01, 0x2A})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func coverOf(files ...[]byte) Document {
	d := sampleDocument()
	d.Title, d.Rows, d.QR, d.SealPicture = "证明清单", nil, "", Picture{}
	for i, f := range files {
		d.Attachments = append(d.Attachments, Attachment{Name: string(rune('a'+i)) + ".pdf", Description: "最低生活保障证明", File: f})
	}
	return d
}

func TestAPrintOrderHoldsSealedFilesUntouched(t *testing.T) {
	inner := sealedSample(t, sampleDocument())
	for name, make := range map[string]func(Document) []byte{
		"unsealed": func(d Document) []byte {
			file, err := testRenderer(t, d).PrintOrder(d)
			if err != nil {
				t.Fatal(err)
			}
			return file
		},
		"sealed": func(d Document) []byte { return sealedSample(t, d) },
	} {
		t.Run(name, func(t *testing.T) {
			file := make(coverOf(inner, inner))
			if n := bytes.Count(file, inner); n != 2 {
				t.Errorf("the sealed file stands %d times inside, want 2", n)
			}
			about, err := ReadAbout(t.Context(), file)
			if err != nil || about.Title != "证明清单" {
				t.Errorf("%+v, %v", about, err)
			}
		})
	}
	about, err := ReadAbout(t.Context(), inner)
	if want := (About{"最低生活保障证明", sampleDocument().Number, "云州市民政局"}); err != nil || about != want {
		t.Errorf("%+v, %v", about, err)
	}
}

func TestAPrintOrderHasNoPrivateDataAndNoSignature(t *testing.T) {
	d := coverOf()
	file, err := testRenderer(t, d).PrintOrder(d)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Signature(); !errors.Is(err, ErrNoSignature) {
		t.Errorf("signature: %v", err)
	}
	if _, err := f.Private(); !errors.Is(err, ErrNoPrivate) {
		t.Errorf("private data: %v", err)
	}
}

func TestAttachmentsAreChecked(t *testing.T) {
	d := coverOf()
	r := testRenderer(t, d)
	for name, list := range map[string][]Attachment{
		"no name":      {{File: []byte("x")}},
		"a path":       {{Name: "../x.pdf"}},
		"a name twice": {{Name: "x.pdf"}, {Name: "x.pdf"}},
		"too many":     make([]Attachment, maxAttachments+1),
	} {
		d.Attachments = list
		if _, err := r.PrintOrder(d); !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d.Attachments = []Attachment{{Name: "x.pdf"}}
	if _, err := r.Render(d, archiveSlot); !errors.Is(err, ErrDocument) {
		t.Errorf("PDF/A: %v", err)
	}
}

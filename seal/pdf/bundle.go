package pdf

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/emmansun/gmsm/sm3"
)

// Attachment is a file embedded in a document byte for byte, for example a
// certificate that its owner has sealed: taken out again it verifies as before.
type Attachment struct {
	Name        string // file name, without a path; each once
	Description string // what it is, optional
	File        []byte // a PDF
}

const (
	maxAttachments    = 200
	maxAttachmentSize = 256 << 20 // of all together
)

// PrintOrder lays out an unsealed document, such as the cover of a matter's proofs,
// with its attachments. It needs no seed, and has neither signature nor private
// data. For a cover with a seal of its own use Render. Errors are those of Render.
func (r *Renderer) PrintOrder(d Document) ([]byte, error) {
	h := sm3.New()
	for _, a := range d.Attachments {
		h.Write(a.File)
	}
	d.Seed = h.Sum(nil) // of the file's identifier only
	on := r.desks.take(r.fonts)
	defer r.desks.give(on)
	l, err := r.layout(&d, on)
	if err != nil {
		return nil, err
	}
	l.unsealed = true
	draft, err := write(l, SignatureSlot{})
	if err != nil {
		return nil, err
	}
	return draft.file, nil
}

func checkAttachments(list []Attachment) error {
	if len(list) > maxAttachments {
		return fmt.Errorf("%w: %d attachments, at most %d", ErrDocument, len(list), maxAttachments)
	}
	size, names := 0, map[string]bool{}
	for i, a := range list {
		if a.Name == "" || strings.ContainsAny(a.Name, "/\\\x00") || !utf8.ValidString(a.Name) || names[a.Name] {
			return fmt.Errorf("%w: attachment %d needs a file name of its own", ErrDocument, i+1)
		}
		names[a.Name] = true
		size += len(a.File)
	}
	if size > maxAttachmentSize {
		return fmt.Errorf("%w: attachments of %d bytes, at most %d", ErrDocument, size, maxAttachmentSize)
	}
	return nil
}

// attachments writes the embedded files (ISO 32000-1 7.11.4; AF of ISO 32000-2
// 14.13) and returns the entries of the catalog.
func (w *writer) attachments(list []Attachment) string {
	if len(list) == 0 {
		return ""
	}
	var names, files strings.Builder
	for i, a := range list {
		file, spec := w.number(), w.number()
		w.begin(file).add("<</Type/EmbeddedFile/Subtype/application#2Fpdf/Params<</Size ").int(len(a.File)).add(">>").stream(a.File)
		w.begin(spec).add("<</Type/Filespec/F").text(a.Name).add("/UF").text(a.Name).add("/Desc").text(a.Description)
		w.add("/AFRelationship/Source/EF<</F ").ref(file).add("/UF ").ref(file).add(">>>>").end()
		fmt.Fprintf(&names, "(%04d)%d 0 R ", i+1, spec) // keys of a name tree ascend
		fmt.Fprintf(&files, "%d 0 R ", spec)
	}
	return fmt.Sprintf("/Names<</EmbeddedFiles<</Names[%s]>>>>/AF[%s]/PageMode/UseAttachments", names.String(), files.String())
}

// About is what a file says of itself; none of it is verified here.
type About struct {
	Title  string // of the document information
	Number string // certificate number, "" in files of other programs
	Signer string // /Name of its signature, or else what its field is called, such as the seal's name
}

// ReadAbout reads a file's own words for a list such as that of a print order. It
// returns ErrStructure when pdf cannot be read, and the error of ctx when that ends first.
func ReadAbout(ctx context.Context, pdf []byte) (About, error) {
	f, err := Open(ctx, pdf)
	if err != nil {
		return About{}, err
	}
	a := About{Title: textOf(f.dict(f.trailer.get("Info")).get("Title"))}
	if p, err := f.Private(); err == nil {
		a.Number = p.Number
	}
	s, _ := f.Signature() // one that is not whole has a name too
	a.Signer = s.Name
	if fields, _ := f.resolve(f.dict(f.catalog().get("AcroForm")).get("Fields")).(array); a.Signer == "" && len(fields) == 1 {
		a.Signer = textOf(f.dict(fields[0]).get("TU"))
	}
	return a, nil
}

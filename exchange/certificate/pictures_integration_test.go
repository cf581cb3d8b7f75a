//go:build integration

package certificate

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/goccy/go-yaml"

	"yizheng/catalog"
	"yizheng/identity"
	"yizheng/seal"
	"yizheng/seal/pdf"
	"yizheng/seal/ses"
)

// TestPicturesOfAllProofs prints every proof of the demo city with the answers of
// testdata/samples.yaml and the seal of its issuer, and checks with poppler and
// zbar that all of it and the QR code can be read from what is printed. It leaves
// a PNG of each proof's first and last page where PICTURES says. This made the
// pictures of the documentation:
//
//	PICTURES=../../docs/images/proofs go test -tags integration -run PicturesOfAllProofs ./exchange/certificate
func TestPicturesOfAllProofs(t *testing.T) {
	city, r, samples, people := demoCity(t), renderer(t), samples(t), people(t)
	for _, proof := range city.Proofs {
		t.Run(string(proof.Code), func(t *testing.T) {
			c := sampleOf(t, city, proof, samples[proof.Code].Records)
			who, ok := people[samples[proof.Code].Person]
			if !ok {
				t.Fatalf("nobody is called %q", samples[proof.Code].Person)
			}
			var err error
			if c.Person.Number, _, err = identity.ParseNumber(who.Number); err != nil {
				t.Fatal(err)
			}
			c.Name = who.Name
			d, file := printed(t, r, c, sealOf(t, city, c))
			path := readBack(t, d, file)
			tool(t, "pdftoppm", "-r", "200", "-png", path, filepath.Join(filepath.Dir(path), "page"))
			pages, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "page-*.png"))
			if code := strings.TrimSpace(tool(t, "zbarimg", "--quiet", "--raw", "--nodbus", pages[len(pages)-1])); code != d.QR {
				t.Errorf("the scanner reads %q", code)
			}
			if to := os.Getenv("PICTURES"); to != "" {
				keepPicture(t, path, filepath.Join(to, string(proof.Code)+".png"))
			}
		})
	}
}

// TestEveryPersonIsReadBack prints a document for everybody of the demo city, each
// with another proof, until every proof has been met.
func TestEveryPersonIsReadBack(t *testing.T) {
	city, r, samples := demoCity(t), renderer(t), samples(t)
	everybody := people(t)
	met := make(map[string]bool)
	for i, id := range slices.Sorted(maps.Keys(everybody)) {
		p := everybody[id]
		proof := city.Proofs[i%len(city.Proofs)]
		for _, name := range []string{p.Name, p.English} {
			if name == "" {
				continue
			}
			met[name] = true
			c := sampleOf(t, city, proof, samples[proof.Code].Records)
			c.Name = name
			number, _, err := identity.ParseNumber(p.Number)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			c.Person.Number = number
			if strings.ContainsFunc(name, func(r rune) bool { return unicode.Is(unicode.Co, r) }) {
				// Nobody has said which character is meant: better no document than a box.
				if _, err := r.Render(c.Document(""), pdf.SignatureSlot{}); !errors.As(err, new(*pdf.GlyphMissingError)) {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			d, file := printed(t, r, c, pdf.Picture{})
			if !strings.Contains(d.Body, name) || !strings.Contains(d.Body, p.Number) {
				t.Errorf("%s: the document does not name %s", proof.Code, name)
			}
			readBack(t, d, file)
		}
	}
	for _, name := range []string{"李𬸚", "王㐂", "张䶮", "阿依古丽·买买提"} {
		if !met[name] {
			t.Errorf("nobody is called %s", name)
		}
	}
}

// sample is what a register answers about somebody.
type sample struct {
	Person  string           `yaml:"person"`
	Records []map[string]any `yaml:"records"`
}

func samples(t *testing.T) map[catalog.ProofCode]sample {
	t.Helper()
	all := make(map[catalog.ProofCode]sample)
	readYAML(t, "testdata/samples.yaml", &all)
	return all
}

// person is somebody of the demo city.
type person struct {
	ID      string `yaml:"id"`
	Name    string `yaml:"name"`
	Number  string `yaml:"number"`
	English string `yaml:"english_name"`
}

// people are those of the demo city by their ids, named as the registers name them.
func people(t *testing.T) map[string]person {
	t.Helper()
	var file struct {
		People []person `yaml:"people"`
	}
	readYAML(t, "../../configs/demo/people.yaml", &file)
	all := make(map[string]person)
	for _, p := range file.People {
		p.Name = strings.ReplaceAll(p.Name, "\uE863", "䶮")
		all[p.ID] = p
	}
	return all
}

func demoCity(t *testing.T) *catalog.Catalogue {
	t.Helper()
	city, err := catalog.Load("../../configs/demo/catalog", catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return city
}

func renderer(t *testing.T) *pdf.Renderer {
	t.Helper()
	const fonts = "/usr/share/fonts/truetype/"
	fs, err := pdf.LoadFonts(fonts+"babelstone/BabelStoneHan.ttf", []string{fonts + "hanazono/HanaMinA.ttf", fonts + "hanazono/HanaMinB.ttf"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	r, err := pdf.NewRenderer(fs)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = yaml.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// printed renders c with a signature that no verifier would take.
func printed(t *testing.T, r *pdf.Renderer, c Certificate, picture pdf.Picture) (pdf.Document, []byte) {
	t.Helper()
	link, err := c.SignQR(key(t))
	if err != nil {
		t.Fatal(err)
	}
	d := c.Document(link)
	d.SealPicture = picture
	draft, err := r.Render(d, pdf.SignatureSlot{})
	if err != nil {
		t.Fatal(err)
	}
	file, err := draft.Fill([]byte{0x30, 0x03, 0x02, 0x01, 0x2A})
	if err != nil {
		t.Fatal(err)
	}
	return d, file
}

// readBack extracts the text and looks for all that the document says, character
// by character, white space apart. It returns where it put the file.
func readBack(t *testing.T, d pdf.Document, file []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "proof.pdf")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(tool(t, "pdftotext", "-raw", path, "-")), "")
	want := append([]string{d.Title, d.Number, d.Watermark, d.Issuer, d.Body, d.Conclusion, d.Purpose, d.ItemName, d.Authenticity}, d.Notes...)
	want = append(want, Date(d.IssuedAt), Date(d.ValidUntil), Time(d.DataTime))
	row := func(r pdf.Row) { want = append(want, r.Label, r.Value) }
	for _, r := range d.Rows {
		row(r)
	}
	for _, record := range d.Records {
		for _, r := range record.Rows {
			row(r)
		}
	}
	for _, table := range d.Tables {
		for _, c := range table.Columns {
			want = append(want, c.Label)
		}
		for _, r := range table.Rows {
			want = append(want, r...)
		}
	}
	for _, w := range want {
		if !strings.Contains(text, strings.Join(strings.Fields(w), "")) {
			t.Errorf("%q is not extracted from\n%s", w, text)
		}
	}
	return path
}

// keepPicture draws the first page, and the last beside it if there are several.
func keepPicture(t *testing.T, path, to string) {
	t.Helper()
	base := filepath.Join(t.TempDir(), "small")
	tool(t, "pdftoppm", "-r", "80", "-png", path, base)
	names, err := filepath.Glob(base + "-*.png")
	if err != nil || len(names) == 0 {
		t.Fatalf("pictures %v: %v", names, err)
	}
	if len(names) > 2 {
		names = []string{names[0], names[len(names)-1]}
	}
	whole := image.NewRGBA(image.Rectangle{})
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		page, err := png.Decode(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		at := whole.Rect.Max.X
		wider := image.NewRGBA(image.Rect(0, 0, at+page.Bounds().Dx(), page.Bounds().Dy()))
		draw.Draw(wider, whole.Rect, whole, image.Point{}, draw.Src)
		draw.Draw(wider, page.Bounds().Add(image.Pt(at, 0)), page, image.Point{}, draw.Src)
		whole = wider
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, reduced(whole)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// reduced is the picture in the 128 colours that it has most of.
func reduced(img *image.RGBA) *image.Paletted {
	count, nearest := make(map[color.RGBA]int), make(map[color.RGBA]uint8)
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			count[img.RGBAAt(x, y)]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int {
		return cmp.Or(count[b]-count[a], int(a.R)-int(b.R), int(a.G)-int(b.G), int(a.B)-int(b.B))
	})
	var colors color.Palette
	for _, c := range frequent[:min(128, len(frequent))] {
		colors = append(colors, c)
	}
	small := image.NewPaletted(img.Rect, colors)
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			c := img.RGBAAt(x, y)
			i, ok := nearest[c]
			if !ok {
				i = uint8(colors.Index(c))
				nearest[c] = i
			}
			small.SetColorIndex(x, y, i)
		}
	}
	return small
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// sealOf draws the round seal of a proof's issuer.
func sealOf(t *testing.T, city *catalog.Catalogue, c Certificate) pdf.Picture {
	t.Helper()
	s, _ := city.Seal(c.Proof.Issuer.For(c.Records))
	name := c.Issuer
	gif, err := seal.DrawRoundSeal(seal.RoundSeal{FontPath: "/usr/share/fonts/truetype/babelstone/BabelStoneHan.ttf", Name: name, Purpose: strings.TrimPrefix(s.Name, name)})
	if err != nil {
		t.Fatal(err)
	}
	img, err := seal.SealImage(ses.Picture{Type: "GIF", Data: gif, Width: 42, Height: 42})
	if err != nil {
		t.Fatal(err)
	}
	picture, err := pdf.NewPicture(img, 42, 42)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// sampleOf is a certificate of a proof with these records, which have every field.
func sampleOf(t *testing.T, city *catalog.Catalogue, proof catalog.Proof, records []map[string]any) Certificate {
	t.Helper()
	c := of(t, "SI-01", records...)
	s, _ := city.Seal(proof.Issuer.For(records))
	issuer, _ := city.Department(s.Department)
	c.City, c.Proof, c.Issuer, c.Fields = city.City, proof, issuer.Name, nil
	var scopes []string
	for _, id := range proof.Sources {
		source, _ := city.Source(id)
		c.Authenticity, scopes = source.Authenticity, append(scopes, source.Scope)
	}
	c.Scope = strings.Join(scopes, "、")
	for _, item := range city.Items {
		for _, situation := range item.Situations {
			if slices.Contains(situation.Proofs(), proof.Code) {
				purpose, _ := city.Purpose(item.Purposes[0])
				c.Item, c.Purpose = item.Name, purpose.Text
			}
		}
	}
	for _, f := range proof.Fields {
		c.Fields = append(c.Fields, f.Name)
		for i, r := range records {
			if _, ok := r[f.Name]; !ok {
				t.Errorf("record %d of %s has no %s", i+1, proof.Code, f.Name)
			}
		}
	}
	for i, r := range records {
		answered := maps.Clone(r)
		maps.DeleteFunc(answered, func(_ string, v any) bool { return v == nil })
		if err := city.ValidateRecord(proof.Code, answered); err != nil {
			t.Errorf("record %d of %s: %v", i+1, proof.Code, err)
		}
	}
	if len(records) == 0 || len(records) > proof.Cardinality.Max {
		t.Fatalf("%d records of %s", len(records), proof.Code)
	}
	return c
}

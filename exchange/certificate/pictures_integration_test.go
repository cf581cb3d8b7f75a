//go:build integration

package certificate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/identity"
	"yizheng/seal"
	"yizheng/seal/pdf"
	"yizheng/seal/ses"
)

// TestPicturesOfAllProofs prints every proof of the demo city with made-up answers
// and the seal of its issuer, and checks with poppler and zbar that values and QR
// code can be read from what is printed. With PICTURES=DIR it leaves a PNG of each
// proof's first page there; docs/images/proofs was made so.
func TestPicturesOfAllProofs(t *testing.T) {
	const fonts = "/usr/share/fonts/truetype/"
	city, err := catalog.Load("../../configs/demo/catalog", catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fs, err := pdf.LoadFonts(fonts+"babelstone/BabelStoneHan.ttf", []string{fonts + "hanazono/HanaMinA.ttf", fonts + "hanazono/HanaMinB.ttf"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	r, err := pdf.NewRenderer(fs)
	if err != nil {
		t.Fatal(err)
	}
	for i, proof := range city.Proofs {
		t.Run(string(proof.Code), func(t *testing.T) {
			c, picture := sampleOf(t, city, proof, i), sealOf(t, city, proof)
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
			readBack(t, d, file)
		})
	}
}

// readBack reads the printed document back, and keeps its picture if that is wanted.
func readBack(t *testing.T, d pdf.Document, file []byte) {
	dir := t.TempDir()
	path := filepath.Join(dir, "proof.pdf")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(tool(t, "pdftotext", "-raw", path, "-")), "")
	want := []string{d.Number, d.Watermark, d.Issuer}
	for _, r := range d.Rows {
		want = append(want, r.Value)
	}
	for _, table := range d.Tables {
		for _, row := range table.Rows {
			want = append(want, row...)
		}
	}
	for _, w := range want {
		if !strings.Contains(text, strings.Join(strings.Fields(w), "")) {
			t.Errorf("%q is not extracted", w)
		}
	}
	tool(t, "pdftoppm", "-r", "200", "-png", path, filepath.Join(dir, "page"))
	pages, _ := filepath.Glob(filepath.Join(dir, "page-*.png"))
	if code := strings.TrimSpace(tool(t, "zbarimg", "--quiet", "--raw", "--nodbus", pages[len(pages)-1])); code != d.QR {
		t.Errorf("the scanner reads %q", code)
	}
	if to := os.Getenv("PICTURES"); to != "" {
		_, code, _ := strings.Cut(t.Name(), "/")
		tool(t, "pdftoppm", "-r", "80", "-png", "-singlefile", path, filepath.Join(to, code))
	}
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
func sealOf(t *testing.T, city *catalog.Catalogue, proof catalog.Proof) pdf.Picture {
	t.Helper()
	gif, err := seal.DrawRoundSeal(seal.RoundSeal{FontPath: "/usr/share/fonts/truetype/babelstone/BabelStoneHan.ttf", Name: issuerOf(city, proof), Purpose: "业务专用章"})
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

func issuerOf(city *catalog.Catalogue, proof catalog.Proof) string {
	s, _ := city.Seal(proof.Issuer.Seal)
	for _, d := range city.Departments {
		if d.ID == s.Department {
			return d.Name
		}
	}
	return ""
}

// sampleOf answers a proof with a value for each field.
func sampleOf(t *testing.T, city *catalog.Catalogue, proof catalog.Proof, i int) Certificate {
	t.Helper()
	number, _, err := identity.ParseNumber(liNumber)
	if err != nil {
		t.Fatal(err)
	}
	name := []string{"李明", "李𬸚", "王㐂"}[i%3]
	c := Certificate{City: city.City, Proof: proof, Item: "公共租赁住房资格确认", Purpose: "申请公共租赁住房", Issuer: issuerOf(city, proof),
		Person: identity.Person{Type: identity.TypeResident, Number: number, Name: identity.NewName(name)}, Name: name,
		DataTime: time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC), Authenticity: catalog.AuthChannel, Scope: "示例省共享平台",
		Number: "6901002026112201ABCDEFGHJKX", Secret: [16]byte(seed), Seed: seed, Root: seed,
		IssuedAt: time.Date(2026, 11, 22, 2, 3, 4, 0, time.UTC), Receipt: "yz.test/audit/2026q4:0:AAAA"}
	for _, f := range proof.Fields {
		c.Fields = append(c.Fields, f.Name)
	}
	for n := range min(proof.Cardinality.Max, 14) {
		record := map[string]any{}
		for _, f := range proof.Fields {
			record[f.Name] = sampleValue(f, n)
		}
		c.Records = append(c.Records, record)
	}
	return c
}

func sampleValue(f catalog.Field, n int) any {
	switch f.Type {
	case "code":
		codes := slices.Sorted(maps.Keys(f.Codes))
		return codes[n%len(codes)]
	case "date":
		return fmt.Sprintf("2024-%02d-%02d", n%12+1, n+5)
	case "month":
		return fmt.Sprintf("2025-%02d", n%12+1)
	case "money":
		return fmt.Sprintf("%d.%02d", 1860+137*n, n)
	case "number":
		return n + 2
	}
	for _, hint := range []struct{ part, value string }{
		{"址", "示例市城东区人民路18号2幢301室"}, {"坐落", "示例市城东区人民路18号2幢301室"}, {"单位", "示例市第一机械制造有限责任公司"}, {"处所", "示例市第一机械制造有限责任公司"},
		{"姓名", "王芳"}, {"户主", "李明"}, {"机关", "示例市民政局"}, {"国籍", "中国"}, {"证件类型", "居民身份证"},
	} {
		if strings.Contains(f.Label, hint.part) {
			return hint.value
		}
	}
	return cmp.Or(map[bool]string{true: "—"}[strings.Contains(f.Label, "曾用名")], fmt.Sprintf("69010020240%05d", 123+n))
}

package certificate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/identity"
	"yizheng/identity/jose"
	"yizheng/seal/pdf"
)

// The person of the tests is fictional (province 69 does not exist).
const liNumber, liName = "690102198503120016", "李明"

var seed = []byte("\xb6\x22\xfd\xb5\x0a\xf7\x9e\xb5\xa2\x08\xe4\x90\x7c\x60\xb2\x51\xa8\x5c\xc5\x47\xc7\x7f\x5b\x6e\x67\x50\x73\x50\x7f\xc7\x0a\xf3")

// of is a certificate of a proof with these records.
func of(t testing.TB, code catalog.ProofCode, records ...map[string]any) Certificate {
	t.Helper()
	city, err := catalog.Load("../testdata/catalog", catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	number, _, err := identity.ParseNumber(liNumber)
	if err != nil {
		t.Fatal(err)
	}
	proof, _ := city.Proof(code)
	c := Certificate{City: city.City, Proof: proof, Item: "公共租赁住房资格确认", Purpose: "申请公共租赁住房", Issuer: "示例市社会保险事业服务中心",
		Person: identity.Person{Type: identity.TypeResident, Number: number, Name: identity.NewName(liName)}, Name: liName,
		Records: records, DataTime: time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC), Authenticity: catalog.AuthPeerMAC, Scope: "示例省社保库",
		Number: "6901002026112201ABCDEFGHJKX", Secret: [16]byte(bytes.Repeat([]byte{0x5a}, 16)), Seed: seed, Root: bytes.Repeat([]byte{0x3c}, 32),
		IssuedAt: time.Date(2026, 11, 22, 2, 3, 4, 0, time.UTC), Receipt: "yz.test/audit/2026q4:0:AAAA"}
	for _, f := range proof.Fields {
		c.Fields = append(c.Fields, f.Name)
	}
	return c
}

// wide is one with more fields than a table has columns.
func wide(t testing.TB, records ...map[string]any) Certificate {
	c := of(t, "RE-01", records...)
	for i := range 8 {
		name := string(rune('a' + i))
		c.Proof.Fields = append(c.Proof.Fields, catalog.Field{Name: name, Label: "项" + name, Type: "date"})
		c.Fields = append(c.Fields, name)
	}
	return c
}

// testdata/documents.json says what is drawn; it was first written by what the
// gateway drew before this package existed: documents change on purpose only.
func TestDocumentsAreDrawnAsBefore(t *testing.T) {
	raw, err := os.ReadFile("testdata/documents.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]pdf.Document
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	partial := of(t, "RE-01", map[string]any{"unit": "U1", "area": json.Number("88.50")}, map[string]any{"unit": "U2", "area": 90.0})
	partial.Stale, partial.Missing, partial.Scope, partial.Authenticity = true, []string{"甲", "乙"}, "甲、乙", catalog.AuthChannel
	married := of(t, "MR-01", map[string]any{"state": "20"})
	married.Authenticity = catalog.AuthSignature
	masked := of(t, "HF-01", map[string]any{"account": "000123456789"})
	masked.Proof.Fields[0].Mask, masked.Proof.Level = true, "B"
	masked.Proof.Notes = []string{"{name}{number}{issuer}{time}{date}{until}{scope}{city}{purpose}{item}{count}"}
	got := map[string]Certificate{
		"SI-01": of(t, "SI-01", map[string]any{"month": "2026-09", "base": "5000.00"}, map[string]any{"month": "2026-10"}),
		"MR-01": married, "RE-01": partial, "HF-01": masked,
		"WIDE":     wide(t, map[string]any{"unit": "U1", "a": "2026-01-02"}, map[string]any{"unit": "U2", "b": []any{"x", true}}),
		"WIDE-ONE": wide(t, map[string]any{"unit": "U1"}),
	}
	if len(got) != len(want) {
		t.Errorf("%d documents, want %d", len(got), len(want))
	}
	for name, c := range got {
		if text := indented(t, c.Document("")); text != indented(t, want[name]) {
			t.Errorf("%s is now\n%s", name, text)
		}
	}
}

func indented(t *testing.T, d pdf.Document) string {
	t.Helper()
	b, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOnlyGrantedFieldsArePrinted(t *testing.T) {
	c := of(t, "SI-01", map[string]any{"month": "2026-09", "base": "5000.00"})
	c.Fields = []string{"month"}
	if d := c.Document(""); !reflect.DeepEqual(d.Rows, []pdf.Row{{Label: "缴费年月", Value: "2026年9月"}}) || d.Tables != nil {
		t.Errorf("one record: %+v, %+v", d.Rows, d.Tables)
	}
	c.Records = append(c.Records, map[string]any{"month": "2026-10", "base": "5000.00"})
	if d := c.Document(""); !reflect.DeepEqual(d.Tables[0].Columns, []pdf.Column{{Label: "缴费年月"}}) || !reflect.DeepEqual(d.Tables[0].Rows, [][]string{{"2026年9月"}, {"2026年10月"}}) {
		t.Errorf("two records: %+v", d.Tables)
	}
}

func TestQRCodeOfAnotherCertificateIsRefused(t *testing.T) {
	own, other := key(t), key(t)
	good := func() Certificate { return of(t, "SI-01", map[string]any{"month": "2026-09"}) }
	link, err := good().SignQR(own)
	if err != nil {
		t.Fatal(err)
	}
	if err := good().CheckQR(link, own.Public()); err != nil {
		t.Fatal(err)
	}
	if err := good().CheckQR(link, other.Public()); !errors.Is(err, ErrQR) {
		t.Errorf("signed by another key: %v", err)
	}
	for name, change := range map[string]func(*Certificate){
		"number":  func(c *Certificate) { c.Number = "6901002026112201ABCDEFGHJKY" },
		"secret":  func(c *Certificate) { c.Secret[0]++ },
		"name":    func(c *Certificate) { c.Name = "王明" },
		"issuer":  func(c *Certificate) { c.Issuer = "示例市民政局" },
		"records": func(c *Certificate) { c.Root = bytes.Repeat([]byte{1}, 32) },
		"day":     func(c *Certificate) { c.IssuedAt = c.IssuedAt.AddDate(0, 0, 1) },
		"address": func(c *Certificate) { c.City.VerifyURL = "https://elsewhere.example.cn" },
	} {
		c := good()
		change(&c)
		if err := c.CheckQR(link, own.Public()); !errors.Is(err, ErrQR) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	for _, bad := range []string{"", link + "x", strings.Replace(link, "#1.", "#2.", 1), link[:len(link)-4]} {
		if err := good().CheckQR(bad, own.Public()); !errors.Is(err, ErrQR) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCertificateCannotPrintItself(t *testing.T) {
	c := of(t, "SI-01", map[string]any{"month": "2026-09", "base": "5000.00"})
	text := fmt.Sprintf("%v %+v %#v %s %q", c, c, &c, c, c)
	if b, err := json.Marshal(c); err == nil {
		text += string(b)
	}
	for _, secret := range []string{liName, liNumber, "5000.00"} {
		if strings.Contains(text, secret) {
			t.Errorf("printed: %s", text)
		}
	}
}

func key(t *testing.T) *jose.Key {
	t.Helper()
	k, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

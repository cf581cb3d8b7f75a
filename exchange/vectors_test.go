package exchange

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/catalog"
	"yizheng/catalog/beijing"
	"yizheng/exchange/certificate"
	"yizheng/identity"
	"yizheng/identity/jose"
)

var update = flag.Bool("update", false, "write the test vectors anew: only when a format is meant to change")

const (
	vectorDir  = "../docs/protocol/vectors/"
	vectorNote = "Keys, persons and numbers are fictional. Tokens hold random values: verify or decrypt them; all other members are exact."
)

type legVector struct {
	Name       string   `json:"name"`
	Exchange   string   `json:"exchange"`
	Leg        string   `json:"leg"`
	Commitment string   `json:"commitment_hex"`
	Item       string   `json:"item"`
	Proof      string   `json:"proof"`
	Fields     []string `json:"fields"`
	Purpose    string   `json:"purpose"`
	Case       string   `json:"case"`
	Release    uint64   `json:"release"`
	Digest     string   `json:"digest_hex"`
	Text       string   `json:"digest"`
}

func TestLegDigestHasNotDrifted(t *testing.T) {
	v := struct {
		Note string      `json:"note"`
		Legs []legVector `json:"legs"`
	}{Note: vectorNote}
	commitment := "cf76be6434d02da31c9a1456d12102355b18a02daea3ceef18bc76b7b85905c9" // of vectors/subject-token.json
	for _, l := range []legVector{
		{Name: "one source", Exchange: "2026112201ABCDEFGHJKV", Leg: "SI-01.1", Item: "PRH", Proof: "SI-01", Fields: []string{"month", "base"}, Purpose: "P-PRH", Case: "C-2026-1", Release: 7},
		{Name: "the spouse, second source, a case in Chinese", Exchange: "2026112201ABCDEFGHJKV", Leg: "RE-01@spouse.2", Item: "HPW", Proof: "RE-01", Fields: []string{"unit", "Area", "area", "status"}, Purpose: "P-HPW", Case: "示例〔2026〕第1号", Release: 18446744073709551615},
		{Name: "no field", Exchange: "2026112201ABCDEFGHJKV", Leg: "SI-01.1", Item: "PRH", Proof: "SI-01", Fields: []string{}, Purpose: "P-PRH", Case: "C-2026-1", Release: 7},
	} {
		l.Commitment = commitment
		raw, err := hex.DecodeString(commitment)
		if err != nil {
			t.Fatal(err)
		}
		terms := LegTerms{Exchange: l.Exchange, Leg: l.Leg, Commitment: raw, Item: catalog.ItemCode(l.Item), Proof: catalog.ProofCode(l.Proof),
			Fields: l.Fields, Purpose: l.Purpose, Case: l.Case, Release: l.Release}
		d := terms.Digest()
		l.Digest, l.Text = hex.EncodeToString(d[:]), d.String()
		v.Legs = append(v.Legs, l)
	}
	same(t, "leg-digest.json", v)
}

func TestEveryTermChangesTheLegDigest(t *testing.T) {
	base := LegTerms{Exchange: "x", Leg: "l", Commitment: []byte("c"), Item: "i", Proof: "p", Fields: []string{"f", "g"}, Purpose: "u", Case: "k", Release: 1}
	seen := map[LegDigest]string{base.Digest(): "base"}
	for name, change := range map[string]func(*LegTerms){
		"exchange": func(t *LegTerms) { t.Exchange = "y" }, "leg": func(t *LegTerms) { t.Leg = "m" },
		"commitment": func(t *LegTerms) { t.Commitment = []byte("d") }, "item": func(t *LegTerms) { t.Item = "j" },
		"proof": func(t *LegTerms) { t.Proof = "q" }, "one field less": func(t *LegTerms) { t.Fields = t.Fields[:1] },
		"fields joined": func(t *LegTerms) { t.Fields = []string{"fg"} }, "purpose": func(t *LegTerms) { t.Purpose = "v" },
		"case": func(t *LegTerms) { t.Case = "h" }, "release": func(t *LegTerms) { t.Release = 2 },
		"a border moved": func(t *LegTerms) { t.Exchange, t.Leg = "xl", "" },
	} {
		terms := base
		terms.Fields = append([]string(nil), base.Fields...)
		change(&terms)
		d := terms.Digest()
		if other, ok := seen[d]; ok {
			t.Errorf("%s gives the digest of %s", name, other)
		}
		seen[d] = name
	}
	swapped := base
	swapped.Fields = []string{"g", "f"}
	if swapped.Digest() != base.Digest() {
		t.Error("the order of the fields counts")
	}
}

type fieldVector struct {
	Record     int    `json:"record"`
	Name       string `json:"name"`
	Value      string `json:"value_json"`
	Commitment string `json:"commitment_hex"`
}

func TestCommitmentsHaveNotDrifted(t *testing.T) {
	var v struct {
		Note     string            `json:"note"`
		Secret   string            `json:"secret_hex"`
		Seed     string            `json:"seed_hex"`
		Lookup   string            `json:"lookup_hex"`
		Records  json.RawMessage   `json:"records"`
		Fields   []fieldVector     `json:"fields"`
		Roots    map[string]string `json:"roots_hex"` // of the first n records
		Document string            `json:"document_hex"`
		Digest   string            `json:"document_digest_hex"`
		Blank    string            `json:"blank_document_digest_hex"`
		Results  map[Code]string   `json:"results_hex"`
		Manual   string            `json:"manual_number"`
		ManualD  string            `json:"manual_digest"`
	}
	v.Note = vectorNote
	secret := Secret(bytes.Repeat([]byte{0x5A}, 16))
	seed := secret.Seed()
	v.Secret, v.Seed, v.Lookup = strings.Repeat("5a", 16), hex.EncodeToString(seed), hex.EncodeToString(secret.Lookup())
	records := []map[string]any{
		{"month": "2026-10", "base": "5000.00", "employer": "示例公司 <A&B> \"\\\n\u2028𬸚"},
		{"month": "2026-11", "base": "5000.00", "months": json.Number("60"), "share": 0.5, "none": nil, "yes": true, "list": []any{"b", "a"}, "map": map[string]any{"z": json.Number("1"), "a": "x"}},
		{"area": 88.5},
	}
	raw, err := compactJSON(records)
	if err != nil {
		t.Fatal(err)
	}
	v.Records = raw
	for i, r := range records {
		for _, n := range sortedNames(r) {
			value, err := compactJSON(r[n])
			if err != nil {
				t.Fatal(err)
			}
			c, err := FieldCommitment(seed, i, n, r[n])
			if err != nil {
				t.Fatal(err)
			}
			v.Fields = append(v.Fields, fieldVector{i, n, string(value), hex.EncodeToString(c)})
		}
	}
	v.Roots = map[string]string{}
	for n := range len(records) + 1 {
		root, err := FieldsRoot(seed, records[:n])
		if err != nil {
			t.Fatal(err)
		}
		v.Roots[string(rune('0'+n))] = hex.EncodeToString(root)
	}
	file := []byte("%PDF-1.7 no real document\n")
	v.Document, v.Digest = hex.EncodeToString(file), hex.EncodeToString(DocumentDigest(seed, file))
	v.Blank = hex.EncodeToString(DocumentDigest(seed, nil))
	v.Results = map[Code]string{}
	for _, c := range []Code{Found, NotFound, Multiple, Mismatch, Pending, Timeout, Unreachable, SourceError, Denied, GlyphMissing} {
		v.Results[c] = hex.EncodeToString(ResultCommitment(seed, c))
	}
	if v.Results[Pending] != hex.EncodeToString(ResultCommitment(seed, NotIssuable)) {
		t.Error("NOT_ISSUABLE has a commitment of its own")
	}
	v.Manual = "S2026112201ABCDEFGHJK" + string(check(t, "S2026112201ABCDEFGHJK"))
	v.ManualD = manualDigest(v.Manual)
	same(t, "commitments.json", v)
}

func check(t *testing.T, body string) byte {
	t.Helper()
	c, err := identity.Mod3736(body)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSecretDoesNotPrintItself(t *testing.T) {
	s := Secret(bytes.Repeat([]byte("s"), 16))
	for _, text := range []string{s.String(), asJSON(t, s), asJSON(t, map[string]any{"a": s})} {
		if !strings.Contains(text, "[secret]") || strings.Contains(text, "ssss") {
			t.Error(text)
		}
	}
}

func TestResultHasNotDrifted(t *testing.T) {
	type vectors struct {
		Note        string          `json:"note"`
		Gateway     string          `json:"gateway_private_hex"`
		Reply       string          `json:"reply_private_hex"`
		Data        json.RawMessage `json:"data_payload"`
		DataToken   string          `json:"data_token"`
		Result      json.RawMessage `json:"result_plaintext"`
		ResultToken string          `json:"result_token"`
	}
	var v, old vectors
	load(t, "result.json", &old)
	v.Note = vectorNote
	v.Gateway, v.Reply = strings.Repeat("11", 32), strings.Repeat("55", 32)
	gateway, reply := fixedKey(t, v.Gateway), fixedKey(t, v.Reply)
	payload, err := compactJSON(Data{V: 1, Exchange: "2026112201ABCDEFGHJKV", Proof: "SI-01", Issuer: "示例市社会保险事业服务中心",
		DataTime: "2026-11-22T10:00:00+08:00", Records: []map[string]any{{"month": "2026-10", "base": "5000.00"}}})
	if err != nil {
		t.Fatal(err)
	}
	v.Data = payload
	v.DataToken = once(t, old.DataToken, func() (string, error) { return jose.Sign(gateway, TypeData, payload) })
	got, _, err := jose.Verify(v.DataToken, TypeData, publicOf(gateway))
	if err != nil || !bytes.Equal(got, payload) {
		t.Errorf("the committed data token: %v\n%s", err, got)
	}
	plain, err := json.Marshal(Result{
		V: 1, Exchange: "2026112201ABCDEFGHJKV", Part: "SI-01", Proof: "SI-01", Role: "applicant", Code: Found, Sentence: "已查到。",
		DataTime: "2026-11-22T10:00:00+08:00", Stale: true, Authenticity: catalog.AuthPeerMAC, Missing: []string{"示例县"},
		Data: v.DataToken, Document: []byte("%PDF"), Number: "6901002026112201ABCDEFGHJK" + string(check(t, "6901002026112201ABCDEFGHJK")),
		Seed: bytes.Repeat([]byte{0xA5}, 32), Receipt: "receipt", IssueReceipt: "issue receipt", ManualNumber: "S",
	})
	if err != nil {
		t.Fatal(err)
	}
	v.Result = plain
	v.ResultToken = once(t, old.ResultToken, func() (string, error) { return jose.NewReplyKey(reply.Public()).Encrypt(TypeResult, plain) })
	got, err = jose.DecryptSM2(reply, TypeResult, v.ResultToken)
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("the committed result token: %v\n%s", err, got)
	}
	same(t, "result.json", v)
}

func TestNumbersAndQRCodeHaveNotDrifted(t *testing.T) {
	t.Parallel()
	type vectors struct {
		Note        string            `json:"note"`
		Exchange    string            `json:"exchange_number"`
		Slot        string            `json:"exchange_slot"`
		Manual      string            `json:"manual_number"`
		Certificate string            `json:"certificate_number"`
		Bad         map[string]string `json:"not_exchange_numbers"`
		Gateway     string            `json:"gateway_private_hex"`
		Secret      string            `json:"secret_hex"`
		Facts       json.RawMessage   `json:"facts"`
		URL         string            `json:"url"`
	}
	var v, old vectors
	load(t, "certificate-number.json", &old)
	v.Note = vectorNote
	full := func(body string) string { return body + string(check(t, body)) }
	v.Exchange, v.Manual, v.Certificate = full("2026112201ABCDEFGHJK"), full("S2026112201ABCDEFGHJK"), full("6901002026112201ABCDEFGHJK")
	v.Slot = Slot(v.Exchange)
	v.Bad = map[string]string{"wrong check character": v.Exchange[:20] + "0", "too short": v.Exchange[:20], "a manual number": v.Manual, "small letters": strings.ToLower(v.Exchange)}
	for name, bad := range v.Bad {
		if Slot(bad) != "" {
			t.Errorf("%s is taken for an exchange number", name)
		}
	}
	c := newCity(t)
	c.key = fixedKey(t, strings.Repeat("11", 32))
	v.Gateway, v.Secret = strings.Repeat("11", 32), strings.Repeat("5a", 16)
	proof, _ := c.release.Catalogue.Proof("SI-01")
	doc := certificate.Certificate{City: c.release.Catalogue.City, Proof: proof, Number: v.Certificate, Issuer: "示例市社会保险事业服务中心",
		Person: person(t, liNumber, liName), Name: liName, Secret: Secret(bytes.Repeat([]byte{0x5A}, 16)),
		Root: bytes.Repeat([]byte{0x3C}, 32), IssuedAt: time.Date(2026, 11, 22, 10, 0, 0, 0, beijing.Zone())}
	link, err := doc.SignQR(c.key)
	c.ok(err)
	prefix := "https://yz.example.cn/v/" + v.Certificate + "#1." + base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0x5A}, 16)) + "."
	token, ok := strings.CutPrefix(link, prefix)
	if !ok {
		t.Fatalf("the link is %s", link)
	}
	if v.Facts, _, err = jose.Verify(token, certificate.TypeQR, publicOf(c.key)); err != nil {
		t.Fatal(err)
	}
	v.URL = once(t, old.URL, func() (string, error) { return link, nil })
	committed, ok := strings.CutPrefix(v.URL, prefix)
	if facts, _, err := jose.Verify(committed, certificate.TypeQR, publicOf(c.key)); !ok || err != nil || !bytes.Equal(facts, v.Facts) {
		t.Errorf("the committed link: %v\n%s\nnow %s", err, facts, v.Facts)
	}
	same(t, "certificate-number.json", v)
}

func TestNewNumbersCheckAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		for prefix, length := range map[string]int{"": 21, manualPrefix: 22, "690100": 27} {
			n, err := newNumber(prefix, "07", time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)) // the 23rd in Beijing
			if err != nil || len(n) != length || seen[n] || check(t, n[:length-1]) != n[length-1] || !strings.HasPrefix(n, prefix+"2026112307") {
				t.Fatalf("%q, %v", n, err)
			}
			if want := map[bool]string{true: "07"}[prefix == ""]; Slot(n) != want {
				t.Fatalf("slot of %s", n)
			}
			seen[n] = true
		}
	}
}

func fixedKey(t *testing.T, private string) *jose.Key {
	t.Helper()
	raw, err := hex.DecodeString(private)
	if err != nil {
		t.Fatal(err)
	}
	k, err := sm2.NewPrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return jose.NewKey(k)
}

// once keeps a committed token, whose value is random.
func once(t *testing.T, committed string, make func() (string, error)) string {
	t.Helper()
	if !*update {
		return committed
	}
	token, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func load(t *testing.T, name string, v any) {
	t.Helper()
	raw, err := os.ReadFile(vectorDir + name)
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil && !*update {
		t.Fatal(err)
	}
}

// same compares v with the committed file, or writes it.
func same(t *testing.T, name string, v any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(vectorDir+name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if committed, err := os.ReadFile(vectorDir + name); err != nil || !bytes.Equal(b.Bytes(), committed) {
		t.Errorf("the format is not the one of %s any more; now\n%s", name, b.Bytes())
	}
}

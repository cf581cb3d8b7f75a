package exchange

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"yizheng/catalog"
	"yizheng/identity/jose"
	"yizheng/seal"
	"yizheng/seal/pdf"
)

// issued is one sealed document on its way out. The bytes are wiped after release.
type issued struct {
	number string
	issuer string
	secret Secret
	file   []byte
	until  time.Time
	use    seal.Use
	root   []byte // FieldsRoot of what was handed over
	glyphs []rune // not empty: no document, these characters are missing
	blank  bool   // stands in the place of a sensitive proof's document
}

// wipe clears what can be cleared. The secret and the file are out by now, encrypted.
func (is *issued) wipe() {
	if is != nil {
		clear(is.file)
		clear(is.secret[:])
	}
}

// blank is what a sensitive proof without a document gets in the log: a random
// commitment and, where a document could have been, a number that none bears.
// It is nil for other proofs.
func (s *Service) blank(pt *part) (*issued, error) {
	if !pt.proof.Sensitive {
		return nil, nil
	}
	is := &issued{blank: true}
	if _, err := rand.Read(is.secret[:]); err != nil {
		return nil, fmt.Errorf("blank: %w", err)
	}
	is.root = mac(is.secret.Seed(), []byte("yizheng-nothing-v1"))
	is.until = pt.proof.Validity.Until(s.now().In(beijing))
	var err error
	is.number, err = newNumber(s.release.Catalogue.City.Code, s.slot, s.now())
	return is, err
}

// issue renders a found proof and has it sealed with its issuer's seal. A
// character without a glyph is not an error: the data may go, the document may not.
func (s *Service) issue(ctx context.Context, x *Exchange, pt *part, v verdict) (*issued, error) {
	is := &issued{}
	if _, err := rand.Read(is.secret[:]); err != nil {
		return nil, fmt.Errorf("issue: %w", err)
	}
	var err error
	if is.root, err = FieldsRoot(is.secret.Seed(), v.records); err != nil {
		return nil, fmt.Errorf("issue: %w", err)
	}
	sealID, issuer, err := s.issuer(pt.proof, v)
	if err != nil {
		return nil, err
	}
	is.issuer = issuer.Name
	if pt.grant.Output == catalog.OutputData {
		return is, nil
	}
	at := s.now()
	is.until = pt.proof.Validity.Until(at.In(beijing))
	if is.number, err = newNumber(s.release.Catalogue.City.Code, s.slot, at); err != nil {
		return nil, err
	}
	doc, err := s.document(x, pt, v, is, at)
	if err != nil {
		return nil, err
	}
	if doc.SealPicture, doc.SealName, err = s.seals.Picture(string(sealID)); err != nil {
		return nil, fmt.Errorf("issue: seal %s: %w", sealID, err)
	}
	slot, err := s.seals.Slot(string(sealID))
	if err != nil {
		return nil, fmt.Errorf("issue: seal %s: %w", sealID, err)
	}
	draft, err := s.renderer.Render(doc, slot)
	var missing *pdf.GlyphMissingError
	if errors.As(err, &missing) {
		is.glyphs = missing.Runes
		return is, nil
	}
	if err != nil {
		return nil, fmt.Errorf("issue: render %s: %w", pt.proof.Code, err)
	}
	if is.file, is.use, err = s.seals.Sign(ctx, string(sealID), draft, at); err != nil {
		return nil, fmt.Errorf("issue: seal %s: %w", sealID, err)
	}
	return is, nil
}

// issuer applies the proof's issuer rule to the answer.
func (s *Service) issuer(proof catalog.Proof, v verdict) (catalog.SealID, catalog.Department, error) {
	id := proof.Issuer.For(v.full)
	sl, ok := s.release.Catalogue.Seal(id)
	if !ok {
		return "", catalog.Department{}, fmt.Errorf("issue: proof %s: no seal for this issuer", proof.Code)
	}
	return id, s.department(sl.Department), nil
}

// document lays the certificate out; nothing in it is not in the answer, the catalogue or the request.
func (s *Service) document(x *Exchange, pt *part, v verdict, is *issued, at time.Time) (pdf.Document, error) {
	proof := pt.proof
	person := pt.subject.claims.Person
	fill := strings.NewReplacer(
		"{name}", v.name, "{number}", person.Number.Reveal(), "{issuer}", is.issuer,
		"{time}", v.wording.DataTime, "{date}", chineseDate(at), "{until}", chineseDate(is.until),
		"{scope}", v.wording.Scope, "{city}", s.release.Catalogue.City.Name,
		"{purpose}", x.plan.purpose.Text, "{item}", x.plan.item.Name, "{count}", fmt.Sprint(len(v.records)),
	)
	d := pdf.Document{
		Title: proof.Title, Issuer: is.issuer, Number: is.number,
		IssuedAt: at.In(beijing), DataTime: v.dataTime.In(beijing), ValidUntil: is.until.In(beijing),
		Body: fill.Replace(proof.Body), Conclusion: fill.Replace(proof.Validity.Wording),
		Purpose: x.plan.purpose.Text, ItemName: x.plan.item.Name, Watermark: watermark(proof.Level, is.issuer, is.until),
		Authenticity: authenticityText(v.auth), Seed: is.secret.Seed(), Receipt: x.intent.String(),
	}
	for _, n := range proof.Notes {
		d.Notes = append(d.Notes, fill.Replace(n))
	}
	if v.stale {
		d.Notes = append(d.Notes, "数据可能过期：来源数据时间早于其更新周期。")
	}
	if len(v.missing) > 0 {
		d.Notes = append(d.Notes, "部分结果：不含"+v.wording.Missing+"的数据。")
	}
	switch {
	case proof.Cardinality.Max == 1:
		d.Rows = rows(pt, v.records[0])
	case len(pt.fields) > widestTable:
		for i, r := range v.records {
			caption := fmt.Sprintf("第 %d 项，共 %d 项", i+1, len(v.records))
			if len(v.records) == 1 {
				caption = "" // the opening sentence says that there is one
			}
			d.Records = append(d.Records, pdf.Record{Caption: caption, Rows: rows(pt, r)})
		}
	default:
		d.Tables = []pdf.Table{table(pt, v.records)}
	}
	var err error
	d.QR, err = s.qr(pt, v, is, at)
	return d, err
}

// widestTable is how many columns still read well across a page; what has more
// fields is printed record by record.
const widestTable = 8

func rows(pt *part, record map[string]any) []pdf.Row {
	var list []pdf.Row
	for _, f := range grantedFields(pt) {
		list = append(list, pdf.Row{Label: f.Label, Value: display(f, record[f.Name])})
	}
	return list
}

func table(pt *part, records []map[string]any) pdf.Table {
	var t pdf.Table
	fields := grantedFields(pt)
	for _, f := range fields {
		t.Columns = append(t.Columns, pdf.Column{Label: f.Label})
	}
	for _, r := range records {
		row := make([]string, len(fields))
		for i, f := range fields {
			row[i] = display(f, r[f.Name])
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// grantedFields keeps the proof's order, which is the order of print.
func grantedFields(pt *part) []catalog.Field {
	granted := make(map[string]bool, len(pt.fields))
	for _, f := range pt.fields {
		granted[f] = true
	}
	var list []catalog.Field
	for _, f := range pt.proof.Fields {
		if granted[f.Name] {
			list = append(list, f)
		}
	}
	return list
}

// qr is the link printed on the paper. Its fragment never leaves a browser: the
// secret, and the signed key facts that let paper be checked without asking anybody.
func (s *Service) qr(pt *part, v verdict, is *issued, at time.Time) (string, error) {
	number := pt.subject.claims.Person.Number.Reveal()
	facts, err := json.Marshal(qrFacts{
		Number: is.number, Title: pt.proof.Title, Name: maskName(v.name), Tail: number[len(number)-4:],
		Conclusion: string(Found), Issuer: is.issuer, Date: at.In(beijing).Format("20060102"),
		Until: is.until.In(beijing).Format("20060102"), Root: base64.RawURLEncoding.EncodeToString(is.root),
	})
	if err != nil {
		return "", fmt.Errorf("issue: QR: %w", err)
	}
	token, err := jose.Sign(s.key, TypeQR, facts)
	if err != nil {
		return "", fmt.Errorf("issue: QR: %w", err)
	}
	secret := base64.RawURLEncoding.EncodeToString(is.secret[:])
	return s.release.Catalogue.City.VerifyURL + "/v/" + is.number + "#1." + secret + "." + token, nil
}

// TypeQR is the JWS typ of the signed facts in a QR fragment.
const TypeQR = "yz-qr+jws"

type qrFacts struct {
	Number     string `json:"n"`
	Title      string `json:"p"`
	Name       string `json:"s"` // masked
	Tail       string `json:"t"` // last four characters of the ID number
	Conclusion string `json:"c"`
	Issuer     string `json:"o"`
	Date       string `json:"d"`
	Until      string `json:"u"`
	Root       string `json:"r"` // FieldsRoot
}

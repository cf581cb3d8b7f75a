package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/seal"
	"yizheng/seal/pdf"
	"yizheng/seal/pdf/pdftest"
)

func TestPrintOrderOfAMatterFollowsItAndTellsWhatCameOfEveryProof(t *testing.T) {
	dir := t.TempDir()
	fonts, err := pdf.LoadFonts(pdftest.WriteFont(t, dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fonts.Close() })
	r, err := pdf.NewRenderer(fonts)
	if err != nil {
		t.Fatal(err)
	}
	paper := func(name, title, number string) string {
		draft, err := r.Render(pdf.Document{Title: title, Issuer: "示例市", Number: number, IssuedAt: time.Now(), Seed: make([]byte, pdf.SeedSize)}, pdf.SignatureSlot{})
		if err != nil {
			t.Fatal(err)
		}
		file, err := draft.Fill([]byte{0x30, 0})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	state := filepath.Join(dir, "exchange.json")
	raw, err := json.Marshal(exchange.View{Exchange: "20261122008Q2V6JZ4TXQ", Case: "SL-1", Parts: []exchange.PartView{
		{Name: "户籍信息", State: "released", Code: exchange.Found, Sentence: "已查到。", Number: "N1"},
		{Name: "婚姻登记信息", State: "released", Code: exchange.Pending, Sentence: "需民政局人工核验。", Manual: "M-7"},
		{Name: "不动产登记信息", State: "deferred"},
		{Name: "社会保险", State: "released", Code: exchange.Found, Sentence: "已查到。", Number: "N4"},
		{Name: "住房公积金", Role: catalog.RoleSpouse, State: "released", Code: exchange.Found, Sentence: "已查到。", Number: "N5"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	first, fourth, other := paper("a.pdf", "户籍信息", "N1"), paper("b.pdf", "社会保险", "N4"), paper("c.pdf", "社会保险", "N9")

	trust := noTrust(t)
	d, seals, err := matterOrder(state)(t.Context(), []string{fourth, first}, trust, "公共租赁住房", "窗口", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"1", "户籍信息\nN1", "已查到。", "核验不通过", "1"}, {"2", "婚姻登记信息", "需民政局人工核验。（受理号M-7）", "—", "—"},
		{"3", "不动产登记信息", "延时办理，尚无结果。", "—", "—"}, {"4", "社会保险\nN4", "已查到。", "核验不通过", "2"}, {"5", "住房公积金（配偶）\nN5", "已查到。", "—", "—"}}
	for i, row := range d.Tables[0].Rows {
		if strings.Join(row, "|") != strings.Join(want[i], "|") {
			t.Errorf("row %d: %q", i+1, row)
		}
	}
	if len(seals) != 2 || len(d.Attachments) != 2 || d.Attachments[0].Name != "01-a.pdf" || d.Attachments[1].Name != "02-b.pdf" || d.Number != "20261122008Q2V6JZ4TXQ" {
		t.Errorf("attached %+v", d.Number)
	}
	if d.Caution != "第5项已出具，但文件未附。" || !strings.Contains(d.Body, "共需证明5项，已附2份") {
		t.Errorf("%s %s", d.Caution, d.Body)
	}
	if _, err := r.PrintOrder(d); err != nil {
		t.Error(err)
	}
	for name, paths := range map[string][]string{"of another exchange": {first, other}, "given twice": {first, first}, "no PDF": {state}} {
		if _, _, err := matterOrder(state)(t.Context(), paths, trust, "", "窗口", time.Now()); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, _, err := matterOrder(first)(t.Context(), nil, trust, "", "窗口", time.Now()); err == nil {
		t.Error("a PDF in the place of the state is taken")
	}
}

// noTrust trusts a root that has issued nothing.
func noTrust(t *testing.T) *seal.Trust {
	t.Helper()
	dir := t.TempDir()
	years := seal.Validity{From: time.Now(), Until: time.Now().AddDate(1, 0, 0)}
	root, err := seal.MakeRoot(seal.Subject{Name: "测试根"}, years)
	if err != nil {
		t.Fatal(err)
	}
	maker, err := seal.MakeMaker(root, seal.Subject{Name: "制章中心"}, years)
	for path, of := range map[string]seal.Credential{"roots/root.crt": root, "makers/maker.crt": maker} {
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, path), of.CertPEM(), 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	trust, err := seal.LoadTrust(dir)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

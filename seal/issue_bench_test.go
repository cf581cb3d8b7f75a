package seal

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/keystore"
	"yizheng/seal/pdf"
)

// The benchmarks issue a certificate of fourteen facts with the fonts of
// production, a seal of 300 dpi and a software key, on one core. Names, addresses
// and numbers differ from document to document.

// issuance is what a front needs to issue.
type issuance struct {
	registry *Registry
	trust    *Trust
	renderer *pdf.Renderer
	fontPath string
	picture  pdf.Picture
	name     string
	slot     pdf.SignatureSlot
	key      *Credential
}

func newIssuance(b *testing.B) *issuance {
	b.Helper()
	oneCore(b)
	dir := os.Getenv("YIZHENG_FONTS")
	if dir == "" {
		dir = "/usr/share/fonts/truetype"
	}
	i := &issuance{fontPath: filepath.Join(dir, "babelstone/BabelStoneHan.ttf")}
	c := newCity(b)
	c.font = i.fontPath
	c.picture = c.ok2(DrawRoundSeal(RoundSeal{FontPath: c.font, Name: "云州市民政局", Purpose: "业务专用章", Code: esid}))
	c.seal, c.dir = c.ok2(MakeSeal(c.maker, c.order())), b.TempDir()
	c.ok(WriteSealDir(c.dir, "mz", SealDir{Seal: c.seal, Holder: c.holder, Since: born}))
	i.trust = c.trust()
	i.registry, i.key = c.registry(RegistryOptions{Trust: i.trust}), &c.holder
	fonts, err := pdf.LoadFonts(i.fontPath, []string{filepath.Join(dir, "hanazono/HanaMinA.ttf"), filepath.Join(dir, "hanazono/HanaMinB.ttf")})
	c.ok(err)
	b.Cleanup(func() { fonts.Close() })
	i.renderer, err = pdf.NewRenderer(fonts)
	c.ok(err)
	i.picture, i.name, err = i.registry.Picture("mz")
	c.ok(err)
	i.slot, err = i.registry.Slot("mz")
	c.ok(err)
	return i
}

// The parts from which the persons of the benchmark are made; all fictional.
var (
	someNames   = []string{"王建国", "李秀英", "张伟", "刘洋洋", "陈静怡", "杨帆", "赵磊", "黄丽华", "周涛", "吴敏"}
	rareNames   = []string{"李𬸚", "王㐂", "张𠮷", "刘𤧟", "陈䶮", "杨𬭎", "赵𬴊", "黄㛃", "周𫖯", "吴𬱖"}
	someStreets = []string{"和平里小区", "建设路", "滨河花园", "向阳新村", "文昌街", "长青巷", "东湖大道", "望江苑", "梧桐里", "麒麟门"}
	someUnits   = []string{"机械制造厂", "第二中学", "纺织公司", "客运站", "供水公司", "人民医院", "园林处", "物流中心", "粮油商场", "印刷厂"}
)

// templateText is what the department's template says in every certificate.
const templateText = "兹证明（公民身份号码：）的家庭已被纳入本市城市居民最低生活保障范围，保障待遇自起按月发放，截至查询之时仍在享受之中。具体信息如下：" +
	"城市最低生活保障农村最低生活保障特此证明正常停发示例市城东区城西区示例县（户主）、（配偶）、（子女）民族汉族人民路街道建设社区号楼单元室" +
	"本证明由系统依据申请人本人刷卡授权即时查询生成，加盖电子印章后与纸质证明具有同等效力。" +
	"扫描左侧二维码或登录政务服务网可核验本证明真伪；打印件以核验结果为准。此件由云州市民政局提供，仅供办理政务服务事项时使用，有效期至" +
	"申请公共租赁住房受控通道（来源未签名）"

// documents are a hundred certificates: few enough that the collector does not go
// over the benchmark's own memory rather than the program's.
func (i *issuance) documents(names []string) []pdf.Document {
	list := make([]pdf.Document, 100)
	for n := range list {
		list[n] = i.document(n, names)
	}
	return list
}

// document is the n-th certificate, with names from a list.
func (i *issuance) document(n int, names []string) pdf.Document {
	name, unit, street := names[n%10], someUnits[n/10%10], someStreets[(n/100+n)%10]
	number := fmt.Sprintf("6901021990%02d%02d%04d", n/28%12+1, n%28+1, n%10000)
	at := signed
	secret := make([]byte, 16)
	rand.Read(secret)
	return pdf.Document{
		Title: "最低生活保障证明", Issuer: "云州市民政局", Number: fmt.Sprintf("69010020260301%08d-K", n), Template: templateText,
		IssuedAt: at, DataTime: at.Add(-10 * time.Minute), ValidUntil: at.AddDate(0, 3, 0),
		Body: "兹证明" + name + "（公民身份号码：" + number + "）的家庭已被纳入本市城市居民最低生活保障范围，保障待遇自2024年7月1日起按月发放，截至查询之时仍在享受之中。具体信息如下：",
		Rows: []pdf.Row{
			{Label: "户主姓名", Value: name}, {Label: "公民身份号码", Value: number},
			{Label: "低保证号", Value: fmt.Sprintf("690102%09d", n)}, {Label: "保障人口", Value: "3人"},
			{Label: "保障类别", Value: "城市最低生活保障"}, {Label: "状态", Value: "正常"},
			{Label: "月保障金额", Value: fmt.Sprintf("%d,%03d.00元", n%3+1, n%1000)}, {Label: "批准日期", Value: "2024年7月1日"},
			{Label: "家庭住址", Value: fmt.Sprintf("示例市城东区人民路街道%s%d号楼%d单元%d室", street, n%40+1, n%5+1, n%20*100+1)}, {Label: "户主单位", Value: "云州市" + unit},
		},
		Conclusion: "特此证明。", Purpose: "申请公共租赁住房", ItemName: "公共租赁住房申请", Authenticity: "受控通道（来源未签名）",
		Notes: []string{
			"本证明由系统依据申请人本人刷卡授权即时查询生成，加盖电子印章后与纸质证明具有同等效力。",
			"扫描左侧二维码或登录政务服务网可核验本证明真伪；打印件以核验结果为准。",
		},
		Watermark: "此件由云州市民政局提供，仅供办理政务服务事项时使用，有效期至2026年6月1日",
		QR:        "https://verify.example.gov.cn/v/690100202603010000000K#1." + base64.RawURLEncoding.EncodeToString(secret) + "." + token,
		Seed:      append(make([]byte, 16), secret...), Receipt: "yizheng.test/audit 17 c2FtcGxlLWxlYWYtaGFzaA==",
		SealPicture: i.picture, SealName: i.name, Signer: "云州市民政局",
	}
}

// token stands for the signed facts of the QR code, which are as long.
var token = func() string {
	b := make([]byte, 390)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}()

func (i *issuance) issue(b *testing.B, d pdf.Document) []byte {
	draft, err := i.renderer.Render(d, i.slot)
	if err != nil {
		b.Fatal(err)
	}
	file, _, err := i.registry.Sign(context.Background(), "mz", draft, d.IssuedAt)
	if err != nil {
		b.Fatal(err)
	}
	return file
}

// BenchmarkIssuePage renders, seals and signs pages, beside the cryptography that
// cannot be avoided and beside fpdf drawing the same text, in one run.
func BenchmarkIssuePage(b *testing.B) {
	i := newIssuance(b)
	var limit, page float64 // seconds
	b.Run("limit", func(b *testing.B) { limit = i.limit(b, i.documents(someNames)) })
	b.Run("page", func(b *testing.B) {
		page = i.run(b, i.documents(someNames))
		b.ReportMetric(page/limit, "x-limit")
	})
	b.Run("rare name", func(b *testing.B) { b.ReportMetric(i.run(b, i.documents(rareNames))/page, "x-page") })
	b.Run("no QR code", func(b *testing.B) {
		bare := i.documents(someNames)
		for n := range bare {
			bare[n].QR = ""
		}
		b.ReportMetric(i.run(b, bare)/page, "x-page")
	})
	b.Run("fpdf", func(b *testing.B) { b.ReportMetric(i.fpdf(b, i.documents(someNames))/page, "x-page") })
}

// BenchmarkVerifyPage verifies such pages, each another one, beside the two SM2
// signatures that each of them holds. Page is what a department meets: kind and seal
// of the page have been seen. First is a verifier that has seen nothing yet, neither
// certificates nor seal nor kind, and so does verify both signatures, and the chains'.
func BenchmarkVerifyPage(b *testing.B) {
	i := newIssuance(b)
	var files [][]byte
	for _, d := range i.documents(someNames) {
		files = append(files, i.issue(b, d))
	}
	var raw float64 // seconds
	b.Run("raw", func(b *testing.B) { raw = twoSignatures(b, i.key) })
	for _, c := range []struct {
		name   string
		before func()
	}{{"page", func() {}}, {"first", i.trust.forget}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			each := perRound(b, func(n int) {
				c.before()
				if r := Verify(files[n%len(files)], i.trust, now); !r.Overall {
					b.Fatalf("%+v", r.Checks)
				}
			})
			b.ReportMetric(each/raw, "x-raw")
		})
	}
}

// forget makes a trust that has verified nothing yet of one that nobody uses.
func (t *Trust) forget() {
	t.chains, t.certs, t.seals, t.kids = recent[heldChain]{}, recent[*smx509.Certificate]{}, recent[*smx509.Certificate]{}, recent[string]{}
	t.kinds, t.begun = keystore.Beginnings{}, keystore.Beginnings{}
}

// BenchmarkIssuePages shows that the cost grows with the pages and no faster.
func BenchmarkIssuePages(b *testing.B) {
	i := newIssuance(b)
	var perRow float64
	for _, rows := range []int{100, 200, 400, 800} {
		b.Run(fmt.Sprintf("%d rows", rows), func(b *testing.B) {
			d := i.document(1, someNames)
			t := pdf.Table{Columns: []pdf.Column{{Label: "缴费年月"}, {Label: "参保状态"}, {Label: "缴费基数"}, {Label: "单位缴费"}}}
			for n := range rows {
				t.Rows = append(t.Rows, []string{fmt.Sprintf("%d年%d月", 1980+n/12, n%12+1), "正常", fmt.Sprintf("%d.00", 3000+n), fmt.Sprintf("%d.08", 300+n)})
			}
			d.Tables = []pdf.Table{t}
			each := i.run(b, []pdf.Document{d}) / float64(rows)
			if perRow == 0 {
				perRow = each
			}
			b.ReportMetric(each/perRow, "x-row-of-100")
		})
	}
}

// run issues documents in turn and returns the seconds of one.
func (i *issuance) run(b *testing.B, docs []pdf.Document) float64 {
	i.issue(b, docs[0]) // makes what these documents have in common
	var before, after runtime.MemStats
	times, size := make([]time.Duration, 0, 1<<18), 0
	runtime.ReadMemStats(&before)
	each := perRound(b, func(n int) {
		start := time.Now()
		size += len(i.issue(b, docs[n%len(docs)]))
		times = append(times, time.Since(start))
	})
	runtime.ReadMemStats(&after)
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds()), "p99-ns")
	b.ReportMetric(float64(size)/float64(b.N), "file-B")
	b.ReportMetric((float64(after.TotalAlloc-before.TotalAlloc)-float64(size))/float64(b.N), "above-file-B")
	return each
}

// limit is one SM2 signature, and SM3 over what two documents do not share.
func (i *issuance) limit(b *testing.B, docs []pdf.Document) float64 {
	x, y := i.issue(b, docs[0]), i.issue(b, docs[1])
	shared := 0
	for shared < min(len(x), len(y)) && x[shared] == y[shared] {
		shared++
	}
	own := x[min(shared, len(x)-1) : len(x)-2*i.slot.MaxBytes]
	return perRound(b, func(int) {
		digest := sm3.Sum(own)
		if _, err := sm2.SignASN1(rand.Reader, i.key.Key.SM2(), digest[:], nil); err != nil {
			b.Fatal(err)
		}
	})
}

// fpdf draws the same text with the library, without lines, QR code, picture and
// signature. The font is read beforehand.
func (i *issuance) fpdf(b *testing.B, docs []pdf.Document) float64 {
	font, err := os.ReadFile(i.fontPath)
	if err != nil {
		b.Fatal(err)
	}
	return perRound(b, func(n int) {
		d := docs[n%len(docs)]
		f := fpdf.New("P", "mm", "A4", "")
		f.AddUTF8FontFromBytes("body", "", font)
		f.AddPage()
		f.SetFont("body", "", 25)
		f.CellFormat(0, 14, d.Title, "", 1, "C", false, 0, "")
		f.SetFont("body", "", 12)
		f.MultiCell(0, 8, d.Body, "", "L", false)
		for _, r := range d.Rows {
			f.CellFormat(40, 8, r.Label, "1", 0, "C", false, 0, "")
			f.CellFormat(0, 8, r.Value, "1", 1, "L", false, 0, "")
		}
		for _, s := range append([]string{d.Conclusion, d.Purpose, d.ItemName, d.Authenticity, d.Issuer, d.Watermark}, d.Notes...) {
			f.MultiCell(0, 8, s, "", "L", false)
		}
		if err := f.Output(io.Discard); err != nil {
			b.Fatal(err)
		}
	})
}

package pdf

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"strings"
	"time"
)

// The sample documents of the tests. Persons and departments are the fictional
// ones of the demo city.

// ringPicture is a red ring, enough to see where a seal lies.
func ringPicture() Picture {
	const n = 240
	img := image.NewNRGBA(image.Rect(0, 0, n, n))
	for y := range n {
		for x := range n {
			r := math.Hypot(float64(x)-n/2+0.5, float64(y)-n/2+0.5)
			if r < n/2-2 && r > n/2-12 || r < 14 {
				img.SetNRGBA(x, y, color.NRGBA{200, 20, 30, 220})
			}
		}
	}
	p, err := NewPicture(img, 42, 42)
	if err != nil {
		panic(err)
	}
	return p
}

func sampleDocument() Document {
	at := time.Date(2025, 3, 5, 2, 15, 0, 0, time.UTC)
	return Document{
		Title: "最低生活保障证明", Issuer: "云州市民政局", Number: "6901002025030500000123-K",
		IssuedAt: at, DataTime: at.Add(-10 * time.Minute), ValidUntil: at.AddDate(0, 3, 0),
		Body: "兹证明李𬸚（公民身份号码：690102199003072316）的家庭已被纳入本市城市居民最低生活保障范围，保障待遇自2024年7月1日起按月发放，截至查询之时仍在享受之中。具体信息如下：",
		Rows: []Row{
			{"姓名", "李𬸚"}, {"公民身份号码", "690102199003072316"},
			{"保障类别", "城市最低生活保障"}, {"保障人口", "3人"},
			{"保障家庭成员", "李𬸚（户主）、王㐂（配偶）、阿依古丽·买买提（子女）"},
			{"家庭住址", "云州市东城区人民路街道建设社区和平里小区第十二号楼三单元二十四层2402室（原解放路老机械厂家属院四号楼旧址）"},
			{"月保障金额", "1,860.00元"}, {"起始年月", "2024年7月"},
		},
		Conclusion:   "特此证明。",
		Purpose:      "申请公共租赁住房",
		ItemName:     "公共租赁住房申请",
		Authenticity: "云州市民政局社会救助系统，答复经来源单位签名",
		Notes: []string{
			"本证明由系统依据申请人本人刷卡授权即时查询生成，加盖电子印章后与纸质证明具有同等效力。",
			"扫描左侧二维码或登录云州市政务服务网可核验本证明真伪；打印件以核验结果为准。",
		},
		Watermark:   "此件由云州市民政局提供，仅供办理政务服务事项时使用，有效期至2025年6月5日",
		QR:          "https://localhost:8443/v/6901002025030500000123-K#" + strings.Repeat("Ab3_", 40),
		Seed:        []byte(strings.Repeat("s", SeedSize)),
		Receipt:     "yizheng.demo/audit 17 c2FtcGxlLWxlYWYtaGFzaA==",
		SealPicture: ringPicture(), SealName: "云州市民政局证明专用章", Signer: "云州市民政局",
	}
}

func insuranceDocument(rows int) Document {
	d := sampleDocument()
	d.Title, d.Issuer = "社会保险个人参保缴费证明", "云州市社会保险事业管理中心"
	d.Body = "兹证明王㐂在本市参加社会保险，参保缴费情况如下："
	d.Rows = []Row{{"姓名", "王㐂"}, {"社会保障号码", "690102198811230027"}, {"个人编号", "69010088231"}, {"参保状态", "正常参保"}}
	t := Table{Caption: "缴费明细", Columns: []Column{{"序号", AlignCenter, 0}, {"费款所属期", AlignCenter, 0}, {"险种", AlignCenter, 0},
		{"缴费单位", AlignLeft, 0}, {"缴费基数（元）", AlignRight, 0}, {"个人缴费（元）", AlignRight, 0}}}
	for i := range rows {
		unit := "云州市第一机械制造有限责任公司"
		if i%7 == 3 {
			unit = "云州经济技术开发区宏远人力资源服务外包有限公司东城分公司"
		}
		t.Rows = append(t.Rows, []string{fmt.Sprint(i + 1), fmt.Sprintf("%d年%d月", 2020+i/12, i%12+1),
			"企业职工基本养老保险", unit, fmt.Sprintf("%d,%03d.00", 5+i/12, 100+i), fmt.Sprintf("%d.%02d", 408+i, i)})
	}
	d.Tables = []Table{t}
	d.Conclusion = "以上缴费记录截至数据时间有效，特此证明。"
	d.Watermark = "此件由云州市社会保险事业管理中心提供，仅供办理政务服务事项时使用，有效期至2025年6月5日"
	return d
}

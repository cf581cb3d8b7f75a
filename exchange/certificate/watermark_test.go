package certificate

import (
	"strings"
	"testing"
)

// The sentences are those of 国办函〔2016〕108号, with the blanks × filled in.
func TestWatermarksAreTheSentencesOfTheGuide(t *testing.T) {
	guide := map[string]string{
		"A": "此件由××机构提供，仅供办理政务服务事项时使用，有效期至×年×月×日",
		"B": "此件经与原件核对无误，仅供办理政务服务事项时使用，有效期至×年×月×日",
		"C": "此件由本用户按原件上传，请政务服务窗口人员受理时与原件核对",
		"D": "本用户对此材料的真实性负责",
	}
	for level, sentence := range guide {
		c := of(t, "SI-01", map[string]any{"month": "2026-09"})
		c.Proof.Level, c.Purpose = level, "申请公共租赁住房"
		want := strings.NewReplacer("××机构", c.Issuer, "×年×月×日", Date(c.Until())).Replace(sentence)
		d := c.Document("")
		if d.Watermark != want {
			t.Errorf("%s: %s, want %s", level, d.Watermark, want)
		}
		if strings.Contains(d.Watermark, c.Purpose) || d.Purpose != c.Purpose {
			t.Errorf("%s: the purpose %q is to stand apart from %q", level, d.Purpose, d.Watermark)
		}
	}
}

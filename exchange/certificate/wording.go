package certificate

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"yizheng/catalog"
	"yizheng/catalog/beijing"
)

// Date writes 2025年3月5日: Arabic numerals, no leading zeros (GB/T 9704-2012 7.3.5.4).
func Date(t time.Time) string {
	t = t.In(beijing.Zone())
	return fmt.Sprintf("%d年%d月%d日", t.Year(), t.Month(), t.Day())
}

// Time writes 2025年3月5日14时07分.
func Time(t time.Time) string {
	t = t.In(beijing.Zone())
	return Date(t) + t.Format("15时04分")
}

// watermark is the sentence of 国办函〔2016〕108号 for the trust level, word for word.
func watermark(level, issuer string, until time.Time) string {
	switch level {
	case "A":
		return "此件由" + issuer + "提供，仅供办理政务服务事项时使用，有效期至" + Date(until)
	case "B":
		return "此件经与原件核对无误，仅供办理政务服务事项时使用，有效期至" + Date(until)
	case "C":
		return "此件由本用户按原件上传，请政务服务窗口人员受理时与原件核对"
	default:
		return "本用户对此材料的真实性负责"
	}
}

// authenticityText is how sure the answer's origin is, printed on the document.
func authenticityText(a catalog.Authenticity) string {
	switch a {
	case catalog.AuthSignature:
		return "数据由提供单位数字签名"
	case catalog.AuthPeerMAC:
		return "数据经平台报文鉴别码验证"
	default:
		return "数据经受控通道取得，未附来源签名"
	}
}

// maskName keeps the first character of a name.
func maskName(name string) string {
	r := []rune(name)
	if len(r) < 2 {
		return name
	}
	return string(r[0]) + strings.Repeat("*", len(r)-1)
}

// display writes a value as people read it.
func display(f catalog.Field, value any) string {
	s := plain(value)
	switch {
	case s == "":
		return "—"
	case f.Mask:
		return maskMiddle(s)
	}
	switch f.Type {
	case "date":
		if t, err := time.Parse(time.DateOnly, s); err == nil {
			return fmt.Sprintf("%d年%d月%d日", t.Year(), t.Month(), t.Day())
		}
	case "month":
		if t, err := time.Parse("2006-01", s); err == nil {
			return fmt.Sprintf("%d年%d月", t.Year(), t.Month())
		}
	case "money":
		return s + "元"
	case "code":
		if text, ok := f.Codes[s]; ok {
			return text
		}
	}
	return s
}

func plain(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "是"
		}
		return "否"
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = plain(e)
		}
		return strings.Join(parts, "、")
	case json.Number:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

func maskMiddle(s string) string {
	r := []rune(s)
	if len(r) <= 4 {
		return maskName(s)
	}
	keep := min(4, len(r)/4+1)
	return string(r[:keep]) + strings.Repeat("*", len(r)-2*keep) + string(r[len(r)-keep:])
}

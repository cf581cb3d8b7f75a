package exchange

import "strings"

// Code is how a leg, and the proof it serves, ended. Every leg ends in exactly
// one. "Not found" is only ever a department's own answer; everything that
// merely failed has its own code, so that nobody is told they lack something
// because a line was down.
type Code string

const (
	Found        Code = "FOUND"
	NotFound     Code = "NOT_FOUND"
	Multiple     Code = "MULTIPLE"
	Mismatch     Code = "MISMATCH"
	Pending      Code = "PENDING"
	NotIssuable  Code = "NOT_ISSUABLE" // never leaves this package, see Shown
	Timeout      Code = "TIMEOUT"
	Unreachable  Code = "UNREACHABLE"
	SourceError  Code = "SOURCE_ERROR"
	Denied       Code = "DENIED"
	GlyphMissing Code = "GLYPH_MISSING"
)

// Shown is the code a caller, a screen or a record may carry. NOT_ISSUABLE and
// PENDING are one to everybody outside, so that nobody at a window learns from
// a code what the police alone may say.
func (c Code) Shown() Code {
	if c == NotIssuable {
		return Pending
	}
	return c
}

// Retryable reports whether asking the same source again can help.
func (c Code) Retryable() bool {
	return c == Timeout || c == Unreachable || c == SourceError
}

// Answered replaces the code of a sensitive proof wherever people other than
// the asking clerk may look: open audit half, metrics, statistics, shared screens.
const Answered = "ANSWERED"

// Public is the code as the open half of a record may carry it.
func (c Code) Public(sensitive bool) string {
	if sensitive {
		return Answered
	}
	return string(c.Shown())
}

// Wording fills the blanks of a sentence. Unused ones stay empty.
type Wording struct {
	DataTime   string // 截至时间, already formatted
	Issuer     string
	Department string
	Scope      string
	Place      string
	Receipt    string // 受理号
	Since      string
	Contact    string
	Glyphs     string   // U+XXXX list
	Unsealable bool     // SOURCE_ERROR because the issuer's seal must not be used now
	Missing    string   // who did not answer, for a result found in part
	Elsewhere  []string // scopes in which other sources found nothing, when one has failed
	Untold     bool     // of a sensitive proof: nobody but the asking clerk is told, so the sentence must not say that somebody was
}

// Sentence is what the clerk reads; the wording is fixed for each code.
func (c Code) Sentence(w Wording) string {
	var s string
	switch c {
	case Found:
		s = "已查到，数据截至{time}，已加盖{issuer}电子印章。"
	case NotFound:
		s = "{dept}答复：截至{time}，在{scope}内未查到；不等于没有。"
	case Multiple:
		s = "查到多条，无法确认，请{dept}核实。"
	case Mismatch:
		s = "返回信息与证件不一致，未采用，已转{dept}；重试无效。"
		if w.Untold {
			s = "返回信息与证件不一致，未采用，请{dept}核实；重试无效。"
		}
	case Pending, NotIssuable:
		s = "需{dept}人工核验，请凭身份证和受理号{receipt}到{place}办理。"
	case Timeout:
		s = "{dept}未按时答复，不代表未查到；可重试。"
	case Unreachable:
		s = "{dept}网络自{since}起中断，不代表未查到；恢复后刷证重试。"
	case SourceError:
		s = "{dept}系统异常，已告警；稍后重试。"
		if w.Untold {
			s = "{dept}系统异常；稍后重试，仍不成请与其联系。"
		}
		if w.Unsealable {
			s = "签发单位的印章当前停用或失效，未出具文书；请联系印章管理员，启用后重试。"
		}
	case Denied:
		s = "本事项无权取用此项，请联系{contact}。"
	case GlyphMissing:
		s = "姓名含缺字 {glyphs}，未盖章；数据可先核对，已转字库管理员。"
		if w.Untold {
			s = "姓名含缺字 {glyphs}，未盖章；数据可先核对，请告知字库管理员补字。"
		}
	}
	s = strings.NewReplacer("{time}", w.DataTime, "{issuer}", w.Issuer, "{dept}", w.Department,
		"{scope}", w.Scope, "{receipt}", w.Receipt, "{place}", w.Place, "{since}", w.Since,
		"{contact}", w.Contact, "{glyphs}", w.Glyphs).Replace(s)
	if w.Missing != "" && (c == Found || c == GlyphMissing) {
		s += "部分结果：不含" + w.Missing + "的数据。"
	}
	if len(w.Elsewhere) > 0 {
		s += "其余来源（" + strings.Join(w.Elsewhere, "、") + "）答复未查到。"
	}
	return s
}

// FoundDataOnly is said instead of FOUND's sentence where the grant gives data without a document.
func FoundDataOnly(w Wording) string {
	s := "已查到，数据截至" + w.DataTime + "；本次只提供数据，不出具文书。"
	if w.Missing != "" {
		s += "部分结果：不含" + w.Missing + "的数据。"
	}
	return s
}

package seal

import (
	"fmt"
	"io"
	"time"

	"yizheng/catalog/beijing"
)

// Result of one check.
type Result string

// Results. Unknown means the check could not be carried out, Absent that there was
// nothing to check; neither is a pass.
const (
	OK      Result = "ok"
	Fail    Result = "fail"
	Absent  Result = "absent"
	Unknown Result = "unknown"
)

// Text is a sentence in both languages.
type Text struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

// In returns the sentence in a language: "en", else Chinese.
func (t Text) In(lang string) string {
	if lang == "en" {
		return t.EN
	}
	return t.ZH
}

// and appends a further clause.
func (t Text) and(u Text) Text { return Text{t.ZH + u.ZH, t.EN + u.EN} }

// Check is one of the eight checks of GB/T 39047 5.2.3.3 e).
type Check struct {
	No     int    `json:"no"` // 1 to 8
	Name   Text   `json:"name"`
	Result Result `json:"result"`
	Reason Text   `json:"reason"`
}

// The numbers of the checks.
const (
	CheckFormat      = 1 // 印章数据格式
	CheckSignature   = 2 // 签章签名值
	CheckList        = 3 // 签章者证书与印章证书列表
	CheckSeal        = 4 // 印章有效性
	CheckCertificate = 5 // 签章者证书有效性
	CheckTime        = 6 // 签章时间
	CheckDigest      = 7 // 原文杂凑
	CheckStamp       = 8 // 时间戳
)

var checkNames = [8]Text{
	{"印章数据格式", "seal data format"},
	{"签章签名值", "signature value"},
	{"签章者证书在印章列表中", "signer's certificate in the seal's list"},
	{"印章有效性", "validity of the seal"},
	{"签章者证书有效性", "validity of the signer's certificate"},
	{"签章时间", "signing time"},
	{"原文杂凑", "digest of the document"},
	{"时间戳", "time stamp"},
}

// Report is the answer of Verify. Fields about the seal are filled as far as the
// file could be read, and are worth nothing unless Overall is true.
type Report struct {
	Overall bool     `json:"overall"`
	Checks  [8]Check `json:"checks"`
	// Stopped is the number of the check at which GM/T 0031-2014 6.2.3, which goes
	// format, signature, certificate, time, digest, seal, would have stopped; 0 when
	// Overall is true. The other checks are carried out all the same.
	Stopped int `json:"stopped,omitempty"`

	Standard    string    `json:"standard,omitempty"` // GB/T 38540-2020 and so on
	SealName    string    `json:"sealName,omitempty"`
	ESID        string    `json:"esid,omitempty"`
	Maker       string    `json:"maker,omitempty"`      // common name of the maker
	Signer      string    `json:"signer,omitempty"`     // common name of the signer
	SignerCode  string    `json:"signerCode,omitempty"` // its unified social credit code
	SignerSN    string    `json:"signerSN,omitempty"`   // serial number of its certificate, hex
	SigningTime time.Time `json:"signingTime,omitzero"` // UTC
	StampedAt   time.Time `json:"stampedAt,omitzero"`   // of a time stamp that passes check 8, UTC
	Number      string    `json:"number,omitempty"`     // certificate number, empty for documents not made here
	Receipt     string    `json:"receipt,omitempty"`    // intent receipt of the audit log
	Container   string    `json:"container,omitempty"`  // Filter and SubFilter of the signature field
	ValidUntil  string    `json:"validUntil,omitempty"` // last day the document may be used, 2026-06-30; its own statement
	Expired     bool      `json:"expired,omitempty"`    // that day is over; says nothing against its authenticity

	// Unproven: certificate, seal or maker ended later for a reason that makes the mere
	// claim of an earlier signing time worth nothing, and nobody proves it. See
	// VerifyWitnessed.
	Unproven bool `json:"unproven,omitempty"`

	// Unsealed: nobody has signed the file.
	Unsealed bool `json:"-"`
	// Revocation is what lists and responders said of the certificates, where any was
	// asked; the checks' reasons say it in words.
	Revocation []Standing `json:"-"`

	seed []byte
}

// Seed returns the seed of the document's field commitments, nil for documents not
// made here. It is a secret of the document's owner and is not in the JSON form.
func (r *Report) Seed() []byte { return r.seed }

// set fills one check.
func (r *Report) set(no int, result Result, reason Text) {
	r.Checks[no-1] = Check{no, checkNames[no-1], result, reason}
}

// say puts the same arguments into the sentence of each language.
func say(zh, en string, args ...any) Text {
	return Text{fmt.Sprintf(zh, args...), fmt.Sprintf(en, args...)}
}

// newReport returns a report whose checks are all unknown.
func newReport() Report {
	var r Report
	for no := 1; no <= len(r.Checks); no++ {
		r.set(no, Unknown, say("前面的核验未通过，未能进行", "not carried out, an earlier check failed"))
	}
	return r
}

// standardOrder is that of GM/T 0031-2014 6.2.3, with the list beside the
// certificate, which it names, and the time stamp, which it does not know, at the end.
var standardOrder = [8]int{CheckFormat, CheckSignature, CheckList, CheckCertificate, CheckTime, CheckDigest, CheckSeal, CheckStamp}

// conclude sets Overall: all ok, only the time stamp may be absent.
func (r *Report) conclude() {
	for _, no := range standardOrder {
		if c := r.Checks[no-1]; c.Result != OK && !(no == CheckStamp && c.Result == Absent) {
			r.Stopped = no
			break
		}
	}
	r.Overall = r.Stopped == 0
}

var resultNames = map[Result]Text{
	OK: {"通过", "ok"}, Fail: {"不通过", "FAIL"}, Absent: {"无", "absent"}, Unknown: {"未知", "unknown"},
}

// WriteText writes the report for people, in Chinese or (lang "en") English.
func (r *Report) WriteText(w io.Writer, lang string) error {
	conclusion := Text{"核验不通过，请勿采信。", "NOT verified: do not rely on this document."}
	switch {
	case r.Overall && r.Expired:
		conclusion = Text{"核验通过，但文件已过有效期。", "Verified, but the document is no longer valid by its own terms."}
	case r.Overall:
		conclusion = Text{"核验通过。", "Verified."}
	}
	out := &lines{w: w, lang: lang}
	out.line(conclusion.In(lang))
	out.field(Text{"证明编号", "certificate number"}, r.Number)
	out.field(Text{"印章", "seal"}, joinCode(r.SealName, r.ESID))
	out.field(Text{"签章单位", "signer"}, joinCode(r.Signer, r.SignerCode))
	out.field(Text{"签章证书", "signer's certificate"}, r.SignerSN)
	out.field(Text{"制章单位", "seal maker"}, r.Maker)
	out.field(Text{"遵循标准", "standard"}, r.Standard)
	if !r.SigningTime.IsZero() {
		out.field(Text{"签章时间", "signing time"}, r.SigningTime.In(beijing.Zone()).Format("2006-01-02 15:04:05 UTC+8"))
	}
	out.field(Text{"签章容器", "container"}, r.Container)
	out.field(Text{"文件有效期至", "document valid until"}, r.validity().In(lang))
	for _, c := range r.Checks {
		out.line(fmt.Sprintf("%d. %s [%s] %s", c.No, c.Name.In(lang), resultNames[c.Result].In(lang), c.Reason.In(lang)))
	}
	return out.err
}

// validity says until when the document may be used, and whether that is over.
func (r *Report) validity() Text {
	switch {
	case r.ValidUntil == "":
		return Text{}
	case r.Expired:
		return Text{r.ValidUntil + "（已过期）", r.ValidUntil + " (over)"}
	}
	return Text{r.ValidUntil + "（在有效期内）", r.ValidUntil + " (not over)"}
}

func joinCode(name, code string) string {
	if code == "" {
		return name
	}
	return name + " (" + code + ")"
}

// lines writes until the first error.
type lines struct {
	w    io.Writer
	lang string
	err  error
}

func (l *lines) line(s string) {
	if l.err == nil {
		_, l.err = fmt.Fprintln(l.w, printable(s))
	}
}

func (l *lines) field(label Text, value string) {
	colon := "："
	if l.lang == "en" {
		colon = ": "
	}
	if value != "" {
		l.line(label.In(l.lang) + colon + value)
	}
}

// printable replaces control characters: a seal's name comes from a stranger's file
// and must not steer the reader's terminal.
func printable(s string) string {
	out := []rune(s)
	for i, c := range out {
		if c < 0x20 || c >= 0x7f && c < 0xa0 || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 {
			out[i] = '\uFFFD'
		}
	}
	return string(out)
}

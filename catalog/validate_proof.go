package catalog

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

func (k *checker) proofs() {
	for i, p := range k.c.Proofs {
		k.proof(fmt.Sprintf("proofs[%d]", i), p)
	}
}

func (k *checker) proof(path string, p Proof) {
	k.text(path+".name", p.Name)
	k.text(path+".title", p.Title)
	k.department(path+".owner", p.Owner)
	if len(p.Sources) == 0 {
		k.bad(path+".sources", "至少要有一个数据源", "at least one source is needed")
	}
	k.level(path, p)
	if p.SubjectRole != SubjectAny && !knownRoles[p.SubjectRole] {
		k.bad(path+".subject_role", "应为 applicant、spouse、child、principal 或 any", "must be applicant, spouse, child, principal or any")
	}
	if p.Cardinality.Max < 1 || p.Cardinality.Max > 1000 {
		k.bad(path+".cardinality.max", "应在 1 到 1000 之间", "must be between 1 and 1000")
	}
	if len(p.Level) != 1 || !strings.Contains("ABCD", p.Level) {
		k.bad(path+".level", "可信等级应为 A、B、C 或 D", "the trust level is A, B, C or D")
	}
	k.schema(path, p)
	k.fields(path, p)
	k.issuer(path+".issuer", p)
	k.validity(path+".validity", p.Validity)
	k.sealPosition(path+".seal_position", p.SealPosition)
	k.wording(path+".body", p.Body)
	for i, note := range p.Notes {
		k.wording(fmt.Sprintf("%s.notes[%d]", path, i), note)
	}
}

// A seal of the usual 42 mm must lie on A4 paper as a whole. Where the issuer stands
// depends on how much is above, so that little room is certain around that place.
const (
	paperWidth, paperHeight = 210, 297 // mm
	sealRadius              = 21
	sealLeft, sealRight     = 115, 20 // how far from the usual place
	sealUpDown              = 25
)

func (k *checker) sealPosition(path string, p SealPosition) {
	corner := slices.Contains([]string{"top-left", "top-right", "bottom-left", "bottom-right"}, p.Anchor)
	issuer := p.Anchor == "" || p.Anchor == "issuer"
	inside := p.X >= sealRadius && p.X <= paperWidth-sealRadius && p.Y >= sealRadius && p.Y <= paperHeight-sealRadius
	near := p.X >= -sealLeft && p.X <= sealRight && p.Y >= -sealUpDown && p.Y <= sealUpDown
	switch {
	case !corner && !issuer:
		k.bad(path+".anchor", "应为 issuer、top-left、top-right、bottom-left 或 bottom-right", "must be issuer, top-left, top-right, bottom-left or bottom-right")
	case p.Page != "" && p.Page != "last" && p.Page != "first":
		k.bad(path+".page", "应为 last 或 first", "must be last or first")
	case issuer && p.Page == "first":
		k.bad(path+".page", "落款在末页；首页盖章须以页角（如 bottom-right）定位", "the issuer stands on the last page; on the first measure from a corner, such as bottom-right")
	case corner && !inside:
		k.bad(path, "印章会超出 A4 纸：距页角 x 须在 %d–%d 毫米，y 须在 %d–%d 毫米", "the seal would not lie on A4 paper: from the corner x must be %d to %d mm, y %d to %d mm",
			sealRadius, paperWidth-sealRadius, sealRadius, paperHeight-sealRadius)
	case issuer && !near:
		k.bad(path, "印章会超出 A4 纸：相对落款 x 须在 %d–%d 毫米，y 须在 %d–%d 毫米", "the seal would not lie on A4 paper: from the issuer x must be %d to %d mm, y %d to %d mm",
			-sealLeft, sealRight, -sealUpDown, sealUpDown)
	}
}

// level enforces that a sensitive proof needs identity level 5, or says
// expressly which evidence stands in for it (GB/T 39047 table 1).
func (k *checker) level(path string, p Proof) {
	if p.MinLevel < 1 || p.MinLevel > 5 {
		k.bad(path+".min_level", "实名等级应为 1 到 5", "the identity level is 1 to 5")
	}
	if p.Sensitive && p.MinLevel < 5 && len(p.Evidence) == 0 {
		k.bad(path+".min_level", "敏感证明须为 5 级，或在 evidence 中明列可接受的核验方式", "a sensitive proof needs level 5, or evidence that is expressly accepted instead")
	}
	for i, e := range p.Evidence {
		for _, part := range strings.Split(e, "+") {
			if !knownEvidence[part] {
				k.bad(fmt.Sprintf("%s.evidence[%d]", path, i), "不认识 %q，可用 %s，以 + 连接", "%q is not known; join with + what is needed of %s", part, strings.Join(slices.Sorted(maps.Keys(knownEvidence)), ", "))
			}
		}
	}
}

func (k *checker) schema(path string, p Proof) {
	k.props = nil
	schema, root, err := compileSchema(p.Schema)
	if err != nil {
		k.bad(path+".schema", "JSON Schema 有误：%s", "JSON Schema: %s", schemaMessage(err))
		return
	}
	k.schemas[p.Code] = schema
	k.props, _ = root["properties"].(map[string]any)
	if root["type"] != "object" || len(k.props) == 0 {
		k.bad(path+".schema", "须为 object 且有 properties", "must be an object with properties")
	}
	if root["additionalProperties"] != false {
		k.bad(path+".schema", "须写明 additionalProperties: false", "must say additionalProperties: false")
	}
	for _, name := range slices.Sorted(maps.Keys(k.props)) {
		property, _ := k.props[name].(map[string]any)
		if _, ok := property["type"]; !ok {
			k.bad(path+".schema", "属性 %s 须写明 type", "property %s must state its type", name)
		}
		if !slices.ContainsFunc(p.Fields, func(f Field) bool { return f.Name == name }) {
			k.bad(path+".schema", "属性 %s 不在 fields 中", "property %s is not among the fields", name)
		}
	}
	k.required(path, p, root)
}

// required checks that every source can fill what the schema demands, and
// fills nothing that the proof does not know.
func (k *checker) required(path string, p Proof, root map[string]any) {
	names, _ := root["required"].([]any)
	for i, s := range k.c.Sources {
		if !slices.Contains(p.Sources, s.ID) {
			continue
		}
		at := fmt.Sprintf("sources[%d].answer.fields", i)
		for _, name := range names {
			if n, ok := name.(string); ok && s.Answer.Fields[n] == "" {
				k.bad(at, "缺少 %s：%s 的 schema 要求此项", "%s is missing, the schema of %s requires it", n, string(p.Code))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(s.Answer.Fields)) {
			if !slices.ContainsFunc(p.Fields, func(f Field) bool { return f.Name == name }) {
				k.bad(at+"."+name, "%s 没有名为 %s 的数据项", "%s has no field %s", string(p.Code), name)
			}
		}
	}
}

func (k *checker) fields(path string, p Proof) {
	if len(p.Fields) == 0 {
		k.bad(path+".fields", "至少要有一个数据项", "at least one field is needed")
	}
	seen := map[string]bool{}
	for i, f := range p.Fields {
		at := fmt.Sprintf("%s.fields[%d]", path, i)
		if !fieldForm.MatchString(f.Name) {
			k.bad(at+".name", "%q 格式不对，应符合 %s", "%q is malformed, must match %s", f.Name, fieldForm)
		}
		if seen[f.Name] {
			k.bad(at+".name", "数据项 %s 重复", "field %s is there twice", f.Name)
		}
		seen[f.Name] = true
		k.loggable(at+".name", f.Name)
		k.text(at+".label", f.Label)
		k.fieldType(at, f)
	}
}

// fieldType checks a field against its property in the schema.
func (k *checker) fieldType(path string, f Field) {
	want, ok := knownFieldType[f.Type]
	if !ok {
		k.bad(path+".type", "应为 text、number、money、date、month 或 code", "must be text, number, money, date, month or code")
		return
	}
	if (f.Type == "code") != (len(f.Codes) > 0) {
		k.bad(path+".type", "code 类型须有 codes，其他类型不能有", "type code needs codes, the others have none")
	}
	if k.props == nil {
		return // the schema itself is the mistake
	}
	property, ok := k.props[f.Name].(map[string]any)
	if !ok {
		k.bad(path+".name", "数据项 %s 不在 schema 的 properties 中", "field %s is not among the schema's properties", f.Name)
		return
	}
	if got := property["type"]; got != want && !(want == "number" && got == "integer") {
		k.bad(path+".type", "%s 在 schema 中应为 %s", "in the schema %s must be a %s", f.Name, want)
	}
	if f.Type == "code" {
		k.codes(path, f, property)
	}
}

// codes: what the schema lets in must have a Chinese wording.
func (k *checker) codes(path string, f Field, property map[string]any) {
	enum, _ := property["enum"].([]any)
	if len(enum) == 0 {
		k.bad(path+".codes", "%s 在 schema 中须列出 enum", "in the schema %s must list its enum", f.Name)
	}
	for _, e := range enum {
		if v, _ := e.(string); f.Codes[v] == "" {
			k.bad(path+".codes", "代码 %v 没有中文", "code %v has no wording", e)
		}
	}
}

func (k *checker) issuer(path string, p Proof) {
	k.seal(path+".seal", p.Issuer.Seal)
	if (p.Issuer.By == "") != (len(p.Issuer.Map) == 0) {
		k.bad(path, "by 与 map 须同时给出", "give both by and map, or neither")
	}
	if p.Issuer.By != "" && !slices.ContainsFunc(p.Fields, func(f Field) bool { return f.Name == p.Issuer.By }) {
		k.bad(path+".by", "没有名为 %s 的数据项", "there is no field %s", p.Issuer.By)
	}
	for _, value := range slices.Sorted(maps.Keys(p.Issuer.Map)) {
		k.seal(path+".map."+value, p.Issuer.Map[value])
	}
	k.hosted(path, p)
}

// hosted: who seals an answer must know the whole of it, so a proof with a seal
// that stays at a front has one source, behind that very front.
func (k *checker) hosted(path string, p Proof) {
	for _, s := range k.c.Seals {
		if s.Front == "" || !slices.Contains(p.Issuer.Seals(), s.ID) {
			continue
		}
		if len(p.Sources) != 1 {
			k.bad(path, "印章 %s 的私钥在前置机 %s，由它自行制证，故 %s 只能有一个数据源，现有 %d 个", "the key of seal %s stays at front %s, which makes the document itself, so %s must have one source, not %d", string(s.ID), string(s.Front), string(p.Code), len(p.Sources))
		} else if src, ok := k.sourceOf[p.Sources[0]]; ok && src.Front != s.Front {
			k.bad(path, "印章 %s 的私钥在前置机 %s，%s 的数据源须在同一前置机之后", "the key of seal %s stays at front %s, the source of %s must be behind that front", string(s.ID), string(s.Front), string(p.Code))
		}
	}
}

func (k *checker) seal(path string, id SealID) {
	if !k.sealIDs[id] {
		k.bad(path, "印章 %s 不存在，请先在 seals 中登记", "seal %s is not there, add it under seals first", string(id))
	}
}

func (k *checker) validity(path string, v Validity) {
	if v.Days < 0 || v.Months < 0 || (v.Days+v.Months < 1) != v.DayOnly {
		k.bad(path, "有效期至少 1 天，或仅限当日（day_only）", "valid for at least 1 day, or day_only alone")
	}
	k.wording(path+".wording", v.Wording)
}

// The blanks that body, wording and notes may have.
var placeholders = []string{"{name}", "{number}", "{issuer}", "{time}", "{date}", "{until}", "{scope}", "{city}", "{purpose}", "{item}", "{count}"}

var placeholderForm = regexp.MustCompile(`\{[^{}]*\}`)

func (k *checker) wording(path, text string) {
	k.text(path, text)
	for _, p := range placeholderForm.FindAllString(text, -1) {
		if !slices.Contains(placeholders, p) {
			k.bad(path, "未知占位符 %s，可用 %s", "unknown placeholder %s; there are %s", p, strings.Join(placeholders, " "))
		}
	}
	if strings.ContainsAny(placeholderForm.ReplaceAllString(text, ""), "{}") {
		k.bad(path, "花括号不成对", "unbalanced braces")
	}
}

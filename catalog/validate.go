package catalog

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"yizheng/audit"
	"yizheng/identity"
)

// Validate checks a whole catalogue and prepares its look-ups. The error is Problems.
func Validate(c *Catalogue) error {
	return validate(c, false).orNil()
}

// validate checks everything; keyless lets unresolved ${keys} references pass.
func validate(c *Catalogue, keyless bool) Problems {
	k := &checker{c: c, keyless: keyless, schemas: map[ProofCode]*jsonschema.Schema{}, certs: map[string]string{}}
	k.identifiers()
	if len(k.problems) == 0 {
		k.city()
		k.departments()
		k.seals()
		k.fronts()
		k.sources()
		k.proofs()
		k.items()
		k.callers()
		k.grants()
	}
	if len(k.problems) == 0 {
		c.ix = buildIndex(c, k.schemas)
	}
	return k.problems
}

// checker walks a catalogue and notes every mistake at its path.
type checker struct {
	c        *Catalogue
	keyless  bool
	problems Problems

	departmentIDs map[DepartmentID]bool
	sealIDs       map[SealID]bool
	sourceOf      map[SourceID]Source
	proofOf       map[ProofCode]Proof
	itemOf        map[ItemCode]Item
	callerOf      map[CallerID]Caller
	purposes      map[string]bool
	bases         map[string]bool

	schemas map[ProofCode]*jsonschema.Schema
	props   map[string]any    // of the proof being checked
	certs   map[string]string // certificate digest or SAM -> where it was first
}

func (k *checker) bad(path, zh, en string, args ...any) {
	at := locate(k.c.places, path)
	k.problems = append(k.problems, Problem{
		File: at.file, Line: at.line, Column: at.column, Path: path,
		Chinese: fmt.Sprintf(zh, args...), English: fmt.Sprintf(en, args...),
	})
}

// text refuses what is empty, has line breaks inside or blanks around.
func (k *checker) text(path, value string) {
	if value == "" {
		k.bad(path, "不能为空", "must not be empty")
	} else if strings.TrimSpace(value) != value || strings.ContainsAny(value, "\n\r\t") {
		k.bad(path, "首尾不能有空白，中间不能换行", "no blanks around and no line breaks inside, please")
	}
}

var (
	codeForm       = regexp.MustCompile(`^[A-Z0-9][A-Z0-9-]{1,31}$`)
	esidForm       = regexp.MustCompile(`^[!-~]{1,64}$`)
	idForm         = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	fieldForm      = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	samForm        = regexp.MustCompile(`^\d{2}\.\d{2}-\d{8}-\d{10}-\d{10}$`)
	usccForm       = regexp.MustCompile(`^[0-9A-HJ-NP-RTUW-Y]{18}$`)
	cityForm       = regexp.MustCompile(`^[1-9][0-9]{5}$`)
	codePointForm  = regexp.MustCompile(`^[0-9A-F]{4,6}$`)
	knownRoles     = map[Role]bool{RoleApplicant: true, RoleSpouse: true, RoleChild: true, RolePrincipal: true}
	knownEvidence  = map[string]bool{"card_chip": true, "operator_checked": true, "biometric": true}
	knownFieldType = map[string]string{"text": "string", "number": "number", "money": "string", "date": "string", "month": "string", "code": "string"}
)

// identifiers checks that all ids are well formed and unique; everything else refers to them.
func (k *checker) identifiers() {
	c := k.c
	k.departmentIDs = ids(k, "departments", "id", usccForm, c.Departments, func(v Department) DepartmentID { return v.ID })
	k.sealIDs = ids(k, "seals", "id", idForm, c.Seals, func(v Seal) SealID { return v.ID })
	ids(k, "sources", "id", idForm, c.Sources, func(v Source) SourceID { return v.ID })
	ids(k, "proofs", "code", codeForm, c.Proofs, func(v Proof) ProofCode { return v.Code })
	ids(k, "items", "code", codeForm, c.Items, func(v Item) ItemCode { return v.Code })
	ids(k, "callers", "id", idForm, c.Callers, func(v Caller) CallerID { return v.ID })
	ids(k, "operators", "id", idForm, c.Operators, func(v Operator) OperatorID { return v.ID })
	ids(k, "fronts", "id", idForm, c.Fronts, func(v Front) FrontID { return v.ID })
	ids(k, "workstations", "id", idForm, c.Workstations, func(v Workstation) WorkstationID { return v.ID })
	ids(k, "grants", "id", idForm, c.Grants, func(v Grant) string { return v.ID })
	k.purposes = ids(k, "purposes", "code", codeForm, c.Purposes, func(v Term) string { return v.Code })
	k.bases = ids(k, "legal_bases", "code", codeForm, c.LegalBases, func(v Term) string { return v.Code })
	k.sourceOf = byID(c.Sources, func(v Source) SourceID { return v.ID })
	k.proofOf = byID(c.Proofs, func(v Proof) ProofCode { return v.Code })
	k.itemOf = byID(c.Items, func(v Item) ItemCode { return v.Code })
	k.callerOf = byID(c.Callers, func(v Caller) CallerID { return v.ID })
}

func ids[K ~string, V any](k *checker, list, key string, form *regexp.Regexp, values []V, id func(V) K) map[K]bool {
	seen := map[K]bool{}
	for i, v := range values {
		path := fmt.Sprintf("%s[%d].%s", list, i, key)
		switch x := id(v); {
		case !form.MatchString(string(x)):
			k.bad(path, "%q 格式不对，应符合 %s", "%q is malformed, must match %s", string(x), form)
		case seen[x]:
			k.bad(path, "%s 重复，请改用别的编号", "%s is used twice, choose another", string(x))
		default:
			seen[x] = true
			k.loggable(path, string(x))
		}
	}
	return seen
}

// loggable refuses a code that no entry of the audit log may name.
func (k *checker) loggable(path, code string) {
	if zh, en := audit.NameFault(code); zh != "" {
		k.bad(path, "%[1]s", "%[2]s", zh, en)
	}
}

func (k *checker) city() {
	if !cityForm.MatchString(k.c.City.Code) {
		k.bad("city.code", "区划代码应为六位数字", "the region code has six digits (GB/T 2260)")
	}
	k.text("city.name", k.c.City.Name)
	u, err := url.Parse(k.c.City.VerifyURL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		k.bad("city.verify_url", "应为 https://主机[:端口]，不带路径", "must be https://host[:port] without a path")
	}
	d := k.c.Deadlines
	for _, row := range []struct {
		name  string
		value Duration
	}{{"local", d.Local}, {"province", d.Province}, {"cloud", d.Cloud}, {"gap", d.Gap}, {"sync_wait", d.SyncWait}} {
		if row.value <= 0 {
			k.bad("deadlines."+row.name, "时限必须大于 0", "the deadline must be above 0")
		}
	}
	if d.SyncWait > Duration(120*time.Second) {
		k.bad("deadlines.sync_wait", "同步等待不得超过 120s", "the synchronous wait is at most 120s")
	}
	for from, to := range k.c.NameMap {
		k.nameMapping(from, to)
	}
	for i, t := range k.c.Purposes {
		k.text(fmt.Sprintf("purposes[%d].text", i), t.Text)
	}
	for i, t := range k.c.LegalBases {
		k.text(fmt.Sprintf("legal_bases[%d].text", i), t.Text)
	}
}

func (k *checker) nameMapping(from, to string) {
	path := "name_map." + from
	f, errFrom := strconv.ParseUint(from, 16, 32)
	t, errTo := strconv.ParseUint(to, 16, 32)
	if !codePointForm.MatchString(from) || !codePointForm.MatchString(to) || errFrom != nil || errTo != nil {
		k.bad(path, "码点应写成大写十六进制，如 E863: \"4DAE\"", "write code points in upper-case hex, such as E863: \"4DAE\"")
		return
	}
	if !private(f) || private(t) || t > 0x10FFFF || t >= 0xD800 && t <= 0xDFFF || t < 0x3400 {
		k.bad(path, "应从私有区码点映射到已编码汉字", "must map a private-use code point to an encoded character")
	}
}

func private(r uint64) bool {
	return r >= 0xE000 && r <= 0xF8FF || r >= 0xF0000 && r <= 0xFFFFD || r >= 0x100000 && r <= 0x10FFFD
}

func (k *checker) department(path string, id DepartmentID) {
	if !k.departmentIDs[id] {
		k.bad(path, "部门 %s 不存在，请先在 departments 中登记", "department %s is not there, add it under departments first", string(id))
	}
}

func (k *checker) departments() {
	owners := map[DepartmentID]bool{}
	for _, p := range k.c.Proofs {
		owners[p.Owner] = true
	}
	for i, d := range k.c.Departments {
		path := fmt.Sprintf("departments[%d]", i)
		if err := identity.ParseUSCC(string(d.ID)); err != nil {
			k.bad(path+".id", "统一社会信用代码 %s 校验不符，请核对", "unified social credit code %s has a wrong check character", string(d.ID))
		}
		k.text(path+".name", d.Name)
		k.text(path+".place", d.Place)
		k.text(path+".contact", d.Contact)
		if d.GrantKey == "" && owners[d.ID] {
			k.bad(path+".grant_key", "该部门是证明的责任部门，须有授权签名公钥", "the department owns a proof and needs a key that signs its grants")
		} else if d.GrantKey != "" {
			k.key(path+".grant_key", d.GrantKey)
		}
	}
}

func (k *checker) unresolved(ref string) bool {
	return k.keyless && strings.HasPrefix(ref, unresolvedPrefix)
}

// key checks an SM2 public key in PEM.
func (k *checker) key(path, text string) {
	if !k.unresolved(text) && publicKey(text) == nil {
		k.bad(path, "不是 SM2 公钥 PEM", "not an SM2 public key in PEM")
	}
}

// certificate checks a digest and that it stands for one party only.
func (k *checker) certificate(path, digest string) {
	if k.unresolved(digest) {
		k.once(path, digest)
	} else if !digestForm.MatchString(digest) {
		k.bad(path, "应为证书路径或 64 位小写十六进制摘要", "must be the path of a certificate or a digest of 64 lower-case hex digits")
	} else {
		k.once(path, digest)
	}
}

// once refuses a value that identifies two parties.
func (k *checker) once(path, value string) {
	if before, dup := k.certs[value]; dup {
		k.bad(path, "与 %s 相同；一张证书、一台设备只能属于一方", "the same as %s; one certificate or device belongs to one party", before)
		return
	}
	k.certs[value] = path
}

func (k *checker) seals() {
	identifiers := make(map[string]SealID)
	for i, s := range k.c.Seals {
		path := fmt.Sprintf("seals[%d]", i)
		k.department(path+".department", s.Department)
		k.text(path+".name", s.Name)
		if s.ESID != "" && !esidForm.MatchString(s.ESID) {
			k.bad(path+".esid", "印章标识 %q 须为 1–64 个可见 ASCII 字符", "%q is not an identifier of a seal: 1 to 64 visible ASCII characters", s.ESID)
		}
		if other, dup := identifiers[s.Identifier()]; dup {
			k.bad(path+".esid", "印章标识与 %s 相同", "the same identifier as that of %s", string(other))
		}
		identifiers[s.Identifier()] = s.ID
		if s.Front != "" && !slices.ContainsFunc(k.c.Fronts, func(f Front) bool { return f.ID == s.Front }) {
			k.bad(path+".front", "保管印章的前置机 %s 不存在，请先在 fronts 中登记；由网关保管的印章不写 front", "front %s is not there, add it under fronts first; a seal that the gateway holds has no front", string(s.Front))
		}
	}
}

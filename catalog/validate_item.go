package catalog

import (
	"fmt"
	"slices"
	"strings"
)

func (k *checker) items() {
	for i, it := range k.c.Items {
		path := fmt.Sprintf("items[%d]", i)
		k.text(path+".name", it.Name)
		k.department(path+".department", it.Department)
		if !k.bases[it.LegalBasis] {
			k.bad(path+".legal_basis", "法定依据 %s 不存在，请先在 legal_bases 中登记", "legal basis %s is not there, add it under legal_bases first", it.LegalBasis)
		}
		if len(it.Purposes) == 0 {
			k.bad(path+".purposes", "至少要有一种用途", "at least one purpose is needed")
		}
		for j, p := range it.Purposes {
			if !k.purposes[p] {
				k.bad(fmt.Sprintf("%s.purposes[%d]", path, j), "用途 %s 不存在，请先在 purposes 中登记", "purpose %s is not there, add it under purposes first", p)
			}
		}
		k.roles(path+".roles", it.Roles)
		if it.Notice != (Notice{}) && !it.Notice.proper() {
			k.bad(path+".notice", "告知书须有编码（大写字母、数字、连字符，不得含证件号码）和 1–9999 的版本号", "a notice has an id of capital letters, digits and hyphens, without an ID number, and a version from 1 to 9999")
		}
		if len(it.Situations) == 0 {
			k.bad(path+".situations", "至少要有一种情形", "at least one situation is needed")
		}
		seen := map[SituationCode]bool{}
		for j, s := range it.Situations {
			at := fmt.Sprintf("%s.situations[%d]", path, j)
			if !codeForm.MatchString(string(s.Code)) || seen[s.Code] {
				k.bad(at+".code", "%q 格式不对或重复", "%q is malformed or there twice", string(s.Code))
			}
			seen[s.Code] = true
			k.situation(at, it, s)
		}
	}
}

func (k *checker) roles(path string, roles []Role) {
	if len(roles) == 0 || roles[0] != RoleApplicant {
		k.bad(path, "第一个角色须为 applicant", "the first role must be applicant")
	}
	for i, r := range roles {
		if !knownRoles[r] || slices.Contains(roles[:i], r) {
			k.bad(fmt.Sprintf("%s[%d]", path, i), "角色 %s 不认识或重复", "role %s is not known or there twice", string(r))
		}
	}
}

func (k *checker) situation(path string, it Item, s Situation) {
	k.text(path+".name", s.Name)
	if len(s.Roles) > 0 {
		k.roles(path+".roles", s.Roles)
		for _, r := range s.Roles {
			if !slices.Contains(it.Roles, r) {
				k.bad(path+".roles", "事项没有角色 %s", "the item has no role %s", string(r))
			}
		}
	}
	if len(s.Proofs()) == 0 {
		k.bad(path, "没有列出任何证明", "no proof is listed")
	}
	seen := map[ProofCode]bool{}
	list := func(at string, codes []ProofCode) {
		for i, code := range codes {
			k.listed(fmt.Sprintf("%s[%d]", at, i), it, s, code, seen)
		}
	}
	list(path+".required", s.Required)
	for i, group := range s.AnyOf {
		at := fmt.Sprintf("%s.any_of[%d]", path, i)
		if len(group) < 2 {
			k.bad(at, "任一组至少两种证明；只有一种请写入 required", "a group of any_of has at least two proofs; a single one belongs under required")
		}
		list(at, group)
	}
	list(path+".optional", s.Optional)
}

func (k *checker) listed(path string, it Item, s Situation, code ProofCode, seen map[ProofCode]bool) {
	p, ok := k.proofOf[code]
	switch {
	case !ok:
		k.bad(path, "证明 %s 不存在，请先在 proofs 中登记", "proof %s is not there, add it under proofs first", string(code))
	case seen[code]:
		k.bad(path, "证明 %s 在本情形中重复", "proof %s is listed twice in this situation", string(code))
	case p.SubjectRole != SubjectAny && !slices.Contains(it.RolesIn(s), p.SubjectRole):
		k.bad(path, "证明 %s 查询的是 %s，本情形没有此角色", "proof %s asks about the %s, who has no part in this situation", string(code), string(p.SubjectRole))
	}
	seen[code] = true
}

func (k *checker) callers() {
	for i, c := range k.c.Callers {
		path := fmt.Sprintf("callers[%d]", i)
		k.text(path+".name", c.Name)
		k.department(path+".department", c.Department)
		if c.PerMinute < 1 {
			k.bad(path+".per_minute", "每分钟次数须大于 0", "must be above 0")
		}
		switch c.Kind {
		case CallerWindow:
			if c.Certificate != "" {
				k.bad(path+".certificate", "窗口以操作员证书识别，此处不要写", "a window is known by its operators' certificates, leave this out")
			}
		case CallerKiosk, CallerSystem:
			k.certificate(path+".certificate", c.Certificate)
		default:
			k.bad(path+".kind", "应为 window、kiosk 或 system", "must be window, kiosk or system")
		}
	}
	for i, o := range k.c.Operators {
		path := fmt.Sprintf("operators[%d]", i)
		if c, ok := k.callerOf[o.Caller]; !ok || c.Kind != CallerWindow {
			k.bad(path+".caller", "%s 不是窗口类调用方", "%s is not a caller of kind window", string(o.Caller))
		}
		k.certificate(path+".certificate", o.Certificate)
	}
	for i, w := range k.c.Workstations {
		k.workstation(fmt.Sprintf("workstations[%d]", i), w)
	}
}

func (k *checker) workstation(path string, w Workstation) {
	if _, ok := k.callerOf[w.Caller]; !ok {
		k.bad(path+".caller", "调用方 %s 不存在", "caller %s is not there", string(w.Caller))
	}
	k.key(path+".agent_key", w.AgentKey)
	k.once(path+".agent_key", strings.TrimSpace(w.AgentKey))
	k.certificate(path+".certificate", w.Certificate)
	if len(w.SAMs) == 0 {
		k.bad(path+".sams", "至少登记一个读卡器 SAM 号", "at least one SAM number is needed")
	}
	for i, sam := range w.SAMs {
		at := fmt.Sprintf("%s.sams[%d]", path, i)
		if !samForm.MatchString(sam) {
			k.bad(at, "SAM 号应形如 05.03-20191225-0000012345-0987654321", "a SAM number looks like 05.03-20191225-0000012345-0987654321")
			continue
		}
		k.once(at, sam)
	}
}

func (k *checker) grants() {
	seen := map[grantKey]bool{}
	for i, g := range k.c.Grants {
		path := fmt.Sprintf("grants[%d]", i)
		key := grantKey{g.Caller, g.Item, g.Proof}
		if seen[key] {
			k.bad(path+".id", "同一调用方、事项、证明已有授权，请合并", "there is already a grant for this caller, item and proof, merge them")
		}
		seen[key] = true
		k.grant(path, g)
	}
}

func (k *checker) grant(path string, g Grant) {
	if _, ok := k.callerOf[g.Caller]; !ok {
		k.bad(path+".caller", "调用方 %s 不存在", "caller %s is not there", string(g.Caller))
	}
	if it, ok := k.itemOf[g.Item]; !ok {
		k.bad(path+".item", "事项 %s 不存在", "item %s is not there", string(g.Item))
	} else if !slices.ContainsFunc(it.Situations, func(s Situation) bool { return s.Lists(g.Proof) }) {
		k.bad(path+".proof", "事项 %s 的材料中没有 %s", "item %s does not list proof %s", string(g.Item), string(g.Proof))
	}
	switch g.Output {
	case OutputData, OutputDocument, OutputBoth:
	default:
		k.bad(path+".output", "应为 data、document 或 both", "must be data, document or both")
	}
	if g.NotAfter.IsZero() {
		k.bad(path+".not_after", "须写明截止日期", "say until when the grant lasts")
	}
	if p, ok := k.proofOf[g.Proof]; ok {
		k.granted(path, g, p)
	}
}

// granted checks a grant against its proof: fields it has, authenticity its sources can reach.
func (k *checker) granted(path string, g Grant, p Proof) {
	if len(g.Fields) == 0 {
		k.bad(path+".fields", "至少授权一个数据项", "grant at least one field")
	}
	for i, name := range g.Fields {
		at := fmt.Sprintf("%s.fields[%d]", path, i)
		if !slices.ContainsFunc(p.Fields, func(f Field) bool { return f.Name == name }) {
			k.bad(at, "%s 没有名为 %s 的数据项", "%s has no field %s", string(p.Code), name)
		} else if slices.Contains(g.Fields[:i], name) {
			k.bad(at, "数据项 %s 重复", "field %s is there twice", name)
		}
	}
	if g.Authenticity.rank() == 0 {
		k.bad(path+".authenticity", "应为 channel、peer-mac 或 source-signature", "must be channel, peer-mac or source-signature")
	}
	for _, id := range p.Sources {
		if s, ok := k.sourceOf[id]; ok && s.Authenticity.Less(g.Authenticity) {
			k.bad(path+".authenticity", "数据源 %s 只能达到 %s，此授权永远无法满足", "source %s reaches only %s, the grant could never be met", string(id), string(s.Authenticity))
		}
	}
}

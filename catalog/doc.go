// Package catalog is the book of what a city has agreed: which department
// holds what, which matter needs which proofs, who may see which fields, and
// which keys speak for whom. Everything else asks it before it acts; it knows
// neither HTTP nor transports.
//
// # Files
//
// A catalogue is written as YAML, all *.yaml files of one directory and of those
// in it together, say one file an office and one a matter.
// Lists may be continued from file to file; single values are given once.
// Keys are those of the yaml tags of Catalogue and its parts:
//
//	city: {code: "690100", name: 示例市, verify_url: https://yz.example.cn}
//	deadlines: {local: 3s, province: 8s, cloud: 10s, gap: 90s, sync_wait: 120s}
//	name_map: {"E863": "4DAE"}              # private code point of a card -> character
//	purposes: [{code: P-PRH, text: 申请公共租赁住房}]
//	legal_bases: [{code: LB-PRH, text: 《公共租赁住房管理办法》第七条}]
//	departments:
//	  - id: "12690100006900149D"            # unified social credit code
//	    name: 示例市社会保险事业服务中心
//	    place: 政务服务中心二楼社保窗口          # manual verification
//	    contact: 数据科 0690-1000149          # who can change a grant
//	    grant_key: ${keys}/departments/12690100006900149D.grant.pub.pem
//	seals: [{id: ss, department: "12690100006900149D", name: 业务专用章}]   # front: who holds its key, if not the gateway; esid: identifier inside the seal, if not its id
//	fronts: [{id: mz-front, department: "12690100006900149D", key: "${keys}/fronts/mz-front.pub.pem"}]
//	sources:
//	  - id: si-province
//	    department: "12690100006900149D"
//	    route: province                     # local, province, cloud, gap
//	    connection: province                # in the configuration of whoever asks it
//	    scope: 示例省社会保险参保缴费库         # the 范围 of 未查到
//	    authenticity: peer-mac              # channel, peer-mac, source-signature
//	    query: {service: si-contributions, params: {aac002: number}}
//	    answer:                             # jq, see Mapping
//	      not_found_when: .code == "01"
//	      found_when: .code == "00" and (.data | length) > 0
//	      records: .data
//	      data_time: .time
//	      subject: {number: .aac002, name: .aac003}
//	      fields: {base: .aae180}
//	proofs:
//	  - code: SI-01
//	    name: 社会保险参保缴费证明
//	    title: 社会保险参保缴费证明
//	    owner: "12690100006900149D"
//	    issuer: {seal: ss}                  # by, map: another seal by a field's value
//	    sources: [si-province]
//	    min_level: 5                        # GB/T 39047 table 1
//	    evidence: [card_chip+operator_checked]
//	    subject_role: any                   # applicant, spouse, child, principal, any
//	    cardinality: {max: 120}
//	    level: A                            # trust level of the document
//	    schema: schemas/SI-01.json          # JSON Schema 2020-12 of one record
//	    seal_position: {page: last, anchor: issuer, x: 0, y: -5}   # mm; optional, see SealPosition
//	    fields: [{name: base, label: 缴费基数, type: money}]
//	    body: 兹证明{name}的参保缴费情况如下，数据截至{time}：
//	    validity: {months: 3, wording: 三个月内有效，可扫码验真}
//	items:
//	  - code: PRH
//	    name: 公共租赁住房资格确认
//	    department: "12690100006900149D"
//	    legal_basis: LB-PRH
//	    purposes: [P-PRH]
//	    roles: [applicant]
//	    notice: {id: N-PRH, version: 1}     # optional: what residents are shown first, in the version in force
//	    situations: [{code: LOCAL, name: 本市户籍家庭, required: [SI-01]}]
//	callers: [{id: hall, name: 综合窗口, kind: window, department: "12690100006900149D", per_minute: 60}]
//	operators: [{id: clerk-01, caller: hall, certificate: "${keys}/tls/clerk-01.crt"}]
//	workstations:
//	  - id: ws-01
//	    caller: hall
//	    agent_key: ${keys}/agents/ws-01.pub.pem
//	    certificate: ${keys}/tls/agent-ws-01.crt
//	    sams: [05.03-20191225-0000012345-0987654321]
//	grants:
//	  - {id: g1, caller: hall, item: PRH, proof: SI-01, fields: [base],
//	     output: both, authenticity: peer-mac, not_after: 2035-12-31}
//
// Paths are relative to the file they stand in, or begin with a variable of
// Options.Vars. Texts that look like numbers or dates are quoted. Anchors, tags
// and several documents in one file are refused.
//
// Placeholders of body, wording and notes: {name} {number} of the person,
// {issuer}, {time} of the data, {date} of issue, {until} when it is valid,
// {scope} of the sources, {city}, {purpose}, {item}, {count} of records. A new
// line in body begins a new paragraph; blank lines are left out.
//
// # Guarantees
//
// Load reports every mistake at once, each with file, line and what to do
// (Problems). What it returns, and what Open returns, has passed Validate:
// references lead somewhere, expressions and schemas compile, SQL is one
// reading statement about one number, a sensitive proof asks for level 5 or
// names the evidence it accepts instead, a grant names only what its proof has
// and its item lists, and no code is one that the audit log would take for an ID
// number and refuse.
//
// A gateway does not run on files but on a Release: numbered, limited in time,
// signed by two security administrators outside the gateway, each grant inside
// countersigned by the department that owns the proof.
package catalog

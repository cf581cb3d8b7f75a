package catalog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/catalog/beijing"
)

// edit replaces the one place where from stands in a file of testdata/good.
type edit struct{ file, from, to string }

// city copies testdata/good, with edits, to a directory of its own.
func city(t testing.TB, edits ...edit) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/good")); err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		name := filepath.Join(dir, e.file)
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), e.from); n != 1 {
			t.Fatalf("%q stands %d times in %s, want once", e.from, n, e.file)
		}
		if err := os.WriteFile(name, []byte(strings.Replace(string(text), e.from, e.to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mustLoad(t testing.TB, edits ...edit) *Catalogue {
	t.Helper()
	c, err := Load(city(t, edits...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	main    = "catalogue.yaml"
	matters = "matters.yaml"
	schema  = "schemas/SI-01.json"
)

func TestLoadNamesFileAndLineOfEveryMistake(t *testing.T) {
	for _, c := range []struct {
		name string
		edit edit
		at   string // file:line:
		want string
	}{
		{"unknown key", edit{main, "    title: 社会", "    titel: 社会"}, "catalogue.yaml:62:5:", "unknown key"},
		{"missing key", edit{main, "    connection: si\n", ""}, "catalogue.yaml:43:5:", "key connection is missing"},
		{"repeated key", edit{main, "    connection: si\n", "    connection: si\n    connection: si\n"}, "catalogue.yaml:47:5:", "key given twice"},
		{"single value in two files", edit{matters, "items:\n", "city: {code: \"690100\", name: x, verify_url: https://x}\nitems:\n"}, "matters.yaml:2:1:", "key given twice, first at"},
		{"number for a text", edit{main, `code: "690100"`, "code: 690100"}, "catalogue.yaml:1:14:", "put it in quotes"},
		{"text for a number", edit{matters, "per_minute: 60\n  - id: housing", "per_minute: many\n  - id: housing"}, "matters.yaml:19:17:", "whole number"},
		{"text for a boolean", edit{main, "sensitive: true", "sensitive: very"}, "catalogue.yaml:69:16:", "true or false"},
		{"single value for a list", edit{main, "sources: [si-province, si-city]", "sources: si-province"}, "catalogue.yaml:68:14:", "write a list"},
		{"list for a mapping", edit{main, "validity: {months: 3, wording: 三个月内有效，可扫码验真}", "validity: [3]"}, "catalogue.yaml:77:15:", "key: value"},
		{"number as a key", edit{main, `  "E863"`, "  1863"}, "catalogue.yaml:4:3:", "a key is a text"},
		{"duration without unit", edit{main, "local: 3s", `local: "3"`}, "catalogue.yaml:2:20:", "duration"},
		{"impossible date", edit{matters, "2035-12-31", "2035-02-30"}, "matters.yaml:45:16:", "not understood"},
		{"yaml syntax", edit{main, "deadlines: {local", "deadlines: {{local"}, "catalogue.yaml:", "YAML syntax"},
		{"anchor", edit{main, "    scope: 示例市\n", "    scope: &here 示例市\n"}, "catalogue.yaml:47:", "write a text here"},
		{"tag", edit{main, "    scope: 示例市\n", "    scope: !!str 示例市\n"}, "catalogue.yaml:47:", "write a text here"},
		{"two documents", edit{main, "purposes:\n", "---\npurposes:\n"}, "catalogue.yaml:6:1:", "one document per file"},
		{"schema file missing", edit{main, "schemas/SI-01.json", "schemas/SI-02.json"}, "catalogue.yaml:75:13:", "cannot be read"},
		{"unknown variable", edit{main, "keys/ss.pub.pem", "${kez}/ss.pub.pem"}, "catalogue.yaml:14:16:", "${kez} is not defined"},
		{"not a public key", edit{main, "keys/ss.pub.pem", "schemas/SI-01.json"}, "catalogue.yaml:14:16:", "not an SM2 public key"},
		{"not a certificate", edit{matters, "certificate: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "certificate: keys/ws-01.pub.pem"}, "matters.yaml:29:18:", "not a certificate"},

		{"seal hosted at a front that is not there", edit{main, "name: 示例市大数据局}\nsources:", "name: 示例市大数据局, front: f}\nsources:"}, "catalogue.yaml:21:63:", "front f is not there"},
		{"hosted seal and several sources", edit{main, "name: 示例市大数据局}\nsources:", "name: 示例市大数据局, front: f}\nfronts: [{id: f, department: \"12690100006900149D\", key: keys/ss.pub.pem}]\nsources:"}, "catalogue.yaml:65:5:", "must have one source, not 2"},
		{"seal beyond the edge of the paper", edit{main, "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n", "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n    seal_position: {anchor: bottom-right, x: 20, y: 60}\n"}, "catalogue.yaml:78:", "x must be 21 to 189 mm"},
		{"seal below the foot of the paper", edit{main, "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n", "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n    seal_position: {anchor: top-left, x: 40, y: 277}\n"}, "catalogue.yaml:78:", "would not lie on A4 paper"},
		{"seal too far from the issuer", edit{main, "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n", "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n    seal_position: {y: 26}\n"}, "catalogue.yaml:78:", "from the issuer"},
		{"seal at a corner, without offsets", edit{main, "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n", "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n    seal_position: {anchor: top-left}\n"}, "catalogue.yaml:78:", "would not lie on A4 paper"},
		{"seal at the issuer of the first page", edit{main, "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n", "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n    seal_position: {page: first}\n"}, "catalogue.yaml:78:", "the issuer stands on the last page"},
		{"seal on a page in between", edit{main, "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n", "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n    seal_position: {page: \"2\", anchor: top-left, x: 40, y: 40}\n"}, "catalogue.yaml:78:", "must be last or first"},
		{"seal in the middle", edit{main, "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n", "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n    seal_position: {anchor: centre}\n"}, "catalogue.yaml:78:", "must be issuer, top-left"},
		{"identifier of a seal with a space", edit{main, "name: 示例市大数据局}\nsources:", "name: 示例市大数据局, esid: \"6901 01\"}\nsources:"}, "catalogue.yaml:21:", "not an identifier of a seal"},
		{"identifier of another seal", edit{main, "name: 示例市大数据局}\nsources:", "name: 示例市大数据局, esid: ss}\nsources:"}, "catalogue.yaml:21:", "the same identifier as that of ss"},
		{"duplicate id", edit{main, "{id: bd,", "{id: ss,"}, "catalogue.yaml:21:6:", "ss is used twice"},
		{"malformed id", edit{matters, "- id: clerk-01", "- id: Clerk 1"}, "matters.yaml:27:5:", "malformed"},
		{"wrong check character", edit{main, `- id: "11690100MB69001143"`, `- id: "11690100MB69001144"`}, "catalogue.yaml:15:5:", "wrong check character"},
		{"department whose code looks like an ID number", edit{main, "contact: 共享科\n", "contact: 共享科\n  - {id: \"12690119990601138X\", name: 某县中心, place: 一楼, contact: 办公室}\n"}, "catalogue.yaml:19:6:", "register the unit above"},
		{"caller that looks like an ID number, letters in front", edit{matters, "  - id: housing\n", "  - id: sys69010219880614105x\n"}, "matters.yaml:20:5:", "letters in front do not help"},
		{"operator that looks like an ID number", edit{matters, "- id: clerk-01", "- id: \"69010219880614105x\""}, "matters.yaml:27:5:", "choose another"},
		{"workstation that looks like an ID number", edit{matters, "- id: ws-01", "- id: \"69010219880614105x\""}, "matters.yaml:31:5:", "choose another"},
		{"item that looks like an ID number", edit{matters, "- code: PRH", "- code: \"69010219880614105X\""}, "matters.yaml:3:5:", "choose another"},
		{"region code", edit{main, `"690100"`, `"69010"`}, "catalogue.yaml:1:8:", "six digits"},
		{"verification over plain HTTP", edit{main, "https://yz", "http://yz"}, "catalogue.yaml:1:35:", "https://host"},
		{"deadline of nothing", edit{main, "cloud: 10s", "cloud: 0s"}, "catalogue.yaml:2:38:", "above 0"},
		{"synchronous wait too long", edit{main, "sync_wait: 120s", "sync_wait: 121s"}, "catalogue.yaml:2:60:", "at most 120s"},
		{"mapping from an encoded character", edit{main, `"E863": "4DAE"`, `"4E00": "4DAE"`}, "catalogue.yaml:4:3:", "private-use"},
		{"mapping in lower case", edit{main, `"E863": "4DAE"`, `"e863": "4DAE"`}, "catalogue.yaml:4:3:", "upper-case"},
		{"owner without key", edit{main, "    grant_key: keys/ss.pub.pem\n", ""}, "catalogue.yaml:10:5:", "needs a key"},
		{"seal of unknown department", edit{main, `{id: bd, department: "11690100MB69001143"`, `{id: bd, department: "11690100006900018L"`}, "catalogue.yaml:21:14:", "is not there"},
		{"line break in a name", edit{main, "    place: 政务服务中心一楼", `    place: "一\n楼"`}, "catalogue.yaml:17:5:", "no line breaks"},

		{"unknown route", edit{main, "route: local", "route: pigeon"}, "catalogue.yaml:45:5:", "the route is one of"},
		{"unknown authenticity", edit{main, "    scope: 示例市\n    authenticity: peer-mac", "    scope: 示例市\n    authenticity: trust-me"}, "catalogue.yaml:48:5:", "must be channel"},
		{"deadline beyond the route's", edit{main, "deadline: 2s", "deadline: 9s"}, "catalogue.yaml:29:5:", "within its route's"},
		{"deferred without a front", edit{main, "deadline: 2s", "deferred: 72h"}, "catalogue.yaml:29:5:", "only a source behind a front"},
		{"source nobody uses", edit{main, "sources: [si-province, si-city]", "sources: [si-province]"}, "catalogue.yaml:43:5:", "no proof uses"},
		{"unknown source", edit{main, "sources: [si-province, si-city]", "sources: [si-province, si-city, si-x]"}, "catalogue.yaml:68:37:", "si-x is not there"},
		{"no question", edit{main, "      service: si-contributions\n      params: {aac002: number, aac003: name, kind: =1}", "      params: {aac002: number}"}, "catalogue.yaml:30:5:", "give service or sql"},
		{"ferried route without a front", edit{main, "route: local", "route: cloud"}, "catalogue.yaml:43:5:", "needs a front processor"},
		{"front that is not there", edit{main, "    route: local", "    route: gap\n    front: si-front"}, "catalogue.yaml:46:5:", "one of fronts"},
		{"front on a direct route", edit{main, "    route: local", "    route: local\n    front: si-front"}, "catalogue.yaml:46:5:", "remove front"},
		{"front without a department", edit{main, "sources:\n", "fronts: [{id: f, department: \"11690100006900018L\", key: keys/ss.pub.pem}]\nsources:\n"}, "catalogue.yaml:22:18:", "is not there"},
		{"question without the number", edit{main, "{aac002: number, aac003: name, kind: =1}", "{aac003: name}"}, "catalogue.yaml:32:7:", "has to be number"},
		{"unknown parameter", edit{main, "kind: =1", "kind: phone"}, "catalogue.yaml:32:46:", "number15 or =literal"},
		{"expression that does not compile", edit{main, `.code == "00"`, `.code = = "00"`}, "catalogue.yaml:35:7:", "jq expression"},
		{"unknown function in an expression", edit{main, `.code == "00"`, `found(.code)`}, "catalogue.yaml:35:7:", "jq expression"},
		{"expression that is missing", edit{main, `not_found_when: .code == "01"`, `not_found_when: ""`}, "catalogue.yaml:34:7:", "is required"},
		{"field the proof does not have", edit{main, "        base: .aae180\n  - id", "        base: .aae180\n        bank: .bank\n  - id"}, "catalogue.yaml:43:9:", "has no field bank"},
		{"required field not mapped", edit{main, "        base: .aae180\n  - id", "  - id"}, "catalogue.yaml:39:7:", "base is missing"},

		{"two statements", edit{main, "(:number, :number15)", "(:number); SELECT 1"}, "catalogue.yaml:50:7:", "one statement"},
		{"writing statement", edit{main, "SELECT a.*, 'x;--' AS remark FROM", "SELECT * INTO copy FROM"}, "catalogue.yaml:50:7:", "must not contain INTO"},
		{"other statement", edit{main, "SELECT a.*, 'x;--' AS remark FROM", "DELETE FROM"}, "catalogue.yaml:50:7:", "must be a SELECT"},
		{"unknown SQL parameter", edit{main, ":number15", ":phone"}, "catalogue.yaml:50:7:", "unknown parameter :phone"},
		{"SQL without the number", edit{main, "a.aac002 IN (:number, :number15)", "a.aac003 = :name"}, "catalogue.yaml:50:7:", ":number is missing"},
		{"comment in SQL", edit{main, "FROM contributions a", "FROM contributions a /* all */"}, "catalogue.yaml:50:7:", "no comments"},
		{"open quote in SQL", edit{main, "'x;--'", "'x;--"}, "catalogue.yaml:50:7:", "not closed"},
		{"positional parameter", edit{main, "(:number, :number15)", "(:number, ?)"}, "catalogue.yaml:50:7:", "write parameters as"},

		{"sensitive proof without level or evidence", edit{main, "    min_level: 5\n    evidence: [card_chip+operator_checked]", "    min_level: 3"}, "catalogue.yaml:70:5:", "needs level 5"},
		{"level out of range", edit{main, "min_level: 5", "min_level: 6"}, "catalogue.yaml:70:5:", "1 to 5"},
		{"unknown evidence", edit{main, "card_chip+operator_checked", "card_chip+promise"}, "catalogue.yaml:71:16:", `"promise" is not known`},
		{"unknown subject role", edit{main, "subject_role: applicant", "subject_role: neighbour"}, "catalogue.yaml:72:5:", "must be applicant"},
		{"no record allowed", edit{main, "max: 120", "max: 0"}, "catalogue.yaml:73:19:", "between 1 and 1000"},
		{"trust level", edit{main, "level: A", "level: E"}, "catalogue.yaml:74:5:", "A, B, C or D"},
		{"unknown placeholder", edit{main, "{time}：", "{when}："}, "catalogue.yaml:76:5:", "unknown placeholder {when}"},
		{"unbalanced braces", edit{main, "共 {count} 条", "共 {count 条"}, "catalogue.yaml:79:9:", "unbalanced"},
		{"valid for the day and longer", edit{main, "months: 3", "months: 3, day_only: true"}, "catalogue.yaml:77:5:", "day_only alone"},
		{"valid for no day", edit{main, "months: 3", "months: 0"}, "catalogue.yaml:77:5:", "at least 1 day"},
		{"unknown seal", edit{main, "      seal: ss", "      seal: sx"}, "catalogue.yaml:65:7:", "sx is not there"},
		{"unknown seal in the issuer's map", edit{main, `{"210": bd}`, `{"210": bx}`}, "catalogue.yaml:67:13:", "bx is not there"},
		{"issuer by unknown field", edit{main, "by: kind", "by: region"}, "catalogue.yaml:66:7:", "no field region"},
		{"field missing in the schema", edit{main, "{name: month,", "{name: moon,"}, "catalogue.yaml:81:10:", "not among the schema's"},
		{"unknown field type", edit{main, "type: money", "type: gold"}, "catalogue.yaml:83:35:", "must be text"},
		{"code without wording", edit{main, `, "210": 失业保险}`, "}"}, "catalogue.yaml:82:45:", "code 210 has no wording"},
		{"codes for a text", edit{main, "type: code, codes", "type: text, codes"}, "catalogue.yaml:82:33:", "type code needs codes"},

		{"schema that is not JSON", edit{schema, `"type": "object",`, `"type": "object"`}, "catalogue.yaml:75:5:", "not JSON"},
		{"schema with a wrong keyword", edit{schema, `"type": "object"`, `"type": "objekt"`}, "catalogue.yaml:75:5:", "JSON Schema"},
		{"schema of an older draft", edit{schema, "draft/2020-12", "draft/2019-09"}, "catalogue.yaml:75:5:", "2020-12"},
		{"schema referring elsewhere", edit{schema, `"kind": {"type": "string",`, `"kind": {"$ref": "https://example.cn/kind.json", "type": "string",`}, "catalogue.yaml:75:5:", "references to other documents"},
		{"schema referring to a file", edit{schema, `"kind": {"type": "string",`, `"kind": {"$ref": "file:///etc/hostname", "type": "string",`}, "catalogue.yaml:75:5:", "references to other documents"},
		{"schema open to other properties", edit{schema, `"additionalProperties": false`, `"additionalProperties": true`}, "catalogue.yaml:75:5:", "additionalProperties: false"},
		{"schema property without type", edit{schema, `"base": {"type": "string",`, `"base": {`}, "catalogue.yaml:75:5:", "property base must state its type"},
		{"schema property that is no field", edit{schema, `"properties": {`, `"properties": {"bank": {"type": "string"},`}, "catalogue.yaml:75:5:", "property bank is not among"},
		{"schema property of another type", edit{schema, `"base": {"type": "string",`, `"base": {"type": "number",`}, "catalogue.yaml:83:35:", "base must be a string"},

		{"unknown legal basis", edit{matters, "LB-PRH", "LB-XXX"}, "matters.yaml:6:5:", "LB-XXX is not there"},
		{"unknown purpose", edit{matters, "[P-PRH]", "[P-XXX]"}, "matters.yaml:7:16:", "P-XXX is not there"},
		{"first role is not the applicant", edit{matters, "roles: [applicant, spouse]", "roles: [spouse, applicant]"}, "matters.yaml:8:5:", "first role must be applicant"},
		{"unknown role", edit{matters, "roles: [applicant, spouse]", "roles: [applicant, cousin]"}, "matters.yaml:8:24:", "role cousin"},
		{"unknown proof", edit{matters, "required: [SI-01]", "required: [SI-02]"}, "matters.yaml:13:20:", "SI-02 is not there"},
		{"proof listed twice", edit{matters, "required: [SI-01]", "required: [SI-01, SI-01]"}, "matters.yaml:13:27:", "listed twice"},
		{"group of one", edit{matters, "required: [SI-01]", "any_of: [[SI-01]]"}, "matters.yaml:13:18:", "at least two"},
		{"situation without proofs", edit{matters, "required: [SI-01]", "required: []"}, "matters.yaml:10:9:", "no proof is listed"},
		{"proof about somebody who does not come", edit{main, "subject_role: applicant", "subject_role: spouse"}, "matters.yaml:13:20:", "asks about the spouse"},

		{"unknown kind of caller", edit{matters, "kind: window", "kind: door"}, "matters.yaml:17:5:", "window, kiosk or system"},
		{"window with a certificate", edit{matters, "kind: window\n", "kind: window\n    certificate: dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\n"}, "matters.yaml:18:5:", "operators' certificates"},
		{"system without a certificate", edit{matters, "    certificate: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", ""}, "matters.yaml:20:5:", "path of a certificate"},
		{"quota of nothing", edit{matters, "per_minute: 60\noperators", "per_minute: 0\noperators"}, "matters.yaml:25:5:", "above 0"},
		{"operator of a system", edit{matters, "  - id: clerk-01\n    caller: hall", "  - id: clerk-01\n    caller: housing"}, "matters.yaml:28:5:", "kind window"},
		{"certificate of two", edit{matters, "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}, "matters.yaml:34:5:", "the same as operators[0].certificate"},
		{"malformed SAM number", edit{matters, "05.03-20191225", "5.3-20191225"}, "matters.yaml:35:12:", "SAM number"},
		{"SAM number twice", edit{matters, "sams: [05.03-20191225-0000012345-0987654321]", "sams: [05.03-20191225-0000012345-0987654321, 05.03-20191225-0000012345-0987654321]"}, "matters.yaml:35:50:", "the same as"},

		{"grant to an unknown caller", edit{matters, "  - id: hall-prh-si\n    caller: hall", "  - id: hall-prh-si\n    caller: hell"}, "matters.yaml:39:5:", "hell is not there"},
		{"grant for an unknown item", edit{matters, "item: PRH", "item: PRX"}, "matters.yaml:40:5:", "PRX is not there"},
		{"grant of a proof the item does not list", edit{matters, "proof: SI-01", "proof: SI-09"}, "matters.yaml:41:5:", "does not list"},
		{"grant of an unknown field", edit{matters, "fields: [month, base]", "fields: [month, bank]"}, "matters.yaml:42:21:", "no field bank"},
		{"grant of no field", edit{matters, "fields: [month, base]", "fields: []"}, "matters.yaml:42:5:", "at least one field"},
		{"grant of a field twice", edit{matters, "fields: [month, base]", "fields: [month, month]"}, "matters.yaml:42:21:", "twice"},
		{"unknown output", edit{matters, "output: both", "output: paper"}, "matters.yaml:43:5:", "data, document or both"},
		{"grant its sources can never meet", edit{matters, "authenticity: peer-mac", "authenticity: source-signature"}, "matters.yaml:44:5:", "never be met"},
		{"grant given twice", edit{matters, "grants:\n", "grants:\n  - {id: other, caller: hall, item: PRH, proof: SI-01, fields: [base], output: data, authenticity: channel, not_after: 2035-12-31}\n"}, "matters.yaml:39:5:", "already a grant"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(city(t, c.edit), Options{})
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v, want Problems", err)
			}
			for _, p := range problems {
				p.File = filepath.Base(p.File)
				if s := p.String(); strings.HasPrefix(s, c.at) && strings.Contains(s, c.want) {
					return
				}
			}
			t.Errorf("want %s …%s…, got\n%v", c.at, c.want, err)
		})
	}
}

func TestLoadReportsAllMistakesAtOnceInOrder(t *testing.T) {
	_, err := Load(city(t,
		edit{matters, "output: both", "output: paper"},
		edit{main, "max: 120", "max: 0"},
		edit{main, "level: A", "level: E"},
	), Options{})
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Fatalf("got %v, want three problems", err)
	}
	if lines := [3]int{problems[0].Line, problems[1].Line, problems[2].Line}; lines != [3]int{73, 74, 43} {
		t.Errorf("lines %v, want 73 and 74 of the first file, 43 of the second", lines)
	}
}

func TestLoadRefusesDeepNesting(t *testing.T) {
	for name, text := range map[string]string{
		"brackets":    strings.Repeat("[", 100_000),
		"indentation": strings.Repeat(" ", 100_000) + "a: b",
		"dashes":      strings.Repeat("- ", 100_000) + "a",
	} {
		l := newLoader(Options{})
		l.add("deep.yaml", []byte(text))
		if _, err := l.finish(); err == nil || !strings.Contains(err.Error(), "nested too deeply") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadNeedsFiles(t *testing.T) {
	if _, err := Load(t.TempDir(), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}

func TestLoadWithoutKeysNotesThem(t *testing.T) {
	edits := []edit{
		{main, "keys/ss.pub.pem", "${keys}/ss.pub.pem"},
		{matters, "keys/ws-01.pub.pem", "${keys}/ws-01.pub.pem"},
	}
	dir := city(t, edits...)
	c, err := Load(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if notes := c.Notes(); len(notes) != 2 || notes[0].Line != 14 || !strings.Contains(notes[0].String(), "${keys}/ss.pub.pem not checked") {
		t.Errorf("notes %v, want one for each key", c.Notes())
	}
	if err := Validate(c); err == nil {
		t.Error("a catalogue without keys passes as complete")
	}
	files, err := KeyFiles(dir)
	if err != nil || len(files) != 2 ||
		files[0] != (KeyFile{Path: "ss.pub.pem", Kind: KindGrantKey, For: "departments[0].grant_key", ID: "12690100006900149D"}) ||
		files[1] != (KeyFile{Path: "ws-01.pub.pem", Kind: KindAgentKey, For: "workstations[0].agent_key", ID: "ws-01"}) {
		t.Errorf("KeyFiles: %v, %v", files, err)
	}
	c, err = Load(dir, Options{Vars: map[string]string{"keys": filepath.Join(dir, "keys")}})
	if err != nil || len(c.Notes()) != 0 || c.AgentKey("ws-01") == nil {
		t.Errorf("with keys: %v", err)
	}
}

func TestLookUps(t *testing.T) {
	c := mustLoad(t)
	if _, ok := c.GrantFor("hall", "PRH", "SI-01"); !ok {
		t.Error("the grant is not found")
	}
	if _, ok := c.GrantFor("housing", "PRH", "SI-01"); ok {
		t.Error("a caller without grant has one")
	}
	digest := func(b string) string { return strings.Repeat(b, 64) }
	if o, ok := c.Operator(digest("b")); !ok || o.ID != "clerk-01" {
		t.Error("operator not known by certificate")
	}
	if _, ok := c.Operator(digest("a")); ok {
		t.Error("a system's certificate passes for an operator's")
	}
	if v, ok := c.CallerByCertificate(digest("a")); !ok || v.ID != "housing" {
		t.Error("system not known by certificate")
	}
	if w, ok := c.WorkstationByCertificate(digest("c")); !ok || w.ID != "ws-01" {
		t.Error("workstation not known by certificate")
	}
	if c.Runes()[0xE863] != 0x4DAE {
		t.Errorf("name map %v", c.Runes())
	}
	if c.GrantKey("12690100006900149D") == nil || c.GrantKey("11690100MB69001143") != nil {
		t.Error("grant keys: want one for the owner only")
	}
	item, _ := c.Item("PRH")
	s, ok := item.Situation("")
	if roles := item.RolesIn(s); !ok || len(roles) != 1 || !s.Lists("SI-01") {
		t.Errorf("situation %v, roles %v", s, roles)
	}
	source, _ := c.Source("si-province")
	other, _ := c.Source("si-city")
	if source.Limit(c.Deadlines) != 2*time.Second || other.Limit(c.Deadlines) != 3*time.Second {
		t.Error("limits: want the source's own, else the route's")
	}
	proof, _ := c.Proof("SI-01")
	if proof.Issuer.For([]map[string]any{{"kind": "210"}}) != "bd" || proof.Issuer.For([]map[string]any{{"kind": "110"}}) != "ss" || proof.Issuer.For(nil) != "ss" {
		t.Error("issuer rule: want the mapped seal for a mapped value, else the proof's")
	}
	if g, _ := c.GrantFor("hall", "PRH", "SI-01"); g.NotAfter.Format(time.RFC3339) != "2035-12-31T15:59:59Z" {
		t.Errorf("grant ends %v, want the end of the day in Beijing", g.NotAfter)
	}
}

func TestValidityUntil(t *testing.T) {
	issued := time.Date(2026, 11, 30, 16, 4, 5, 0, beijing.Zone())
	for _, c := range []struct {
		name string
		v    Validity
		want string
	}{
		{"days count from the day after", Validity{Days: 30}, "2026-12-30"},
		{"months end with a shorter month", Validity{Months: 3}, "2027-02-28"},
		{"within the month", Validity{Days: 31, MonthEnd: true}, "2026-11-30"},
		{"on that day only", Validity{DayOnly: true}, "2026-11-30"},
	} {
		if got := c.v.Until(issued).Format(time.DateOnly); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestValidateRecordNamesPlacesNeverValues(t *testing.T) {
	c := mustLoad(t)
	if err := c.ValidateRecord("SI-01", map[string]any{"month": "2026-01", "kind": "110", "base": "1.00"}); err != nil {
		t.Errorf("a good record: %v", err)
	}
	for _, r := range []struct {
		name   string
		record map[string]any
		want   string
	}{
		{"wrong type", map[string]any{"month": "2026-01", "base": 690102}, "type at /base"},
		{"wrong form", map[string]any{"month": "690102198503120016", "base": "1.00"}, "pattern at /month"},
		{"unknown code", map[string]any{"month": "2026-01", "base": "1.00", "kind": "690102"}, "enum at /kind"},
		{"missing field", map[string]any{"month": "2026-01"}, "required"},
		{"additional field", map[string]any{"month": "2026-01", "base": "1.00", "690102": "690102"}, "additionalProperties"},
		{"not JSON", map[string]any{"month": make(chan int)}, "not JSON"},
	} {
		err := c.ValidateRecord("SI-01", r.record)
		if !errors.Is(err, ErrRecord) || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s: %v, want ErrRecord with %s", r.name, err, r.want)
		} else if strings.Contains(err.Error(), "690102") {
			t.Errorf("%s: the error quotes the record: %v", r.name, err)
		}
	}
	if err := c.ValidateRecord("SI-02", nil); !errors.Is(err, ErrRecord) {
		t.Errorf("unknown proof: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, name := range []string{main, matters} {
		text, err := os.ReadFile(filepath.Join("testdata/good", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, s := range []string{"", "a: [", "city: {code: 1}", "proofs:\n- &a\n  *a", "departments: [{id: !!binary x}]", "? [a]: b", "items:\n  - - -", "\x00", "city:\n\tname: x", "name_map: {<<: {a: b}}", "- a\n---\n- b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		began := time.Now()
		l := newLoader(Options{})
		l.add("testdata/good/fuzz.yaml", text)
		c, err := l.finish()
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("%d bytes took %s", len(text), took)
		}
		if (c == nil) == (err == nil) {
			t.Fatalf("catalogue %v with error %v", c != nil, err)
		}
		var problems Problems
		if err != nil && (!errors.As(err, &problems) || problems[0].Line < 1) {
			t.Fatalf("error without a line: %v", err)
		}
	})
}

func TestHostedSealNeedsItsSourceBehindThatFront(t *testing.T) {
	_, err := Load(city(t,
		edit{main, "name: 示例市大数据局}\nsources:", "name: 示例市大数据局, front: f}\nfronts: [{id: f, department: \"12690100006900149D\", key: keys/ss.pub.pem}]\nsources:"},
		edit{main, "    sources: [si-province, si-city]", "    sources: [si-city]"}), Options{})
	for _, want := range []string{"the source of SI-01 must be behind that front", "SI-01 的数据源须在同一前置机之后"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said: %v", want, err)
		}
	}
}

func TestSealPositionsOnThePaperAreTaken(t *testing.T) {
	const validity = "    validity: {months: 3, wording: 三个月内有效，可扫码验真}\n"
	for _, position := range []string{"{}", "{x: -115, y: 25}", "{page: last, anchor: issuer, x: 20, y: -25}",
		"{page: first, anchor: bottom-right, x: 21, y: 21}", "{anchor: top-left, x: 189, y: 276}"} {
		c := mustLoad(t, edit{main, validity, validity + "    seal_position: " + position + "\n"})
		if p, _ := c.Proof("SI-01"); (position == "{}") != (p.SealPosition == SealPosition{}) {
			t.Errorf("%s: %+v", position, p.SealPosition)
		}
	}
}

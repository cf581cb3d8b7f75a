package web_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"yizheng/web"
)

// document is openapi.yaml, ready to hold answers against it.
type document struct {
	root     map[string]any
	compiler *jsonschema.Compiler
	mu       sync.Mutex // of compiler: agents' events are checked beside answers
	paths    map[string]*regexp.Regexp
}

const documentURL = "https://yizheng.example/openapi.json"

func readDocument(t testing.TB, body []byte) *document {
	t.Helper()
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	ok(t, err)
	d := &document{root: raw.(map[string]any), compiler: jsonschema.NewCompiler(), paths: map[string]*regexp.Regexp{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	ok(t, d.compiler.AddResource(documentURL, raw))
	for path := range d.root["paths"].(map[string]any) {
		d.paths[path] = regexp.MustCompile("^" + regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(path), "[^/]+") + "$")
	}
	return d
}

// at follows a JSON pointer's tokens, and every $ref on the way; it returns the place it ended at.
func (d *document) at(tokens ...string) (any, string) {
	var v any = d.root
	place := "#"
	for _, token := range tokens {
		m, _ := v.(map[string]any)
		if ref, isRef := m["$ref"].(string); isRef {
			v, place = d.at(split(ref)...)
			m, _ = v.(map[string]any)
		}
		if v = m[token]; v == nil {
			return nil, ""
		}
		place += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(token)
	}
	if m, isMap := v.(map[string]any); isMap {
		if ref, isRef := m["$ref"].(string); isRef && !strings.Contains(place, "/schema") {
			return d.at(split(ref)...)
		}
	}
	return v, place
}

func split(ref string) []string {
	tokens := strings.Split(strings.TrimPrefix(ref, "#/"), "/")
	for i := range tokens {
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(tokens[i])
	}
	return tokens
}

// validate holds a JSON text against the schema at a place of the document.
func (d *document) validate(t testing.TB, place string, body []byte) {
	t.Helper()
	d.mu.Lock()
	s, err := d.compiler.Compile(documentURL + place)
	d.mu.Unlock()
	ok(t, err)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Errorf("%s: not JSON: %v\n%s", place, err, body)
		return
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("%s: %v\n%s", place, err, body)
	}
}

// check holds one answer against what the document says of the call.
func (d *document) check(t testing.TB, method, path string, resp *http.Response, body []byte) {
	t.Helper()
	if n := resp.Header.Get("Request-Number"); !regexp.MustCompile("^[A-Z2-7]{16}$").MatchString(n) {
		t.Errorf("%s %s %d: request number %q", method, path, resp.StatusCode, n)
	}
	template := ""
	for candidate, form := range d.paths {
		if form.MatchString(path) && (template == "" || len(candidate) < len(template) || !strings.Contains(candidate, "{")) {
			template = candidate
		}
	}
	op, _ := d.at("paths", template, strings.ToLower(method))
	if op == nil && method == http.MethodHead {
		return
	}
	if op == nil { // 404 and 405
		d.validate(t, "#/components/schemas/Problem", body)
		return
	}
	status := http.StatusText(resp.StatusCode)
	answer, place := d.at("paths", template, strings.ToLower(method), "responses", itoa(resp.StatusCode))
	if answer == nil {
		if resp.StatusCode < 400 {
			t.Errorf("%s %s: %d %s is not in the document", method, template, resp.StatusCode, status)
			return
		}
		answer, place = d.at("paths", template, strings.ToLower(method), "responses", "default")
	}
	d.checkHeaders(t, answer.(map[string]any), method+" "+template, resp)
	content, _ := answer.(map[string]any)["content"].(map[string]any)
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if content == nil {
		if len(body) > 0 {
			t.Errorf("%s %s %d: a body where the document has none", method, template, resp.StatusCode)
		}
		return
	}
	if content[kind] == nil {
		t.Errorf("%s %s %d: content type %q is not in the document", method, template, resp.StatusCode, kind)
		return
	}
	place += "/content/" + strings.ReplaceAll(kind, "/", "~1") + "/schema"
	switch {
	case strings.HasSuffix(kind, "json"):
		d.validate(t, place, body)
	case kind == "application/jose":
		quoted, _ := json.Marshal(string(body))
		d.validate(t, place, quoted)
	}
}

func (d *document) checkHeaders(t testing.TB, answer map[string]any, call string, resp *http.Response) {
	t.Helper()
	headers, _ := answer["headers"].(map[string]any)
	for name := range headers {
		if resp.Header.Get(name) == "" {
			t.Errorf("%s %d: header %s is missing", call, resp.StatusCode, name)
		}
	}
}

func itoa(n int) string {
	return string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)})
}

func TestOpenAPIDocumentIsValid(t *testing.T) {
	b, err := os.ReadFile("openapi.yaml")
	ok(t, err)
	body, err := yaml.YAMLToJSON(b)
	ok(t, err)
	doc, err := openapi3.NewLoader().LoadFromData(body)
	ok(t, err)
	if !doc.IsOpenAPI31OrLater() {
		t.Fatalf("version %s", doc.OpenAPI)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaFormatValidation(), openapi3.EnableMultiError()); err != nil {
		t.Error(err)
	}
	d := readDocument(t, body)
	for name := range d.root["components"].(map[string]any)["schemas"].(map[string]any) {
		if _, err := d.compiler.Compile(documentURL + "#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
}

func mapOf(v any) map[string]any { m, _ := v.(map[string]any); return m }

func TestRoutesAndDocumentAreTheSameSet(t *testing.T) {
	g := start(t, nil)
	documented := map[string]bool{}
	for path, ops := range g.api.root["paths"].(map[string]any) {
		for method, op := range ops.(map[string]any) {
			documented[strings.ToUpper(method)+" "+path] = true
			if mapOf(op)["summary"] == nil || mapOf(op)["operationId"] == nil {
				t.Errorf("%s %s has no summary or operationId", method, path)
			}
		}
	}
	param := regexp.MustCompile(`:([a-z]+)`)
	for _, rt := range g.server.RouteTable() {
		path := param.ReplaceAllString(rt.Path, "{$1}")
		if !documented[rt.Method+" "+path] {
			t.Errorf("route %s %s is not in the document", rt.Method, path)
		}
		delete(documented, rt.Method+" "+path)
		_, open := mapOf(g.operation(rt.Method, path))["security"]
		if open != rt.Public {
			t.Errorf("%s %s: public %v in the table, security: [] %v in the document", rt.Method, path, rt.Public, open)
		}
		_, hasBody := mapOf(g.operation(rt.Method, path))["requestBody"]
		if hasBody != (rt.Limit > 0) {
			t.Errorf("%s %s: body limit %d, but request body in the document: %v", rt.Method, path, rt.Limit, hasBody)
		}
	}
	for call := range documented {
		t.Errorf("documented call %s has no route", call)
	}
}

func (g *gateway) operation(method, path string) any {
	op, _ := g.api.at("paths", path, strings.ToLower(method))
	return op
}

func TestEveryRouteHasAnAuditClassAndLimits(t *testing.T) {
	g := start(t, nil)
	streams := []string{"/v1/agents/connect", "/v1/exchanges/:no/events"}
	public := []string{"/", "/assets/:name", "/openapi.json", "/v1/audit/checkpoint", "/v1/health"}
	inside := 0
	for _, rt := range g.server.RouteTable() {
		name := rt.Method + " " + rt.Path
		switch rt.Class {
		case "inside":
			inside++
		case "recorded":
			if rt.Op == "" {
				t.Errorf("%s: recorded without an operation", name)
			}
		case "nothing":
			if rt.Public && !slices.Contains(public, rt.Path) {
				t.Errorf("%s: public and unrecorded; list it in this test only if it holds public facts alone", name)
			}
		default:
			t.Errorf("%s: audit class %q", name, rt.Class)
		}
		if rt.Method == http.MethodGet && rt.Limit != 0 {
			t.Errorf("%s: a GET with a body", name)
		}
		if rt.Limit > 20<<20 {
			t.Errorf("%s: limit %d", name, rt.Limit)
		}
		if !rt.Timed && !slices.Contains(streams, rt.Path) {
			t.Errorf("%s: no time limit", name)
		}
	}
	if inside == 0 {
		t.Error("no route at all")
	}
}

// Every code a package can say is in the document, and none that it cannot.
func TestProblemCodesAndDocumentAreTheSameSet(t *testing.T) {
	g := start(t, nil)
	documented := map[string]bool{}
	list, _ := g.api.at("components", "schemas", "ProblemCode", "enum")
	for _, code := range list.([]any) {
		documented[code.(string)] = false
	}
	said := regexp.MustCompile(`(?:newProblem\(http\.\w+, |refuse\(http\.\w+, |= )"([A-Z]+(?:_[A-Z]+)*)"|fail\(ctx, r, "([A-Z_]+)"|errReading\{"([A-Z_]+)"|return "(REFUSED)"|Code: "([A-Z_]+)"`)
	for _, pattern := range []string{".", "../exchange/reading", "../audit/search"} {
		entries, err := os.ReadDir(pattern)
		ok(t, err)
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
				b, err := os.ReadFile(pattern + "/" + e.Name())
				ok(t, err)
				for _, m := range said.FindAllStringSubmatch(string(b), -1) {
					documented[strings.Join(m[1:], "")] = documentedCode(t, documented, strings.Join(m[1:], ""))
				}
			}
		}
	}
	for _, code := range web.ReasonCodes() {
		documented[code] = documentedCode(t, documented, code)
	}
	for code, used := range documented {
		if !used {
			t.Errorf("code %s is documented, but nothing says it", code)
		}
	}
}

func documentedCode(t *testing.T, documented map[string]bool, code string) bool {
	t.Helper()
	if _, known := documented[code]; !known {
		t.Errorf("code %s is not in the document", code)
	}
	return true
}

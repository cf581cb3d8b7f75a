package catalog

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"yizheng/catalog/beijing"
)

// decoder fills Go values from a YAML tree and remembers where each of them
// is written. It is stricter than a YAML library: no unknown or repeated key,
// no guessing of types (690100 is not the string "690100"), no anchors, tags
// or merges. It goes on after a mistake, so that one run reports all.
type decoder struct {
	file     string
	refs     *references
	places   map[string]place
	problems Problems
}

var (
	durationType = reflect.TypeFor[Duration]()
	timeType     = reflect.TypeFor[time.Time]()
	rawType      = reflect.TypeFor[json.RawMessage]()
)

func (d *decoder) bad(tk *token.Token, path, zh, en string, args ...any) {
	p := Problem{File: d.file, Line: 1, Column: 1, Path: path, Chinese: fmt.Sprintf(zh, args...), English: fmt.Sprintf(en, args...)}
	if tk != nil && tk.Position != nil {
		p.Line, p.Column = tk.Position.Line, tk.Position.Column
	}
	d.problems = append(d.problems, p)
}

func (d *decoder) mark(tk *token.Token, path string) {
	if tk != nil && tk.Position != nil {
		d.places[path] = place{d.file, tk.Position.Line, tk.Position.Column}
	}
}

// first is the token where a node begins.
func first(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return first(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

// value decodes n into v. How the field's string is to be read (pem, cert,
// file) is in tag.
func (d *decoder) value(n ast.Node, v reflect.Value, path string, tag tag) {
	switch v.Type() {
	case durationType, timeType:
		d.text(n, v, path)
		return
	case rawType:
		d.reference(n, v, path, tag)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Map:
		d.table(n, v, path)
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
			return
		}
		d.bad(first(n), path, "类型不对：此处应为 true 或 false", "wrong type: write true or false here")
	case reflect.Int:
		d.integer(n, v, path)
	case reflect.String:
		if tag.how != "" {
			d.reference(n, v, path, tag)
			return
		}
		if s, ok := d.str(n, path); ok {
			v.SetString(s)
		}
	}
}

// str reads a string scalar. Numbers and booleans are refused: quoting them
// keeps leading zeros and long codes intact.
func (d *decoder) str(n ast.Node, path string) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimSuffix(n.Value.Value, "\n"), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		d.bad(first(n), path, "类型不对：此处应为文字，请加引号", "wrong type: this is a text, put it in quotes")
	default:
		d.bad(first(n), path, "类型不对：此处应为文字", "wrong type: write a text here")
	}
	return "", false
}

func (d *decoder) integer(n ast.Node, v reflect.Value, path string) {
	if i, ok := n.(*ast.IntegerNode); ok {
		switch x := i.Value.(type) {
		case int64:
			if !v.OverflowInt(x) {
				v.SetInt(x)
				return
			}
		case uint64:
			if x < 1<<31 {
				v.SetInt(int64(x))
				return
			}
		}
	}
	d.bad(first(n), path, "类型不对：此处应为整数", "wrong type: write a whole number here")
}

// text decodes durations and times.
func (d *decoder) text(n ast.Node, v reflect.Value, path string) {
	s, ok := d.str(n, path)
	if !ok {
		return
	}
	if v.Type() == durationType {
		var x Duration
		if x.UnmarshalText([]byte(s)) != nil {
			d.bad(first(n), path, "时长 %q 无法识别，应写成 3s、90s、72h", "duration %q not understood, write 3s, 90s or 72h", s)
			return
		}
		v.Set(reflect.ValueOf(x))
		return
	}
	t, err := parseTime(s)
	if err != nil {
		d.bad(first(n), path, "时间 %q 无法识别，应写成 2027-12-31 或 2027-12-31T23:59:59+08:00", "time %q not understood, write 2027-12-31 or 2027-12-31T23:59:59+08:00", s)
		return
	}
	v.Set(reflect.ValueOf(t))
}

func parseTime(s string) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, s, beijing.Zone()); err == nil {
		return day.AddDate(0, 0, 1).Add(-time.Second).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.bad(first(n), path, "类型不对：此处应为列表（每项以 - 开头）", "wrong type: write a list here (each entry begins with -)")
		return
	}
	for _, item := range seq.Values {
		at := fmt.Sprintf("%s[%d]", path, v.Len())
		d.mark(first(item), at)
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(item, e, at, tag{})
		v.Set(reflect.Append(v, e))
	}
}

// pairs yields the entries of a mapping in file order, having refused
// repeated, merged and non-text keys.
func (d *decoder) pairs(n ast.Node, path string) ([]pair, bool) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		d.bad(first(n), path, "类型不对：此处应为“键: 值”", "wrong type: write key: value pairs here")
		return nil, false
	}
	var out []pair
	seen := map[string]bool{}
	for _, mv := range values {
		tk := mv.Key.GetToken()
		key, ok := keyText(mv.Key)
		if !ok {
			d.bad(tk, path, "键应为文字，请加引号", "a key is a text, put it in quotes")
			continue
		}
		if seen[key] {
			d.bad(tk, join(path, key), "键重复，请删去其一", "key given twice, remove one")
			continue
		}
		seen[key] = true
		out = append(out, pair{key, tk, mv.Value})
	}
	return out, true
}

type pair struct {
	key   string
	token *token.Token
	value ast.Node
}

func keyText(k ast.MapKeyNode) (string, bool) {
	if s, ok := k.(*ast.StringNode); ok {
		return s.Value, true
	}
	return "", false
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (d *decoder) table(n ast.Node, v reflect.Value, path string) {
	pairs, ok := d.pairs(n, path)
	if !ok {
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, p := range pairs {
		at := join(path, p.key)
		if prev, dup := d.places[at]; dup {
			d.bad(p.token, at, "键重复，已在 %s:%d 给出", "key given twice, first at %s:%d", prev.file, prev.line)
			continue
		}
		d.mark(p.token, at)
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(p.value, e, at, tag{})
		v.SetMapIndex(reflect.ValueOf(p.key).Convert(v.Type().Key()), e)
	}
}

func (d *decoder) structure(n ast.Node, v reflect.Value, path string) {
	pairs, ok := d.pairs(n, path)
	if !ok {
		return
	}
	fields := fieldsOf(v.Type())
	given := map[string]bool{}
	for _, p := range pairs {
		f, known := fields[p.key]
		at := join(path, p.key)
		if !known {
			d.bad(p.token, at, "没有这个键；此处可用：%s", "unknown key; known here: %s", strings.Join(names(fields), ", "))
			continue
		}
		given[p.key] = true
		fv := v.Field(f.index)
		if prev, dup := d.places[at]; dup && fv.Kind() != reflect.Slice && fv.Kind() != reflect.Map {
			d.bad(p.token, at, "键重复，已在 %s:%d 给出", "key given twice, first at %s:%d", prev.file, prev.line)
			continue
		} else if !dup {
			d.mark(p.token, at)
		}
		d.value(p.value, fv, at, f)
	}
	if path == "" {
		return // a catalogue may be spread over files; Validate sees the whole
	}
	for _, name := range names(fields) {
		if !fields[name].optional && !given[name] {
			d.bad(first(n), path, "缺少键 %s", "key %s is missing", name)
		}
	}
}

// tag is what a struct field's yaml tag says: name[,optional][,pem|cert|file].
type tag struct {
	index    int
	optional bool
	how      string
}

func fieldsOf(t reflect.Type) map[string]tag {
	out := map[string]tag{}
	for i := range t.NumField() {
		text, ok := t.Field(i).Tag.Lookup("yaml")
		if !ok {
			continue
		}
		parts := strings.Split(text, ",")
		f := tag{index: i}
		for _, o := range parts[1:] {
			if o == "optional" {
				f.optional = true
			} else {
				f.how = o
			}
		}
		out[parts[0]] = f
	}
	return out
}

func names(fields map[string]tag) []string {
	out := make([]string, 0, len(fields))
	for n := range fields {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

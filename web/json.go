package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a request's JSON may nest.
const maxDepth = 16

// maxMembers is how many members one list or object of it may have. Decoded, the
// emptiest take many times the memory that the body does.
const maxMembers = 10_000

// decode reads a JSON body strictly: an unknown member is an error, so that a
// client's mistake (or an ID number typed into a made-up parameter) is refused,
// and so is whatever two parsers could read differently: repeated members,
// names in another case, bytes that are not UTF-8, more than one value.
func (r *request) decode(into any) error {
	if t := r.contentType(); t != "" && t != "application/json" {
		return wrongType("application/json")
	}
	if err := strict(r.body, into); err != nil {
		return newProblem(http.StatusBadRequest, "MALFORMED_BODY", "", "请求体不是合法的 JSON，或含有未定义、重复的成员；请对照 /openapi.json", "the body is not the expected JSON, or has an undefined or repeated member; see /openapi.json")
	}
	return nil
}

var errJSON = errors.New("not the expected JSON")

// strict decodes body into a pointer to a struct.
func strict(body []byte, into any) error {
	if !utf8.Valid(body) {
		return errJSON
	}
	tokens := json.NewDecoder(bytes.NewReader(body))
	tokens.UseNumber()
	if err := walk(tokens, reflect.TypeOf(into), 0); err != nil {
		return err
	}
	if _, err := tokens.Token(); !errors.Is(err, io.EOF) {
		return errJSON
	}
	return json.Unmarshal(body, into)
}

// walk checks one value against the type it will be decoded into; nil is any type.
func walk(d *json.Decoder, t reflect.Type, depth int) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	switch {
	case token == nil || depth == maxDepth || depth == 0 && open != '{':
		return errJSON // no call takes null; what is not there is left out
	case !ok:
		return nil
	}
	seen := make(map[string]bool)
	for n := 0; d.More(); n++ {
		if n == maxMembers {
			return errJSON
		}
		inner := element(t)
		if open == '{' {
			if inner, err = member(d, t, seen); err != nil {
				return err
			}
		}
		if err := walk(d, inner, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing bracket
	return err
}

// member reads a member's name and returns the type of its value.
func member(d *json.Decoder, t reflect.Type, seen map[string]bool) (reflect.Type, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	name, _ := token.(string)
	if folded := strings.ToLower(name); !seen[folded] {
		seen[folded] = true
	} else {
		return nil, errJSON
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return element(t), nil
	}
	for i := range t.NumField() {
		tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if tag == name && tag != "-" {
			return t.Field(i).Type, nil
		}
	}
	return nil, errJSON
}

// element is the type of a list's or map's values, nil where anything goes.
func element(t reflect.Type) reflect.Type {
	if t == nil || t == reflect.TypeFor[json.RawMessage]() {
		return nil
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		return t.Elem()
	default:
		return nil
	}
}

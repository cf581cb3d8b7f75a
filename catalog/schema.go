package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// ErrRecord is wrapped by ValidateRecord's errors.
var ErrRecord = errors.New("record does not fit its schema")

var errRemote = errors.New("references to other documents are not allowed")

// noLoader refuses every reference that is not inside the schema itself.
type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errRemote }

// compileSchema compiles a JSON Schema 2020-12 with format assertions on.
func compileSchema(text []byte) (*jsonschema.Schema, map[string]any, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, nil, fmt.Errorf("not JSON: %w", err)
	}
	root, ok := doc.(map[string]any)
	if !ok {
		return nil, nil, errors.New("not a JSON object")
	}
	if s, given := root["$schema"]; given && s != "https://json-schema.org/draft/2020-12/schema" {
		return nil, nil, errors.New("$schema is not draft 2020-12")
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.AssertFormat()
	const id = "urn:yizheng:record"
	if err := c.AddResource(id, doc); err != nil {
		return nil, nil, err
	}
	s, err := c.Compile(id)
	return s, root, err
}

// ValidateRecord checks one mapped record against the proof's schema. The
// error wraps ErrRecord and names the places and rules broken, never a value
// of the record.
func (c *Catalogue) ValidateRecord(code ProofCode, record map[string]any) error {
	return c.validateRecord(code, record, func(string) bool { return true })
}

// ValidateGranted is ValidateRecord for a record of which a front has handed
// over the granted fields only: that others are missing is no mistake. The
// front has held the whole record to the schema.
func (c *Catalogue) ValidateGranted(code ProofCode, record map[string]any) error {
	return c.validateRecord(code, record, func(place string) bool { return place != "required at /" })
}

// validateRecord reports the broken places that matter.
func (c *Catalogue) validateRecord(code ProofCode, record map[string]any, matters func(place string) bool) error {
	schema, ok := c.ix.schemas[code]
	if !ok {
		return fmt.Errorf("%w: proof %s unknown", ErrRecord, code)
	}
	plain, err := plainJSON(record)
	if err != nil {
		return fmt.Errorf("%w: not JSON", ErrRecord) // the cause may quote a value
	}
	var broken *jsonschema.ValidationError
	if err := schema.Validate(plain); errors.As(err, &broken) {
		list := slices.DeleteFunc(places(broken), func(p string) bool { return !matters(p) })
		if len(list) == 0 {
			return nil
		}
		return fmt.Errorf("%w: %s", ErrRecord, strings.Join(list, "; "))
	} else if err != nil {
		return ErrRecord
	}
	return nil
}

// plainJSON brings Go values (int, time, named types) to what JSON knows.
func plainJSON(record map[string]any) (any, error) {
	text, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
}

// places names the leaves of a validation error: where and which keyword.
// An instance location holds property names; those of additional properties
// are the source's, so only known ones can be trusted to be no data.
func places(e *jsonschema.ValidationError) []string {
	if len(e.Causes) == 0 {
		return []string{strings.Join(e.ErrorKind.KeywordPath(), "/") + " at /" + strings.Join(e.InstanceLocation, "/")}
	}
	var out []string
	for _, cause := range e.Causes {
		out = append(out, places(cause)...)
	}
	return out
}

// schemaMessage is a compile error in one line.
func schemaMessage(err error) string {
	var invalid *jsonschema.SchemaValidationError
	if errors.As(err, &invalid) {
		var broken *jsonschema.ValidationError
		if errors.As(invalid.Err, &broken) {
			for len(broken.Causes) > 0 {
				broken = broken.Causes[0]
			}
			return "/" + strings.Join(broken.InstanceLocation, "/") + ": " + broken.ErrorKind.LocalizedString(message.NewPrinter(language.English))
		}
	}
	if errors.Is(err, errRemote) {
		return errRemote.Error()
	}
	return strings.SplitN(err.Error(), "\n", 2)[0]
}

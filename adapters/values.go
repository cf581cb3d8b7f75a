package adapters

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"yizheng/catalog/beijing"
	"yizheng/identity"
)

// decodeJSON reads exactly one JSON value and keeps its numbers as written.
func decodeJSON(raw []byte) (any, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrAnswer)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: not JSON", ErrAnswer)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one JSON value", ErrAnswer)
	}
	return v, nil
}

// parseDataTime reads RFC 3339, or YYYYMMDDhhmmss in Beijing time.
func parseDataTime(s string) (time.Time, error) {
	if len(s) == 14 {
		return time.ParseInLocation("20060102150405", s, beijing.Zone())
	}
	return time.Parse(time.RFC3339, s)
}

// budget bounds what an expression may yield.
type budget struct{ nodes, text int }

var (
	errTooLarge = errors.New("yields too much")
	errFraction = errors.New("computes a fraction; use the number as the source wrote it")
)

// exact copies a value, with numbers as json.Number: as the source wrote them,
// or integers. A fraction that an expression computed has passed through
// binary floating point and may be a cent off, so it is refused.
func (b *budget) exact(v any) (any, error) {
	if b.nodes--; b.nodes < 0 || b.text < 0 {
		return nil, errTooLarge
	}
	switch v := v.(type) {
	case nil, bool, json.Number:
		return v, nil
	case string:
		if b.text -= len(v); b.text < 0 {
			return nil, errTooLarge
		}
		return v, nil
	case int:
		return json.Number(strconv.Itoa(v)), nil
	case *big.Int:
		return json.Number(v.String()), nil
	case float64:
		if v != math.Trunc(v) || math.Abs(v) > 1<<53 { // also NaN and infinities
			return nil, errFraction
		}
		return json.Number(strconv.FormatFloat(v, 'f', 0, 64)), nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = b.exact(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			b.text -= len(k)
			var err error
			if out[k], err = b.exact(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("yields a %T", v)
}

// parameter is one value of a person that a question may carry.
type parameter string

const (
	paramNumber   parameter = "number"
	paramName     parameter = "name"
	paramNumber15 parameter = "number15" // as cards had it until 1999; absent for those born since 2000
)

// of returns the value, and false if this person has none.
func (p parameter) of(person identity.Person) (string, bool) {
	var v string
	switch p {
	case paramNumber:
		v = person.Number.Reveal()
	case paramName:
		v = person.Name.Reveal()
	case paramNumber15:
		return person.Number.Old15()
	}
	return v, v != ""
}

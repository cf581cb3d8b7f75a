package adapters

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"yizheng/catalog/beijing"
)

// statement is one catalogue SELECT with its named parameters numbered $1, $2,
// … in the order of params: a form both drivers take.
type statement struct {
	text   string
	params []parameter
}

// parseStatement accepts one SELECT (or WITH … SELECT) whose parameters are
// :number, :name and :number15, the number among them. It refuses what would
// make it unsure where a literal ends: backslashes in literals, dollar signs,
// nested comments; and other placeholders and further statements.
func parseStatement(source string) (statement, error) {
	var st statement
	var out strings.Builder
	first := strings.ToUpper(firstWord(source))
	if first != "SELECT" && first != "WITH" {
		return st, errors.New("it must begin with SELECT or WITH")
	}
	for i := 0; i < len(source); {
		end, err := opaqueEnd(source, i)
		if err != nil {
			return st, err
		}
		if end > i { // a literal, quoted name or comment: copied as it is
			out.WriteString(source[i:end])
			i = end
			continue
		}
		switch c := source[i]; {
		case c == 0 || c == ';' || c == '$' || c == '?' || c == '@' || c == '#':
			return st, fmt.Errorf("%q is not allowed at byte %d", c, i)
		case c == ':' && strings.HasPrefix(source[i:], "::"): // PostgreSQL's cast
			out.WriteString("::")
			i += 2
		case c == ':':
			name := word(source[i+1:])
			n, err := st.position(parameter(name))
			if err != nil {
				return st, fmt.Errorf("%w at byte %d", err, i)
			}
			fmt.Fprintf(&out, "$%d", n)
			i += 1 + len(name)
		default:
			out.WriteByte(c)
			i++
		}
	}
	st.text = out.String()
	for _, p := range st.params {
		if p == paramNumber || p == paramNumber15 {
			return st, nil
		}
	}
	return statement{}, errors.New("it has neither :number nor :number15, so it would be about nobody")
}

// position numbers a parameter, the same one each time it occurs.
func (st *statement) position(p parameter) (int, error) {
	if p != paramNumber && p != paramName && p != paramNumber15 {
		return 0, errors.New("unknown parameter, want :number, :name or :number15")
	}
	for i, known := range st.params {
		if known == p {
			return i + 1, nil
		}
	}
	st.params = append(st.params, p)
	return len(st.params), nil
}

// opaqueEnd returns the end of the literal, quoted name or comment that begins
// at i, or i if none does.
func opaqueEnd(s string, i int) (int, error) {
	rest := s[i:]
	switch {
	case rest[0] == '\'', rest[0] == '"', rest[0] == '`':
		// A doubled quote is two literals side by side, which is as good.
		n := strings.IndexByte(rest[1:], rest[0])
		if n < 0 {
			return 0, fmt.Errorf("quote at byte %d is not closed", i)
		}
		if strings.ContainsAny(rest[:n+2], "\\\x00") {
			return 0, fmt.Errorf("backslash or NUL in quotes at byte %d is not allowed", i)
		}
		return i + n + 2, nil
	case strings.HasPrefix(rest, "--"):
		if n := strings.IndexByte(rest, '\n'); n >= 0 {
			return i + n + 1, nil
		}
		return len(s), nil
	case strings.HasPrefix(rest, "/*"):
		n := strings.Index(rest[2:], "*/")
		if n < 0 || strings.Contains(rest[2:2+n], "/*") {
			return 0, fmt.Errorf("comment at byte %d is nested or not closed", i)
		}
		return i + n + 4, nil
	}
	return i, nil
}

// word is the longest name at the start of s.
func word(s string) string {
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z' || s[n] >= utf8.RuneSelf) {
		n++
	}
	return s[:n]
}

func firstWord(s string) string { return word(strings.TrimLeft(s, " \t\r\n")) }

// cell is the JSON form of one value of a row.
func cell(v any, columnType string) (any, error) {
	switch v := v.(type) {
	case nil, bool:
		return v, nil
	case int64:
		return json.Number(strconv.FormatInt(v, 10)), nil
	case float64:
		return number(strconv.FormatFloat(v, 'f', -1, 64))
	case []byte:
		return cell(string(v), columnType)
	case string:
		if columnType == "NUMERIC" { // PostgreSQL's exact decimals arrive as text
			return number(v)
		}
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("%w: not UTF-8", ErrAnswer)
		}
		return v, nil
	case time.Time:
		switch {
		case columnType == "DATE":
			return v.Format(time.DateOnly), nil
		case columnType == "TIMESTAMPTZ" || v.Location() != time.UTC:
			return v.In(beijing.Zone()).Format(time.RFC3339), nil
		}
		return v.Format("2006-01-02T15:04:05") + "+08:00", nil // without a zone: the clock on the wall
	}
	return nil, fmt.Errorf("%w: %T has no JSON form", ErrAnswer, v)
}

// number keeps a decimal exactly, or refuses what JSON cannot say (NaN, Infinity).
func number(s string) (any, error) {
	if !json.Valid([]byte(s)) || s == "" || strings.ContainsAny(s[:1], `"[{tfn`) {
		return nil, fmt.Errorf("%w: not a number", ErrAnswer)
	}
	return json.Number(s), nil
}

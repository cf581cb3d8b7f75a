package adapters

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseStatement_NumbersParametersOutsideLiterals(t *testing.T) {
	for name, test := range map[string]struct{ in, out, params string }{
		"one":             {"SELECT a FROM t WHERE n = :number", "SELECT a FROM t WHERE n = $1", "[number]"},
		"order and twice": {"select :name, :number, :name, :number15", "select $1, $2, $1, $3", "[name number number15]"},
		"literal":         {"SELECT ':name', 'it''s :name' WHERE n=:number", "SELECT ':name', 'it''s :name' WHERE n=$1", "[number]"},
		"quoted name":     {`SELECT ":name", ` + "`:name`" + ` WHERE n=:number`, `SELECT ":name", ` + "`:name`" + ` WHERE n=$1`, "[number]"},
		"comments":        {"WITH x AS (SELECT 1) SELECT 1 -- :name ;\n/* :name; */ WHERE n=:number", "WITH x AS (SELECT 1) SELECT 1 -- :name ;\n/* :name; */ WHERE n=$1", "[number]"},
		"cast":            {"SELECT a::text WHERE n=:number::text", "SELECT a::text WHERE n=$1::text", "[number]"},
		"Chinese":         {"SELECT 姓名 AS \"姓名\" WHERE 证号=:number", "SELECT 姓名 AS \"姓名\" WHERE 证号=$1", "[number]"},
	} {
		t.Run(name, func(t *testing.T) {
			st, err := parseStatement(test.in)
			if err != nil || st.text != test.out || fmt.Sprint(st.params) != test.params {
				t.Errorf("got %s %v, %v", st.text, st.params, err)
			}
		})
	}
}

func TestParseStatement_Refuses(t *testing.T) {
	for name, in := range map[string]string{
		"empty":                "",
		"write":                "DELETE FROM t WHERE n = :number",
		"second statement":     "SELECT 1 WHERE n = :number; DROP TABLE t",
		"about nobody":         "SELECT * FROM t",
		"name alone":           "SELECT * FROM t WHERE n = :name",
		"number in a comment":  "SELECT * FROM t -- :number",
		"number in a literal":  "SELECT ':number'",
		"unknown parameter":    "SELECT :number, :address",
		"longer name":          "SELECT :number16",
		"bare colon":           "SELECT : number, :number",
		"own placeholder":      "SELECT $1, :number",
		"question mark":        "SELECT ?, :number",
		"dollar quotes":        "SELECT $$ ' $$, :number",
		"open literal":         "SELECT 'a, :number",
		"backslash in literal": `SELECT E'\' , :number --'`,
		"open comment":         "SELECT :number /* ",
		"nested comment":       "SELECT /* /* */ :number */",
		"NUL":                  "SELECT :number\x00",
	} {
		t.Run(name, func(t *testing.T) {
			if st, err := parseStatement(in); err == nil {
				t.Errorf("accepted as %s", st.text)
			}
		})
	}
}

func TestCell_JSONForms(t *testing.T) {
	moment := time.Date(2026, 11, 22, 2, 30, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		value  any
		column string
		want   string
	}{
		"null":                {nil, "TEXT", "<nil>"},
		"integer":             {int64(7), "INT8", "7"},
		"float":               {12.5, "FLOAT8", "12.5"},
		"exact decimal":       {"984.50", "NUMERIC", "984.50"},
		"text of digits":      {"984.50", "TEXT", "984.50"},
		"bytes":               {[]byte("李𬸚"), "TEXT", "李𬸚"},
		"date":                {moment, "DATE", "2026-11-22"},
		"time with zone":      {moment, "TIMESTAMPTZ", "2026-11-22T10:30:00+08:00"},
		"time without a zone": {moment, "TIMESTAMP", "2026-11-22T02:30:00+08:00"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := cell(test.value, test.column)
			if err != nil || fmt.Sprint(got) != test.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	for name, value := range map[string]any{"not UTF-8": "\xff", "not a decimal": struct{}{}} {
		if _, err := cell(value, "TEXT"); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	for _, s := range []string{"NaN", "Infinity", "", "true", `"1"`, "[1]", "1 2"} {
		if _, err := cell(s, "NUMERIC"); err == nil {
			t.Errorf("%q accepted as a number", s)
		}
	}
}

// Whatever is accepted has no parameter left, one statement, and the number in it.
func FuzzParseStatement(f *testing.F) {
	for _, s := range []string{
		"SELECT a FROM t WHERE n IN (:number, :number15)", "SELECT ':name' || \"x\" -- c\n, :number", "WITH a AS (SELECT /* */ 1) SELECT :number::text",
		"SELECT ''':number'", "SELECT `", "SELECT :number$1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		st, err := parseStatement(source)
		if err != nil {
			return
		}
		if len(st.params) == 0 || len(st.params) > 3 {
			t.Fatalf("%d parameters", len(st.params))
		}
		bare := stripOpaque(t, st.text)
		for i := range st.params {
			if !strings.Contains(bare, fmt.Sprintf("$%d", i+1)) {
				t.Errorf("parameter %d is not outside literals: %q", i+1, st.text)
			}
		}
		if strings.Count(bare, "$") != strings.Count(stripCasts(stripOpaque(t, source)), ":") || strings.ContainsAny(bare, ";?") {
			t.Errorf("%q became %q", source, st.text)
		}
	})
}

func stripOpaque(t *testing.T, s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		end, err := opaqueEnd(s, i)
		if err != nil {
			t.Fatal(err)
		}
		if end == i {
			b.WriteByte(s[i])
			end++
		} else {
			b.WriteByte(' ')
		}
		i = end
	}
	return b.String()
}

func stripCasts(s string) string { return strings.ReplaceAll(s, "::", "") }

package adapters

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/exchange"
)

// withField is a mapping that finds {"d":[…]} and maps one field.
func withField(field string) catalog.Mapping {
	return catalog.Mapping{NotFoundWhen: ".d == []", FoundWhen: ".d | length > 0", Records: ".d", DataTime: ".t",
		Subject: catalog.SubjectMapping{Number: ".n"}, Fields: map[string]string{"f": field}}
}

func apply(t *testing.T, m catalog.Mapping, raw string) (exchange.Answer, error) {
	t.Helper()
	c, err := compileMapping(m)
	if err != nil {
		t.Fatal(err)
	}
	c.within = 30 * time.Second // a machine may stand still
	return c.apply(t.Context(), []byte(raw))
}

func TestMapping_KeepsNumbersAsTheSourceWroteThem(t *testing.T) {
	for name, test := range map[string]struct{ field, raw, want string }{
		"trailing zeros":            {".v", `984.50`, `984.50`},
		"more digits than a float":  {".v", `12345678901234567.89`, `12345678901234567.89`},
		"an integer beyond a float": {".v", `123456789012345678901234567890`, `123456789012345678901234567890`},
		"text stays text":           {".v", `"0.10"`, `"0.10"`},
		"number to text":            {".v | tostring", `984.50`, `"984.50"`},
		"integer arithmetic":        {".v + 1", `41`, `42`},
		"length":                    {".v | length", `[1,2,3]`, `3`},
		"characters beyond the BMP": {".v", `"李𬸚"`, `"李𬸚"`},
		"nested values":             {".v", `{"a":[1.10,null,true]}`, `{"a":[1.10,null,true]}`},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := apply(t, withField(test.field), `{"d":[{"v":`+test.raw+`}]}`)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(a.Records[0].Fields["f"])
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

func TestMapping_TriesConditionsInOrder(t *testing.T) {
	m := catalog.Mapping{NotFoundWhen: ".c | contains([1])", NotIssuableWhen: ".c | contains([2])", PendingWhen: ".c | contains([3])",
		MultipleWhen: ".c | contains([4])", FoundWhen: ".c | contains([5])", Records: "[{}]"}
	for raw, want := range map[string]exchange.State{
		"[5,4,3,2,1]": exchange.StateNotFound, "[5,4,3,2]": exchange.StateNotIssuable, "[5,4,3]": exchange.StatePending,
		"[5,4]": exchange.StateMultiple, "[5]": exchange.StateFound,
	} {
		a, err := apply(t, m, `{"c":`+raw+`}`)
		if err != nil || a.State != want {
			t.Errorf("%s: got %s, %v; want %s", raw, a.State, err, want)
		}
	}
	if _, err := apply(t, m, `{"c":[6]}`); !errors.Is(err, ErrAnswer) {
		t.Errorf("an answer that no condition knows: %v", err)
	}
}

func TestMapping_RefusesWhatItDoesNotUnderstand(t *testing.T) {
	const canary = "690102198503120016"
	record := func(v string) string { return `{"d":[{"n":"` + canary + `","v":` + v + `}]}` }
	for name, test := range map[string]struct {
		m   catalog.Mapping
		raw string
	}{
		"not JSON":                {withField(".v"), canary},
		"HTML":                    {withField(".v"), "<html>" + canary},
		"two values":              {withField(".v"), record("1") + record("2")},
		"cut off":                 {withField(".v"), record("1")[:20]},
		"not UTF-8":               {withField(".v"), "{\"d\":[{\"v\":\"\xff\"}]}"},
		"number is not text":      {withField(".v"), `{"d":[{"n":` + canary + `}]}`},
		"condition not a boolean": {catalog.Mapping{NotFoundWhen: ".d", FoundWhen: "true", Records: ".d"}, record("1")},
		"condition fails":         {catalog.Mapping{NotFoundWhen: ".d.x", FoundWhen: "true", Records: ".d"}, record("1")},
		"records not an array":    {catalog.Mapping{NotFoundWhen: "false", FoundWhen: "true", Records: ".d[0]"}, record("1")},
		"found but no records":    {catalog.Mapping{NotFoundWhen: "false", FoundWhen: "true", Records: "[]"}, record("1")},
		"too many records":        {catalog.Mapping{NotFoundWhen: "false", FoundWhen: "true", Records: "[range(1001)]"}, record("1")},
		"field fails":             {withField(".v.x"), record(`"` + canary + `"`)},
		"field yields nothing":    {withField("empty"), record("1")},
		"field yields two":        {withField(".v, .n"), record("1")},
		"field yields a lot":      {withField("[range(200000)]"), record("1")},
		"field yields much text":  {withField(`"x" * 5000000`), record("1")},
		"computed fraction":       {withField(".v + 0.2"), record("0.1")},
		"infinity":                {withField("infinite"), record("1")},
		"time not a time":         {withField(".v"), `{"t":"2026/11/22 ` + canary + `","d":[{}]}`},
		"impossible time":         {withField(".v"), `{"t":"20261322100000","d":[{}]}`},
		"time not text":           {withField(".v"), `{"t":20261122100000,"d":[{}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := apply(t, test.m, test.raw)
			if !errors.Is(err, ErrAnswer) {
				t.Fatalf("error %v", err)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("error tells a value: %v", err)
			}
		})
	}
}

func TestMapping_DataTime(t *testing.T) {
	want := time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)
	for raw, expected := range map[string]time.Time{
		`"20261122100000"`: want, `"2026-11-22T10:00:00+08:00"`: want, `"2026-11-22T02:00:00Z"`: want, `null`: {}, `""`: {},
	} {
		a, err := apply(t, withField(".v"), `{"t":`+raw+`,"d":[{}]}`)
		if err != nil || !a.DataTime.Equal(expected) {
			t.Errorf("%s: %v, %v", raw, a.DataTime, err)
		}
	}
}

func TestMapping_EndlessExpressionEndsWithTheDeadline(t *testing.T) {
	c, err := compileMapping(withField("last(range(infinite))"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.apply(ctx, []byte(`{"d":[{}]}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestMapping_SeesNothingButTheAnswer(t *testing.T) {
	t.Setenv("YIZHENG_CANARY", "seen")
	for _, expression := range []string{"$ENV.YIZHENG_CANARY", "env.YIZHENG_CANARY"} {
		a, err := apply(t, withField(expression), `{"d":[{}]}`)
		if err != nil || a.Records[0].Fields["f"] != nil {
			t.Errorf("%s: %v", expression, err)
		}
	}
	for _, expression := range []string{"input", "inputs", "input_filename", `import "x" as x; .`, "$__loc__ | syntax("} {
		if CheckMapping(withField(expression)) == nil {
			t.Errorf("%s compiles", expression)
		}
	}
}

func TestCheckMapping_NamesEveryMistake(t *testing.T) {
	err := CheckMapping(catalog.Mapping{NotFoundWhen: ".a ==", FoundWhen: "true", Fields: map[string]string{"x": "nofunc"}})
	for _, part := range []string{"not_found_when", "fields.x", "required"} {
		if !errors.Is(err, ErrSource) || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
}

func TestCompiled_FollowsTheCatalogue(t *testing.T) {
	var c compiled[int]
	made := 0
	prepare := func(catalog.Source) (int, error) { made++; return made, nil }
	src := catalog.Source{ID: "a", Answer: withField(".v")}
	for _, want := range []int{1, 1} {
		if got, err := c.get(src, prepare); err != nil || got != want {
			t.Errorf("plan %d, want %d", got, want)
		}
	}
	src.Answer = withField(".w")
	if got, _ := c.get(src, prepare); got != 2 {
		t.Error("a changed entry kept its old plan")
	}
}

func FuzzMapping(f *testing.F) {
	for _, raw := range []string{`{"d":[{"n":"a","v":1.0}],"t":"20261122100000"}`, `{"d":[]}`, `[]`, `{"d":{"v":[]}}`, `null`, `{"d":[[[]]]}`} {
		f.Add([]byte(raw))
	}
	c, err := compileMapping(withField(".v"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := c.apply(t.Context(), raw)
		switch {
		case err != nil && !errors.Is(err, ErrAnswer):
			t.Errorf("error of another kind: %v", err)
		case err == nil && (a.State == exchange.StateFound) != (len(a.Records) > 0):
			t.Errorf("%s with %d records", a.State, len(a.Records))
		}
	})
}

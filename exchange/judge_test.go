package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"yizheng/catalog"
)

// partOf is a part of a proof about Li Ming, with the hall's grant.
func (c *city) partOf(code catalog.ProofCode) *part {
	c.t.Helper()
	proof, _ := c.release.Catalogue.Proof(code)
	pt := &part{id: string(code), proof: proof, subject: &subject{role: "applicant", claims: c.claims()}}
	c.ok(c.grant(pt, c.who, Request{Item: "PRH"}))
	return pt
}

func TestAnswerIsHeldAgainstTheQuestion(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	big := strings.Repeat("9", maxAnswer)
	for _, test := range []struct {
		name   string
		from   string
		change func(*Answer)
		want   Code
	}{
		{"as it should be", "si", func(*Answer) {}, Found},
		{"another number", "si", func(a *Answer) { a.Records[0].Number = wangNumber }, Mismatch},
		{"no number though the source has one", "si", func(a *Answer) { a.Records[0].Number = "" }, Mismatch},
		{"another name", "si", func(a *Answer) { a.Records[0].Name = wangName }, Mismatch},
		{"no name though the source has one", "si", func(a *Answer) { a.Records[0].Name = "" }, Mismatch},
		{"one record of somebody else", "si", func(a *Answer) {
			a.Records = append(a.Records, Record{Number: wangNumber, Name: wangName, Fields: a.Records[0].Fields})
		}, Mismatch},
		{"15 digits where the source has none", "si", func(a *Answer) { a.Records[0].Number = "690102850312001" }, Mismatch},
		{"15 digits where the source may", "re-city", func(a *Answer) { a.Records[0].Number = "690102850312001" }, Found},
		{"15 digits of somebody else", "re-city", func(a *Answer) { a.Records[0].Number = "690102850312002" }, Mismatch},
		{"an extra field is dropped", "si", func(a *Answer) { a.Records[0].Fields["secret"] = "x" }, Found},
		{"a field is missing", "si", func(a *Answer) { delete(a.Records[0].Fields, "base") }, SourceError},
		{"a wrong type", "si", func(a *Answer) { a.Records[0].Fields["base"] = 5000 }, SourceError},
		{"a value that cannot be", "si", func(a *Answer) { a.Records[0].Fields["month"] = "October" }, SourceError},
		{"no data time", "si", func(a *Answer) { a.DataTime = time.Time{} }, SourceError},
		{"data of the day after tomorrow", "si", func(a *Answer) { a.DataTime = c.now().Add(48 * time.Hour) }, SourceError},
		{"found, without a record", "si", func(a *Answer) { a.Records = nil }, SourceError},
		{"too many records", "si", func(a *Answer) { a.Records = slices.Repeat(a.Records, 4) }, Multiple},
		{"too many, one of somebody else", "si", func(a *Answer) {
			a.Records = append(slices.Repeat(a.Records, 4), Record{Number: wangNumber, Name: liName})
		}, Mismatch},
		{"a weaker authenticity", "si", func(a *Answer) { a.Authenticity = catalog.AuthChannel }, SourceError},
		{"no authenticity", "re-city", func(a *Answer) { a.Authenticity = "" }, SourceError},
		{"a stronger authenticity", "re-city", func(a *Answer) { a.Authenticity = catalog.AuthSignature }, Found},
		{"an unknown state", "si", func(a *Answer) { a.State = "MAYBE" }, SourceError},
		{"not found without a time", "si", func(a *Answer) { *a = Answer{State: StateNotFound, Authenticity: a.Authenticity} }, NotFound},
		{"not found, but with a record", "si", func(a *Answer) { a.State = StateNotFound }, SourceError},
		{"not found, less authentic", "si", func(a *Answer) { *a = Answer{State: StateNotFound, Authenticity: catalog.AuthChannel} }, SourceError},
		{"huge", "re-city", func(a *Answer) { a.Records[0].Fields["unit"] = big }, SourceError},
		{"nested without end", "re-city", func(a *Answer) {
			loop := map[string]any{}
			loop["unit"] = loop
			a.Records[0].Fields["unit"] = loop
		}, SourceError},
		{"a value that no schema expects", "si", func(a *Answer) { a.Records[0].Fields["base"] = make(chan int) }, SourceError},
	} {
		t.Run(test.name, func(t *testing.T) {
			pt := c.partOf(map[string]catalog.ProofCode{"si": "SI-01", "re-city": "RE-01"}[test.from])
			a := c.found(test.from)
			test.change(&a)
			got := c.check(pt, pt.legs[0], a)
			if got.code != test.want || (got.err == nil) != (got.code == Found || got.code == NotFound) {
				t.Errorf("%s: %v", got.code, got.err)
			}
			if (len(got.records) > 0) != (got.code == Found) {
				t.Error("records of an answer that is refused are kept")
			}
			for _, r := range got.records {
				if r["secret"] != nil {
					t.Error("a field that the proof does not have is kept")
				}
			}
			if got.err != nil && (strings.Contains(got.err.Error(), liNumber) || strings.Contains(got.err.Error(), "5000") || strings.Contains(got.err.Error(), "October")) {
				t.Errorf("the error tells a value: %v", got.err)
			}
		})
	}
}

// TestAnswersOfSeveralSourcesAreMerged is the table of multi-source proofs.
func TestAnswersOfSeveralSourcesAreMerged(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	now := c.now()
	for _, test := range []struct {
		name         string
		city, county Code
		want         Code
		records      int
		sentence     string
		not          string
	}{
		{"both found", Found, Found, Found, 2, "", "部分结果"},
		{"one found", Found, NotFound, Found, 1, "", "部分结果"},
		{"one found, one failed", NotFound, Found, Found, 1, "", "部分结果"},
		{"found in part", Found, Timeout, Found, 1, "部分结果：不含示例市不动产登记中心（示例县）的数据。", ""},
		{"found in part, the other by hand", Pending, Found, Found, 1, "部分结果：不含示例市不动产登记中心（示例市区）的数据。", "人工"},
		{"neither", NotFound, NotFound, NotFound, 0, "在示例市区、示例县内未查到", ""},
		{"not found in part", NotFound, Timeout, Timeout, 0, "示例市不动产登记中心（示例县）未按时答复，不代表未查到；可重试。其余来源（示例市区）答复未查到。", ""},
		{"not found in part, other way", Unreachable, NotFound, Unreachable, 0, "其余来源（示例县）答复未查到。", ""},
		{"mismatch beats found", Found, Mismatch, Mismatch, 0, "未采用", "部分结果"},
		{"mismatch beats all", Mismatch, Multiple, Mismatch, 0, "", ""},
		{"multiple beats by hand", Pending, Multiple, Multiple, 0, "", ""},
		{"by hand beats failure", Timeout, NotIssuable, NotIssuable, 0, "", "其余来源"},
		{"by hand beats not found", NotFound, Pending, Pending, 0, "", "未查到"},
		{"an error beats silence", Timeout, SourceError, SourceError, 0, "", "其余来源"},
		{"late beats gone", Unreachable, Timeout, Timeout, 0, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			pt := c.partOf("RE-01")
			for i, code := range []Code{test.city, test.county} {
				pt.legs[i].answer = checked{code: code, dataTime: now.Add(-time.Duration(i+1) * time.Hour), auth: pt.legs[i].source.Authenticity}
				if code == Found {
					pt.legs[i].answer.records = []map[string]any{{"unit": fmt.Sprint("U", i), "ungranted": 1}}
				}
			}
			v := c.judge(pt)
			text := sentence(pt, v)
			if v.code != test.want || len(v.records) != test.records {
				t.Errorf("%s with %d records", v.code, len(v.records))
			}
			if !strings.Contains(text, test.sentence) || test.not != "" && strings.Contains(text, test.not) {
				t.Errorf("sentence: %s", text)
			}
			for _, r := range v.records {
				if r["ungranted"] != nil {
					t.Error("a field outside the grant")
				}
			}
			if test.name == "both found" && (!v.dataTime.Equal(now.Add(-2*time.Hour)) || v.auth != catalog.AuthChannel || v.wording.Scope != "示例市区、示例县") {
				t.Errorf("the merged answer is as old as the oldest and as authentic as the weakest: %v %s", v.dataTime, v.auth)
			}
			if test.name == "found in part" && v.wording.Scope != "示例市区" {
				t.Errorf("the document would speak of %s", v.wording.Scope)
			}
		})
	}
	t.Run("together more than one answer may have", func(t *testing.T) {
		pt := c.partOf("RE-01")
		for _, l := range pt.legs {
			l.answer = checked{code: Found, dataTime: now, auth: catalog.AuthPeerMAC, records: []map[string]any{{"unit": "1"}, {"unit": "2"}}}
		}
		if v := c.judge(pt); v.code != Multiple || v.records != nil || v.full != nil {
			t.Errorf("%s", v.code)
		}
	})
	t.Run("old data", func(t *testing.T) {
		pt := c.partOf("SI-01")
		for _, test := range []struct {
			code  Code
			age   time.Duration
			stale bool
		}{{Found, 23 * time.Hour, false}, {Found, 25 * time.Hour, true}, {NotFound, 25 * time.Hour, true}} {
			pt.legs[0].answer = checked{code: test.code, dataTime: now.Add(-test.age), auth: catalog.AuthPeerMAC, records: []map[string]any{{}}}
			if v := c.judge(pt); v.stale != test.stale || strings.Contains(sentence(pt, v), "数据可能过期") != test.stale {
				t.Errorf("%s after %v: stale %v", test.code, test.age, v.stale)
			}
		}
	})
	t.Run("not found, no time", func(t *testing.T) {
		pt := c.partOf("SI-01")
		pt.legs[0].answer = checked{code: NotFound, auth: catalog.AuthPeerMAC}
		v := c.judge(pt)
		if text := sentence(pt, v); !strings.Contains(text, "来源未注明数据时间") || strings.Contains(text, "1年1月1日") || v.auth != catalog.AuthPeerMAC {
			t.Error(text)
		}
	})
}

func TestJudgeIsFairWhateverTheSourcesSay(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	codes := []Code{Found, NotFound, Multiple, Mismatch, Pending, NotIssuable, Timeout, Unreachable, SourceError}
	source, _ := c.release.Catalogue.Source("re-city")
	template := c.partOf("RE-01")
	rapid.Check(t, func(t *rapid.T) {
		said := rapid.SliceOfN(rapid.SampledFrom(codes), 1, 5).Draw(t, "codes")
		build := func(said []Code) verdict {
			pt := *template
			pt.legs = nil
			for _, code := range said {
				a := checked{code: code, dataTime: time.Now(), auth: catalog.AuthChannel}
				if code == Found {
					a.records = []map[string]any{{"unit": "U"}}
				}
				pt.legs = append(pt.legs, &leg{source: source, answer: a})
			}
			return c.judge(&pt)
		}
		v := build(said)
		has := func(code Code) bool { return slices.Contains(said, code) }
		all := !slices.ContainsFunc(said, func(x Code) bool { return x != NotFound })
		switch {
		case (v.code == NotFound) != all:
			t.Fatalf("%v is %s: not found only if all say so", said, v.code)
		case has(Mismatch) != (v.code == Mismatch):
			t.Fatalf("%v is %s", said, v.code)
		case v.code == Found && !has(Found), (v.code == Found) != (len(v.records) > 0):
			t.Fatalf("%v is %s with %d records", said, v.code, len(v.records))
		case has(Found) && !has(Mismatch) && v.code != Found && v.code != Multiple:
			t.Fatalf("%v is %s", said, v.code)
		case v.code == Found && len(v.missing) != len(said)-count(said, Found)-count(said, NotFound):
			t.Fatalf("%v is %s without naming who is missing: %v", said, v.code, v.missing)
		case !has(v.code) && v.code != Multiple:
			t.Fatalf("%v is %s, which nobody said", said, v.code)
		}
		slices.Reverse(said)
		if again := build(said); again.code != v.code {
			t.Fatalf("%s in one order, %s in the other", v.code, again.code)
		}
	})
}

func count(list []Code, code Code) (n int) {
	for _, c := range list {
		if c == code {
			n++
		}
	}
	return n
}

func TestSourcesErrorsAreToldApart(t *testing.T) {
	p := person(t, liNumber, liName)
	old, _ := p.Number.Old15()
	for _, secret := range []string{liNumber, liName, old} {
		err := discreet(fmt.Errorf("select %s: %w", secret, ErrUnreachable), p)
		if strings.Contains(err.Error(), secret) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v", err)
		}
	}
	if err := errors.New("dial tcp"); discreet(err, p) != err {
		t.Error("a harmless error is changed")
	}
	if kind(context.DeadlineExceeded) != context.DeadlineExceeded || kind(errors.New("x")) != errUnusable {
		t.Error("kind")
	}
}

// The supervisors see only ANSWERED of a sensitive proof, so no card follows
// from it: the clerk must not read that somebody was told.
func TestSentenceOfASensitiveProofClaimsNoReport(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	for _, code := range []Code{Found, NotFound, Multiple, Mismatch, Pending, NotIssuable, Timeout, Unreachable, SourceError, Denied, GlyphMissing} {
		for _, output := range []catalog.Output{catalog.OutputData, catalog.OutputDocument} {
			pt := c.partOf("RE-01")
			pt.grant.Output = output
			v := verdict{code: code, wording: Wording{Department: "某局", Glyphs: "U+9FFF"}}
			claims := func(text string) bool { return strings.Contains(text, "已告警") || strings.Contains(text, "已转") }
			carded := code == Mismatch || code == SourceError || code == GlyphMissing
			if text := sentence(pt, v); claims(text) != carded {
				t.Errorf("%s, ordinary: %s", code, text)
			}
			pt.proof.Sensitive = true
			if text := sentence(pt, v); claims(text) {
				t.Errorf("%s, sensitive: %s", code, text)
			}
		}
	}
}

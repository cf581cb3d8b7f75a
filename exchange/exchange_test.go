package exchange

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange/store"
	"yizheng/identity/jose"
	"yizheng/seal/pdf"
)

func publicOf(k *jose.Key) func(string) *ecdsa.PublicKey {
	return func(kid string) *ecdsa.PublicKey {
		if kid == k.ID() {
			return k.Public()
		}
		return nil
	}
}

func reasonOf(err error) Reason {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

func TestFoundProofLeavesSealedWithItsData(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("ONE"))
	p, r := c.part(x, "SI-01"), c.result(x, "SI-01")
	if p.State != "released" || p.Code != Found || r.Number == "" || r.Number != p.Number || *c.View(x).Sufficient != true {
		t.Fatalf("%+v\n%s", p, c.logged)
	}
	d := c.data(r)
	if len(d.Records) != 1 || d.Records[0]["base"] != "5000.00" || d.Exchange != x.Number || d.Issuer != "示例市社会保险事业服务中心" {
		t.Errorf("data %+v", d)
	}
	private, err := pdf.ReadPrivate(t.Context(), r.Document)
	c.ok(err)
	if private.Number != r.Number || !bytes.Equal(private.Seed, r.Seed) || private.Receipt != x.intent.String() {
		t.Error("the document's private part is another")
	}
	if !strings.HasPrefix(r.Sentence, "已查到，数据截至") || !strings.HasSuffix(r.Sentence, "，已加盖示例市社会保险事业服务中心电子印章。") {
		t.Errorf("sentence %s", r.Sentence)
	}
	release := c.entries(audit.OpRelease)[0]
	root, err := FieldsRoot(r.Seed, d.Records)
	c.ok(err)
	for name, want := range map[string][]byte{"fields": root, "document": DocumentDigest(r.Seed, r.Document), "result": ResultCommitment(r.Seed, Found)} {
		if got := release.Closed.Commitments[name]; got != b64(want) {
			t.Errorf("commitment %s does not open", name)
		}
	}
	issue := c.entries(audit.OpIssue)[0]
	if issue.Open.Number != r.Number || issue.Open.Digest != b64(DocumentDigest(r.Seed, r.Document)) || issue.Open.Exchange != "" || len(issue.Open.Subjects) > 0 {
		t.Errorf("issue leaf %+v", issue.Open)
	}
	if o, receipt, ok, err := c.IssueRecord(t.Context(), r.Number); err != nil || !ok || o.Entry.Open.Number != r.Number || receipt.Verify(c.gate.Public(), receipt.Leaf) != nil {
		t.Error("the number cannot be looked up")
	}
}

// TestEveryWayALegCanEnd is the table of result codes.
func TestEveryWayALegCanEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		source   func(c *city) (Answer, error)
		code     Code
		sentence string
	}{
		{"found", func(c *city) (Answer, error) { return c.found("si"), nil }, Found, "已查到"},
		{"not found", func(c *city) (Answer, error) { return c.state("si", StateNotFound), nil }, NotFound, "在示例省社保库内未查到；不等于没有。"},
		{"several", func(c *city) (Answer, error) { return c.state("si", StateMultiple), nil }, Multiple, "查到多条"},
		{"about somebody else", func(c *city) (Answer, error) {
			a := c.found("si")
			a.Records[0].Number = wangNumber
			return a, nil
		}, Mismatch, "重试无效"},
		{"by hand", func(c *city) (Answer, error) { return c.state("si", StatePending), nil }, Pending, "人工核验，请凭身份证和受理号S2026"},
		{"not to be issued", func(c *city) (Answer, error) { return c.state("si", StateNotIssuable), nil }, Pending, "人工核验，请凭身份证和受理号S2026"},
		{"late", func(c *city) (Answer, error) { return Answer{}, fmt.Errorf("call: %w", context.DeadlineExceeded) }, Timeout, "未按时答复"},
		{"not there", func(c *city) (Answer, error) { return Answer{}, fmt.Errorf("dial: %w", ErrUnreachable) }, Unreachable, "起中断，不代表未查到"},
		{"nonsense", func(c *city) (Answer, error) { return Answer{}, errors.New("no JSON") }, SourceError, "系统异常"},
		{"a character without a glyph", func(c *city) (Answer, error) {
			a := c.found("si")
			a.Records[0].Name = "李\U0002CE1A" // the card's name is printed as the source has it only when mapped
			return a, nil
		}, Mismatch, "不一致"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCity(t)
			c.sources["si"].gives(test.source(c))
			x := c.ended(c.request("ONE"))
			p, r := c.part(x, "SI-01"), c.result(x, "SI-01")
			if p.Code != test.code || r.Code != test.code || !strings.Contains(r.Sentence, test.sentence) {
				t.Errorf("%s %s", r.Code, r.Sentence)
			}
			if (len(r.Document) > 0) != (test.code == Found) || (r.Data != "") != (test.code == Found) {
				t.Error("document or data where there should be none")
			}
			if (test.code == Pending) != (r.ManualNumber != "") || p.Manual != r.ManualNumber {
				t.Errorf("manual number %q", r.ManualNumber)
			}
			if legs := p.Legs; len(legs) != 1 || legs[0].Retryable != test.code.Retryable() || legs[0].Code == NotIssuable {
				t.Errorf("%+v", legs)
			}
			if e := c.entries(audit.OpRelease); len(e) != 1 || e[0].Open.Outcome != string(test.code) {
				t.Errorf("%+v", e)
			}
			if *c.View(x).Sufficient != (test.code == Found) {
				t.Error("sufficient?")
			}
		})
	}
}

func TestMissingGlyphHoldsBackTheDocumentOnly(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	rare := "王㐂" // U+3402 is not in the test's font
	c.sources["si"].gives(func() Answer { a := c.found("si"); a.Records[0].Name = rare; return a }(), nil)
	req := c.request("ONE")
	claims := c.claims()
	claims.Person = person(t, liNumber, rare)
	req.Subjects = []SubjectToken{c.mint(claims)}
	r := c.result(c.ended(req), "SI-01")
	if r.Code != GlyphMissing || len(r.Document) > 0 || r.Number != "" || len(c.data(r).Records) != 1 || !strings.Contains(r.Sentence, "U+3402") {
		t.Errorf("%s %s", r.Code, r.Sentence)
	}
	if len(c.entries(audit.OpIssue)) > 0 {
		t.Error("an issue leaf without a document")
	}
}

func TestMappedNameIsPrintedAsTheSourceHasIt(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	a := c.found("si")
	a.Records[0].Name = "李䶮" // U+4DAE is not in the font either, but neither is it private
	c.sources["si"].gives(a, nil)
	claims := c.claims()
	claims.Person = person(t, liNumber, "李\uE863")
	req := c.request("ONE")
	req.Subjects = []SubjectToken{c.mint(claims)}
	if r := c.result(c.ended(req), "SI-01"); r.Code != GlyphMissing || !strings.Contains(r.Sentence, "U+4DAE") {
		t.Errorf("%s %s", r.Code, r.Sentence)
	}
}

func TestGrantDecidesWhatLeaves(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		caller         catalog.CallerID
		data, document bool
	}{{"hall", true, true}, {"system", true, false}, {"kiosk", false, true}} {
		t.Run(string(test.caller), func(t *testing.T) {
			c := newCity(t)
			c.who.Caller = test.caller
			x := c.ended(c.request("ONE"))
			r := c.result(x, "SI-01")
			if r.Code != Found || (r.Data != "") != test.data || (len(r.Document) > 0) != test.document || (r.Number != "") != test.document {
				t.Errorf("%s, data %v, document %v", r.Code, r.Data != "", len(r.Document) > 0)
			}
			if test.caller == "system" {
				if d := c.data(r); len(d.Records[0]) != 1 || d.Records[0]["base"] == nil {
					t.Errorf("fields beyond the grant: %v", len(d.Records[0]))
				}
				if strings.Contains(r.Sentence, "电子印章") || len(c.entries(audit.OpIssue)) > 0 {
					t.Error("a document is spoken of")
				}
			}
			if asked := c.sources["si"].asked[0].Terms.Fields; (test.caller == "hall") != (len(asked) == 2) {
				t.Errorf("asked for %v", asked)
			}
		})
	}
	t.Run("document only, glyph missing", func(t *testing.T) {
		c := newCity(t)
		c.who.Caller = "kiosk"
		a := c.found("si")
		a.Records[0].Name = "王㐂"
		c.sources["si"].gives(a, nil)
		claims := c.claims()
		claims.Person = person(t, liNumber, "王㐂")
		req := c.request("ONE")
		req.Subjects = []SubjectToken{c.mint(claims)}
		if r := c.result(c.ended(req), "SI-01"); r.Code != GlyphMissing || r.Data != "" || strings.Contains(r.Sentence, "数据") {
			t.Errorf("%s %s: data was not granted", r.Code, r.Sentence)
		}
	})
}

func TestProofWithoutGrantIsDeniedAndNothingIsAsked(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*city){
		"no grant":       func(c *city) { c.who.Caller = "system" },
		"level too low":  func(c *city) {},
		"grant is over":  func(c *city) { c.offset.Store(int64(20 * 365 * 24 * time.Hour)) },
		"enough, though": func(c *city) {},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCity(t)
			change(c)
			claims := c.claims()
			if name == "level too low" {
				claims.Evidence = "card_chip"
			}
			req := c.request("TWO")
			req.Subjects = []SubjectToken{c.mint(claims)}
			x := c.ended(req)
			r := c.result(x, "RE-01")
			if denied := name != "enough, though"; denied != (r.Code == Denied) || denied != (c.sources["re-city"].times() == 0) {
				t.Errorf("%s %s", r.Code, r.Sentence)
			}
			if r.Code == Denied && !strings.Contains(r.Sentence, "登记信息科") {
				t.Errorf("whom to ask: %s", r.Sentence)
			}
		})
	}
}

func TestAllLegsAreInFlightAtOnce(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	var all sync.WaitGroup
	names := []string{"si", "mr", "re-city", "re-county", "hf"} // of the situation
	all.Add(len(names))                                         // nobody answers before everybody has been asked
	for _, name := range names {
		f := c.sources[name]
		f.says(func(ctx context.Context, _ Ask) (Answer, error) {
			all.Done()
			met := after(&all)
			select {
			case <-met:
				return c.found(name), nil
			case <-ctx.Done():
				return Answer{}, ctx.Err()
			}
		})
	}
	x := c.ended(c.request("ALL"))
	for _, p := range c.View(x).Parts {
		if p.Code != Found {
			t.Errorf("%s %s", p.Part, p.Code)
		}
	}
}

func TestSlowSourceDelaysOnlyItsOwnProof(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["re-county"].says(func(ctx context.Context, _ Ask) (Answer, error) {
		<-ctx.Done()
		return Answer{}, ctx.Err()
	})
	x := c.begin(c.request("ALL"))
	for c.part(x, "SI-01").State != "released" || c.part(x, "HF-01").State != "released" {
		if c.part(x, "RE-01").State != "running" {
			t.Fatal("the slow proof ended first")
		}
		time.Sleep(time.Millisecond)
	}
	c.await(x)
	if p := c.part(x, "RE-01"); p.Code != Found || !strings.Contains(p.Sentence, "不含示例市不动产登记中心（示例县）的数据") {
		t.Errorf("%s %s", p.Code, p.Sentence)
	}
}

func TestNothingIsAskedBeforeTheIntentIsDurable(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	var legs []string
	for name, f := range c.sources {
		f.says(func(ctx context.Context, ask Ask) (Answer, error) {
			err := c.log.Read(ctx, 0, c.log.Head().Size, func(_ uint64, e audit.Stored) error {
				if e.Entry.Open.Op == audit.OpQuery && e.Entry.Open.Phase == audit.PhaseIntent {
					legs = e.Entry.Closed.Legs
				}
				return nil
			})
			if err == nil && !strings.Contains(strings.Join(legs, "\n"), ask.Digest.String()) {
				err = errors.New("asked without a durable intent of this leg")
			}
			return c.found(name), err
		})
	}
	x := c.ended(c.request("ONE"))
	if p := c.part(x, "SI-01"); p.Code != Found {
		t.Errorf("%s\n%s", p.Code, c.logged)
	}
}

func TestNothingIsHandedOverBeforeTheReleaseIsDurable(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["si"].says(func(context.Context, Ask) (Answer, error) {
		c.gate.mu.Lock() // from here on nothing becomes durable
		return c.found("si"), nil
	})
	x := c.begin(c.request("ONE"))
	for c.part(x, "SI-01").Legs[0].State != "ended" {
		time.Sleep(time.Millisecond)
	}
	for range 20 {
		if _, err := c.Sealed(context.Background(), x, "SI-01"); !errors.Is(err, store.ErrNotFound) || c.part(x, "SI-01").State != "running" {
			t.Fatalf("handed over before it was recorded: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.gate.mu.Unlock()
	if c.await(x); c.part(x, "SI-01").Code != Found {
		t.Errorf("%+v", c.part(x, "SI-01"))
	}
}

func TestLogThatFailsAfterTheIntentWithholdsEverything(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["si"].says(func(context.Context, Ask) (Answer, error) {
		c.breakLog()
		return c.found("si"), nil
	})
	x := c.ended(c.request("ONE"))
	p := c.part(x, "SI-01")
	if _, err := c.Sealed(context.Background(), x, "SI-01"); !errors.Is(err, store.ErrNotFound) || p.State != "withheld" || p.Code != "" || p.Number != "" {
		t.Errorf("%+v, %v", p, err)
	}
	if !p.Legs[0].Retryable || p.Legs[0].Code != "" || *c.View(x).Sufficient {
		t.Errorf("%+v", p)
	}
}

func TestLogThatFailsBeforeTheIntentMeansNothingIsAskedAndTheTokenIsFree(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.breakLog()
	claims := c.claims()
	req := c.request("ONE")
	req.Subjects = []SubjectToken{c.mint(claims)}
	_, err := c.Exchange(context.Background(), c.who, req, "key")
	if reasonOf(err) != ReasonUnavailable || c.sources["si"].times() != 0 {
		t.Errorf("%v", err)
	}
	existing, err := c.store.Begin(context.Background(), store.Admission{Caller: "hall", Key: "other", RequestDigest: "d",
		TokenIDs: []string{claims.JTI}, ExchangeNo: "n", Expires: time.Now().Add(time.Minute)})
	if existing != "" || err != nil {
		t.Errorf("the card must be read again: %q, %v", existing, err)
	}
}

func TestRefusalThatCannotBeRecordedSaysOnlyThat(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.breakLog()
	req := c.request("ONE")
	req.Purpose = "P-OTHER"
	if _, err := c.Exchange(context.Background(), c.who, req, ""); reasonOf(err) != ReasonUnavailable {
		t.Errorf("%v", err)
	}
}

func TestStoreThatCannotKeepTheResultWithholdsIt(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["si"].says(func(context.Context, Ask) (Answer, error) { return c.found("si"), c.store.Close() })
	if p := c.part(c.ended(c.request("ONE")), "SI-01"); p.State != "withheld" {
		t.Errorf("%+v", p)
	}
}

func TestSourceThatIgnoresItsTimeIsCutOff(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	free := make(chan struct{})
	defer close(free)
	c.sources["re-county"].says(func(context.Context, Ask) (Answer, error) {
		<-free
		return c.found("re-county"), nil // late, and nobody hears it
	})
	x := c.ended(c.request("TWO"))
	p := c.part(x, "RE-01")
	if p.Code != Found || p.Legs[1].Code != Timeout || len(c.data(c.result(x, "RE-01")).Records) != 1 {
		t.Errorf("%+v", p)
	}
}

func TestPanickingSourceEndsAsSourceError(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["si"].says(func(context.Context, Ask) (Answer, error) { panic("about " + liNumber) })
	if p := c.part(c.ended(c.request("ONE")), "SI-01"); p.Code != SourceError {
		t.Errorf("%+v", p)
	}
}

func TestErrorThatNamesThePersonIsWithheldFromTheLog(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["si"].gives(Answer{}, errors.New("no row for "+liNumber+" "+liName))
	c.ended(c.request("ONE"))
	if text := c.logged.String(); !strings.Contains(text, "withheld") || strings.Contains(text, liNumber) || strings.Contains(text, liName) {
		t.Errorf("log: %s", text)
	}
}

func TestUnknownConnectionIsASourceError(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	delete(c.Service.sources, "si")
	if p := c.part(c.ended(c.request("ONE")), "SI-01"); p.Code != SourceError {
		t.Errorf("%+v", p)
	}
}

func TestUnreachableSaysSinceWhen(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["si"].gives(Answer{}, ErrUnreachable)
	first := c.part(c.ended(c.request("ONE")), "SI-01").Sentence
	c.offset.Store(int64(3 * time.Minute))
	if second := c.part(c.ended(c.request("ONE")), "SI-01").Sentence; second != first {
		t.Errorf("%s, then %s", first, second)
	}
	c.sources["si"].gives(Answer{}, errors.New("HTTP 500")) // it is back, if not well
	c.ended(c.request("ONE"))
	c.sources["si"].gives(Answer{}, ErrUnreachable)
	if third := c.part(c.ended(c.request("ONE")), "SI-01").Sentence; third == first {
		t.Errorf("still since then: %s", third)
	}
}

func TestFamilyMatterAsksAboutEachPerson(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["hf"].says(func(_ context.Context, ask Ask) (Answer, error) {
		a := c.found("hf")
		a.Records[0].Number, a.Records[0].Name = ask.Subject.Number.Reveal(), ask.Subject.Name.Reveal()
		return a, nil
	})
	spouse := c.claims()
	spouse.Role, spouse.Workstation, spouse.Person = "spouse", "ws-02", person(t, wangNumber, wangName)
	req := c.request("FAMILY")
	req.Subjects = append(req.Subjects, c.mint(spouse))
	x := c.ended(req)
	if c.part(x, "HF-01").Code != Found || c.part(x, "HF-01@spouse").Code != Found || c.result(x, "HF-01@spouse").Role != "spouse" {
		t.Errorf("%+v", c.View(x).Parts)
	}
	if intent := c.entries(audit.OpQuery)[0]; len(intent.Open.Subjects) != 2 || intent.Open.Subjects[0].P == intent.Open.Subjects[1].P {
		t.Errorf("%+v", intent.Open)
	}
}

func TestSufficiencyNeedsOneOfEachGroup(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		notFound []string
		want     bool
	}{
		{"all found", nil, true},
		{"one of the group", []string{"mr"}, true},
		{"the other", []string{"re-city", "re-county"}, true},
		{"none of the group", []string{"mr", "re-city", "re-county"}, false},
		{"optional missing", []string{"hf"}, true},
		{"required missing", []string{"si"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCity(t)
			for _, name := range test.notFound {
				c.sources[name].gives(c.state(name, StateNotFound), nil)
			}
			if got := *c.View(c.ended(c.request("ALL"))).Sufficient; got != test.want {
				t.Errorf("sufficient: %v", got)
			}
		})
	}
}

func TestNothingOfThePersonsIsKept(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("ONE"))
	pt := x.plan.parts[0]
	if !pt.subject.claims.Person.Number.IsZero() || pt.legs[0].answer.records != nil || len(x.Request.Subjects) > 0 {
		t.Error("kept after the last answer")
	}
	c.sources["si"].gives(Answer{}, ErrUnreachable)
	x = c.ended(c.request("ONE"))
	pt = x.plan.parts[0]
	if pt.subject.claims.Person.Number.IsZero() {
		t.Error("a retry is not possible any more")
	}
	c.offset.Store(int64(11 * time.Minute))
	c.expire(c.now())
	if !pt.subject.claims.Person.Number.IsZero() || len(c.exchanges) > 0 || len(c.keys) > 0 {
		t.Error("kept after its time")
	}
	if _, err := c.Sealed(context.Background(), x, "SI-01"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("ciphertext kept after its time: %v", err)
	}
}

func TestDeletedExchangeLeavesNothingEvenWhileItRuns(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	asked, free := make(chan struct{}), make(chan struct{})
	c.sources["si"].says(func(context.Context, Ask) (Answer, error) {
		close(asked)
		<-free
		return c.found("si"), nil
	})
	x := c.begin(c.request("ONE"))
	<-asked
	c.ok(c.Forget(context.Background(), x))
	close(free)
	c.await(x)
	if _, err := c.Sealed(context.Background(), x, "SI-01"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := c.Find(context.Background(), c.who, x.Number); reasonOf(err) != ReasonNotFound {
		t.Errorf("%v", err)
	}
	if !x.plan.parts[0].subject.claims.Person.Number.IsZero() {
		t.Error("the person is kept")
	}
}

func TestExchangeBelongsToItsCaller(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("ONE"))
	other := c.who
	other.Operator = "clerk-02"
	if _, err := c.Find(context.Background(), other, x.Number); reasonOf(err) != ReasonNotFound {
		t.Errorf("another clerk: %v", err)
	}
	c.who = Principal{Caller: "system", Operator: "system", Workstations: []catalog.WorkstationID{"ws-03"}}
	x = c.ended(c.request("ONE"))
	if _, err := c.Find(context.Background(), Principal{Caller: "system"}, x.Number); err != nil {
		t.Errorf("the system itself: %v", err)
	}
	if _, err := c.Find(context.Background(), other, x.Number); reasonOf(err) != ReasonNotFound {
		t.Errorf("a clerk: %v", err)
	}
}

func TestCloseCutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["si"].says(func(ctx context.Context, _ Ask) (Answer, error) {
		<-ctx.Done()
		return Answer{}, ctx.Err()
	})
	x := c.begin(c.request("ONE"))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	c.ok(c.Close(ctx))
	if p := c.part(x, "SI-01"); p.Code != Timeout {
		t.Errorf("%+v", p)
	}
	if n := len(c.entries(audit.OpRelease)); n != 1 {
		t.Errorf("%d release records", n)
	}
	if _, err := c.Exchange(context.Background(), c.who, c.request("ONE"), ""); reasonOf(err) != ReasonUnavailable {
		t.Errorf("%v", err)
	}
}

func TestProgressEndsWithTheExchange(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.begin(c.request("ONE"))
	var kinds []string
	for next := 0; ; {
		events, changed, ended := x.Events(next)
		for _, e := range events {
			kinds = append(kinds, e.Kind)
			next = e.Seq + 1
		}
		if ended && len(events) == 0 {
			break
		}
		if len(events) == 0 {
			<-changed
		}
	}
	if got := strings.Join(kinds, " "); got != "leg.asked leg.ended part.released exchange.ended" {
		t.Error(got)
	}
}

func TestDeletedWhileItsReleaseIsRecordedLeavesNothing(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["si"].says(func(context.Context, Ask) (Answer, error) {
		c.gate.mu.Lock()
		return c.found("si"), nil
	})
	x := c.begin(c.request("ONE"))
	for c.part(x, "SI-01").Legs[0].State != "ended" {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(150 * time.Millisecond) // rendered, sealed, and waiting for its record
	c.ok(c.Forget(context.Background(), x))
	c.gate.mu.Unlock()
	if c.await(x); c.part(x, "SI-01").State != "withheld" {
		t.Errorf("%+v", c.part(x, "SI-01"))
	}
	if _, err := c.Sealed(context.Background(), x, "SI-01"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

package front

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/certificate"
	"yizheng/exchange/envelope"
	"yizheng/exchange/ferry"
	"yizheng/identity"
	"yizheng/seal"
	"yizheng/seal/pdf"
)

func TestFrontSealsWhatItAnswers(t *testing.T) {
	for _, mode := range []seal.Mode{seal.ModeSES, seal.ModeCMS} {
		t.Run(string(mode), func(t *testing.T) { frontSeals(t, mode) })
	}
}

func frontSeals(t *testing.T, mode seal.Mode) {
	h, m := newHall(t), *seals
	m.mode = mode
	h.desk.Press = m.press(t, ownSeal)
	part, r := h.ask("UE-05")
	if part.Code != exchange.Found || r.Number == "" || r.Number != part.Number || len(r.Document) == 0 {
		t.Fatalf("%+v\n%s", part, h.logged)
	}
	report := seal.Verify(r.Document, h.trust, time.Now())
	if isCMS := report.Container == "Adobe.PPKLite / adbe.pkcs7.detached"; isCMS != (mode == seal.ModeCMS) {
		t.Errorf("a signature in %s", report.Container)
	}
	if !report.Overall || report.ESID != ownSeal.esID || report.SealName != hrSeal || report.Number != r.Number || report.SignerCode != hrCode {
		t.Errorf("report %+v", report)
	}
	if !bytes.Equal(report.Seed(), r.Seed) || r.Number != h.asked.Order.Number || report.Receipt != h.asked.Order.Receipt {
		t.Error("number, seed or receipt are not those of the order")
	}
	released := h.entries(audit.OpRelease, h.asked.Terms.Exchange)
	if len(released) != 1 || released[0].Closed.SealCert != report.SignerSN || released[0].Closed.Object != "seal/hr-own" {
		t.Errorf("released %+v", released)
	}
	issued := h.entries(audit.OpIssue, "")
	if len(issued) != 1 || issued[0].Open.Number != r.Number ||
		issued[0].Open.Digest != base64.StdEncoding.EncodeToString(exchange.DocumentDigest(r.Seed, r.Document)) {
		t.Errorf("issued %+v", issued)
	}
	uses := h.desk.entries(audit.OpSeal)
	if len(uses) != 1 || uses[0].Open.Number != r.Number || uses[0].Closed.Object != "hr-own" || uses[0].Closed.SealCert != report.SignerSN ||
		uses[0].Open.Exchange != h.asked.Terms.Exchange || len(uses[0].Closed.Commitments["signature"]) != 44 {
		t.Errorf("the front's seal log: %+v", uses)
	}
}

func TestSealThatTheGatewayHoldsIsUsedThere(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	fields := registered()
	fields["region"] = "690103"
	h.desk.system.gives(found(fields), nil)
	part, r := h.ask("UE-05")
	if report := seal.Verify(r.Document, h.trust, time.Now()); part.Code != exchange.Found || report.ESID != "hr" {
		t.Errorf("%+v sealed with %s", part, report.ESID)
	}
	if n := len(h.desk.entries(audit.OpSeal)); n != 0 {
		t.Errorf("%d uses of the front's seal", n)
	}
}

func TestHostedSealThatTheGatewaysRegisterSuspendsIsNotTaken(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	seals.lay(t, h.seals, ownSeal)
	dir := filepath.Join(h.seals, "hr-own")
	must(t, os.Remove(filepath.Join(dir, "signer.key"))) // it is kept at the front
	must(t, h.held.Reload())
	if part, r := h.ask("UE-05"); part.Code != exchange.Found || len(r.Document) == 0 {
		t.Fatalf("in use: %+v\n%s", part, h.logged)
	}
	must(t, os.WriteFile(filepath.Join(dir, "status.json"), []byte(`{"state":"suspended","since":"2026-01-01T00:00:00Z"}`), 0o600))
	must(t, h.held.Reload())
	if part, r := h.ask("UE-05"); part.Code != exchange.SourceError || len(r.Document) > 0 || !strings.Contains(r.Sentence, "停用") {
		t.Errorf("suspended: %+v %s", part, r.Sentence)
	}
}

func TestCharacterThatTheFrontCannotDrawIsNotSealed(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	fields := registered()
	fields["certificate_no"] = "\u3402"
	h.desk.system.gives(found(fields), nil)
	part, r := h.ask("UE-05")
	if part.Code != exchange.GlyphMissing || !strings.Contains(r.Sentence, "U+3402") || r.Document != nil || r.Data == "" {
		t.Errorf("%+v %s", part, r.Sentence)
	}
}

func TestSensitiveAnswersLookAlike(t *testing.T) {
	t.Parallel()
	unfit := registered()
	delete(unfit, "status")
	answers := map[string]exchange.Answer{"found": found(registered()), "not found": {State: exchange.StateNotFound, DataTime: time.Now()},
		"found, but not fit": found(unfit)}
	for seal, step := range map[string]int{"here": exchange.PadDocument, "at the gateway": exchange.PadData} {
		commitments := map[string]bool{}
		for name, a := range answers {
			d := newDesk(t)
			d.Press = seals.press(t, ownSeal)
			d.system.gives(a, nil)
			q := cardRead(time.Now()).question(t, "X-1")
			q.Source, q.Terms.Proof = "ue-2", "UE-02"
			if seal == "here" {
				q = ordered(q)
				q.Source, q.Terms.Proof = "ue-6", "UE-06"
			}
			body, err := q.encode()
			d.ok(err)
			raw, err := d.Handle(t.Context(), attributes(q), body)
			d.ok(err)
			r, err := decodeReply(raw)
			if err != nil || (r.State == exchange.StateFound) != (name == "found") || (r.Document != nil) != (name == "found" && seal == "here") {
				t.Errorf("%s, seal %s: %v, state %q, refusal %q", name, seal, err, r.State, r.Refusal)
			}
			if len(raw) != step {
				t.Errorf("%s, seal %s: %d bytes", name, seal, len(raw))
			}
			for _, use := range d.entries(audit.OpSeal) {
				if use.Open.Number != "" || use.Closed.SealCert != "" || len(use.Closed.Commitments["signature"]) != 44 {
					t.Errorf("%s, seal %s: %+v", name, seal, use)
				}
				commitments[use.Closed.Commitments["signature"]] = true
			}
		}
		if want := map[string]int{"here": len(answers) - 1}[seal]; len(commitments) != want { // nothing is sealed in two cases
			t.Errorf("seal %s: commitments %v", seal, commitments)
		}
	}
}

// The log's times and the reply's must not tell that a document was sealed.
func TestSensitiveAnswersTakeTheSameTime(t *testing.T) {
	const step = 100 * time.Millisecond
	for name, a := range map[string]exchange.Answer{"found": found(registered()), "not found": {State: exchange.StateNotFound, DataTime: time.Now()}} {
		d := newDesk(t)
		d.Press = seals.press(t, ownSeal)
		d.system.gives(a, nil)
		q := ordered(cardRead(time.Now()).question(t, "X-1"))
		q.Source, q.Terms.Proof = "ue-6", "UE-06"
		if r := d.handle(attributes(q), q); r.State != a.State {
			t.Fatalf("%s: %q %q", name, r.State, r.Refusal)
		}
		list := d.entries(audit.OpSourceCall)
		if took := list[1].Open.Time - list[0].Open.Time; took < 2*step.Microseconds() {
			t.Errorf("%s: %d µs from intent to result", name, took)
		}
	}
}

func TestLogLinesAboutSensitiveAnswersDoNotSayWhose(t *testing.T) {
	t.Parallel()
	unfit := registered()
	delete(unfit, "status")
	for proof, told := range map[catalog.ProofCode]bool{"UE-01": true, "UE-02": false} {
		for name, says := range map[string]func(context.Context, exchange.Ask) (exchange.Answer, error){
			"unfit record": func(context.Context, exchange.Ask) (exchange.Answer, error) { return found(unfit), nil },
			"failure": func(context.Context, exchange.Ask) (exchange.Answer, error) {
				return exchange.Answer{}, errors.New("HTTP 500")
			},
			"panic": func(context.Context, exchange.Ask) (exchange.Answer, error) { panic("row") },
		} {
			d := newDesk(t)
			d.system.says(says)
			q := cardRead(time.Now()).question(t, "X-1")
			if q.Terms.Proof = proof; proof == "UE-02" {
				q.Source = "ue-2"
			}
			if r := d.handle(attributes(q), q); r.Refusal != Failed {
				t.Errorf("%s, %s: %q %q", proof, name, r.State, r.Refusal)
			}
			if said := d.logged.String(); !strings.Contains(said, "source=") || strings.Contains(said, "X-1") != told {
				t.Errorf("%s, %s: %s", proof, name, said)
			}
		}
	}
}

func TestUseOfASensitiveProofsSealIsRecordedWhateverWasFound(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]exchange.Answer{"found": found(registered()), "not found": {State: exchange.StateNotFound, DataTime: time.Now()}} {
		h := newHall(t)
		h.desk.system.gives(a, nil)
		part, _ := h.ask("UE-06")
		released := h.entries(audit.OpRelease, h.asked.Terms.Exchange)
		if len(released) != 1 || !strings.Contains(released[0].Closed.Object, "seal/") || released[0].Closed.SealCert != "" {
			t.Errorf("%s, %s: released %+v", name, part.Code, released)
		}
	}
}

// ordered adds an order to a question.
func ordered(q Question) Question {
	q.Order = &exchange.Order{Number: fixedNumber, Secret: exchange.Secret(bytes.Repeat([]byte{0x5a}, 16)), Receipt: audit.Pointer{Origin: "gw00.example/audit/2026q4"}.String()}
	return q
}

var fixedNumber = func() string {
	n := "6901002026112200ABCDEFGHJK"
	check, _ := identity.Mod3736(n)
	return n + string(check)
}()

func TestDocumentThatMayNotBeOrderedIsDenied(t *testing.T) {
	for name, c := range map[string]changed{
		"grant for data only": {code: "DOCUMENT", q: func(q *Question) {
			q.Source, q.Terms.Proof, q.Terms.Item, q.Terms.Purpose, q.Terms.Fields = "ue-5", "UE-05", "OTHER", "P-OTHER", []string{"certificate_no"}
			*q = ordered(*q)
		}, read: func(r *read) { r.challenge.Item, r.challenge.Purpose = "OTHER", "P-OTHER" }},
		"proof whose seals are elsewhere": {code: "DOCUMENT", q: func(q *Question) { *q = ordered(*q) }},
		"proof without a grant": {code: "NO_GRANT", q: func(q *Question) {
			q.Source, q.Terms.Proof, q.Terms.Item, q.Terms.Purpose = "ue-6", "UE-06", "OTHER", "P-OTHER"
			*q = ordered(*q)
		}, read: func(r *read) { r.challenge.Item, r.challenge.Purpose = "OTHER", "P-OTHER" }},
	} {
		t.Run(name, func(t *testing.T) { c.refused(t, false) })
	}
}

func TestFrontThatCannotSealDoesNotAnswer(t *testing.T) {
	t.Parallel()
	tomorrow := *seals
	tomorrow.years = seal.Validity{From: time.Now().Add(time.Hour), Until: time.Now().Add(2 * time.Hour)}
	h := newHall(t)
	for name, press := range map[string]*certificate.Press{
		"no seals at all": nil,
		"another seal":    seals.press(t, order{"other", ownSeal.esID, hrSeal, hrCode}),
		"not yet valid":   tomorrow.press(t, ownSeal),
		"panic":           {Key: own["hr-front"], Renderer: seals.renderer},
	} {
		t.Run(name, func(t *testing.T) {
			h.desk.Press = press
			part, r := h.ask("UE-05")
			if part.Code != exchange.SourceError || r.Document != nil || r.Data != "" || len(h.desk.entries(audit.OpSeal)) > 0 {
				t.Errorf("%+v", part)
			}
		})
	}
}

// forgery is what a front that was taken over makes of its answer.
type forgery struct {
	want   exchange.Code
	change func(*certificate.Certificate) // seals something else
	press  *certificate.Press             // with other keys
	file   func(*hall, []byte) []byte     // after sealing
	reply  func(*Reply)                   // what it says of the document
	fields func() map[string]any          // of the system's record
	proof  catalog.ProofCode
	why    string // in the gateway's own log
}

func TestForgedDocumentIsNeverReleased(t *testing.T) {
	for _, mode := range []seal.Mode{seal.ModeSES, seal.ModeCMS} {
		t.Run(string(mode), func(t *testing.T) { forgedDocuments(t, mode) })
	}
}

func forgedDocuments(t *testing.T, mode seal.Mode) {
	wangNumber := wang()
	h, seals := newHall(t), *seals
	seals.mode = mode
	h.desk.Press = seals.press(t, ownSeal)
	good := h.desk.Press
	stranger := *good
	stranger.Key = own["stranger"]
	other, err := newMint(t.TempDir())
	must(t, err)
	other.mode = mode
	for name, f := range map[string]forgery{
		"nothing wrong": {want: exchange.Found, change: func(*certificate.Certificate) {}},
		"no document":   {why: "no document, though", reply: func(r *Reply) { r.Document = nil }},
		"another number": {why: "another number, seed", change: func(c *certificate.Certificate) {
			c.Number = c.Number[:20] + "0000000"
		}},
		"another secret": {why: "another number, seed", change: func(c *certificate.Certificate) {
			c.Secret[0]++
			c.Seed = exchange.Secret(c.Secret).Seed()
		}},
		"another receipt":     {why: "another number, seed", change: func(c *certificate.Certificate) { c.Receipt += "A" }},
		"about somebody else": {why: "another person", want: exchange.Mismatch, change: func(c *certificate.Certificate) { c.Person.Number, c.Name = wangNumber, wangName }},
		"another status":      {why: "other facts", change: func(c *certificate.Certificate) { c.Records[0]["status"] = "2" }},
		"a field that is not asked": {why: "other facts", change: func(c *certificate.Certificate) {
			c.Fields, c.Records[0]["education"] = append(c.Fields, "education"), "大学本科"
		}},
		"another purpose":              {why: "not what is drawn", change: func(c *certificate.Certificate) { c.Purpose = "其他" }},
		"without the word of old data": {why: "not what is drawn", change: func(c *certificate.Certificate) { c.Stale = !c.Stale }},
		"another issuer":               {why: "other facts", change: func(c *certificate.Certificate) { c.Issuer = "示例市社会保险事业服务中心" }},
		"another title":                {why: "other facts", change: func(c *certificate.Certificate) { c.Proof.Title = "无犯罪记录证明" }},
		"valid for longer":             {why: "other facts", change: func(c *certificate.Certificate) { c.Proof.Validity.Days = 3000 }},
		"of last week": {why: "impossible time", change: func(c *certificate.Certificate) { c.IssuedAt = c.IssuedAt.AddDate(0, 0, -7) },
			reply: func(r *Reply) { r.Document.IssuedAt = r.Document.IssuedAt.AddDate(0, 0, -7) }},
		"another time than said":              {why: "another time", reply: func(r *Reply) { r.Document.IssuedAt = r.Document.IssuedAt.Add(-2 * time.Second) }},
		"facts signed with another key":       {why: "QR code is not", press: &stranger},
		"another seal":                        {why: "another seal than", press: seals.press(t, order{"hr-own", "hr", "业务专用章", hrCode})},
		"seal of another name":                {why: "another seal than", press: seals.press(t, order{"hr-own", ownSeal.esID, "业务专用章", hrCode})},
		"seal with the catalogue's id inside": {why: "another seal than", press: seals.press(t, order{"hr-own", "hr-own", hrSeal, hrCode})},
		"seal in other hands":                 {why: "in other hands", press: seals.press(t, order{"hr-own", ownSeal.esID, hrSeal, "12690100006900149D"})},
		"seal that nobody trusts":             {why: "check 4", press: other.press(t, ownSeal)},
		"changed after sealing": {why: "check ", file: func(_ *hall, b []byte) []byte {
			return bytes.Replace(b, []byte("/Type"), []byte("/TYpe"), 1)
		}},
		"something appended": {why: "check ", file: func(_ *hall, b []byte) []byte { return append(b, "\n%%EOF\n"...) }},
		"not sealed": {why: "check ", file: func(h *hall, _ []byte) []byte {
			draft, err := seals.renderer.Render(pdf.Document{Title: "证", Issuer: "证", Number: "1", IssuedAt: time.Now(), Seed: make([]byte, 32)}, pdf.SignatureSlot{})
			must(h.t, err)
			b, err := draft.Fill([]byte{0x30, 0})
			must(h.t, err)
			return b
		}},
		"no PDF":                                 {why: "check ", file: func(*hall, []byte) []byte { return []byte("%PDF-1.7") }},
		"too large":                              {why: "too large", file: func(_ *hall, b []byte) []byte { return append(b, make([]byte, certificate.MaxFile)...) }},
		"more missing characters than there are": {why: "characters are missing", reply: func(r *Reply) { r.Document = &exchange.Document{Missing: make([]rune, 65)} }},
		"for a seal that the gateway holds": {why: "not ordered", fields: func() map[string]any {
			f := registered()
			f["region"] = "690103"
			return f
		}},
		"for a proof that nobody ordered one of": {why: "not ordered", proof: "UE-01"},
	} {
		t.Run(name, func(t *testing.T) {
			h.t, h.desk.Press = t, good
			f.try(h)
		})
		h.t = t
	}
}

// try has the exchange ask a front that sends the forgery.
func (f forgery) try(h *hall) {
	fields := registered()
	if f.fields != nil {
		fields = f.fields()
	}
	h.desk.system.gives(found(fields), nil)
	proof := f.proof
	if proof == "" {
		proof = "UE-05"
	}
	h.forge = func(src catalog.Source, q Question, r Reply) Reply { return f.forge(h, src, q, r) }
	before := len(h.logged.String())
	part, r := h.ask(proof)
	if said := h.logged.String()[before:]; !strings.Contains(said, f.why) {
		h.t.Errorf("%q is not the reason:\n%s", f.why, said)
	}
	if f.want == exchange.Found {
		if part.Code != exchange.Found || r.Document == nil {
			h.t.Errorf("%+v\n%s", part, h.logged)
		}
		return
	}
	want := f.want
	if want == "" {
		want = exchange.SourceError
	}
	if part.Code != want || r.Document != nil || r.Data != "" || part.Number != "" {
		h.t.Errorf("%+v\n%s", part, h.logged)
	}
	calls := h.entries(audit.OpSourceCall, h.asked.Terms.Exchange)
	if len(calls) != 1 || calls[0].Open.Outcome != string(want) {
		h.t.Errorf("recorded %+v", calls)
	}
}

func (f forgery) forge(h *hall, src catalog.Source, q Question, r Reply) Reply {
	if q.Order == nil {
		q = ordered(q)
	}
	if r.Document == nil || f.change != nil || f.press != nil {
		press := h.desk.Press
		if f.press != nil {
			press = f.press
		}
		fields := r.Records[0].Fields["region"]
		r.Records[0].Fields["region"] = "690102"
		proof, _ := release.Catalogue.Proof("UE-05")
		q.Terms.Proof = proof.Code
		c, id, ok := h.desk.certificate(src, q, r)
		if !ok {
			h.t.Fatal("nothing to forge")
		}
		r.Records[0].Fields["region"] = fields
		if f.change != nil {
			f.change(&c)
			var err error
			c.Root, err = exchange.FieldsRoot(c.Seed, c.Records)
			must(h.t, err)
		}
		file, _, err := press.Issue(h.t.Context(), c, id)
		must(h.t, err)
		r.Document = &exchange.Document{File: file, IssuedAt: c.IssuedAt}
	}
	if f.file != nil {
		r.Document.File = f.file(h, r.Document.File)
	}
	if f.reply != nil {
		f.reply(&r)
	}
	return r
}

// A front signs envelopes and documents that it has made itself. Whatever
// message is sent to it, none holds a digest, a text or a file to be signed.
func TestNoMessageMakesAFrontSignWhatItIsGiven(t *testing.T) {
	t.Parallel()
	var members []string
	for _, typ := range []reflect.Type{reflect.TypeFor[questionJSON](), reflect.TypeFor[personJSON](), reflect.TypeFor[orderJSON]()} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			members = append(members, name)
		}
	}
	if want := []string{"v", "exchange", "leg", "commitment", "item", "proof", "fields", "purpose", "case", "release", "source", "caller", "operator", "person",
		"salt_id", "salt_name", "attestation", "document", "type", "number", "name", "number", "secret", "receipt"}; !slices.Equal(members, want) {
		t.Errorf("a question has other members than those that were looked at here: %v", members)
	}
	d := newDesk(t)
	d.Press = seals.press(t, ownSeal)
	q := ordered(cardRead(time.Now()).question(t, "X-1"))
	q.Source, q.Terms.Proof = "ue-5", "UE-05"
	body, err := q.encode()
	d.ok(err)
	var whole map[string]any
	d.ok(json.Unmarshal(body, &whole))
	for _, extra := range []string{"digest", "sign", "hash", "data_hash", "tbs", "file", "draft", "records"} {
		for _, inside := range []string{"", "document"} {
			changed := maps.Clone(whole)
			into := changed
			if inside != "" {
				into = maps.Clone(whole[inside].(map[string]any))
				changed[inside] = into
			}
			into[extra] = strings.Repeat("A", 43)
			b, err := json.Marshal(changed)
			d.ok(err)
			raw, err := d.Handle(t.Context(), attributes(q), b)
			d.ok(err)
			if r, err := decodeReply(raw); err != nil || r.Refusal != Denied {
				t.Errorf("%s in %q: %q, %v", extra, inside, r.Refusal, err)
			}
		}
	}
	a := attributes(q)
	a.Kind, a.Epoch = envelope.Answer, 1 // the only kind beside questions
	sealed, out, err := envelope.Seal(envelope.Sender{Key: own["gateway"]}, envelope.Recipient{Key: own["hr-front"].Public()}, a, body)
	d.ok(err)
	if _, err := d.door().Handle(t.Context(), ferry.Message{Headers: out.Headers(), Body: sealed}); !errors.Is(err, ferry.ErrUndecodable) {
		t.Errorf("an answer sent to a front: %v", err)
	}
	for _, kind := range []envelope.Kind{"", "sign", "seal", "digest"} {
		a.Kind = kind
		if _, _, err := envelope.Seal(envelope.Sender{Key: own["gateway"]}, envelope.Recipient{Key: own["hr-front"].Public()}, a, body); err == nil {
			t.Errorf("there is a kind %q", kind)
		}
	}
	if n := d.system.times(); n > 0 || len(d.entries(audit.OpSeal)) > 0 {
		t.Errorf("the system was asked %d times, or a seal used", n)
	}
}

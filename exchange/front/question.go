// Package front is both ends of a question that travels by ferry: the gateway's
// Source that asks it, and what a department's front processor does with it.
//
// Inside the envelope (package envelope) a question and its answer are JSON,
// written down in docs/protocol/front.md. The front believes nobody: before its
// adapter is called it checks, with keys from the signed catalogue it holds
// itself, the gateway's signature, the leg digest, the card read behind the
// question (challenge, attestation, person, freshness), the grant and the
// fields, the deadline, and that the same card read is not used for a second
// exchange. A gateway that was taken over can therefore ask about nobody who
// has not just shown their card. Every refusal is in the front's own audit log.
package front

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/identity"
)

// Question is what a gateway asks a front.
type Question struct {
	Terms       exchange.LegTerms
	Source      catalog.SourceID
	Caller      catalog.CallerID
	Operator    catalog.OperatorID
	Person      identity.Person
	Salts       identity.Salts
	Attestation string
	Order       *exchange.Order // of a document, for a seal that the front holds
}

// Refusal is why a front did not ask its system.
type Refusal string

const (
	Denied      Refusal = "DENIED" // something did not check out; which is in the front's log only
	TooLate     Refusal = "TIMEOUT"
	Unreachable Refusal = "UNREACHABLE" // the department's system, behind the front
	Failed      Refusal = "SOURCE_ERROR"
)

// Reply is a front's answer: a state with records, or a refusal.
type Reply struct {
	State    exchange.State
	Refusal  Refusal
	Records  []exchange.Record
	DataTime time.Time
	Document *exchange.Document // with records only, where one was ordered
	pad      int                // encode makes the reply a multiple of so many bytes
}

// Format keeps person, salts and attestation out of every fmt verb.
func (q Question) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "question %s %s", q.Terms.Exchange, q.Terms.Leg)
}

// MarshalJSON refuses: encode is the one place where a question becomes bytes.
func (q Question) MarshalJSON() ([]byte, error) { return nil, errNotHere }

// Format keeps the records out of every fmt verb, and what was found with them:
// a proof may be sensitive.
func (r Reply) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "reply") }

// MarshalJSON refuses, as a Question's does.
func (r Reply) MarshalJSON() ([]byte, error) { return nil, errNotHere }

var errNotHere = errors.New("front: not to be encoded outside an envelope")

var b64 = base64.RawURLEncoding.Strict()

const version = 1

// ErrMessage is returned for a question or reply that is not of the written form.
var ErrMessage = errors.New("front: malformed message")

type questionJSON struct {
	V           int        `json:"v"`
	Exchange    string     `json:"exchange"`
	Leg         string     `json:"leg"`
	Commitment  string     `json:"commitment"`
	Item        string     `json:"item"`
	Proof       string     `json:"proof"`
	Fields      []string   `json:"fields"`
	Purpose     string     `json:"purpose"`
	Case        string     `json:"case"`
	Release     uint64     `json:"release"`
	Source      string     `json:"source"`
	Caller      string     `json:"caller"`
	Operator    string     `json:"operator"`
	Person      personJSON `json:"person"`
	SaltID      string     `json:"salt_id"`
	SaltName    string     `json:"salt_name"`
	Attestation string     `json:"attestation"`
	Document    *orderJSON `json:"document,omitempty"`
}

type personJSON struct {
	Type   string `json:"type"`
	Number string `json:"number"`
	Name   string `json:"name"`
}

// encode is the one place where a question's person becomes bytes; they go into an envelope at once.
func (q Question) encode() ([]byte, error) {
	t := q.Terms
	b, err := json.Marshal(questionJSON{
		V: version, Exchange: t.Exchange, Leg: t.Leg, Commitment: b64.EncodeToString(t.Commitment), Item: string(t.Item),
		Proof: string(t.Proof), Fields: t.Fields, Purpose: t.Purpose, Case: t.Case, Release: t.Release,
		Source: string(q.Source), Caller: string(q.Caller), Operator: string(q.Operator),
		Person: personJSON{Type: string(q.Person.Type), Number: q.Person.Number.Reveal(), Name: q.Person.Name.Reveal()},
		SaltID: b64.EncodeToString(q.Salts.ID[:]), SaltName: b64.EncodeToString(q.Salts.Name[:]), Attestation: q.Attestation,
		Document: encodeOrder(q.Order),
	})
	if err != nil {
		return nil, errors.New("front: question cannot be encoded")
	}
	return b, nil
}

func decodeQuestion(raw []byte) (Question, error) {
	var w questionJSON
	if err := strict(raw, &w); err != nil || w.V != version {
		return Question{}, ErrMessage
	}
	commitment, errCommitment := b64.DecodeString(w.Commitment)
	number, _, errNumber := identity.ParseNumber(w.Person.Number)
	q := Question{
		Terms: exchange.LegTerms{Exchange: w.Exchange, Leg: w.Leg, Commitment: commitment, Item: catalog.ItemCode(w.Item),
			Proof: catalog.ProofCode(w.Proof), Fields: w.Fields, Purpose: w.Purpose, Case: w.Case, Release: w.Release},
		Source: catalog.SourceID(w.Source), Caller: catalog.CallerID(w.Caller), Operator: catalog.OperatorID(w.Operator),
		Person:      identity.Person{Type: identity.IDType(w.Person.Type), Number: number, Name: identity.NewName(w.Person.Name)},
		Attestation: w.Attestation,
	}
	err := errors.Join(errCommitment, errNumber, salt(&q.Salts.ID, w.SaltID), salt(&q.Salts.Name, w.SaltName), w.Document.decode(&q.Order))
	if err != nil || number.Type() != q.Person.Type {
		return Question{}, ErrMessage
	}
	q.Person.Birth, q.Person.Sex = number.Birth(), number.Sex()
	return q, nil
}

func salt(into *[16]byte, s string) error {
	b, err := b64.DecodeString(s)
	if err != nil || len(b) != len(into) {
		return ErrMessage
	}
	copy(into[:], b)
	return nil
}

type replyJSON struct {
	V        int           `json:"v"`
	State    string        `json:"state,omitempty"`
	Refusal  string        `json:"refusal,omitempty"`
	DataTime string        `json:"data_time,omitempty"` // RFC 3339
	Records  []recordJSON  `json:"records,omitempty"`
	Document *documentJSON `json:"document,omitempty"`
	Pad      string        `json:"pad,omitempty"` // readers ignore it
}

type recordJSON struct {
	Number string         `json:"number,omitempty"`
	Name   string         `json:"name,omitempty"`
	Fields map[string]any `json:"fields"`
}

func (r Reply) encode() ([]byte, error) {
	w := replyJSON{V: version, State: string(r.State), Refusal: string(r.Refusal)}
	if !r.DataTime.IsZero() {
		w.DataTime = r.DataTime.Format(time.RFC3339Nano)
	}
	for _, rec := range r.Records {
		w.Records = append(w.Records, recordJSON{Number: rec.Number, Name: rec.Name, Fields: rec.Fields})
	}
	w.Document = encodeDocument(r.Document)
	b, err := json.Marshal(w)
	if err != nil {
		return nil, errors.New("front: reply cannot be encoded")
	}
	if r.pad > 0 {
		b = exchange.Padded(b, r.pad)
	}
	return b, nil
}

func decodeReply(raw []byte) (Reply, error) {
	var w replyJSON
	if err := strict(raw, &w); err != nil || w.V != version {
		return Reply{}, ErrMessage
	}
	r := Reply{State: exchange.State(w.State), Refusal: Refusal(w.Refusal)}
	if !r.known() || (len(w.Records) > 0 || w.Document != nil) && r.State != exchange.StateFound {
		return Reply{}, ErrMessage
	}
	if err := w.Document.decode(&r.Document); err != nil {
		return Reply{}, err
	}
	if w.DataTime != "" {
		t, err := time.Parse(time.RFC3339Nano, w.DataTime)
		if err != nil {
			return Reply{}, fmt.Errorf("%w: data time", ErrMessage)
		}
		r.DataTime = t
	}
	for _, rec := range w.Records {
		r.Records = append(r.Records, exchange.Record{Number: rec.Number, Name: rec.Name, Fields: rec.Fields})
	}
	return r, nil
}

// asRead is the reply as its reader will have it, numbers as they are written.
func (r Reply) asRead() Reply {
	b, err := r.encode()
	if err != nil {
		return Reply{Refusal: Failed}
	}
	defer clear(b)
	if r, err = decodeReply(b); err != nil {
		return Reply{Refusal: Failed}
	}
	return r
}

// known reports whether r is either one of the states or one of the refusals.
func (r Reply) known() bool {
	switch r.State {
	case exchange.StateFound, exchange.StateNotFound, exchange.StateMultiple, exchange.StatePending, exchange.StateNotIssuable:
		return r.Refusal == ""
	case "":
		return r.Refusal == Denied || r.Refusal == TooLate || r.Refusal == Unreachable || r.Refusal == Failed
	}
	return false
}

// strict decodes exactly one JSON value without unknown members; numbers stay as they are written.
func strict(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return ErrMessage
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return ErrMessage
	}
	return nil
}

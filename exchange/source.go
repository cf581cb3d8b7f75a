package exchange

import (
	"context"
	"errors"
	"time"

	"yizheng/catalog"
	"yizheng/identity"
)

// Source asks one department's system about one person.
//
// Query is called from many goroutines at once. It must return by the
// context's deadline and must not retry on its own beyond renewing expired
// credentials: the exchange decides about attempts. An error is ErrUnreachable
// (nobody there), ErrDenied, a context error (no answer in time) or anything else (the
// source answered, but not usably); errors never carry the person's data.
type Source interface {
	Query(ctx context.Context, ask Ask) (Answer, error)
}

// ErrUnreachable is returned by a Source whose peer cannot be connected to at all.
var ErrUnreachable = errors.New("source unreachable")

// ErrDenied is returned by a Source whose front processor, which judges for
// itself, refused the question.
var ErrDenied = errors.New("refused by the front processor")

// Ask is one leg's question as a Source sees it. A Source in this process
// needs the person only; a front behind a ferry checks the rest for itself.
type Ask struct {
	Source      catalog.Source
	Terms       LegTerms
	Digest      LegDigest // of Terms: what an answer must answer to
	Subject     identity.Person
	Salts       identity.Salts
	Attestation string // of the card read
	Operator    catalog.OperatorID
	Caller      catalog.CallerID
	Order       *Order // of a document, if the answer may bear a seal that its front holds; else nil
}

// Order is what a front needs, beside the question and its answer, to make the
// document of the answer itself.
type Order struct {
	Number  string // the document's
	Secret  Secret
	Receipt string // pointer to the intent in the gateway's log
}

// State is what a source says of a person, before the exchange has checked it.
type State string

const (
	StateFound       State = "FOUND"
	StateNotFound    State = "NOT_FOUND"
	StateMultiple    State = "MULTIPLE"
	StatePending     State = "PENDING"
	StateNotIssuable State = "NOT_ISSUABLE"
)

// Answer is a source's answer, mapped but not yet checked.
type Answer struct {
	State        State
	Records      []Record
	DataTime     time.Time // the source's own; zero if it gave none
	Authenticity catalog.Authenticity
	Document     *Document // only where it was ordered
}

// Document is what a front has made of a found answer, and sealed itself: a
// file, or nothing because of characters that no font there can draw.
type Document struct {
	File     []byte
	IssuedAt time.Time // whole seconds
	Missing  []rune
}

// Record is one mapped record: whom it is about, and its fields by proof field name.
// Fields may hold more than was granted; the exchange drops the rest.
type Record struct {
	Number string // as the source has it, 18 or (Accept15) 15 digits; empty if the source does not say
	Name   string // empty if the source does not say
	Fields map[string]any
}

// Line is the name under which a source is reached from a gateway, the key of
// Config.Sources: its connection, or "front:" and the front it stands behind.
func Line(s catalog.Source) string {
	if s.Front != "" {
		return "front:" + string(s.Front)
	}
	return s.Connection
}

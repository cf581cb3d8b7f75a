package seal

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/identity/jose"
)

// State of a seal in its life.
type State string

// States that matter to signing and verifying. Revoked is final.
const (
	Issued    State = "issued"
	Suspended State = "suspended"
	Revoked   State = "revoked"
)

// Reason is why the state of a seal changed: a code of the register of seals, "" when
// none is given.
type Reason string

// Event is one change of a seal's state. At is in UTC; a resumption is an Event
// with State Issued.
type Event struct {
	ESID   string    `json:"esid"`
	State  State     `json:"state"`
	At     time.Time `json:"at"`
	Reason Reason    `json:"reason,omitempty"`
}

// StatusList is what a seal maker publishes about the seals it made: every change
// since a seal was issued. A seal without an event is issued; what it says about a
// seal of another maker counts for nothing. Its file (seals-status.json, or
// seals-status-NAME.json where there are several makers) is
//
//	{"certificate": base64 of the maker's certificate (DER), "list": JWS}
//
// with the JWS (typ yz-seal-status+jws) over the JSON of this type.
//
// Number grows with every list that says something new; of two lists of one maker
// the one with the higher number counts. With a register of seals (package
// seal/life) it is the number of its last step, whose digest is Head: so a list
// also shows when a register has lost its end.
type StatusList struct {
	V      int       `json:"v"` // 2; 1 is read, and gives no reasons
	Number uint64    `json:"number,omitempty"`
	Head   string    `json:"head,omitempty"`
	Issued time.Time `json:"issued"`
	Next   time.Time `json:"next"` // when the next list is due
	Events []Event   `json:"events"`
}

const statusTyp = "yz-seal-status+jws"

type statusFile struct {
	Certificate []byte `json:"certificate"`
	List        string `json:"list"`
}

// At returns the state of a seal at a time and since when it has been in it; since
// is zero for a seal without an event.
func (l *StatusList) At(esid string, t time.Time) (state State, since time.Time) {
	state = Issued
	for _, e := range l.Events {
		if e.ESID == esid && !e.At.After(t) && state != Revoked {
			state, since = e.State, e.At
		}
	}
	return state, since
}

// newer reports whether l replaces old.
func (l *StatusList) newer(old *StatusList) bool {
	if l.Number != old.Number {
		return l.Number > old.Number
	}
	return l.Issued.After(old.Issued)
}

// SignStatusList returns the file of a list, signed by the maker.
func SignStatusList(maker Credential, l StatusList) ([]byte, error) {
	l.V = 2
	if err := l.check(); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("seal: status list: %w", err)
	}
	token, err := jose.Sign(maker.Key, statusTyp, payload)
	if err != nil {
		return nil, fmt.Errorf("seal: status list: %w", err)
	}
	return json.MarshalIndent(statusFile{maker.Cert.Raw, token}, "", "  ")
}

// ReadStatusList reads a list's file and returns it with the key id of the maker who
// signed it. Whether that is one to be trusted, only a Trust says.
func ReadStatusList(raw []byte) (list StatusList, makerKid string, err error) {
	l, maker, err := parseStatusList(raw)
	if err != nil {
		return list, "", fmt.Errorf("seal: status list: %w", err)
	}
	return *l, keyID(maker), nil
}

// parseStatusList checks signature and form; the caller judges the certificate.
func parseStatusList(raw []byte) (*StatusList, *smx509.Certificate, error) {
	var f statusFile
	if err := strictJSON(raw, &f); err != nil {
		return nil, nil, err
	}
	cert, err := parseCert(f.Certificate)
	if err != nil {
		return nil, nil, err
	}
	pub := cert.PublicKey.(*ecdsa.PublicKey) // parseCert returns no other
	payload, _, err := jose.Verify(f.List, statusTyp, func(kid string) *ecdsa.PublicKey {
		if kid != jose.KeyID(pub) {
			return nil
		}
		return pub
	})
	if err != nil {
		return nil, nil, err
	}
	var l StatusList
	if err := strictJSON(payload, &l); err != nil {
		return nil, nil, err
	}
	return &l, cert, l.check()
}

func (l *StatusList) check() error {
	if l.V != 1 && l.V != 2 || l.Issued.IsZero() || !l.Issued.Before(l.Next) {
		return errors.New("seal: status list: version 1 or 2 with a time of issue and a later next list expected")
	}
	for _, e := range l.Events {
		if e.ESID == "" || e.At.IsZero() || !slices.Contains([]State{Issued, Suspended, Revoked}, e.State) {
			return errors.New("seal: status list: an event needs esid, time and one of issued, suspended, revoked")
		}
	}
	if !slices.IsSortedFunc(l.Events, func(a, b Event) int { return a.At.Compare(b.At) }) {
		return errors.New("seal: status list: events are not in order of time")
	}
	return nil
}

// strictJSON decodes exactly one value without unknown members.
func strictJSON(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("not the expected JSON: %w", err)
	}
	if d.More() {
		return errors.New("not the expected JSON: something follows")
	}
	return nil
}

package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Stamp is an authority's word that a head was there at a time: a time stamp
// token (RFC 3161) over the bytes of the head's signature. Who keeps them and
// who checks the tokens: package audit/stamp. As text it is one line of JSON
// without its line end: {"checkpoint": note, "token": base64 of DER}.
type Stamp struct {
	Head  SignedHead
	Token []byte
}

type stampLine struct {
	Checkpoint string `json:"checkpoint"`
	Token      []byte `json:"token"`
}

// MarshalText writes the line.
func (s Stamp) MarshalText() ([]byte, error) {
	note, err := s.Head.MarshalText()
	if err != nil {
		return nil, err
	}
	return json.Marshal(stampLine{string(note), s.Token})
}

// ParseStamp reads the line. It checks the form only; the caller goes on to
// verify head and token.
func ParseStamp(line []byte) (Stamp, error) {
	var l stampLine
	if err := json.Unmarshal(line, &l); err != nil {
		return Stamp{}, fmt.Errorf("audit: not a time stamp's line: %w", err)
	}
	head, err := ParseCheckpoint([]byte(l.Checkpoint))
	if err != nil {
		return Stamp{}, err
	}
	s := Stamp{head, l.Token}
	if again, err := s.MarshalText(); err != nil || len(l.Token) == 0 || !bytes.Equal(again, line) {
		return Stamp{}, fmt.Errorf("audit: time stamp's line is not in canonical form")
	}
	return s, nil
}

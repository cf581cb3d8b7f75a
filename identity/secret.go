package identity

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// secret is embedded in every type that holds a resident's data. It makes the
// whole value print, marshal and log as "[redacted]".
type secret struct{}

func (secret) String() string               { return redacted }
func (secret) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

// Number is a valid identity document number; ParseNumber makes one. It cannot
// print itself: Reveal is the one way out, and is easy to search for.
type Number struct {
	secret
	s string
}

// Reveal returns the number itself. The caller must not log or store it.
func (n Number) Reveal() string { return n.s }

// IsZero reports whether there is no number.
func (n Number) IsZero() bool { return n.s == "" }

// Equal compares two numbers in constant time.
func (n Number) Equal(o Number) bool {
	return subtle.ConstantTimeCompare([]byte(n.s), []byte(o.s)) == 1
}

// Name is a person's name as the card has it. Like Number it cannot print itself.
type Name struct {
	secret
	s string
}

// NewName keeps s as it is; NormaliseName is for comparing only.
func NewName(s string) Name { return Name{s: s} }

// Reveal returns the name itself. The caller must not log or store it.
func (n Name) Reveal() string { return n.s }

// IsZero reports whether there is no name.
func (n Name) IsZero() bool { return n.s == "" }

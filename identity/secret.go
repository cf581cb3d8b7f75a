package identity

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// redacted is all that a Number or Name ever prints.
const redacted = "[redacted]"

// Number is a valid identity document number. It cannot print itself: every
// formatting verb, JSON, text and log encoding yields "[redacted]". Reveal is
// the one way out and is easy to search for.
type Number struct{ s string }

// Reveal returns the number itself. The caller must not log or store it.
func (n Number) Reveal() string { return n.s }

// IsZero reports whether there is no number.
func (n Number) IsZero() bool { return n.s == "" }

// Equal compares two numbers in constant time.
func (n Number) Equal(o Number) bool {
	return subtle.ConstantTimeCompare([]byte(n.s), []byte(o.s)) == 1
}

func (Number) String() string               { return redacted }
func (Number) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (Number) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (Number) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Number) LogValue() slog.Value         { return slog.StringValue(redacted) }

// Name is a person's name as the card shows it. Like Number it cannot print itself.
type Name struct{ s string }

// NewName keeps s as it is; use NormaliseName only to compare.
func NewName(s string) Name { return Name{s} }

// Reveal returns the name itself. The caller must not log or store it.
func (n Name) Reveal() string { return n.s }

// IsZero reports whether there is no name.
func (n Name) IsZero() bool { return n.s == "" }

func (Name) String() string               { return redacted }
func (Name) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (Name) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (Name) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Name) LogValue() slog.Value         { return slog.StringValue(redacted) }

package identity

import (
	"fmt"
	"time"
)

// IDType is the kind of identity document: a code of the common certificate
// type table that GB/T 36903 systems use, where it has one.
type IDType string

const (
	TypeResident  IDType = "111" // resident identity card (居民身份证)
	TypeForeigner IDType = "553" // foreign permanent resident identity card, 2017 and 2023 layouts
	TypeHMT       IDType = "556" // residence permit for Hong Kong, Macao and Taiwan residents; this project's choice, see docs/protocol/read-attestation.md
)

// Sex is a code of GB/T 2261.1.
type Sex string

const (
	SexUnknown  Sex = "0"
	SexMale     Sex = "1"
	SexFemale   Sex = "2"
	SexUnstated Sex = "9"
)

// Date is a civil date in Beijing time. The zero Date is no date.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// Person is one person as their card describes them.
type Person struct {
	Type   IDType
	Number Number
	Name   Name
	Birth  Date
	Sex    Sex
}

// Salts are the two random values that blind a read attestation's commitments.
// They travel encrypted, beside the number and the name, and to nobody else.
type Salts struct{ ID, Name [16]byte }

func (Salts) String() string             { return redacted }
func (Salts) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

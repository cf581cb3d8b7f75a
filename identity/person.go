package identity

import (
	"errors"
	"fmt"
	"time"

	"yizheng/catalog/beijing"
)

// IDType is the kind of an identity document: a three-digit code of the
// certificate type table common in government systems.
type IDType string

const (
	TypeResident  IDType = "111" // resident identity card (居民身份证)
	TypeForeigner IDType = "553" // foreign permanent resident identity card (外国人永久居留身份证), 2017 and 2023
	TypeHMT       IDType = "556" // residence permit for Hong Kong, Macao and Taiwan residents (港澳台居民居住证); the code is this project's choice
)

// Sex is a code of GB/T 2261.1.
type Sex string

const (
	SexUnknown  Sex = "0"
	SexMale     Sex = "1"
	SexFemale   Sex = "2"
	SexUnstated Sex = "9"
)

// Person is one person as their card describes them.
type Person struct {
	secret
	Type   IDType
	Number Number
	Name   Name
	Birth  Date
	Sex    Sex
}

// Salts blind the commitments of an attestation: ID that of type and number,
// Name that of the name, Card those of the chip's UID and text. ID and Name
// travel, encrypted, with the number and name to whoever checks them; Card
// stays between read agent and gateway.
type Salts struct {
	secret
	ID, Name, Card [16]byte
}

// ErrDate is returned for a date that does not exist.
var ErrDate = errors.New("no such date")

// Date is a civil date in Beijing time. The zero Date is no date.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// ParseDate parses YYYYMMDD (GB/T 7408.1 basic format) and refuses days that
// do not exist.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse("20060102", s)
	if err != nil {
		return Date{}, ErrDate
	}
	return Date{t.Year(), t.Month(), t.Day()}, nil
}

// DateOf returns the date in Beijing at t.
func DateOf(t time.Time) Date {
	t = t.In(beijing.Zone())
	return Date{t.Year(), t.Month(), t.Day()}
}

// IsZero reports whether d is no date.
func (d Date) IsZero() bool { return d == Date{} }

// Before reports whether d is an earlier day than o.
func (d Date) Before(o Date) bool { return d.compact() < o.compact() }

// Compact returns YYYYMMDD.
func (d Date) Compact() string { return fmt.Sprintf("%08d", d.compact()) }

func (d Date) compact() int { return d.Year*10000 + int(d.Month)*100 + d.Day }

// yearsUntil returns full years from d to o: an age.
func (d Date) yearsUntil(o Date) int {
	years := o.Year - d.Year
	if int(o.Month)*100+o.Day < int(d.Month)*100+d.Day {
		years--
	}
	return years
}

package spool

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Bounds of a time in milliseconds since the Unix epoch: 1970 to 9999.
const maxMillis = 253402300799999

// appendRecord appends a message as a record of a data file:
//
//	u8 length, id ‖ i64 not-after ms ‖ u8 headers, each u8 length, key ‖ u16
//	length, value, keys strictly ascending ‖ u32 length, body
func appendRecord(b []byte, m Message) []byte {
	b = append(b, byte(len(m.ID)))
	b = append(b, m.ID...)
	b = binary.BigEndian.AppendUint64(b, uint64(m.NotAfter.UnixMilli()))
	keys := make([]string, 0, len(m.Headers))
	for k := range m.Headers {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = append(b, byte(len(keys)))
	for _, k := range keys {
		b = append(b, byte(len(k)))
		b = append(b, k...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(m.Headers[k])))
		b = append(b, m.Headers[k]...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Body)))
	return append(b, m.Body...)
}

// recordSize is the number of bytes that appendRecord appends.
func recordSize(m Message) int {
	n := 1 + len(m.ID) + 8 + 1 + 4 + len(m.Body)
	for k, v := range m.Headers {
		n += 3 + len(k) + len(v)
	}
	return n
}

// checkMessage finds what appendRecord could not write or a reader would refuse.
func checkMessage(m Message) error {
	if !validID(m.ID) {
		return fmt.Errorf("%w: id", ErrMessage)
	}
	if len(m.Headers) > maxHeaders {
		return fmt.Errorf("%w: %d headers, at most %d", ErrMessage, len(m.Headers), maxHeaders)
	}
	for k, v := range m.Headers {
		if !validHeader(k, v) {
			return fmt.Errorf("%w: header key or value is empty, too long or not UTF-8", ErrMessage)
		}
	}
	if ms := m.NotAfter.UnixMilli(); ms <= 0 || ms > maxMillis {
		return fmt.Errorf("%w: not-after", ErrMessage)
	}
	return nil
}

func validHeader(k, v string) bool {
	return k != "" && len(k) <= maxHeaderKey && len(v) <= maxHeaderVal && utf8.ValidString(k) && utf8.ValidString(v)
}

// parseRecords reads the count records of a data file's body. Bodies alias b.
func parseRecords(b []byte, count int) ([]Message, error) {
	if count < 1 || count > MaxRecords {
		return nil, fmt.Errorf("%w: %d records", ErrFormat, count)
	}
	d := decoder{b: b}
	messages := make([]Message, 0, count)
	for range count {
		m, err := parseRecord(&d)
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, d.end("records")
}

func parseRecord(d *decoder) (Message, error) {
	m := Message{ID: string(d.take(d.u8()))}
	notAfter := d.i64()
	m.NotAfter = time.UnixMilli(notAfter)
	n := d.u8()
	if d.failed || !validID(m.ID) || notAfter <= 0 || notAfter > maxMillis || n > maxHeaders {
		return m, fmt.Errorf("%w: record's id, time or headers", ErrFormat)
	}
	if n > 0 {
		m.Headers = make(map[string]string, n)
	}
	last := ""
	for range n {
		k := string(d.take(d.u8()))
		v := string(d.take(d.u16()))
		if d.failed || k <= last || !validHeader(k, v) {
			return m, fmt.Errorf("%w: record's headers", ErrFormat)
		}
		m.Headers[k], last = v, k
	}
	if m.Body = d.take(d.u32()); d.failed {
		return m, fmt.Errorf("%w: record ends early", ErrFormat)
	}
	return m, nil
}

// MarshalBinary returns a message as one record of a data file, so that whoever
// keeps it need not invent another form. Errors wrap ErrMessage.
func (m Message) MarshalBinary() ([]byte, error) {
	if err := checkMessage(m); err != nil {
		return nil, err
	}
	return appendRecord(make([]byte, 0, recordSize(m)), m), nil
}

// UnmarshalBinary reads what MarshalBinary wrote, to its end. Errors wrap
// ErrFormat. The body aliases b.
func (m *Message) UnmarshalBinary(b []byte) error {
	d := decoder{b: b}
	read, err := parseRecord(&d)
	if err == nil {
		err = d.end("record")
	}
	if err != nil {
		return err
	}
	*m = read
	return nil
}

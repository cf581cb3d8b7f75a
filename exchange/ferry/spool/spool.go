// Package spool is the ferry's file protocol for a gap: a boundary device
// (网闸, 光闸) that carries files from one network to another by its own
// schedule and may delay, duplicate, reorder, drop, truncate or quarantine
// them. It knows bytes and routing headers only, never what is in an envelope.
//
// # Directories
//
// Each side has one spool directory on one filesystem:
//
//	tmp/         files being written
//	out/         whole files for the device to fetch
//	in/          files the device has left
//	done/        sent files, kept until the other side has acknowledged them
//	quarantine/  files that could not be believed, bounded in number and bytes
//
// and a state directory with two journals: what was sent, what was received.
//
// # Files
//
// A data file is self-contained: a header (channel, epoch, sequence, digest of
// the previous file, count, created, not-after), up to 256 records, SM3 and an
// SM2 signature of the sending relay. Acknowledgements, requests for what is
// missing, voids, heartbeats and reconciliations are files too. The bytes are
// written down in docs/protocol/gap-spool.md.
//
// # Guarantees
//
// Put returns nil once its message is in done/ (on the disk, with
// Config.Durable). From then on the message is delivered on the other side at
// least once, unless its not-after passes first or done/ is destroyed; both
// are counted and named. A record is identified by the sender's id: the
// receiver suppresses repetitions within the last Config.RecordWindow ids and,
// for whole files, for ever.
//
// Where the process dies decides what happens after the next start:
//
//	sender, before the link into done/     Put has not returned: the caller repeats
//	sender, before Put has returned        the caller may repeat: the same id, dropped by the receiver
//	sender, before the rename into out/    the file is sent at start, from done/
//	receiver, before delivery              delivered at start: the file is still in in/
//	receiver, between delivery and cursor  delivered again, same ids: the only such point
//	receiver, between cursor and deletion  dropped at start as a repetition
//	either, before an acknowledgement      sent again, dropped, acknowledged again
//
// So a local side that must act exactly once keeps the ids of what it has acted
// on, as fronts and gateways do with (exchange, leg) anyway; without a crash it
// never sees an id twice.
package spool

import (
	"crypto/ecdsa"
	"errors"
	"time"
)

// Message is one sealed envelope with its routing headers.
type Message struct {
	// ID names the message for ever: 1 to 64 characters out of A-Z, a-z, 0-9
	// and ". _ : / -". A message that is put again carries the same ID.
	ID      string
	Headers map[string]string
	Body    []byte
	// NotAfter ends the message's use, in whole milliseconds; it is dropped
	// and counted afterwards. The zero time means Config.MaxAge from now.
	NotAfter time.Time
}

// Signer signs files. *jose.Key is one.
type Signer interface {
	KeyID() string                          // 32 lower-case hex digits
	SignMessage(msg []byte) ([]byte, error) // SM2 with SM3 and the default user id, ASN.1 DER
}

// KeyFunc finds the public key of the other side's relay; nil if unknown.
type KeyFunc func(kid string) *ecdsa.PublicKey

// Errors of Put.
var (
	ErrTooLarge = errors.New("message does not fit into a file of the gap")
	ErrMessage  = errors.New("message is not well-formed")
	ErrExpired  = errors.New("message's not-after has passed")
	ErrClosed   = errors.New("link is not running")
)

// Errors of files. They never hold contents.
var (
	ErrFormat    = errors.New("not a file of this protocol")
	ErrDigest    = errors.New("file's digest is wrong")
	ErrSignature = errors.New("file's signature is wrong")
)

// ErrState is returned by Run when the journals or the spool cannot be written
// or read. The process should stop: going on could lose or repeat messages.
var ErrState = errors.New("spool state unusable")

// Limits of the format.
const (
	MaxRecords   = 256
	Window       = 4096 // unacknowledged files of one channel
	MaxFileBytes = 32 << 20
	maxID        = 64
	maxHeaders   = 64
	maxHeaderKey = 255
	maxHeaderVal = 8 << 10
)

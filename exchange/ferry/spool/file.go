package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
)

// Kind says what a file is.
type Kind byte

// Kinds of files. All but Data are control files.
const (
	Data      Kind = 1 // records
	Ack       Kind = 2 // what has been received
	Nack      Kind = 3 // what is missing
	Void      Kind = 4 // what will not come any more
	Beat      Kind = 5 // heartbeat
	Reconcile Kind = 6 // what was sent in one period
	Account   Kind = 7 // what was received of it
)

// kindSuffix is appended to the channel in a file's name.
var kindSuffix = [...]string{Data: "", Ack: "_ACK", Nack: "_NACK", Void: "_VOID", Beat: "_BEAT", Reconcile: "_RECON", Account: "_ACCOUNT"}

func (k Kind) valid() bool { return k >= Data && int(k) < len(kindSuffix) }

func (k Kind) String() string {
	if !k.valid() {
		return "?"
	}
	if k == Data {
		return "DATA"
	}
	return kindSuffix[k][1:]
}

const (
	fileMagic   = "YZGF"
	fileVersion = 1
	signDomain  = "yizheng-gap-file-v1\n"
	maxDER      = 80 // an SM2 signature in DER has at most 72 bytes
	// fixedBytes bounds what a file has besides channel and body.
	fixedBytes = 4 + 1 + 1 + 2 + 1 + 8 + 8 + 32 + 16 + 8 + 8 + 4 + 4 + 32 + 1 + maxDER
)

// File is one file of the gap, without its signature.
type File struct {
	Kind     Kind
	Channel  string
	Epoch    uint64
	Seq      uint64
	Previous [32]byte // digest of the channel's file before, zero for the first
	KeyID    [16]byte
	Created  int64 // milliseconds since the Unix epoch
	NotAfter int64
	Count    int
	Body     []byte
	Digest   [32]byte // set by Marshal and ParseFile
}

// Marshal encodes and signs the file and sets its KeyID and Digest.
//
//	"YZGF" ‖ u8 version 1 ‖ u8 kind ‖ u16 0 ‖ u8 length, channel ‖ u64 epoch ‖
//	u64 sequence ‖ previous (32) ‖ key id (16) ‖ i64 created ms ‖ i64 not-after
//	ms ‖ u32 count ‖ u32 length, body ‖ SM3 of all before (32) ‖ u8 length,
//	signature over "yizheng-gap-file-v1\n" ‖ SM3
func (f *File) Marshal(signer Signer) ([]byte, error) {
	kid, err := hex.DecodeString(signer.KeyID())
	if err != nil || len(kid) != len(f.KeyID) {
		return nil, fmt.Errorf("gap file: key id %q is not 32 hex digits", signer.KeyID())
	}
	copy(f.KeyID[:], kid)
	b := f.appendUnsigned(make([]byte, 0, fixedBytes+len(f.Channel)+len(f.Body)))
	f.Digest = sm3.Sum(b)
	b = append(b, f.Digest[:]...)
	signature, err := signer.SignMessage(append([]byte(signDomain), f.Digest[:]...))
	if err != nil {
		return nil, fmt.Errorf("sign gap file: %w", err)
	}
	b = append(b, byte(len(signature)))
	return append(b, signature...), nil
}

func (f *File) appendUnsigned(b []byte) []byte {
	b = append(b, fileMagic...)
	b = append(b, fileVersion, byte(f.Kind), 0, 0, byte(len(f.Channel)))
	b = append(b, f.Channel...)
	b = binary.BigEndian.AppendUint64(b, f.Epoch)
	b = binary.BigEndian.AppendUint64(b, f.Seq)
	b = append(b, f.Previous[:]...)
	b = append(b, f.KeyID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(f.Created))
	b = binary.BigEndian.AppendUint64(b, uint64(f.NotAfter))
	b = binary.BigEndian.AppendUint32(b, uint32(f.Count))
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Body)))
	return append(b, f.Body...)
}

// ParseFile decodes a file and checks its structure and digest, but not its
// signature: that is Verify. It returns ErrFormat or ErrDigest.
func ParseFile(b []byte) (*File, []byte, error) {
	if len(b) > MaxFileBytes {
		return nil, nil, fmt.Errorf("%w: larger than %d bytes", ErrFormat, MaxFileBytes)
	}
	d := decoder{b: b}
	if !bytes.Equal(d.take(4), []byte(fileMagic)) || d.u8() != fileVersion {
		return nil, nil, fmt.Errorf("%w: magic or version", ErrFormat)
	}
	f := &File{Kind: Kind(d.u8())}
	flags := d.u16()
	f.Channel = string(d.take(d.u8()))
	f.Epoch, f.Seq, f.Previous = d.u64(), d.u64(), d.digest()
	copy(f.KeyID[:], d.take(16))
	f.Created, f.NotAfter, f.Count = d.i64(), d.i64(), d.u32()
	f.Body = d.take(d.u32())
	signed := len(b) - len(d.b)
	f.Digest = d.digest()
	signature := d.take(d.u8())
	if err := d.end("file"); err != nil {
		return nil, nil, err
	}
	if err := f.check(flags); err != nil {
		return nil, nil, err
	}
	if sm3.Sum(b[:signed]) != f.Digest {
		return nil, nil, ErrDigest
	}
	return f, signature, nil
}

func (f *File) check(flags int) error {
	switch {
	case !f.Kind.valid() || flags != 0:
		return fmt.Errorf("%w: kind or flags", ErrFormat)
	case !ValidChannel(f.Channel):
		return fmt.Errorf("%w: channel", ErrFormat)
	case f.Epoch == 0 || f.Epoch > maxMillis || f.Seq == 0 || f.Seq > maxSeq:
		return fmt.Errorf("%w: epoch or sequence", ErrFormat)
	case f.Created <= 0 || f.Created > maxMillis || f.NotAfter < f.Created || f.NotAfter > maxMillis:
		return fmt.Errorf("%w: times", ErrFormat)
	case f.Kind == Data && (f.Count < 1 || f.Count > MaxRecords), f.Kind != Data && f.Count != 0:
		return fmt.Errorf("%w: count", ErrFormat)
	}
	return nil
}

// Verify checks the signature that ParseFile returned. Every failure is
// ErrSignature: an unknown key as well as a wrong signature.
func (f *File) Verify(signature []byte, key KeyFunc) error {
	pub := key(hex.EncodeToString(f.KeyID[:]))
	if pub == nil || !sm2.VerifyASN1WithSM2(pub, nil, append([]byte(signDomain), f.Digest[:]...), signature) {
		return ErrSignature
	}
	return nil
}

package spool

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// decoder takes big-endian fields off a byte string. After a failure every
// further take yields zero values; the caller asks once, at the end.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) take(n int) []byte {
	if d.failed || n < 0 || n > len(d.b) {
		d.failed = true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() int {
	if v := d.take(1); v != nil {
		return int(v[0])
	}
	return 0
}

func (d *decoder) u16() int {
	if v := d.take(2); v != nil {
		return int(binary.BigEndian.Uint16(v))
	}
	return 0
}

func (d *decoder) u32() int {
	if v := d.take(4); v != nil {
		return int(binary.BigEndian.Uint32(v))
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if v := d.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) i64() int64 { return int64(d.u64()) }

func (d *decoder) digest() (v [32]byte) {
	copy(v[:], d.take(32))
	return v
}

// end reports what is wrong with the fields taken so far, given that nothing
// may be left.
func (d *decoder) end(what string) error {
	if d.failed {
		return fmt.Errorf("%w: %s ends early", ErrFormat, what)
	}
	if len(d.b) > 0 {
		return fmt.Errorf("%w: %d bytes after the end of %s", ErrFormat, len(d.b), what)
	}
	return nil
}

// id hashes and ids: the alphabet holds nothing that needs quoting anywhere.
func validID(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && strings.IndexByte("._:/-", c) < 0 {
			return false
		}
	}
	return true
}

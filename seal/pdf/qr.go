package pdf

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"rsc.io/qr/coding"
)

// A QR code (ISO/IEC 18004) in byte mode with error correction level M. Where
// each bit of a version stands comes from rsc.io/qr, once per version; what is
// done for each document is the error correction and the setting of bits. The
// mask is always the first: payloads are links with random data, which look alike
// under every mask.

// qrPlan is one version's code without data.
type qrPlan struct {
	size   int         // modules on a side
	stride int         // bytes of a row
	image  []byte      // fixed patterns, and the mask where data will be; 1 is dark
	places [][8]uint16 // by data or check byte, lowest bit first: the module's place in a row-wise count
	data   int         // data bytes
	blocks int
	check  int // check bytes of one block
	rows   *[256]qrRow
}

// qrRow holds the check bytes that one leading data byte leaves, first byte
// highest; at most 30 are used (level M).
type qrRow [4]uint64

// qrPlans makes each version's plan when it is first asked for.
type qrPlans struct {
	mu    sync.Mutex
	plans [coding.MaxVersion + 1]*qrPlan
}

func (ps *qrPlans) get(v coding.Version) (*qrPlan, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.plans[v] == nil {
		p, err := newQRPlan(v)
		if err != nil {
			return nil, err
		}
		ps.plans[v] = p
	}
	return ps.plans[v], nil
}

func newQRPlan(v coding.Version) (*qrPlan, error) {
	plan, err := coding.NewPlan(v, coding.M, 0)
	if err != nil {
		return nil, fmt.Errorf("pdf: QR version %d: %w", v, err)
	}
	n := len(plan.Pixel)
	p := &qrPlan{size: n, stride: (n + 7) / 8, data: plan.DataBytes, blocks: plan.Blocks, check: plan.CheckBytes / plan.Blocks}
	p.image = make([]byte, p.stride*n)
	p.places = make([][8]uint16, plan.DataBytes+plan.CheckBytes)
	for y, row := range plan.Pixel {
		for x, pixel := range row {
			at := y*p.stride*8 + x
			if pixel&coding.Black != 0 {
				p.image[at/8] |= 0x80 >> (at % 8)
			}
			if r := pixel.Role(); r == coding.Data || r == coding.Check {
				o := pixel.Offset()
				p.places[o/8][7-o%8] = uint16(at)
			}
		}
	}
	p.rows = checkRows(p.check)
	return p, nil
}

// checkRows computes, for a code of n check bytes, what each value of the byte
// that is divided away adds to the remainder.
func checkRows(n int) *[256]qrRow {
	generator := make([]byte, n+1) // the product of (x - 2^i), highest power first
	generator[0] = 1
	for i := range n {
		for j := i + 1; j > 0; j-- {
			generator[j] ^= coding.Field.Mul(generator[j-1], coding.Field.Exp(i))
		}
	}
	rows := new([256]qrRow)
	for b := range rows {
		var bytes [32]byte
		for j := range n {
			bytes[j] = coding.Field.Mul(byte(b), generator[j+1])
		}
		for k := range rows[b] {
			rows[b][k] = binary.BigEndian.Uint64(bytes[8*k:])
		}
	}
	return rows
}

// checkBytes appends the check bytes of one block of data.
func (p *qrPlan) checkBytes(out, data []byte) []byte {
	var r qrRow
	for _, d := range data {
		row := &p.rows[d^byte(r[0]>>56)]
		r[0] = (r[0]<<8 | r[1]>>56) ^ row[0]
		r[1] = (r[1]<<8 | r[2]>>56) ^ row[1]
		r[2] = (r[2]<<8 | r[3]>>56) ^ row[2]
		r[3] = r[3]<<8 ^ row[3]
	}
	var bytes [32]byte
	for k, v := range r {
		binary.BigEndian.PutUint64(bytes[8*k:], v)
	}
	return append(out, bytes[:p.check]...)
}

// qrCode is a code as a picture of one bit per module, rows padded to bytes.
type qrCode struct {
	size int
	bits []byte // 1 is dark
}

// qrSheet is memory for a code that is made: its bytes, its modules one byte each, and
// its picture. The zero value is ready.
type qrSheet struct{ code, modules, image []byte }

// encode returns the smallest code that holds payload; its picture is on the sheet. It
// wraps ErrDocument when payload is too long for any.
func (ps *qrPlans) encode(payload string, on *qrSheet) (*qrCode, error) {
	for v := coding.Version(coding.MinVersion); v <= coding.MaxVersion; v++ {
		length := 8 // bits that hold the payload's length
		if v > 9 {
			length = 16
		}
		if 4+length+8*len(payload) > 8*v.DataBytes(coding.M) {
			continue
		}
		p, err := ps.get(v)
		if err != nil {
			return nil, err
		}
		return p.encode(payload, length, on), nil
	}
	return nil, fmt.Errorf("%w: QR payload of %d bytes cannot be encoded", ErrDocument, len(payload))
}

// encode writes mode, length, payload and padding, the check bytes of every
// block, and sets the bits.
func (p *qrPlan) encode(payload string, length int, on *qrSheet) *qrCode {
	code := slices.Grow(on.code[:0], p.data+p.blocks*p.check)
	acc, n := uint32(4)<<length|uint32(len(payload)), 4+length // 4 is byte mode
	for ; n >= 8; n -= 8 {
		code = append(code, byte(acc>>(n-8)))
	}
	for i := range len(payload) { // n is 4 from here on
		acc = acc<<8 | uint32(payload[i])
		code = append(code, byte(acc>>4))
	}
	code = append(code, byte(acc<<4))
	for pad := byte(0xEC); len(code) < p.data; pad ^= 0xEC ^ 0x11 {
		code = append(code, pad)
	}
	short, from := p.data/p.blocks, 0
	for i := range p.blocks {
		to := from + short
		if i >= p.blocks-p.data%p.blocks {
			to++ // the last blocks are longer by one byte
		}
		code = p.checkBytes(code, code[from:to])
		from = to
	}
	on.code = code
	return &qrCode{p.size, p.draw(code, on)}
}

// draw returns the picture of a code's bytes. Modules are first set one byte each:
// bits of one byte would have to wait for each other.
func (p *qrPlan) draw(code []byte, on *qrSheet) []byte {
	on.modules = slices.Grow(on.modules[:0], 8*len(p.image))
	modules := on.modules[:8*len(p.image)]
	clear(modules) // those of patterns stay so
	for i := range p.places {
		b := code[i]
		for _, at := range &p.places[i] {
			modules[at] = b & 1
			b >>= 1
		}
	}
	on.image = slices.Grow(on.image[:0], len(p.image))
	image := on.image[:len(p.image)]
	for i := range image {
		const gather = 0x8040201008040201 // moves the lowest bits of eight bytes into the highest byte
		image[i] = p.image[i] ^ byte(binary.LittleEndian.Uint64(modules[8*i:])*gather>>56)
	}
	return image
}

// qr shows the code, whose resource is Q, with the given side in points, quiet
// zone of four modules included, lower left corner at x, y.
func (c *content) qr(modules int, x, y, side float64) {
	c.fill(x, y, side, side, shade{1, 1, 1})
	module := side / float64(modules+8)
	inner := module * float64(modules)
	c.b = appendDecimals(append(c.b, "q 0 g "...), 4, inner)
	c.b = appendDecimals(append(c.b, " 0 0 "...), 4, inner)
	c.b = appendDecimals(append(c.b, ' '), 3, x+4*module, y+4*module)
	c.b = append(c.b, " cm /Q Do Q\n"...)
}

package pdf

import (
	"fmt"

	"rsc.io/qr"
)

// qr draws payload as a QR code (error correction level M) of the given side in
// points, quiet zone of four modules included, lower left corner at x, y.
func (c *content) qr(payload string, x, y, side float64) error {
	code, err := qr.Encode(payload, qr.M)
	if err != nil {
		return fmt.Errorf("%w: QR payload of %d bytes cannot be encoded", ErrDocument, len(payload))
	}
	n := code.Size
	module := side / float64(n+8)
	c.fill(x, y, side, side, shade{1, 1, 1})
	c.b = append(c.b, "q 0 g\n"...)
	// One unit per module, counted from the top; rows overlap by a hair so that
	// no renderer leaves a seam between them.
	c.b = fmt.Appendf(c.b, "%.5f 0 0 %.5f %.3f %.3f cm\n", module, -module, x+4*module, y+side-4*module)
	for row := range n {
		for col := 0; col < n; col++ {
			from := col
			for col < n && code.Black(col, row) {
				col++
			}
			if col > from {
				c.op("re", float64(from), float64(row), float64(col-from), 1.03)
			}
		}
	}
	c.b = append(c.b, "f Q\n"...)
	return nil
}

package front

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/exchange"
	"yizheng/identity"
)

// What a question and a reply say of a document that the front makes itself.

type orderJSON struct {
	Number  string `json:"number"`
	Secret  string `json:"secret"`
	Receipt string `json:"receipt"`
}

type documentJSON struct {
	IssuedAt string   `json:"issued_at,omitempty"` // RFC 3339
	File     string   `json:"file,omitempty"`
	Missing  []string `json:"missing,omitempty"` // code points, U+20C8E
}

func encodeOrder(o *exchange.Order) *orderJSON {
	if o == nil {
		return nil
	}
	return &orderJSON{Number: o.Number, Secret: b64.EncodeToString(o.Secret[:]), Receipt: o.Receipt}
}

func (w *orderJSON) decode(into **exchange.Order) error {
	if w == nil {
		return nil
	}
	o := &exchange.Order{Number: w.Number, Receipt: w.Receipt}
	if err := salt((*[16]byte)(&o.Secret), w.Secret); err != nil {
		return err
	}
	if _, err := audit.ParsePointer(o.Receipt); err != nil {
		return ErrMessage
	}
	n := len(o.Number)
	if n != certificateNumber {
		return ErrMessage
	}
	if check, err := identity.Mod3736(o.Number[:n-1]); err != nil || check != o.Number[n-1] {
		return ErrMessage
	}
	*into = o
	return nil
}

// certificateNumber is the length of one, docs/protocol/certificate-number.md.
const certificateNumber = 27

func encodeDocument(d *exchange.Document) *documentJSON {
	if d == nil {
		return nil
	}
	w := &documentJSON{}
	for _, r := range d.Missing {
		w.Missing = append(w.Missing, fmt.Sprintf("U+%04X", r))
	}
	if len(d.File) > 0 {
		w.File, w.IssuedAt = b64.EncodeToString(d.File), d.IssuedAt.UTC().Format(time.RFC3339)
	}
	return w
}

func (w *documentJSON) decode(into **exchange.Document) error {
	if w == nil {
		return nil
	}
	d := &exchange.Document{}
	if (w.File == "") != (w.IssuedAt == "") || (w.File == "") == (len(w.Missing) == 0) {
		return fmt.Errorf("%w: document", ErrMessage)
	}
	for _, m := range w.Missing {
		digits, ok := strings.CutPrefix(m, "U+")
		n, err := strconv.ParseUint(digits, 16, 21)
		if !ok || err != nil || n > '\U0010FFFF' {
			return fmt.Errorf("%w: code point", ErrMessage)
		}
		d.Missing = append(d.Missing, rune(n))
	}
	if w.File != "" {
		var err error
		if d.IssuedAt, err = time.Parse(time.RFC3339, w.IssuedAt); err != nil {
			return fmt.Errorf("%w: time of issue", ErrMessage)
		}
		if d.File, err = b64.DecodeString(w.File); err != nil {
			return fmt.Errorf("%w: file", ErrMessage)
		}
	}
	*into = d
	return nil
}

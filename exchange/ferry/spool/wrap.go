package spool

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Some devices let only XML of a known schema pass. The wrapper repeats the
// file's header in clear and carries the file itself as base64 (a third more
// bytes). It is not signed; what it says must equal the file. Its schema is
// docs/protocol/gap-spool.xsd.

const wrapNamespace = "urn:yizheng:gap:1"

type wrapper struct {
	XMLName xml.Name `xml:"urn:yizheng:gap:1 file"`
	Kind    string   `xml:"kind,attr"`
	Channel string   `xml:"channel,attr"`
	Epoch   string   `xml:"epoch,attr"`
	Seq     string   `xml:"sequence,attr"`
	Count   string   `xml:"count,attr"`
	Body    string   `xml:"body"`
}

func (f *File) wrap(marshalled []byte) []byte {
	var b bytes.Buffer
	b.Grow(256 + base64.StdEncoding.EncodedLen(len(marshalled)))
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<file xmlns="%s" kind="%s" channel="%s" epoch="%d" sequence="%d" count="%d"><body>`,
		wrapNamespace, f.Kind, f.Channel, f.Epoch, f.Seq, f.Count)
	w := base64.NewEncoder(base64.StdEncoding, &b)
	w.Write(marshalled) // a Buffer takes everything
	w.Close()
	b.WriteString("</body></file>\n")
	return b.Bytes()
}

// wrappedSize bounds the size of a wrapped file of n bytes.
func wrappedSize(n int) int { return 320 + base64.StdEncoding.EncodedLen(n) }

// unwrapped bounds the size of a file that fits into n bytes when wrapped.
func unwrappedSize(n int) int { return (n - 320) / 4 * 3 }

// parseWrapped reads a wrapped file. White space that a device has added
// between elements or into the base64 is no fault.
func parseWrapped(b []byte) (*File, []byte, error) {
	var w wrapper
	d := xml.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&w); err != nil {
		return nil, nil, fmt.Errorf("%w: XML", ErrFormat)
	}
	if rest, err := d.Token(); err != io.EOF {
		if text, ok := rest.(xml.CharData); !ok || len(bytes.TrimSpace(text)) > 0 {
			return nil, nil, fmt.Errorf("%w: XML after the end", ErrFormat)
		}
	}
	inner, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(w.Body), ""))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: base64", ErrFormat)
	}
	f, signature, err := ParseFile(inner)
	if err != nil {
		return nil, nil, err
	}
	if w.Kind != f.Kind.String() || w.Channel != f.Channel || w.Count != strconv.Itoa(f.Count) ||
		w.Epoch != strconv.FormatUint(f.Epoch, 10) || w.Seq != strconv.FormatUint(f.Seq, 10) {
		return nil, nil, fmt.Errorf("%w: XML says otherwise than the file", ErrFormat)
	}
	return f, signature, nil
}

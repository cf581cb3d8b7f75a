package pdf

import (
	"encoding"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/emmansun/gmsm/sm3"
)

// prefix is the beginning that all documents of one kind have in common: header,
// frame, seal picture and a font with the characters of their fixed text. It is
// made and compressed once, and SM3 has already gone over it, so that a document
// costs what is its own. It depends on nothing but the document's fixed parts: the
// same document gives the same bytes, whatever was rendered before.
type prefix struct {
	b       []byte
	offsets []int // by object number
	state   []byte
	common  *subset // its characters; not changed any more
	cids    runeTable
	last    lastDigits
}

// prefixKey is what a prefix depends on.
type prefixKey struct {
	text          string
	picture       *byte // first byte of the picture's data, which is never changed
	width, height float64
}

// maxPrefixBytes bounds what is kept. A city has some tens of kinds of documents.
const maxPrefixBytes = 32 << 20

// prefixes makes each prefix when it is first asked for.
type prefixes struct {
	mu   sync.RWMutex
	made map[prefixKey]*prefix
	size int
}

func (ps *prefixes) get(fonts *Fonts, d *Document) (*prefix, error) {
	key := prefixKey{text: d.fixedText(), width: d.SealPicture.WidthMM, height: d.SealPicture.HeightMM}
	if !d.SealPicture.empty() {
		key.picture = &d.SealPicture.rgb[0]
	}
	ps.mu.RLock()
	p := ps.made[key]
	ps.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	p, err := newPrefix(fonts, d, key.text)
	if err != nil {
		return nil, err
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.made == nil || ps.size+len(p.b) > maxPrefixBytes {
		ps.made, ps.size = map[prefixKey]*prefix{}, 0
	}
	ps.made[key] = p
	ps.size += len(p.b)
	return p, nil
}

// fixedText is the text of d that does not depend on whom the document is about.
func (d *Document) fixedText() string {
	b := make([]byte, 0, 1024)
	for _, s := range []string{d.Template, d.Title, d.Issuer, d.ItemName, d.Authenticity} {
		b = append(b, s...)
	}
	for _, r := range d.Rows {
		b = append(b, r.Label...)
	}
	for _, t := range d.Tables {
		for _, c := range t.Columns {
			b = append(b, c.Label...)
		}
	}
	if len(d.Records) > 0 {
		for _, r := range d.Records[0].Rows {
			b = append(b, r.Label...)
		}
	}
	return string(b)
}

// frequent are characters that nearly every certificate has somewhere.
const frequent = "，。、；：（）·-.,/0123456789ABCDEFGHJKLMNPQRSTUVWXYZ" +
	"此件由提供仅供办理政务服务事项时使用有效期至证明元人省市区县"

func newPrefix(fonts *Fonts, d *Document, text string) (*prefix, error) {
	body := fonts.chain[0]
	runes := []rune(ownWords + frequent + text)
	slices.Sort(runes)
	p := &prefix{common: newSubset(body)}
	for _, r := range slices.Compact(runes) {
		if i, gid := fonts.find(r); i == 0 && gid != 0 && r < 0x10000 {
			p.cids.set(r, p.common.use(r, gid))
		}
	}
	w := &writer{next: firstFree}
	w.add("%PDF-1.7\n%\xE5\xBC\xA0\xE8\xAF\x81\n")
	if err := w.font(objFont, 0, p.common, deflate); err != nil {
		return nil, err
	}
	w.sealPicture(d)
	frame := &content{}
	frame.frame()
	w.begin(objFrame).add("<</Type/XObject/Subtype/Form/BBox[0 0 ").points(pageWidth, pageHeight).add("]/Resources<<>>").stream(frame.b)
	p.b, p.offsets = w.whole(), w.offsets
	h := sm3.New()
	h.Write(p.b)
	var err error
	if p.state, err = h.(encoding.BinaryMarshaler).MarshalBinary(); err != nil {
		return nil, fmt.Errorf("pdf: state of SM3: %w", err)
	}
	return p, nil
}

// digest returns SM3 over a file that begins with the prefix, in two parts.
func (p *prefix) digest(before, after []byte) []byte {
	h := sm3.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(p.state); err != nil {
		h.Write(p.b) // the same, only slower
	}
	h.Write(before[len(p.b):])
	h.Write(after)
	return h.Sum(nil)
}

// fontKey is the resource name of a font of the page: 0 is that of the prefix,
// then the document's own part of each font of the chain.
func fontKey(b []byte, index uint8) []byte {
	return strconv.AppendInt(append(b, "/F"...), int64(index), 10)
}

package seal

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// node is an element of a DER structure that tests take apart and put together.
type node struct {
	tag     byte
	content []byte  // of a primitive element
	raw     []byte  // the whole element, when it is no longer to be DER
	kids    []*node // of a constructed one
}

func parseDER(t testing.TB, der []byte) *node {
	t.Helper()
	s := cryptobyte.String(der)
	n := parseNode(t, &s)
	if !s.Empty() {
		t.Fatal("something behind the DER")
	}
	return n
}

func parseNode(t testing.TB, s *cryptobyte.String) *node {
	t.Helper()
	var content cryptobyte.String
	var tag asn1.Tag
	if !s.ReadAnyASN1(&content, &tag) {
		t.Fatal("not DER")
	}
	n := &node{tag: byte(tag), content: content}
	for n.tag&0x20 != 0 && !content.Empty() {
		n.kids = append(n.kids, parseNode(t, &content))
	}
	return n
}

// der writes the element; its length is right whatever was done to the parts.
func (n *node) der() []byte {
	if n.raw != nil {
		return n.raw
	}
	body := n.content
	if n.kids != nil {
		body = nil
		for _, k := range n.kids {
			body = append(body, k.der()...)
		}
	}
	return element(n.tag, body)
}

func element(tag byte, body []byte) []byte {
	out := []byte{tag}
	switch l := len(body); {
	case l < 0x80:
		out = append(out, byte(l))
	case l < 0x100:
		out = append(out, 0x81, byte(l))
	case l < 0x10000:
		out = append(out, 0x82, byte(l>>8), byte(l))
	default:
		out = append(out, 0x83, byte(l>>16), byte(l>>8), byte(l))
	}
	return append(out, body...)
}

// at goes down by the places of elements.
func (n *node) at(path ...int) *node {
	for _, i := range path {
		n = n.kids[i]
	}
	return n
}

// Places in a SES_Signature of V4 and in a SESeal of it.
var (
	atTBS     = []int{0}
	atVersion = []int{0, 0}
	atSeal    = []int{0, 1}
	atTime    = []int{0, 2}
	atHash    = []int{0, 3}
	atCovers  = []int{0, 4}
	atCert    = []int{1}
	atAlg     = []int{2}
	atValue   = []int{3}

	inHeader   = []int{0, 0}
	inESID     = []int{0, 1}
	inProperty = []int{0, 2}
	inPicture  = []int{0, 3}
	inMaker    = []int{1}
	inAlg      = []int{2}
	inValue    = []int{3}
)

// edited returns der with the element at path changed.
func edited(t testing.TB, der []byte, path []int, change func(*node)) []byte {
	t.Helper()
	root := parseDER(t, bytes.Clone(der))
	change(root.at(path...))
	return root.der()
}

// Changes of one element.

func setTag(tag byte) func(*node) { return func(n *node) { n.tag = tag } }
func setBody(body []byte) func(*node) {
	return func(n *node) { n.content, n.kids = bytes.Clone(body), nil }
}
func setText(body string) func(*node) { return setBody([]byte(body)) }
func setRaw(whole []byte) func(*node) { return func(n *node) { n.raw = whole } }
func flip(i int) func(*node) {
	return func(n *node) {
		if i < 0 {
			i += len(n.content)
		}
		n.content[i] ^= 1
	}
}
func dropKid(i int) func(*node) { return func(n *node) { n.kids = slices.Delete(n.kids, i, i+1) } }
func addKid(kid *node) func(*node) {
	return func(n *node) { n.kids = append(n.kids, kid) }
}
func swapKids(i, j int) func(*node) {
	return func(n *node) { n.kids[i], n.kids[j] = n.kids[j], n.kids[i] }
}

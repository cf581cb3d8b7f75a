package seal

import (
	"bytes"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/seal/ses"
)

func derMutations(w *workshop) []mutation {
	wide := w.der[4:] // the content behind a length of two octets
	cases := []struct {
		name string
		file []byte
	}{
		{"contents all zero", w.fill([]byte{0})},
		{"not a SEQUENCE", w.edit(nil, setTag(0x31))},
		{"indefinite length", w.fill(append(append([]byte{0x30, 0x80}, wide...), 0, 0))},
		{"length with a leading zero", w.fill(append([]byte{0x30, 0x83, 0x00, w.der[2], w.der[3]}, wide...))},
		{"length beyond the end", w.fill(append([]byte{0x30, 0x83, 0x7f, 0xff, 0xff}, wide...))},
		{"one octet behind the DER", w.fill(append(bytes.Clone(w.der), 1))},
		{"a second structure behind the DER", w.fill(append(bytes.Clone(w.der), w.der...))},
		{"an octet far behind the DER", w.fill(append(append(bytes.Clone(w.der), make([]byte, 3000)...), 0x30))},
		{"six elements", w.edit(nil, addKid(&node{tag: 0x05}))},
		{"three elements", w.edit(nil, dropKid(3))},
		{"fifth element that is no time stamp", w.edit(nil, addKid(&node{tag: 0x04, content: []byte("x")}))},
		{"no TBS", w.edit(nil, setBody([]byte{0x05, 0x00}))},
		{"TBS that is a SET", w.edit(atTBS, setTag(0x31))},
		{"TBS without propertyInfo", w.edit(atTBS, dropKid(4))},
		{"TBS with time and digest exchanged", w.edit(atTBS, swapKids(2, 3))},
		{"version with a leading zero", w.edit(atVersion, setBody([]byte{0, 4}))},
		{"version negative", w.edit(atVersion, setBody([]byte{0x84}))},
		{"version of nine octets", w.edit(atVersion, setBody(bytes.Repeat([]byte{1}, 9)))},
		{"version as ENUMERATED", w.edit(atVersion, setTag(0x0a))},
		{"time as UTCTime", w.edit(atTime, func(n *node) { n.tag, n.content = 0x17, []byte("260301013000Z") })},
		{"time without Z", w.edit(atTime, setText("20260301013000"))},
		{"time with an offset", w.edit(atTime, setText("20260301093000+0800"))},
		{"time of the thirteenth month", w.edit(atTime, setText("20261301013000Z"))},
		{"time with a trailing zero of a fraction", w.edit(atTime, setText("20260301013000.50Z"))},
		{"digest with unused bits", w.edit(atHash, func(n *node) { n.content[0] = 1 })},
		{"digest as OCTET STRING", w.edit(atHash, setTag(0x04))},
		{"propertyInfo above 7F", w.edit(atCovers, setText("/ByteRange\xff"))},
		{"propertyInfo as UTF8String", w.edit(atCovers, setTag(0x0c))},
		{"certificate as BIT STRING", w.edit(atCert, setTag(0x03))},
		{"algorithm that is no OID", w.edit(atAlg, setBody([]byte{0x80, 0x01}))},
		{"algorithm with parameters", w.edit(atAlg, func(n *node) { n.raw = element(0x30, append(element(0x06, n.content), 5, 0)) })},
		{"value as OCTET STRING", w.edit(atValue, setTag(0x04))},
		{"value without octets", w.edit(atValue, setBody(nil))},
		{"extension with BOOLEAN 01", w.edit(atTBS, addKid(extension([]byte{1, 1, 1})))},
		{"extensions under another tag", w.edit(atTBS, addKid(&node{tag: 0xa1, kids: []*node{{tag: 0x30}}}))},
	}
	for name, at := range map[string]int{"in its tag": 1, "in the header": 40, "in the certificate": 400, "behind the seal": len(w.seal)} {
		cases = append(cases, struct {
			name string
			file []byte
		}{"cut off " + name, w.fill(w.der[:at])})
	}
	slices.SortStableFunc(cases, func(a, b struct {
		name string
		file []byte
	}) int {
		return strings.Compare(a.name, b.name)
	})
	var out []mutation
	for _, c := range cases {
		out = append(out, mutation{name: c.name, file: c.file, fails: []int{CheckFormat}})
	}
	return out
}

// extension is [0] { { { OID 1.2.3, critical, OCTET STRING } } }.
func extension(critical []byte) *node {
	return &node{tag: 0xa0, raw: element(0xa0, element(0x30, element(0x30, append(append([]byte{6, 2, 0x2a, 3}, critical...), 4, 1, 1))))}
}

func headerMutations(w *workshop) []mutation {
	in := func(path []int, i int) []int { return append(clone(path), i) }
	v1 := w.otherSeal(func(o *SealOrder) { o.Version = ses.V1 })
	v5 := w.otherSeal(func(o *SealOrder) { o.Version = ses.V5 })
	format := []int{CheckFormat}
	return []mutation{
		{name: "mark is not ES", file: w.remade(in(inHeader, 0), setText("EX")), fails: format},
		{name: "mark in lower case", file: w.remade(in(inHeader, 0), setText("es")), fails: format},
		{name: "mark empty", file: w.remade(in(inHeader, 0), setText("")), fails: format},
		{name: "header of version 3", file: w.remade(in(inHeader, 1), setBody([]byte{3})), fails: format},
		{name: "header of version 1 in the shape of 4", file: w.remade(in(inHeader, 1), setBody([]byte{1})), fails: format},
		{name: "header of version 5 under a TBS of 4", file: w.remade(in(inHeader, 1), setBody([]byte{5})), fails: format},
		{name: "header of version 0", file: w.remade(in(inHeader, 1), setBody([]byte{0})), fails: format},
		{name: "header with a fourth element", file: w.remade(inHeader, addKid(&node{tag: 5})), fails: format},
		{name: "vendor above 7F", file: w.remade(in(inHeader, 2), setText("Y\xda")), fails: format},
		{name: "vendor changed by another than the maker", file: w.withSeal(edited(w.t, w.seal, in(inHeader, 2), setText("ZZ"))), fails: []int{CheckSignature}},
		{name: "identifier empty", file: w.remade(inESID, setText("")), fails: format},
		{name: "identifier changed by another than the maker", file: w.withSeal(edited(w.t, w.seal, inESID, flip(-1))), fails: []int{CheckSignature}},
		{name: "TBS of version 1", file: w.resign(func(n *node) { n.kids[0].content = []byte{1} }), fails: format},
		{name: "TBS of version 5", file: w.resign(func(n *node) { n.kids[0].content = []byte{5} }), fails: format},
		{name: "TBS of version 0", file: w.resign(func(n *node) { n.kids[0].content = []byte{0} }), fails: format},
		{name: "seal of version 1 in a signature of 4", file: w.withSeal(v1), fails: format},
		{name: "seal of version 5 in a signature of 4", file: w.withSeal(v5), fails: format},
		{name: "seal of version 4 in a signature of 1", file: w.fill(edited(w.t, w.signWith(v1, forgery{}), atSeal, setRaw(w.seal))), fails: format},
		{name: "critical extension of the signature", file: w.resign(addKid(extension([]byte{1, 1, 0xff}))), fails: format},
		{name: "critical extension of the seal", file: w.withSeal(w.criticalSeal()), fails: format},
	}
}

// clone keeps append from writing into a shared path.
func clone(p []int) []int { return append([]int(nil), p...) }

func propertyMutations(w *workshop) []mutation {
	in := func(i ...int) []int { return append(clone(inProperty), i...) }
	format, list := []int{CheckFormat}, []int{CheckList}
	colleague, err := MakeHolder(w.root, Subject{Name: "云州市公安局"}, years)
	w.ok(err)
	renewed, err := MakeHolder(w.root, Subject{"云州市民政局", usccCode}, years)
	w.ok(err)
	digests := func(kind string, value []byte) func(*node) {
		return func(n *node) {
			n.kids[2].content = []byte{2}
			n.kids[3].kids, n.kids[3].content = []*node{{tag: 0x30, kids: []*node{{tag: 0x13, content: []byte(kind)}, {tag: 4, content: value}}}}, nil
		}
	}
	until := func(from, to time.Time) []byte {
		return w.withSeal(w.otherSeal(func(o *SealOrder) { o.Validity = Validity{from, to} }))
	}
	changed := bytes.Clone(w.holder.Cert.Raw)
	changed[len(changed)-1] ^= 1
	return []mutation{
		{name: "type 0", file: w.remade(in(0), setBody([]byte{0})), fails: format},
		{name: "type 3", file: w.remade(in(0), setBody([]byte{3})), fails: format},
		{name: "name not UTF-8", file: w.remade(in(1), setText("\xff\xfe")), fails: format},
		{name: "name changed by another than the maker", file: w.withSeal(bytes.Replace(w.seal, []byte("业务"), []byte("财务"), 1)), fails: []int{CheckSignature}},
		{name: "list type 0", file: w.remade(in(2), setBody([]byte{0})), fails: format},
		{name: "list type 3", file: w.remade(in(2), setBody([]byte{3})), fails: format},
		{name: "list of certificates said to be of digests", file: w.remade(in(2), setBody([]byte{2})), fails: format},
		{name: "list empty", file: w.remade(in(3), func(n *node) { n.kids, n.content = nil, nil }), fails: []int{CheckFormat, CheckList}},
		{name: "digest's type not printable", file: w.remade(inProperty, digests("SM*3", digest(w.holder.Cert.Raw))), fails: format},
		{name: "no list type", file: w.remade(inProperty, dropKid(2)), fails: format},
		{name: "validity ends before it starts", file: w.remade(inProperty, swapKids(5, 6)), fails: []int{CheckFormat, CheckTime, CheckSeal}},
		{name: "validity as UTCTime", file: w.remade(in(6), func(n *node) { n.tag, n.content = 0x17, n.content[2:] }), fails: format},
		{name: "list names a colleague", file: w.withSeal(w.otherSeal(func(o *SealOrder) { o.HolderCert = colleague.Cert })), fails: list},
		{name: "list names the holder's other certificate", file: w.withSeal(w.otherSeal(func(o *SealOrder) { o.HolderCert = renewed.Cert })), fails: list},
		{name: "list names the issuer", file: w.withSeal(w.otherSeal(func(o *SealOrder) { o.HolderCert = w.root.Cert })), fails: list},
		{name: "listed certificate with one bit changed", file: w.remade(in(3, 0), setBody(changed)), fails: list},
		{name: "listed certificate cut off", file: w.remade(in(3, 0), setBody(changed[:len(changed)-1])), fails: list},
		{name: "digest of a colleague's certificate", file: w.remade(inProperty, digests("SM3", digest(colleague.Cert.Raw))), fails: list},
		{name: "digest with one bit changed", file: w.remade(inProperty, digests("SM3", digest(changed))), fails: list},
		{name: "digest cut to 16 octets", file: w.remade(inProperty, digests("SM3", digest(w.holder.Cert.Raw)[:16])), fails: list},
		{name: "digest of an algorithm not known", file: w.remade(inProperty, digests("SHA1", digest(w.holder.Cert.Raw))), fails: list, unknown: true},
		{name: "list changed by another than the maker", file: w.withSeal(edited(w.t, w.seal, in(3, 0), setBody(colleague.Cert.Raw))), fails: []int{CheckSignature, CheckList}},
		{name: "validity prolonged by another than the maker", file: w.withSeal(edited(w.t, w.seal, in(6), setText("20991231235959Z"))), fails: []int{CheckSignature}},
		{name: "seal no longer valid when used", file: until(born.Add(time.Hour), signed.Add(-time.Second)), fails: []int{CheckSeal, CheckTime}},
		{name: "seal not yet valid when used", file: until(signed.Add(time.Second), years.Until), fails: []int{CheckSeal, CheckTime}},
		{name: "seal valid for a second, long ago", file: until(born.Add(time.Hour), born.Add(time.Hour+time.Second)), fails: []int{CheckSeal, CheckTime}},
	}
}

func pictureMutations(w *workshop) []mutation {
	in := func(i int) []int { return append(clone(inPicture), i) }
	other, err := DrawRoundSeal(RoundSeal{FontPath: w.font, Name: "云州市公安局", Purpose: "业务专用章", Code: esid, DPI: 75})
	w.ok(err)
	format, value := []int{CheckFormat}, []int{CheckSignature}
	return []mutation{
		{name: "PNG in version 4", file: w.remade(in(0), setText("PNG")), fails: format},
		{name: "SVG in version 4", file: w.remade(in(0), setText("SVG")), fails: format},
		{name: "type in lower case", file: w.remade(in(0), setText("gif")), fails: format},
		{name: "type empty", file: w.remade(in(0), setText("")), fails: format},
		{name: "type names another than the data", file: w.remade(in(0), setText("JPG")), fails: format},
		{name: "data of another type than named", file: w.remade(in(1), setText("\x89PNG\r\n\x1a\n")), fails: format},
		{name: "data empty", file: w.remade(in(1), setBody(nil)), fails: format},
		{name: "no width", file: w.remade(in(2), setBody([]byte{0})), fails: format},
		{name: "no height", file: w.remade(in(3), setBody([]byte{0})), fails: format},
		{name: "width negative", file: w.remade(in(2), setBody([]byte{0xd6})), fails: format},
		{name: "picture of another seal", file: w.withSeal(edited(w.t, w.seal, in(1), setBody(other))), fails: value},
		{name: "one bit of the picture", file: w.withSeal(edited(w.t, w.seal, in(1), flip(-20))), fails: value},
		{name: "size changed", file: w.withSeal(edited(w.t, w.seal, in(2), setBody([]byte{84}))), fails: value},
	}
}

// values are signature values that are wrong for msg, which key did not sign so.
func (w *workshop) values(good, msg []byte, key Credential) []struct {
	name  string
	value []byte
} {
	w.t.Helper()
	rs := parseDER(w.t, bytes.Clone(good))
	stranger := w.ok2(key.Key.SM2().Sign(rand.Reader, msg, sm2.NewSM2SignerOption(true, []byte("someone else"))))
	bare, err := sm2.SignASN1(rand.Reader, key.Key.SM2(), digest(msg), nil) // over SM3(msg) without Z
	w.ok(err)
	other := w.ok2(signSM2(key.Key.SM2(), append([]byte("x"), msg...)))
	edit := func(path []int, change func(*node)) []byte { return edited(w.t, good, path, change) }
	return []struct {
		name  string
		value []byte
	}{
		{"one bit of r", edit([]int{0}, flip(-1))},
		{"one bit of s", edit([]int{1}, flip(-1))},
		{"r and s exchanged", edit(nil, swapKids(0, 1))},
		{"r is zero", edit([]int{0}, setBody([]byte{0}))},
		{"s is zero", edit([]int{1}, setBody([]byte{0}))},
		{"both are one", edit(nil, func(n *node) { n.kids[0].content, n.kids[1].content = []byte{1}, []byte{1} })},
		{"r negative", edit([]int{0}, func(n *node) { n.content = append([]byte{0xff}, n.content...) })},
		{"r with a leading zero too many", edit([]int{0}, func(n *node) { n.content = append([]byte{0, 0}, n.content...) })},
		{"cut off", good[:len(good)-1]},
		{"a byte behind", append(bytes.Clone(good), 0)},
		{"r and s without DER", append(bytes.TrimLeft(rs.kids[0].content, "\x00"), bytes.TrimLeft(rs.kids[1].content, "\x00")...)},
		{"over something else", other},
		{"under another user id", stranger},
		{"over the digest without Z", bare},
	}
}

// algorithms that are not SM2 with SM3, DER content of the OID.
var otherAlgorithms = map[string][]byte{
	"SM2 without a digest (.301)":   {0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d},
	"SM3 alone (.401)":              {0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x11},
	"SM2 with SHA-1 (.502)":         {0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x76},
	"SM2 with SHA-256 (.503)":       {0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x77},
	"RSA with SM3 (.504)":           {0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x78},
	"ECDSA with SHA-256":            {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02},
	"RSA with SHA-1":                {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05},
	"an OID of the same first arcs": {0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x75, 0x01},
}

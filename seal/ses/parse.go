package ses

import (
	"bytes"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// contextTag0 is the EXPLICIT [0] around optional parts.
const contextTag0 = cbasn1.Tag(0xa0)

// ParseSeal reads one SESeal; nothing may follow it. Errors wrap ErrFormat.
func ParseSeal(der []byte) (*Seal, error) {
	r := newReader(bytes.Clone(der))
	s := r.seal("SESeal")
	r.end()
	if *r.err != nil {
		return nil, *r.err
	}
	return s, nil
}

// ParseSignature reads one SES_Signature, which only zero octets may follow.
// Errors wrap ErrFormat.
func ParseSignature(padded []byte) (*Signature, error) {
	raw, err := cutPadding(bytes.Clone(padded))
	if err != nil {
		return nil, err
	}
	r := newReader(raw)
	s, _ := r.sequence("SES_Signature")
	n := s.count()
	sig := &Signature{Raw: raw}
	switch {
	case n == 2:
		s.signatureV1(sig)
	case n == 4 || n == 5:
		s.signatureV4(sig)
	default:
		s.fail(ErrElements, "elements", fmt.Sprintf("%d elements, expected 2, 4 or 5", n))
	}
	s.end()
	r.end()
	if *r.err != nil {
		return nil, *r.err
	}
	return sig, nil
}

func (r *reader) signatureV1(sig *Signature) {
	t, whole := r.sequence("toSign")
	sig.RawTBS = whole
	sig.TBS.Version = t.integer("version")
	sig.Seal = t.seal("eseal")
	sig.TBS.TimeInfo = t.bits("timeInfo")
	sig.TBS.DataHash = t.bits("dataHash")
	sig.TBS.PropertyInfo = t.ia5("propertyInfo")
	sig.Cert = t.octets("cert")
	sig.Algorithm = t.oid("signatureAlgorithm")
	t.end()
	sig.Signature = r.bits("signature")
	sig.Version = V1
	if r.ok() && sig.Seal.Version != V1 {
		r.fail(ErrVersions, "toSign.eseal", "a V1 signature around a seal of another version")
	}
}

func (r *reader) signatureV4(sig *Signature) {
	t, whole := r.sequence("toSign")
	sig.RawTBS = whole
	sig.TBS.Version = t.integer("version")
	sig.Seal = t.seal("eseal")
	sig.TBS.Time = t.generalizedTime("timeInfo")
	sig.TBS.DataHash = t.bits("dataHash")
	sig.TBS.PropertyInfo = t.ia5("propertyInfo")
	if t.peek(contextTag0) {
		content, _ := t.element("extDatas", contextTag0)
		x := t.nested("extDatas", content)
		sig.TBS.Extensions = x.extensions("list")
		x.end()
	}
	t.end()
	sig.Cert = r.octets("cert")
	sig.Algorithm = r.oid("signatureAlgID")
	sig.Signature = r.bits("signature")
	sig.TimeStamp = r.timeStamp()
	if !r.ok() {
		return
	}
	sig.Version = sig.Seal.Version
	if sig.Version == V1 {
		r.fail(ErrVersions, "toSign.eseal", "a V1 seal inside a signature of GB/T 38540 shape")
	}
}

// timeStamp reads the optional [0] BIT STRING at the end of a structure.
func (r *reader) timeStamp() []byte {
	if !r.peek(contextTag0) {
		return nil
	}
	content, _ := r.element("timeStamp", contextTag0)
	x := r.nested("timeStamp", content)
	token := x.bits("token")
	x.end()
	return token
}

func (r *reader) seal(field string) *Seal {
	s, whole := r.sequence(field)
	out := &Seal{Raw: whole}
	switch n := s.count(); {
	case !s.ok():
	case n == 2:
		s.sealV1(out)
	case n == 4 || n == 5:
		s.sealV4(out, n)
	default:
		s.fail(ErrElements, "elements", fmt.Sprintf("%d elements, expected 2, 4 or 5", n))
	}
	s.end()
	return out
}

func (r *reader) sealV1(out *Seal) {
	out.Version = V1
	out.RawInfo = r.sealInfo(&out.Info, V1)
	sign, whole := r.sequence("signInfo")
	out.MakerCert = sign.octets("cert")
	out.Algorithm = sign.oid("signatureAlgorithm")
	certAndAlg := whole
	if r.ok() {
		certAndAlg = contentBefore(whole, sign.s)
	}
	out.Signature = sign.bits("signData")
	sign.end()
	if r.ok() {
		out.Signed = wrapSequence(out.RawInfo, certAndAlg)
	}
}

func (r *reader) sealV4(out *Seal, elements int) {
	version := V4
	if elements == 5 || r.headerVersion() == int(V5) {
		version = V5
	}
	out.Version = version
	out.RawInfo = r.sealInfo(&out.Info, version)
	out.Signed = out.RawInfo
	out.MakerCert = r.octets("cert")
	out.Algorithm = r.oid("signAlgID")
	out.Signature = r.bits("signedValue")
	out.TimeStamp = r.timeStamp()
}

// sealVersion tells the version of a SESeal without reading all of it.
func sealVersion(rawSeal []byte) (Version, error) {
	r := newReader(rawSeal)
	s, _ := r.sequence("SESeal")
	v := V4
	switch n := s.count(); {
	case n == 2:
		v = V1
	case n == 5 || s.headerVersion() == int(V5):
		v = V5
	case r.ok() && n != 4:
		s.fail(ErrElements, "elements", fmt.Sprintf("%d elements, expected 2, 4 or 5", n))
	}
	return v, *r.err
}

// infoVersion tells the version that the header of a SES_SealInfo names.
func infoVersion(rawInfo []byte) (Version, error) {
	v := Version(newReader(rawInfo).headerVersion())
	if v.Standard() == "?" {
		return 0, fmt.Errorf("%w: seal information without a known version", ErrFormat)
	}
	return v, nil
}

// headerVersion looks ahead at sealInfo.header.version; 0 when it is not there.
func (r *reader) headerVersion() int {
	ahead := &reader{s: r.s, name: r.name, in: r.in, err: new(error)}
	info, _ := ahead.sequence("eSealInfo")
	header, _ := info.sequence("header")
	header.ia5("ID")
	return header.integer("version")
}

func (r *reader) sealInfo(out *SealInfo, v Version) (raw []byte) {
	i, raw := r.sequence("eSealInfo")
	h, _ := i.sequence("header")
	out.Header.ID = h.ia5("ID")
	out.Header.Version = h.integer("version")
	out.Header.VendorID = h.ia5("Vid")
	h.end()
	out.ESID = i.ia5("esID")
	i.property(&out.Property, v)
	p, _ := i.sequence("picture")
	out.Picture.Type = p.ia5("type")
	out.Picture.Data = p.octets("data")
	out.Picture.Width = p.integer("width")
	out.Picture.Height = p.integer("height")
	p.end()
	if i.peek(cbasn1.SEQUENCE) {
		out.Extensions = i.extensions("extDatas")
	}
	i.end()
	return raw
}

func (r *reader) property(out *Property, v Version) {
	p, _ := r.sequence("property")
	out.Kind = Kind(p.integer("type"))
	out.Name = p.utf8("name")
	out.ListType = Certificates
	readTime := p.generalizedTime
	if v == V1 {
		readTime = p.utcTime
	} else {
		out.ListType = ListType(p.integer("certListType"))
	}
	list, _ := p.sequence("certList")
	for list.ok() && !list.s.Empty() {
		if out.ListType == Digests {
			d, _ := list.sequence("digest")
			out.Digests = append(out.Digests, CertDigest{Type: d.printable("type"), Value: d.octets("value")})
			d.end()
		} else {
			out.Certs = append(out.Certs, list.octets("cert"))
		}
	}
	out.Created = readTime("createDate")
	out.ValidStart = readTime("validStart")
	out.ValidEnd = readTime("validEnd")
	p.end()
}

func (r *reader) extensions(field string) []Extension {
	list, _ := r.sequence(field)
	var out []Extension
	for list.ok() && !list.s.Empty() {
		x, _ := list.sequence("extData")
		e := Extension{ID: x.oid("extnID")}
		// DER leaves the default FALSE out; makers that write it are accepted,
		// since signatures are verified over the bytes as they stand.
		if x.peek(cbasn1.BOOLEAN) {
			e.Critical = x.boolean("critical")
		}
		e.Value = x.octets("extnValue")
		x.end()
		out = append(out, e)
	}
	return out
}

// contentBefore returns the content of the SEQUENCE whole up to where rest starts.
func contentBefore(whole []byte, rest cryptobyte.String) []byte {
	s := cryptobyte.String(whole)
	var content cryptobyte.String
	if !s.ReadASN1(&content, cbasn1.SEQUENCE) || len(rest) > len(content) {
		return nil
	}
	return content[:len(content)-len(rest)]
}

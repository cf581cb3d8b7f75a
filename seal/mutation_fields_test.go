package seal

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"

	"yizheng/seal/ses"
)

func fieldMutations(w *workshop) []mutation {
	value := []int{CheckSignature}
	otherHolder, err := MakeHolder(w.root, Subject{Name: "云州市公安局"}, years)
	w.ok(err)
	other := w.otherSeal(func(o *SealOrder) { o.ESID, o.HolderCert = "6901000000025", otherHolder.Cert })
	v1 := w.signWith(w.otherSeal(func(o *SealOrder) { o.Version = ses.V1 }), forgery{})
	return []mutation{
		{name: "version", file: w.edit(atVersion, setBody([]byte{5})), fails: []int{CheckFormat, CheckSignature}},
		{name: "time by a minute", file: w.edit(atTime, setText("20260301013100Z")), fails: value},
		{name: "time by a fraction", file: w.edit(atTime, setText("20260301013000.5Z")), fails: value},
		{name: "time by a month", file: w.edit(atTime, setText("20260201013000Z")), fails: []int{CheckSignature, CheckTime}},
		{name: "digest by a bit", file: w.edit(atHash, flip(-1)), fails: []int{CheckSignature, CheckDigest}},
		{name: "digest cut to 31 octets", file: w.edit(atHash, func(n *node) { n.content = n.content[:32] }), fails: []int{CheckFormat, CheckSignature, CheckDigest}},
		{name: "range", file: w.edit(atCovers, setText("/ByteRange [0 1 2 3]")), fails: []int{CheckSignature, CheckDigest}},
		{name: "range emptied", file: w.edit(atCovers, setText("")), fails: value},
		{name: "extension added", file: w.edit(atTBS, addKid(extension(nil))), fails: value},
		{name: "extension FALSE written out", file: w.edit(atTBS, addKid(extension([]byte{1, 1, 0}))), fails: value},
		{name: "seal of another department", file: w.edit(atSeal, setRaw(other)), fails: []int{CheckSignature, CheckList}},
		{name: "seal with the same content made again", file: w.edit(atSeal, setRaw(w.madeBy(w.maker, w.holder))), fails: value},
		{name: "range of other numbers, signed", file: w.resign(func(n *node) { n.kids[4].content = []byte("/ByteRange [0 1 2 3]") }), fails: []int{CheckDigest}},
		{name: "version 1: time", file: w.fill(edited(w.t, v1, []int{0, 2}, flip(-2))), fails: value},
		{name: "version 1: digest", file: w.fill(edited(w.t, v1, []int{0, 3}, flip(-2))), fails: []int{CheckSignature, CheckDigest}},
		{name: "version 1: algorithm inside", file: w.fill(edited(w.t, v1, []int{0, 6}, setBody(otherAlgorithms["ECDSA with SHA-256"]))), fails: value},
		{name: "version 1: certificate inside", file: w.fill(edited(w.t, v1, []int{0, 5}, setBody(otherHolder.Cert.Raw))), fails: []int{CheckSignature, CheckList}},
	}
}

func timeMutations(w *workshop) []mutation {
	at := func(t time.Time) []byte { return w.fill(w.signWith(w.seal, forgery{at: t})) }
	v1 := w.otherSeal(func(o *SealOrder) { o.Version = ses.V1 })
	// untimed is a V1 signature whose timeInfo is no time.
	untimed := func(info []byte) []byte {
		tbs := parseDER(w.t, w.signWith(v1, forgery{})).at(atTBS...)
		tbs.kids[2].content = append([]byte{0}, info...)
		raw := tbs.der()
		return w.fill(w.ok2(ses.MarshalSignature(raw, nil, w.ok2(signSM2(w.holder.Key.SM2(), raw)), nil)))
	}
	only, seal := []int{CheckTime}, []int{CheckTime, CheckSeal}
	return []mutation{
		{name: "an hour after now", file: w.forge(forgery{at: now.Add(time.Hour)}), fails: only},
		{name: "six minutes after now", file: w.forge(forgery{at: now.Add(6 * time.Minute)}), fails: only},
		{name: "a year after now", file: w.forge(forgery{at: now.AddDate(1, 0, 0)}), fails: only},
		{name: "verified before it was signed", file: w.good, now: signed.Add(-time.Hour), fails: only},
		{name: "an hour after /M", file: at(signed.Add(time.Hour)), fails: only},
		{name: "an hour before /M", file: at(signed.Add(-time.Hour)), fails: only},
		{name: "six minutes from /M", file: at(signed.Add(6 * time.Minute)), fails: only},
		{name: "before the seal was made, dated so", file: w.forge(forgery{at: born.Add(time.Minute)}), fails: seal},
		{name: "before the certificate was made, dated so", file: w.forge(forgery{at: born.Add(-time.Hour)}), fails: []int{CheckTime, CheckSeal, CheckCertificate}},
		{name: "after the seal expired", file: w.forge(forgery{at: born.AddDate(4, 0, 0)}), now: born.AddDate(4, 1, 0), fails: seal},
		{name: "after the certificate expired", file: w.forge(forgery{at: born.AddDate(6, 0, 0)}), now: born.AddDate(6, 1, 0), fails: []int{CheckTime, CheckSeal, CheckCertificate}},
		{name: "year 1950", file: w.forge(forgery{at: time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC)}), fails: []int{CheckTime, CheckSeal, CheckCertificate}},
		{name: "version 1: timeInfo empty", file: untimed(nil), fails: only, unknown: true},
		{name: "version 1: timeInfo that is no time", file: untimed([]byte("soon")), fails: only, unknown: true},
		{name: "version 1: timeInfo a structure", file: untimed([]byte{0x30, 0x03, 0x02, 0x01, 0x01}), fails: only, unknown: true},
	}
}

func digestMutations(w *workshop) []mutation {
	of := func(d []byte) []byte { return w.fill(w.signWith(w.seal, forgery{digest: d})) }
	sha := sha256.Sum256(w.good)
	before, after, err := w.covered()
	w.ok(err)
	var out []mutation
	for _, c := range []struct {
		name   string
		digest []byte
	}{
		{"of nothing", digest(nil)},
		{"all zero", make([]byte, 32)},
		{"all ones", bytes.Repeat([]byte{0xff}, 32)},
		{"of the whole file", digest(w.good)},
		{"of the part before Contents", digest(before)},
		{"of the part behind Contents", digest(after)},
		{"of both parts the wrong way round", digest(append(bytes.Clone(after), before...))},
		{"of another document", digest([]byte("another"))},
		{"SHA-256", sha[:]},
		{"the digest of the digest", digest(w.slate.Digest())},
	} {
		out = append(out, mutation{name: c.name, file: of(c.digest), fails: []int{CheckDigest}})
	}
	return append(out,
		mutation{name: "signature of another document of the same seal", file: w.fill(w.ofAnother()), fails: []int{CheckDigest}},
		mutation{name: "too short", file: w.resign(func(n *node) { n.kids[3].content = n.kids[3].content[:21] }), fails: []int{CheckFormat, CheckDigest}},
		mutation{name: "too long", file: w.resign(func(n *node) { n.kids[3].content = append(n.kids[3].content, 0) }), fails: []int{CheckFormat, CheckDigest}},
	)
}

func (w *workshop) covered() (before, after []byte, err error) {
	r := w.rng
	return w.good[:r[1]], w.good[r[2]:], nil
}

// ofAnother is the SES_Signature of a document that says something else, but with
// the ByteRange of this one.
func (w *workshop) ofAnother() []byte {
	w.t.Helper()
	before, after, err := w.covered()
	w.ok(err)
	other := bytes.Replace(append(bytes.Clone(before), after...), []byte("stream\n"), []byte("stream "), 1)
	return w.signWith(w.seal, forgery{digest: digest(other)})
}

func byteMutations(w *workshop) []mutation {
	flipped := func(at int) []byte {
		b := bytes.Clone(w.good)
		b[at] ^= 0x20
		return b
	}
	find := func(s string, add int) int {
		i := bytes.Index(w.good, []byte(s))
		if i < 0 {
			w.t.Fatalf("no %q", s)
		}
		return i + len(s) + add
	}
	only, format := []int{CheckDigest}, []int{CheckFormat}
	out := []mutation{
		{name: "the version in the header", file: w.replaced("%PDF-1.7", "%PDF-1.6"), fails: only},
		{name: "the comment behind the header", file: flipped(find("%PDF-1.7\n", 2)), fails: only},
		{name: "the title", file: w.replaced("/Producer(Yizheng)", "/Producer(Yizhenk)"), fails: only},
		{name: "the size of the page", file: w.replaced("/MediaBox", "/CropsBox"), fails: only},
		{name: "a character of the number", file: w.replaced("/Number<36", "/Number<37"), fails: only},
		{name: "the seed", file: w.replaced("/Seed<07", "/Seed<08"), fails: only},
		{name: "the date of signing, by a minute", file: w.replaced("/M(D:202603010930", "/M(D:202603010931"), fails: only},
		{name: "the date of signing, by a year", file: w.replaced("/M(D:2026", "/M(D:2025"), fails: []int{CheckDigest, CheckTime}},
		{name: "the filter", file: w.replaced("/Gomain.GMPkiLite", "/Gomain.GMPkiLits"), fails: only},
		{name: "the container", file: w.replaced("/GM.sm2seal", "/GM.sm2cms"), fails: only},
		{name: "the mark of a PDF", file: w.replaced("%PDF-", "%PDX-"), fails: format},
		{name: "a bracket", file: w.replaced("/Kids[", "/Kids{"), fails: format},
		{name: "cut off before the table", file: w.good[:bytes.LastIndex(w.good, []byte("xref\n0"))], fails: []int{CheckDigest}},
	}
	first := bytes.Index(w.good, []byte("stream\n")) + len("stream\n")
	for i := range 4 {
		out = append(out, mutation{name: fmt.Sprintf("byte %d of the first stream", 3*i+2), file: flipped(first + 3*i + 2), fails: only})
	}
	return out
}

package seal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/ses"
)

// issue makes a certificate of the city's root with a changed template.
func (w *workshop) issue(by Credential, name string, change func(*smx509.Certificate)) Credential {
	w.t.Helper()
	made, err := makeEnd(w.root, Subject{name, usccCode}, years, smx509.KeyUsageDigitalSignature|smx509.KeyUsageContentCommitment)
	w.ok(err)
	tmpl, err := template(Subject{name, usccCode}, years)
	w.ok(err)
	tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, smx509.KeyUsageDigitalSignature|smx509.KeyUsageContentCommitment
	change(tmpl)
	c, err := certify(rand.Reader, tmpl, by.Cert, made.Key, by.Key)
	w.ok(err)
	return c
}

// p256 is a certificate with a key that is not SM2.
func (w *workshop) p256() []byte {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.ok(err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "云州市民政局"}, NotBefore: born, NotAfter: years.Until, KeyUsage: x509.KeyUsageDigitalSignature}
	return w.ok2(x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key))
}

// trustWith is the city's trust directory, changed.
func (w *workshop) trustWith(prepare func(*city)) *Trust {
	w.t.Helper()
	c := *w.city
	c.trustDir = w.t.TempDir()
	c.write("roots/root.crt", c.root.CertPEM())
	c.write("makers/maker.crt", c.maker.CertPEM())
	prepare(&c)
	return c.trust()
}

func makerMutations(w *workshop) []mutation {
	stranger, err := MakeRoot(Subject{Name: "另一个根"}, years)
	w.ok(err)
	strange, err := MakeMaker(stranger, Subject{Name: "云州市印章制作中心"}, years)
	w.ok(err)
	colleague, err := MakeHolder(w.root, Subject{Name: "云州市公安局"}, years)
	w.ok(err)
	pin := func(c Credential) *Trust {
		return w.trustWith(func(t *city) { t.write("makers/second.crt", c.CertPEM()) })
	}
	by := func(c Credential) []byte { return w.withSeal(w.madeBy(c, w.holder)) }
	maker := func(name string, change func(*smx509.Certificate)) Credential { return w.issue(w.root, name, change) }
	twin := maker("云州市印章制作中心", func(c *smx509.Certificate) { c.SerialNumber = w.maker.Cert.SerialNumber })
	expired := maker("旧制章者", func(c *smx509.Certificate) { c.NotBefore, c.NotAfter = born.AddDate(0, -6, 0), born })
	early := maker("未生效的制章者", func(c *smx509.Certificate) { c.NotBefore = signed })
	usage := maker("只能加密", func(c *smx509.Certificate) { c.KeyUsage = smx509.KeyUsageKeyEncipherment })
	commits := maker("只可承诺", func(c *smx509.Certificate) { c.KeyUsage = smx509.KeyUsageContentCommitment })
	critical := maker("含未知扩展", func(c *smx509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	})
	below := w.issue(colleague, "下级", func(*smx509.Certificate) {})
	replaced := func(der []byte) []byte { return w.withSeal(edited(w.t, w.seal, inMaker, setBody(der))) }
	seal, value := []int{CheckSeal}, []int{CheckSignature}
	gone := []int{CheckSignature, CheckSeal}
	return []mutation{
		{name: "maker of another root", file: by(strange), fails: seal},
		{name: "a colleague as maker", file: by(colleague), fails: seal},
		{name: "the root as maker", file: by(w.root), fails: seal},
		{name: "the holder as maker", file: by(w.holder), fails: seal},
		{name: "another with the maker's name and serial number", file: by(twin), fails: seal},
		{name: "pinned, but of another root", file: by(strange), trust: pin(strange), fails: seal},
		{name: "pinned, expired when the seal was made", file: by(expired), trust: pin(expired), fails: seal},
		{name: "pinned, not yet valid when the seal was made", file: by(early), trust: pin(early), fails: seal},
		{name: "pinned, may encipher only", file: by(usage), trust: pin(usage), fails: seal},
		{name: "pinned, may commit only", file: by(commits), trust: pin(commits), fails: seal},
		{name: "pinned, with an unknown critical extension", file: by(critical), trust: pin(critical), fails: seal},
		{name: "pinned, issued by a holder", file: by(below), trust: pin(below), fails: seal},
		{name: "certificate of another maker put in", file: replaced(twin.Cert.Raw), fails: gone},
		{name: "certificate of the holder put in", file: replaced(w.holder.Cert.Raw), fails: gone},
		{name: "certificate with another kind of key", file: replaced(w.p256()), fails: gone},
		{name: "no certificate", file: replaced(nil), fails: gone},
		{name: "certificate cut off", file: replaced(w.maker.Cert.Raw[:200]), fails: gone},
		{name: "a byte behind the certificate", file: replaced(append(bytes.Clone(w.maker.Cert.Raw), 0)), fails: gone},
		{name: "one bit of the certificate's signature", file: replaced(append(bytes.Clone(w.maker.Cert.Raw[:len(w.maker.Cert.Raw)-1]), w.maker.Cert.Raw[len(w.maker.Cert.Raw)-1]^1)), fails: seal},
		{name: "seal of version 1 signed as one of version 4", file: w.crossSigned(), fails: value},
	}
}

// crossSigned is signed with a V1 seal whose maker signed the information alone.
func (w *workshop) crossSigned() []byte {
	w.t.Helper()
	seal := parseDER(w.t, w.otherSeal(func(o *SealOrder) { o.Version = ses.V1 }))
	seal.at(1, 2).content = append([]byte{0}, w.ok2(signSM2(w.maker.Key.SM2(), seal.at(0).der()))...)
	return w.fill(w.signWith(seal.der(), forgery{}))
}

func makerValueMutations(w *workshop) []mutation {
	put := func(path []int, body []byte) []byte { return w.withSeal(edited(w.t, w.seal, path, setBody(body))) }
	seal := parseDER(w.t, w.seal)
	info := seal.at(0).der()
	var out []mutation
	for _, v := range w.values(seal.at(inValue...).content[1:], info, w.maker) {
		out = append(out, mutation{name: v.name, file: put(inValue, append([]byte{0}, v.value...)), fails: []int{CheckSignature}})
	}
	byHolder := w.ok2(signSM2(w.holder.Key.SM2(), info))
	out = append(out,
		mutation{name: "by the holder", file: put(inValue, append([]byte{0}, byHolder...)), fails: []int{CheckSignature}},
		mutation{name: "empty", file: put(inValue, []byte{0}), fails: []int{CheckSignature}},
	)
	for _, name := range slices.Sorted(maps.Keys(otherAlgorithms)) {
		out = append(out, mutation{name: "algorithm: " + name, file: put(inAlg, otherAlgorithms[name]), fails: []int{CheckSignature}})
	}
	return out
}

func valueMutations(w *workshop) []mutation {
	sig := parseDER(w.t, w.der)
	value := func(b []byte) []byte { return w.edit(atValue, setBody(append([]byte{0}, b...))) }
	var out []mutation
	for _, v := range w.values(sig.at(atValue...).content[1:], sig.at(atTBS...).der(), w.holder) {
		out = append(out, mutation{name: v.name, file: value(v.value), fails: []int{CheckSignature}})
	}
	out = append(out,
		mutation{name: "empty", file: value(nil), fails: []int{CheckSignature}},
		mutation{name: "the maker's", file: value(parseDER(w.t, w.seal).at(inValue...).content[1:]), fails: []int{CheckSignature}},
		mutation{name: "over the digest alone", file: value(w.ok2(signSM2(w.holder.Key.SM2(), w.slate.Digest()))), fails: []int{CheckSignature}},
	)
	for _, name := range slices.Sorted(maps.Keys(otherAlgorithms)) {
		out = append(out, mutation{name: "algorithm: " + name, file: w.edit(atAlg, setBody(otherAlgorithms[name])), fails: []int{CheckSignature}})
	}
	return out
}

func signerMutations(w *workshop) []mutation {
	stranger, err := MakeRoot(Subject{Name: "另一个根"}, Validity{born.AddDate(-1, 0, 0), years.Until})
	w.ok(err)
	colleague, err := MakeHolder(w.root, Subject{Name: "云州市公安局"}, years)
	w.ok(err)
	// with is signed by another whose certificate the seal names.
	with := func(c Credential) []byte {
		seal := w.otherSeal(func(o *SealOrder) { o.HolderCert = c.Cert })
		return w.fill(w.signWith(seal, forgery{signer: c}))
	}
	holder := func(by Credential, change func(*smx509.Certificate)) []byte {
		return with(w.issue(by, "云州市民政局", change))
	}
	put := func(der []byte) []byte { return w.edit(atCert, setBody(der)) }
	again := *w.holder.Cert
	renewed, err := certify(rand.Reader, &smx509.Certificate{SerialNumber: big.NewInt(99), Subject: again.Subject, NotBefore: born, NotAfter: years.Until, KeyUsage: again.KeyUsage, BasicConstraintsValid: true}, w.root.Cert, w.holder.Key, w.root.Key)
	w.ok(err)
	cert, list := []int{CheckCertificate}, []int{CheckList}
	timed := []int{CheckCertificate, CheckTime}
	unread := []int{CheckSignature, CheckList, CheckCertificate, CheckTime}
	return []mutation{
		{name: "a colleague signs with this seal", file: w.fill(w.signWith(w.seal, forgery{signer: colleague})), fails: list},
		{name: "the maker signs with this seal", file: w.fill(w.signWith(w.seal, forgery{signer: w.maker})), fails: []int{CheckList, CheckSeal}},
		{name: "the holder's key under another certificate", file: w.fill(w.signWith(w.seal, forgery{signer: renewed})), fails: list},
		{name: "a colleague's certificate put in", file: put(colleague.Cert.Raw), fails: []int{CheckSignature, CheckList}},
		{name: "the maker's certificate put in", file: put(w.maker.Cert.Raw), fails: []int{CheckSignature, CheckList, CheckSeal}},
		{name: "of another root", file: holder(stranger, func(*smx509.Certificate) {}), fails: cert},
		{name: "of another root with the same name", file: with(w.twinRootHolder()), fails: cert},
		{name: "issued by a colleague", file: holder(colleague, func(*smx509.Certificate) {}), fails: cert},
		{name: "expired a second before", file: holder(w.root, func(c *smx509.Certificate) { c.NotAfter = signed.Add(-time.Second) }), fails: timed},
		{name: "valid a second later", file: holder(w.root, func(c *smx509.Certificate) { c.NotBefore = signed.Add(time.Second) }), fails: timed},
		{name: "may encipher only", file: holder(w.root, func(c *smx509.Certificate) { c.KeyUsage = smx509.KeyUsageKeyEncipherment }), fails: cert},
		{name: "may agree on keys only", file: holder(w.root, func(c *smx509.Certificate) { c.KeyUsage = smx509.KeyUsageKeyAgreement }), fails: cert},
		{name: "without key usage", file: holder(w.root, func(c *smx509.Certificate) { c.KeyUsage = 0 }), fails: cert},
		{name: "with an unknown critical extension", file: holder(w.root, func(c *smx509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), fails: cert},
		{name: "the root itself", file: with(w.root), fails: cert},
		{name: "with another kind of key", file: put(w.p256()), fails: unread},
		{name: "empty", file: put(nil), fails: unread},
		{name: "cut off", file: put(w.holder.Cert.Raw[:300]), fails: unread},
		{name: "a byte behind it", file: put(append(bytes.Clone(w.holder.Cert.Raw), 0)), fails: unread},
		{name: "one bit of its signature", file: put(append(bytes.Clone(w.holder.Cert.Raw[:len(w.holder.Cert.Raw)-1]), w.holder.Cert.Raw[len(w.holder.Cert.Raw)-1]^1)), fails: []int{CheckCertificate, CheckList}},
	}
}

// twinRootHolder has a certificate of a root that calls itself as the city's.
func (w *workshop) twinRootHolder() Credential {
	w.t.Helper()
	root, err := MakeRoot(Subject{Name: "云州测试根"}, Validity{born.AddDate(-1, 0, 0), years.Until})
	w.ok(err)
	c, err := MakeHolder(root, Subject{"云州市民政局", usccCode}, years)
	w.ok(err)
	return c
}

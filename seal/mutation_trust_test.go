package seal

import (
	"bytes"
	"os"
	"path/filepath"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/revocation"
	"yizheng/seal/tsp/tsptest"
)

func trustMutations(w *workshop) []mutation {
	before := signed.Add(-time.Hour)
	stranger, err := MakeRoot(Subject{Name: "另一个根"}, years)
	w.ok(err)
	with := func(name string, fails []int, prepare func(*city)) mutation {
		return mutation{name: name, file: w.good, trust: w.trustWith(prepare), fails: fails}
	}
	events := func(list ...Event) func(*city) { return func(c *city) { c.statusList(list...) } }
	revoked := func(cert *smx509.Certificate, at time.Time) func(*city) { return func(c *city) { c.crl(cert, at) } }
	remove := func(c *city, name string) { c.ok(os.Remove(filepath.Join(c.trustDir, name))) }
	state, cert := []int{CheckSeal, CheckTime}, []int{CheckCertificate, CheckTime}
	nobody := []int{CheckCertificate, CheckSeal}
	return []mutation{
		with("seal suspended an hour before", state, events(Event{esid, Suspended, before, ""})),
		with("seal suspended at that second", state, events(Event{esid, Suspended, signed, ""})),
		with("seal suspended when used, resumed later", state, events(Event{esid, Suspended, before, ""}, Event{esid, Issued, signed.Add(time.Hour), ""})),
		with("seal revoked an hour before", state, events(Event{esid, Revoked, before, ""})),
		with("seal revoked at that second", state, events(Event{esid, Revoked, signed, ""})),
		with("seal revoked, then said to be issued", state, events(Event{esid, Revoked, before, ""}, Event{esid, Issued, before, ""})),
		with("seal suspended twice, resumed in between", state, events(Event{esid, Suspended, born, ""}, Event{esid, Issued, born.Add(time.Hour), ""}, Event{esid, Suspended, before, ""})),
		with("certificate revoked an hour before", cert, revoked(w.holder.Cert, before)),
		with("certificate revoked at that second", cert, revoked(w.holder.Cert, signed)),
		with("maker revoked before it made the seal", []int{CheckSeal}, revoked(w.maker.Cert, born)),
		with("maker revoked when it made the seal", []int{CheckSeal}, revoked(w.maker.Cert, born.Add(time.Hour))),
		with("maker no longer pinned", []int{CheckSeal}, func(c *city) {
			c.secondMaker()
			remove(c, "makers/maker.crt")
		}),
		with("another root", nobody, func(c *city) {
			remove(c, "roots/root.crt")
			c.write("roots/other.crt", stranger.CertPEM())
		}),
		with("a root of the same name", nobody, func(c *city) {
			twin, err := MakeRoot(Subject{Name: "云州测试根"}, Validity{born.AddDate(-1, 0, 0), years.Until})
			c.ok(err)
			remove(c, "roots/root.crt")
			c.write("roots/root.crt", twin.CertPEM())
		}),
		{name: "no trust at all", file: w.good, trust: &Trust{}, fails: nobody},
	}
}

// stamped is the document with a time stamp.
func (w *workshop) stamped(token []byte) []byte {
	w.t.Helper()
	return w.fill(edited(w.t, w.der, nil, addKid(&node{tag: 0xa0, kids: []*node{{tag: 3, content: append([]byte{0}, token...)}}})))
}

// signature is the value that a time stamp is of.
func (w *workshop) signature() []byte {
	w.t.Helper()
	return parseDER(w.t, w.der).at(atValue...).content[1:]
}

// backdatingMutations claim a time before the end of a key that others had, or that
// ended nobody says why.
func backdatingMutations(w *workshop) []mutation {
	after := signed.Add(time.Minute)
	a := tsptest.New(w.t)
	a.GenTime = func() time.Time { return after.Add(time.Minute) }
	late := w.stamped(a.Stamp(w.signature()))
	a.GenTime = func() time.Time { return signed }
	foreign := w.stamped(a.Stamp(w.signature()))
	revoked := func(cert *smx509.Certificate, why revocation.Reason) *Trust {
		return w.trustWith(func(c *city) { c.crlFor(cert, after, why) })
	}
	listed := func(state State, why Reason) *Trust {
		return w.trustWith(func(c *city) { c.statusList(Event{esid, state, after, why}) })
	}
	at, seal := []int{CheckTime}, []int{CheckSeal}
	return []mutation{
		{name: "certificate revoked later, key compromise", file: w.good, trust: revoked(w.holder.Cert, revocation.KeyCompromise), fails: at},
		{name: "certificate revoked later, compromise of the authority", file: w.good, trust: revoked(w.holder.Cert, revocation.CACompromise), fails: at},
		{name: "certificate revoked later, no reason given", file: w.good, trust: revoked(w.holder.Cert, revocation.Unspecified), fails: at, unknown: true},
		{name: "certificate on hold later", file: w.good, trust: revoked(w.holder.Cert, revocation.CertificateHold), fails: at, unknown: true},
		{name: "seal revoked later, lost", file: w.good, trust: listed(Revoked, "LOST"), fails: at},
		{name: "seal revoked later, key compromise", file: w.good, trust: listed(Revoked, "COMPROMISED"), fails: at},
		{name: "seal revoked later, no reason given", file: w.good, trust: listed(Revoked, ""), fails: at, unknown: true},
		{name: "seal revoked later, a reason not known", file: w.good, trust: listed(Revoked, "OTHER"), fails: at, unknown: true},
		{name: "seal reported lost later", file: w.good, trust: listed(Suspended, "LOST"), fails: at, unknown: true},
		{name: "seal reported lost later, then revoked as retired", file: w.good, fails: at, unknown: true, trust: w.trustWith(func(c *city) {
			c.statusList(Event{esid, Suspended, after, "LOST"}, Event{esid, Revoked, after.Add(time.Hour), "RETIRED"})
		})},
		{name: "maker revoked later, key compromise", file: w.good, trust: revoked(w.maker.Cert, revocation.KeyCompromise), fails: seal},
		{name: "maker revoked later, no reason given", file: w.good, trust: revoked(w.maker.Cert, revocation.Unspecified), fails: seal, unknown: true},
		{name: "key compromise, time stamp after it", file: late, fails: at, trust: w.trustWith(func(c *city) {
			c.trustAuthority(a)
			c.crlFor(w.holder.Cert, after, revocation.KeyCompromise)
		})},
		{name: "key compromise, time stamp of a stranger", file: foreign, trust: revoked(w.holder.Cert, revocation.KeyCompromise), fails: []int{CheckTime, CheckStamp}},
	}
}

func stampMutations(w *workshop) []mutation {
	value, stamped := w.signature(), w.stamped
	a := tsptest.New(w.t)
	at := func(t time.Time, over []byte) []byte {
		a.GenTime = func() time.Time { return t }
		return a.Stamp(over)
	}
	good := at(signed, value)
	trust := w.trustWith(func(c *city) { c.trustAuthority(a) })
	stranger := tsptest.New(w.t)
	stranger.GenTime = func() time.Time { return signed }
	other := tsptest.NewWith(w.t, func(c *smx509.Certificate) { c.ExtraExtensions = nil })
	other.GenTime = a.GenTime
	otherTrust := w.trustWith(func(c *city) { c.trustAuthority(other) })
	stamp := []int{CheckStamp}
	out := []mutation{{name: "by a certificate for other things", file: stamped(other.Stamp(value)), trust: otherTrust, fails: stamp}}
	for _, c := range []struct {
		name  string
		token []byte
	}{
		{"bytes that are no token", []byte("token")},
		{"empty", nil},
		{"the signature itself", w.der},
		{"of another signature", at(signed, []byte("another"))},
		{"of the document in place of the signature", at(signed, w.slate.Digest())},
		{"an hour later than the signing time", at(signed.Add(time.Hour), value)},
		{"an hour before the signing time", at(signed.Add(-time.Hour), value)},
		{"in the future", at(now.Add(time.Hour), value)},
		{"by a stranger", stranger.Stamp(value)},
		{"one bit of its signature", append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1)},
		{"cut off", good[:len(good)-9]},
		{"a byte behind it", append(bytes.Clone(good), 0)},
	} {
		out = append(out, mutation{name: c.name, file: stamped(c.token), trust: trust, fails: stamp})
	}
	return append(out, mutation{name: "of an authority nobody trusts", file: stamped(good), fails: stamp})
}

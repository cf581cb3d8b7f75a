package seal

import (
	"os"
	"path/filepath"
	"time"

	"github.com/emmansun/gmsm/smx509"
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
		with("seal suspended an hour before", state, events(Event{esid, Suspended, before})),
		with("seal suspended at that second", state, events(Event{esid, Suspended, signed})),
		with("seal suspended when used, resumed later", state, events(Event{esid, Suspended, before}, Event{esid, Issued, signed.Add(time.Hour)})),
		with("seal revoked an hour before", state, events(Event{esid, Revoked, before})),
		with("seal revoked at that second", state, events(Event{esid, Revoked, signed})),
		with("seal revoked, then said to be issued", state, events(Event{esid, Revoked, before}, Event{esid, Issued, before})),
		with("seal suspended twice, resumed in between", state, events(Event{esid, Suspended, born}, Event{esid, Issued, born.Add(time.Hour)}, Event{esid, Suspended, before})),
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

func stampMutations(w *workshop) []mutation {
	stamped := func(token []byte) []byte { return w.fill(w.signWith(w.seal, forgery{stamp: token})) }
	stamp := []int{CheckStamp}
	return []mutation{
		{name: "bytes that are no token", file: stamped([]byte("token")), fails: stamp, unknown: true},
		{name: "empty", file: stamped([]byte{}), fails: stamp, unknown: true},
		{name: "the signature itself", file: stamped(w.der), fails: stamp, unknown: true},
	}
}

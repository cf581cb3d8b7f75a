package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/exchange/custody"
	"yizheng/identity/jose"
	"yizheng/seal"
	"yizheng/seal/pdf/pdftest"
)

// sealDesk is a city's seals as persons look after them with the command, and the
// audit log of its gateway, which is not running.
type sealDesk struct {
	t   *testing.T
	dir string
}

const sealDeskConfig = `mode: demo
listen: localhost:0
slot: "00"
origin: gw00.690100.example/audit
tls: {certificate: t.crt, key: t.key, client_ca: ca.crt}
keys: {gateway: g.key, token: token.key, store: store.key}
catalog: {releases: releases, administrators: [security-1.pub.pem, security-2.pub.pem]}
seals: {dir: seals, trust: trust}
audit: {dir: audit, key: audit.key, pseudonyms: pseudonyms}
store: {driver: sqlite, dsn: state.db}
fonts: {body: font.ttf}
administrators:
  - {name: applicant, role: applicant, departments: [11690100006900026F], key: applicant.pub.pem}
  - {name: security-1, role: security, key: security-1.pub.pem}
  - {name: security-2, role: security, key: security-2.pub.pem}
  - {name: maker, role: maker, key: maker-person.pub.pem}
`

func newSealDesk(t *testing.T) *sealDesk {
	t.Helper()
	d := &sealDesk{t: t, dir: t.TempDir()}
	for _, sub := range []string{"seals", "trust/roots", "trust/makers", "audit/2026q4"} {
		d.ok(os.MkdirAll(d.path(sub), 0o700))
	}
	d.ok(os.Rename(pdftest.WriteFont(t, d.dir), d.path("font.ttf")))
	d.ok(os.WriteFile(d.path("gateway.yaml"), []byte(sealDeskConfig), 0o600))
	d.run(0, "keys", "root", "-name", "云州测试根", d.path("root"))
	d.run(0, "keys", "maker", "-name", "云州市印章制作中心", "-root", d.path("root"), d.path("maker"))
	d.run(0, "keys", "holder", "-name", "云州市民政局", "-code", "11690100006900026F", "-root", d.path("root"), d.path("mz"))
	for _, name := range []string{"applicant", "security-1", "security-2", "maker-person", "audit"} {
		d.run(0, "keys", "new", d.path(name))
	}
	d.copy("root.crt", "trust/roots/root.crt")
	d.copy("maker.crt", "trust/makers/maker.crt")
	return d
}

func (d *sealDesk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *sealDesk) ok(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *sealDesk) read(name string) []byte {
	d.t.Helper()
	b, err := os.ReadFile(d.path(name))
	d.ok(err)
	return b
}

func (d *sealDesk) copy(from, to string) {
	d.t.Helper()
	d.ok(os.WriteFile(d.path(to), d.read(from), 0o600))
}

// run is the command as somebody types it; it returns all that it printed.
func (d *sealDesk) run(want int, args ...string) string {
	d.t.Helper()
	var out bytes.Buffer
	if got := run(d.t.Context(), args, &out, &out); got != want {
		d.t.Fatalf("gateway %s ended with %d, want %d:\n%s", strings.Join(args, " "), got, want, &out)
	}
	return out.String()
}

// seal is a step of a person's, or with by "" what needs nobody's key.
func (d *sealDesk) seal(want int, action, by string, args ...string) string {
	d.t.Helper()
	all := []string{"seal", action, "-config", d.path("gateway.yaml")}
	if by != "" {
		all = append(all, "-key", d.path(by+".key"))
	}
	return d.run(want, append(all, args...)...)
}

// made takes the seal mz up to the step before its issue.
func (d *sealDesk) made(order ...string) {
	d.t.Helper()
	d.seal(0, "apply", "applicant", append(order, "-esid", "6901000000017", "-name", "云州市民政局业务专用章", "-holder", d.path("mz.crt"), "-font", d.path("font.ttf"), "mz")...)
	d.seal(0, "approve", "security-1", "mz")
	d.seal(0, "make", "maker-person", "-maker", d.path("maker.crt"), "-maker-key", d.path("maker.key"), "mz")
}

func (d *sealDesk) issued(order ...string) {
	d.t.Helper()
	d.made(order...)
	d.seal(0, "issue", "security-2", "-holder-key", d.path("mz.key"), "mz")
}

// openLog is the audit log of the gateway.
func (d *sealDesk) openLog() *audit.Log {
	d.t.Helper()
	key, err := jose.ReadKey(d.path("audit.key"), "")
	d.ok(err)
	log, err := audit.OpenLog(d.t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: d.path("audit/2026q4"), Origin: "gw00.690100.example/audit/2026q4", Signer: key, SegmentSize: 1 << 20, MinFree: 1})
	d.ok(err)
	return log
}

// start starts the gateway's part that records the register's steps, and stops it.
func (d *sealDesk) start() {
	d.t.Helper()
	c, err := readConfig(d.path("gateway.yaml"))
	d.ok(err)
	persons, err := c.persons()
	d.ok(err)
	trust, err := seal.LoadTrust(c.Seals.Trust)
	d.ok(err)
	log := d.openLog()
	_, err = custody.Open(d.t.Context(), custody.Config{Dir: c.Seals.Dir, Persons: persons, Audit: log, Registry: seal.RegistryOptions{Trust: trust}, Now: time.Now})
	d.ok(err)
	d.ok(log.Close())
}

func (d *sealDesk) publish(want int) string {
	d.t.Helper()
	return d.seal(want, "status", "", "-publish", d.path("trust/seals-status.json"), "-maker", d.path("maker.crt"), "-maker-key", d.path("maker.key"))
}

// TestSeal_RefusesARegisterThatWasPutBack by what the audit log or the list published
// last knows; a suspension is entered all the same, and says so.
func TestSeal_RefusesARegisterThatWasPutBack(t *testing.T) {
	for name, remember := range map[string]func(*sealDesk){
		"audit log":   (*sealDesk).start,
		"status list": func(d *sealDesk) { d.publish(0) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newSealDesk(t)
			d.issued()
			before := d.read("seals/journal.jws")
			d.seal(0, "revoke", "applicant", "-reason", "LOST", "mz")
			d.seal(0, "approve", "security-1", "mz")
			remember(d)
			d.ok(os.WriteFile(d.path("seals/journal.jws"), before, 0o600))
			for _, said := range []string{
				d.seal(1, "revoke", "applicant", "-reason", "LOST", "mz"),
				d.publish(1),
				d.seal(1, "suspend", "applicant", "-reason", "LOST", "mz"),
			} {
				if !strings.Contains(said, "steps are missing") {
					t.Errorf("said: %s", said)
				}
			}
			if got := bytes.Count(d.read("seals/journal.jws"), []byte("\n")); got != bytes.Count(before, []byte("\n"))+1 {
				t.Errorf("%d lines, want the suspension alone behind what was put back", got)
			}
		})
	}
}

func TestSealPublish_ReplacesNoListThatItDoesNotFollow(t *testing.T) {
	d := newSealDesk(t)
	d.issued()
	before := d.read("seals/journal.jws")
	d.seal(0, "suspend", "applicant", "-reason", "LOST", "mz")
	d.publish(0)
	d.publish(0) // the same again, with another due date
	published := d.read("trust/seals-status.json")
	d.copy("trust/seals-status.json", "elsewhere.json")
	d.ok(os.Remove(d.path("trust/seals-status.json"))) // where the command itself looks
	d.ok(os.WriteFile(d.path("seals/journal.jws"), before, 0o600))
	to := func(file string) string {
		return d.seal(1, "status", "", "-publish", d.path(file), "-maker", d.path("maker.crt"), "-maker-key", d.path("maker.key"))
	}
	if said := to("elsewhere.json"); !strings.Contains(said, "steps are missing") {
		t.Errorf("a lower number: %s", said)
	}
	d.ok(os.Remove(d.path("seals/journal.jws")))
	if said := to("elsewhere.json"); !strings.Contains(said, "steps are missing") {
		t.Errorf("of an empty register: %s", said)
	}
	if got := d.read("elsewhere.json"); !bytes.Equal(got, published) {
		t.Error("the list was replaced")
	}
	d.run(0, "keys", "maker", "-name", "别处的制章者", "-root", d.path("root"), d.path("other"))
	d.copy("other.crt", "maker.crt")
	d.copy("other.key", "maker.key")
	if said := to("elsewhere.json"); !strings.Contains(said, "another maker's") {
		t.Errorf("another maker's: %s", said)
	}
	if said := to("gateway.yaml"); !strings.Contains(said, "not a status list") {
		t.Errorf("another file: %s", said)
	}
}

func TestSealIssue_ThatIsRefusedLeavesNoKey(t *testing.T) {
	d := newSealDesk(t)
	d.made()
	if said := d.seal(1, "issue", "applicant", "-holder-key", d.path("mz.key"), "mz"); !strings.Contains(said, "role") {
		t.Errorf("said: %s", said)
	}
	if _, err := os.Stat(d.path("seals/mz")); !os.IsNotExist(err) {
		t.Errorf("a key was placed by a refused step: %v", err)
	}
	if said := d.seal(1, "issue", "security-2", "-holder-key", d.path("maker.key"), "mz"); !strings.Contains(said, "is not the key") {
		t.Errorf("said: %s", said)
	}
	if said := d.seal(0, "status", "", "mz"); !strings.Contains(said, "made") {
		t.Errorf("issued without its key: %s", said)
	}
	d.seal(0, "issue", "security-2", "-holder-key", d.path("mz.key"), "mz")
	d.seal(0, "test", "applicant", "mz")
}

package custody_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"os"
	"path/filepath"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/exchange/custody"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
	"yizheng/seal"
	"yizheng/seal/life"
)

// office is a gateway's seals with the persons who look after them.
type office struct {
	t                  *testing.T
	dir, trusted, logs string
	keys               map[string]*jose.Key
	persons            *staff.Register
	maker              seal.Credential
	log                *audit.Log
	signer             *jose.Key
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir(), trusted: t.TempDir(), logs: filepath.Join(t.TempDir(), "audit"), keys: map[string]*jose.Key{}}
	var persons []staff.Person
	var err error
	for _, name := range []string{"a", "b"} {
		o.keys[name], err = jose.GenerateKey()
		o.ok(err)
		persons = append(persons, staff.Person{Name: name, Role: staff.Security, Key: o.keys[name].Public()})
	}
	o.persons, err = staff.NewRegister(persons)
	o.ok(err)
	v := seal.Validity{From: time.Now().Add(-time.Hour), Until: time.Now().AddDate(1, 0, 0)}
	root, err := seal.MakeRoot(seal.Subject{Name: "云州测试根"}, v)
	o.ok(err)
	o.maker, err = seal.MakeMaker(root, seal.Subject{Name: "云州市印章制作中心"}, v)
	o.ok(err)
	holder, err := seal.MakeHolder(root, seal.Subject{Name: "云州市民政局"}, v)
	o.ok(err)
	for name, c := range map[string]seal.Credential{"roots/root.crt": root, "makers/maker.crt": o.maker} {
		o.ok(os.MkdirAll(filepath.Dir(filepath.Join(o.trusted, name)), 0o700))
		o.ok(os.WriteFile(filepath.Join(o.trusted, name), c.CertPEM(), 0o600))
	}
	var picture bytes.Buffer
	o.ok(gif.Encode(&picture, image.NewPaletted(image.Rect(0, 0, 40, 40), color.Palette{color.Transparent, color.Black}), nil))
	der, err := seal.MakeSeal(o.maker, seal.SealOrder{ESID: "1", Name: "云州市民政局业务专用章", VendorID: "YZ", PictureGIF: picture.Bytes(), WidthMM: 42, HeightMM: 42,
		Created: time.Now(), Validity: v, HolderCert: holder.Cert})
	o.ok(err)
	o.ok(seal.WriteSealDir(o.dir, "mz", seal.SealDir{Seal: der, Holder: holder, Since: time.Now()}))
	r := o.register()
	o.step(r.Append, r, "a", life.Import, func(s *life.Step) { s.ESeal, s.Holder = der, holder.Cert.Raw })
	o.step(r.Append, r, "b", life.Approve, nil)
	o.step(r.Append, r, "a", life.Issue, nil)
	o.signer, err = jose.GenerateKey()
	o.ok(err)
	o.ok(os.Mkdir(o.logs, 0o700))
	o.openLog()
	return o
}

func (o *office) ok(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) openLog() {
	o.t.Helper()
	var err error
	o.log, err = audit.OpenLog(o.t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: o.logs, Origin: "gw00.690100.example/audit", Signer: o.signer, SegmentSize: 1 << 20})
	o.ok(err)
	o.t.Cleanup(func() { _ = o.log.Close() }) // some tests have closed it
}

// register is the register as a command on the same directory opens it.
func (o *office) register() *life.Register {
	o.t.Helper()
	trust, err := seal.LoadTrust(o.trusted)
	o.ok(err)
	r, err := life.Open(o.dir, life.Options{Persons: o.persons, Trust: trust})
	o.ok(err)
	return r
}

func (o *office) step(appendTo func(string) (life.Entry, error), r *life.Register, by string, a life.Action, edit func(*life.Step)) {
	o.t.Helper()
	s := r.Next("mz", a)
	s.Reason = life.Lost
	if edit != nil {
		edit(&s)
	}
	line, err := s.Sign(o.keys[by])
	o.ok(err)
	_, err = appendTo(line)
	o.ok(err)
}

func (o *office) open() (*custody.Custody, error) {
	o.t.Helper()
	trust, err := seal.LoadTrust(o.trusted)
	o.ok(err)
	return custody.Open(o.t.Context(), custody.Config{Dir: o.dir, Persons: o.persons, Audit: o.log, Registry: seal.RegistryOptions{Trust: trust}})
}

// steps are the records of steps in the log.
func (o *office) steps() (list []audit.Closed) {
	o.t.Helper()
	o.ok(o.log.Read(o.t.Context(), 0, o.log.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Open.Op == audit.OpSealStep {
			list = append(list, e.Entry.Closed)
		}
		return nil
	}))
	return list
}

func TestCustody_AStepTakenElsewhereIsRecordedAndHoldsAtOnce(t *testing.T) {
	o := newOffice(t)
	k, err := o.open()
	o.ok(err)
	o.ok(k.Seals().Check(t.Context(), "mz", time.Now()))
	if n := len(o.steps()); n != 3 {
		t.Errorf("%d steps recorded at the start, want 3", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Watch(ctx) }()
	r := o.register()
	o.step(r.Append, r, "a", life.Suspend, nil)
	end := time.Now().Add(10 * time.Second)
	for k.Seals().Check(t.Context(), "mz", time.Now()) == nil && time.Now().Before(end) {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-done
	if err := k.Seals().Check(t.Context(), "mz", time.Now()); !errors.Is(err, seal.ErrSealNotValid) {
		t.Errorf("a suspended seal: %v", err)
	}
	steps := o.steps()
	last := steps[len(steps)-1]
	_, head := r.Head()
	if len(steps) != 4 || last.Actor != "a" || last.Object != "seal/mz" || last.Reason != "LOST" || last.After != head || last.Before != steps[2].After {
		t.Errorf("recorded: %+v", last)
	}
}

func TestCustody_AStepOfItsOwnHoldsWhenItReturns(t *testing.T) {
	o := newOffice(t)
	k, err := o.open()
	o.ok(err)
	by := func(line string) (life.Entry, error) { return k.Append(t.Context(), line) }
	o.step(by, k.Register(), "a", life.Suspend, nil)
	if err := k.Seals().Check(t.Context(), "mz", time.Now()); !errors.Is(err, seal.ErrSealNotValid) {
		t.Errorf("suspended: %v", err)
	}
	o.step(by, k.Register(), "a", life.Resume, nil)
	o.step(by, k.Register(), "b", life.Approve, nil)
	o.ok(k.Seals().Check(t.Context(), "mz", time.Now()))
	if n := len(o.steps()); n != 6 {
		t.Errorf("%d steps recorded, want 6", n)
	}
}

func TestCustody_NoticesARegisterThatWasPutBack(t *testing.T) {
	journal := func(o *office) string { return filepath.Join(o.dir, "journal.jws") }
	for name, remember := range map[string]func(*office){
		"by the audit log": func(o *office) {
			_, err := o.open()
			o.ok(err)
		},
		"by a status list": func(o *office) {
			r := o.register()
			l := r.StatusList(o.maker.Key.ID(), time.Now().AddDate(0, 0, 7))
			raw, err := seal.SignStatusList(o.maker, l)
			o.ok(err)
			o.ok(os.WriteFile(filepath.Join(o.trusted, "seals-status.json"), raw, 0o600))
		},
	} {
		o := newOffice(t)
		before, err := os.ReadFile(journal(o))
		o.ok(err)
		r := o.register()
		o.step(r.Append, r, "a", life.Suspend, nil)
		remember(o)
		_, err = o.open()
		o.ok(err)
		if name == "by a status list" { // a log that knows nothing
			o.ok(o.log.Close())
			o.logs = filepath.Join(t.TempDir(), "audit")
			o.ok(os.Mkdir(o.logs, 0o700))
		} else {
			o.ok(o.log.Close())
		}
		o.openLog()
		o.ok(os.WriteFile(journal(o), before, 0o600))
		if _, err := o.open(); !errors.Is(err, life.ErrRolledBack) {
			t.Errorf("%s: shorter: %v", name, err)
		}
		o.ok(os.Remove(journal(o)))
		if _, err := o.open(); !errors.Is(err, life.ErrRolledBack) && name == "by the audit log" {
			t.Errorf("%s: gone: %v", name, err)
		}
	}
}

func TestCustody_KeepsWhatItSawOfARunningRegister(t *testing.T) {
	o := newOffice(t)
	k, err := o.open()
	o.ok(err)
	path := filepath.Join(o.dir, "journal.jws")
	before, err := os.ReadFile(path)
	o.ok(err)
	r := o.register()
	o.step(r.Append, r, "a", life.Suspend, nil)
	k.Refresh(t.Context())
	o.ok(os.WriteFile(path, before, 0o600))
	k.Refresh(t.Context())
	k.Refresh(t.Context())
	if err := k.Seals().Check(t.Context(), "mz", time.Now()); !errors.Is(err, seal.ErrSealNotValid) {
		t.Errorf("after the roll-back: %v", err)
	}
	alarms := 0
	_, err = o.log.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpAdmin}}) // what was queued is durable now
	o.ok(err)
	o.ok(o.log.Read(t.Context(), 0, o.log.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Open.Op == audit.OpAlarm && e.Entry.Open.Outcome == "SEAL_REGISTER" {
			alarms++
		}
		return nil
	}))
	if alarms != 1 {
		t.Errorf("%d alarms, want 1", alarms)
	}
}

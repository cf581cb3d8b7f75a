package life_test

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"yizheng/identity/jose"
	"yizheng/identity/staff"
	"yizheng/seal"
	"yizheng/seal/life"
)

var born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// city is a maker, holders, and the persons who look after a register of seals.
type city struct {
	t            testing.TB
	dir, trusted string
	persons      *staff.Register
	parts
	clock time.Time
}

type parts struct {
	root, maker, stranger seal.Credential
	holders               []seal.Credential
	picture               []byte
	keys                  map[string]*jose.Key
}

var theParts = sync.OnceValue(func() (p parts) {
	v := seal.Validity{From: born.AddDate(-1, 0, 0), Until: born.AddDate(9, 0, 0)}
	must := func(c seal.Credential, err error) seal.Credential {
		if err != nil {
			panic(err)
		}
		return c
	}
	p.root = must(seal.MakeRoot(seal.Subject{Name: "云州测试根"}, v))
	p.maker = must(seal.MakeMaker(p.root, seal.Subject{Name: "云州市印章制作中心"}, v))
	p.stranger = must(seal.MakeMaker(p.root, seal.Subject{Name: "别处的制章者"}, v))
	for i := range 3 {
		p.holders = append(p.holders, must(seal.MakeHolder(p.root, seal.Subject{Name: "云州市民政局", Code: strconv.Itoa(i)}, v)))
	}
	var picture bytes.Buffer
	img := image.NewPaletted(image.Rect(0, 0, 40, 40), color.Palette{color.Transparent, color.NRGBA{200, 0, 0, 255}})
	if err := gif.Encode(&picture, img, nil); err != nil {
		panic(err)
	}
	p.picture, p.keys = picture.Bytes(), map[string]*jose.Key{}
	for _, name := range []string{"applicant", "security-1", "security-2", "maker", "nobody"} {
		k, err := jose.GenerateKey()
		if err != nil {
			panic(err)
		}
		p.keys[name] = k
	}
	return p
})

func newCity(t testing.TB) *city {
	t.Helper()
	c := &city{t: t, dir: t.TempDir(), trusted: t.TempDir(), parts: theParts(), clock: born.AddDate(0, 1, 0)}
	var persons []staff.Person
	for name, role := range map[string]staff.Role{"applicant": staff.Applicant, "security-1": staff.Security, "security-2": staff.Security, "maker": staff.Maker} {
		persons = append(persons, staff.Person{Name: name, Role: role, Key: c.keys[name].Public(), Departments: map[staff.Role][]string{staff.Applicant: {"0", "1", "2"}}[role]})
	}
	var err error
	c.persons, err = staff.NewRegister(persons)
	c.ok(err)
	for name, cert := range map[string]seal.Credential{"roots/root.crt": c.root, "makers/maker.crt": c.maker} {
		path := filepath.Join(c.trusted, name)
		c.ok(os.MkdirAll(filepath.Dir(path), 0o700))
		c.ok(os.WriteFile(path, cert.CertPEM(), 0o600))
	}
	return c
}

func (c *city) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *city) trust() *seal.Trust {
	c.t.Helper()
	t, err := seal.LoadTrust(c.trusted)
	c.ok(err)
	return t
}

func (c *city) open() (*life.Register, error) {
	c.t.Helper()
	return life.Open(c.dir, life.Options{Persons: c.persons, Trust: c.trust(), Now: func() time.Time { return c.clock }})
}

func (c *city) register() *life.Register {
	c.t.Helper()
	r, err := c.open()
	c.ok(err)
	return r
}

// order is an application for a seal with the n-th holder's certificate.
func (c *city) order(esid string, n int) *life.Order {
	return &life.Order{ESID: esid, Name: "云州市民政局业务专用章", VendorID: "YZ", Picture: c.picture, WidthMM: 42, HeightMM: 42,
		From: born, Until: born.AddDate(3, 0, 0), Holder: c.holders[n].Cert.Raw}
}

// make is the SESeal of an order.
func (c *city) make(maker seal.Credential, o *life.Order, n int) []byte {
	c.t.Helper()
	der, err := seal.MakeSeal(maker, seal.SealOrder{ESID: o.ESID, Name: o.Name, VendorID: o.VendorID, PictureGIF: o.Picture,
		WidthMM: o.WidthMM, HeightMM: o.HeightMM, Created: born.Add(time.Hour), Validity: seal.Validity{From: o.From, Until: o.Until}, HolderCert: c.holders[n].Cert})
	c.ok(err)
	return der
}

// sign is a step at the register's end, changed by edits and signed by a person.
func (c *city) sign(r *life.Register, by, id string, a life.Action, edits ...func(*life.Step)) string {
	c.t.Helper()
	s := r.Next(id, a)
	switch a {
	case life.Suspend, life.Resume, life.Revoke, life.Destroy, life.Replace:
		s.Reason = life.Lost
	}
	for _, e := range edits {
		e(&s)
	}
	line, err := s.Sign(c.keys[by])
	c.ok(err)
	return line
}

// do appends a step that must be allowed. A minute passes.
func (c *city) do(r *life.Register, by, id string, a life.Action, edits ...func(*life.Step)) {
	c.t.Helper()
	c.clock = c.clock.Add(time.Minute)
	if _, err := r.Append(c.sign(r, by, id, a, edits...)); err != nil {
		c.t.Fatalf("%s %s by %s: %v", a, id, by, err)
	}
}

func ordered(o *life.Order) func(*life.Step) { return func(s *life.Step) { s.Order = o } }
func holding(der []byte) func(*life.Step)    { return func(s *life.Step) { s.ESeal = der } }

// issue takes a seal from application to issue, with its key in place.
func (c *city) issue(r *life.Register, id, esid string, n int) {
	c.t.Helper()
	o := c.order(esid, n)
	c.do(r, "applicant", id, life.Apply, ordered(o))
	c.do(r, "security-1", id, life.Approve)
	c.do(r, "maker", id, life.Make, holding(c.make(c.maker, o, n)))
	c.place(id, n)
	c.do(r, "security-2", id, life.Issue)
}

// registry is package seal's view of the same directory.
func (c *city) registry(r *life.Register) *seal.Registry {
	c.t.Helper()
	g, err := seal.OpenRegistry(c.dir, seal.RegistryOptions{Trust: c.trust(), States: r.States})
	c.ok(err)
	return g
}

func (c *city) state(r *life.Register, id string, want life.State) {
	c.t.Helper()
	if s, _ := r.Find(id); s.State != want {
		c.t.Errorf("%s is %q, want %q", id, s.State, want)
	}
}

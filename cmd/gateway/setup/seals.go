package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"yizheng/catalog"
	"yizheng/seal"
)

// SampleRoot is the common name of a seal root made here. Production refuses it.
const SampleRoot = "一证示例根证书"

// makeSeals makes a root, a seal maker, and for every seal of the catalogue a
// holder's certificate, a picture and the seal. A seal that is hosted at a front
// lies with it, and nowhere else. The root's and the maker's keys
// are not kept: a further seal needs a real maker.
func makeSeals(o Options) error {
	c, err := catalog.Load(o.Catalog, catalog.Options{})
	if err != nil {
		return err
	}
	missing := false
	for _, s := range c.Seals {
		if _, err := os.Stat(filepath.Join(sealsOf(o, s), string(s.ID))); err != nil {
			missing = true
		}
	}
	if !missing {
		return nil
	}
	v := seal.Validity{From: o.Now.AddDate(0, 0, -1), Until: o.Now.AddDate(5, 0, 0)}
	root, err := seal.MakeRoot(seal.Subject{Name: SampleRoot}, v)
	if err != nil {
		return err
	}
	maker, err := seal.MakeMaker(root, seal.Subject{Name: "一证示例制章者"}, v)
	if err != nil {
		return err
	}
	// one root and maker for each time seals are made: older seals stay valid under theirs
	at := o.Now.UTC().Format("20060102T150405Z")
	for name, cert := range map[string][]byte{"roots/root-": root.CertPEM(), "makers/maker-": maker.CertPEM()} {
		if err := write(filepath.Join(o.Dir, "trust", name+at+".crt"), cert, 0o644); err != nil {
			return err
		}
	}
	for _, s := range c.Seals {
		if err := makeSeal(o, c, s, root, maker, v); err != nil {
			return fmt.Errorf("seal %s: %w", s.ID, err)
		}
	}
	return nil
}

// sealsOf is the directory of the seals that are kept where s is.
func sealsOf(o Options, s catalog.Seal) string {
	if s.Front != "" {
		return filepath.Join(o.Dir, "fronts", string(s.Front), "seals")
	}
	return filepath.Join(o.Dir, "seals")
}

func makeSeal(o Options, c *catalog.Catalogue, s catalog.Seal, root, maker seal.Credential, v seal.Validity) error {
	dir := sealsOf(o, s)
	if _, err := os.Stat(filepath.Join(dir, string(s.ID))); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	d, _ := c.Department(s.Department) // a catalogue without it does not load
	holder, err := seal.MakeHolder(root, seal.Subject{Name: d.Name, Code: string(d.ID)}, v)
	if err != nil {
		return err
	}
	organ, purpose := d.Name, strings.TrimPrefix(s.Name, d.Name)
	if purpose == s.Name { // the seal is not named after its department
		organ, purpose = s.Name, ""
	}
	picture, err := seal.DrawRoundSeal(seal.RoundSeal{FontPath: o.Font, Name: organ, Purpose: purpose})
	if err != nil {
		return err
	}
	der, err := seal.MakeSeal(maker, seal.SealOrder{ESID: string(s.ID), Name: s.Name, VendorID: "YIZHENG", PictureGIF: picture,
		WidthMM: 42, HeightMM: 42, Created: o.Now, Validity: v, HolderCert: holder.Cert})
	if err != nil {
		return err
	}
	return seal.WriteSealDir(dir, string(s.ID), seal.SealDir{Seal: der, Holder: holder, Passphrase: o.Passphrase, Since: o.Now})
}

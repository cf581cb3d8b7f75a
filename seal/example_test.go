package seal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"yizheng/seal"
	"yizheng/seal/pdf/pdftest"
	"yizheng/seal/ses"
)

// A verifier needs a trust directory and the file, and no network.
func ExampleVerify() {
	dir, err := os.MkdirTemp("", "trust")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if _, err := city(dir); err != nil {
		fmt.Println(err)
		return
	}
	trust, err := seal.LoadTrust(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	unsigned := pdftest.Foreign{}.Build(func([]byte) []byte { return nil })
	report := seal.Verify(unsigned, trust, time.Now())
	fmt.Println(report.Overall, report.Stopped)
	fmt.Println(report.Checks[seal.CheckFormat-1].Result)
	// Output:
	// false 1
	// fail
}

// A maker makes a seal for a holder; package ses reads it.
func ExampleMakeSeal() {
	dir, err := os.MkdirTemp("", "trust")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	eseal, err := city(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	parsed, err := ses.ParseSeal(eseal)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(parsed.Version.Standard(), parsed.Info.Property.Name, parsed.Info.Picture.Width, parsed.CheckFormat())
	// Output: GM/T 0031-2014 云州市民政局业务专用章 42 <nil>
}

// city writes a trust directory and returns a seal of GM/T 0031-2014 made under it.
func city(dir string) ([]byte, error) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	valid := seal.Validity{From: from, Until: from.AddDate(5, 0, 0)}
	root, err := seal.MakeRoot(seal.Subject{Name: "云州测试根"}, valid)
	if err != nil {
		return nil, err
	}
	maker, err := seal.MakeMaker(root, seal.Subject{Name: "云州市印章制作中心"}, valid)
	if err != nil {
		return nil, err
	}
	holder, err := seal.MakeHolder(root, seal.Subject{Name: "云州市民政局", Code: "116901000000000011"}, valid)
	if err != nil {
		return nil, err
	}
	for name, cert := range map[string]seal.Credential{"roots/root.crt": root, "makers/maker.crt": maker} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, cert.CertPEM(), 0o600); err != nil {
			return nil, err
		}
	}
	return seal.MakeSeal(maker, seal.SealOrder{
		ESID: "6901000000017", Name: "云州市民政局业务专用章", VendorID: "YZ", Version: ses.V1,
		PictureGIF: append([]byte("GIF89a"), bytes.Repeat([]byte{0}, 16)...), WidthMM: 42, HeightMM: 42,
		Created: from, Validity: valid, HolderCert: holder.Cert,
	})
}

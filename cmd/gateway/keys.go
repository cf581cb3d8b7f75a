package main

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"yizheng/cmd/internal/assembly"
	"yizheng/identity/jose"
	"yizheng/seal"
)

// keysCommand makes keys, and certificates where no certificate authority is at
// hand: for trials. No command signs anything with a key it is given but the
// structures named here.
func keysCommand(_ context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "new":
			return keysNew(args[1:], out)
		case "root", "maker", "holder":
			return keysCertificate(args[0], args[1:], out)
		}
	}
	fmt.Fprintln(out, `gateway keys new     一对 SM2 密钥 / an SM2 key pair
gateway keys root    试用根证书 / a root certificate for trials
gateway keys maker   试用制章者证书 / a seal maker's certificate
gateway keys holder  试用签章证书 / a seal holder's signing certificate`)
	if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
		return nil
	}
	return errUsage
}

// keysNew makes BASE.key and BASE.pub.pem.
func keysNew(args []string, out io.Writer) error {
	f := flags("keys new", "[-passphrase FILE] BASE", "gateway keys new -passphrase words keys/security-1")
	pass := f.String("passphrase", "", "口令文件；不给则私钥不加密 / file with the passphrase; without it the key is plain")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	k, err := jose.GenerateKey()
	if err != nil {
		return err
	}
	pub, err := jose.MarshalPublicKeyPEM(k.Public())
	if err != nil {
		return err
	}
	if err := writeKey(k, f.Arg(0)+".key", *pass); err != nil {
		return err
	}
	if err := os.WriteFile(f.Arg(0)+".pub.pem", pub, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s.key  %s.pub.pem  %s\n", f.Arg(0), f.Arg(0), k.ID())
	return nil
}

func writeKey(k *jose.Key, path, passphraseFile string) error {
	if passphraseFile == "" {
		return k.WriteFile(path, nil)
	}
	p, err := assembly.Text(passphraseFile)
	if err != nil {
		return err
	}
	return k.WriteFile(path, []byte(p))
}

// keysCertificate makes BASE.crt and BASE.key.
func keysCertificate(kind string, args []string, out io.Writer) error {
	f := flags("keys "+kind, "-name NAME [-root BASE] BASE", "gateway keys "+kind+" -name 云州市民政局 -code 11690100006900026F -root ca/root ca/mz")
	name := f.String("name", "", "证书主体名称 / common name")
	code := f.String("code", "", "统一社会信用代码 / unified social credit code")
	root := f.String("root", "", "签发它的根：ROOT.crt 与 ROOT.key / the root that issues it")
	pass := f.String("passphrase", "", "口令文件，用于各私钥 / file with the passphrase of the keys")
	days := f.Int("days", 5*365, "有效天数 / days it is valid")
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	if *name == "" || (kind == "root") != (*root == "") {
		f.Usage()
		return errUsage
	}
	now := time.Now()
	v := seal.Validity{From: now.Add(-time.Hour), Until: now.AddDate(0, 0, *days)}
	made, err := makeCertificate(kind, *root, *pass, seal.Subject{Name: *name, Code: *code}, v)
	if err != nil {
		return err
	}
	if err := writeKey(made.Key, f.Arg(0)+".key", *pass); err != nil {
		return err
	}
	if err := os.WriteFile(f.Arg(0)+".crt", made.CertPEM(), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s.crt  %s.key  %s\n", f.Arg(0), f.Arg(0), made.Key.ID())
	return nil
}

func makeCertificate(kind, root, pass string, s seal.Subject, v seal.Validity) (seal.Credential, error) {
	if kind == "root" {
		return seal.MakeRoot(s, v)
	}
	issuer, err := seal.ReadCredential(root+".crt", root+".key", pass)
	if err != nil {
		return seal.Credential{}, err
	}
	if kind == "maker" {
		return seal.MakeMaker(issuer, s, v)
	}
	return seal.MakeHolder(issuer, s, v)
}

// readCertificate reads one PEM certificate as DER.
func readCertificate(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		return nil, fmt.Errorf("%s: 须为一张 PEM 证书 / expected exactly one PEM CERTIFICATE", path)
	}
	return block.Bytes, nil
}

// writeWhole puts a file in the place of another; who reads it sees one or the other.
func writeWhole(path string, data []byte) error {
	temporary := filepath.Join(filepath.Dir(path), ".new-"+rand.Text())
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"text/template"

	"yizheng/exchange/ferry/relay"
	"yizheng/identity/jose"
)

//go:embed init.yaml.tmpl
var initTemplate string

// frontID is what the catalogue accepts and a topic's name holds.
var frontID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// enrolment is what init is asked to make.
type enrolment struct {
	Dir   string
	Front string
	Gap   bool // a front behind a gap
	Relay bool // the relay on the other side of that gap
}

// To and From are the channels of the front's gap.
func (e enrolment) To() string   { to, _ := relay.Channels(e.Front); return to }
func (e enrolment) From() string { _, from := relay.Channels(e.Front); return from }

// runInit makes keys on the machine where they stay and tells which public
// halves to hand over. It overwrites nothing.
func runInit(_ context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("frontproc init", flag.ContinueOnError)
	var e enrolment
	f.StringVar(&e.Dir, "dir", "", "放密钥与配置的目录 / `directory` for keys and configuration")
	f.StringVar(&e.Front, "front", "", "目录中的前置机编号 / the front's `id` in the catalogue")
	f.BoolVar(&e.Gap, "gap", false, "前置机在网闸之后 / the front is behind a gap")
	f.BoolVar(&e.Relay, "relay", false, "这是网闸另一侧的转运 / this is the relay on the other side of the front's gap")
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "frontproc init -dir DIR -front ID [-gap | -relay]\n例 / example: frontproc init -dir /etc/yizheng -front land-front -gap\n")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if e.Dir == "" || !frontID.MatchString(e.Front) || e.Gap && e.Relay || f.NArg() > 0 {
		f.Usage()
		return errUsage
	}
	if err := e.make(); err != nil {
		return err
	}
	e.tell(out)
	return nil
}

func (e enrolment) path(name string) string { return filepath.Join(e.Dir, name) }

// config is the name of the configuration file.
func (e enrolment) config() string {
	if e.Relay {
		return "relay.yaml"
	}
	return "frontproc.yaml"
}

// keys are the SM2 key pairs, without endings.
func (e enrolment) keys() []string {
	switch {
	case e.Relay:
		return []string{"keys/relay-gap"}
	case e.Gap:
		return []string{"keys/front", "keys/audit", "keys/pseudonyms", "keys/front-gap"}
	}
	return []string{"keys/front", "keys/audit", "keys/pseudonyms"}
}

const requestBase = "tls/kafka-client" // .key and .csr

// make makes everything or, if any of it is there, nothing.
func (e enrolment) make() error {
	names := []string{e.config(), "keys/passphrase"}
	for _, k := range e.keys() {
		names = append(names, k+".key", k+".pub.pem")
	}
	if !e.Gap {
		names = append(names, requestBase+".key", requestBase+".csr")
	}
	for _, name := range names {
		if _, err := os.Lstat(e.path(name)); !errors.Is(err, os.ErrNotExist) {
			return errors.Join(err, fmt.Errorf("%s 已存在，未作任何改动；换一个目录，或先移走它 / exists, nothing was changed; choose another directory or move it away", e.path(name)))
		}
	}
	dirs := []string{"keys", "releases", "audit", "pseudonyms", "tls"}
	switch {
	case e.Relay:
		dirs = []string{"keys", "tls"}
	case e.Gap:
		dirs = dirs[:4]
	}
	for _, d := range dirs {
		if err := os.MkdirAll(e.path(d), 0o700); err != nil {
			return err
		}
	}
	passphrase := rand.Text()
	if err := create(e.path("keys/passphrase"), []byte(passphrase+"\n"), 0o600); err != nil {
		return err
	}
	for _, k := range e.keys() {
		if err := keyPair(e.path(k), []byte(passphrase)); err != nil {
			return err
		}
	}
	if !e.Gap {
		if err := certificateRequest(e.path(requestBase), e.Front); err != nil {
			return err
		}
	}
	var text bytes.Buffer
	if err := template.Must(template.New("").Parse(initTemplate)).Execute(&text, e); err != nil {
		return err
	}
	return create(e.path(e.config()), text.Bytes(), 0o600)
}

func keyPair(base string, passphrase []byte) error {
	k, err := jose.GenerateKey()
	if err != nil {
		return err
	}
	pub, err := jose.MarshalPublicKeyPEM(k.Public())
	if err != nil {
		return err
	}
	return errors.Join(k.WriteFile(base+".key", passphrase), create(base+".pub.pem", pub, 0o644))
}

// certificateRequest makes a key for TLS and the request for its certificate:
// P-256, which every TLS stack speaks. SM2 signs what has to be proven later.
func certificateRequest(base, name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(create(base+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
		create(base+".csr", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), 0o644))
}

// create writes a new file.
func create(path string, b []byte, perm os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// tell says what to hand over to whom, and what to do next.
func (e enrolment) tell(out io.Writer) {
	fmt.Fprintf(out, "已在本机生成，私钥不要离开本机 / made here; private keys stay here: %s\n\n请交出 / hand over:\n", e.Dir)
	for _, k := range e.keys() {
		to := map[string]string{
			"keys/front":     "目录管理员：登记前置机 / catalogue administrators: the front's key",
			"keys/audit":     "审计管理员：核验本机审计日志 / audit administrator: verifies this machine's log",
			"keys/front-gap": "网闸另一侧的转运：peer_keys / the relay on the other side of the gap: peer_keys",
			"keys/relay-gap": "网闸之后的前置机：peer_keys / the front behind the gap: peer_keys",
		}[k]
		if to == "" { // nobody else has a use for it
			continue
		}
		fmt.Fprintf(out, "  %s.pub.pem  → %s\n", e.path(k), to)
		if pub, err := jose.ReadPublicKey(e.path(k + ".pub.pem")); err == nil {
			fmt.Fprintf(out, "      密钥编号，当面或电话核对 / key id, to be compared in person or by phone: %s\n", jose.KeyID(pub))
		}
	}
	if !e.Gap {
		fmt.Fprintf(out, "  %s  → 消息总线的证书签发者 / whoever issues certificates for Kafka\n", e.path(requestBase+".csr"))
	}
	next := "frontproc check -config " + e.path(e.config())
	if e.Relay {
		next = "frontproc relay -config " + e.path(e.config())
	}
	fmt.Fprintf(out, "\n然后补全 / then complete %s，运行 / and run: %s\n", e.path(e.config()), next)
	fmt.Fprintf(out, "口令在 / the passphrase is in %s（600）；请另行备份 / keep a copy elsewhere\n", e.path("keys/passphrase"))
}

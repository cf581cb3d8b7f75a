package catalog

import (
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strings"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"
	"github.com/goccy/go-yaml/ast"

	"yizheng/identity/jose"
)

// references reads what a catalogue file names by path: schemas, public keys
// and certificates. In the catalogue itself stand their contents.
type references struct {
	vars  map[string]string
	notes Problems
	keys  []KeyFile
}

// The kinds of key files.
const (
	KindGrantKey     = "grant-key"   // SM2 public key PEM, of a department
	KindAgentKey     = "agent-key"   // SM2 public key PEM, of a read agent
	KindFrontKey     = "front-key"   // SM2 public key PEM, of a front processor
	KindCertificate  = "certificate" // TLS client certificate PEM
	unresolvedPrefix = "${"
)

// KeyFile is one key or certificate a catalogue refers to by ${keys}/….
type KeyFile struct {
	Path string // relative to ${keys}, with forward slashes
	Kind string
	For  string // where it is referred to: departments[3].grant_key
	ID   string // the id of the department, operator, workstation or caller
}

// KeyFiles lists, ordered by path, the keys and certificates which the
// catalogue in dir expects below ${keys}: what has to be made before the
// catalogue can be released. The files need not exist.
func KeyFiles(dir string) ([]KeyFile, error) {
	c, refs, err := load(dir, Options{})
	if err != nil {
		return nil, err
	}
	for i := range refs.keys {
		refs.keys[i].ID = c.ownerOf(refs.keys[i].For)
	}
	sort.Slice(refs.keys, func(i, j int) bool { return refs.keys[i].Path < refs.keys[j].Path })
	return refs.keys, nil
}

// ownerOf is the id of the list entry that path leads into.
func (c *Catalogue) ownerOf(path string) string {
	var list string
	var i int
	if _, err := fmt.Sscanf(strings.NewReplacer("[", " ", "].", " ").Replace(path), "%s %d", &list, &i); err != nil {
		return ""
	}
	switch list {
	case "departments":
		return string(c.Departments[i].ID)
	case "fronts":
		return string(c.Fronts[i].ID)
	case "callers":
		return string(c.Callers[i].ID)
	case "operators":
		return string(c.Operators[i].ID)
	case "workstations":
		return string(c.Workstations[i].ID)
	}
	return ""
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// reference decodes a path and puts what the file holds into v.
func (d *decoder) reference(n ast.Node, v reflect.Value, path string, f tag) {
	ref, ok := d.str(n, path)
	if !ok {
		return
	}
	if f.how == "cert" && digestForm.MatchString(ref) {
		v.SetString(ref)
		return
	}
	name := ref
	if rest, ok := strings.CutPrefix(ref, "${keys}/"); ok {
		kind := KindCertificate
		if f.how == "pem" && strings.HasPrefix(path, "departments") {
			kind = KindGrantKey
		} else if f.how == "pem" && strings.HasPrefix(path, "fronts") {
			kind = KindFrontKey
		} else if f.how == "pem" {
			kind = KindAgentKey
		}
		d.refs.keys = append(d.refs.keys, KeyFile{Path: rest, Kind: kind, For: path})
	}
	if strings.HasPrefix(ref, unresolvedPrefix) {
		variable, rest, _ := strings.Cut(ref[len(unresolvedPrefix):], "}")
		base, given := d.refs.vars[variable]
		if !given && variable == "keys" && f.how != "file" {
			d.note(n, path, ref)
			v.SetString(ref)
			return
		}
		if !given {
			d.bad(first(n), path, "变量 ${%s} 未定义", "variable ${%s} is not defined", variable)
			return
		}
		name = base + rest
	} else if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(d.file), name)
	}
	text, err := readFile(name)
	if err != nil {
		d.bad(first(n), path, "文件 %s 读不到", "file %s cannot be read", ref)
		return
	}
	d.content(n, v, path, ref, f.how, text)
}

func (d *decoder) note(n ast.Node, path, ref string) {
	at := first(n).Position
	d.refs.notes = append(d.refs.notes, Problem{
		File: d.file, Line: at.Line, Column: at.Column, Path: path,
		Chinese: "未检查 " + ref + "（未给出密钥目录）",
		English: ref + " not checked (no key directory given)",
	})
}

func (d *decoder) content(n ast.Node, v reflect.Value, path, ref, how string, text []byte) {
	switch how {
	case "file":
		v.SetBytes(text)
	case "pem":
		if _, err := jose.ParsePublicKeyPEM(text); err != nil {
			d.bad(first(n), path, "%s 不是 SM2 公钥 PEM", "%s is not an SM2 public key in PEM", ref)
			return
		}
		v.SetString(string(text))
	case "cert":
		digest, err := certificateDigest(text)
		if err != nil {
			d.bad(first(n), path, "%s 不是证书 PEM", "%s is not a certificate in PEM", ref)
			return
		}
		v.SetString(digest)
	}
}

func certificateDigest(text []byte) (string, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", errors.New("no PEM block of type CERTIFICATE")
	}
	cert, err := smx509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("certificate: %w", err)
	}
	return KeyDigest(cert.RawSubjectPublicKeyInfo), nil
}

// KeyDigest is how callers and operators are known: the lower hex SM3 of a
// certificate's public key, given as SubjectPublicKeyInfo DER
// (x509.Certificate.RawSubjectPublicKeyInfo). It survives renewal of the
// certificate for the same key.
func KeyDigest(spki []byte) string {
	sum := sm3.Sum(spki)
	return hex.EncodeToString(sum[:])
}

func publicKey(text string) *ecdsa.PublicKey {
	pub, err := jose.ParsePublicKeyPEM([]byte(text))
	if err != nil {
		return nil
	}
	return pub
}

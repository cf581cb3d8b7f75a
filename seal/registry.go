package seal

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/keystore"
	"yizheng/seal/pdf"
	"yizheng/seal/ses"
)

// Files of one seal's directory. The key is package keystore's.
const (
	sealFile    = "seal.esl"    // SESeal, DER
	certFile    = "signer.crt"  // the holder's signing certificate, PEM
	keyFile     = "signer.key"  // its private key as set-up writes it
	pictureFile = "picture.png" // for people; what is printed comes from seal.esl
	statusName  = "status.json" // {"state":"issued","since":"..."}: whether it may be used here
)

// RegistryOptions of OpenRegistry.
type RegistryOptions struct {
	// PassphraseFile opens encrypted keys; one for all seals of the directory.
	PassphraseFile string
	// Trust, when set, makes OpenRegistry refuse seals it does not vouch for, and
	// Sign refuse seals its status list names suspended or revoked.
	Trust *Trust
	// Profile names a local standard that the seals must keep, "" for none.
	Profile Profile
	// States, when set, tells the states of the seals it knows in the place of
	// status.json, as the register of seals (package seal/life) does. One that it
	// knows and that has no state, since it was never issued or is destroyed, is
	// not opened whatever lies in its directory.
	States func(id string) (state State, since time.Time, known bool)
	// Mode is the form of signatures, Modes that of single seals, by id.
	Mode  Mode
	Modes map[string]Mode
	// TimeStamps, when set, are put into every signature. They need a Trust.
	TimeStamps *TimeStamps
}

// Profile is a local standard that narrows which seals sign documents.
type Profile string

// ProfileDB37 is DB37/T 3448.1, which cites GM/T 0031-2014: seals of V1, and so
// signatures of V1. Such a seal is made with SealOrder.Version.
const ProfileDB37 Profile = "db37"

// admits returns why a seal of a version does not keep the profile.
func (p Profile) admits(v ses.Version) error {
	switch {
	case p == "" || p == ProfileDB37 && v == ses.V1:
		return nil
	case p == ProfileDB37:
		return fmt.Errorf("profile db37 needs a seal of GM/T 0031-2014, this one is of %s; have it made again in that version (请按 GM/T 0031-2014 重新制章)", v.Standard())
	}
	return fmt.Errorf("unknown profile %q; there is db37 (没有这个配置档)", string(p))
}

// Registry holds the seals of one directory, a sub-directory per seal named by the
// seal's id. It is safe for concurrent use; a Reload never delays a Sign.
type Registry struct {
	dir     string
	options RegistryOptions
	seals   atomic.Pointer[map[string]*held] // replaced as a whole, never changed
	reload  sync.Mutex
}

// held is one seal with its key.
type held struct {
	id      string
	seal    *ses.Seal
	maker   *smx509.Certificate
	cert    *smx509.Certificate
	above   []*smx509.Certificate // authorities between cert and its root
	key     *keystore.Key         // nil: kept elsewhere, as at the department
	state   sealState
	picture pdf.Picture
	source  source
	faulty  bool // what is in its directory now cannot be used

	hash *keystore.Beginnings // of its signatures
}

// source is what a seal was opened from.
type source struct {
	eseal, cert []byte
	key         string // "" without one
	keyInfo     os.FileInfo
}

// sealState is the content of status.json.
type sealState struct {
	State State     `json:"state"`
	Since time.Time `json:"since"`
}

// OpenRegistry reads all seals of a directory and checks each: strict format, the
// maker's signature, the key against the certificate, the certificate against the
// seal's list, validity periods that overlap. A seal that is merely expired or
// suspended is kept, since Sign refuses it by name; so is one whose key is not here
// (the department's front processor has it). Errors wrap ErrMaterial and name the file.
func OpenRegistry(dir string, o RegistryOptions) (*Registry, error) {
	if o.TimeStamps != nil && o.Trust == nil {
		return nil, fmt.Errorf("%w: time stamps need a trust directory to be verified with (使用时间戳须配置信任目录)", ErrMaterial)
	}
	for id, m := range o.Modes {
		if err := m.check(); err != nil {
			return nil, fmt.Errorf("%w: seal %s: %w", ErrMaterial, id, err)
		}
	}
	if err := o.Mode.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	r := &Registry{dir: dir, options: o}
	if err := r.Reload(); err != nil {
		return nil, err
	}
	return r, nil
}

// Reload reads the directory again. What it finds holds for every Sign that begins
// after it returns, with an error too: a seal that cannot be read any more is
// refused by Sign until it can.
func (r *Registry) Reload() error {
	r.reload.Lock()
	defer r.reload.Unlock()
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	old := r.held()
	seals := make(map[string]*held, len(entries))
	var faults []error
	for _, e := range entries {
		id := e.Name()
		if !e.IsDir() || strings.HasPrefix(id, ".") {
			continue
		}
		state, err := r.state(id)
		if state.State == "" && err == nil {
			continue
		}
		var h *held
		if err == nil {
			h, err = openSeal(filepath.Join(r.dir, id), r.options, old[id])
		}
		if err != nil {
			faults, h = append(faults, err), &held{faulty: true}
		}
		h.id, h.state = id, state
		seals[id] = h
	}
	r.seals.Store(&seals)
	return errors.Join(faults...)
}

func (r *Registry) held() map[string]*held {
	if m := r.seals.Load(); m != nil {
		return *m
	}
	return nil
}

// state is a seal's state by the register, or by its own file; "" for one that must not be opened.
func (r *Registry) state(id string) (s sealState, err error) {
	if r.options.States != nil {
		var known bool
		if s.State, s.Since, known = r.options.States(id); known {
			return s, nil
		}
	}
	path := filepath.Join(r.dir, id, statusName)
	if err := readState(path, &s); err != nil {
		return s, fmt.Errorf("%w: %s: %w", ErrMaterial, path, err)
	}
	return s, nil
}

// openSeal opens a seal, or returns a copy of old if nothing but its state can
// have changed: an encrypted key takes long to open.
func openSeal(dir string, o RegistryOptions, old *held) (*held, error) {
	fault := func(file string, err error) (*held, error) {
		return nil, fmt.Errorf("%w: %s: %w", ErrMaterial, filepath.Join(dir, file), err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, sealFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	h := &held{hash: &keystore.Beginnings{}}
	if h.cert, err = readCert(filepath.Join(dir, certFile)); err != nil {
		return nil, err
	}
	if h.source, err = sourceOf(dir, raw, h.cert); err != nil {
		return nil, err
	}
	if old != nil && h.source.same(old.source) {
		again := *old
		return &again, nil
	}
	if h.seal, err = ses.ParseSeal(raw); err != nil {
		return fault(sealFile, err)
	}
	if err := o.Profile.admits(h.seal.Version); err != nil {
		return fault(sealFile, err)
	}
	if h.maker, err = checkSeal(h.seal, o.Trust); err != nil {
		return fault(sealFile, err)
	}
	if h.picture, err = sealPicture(h.seal.Info.Picture); err != nil {
		return fault(sealFile, err)
	}
	if err := checkHolder(h.seal, h.cert, o.Trust); err != nil {
		return fault(certFile, err)
	}
	if oneKey(h.maker, h.cert) {
		return fault(sealFile, errSelfMade)
	}
	h.above = o.Trust.above(h.cert)
	if h.source.key == "" {
		return h, nil
	}
	if h.key, err = keystore.Open(h.source.key, o.PassphraseFile, h.cert.PublicKey.(*ecdsa.PublicKey)); err != nil { // readCert returns no other
		return nil, fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	return h, nil
}

func sourceOf(dir string, eseal []byte, cert *smx509.Certificate) (s source, err error) {
	s.eseal, s.cert = eseal, cert.Raw
	if s.key, err = keystore.Find(dir, keyID(cert)); err == nil {
		s.keyInfo, err = os.Stat(s.key)
	}
	if err != nil && !errors.Is(err, keystore.ErrNoKey) {
		return s, fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	return s, nil
}

func (s source) same(t source) bool {
	return t.keyInfo != nil && s.key == t.key && os.SameFile(s.keyInfo, t.keyInfo) && s.keyInfo.ModTime().Equal(t.keyInfo.ModTime()) &&
		bytes.Equal(s.eseal, t.eseal) && bytes.Equal(s.cert, t.cert)
}

// checkSeal judges a seal by itself, and its maker by trust when there is one. It
// returns the maker's certificate.
func checkSeal(s *ses.Seal, trust *Trust) (*smx509.Certificate, error) {
	if err := s.CheckFormat(); err != nil {
		return nil, err
	}
	maker, err := parseCert(s.MakerCert)
	if err != nil {
		return nil, fmt.Errorf("maker's certificate: %w", err)
	}
	if !s.Algorithm.Equal(ses.OIDSM2WithSM3) || !verifySM2(maker, s.Signed, s.Signature) {
		return nil, errors.New("the maker's signature does not fit the seal")
	}
	if trust != nil {
		if _, err := trust.maker(maker, s.Info.Property.Created); err != nil {
			return nil, fmt.Errorf("maker's certificate: %w", err)
		}
	}
	return maker, nil
}

func checkHolder(s *ses.Seal, cert *smx509.Certificate, trust *Trust) error {
	if in, err := inList(s, cert.Raw); err != nil || !in {
		return errors.New("is not in the seal's certificate list")
	}
	p := s.Info.Property
	if cert.NotAfter.Before(p.ValidStart) || p.ValidEnd.Before(cert.NotBefore) {
		return errors.New("its validity and the seal's never overlap")
	}
	if trust != nil {
		// Judged at the start of its validity: an expired certificate is Sign's matter.
		if _, err := trust.chain(cert, cert.NotBefore, forSigner); err != nil {
			return err
		}
	}
	return nil
}

// inList reports whether a certificate (DER) is in the seal's list. It fails for a
// digest list in which no entry has an algorithm known here.
func inList(s *ses.Seal, der []byte) (bool, error) {
	p := s.Info.Property
	if p.ListType == ses.Certificates {
		return slices.ContainsFunc(p.Certs, func(c []byte) bool { return bytes.Equal(c, der) }), nil
	}
	known := false
	for _, d := range p.Digests {
		if d.Type == "SM3" || d.Type == "1.2.156.10197.1.401" {
			known = true
			if bytes.Equal(d.Value, digest(der)) {
				return true, nil
			}
		}
	}
	if !known {
		return false, errors.New("the digest list uses no algorithm known here")
	}
	return false, nil
}

func readState(path string, s *sealState) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := strictJSON(raw, s); err != nil {
		return err
	}
	if !slices.Contains([]State{Issued, Suspended, Revoked}, s.State) {
		return errors.New("state is not issued, suspended or revoked")
	}
	return nil
}

// checkPicture tells whether sealPicture succeeds, without the picture's making.
func checkPicture(p ses.Picture) error {
	img, err := SealImage(p)
	if err != nil {
		return err
	}
	return pdf.CheckPicture(img.Bounds(), float64(p.Width), float64(p.Height))
}

func sealPicture(p ses.Picture) (pdf.Picture, error) {
	img, err := SealImage(p)
	if err != nil {
		return pdf.Picture{}, err
	}
	return pdf.NewPicture(img, float64(p.Width), float64(p.Height))
}

// SealDir is what WriteSealDir writes for one seal.
type SealDir struct {
	Seal       []byte // SESeal, DER
	Holder     Credential
	Passphrase []byte    // encrypts the key; nil leaves it plain, which production refuses
	Since      time.Time // when the seal was issued
}

// WriteSealDir makes the directory dir/id of a seal for OpenRegistry. It appears
// whole or not at all, and an existing one is never overwritten.
func WriteSealDir(dir, id string, s SealDir) error {
	if id == "" || id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return fmt.Errorf("seal: %q is not usable as a seal's id", id)
	}
	final := filepath.Join(dir, id)
	if _, err := os.Lstat(final); err == nil {
		return fmt.Errorf("seal: %s: %w", final, os.ErrExist)
	}
	temporary, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	defer os.RemoveAll(temporary) // nothing is left there after the rename
	if err := writeSealFiles(temporary, s); err != nil {
		return err
	}
	if err := os.Rename(temporary, final); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

func writeSealFiles(dir string, s SealDir) error {
	files, err := Files(s.Seal, s.Holder.Cert.Raw, Issued, s.Since)
	if err != nil {
		return err
	}
	if err := s.Holder.Key.WriteFile(filepath.Join(dir, keyFile), s.Passphrase); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return fmt.Errorf("seal: %w", err)
		}
	}
	return nil
}

// Files are the files of a seal's directory but for its key, by name. holder is the
// signing certificate in DER.
func Files(eseal, holder []byte, state State, since time.Time) (map[string][]byte, error) {
	parsed, err := ses.ParseSeal(eseal)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	img, err := SealImage(parsed.Info.Picture)
	if err != nil {
		return nil, err
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, img); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	status, err := json.Marshal(sealState{state, since.UTC()})
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: holder})
	return map[string][]byte{sealFile: eseal, certFile: cert, pictureFile: picture.Bytes(), statusName: append(status, '\n')}, nil
}

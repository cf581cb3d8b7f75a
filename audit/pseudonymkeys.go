package audit

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Pseudonyms turns numbers into the pseudonyms that entries carry:
//
//	P = first 16 bytes of HMAC-SM3(K[type, quarter], normalised number)
//
// Every K is random and lies in a file of its own, <type>-<epoch>.key, so
// that destroying it unlinks that quarter for ever (Destroy). An epoch is a
// quarter, unless an emergency has opened further ones in it (Rotate). The directory must be
// another one than the log's and readable by this process only; the log's
// readers have no need of it. Old quarters are never keyed again.
//
// At rest each K is encrypted to the key encryption key, so that a copy of the
// directory, as on a backup, gives nothing: see OpenProtectedPseudonyms.
type Pseudonyms struct {
	dir  string
	wrap *KeyWrap // nil: files are in clear

	proof    func(KeyStep) error // see Believe
	proving  sync.Mutex
	believed map[string]KeyStep // by the name and the text of its file

	mu     sync.Mutex
	keys   map[keyName][]byte // those that entries are being written with
	seen   layout
	looked time.Time
}

// KeyWrap encrypts keys at rest to a key encryption key; pseudod.Wrap makes one.
// It is two functions so that who only verifies a log need not read, or link, any
// encryption. What is wrapped is the file's name without ".key", a newline, and
// the key.
type KeyWrap struct {
	Seal func(text []byte) (string, error)   // a compact JWE
	Open func(sealed string) ([]byte, error) // errors say what to do, in both languages
}

// pseudonymKeySize in bytes.
const pseudonymKeySize = 32

var (
	// ErrKeysPlain is returned for keys in clear where they have to be encrypted.
	ErrKeysPlain = errors.New("假名密钥未加密，请先运行 gateway pseudod protect / pseudonym keys are not encrypted: run gateway pseudod protect first")
	// ErrKeysProtected is returned for encrypted keys where nothing decrypts them.
	ErrKeysProtected = errors.New("假名密钥已加密，请在配置中给出其保护密钥 / pseudonym keys are encrypted: name the key that protects them in the configuration")
)

// OpenPseudonyms uses the directory, making it (mode 0700) if missing. Keys are
// in clear: for a demo. Errors: ErrKeysProtected, or the directory's.
func OpenPseudonyms(dir string) (*Pseudonyms, error) {
	return pseudonymsIn(dir, nil)
}

// OpenProtectedPseudonyms is OpenPseudonyms with encrypted keys. Every key is
// tried: one that is damaged, or that another key protects, is noticed now.
// Errors: ErrKeysPlain besides.
func OpenProtectedPseudonyms(dir string, wrap KeyWrap) (*Pseudonyms, error) {
	return pseudonymsIn(dir, &wrap)
}

func pseudonymsIn(dir string, wrap *KeyWrap) (*Pseudonyms, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: pseudonym keys: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("audit: pseudonym keys: %w", err)
	}
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("audit: pseudonym keys: %s: 密钥目录只可由属主读写，请 chmod 700 / directory must be its owner's only (chmod 700)", dir)
	}
	p := &Pseudonyms{dir: dir, wrap: wrap}
	l, err := p.list()
	if err != nil {
		return nil, err
	}
	for _, n := range l.keys {
		if slices.Contains(l.destroyed, EpochQuarter(n.epoch)) {
			continue // half destroyed, perhaps
		}
		k, err := p.read(n)
		if err != nil {
			return nil, err
		}
		clear(k)
	}
	return p, nil
}

// keyName names a key and its file.
type keyName struct{ kind, epoch string }

func (n keyName) String() string { return n.kind + "-" + n.epoch }

var pseudonymFile = regexp.MustCompile(`^([a-z-]{1,32})-([0-9]{4}q[1-4](?:-[2-9])?)\.key$`)

func (p *Pseudonyms) path(n keyName) string { return filepath.Join(p.dir, n.String()+".key") }

// lookAgain is how soon a step that another process has taken holds in this one.
const lookAgain = time.Second

// present is the key that entries of a quarter are being written with, made if
// missing, and its epoch.
func (p *Pseudonyms) present(kind, quarter string) (key []byte, epoch string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.looked.IsZero() || time.Since(p.looked) > lookAgain {
		if p.seen, err = p.layout(); err != nil {
			return nil, "", err
		}
		p.looked, p.keys = time.Now(), make(map[keyName][]byte)
	}
	if slices.Contains(p.seen.destroyed, quarter) {
		return nil, "", fmt.Errorf("%w: %s", ErrKeysDestroyed, quarter)
	}
	n := keyName{kind, p.seen.epoch(quarter)}
	if k := p.keys[n]; k != nil {
		return k, n.epoch, nil
	}
	k, err := p.read(n)
	if errors.Is(err, fs.ErrNotExist) {
		if err := p.make(n); err != nil {
			return nil, "", fmt.Errorf("audit: making pseudonym key %s: %w", n, err)
		}
		k, err = p.read(n)
	}
	if err != nil {
		return nil, "", err
	}
	p.keys[n] = k
	return k, n.epoch, nil
}

// read opens a key's file.
func (p *Pseudonyms) read(n keyName) ([]byte, error) {
	text, err := readPrivate(p.path(n))
	if err != nil {
		return nil, fmt.Errorf("audit: pseudonym key %s: %w", n, err)
	}
	defer clear(text)
	k, err := p.open(n, text)
	if err != nil {
		return nil, fmt.Errorf("audit: pseudonym key %s: %w", n, err)
	}
	return k, nil
}

func (p *Pseudonyms) open(n keyName, text []byte) ([]byte, error) {
	k, plain := plainKey(text)
	switch {
	case plain && p.wrap == nil:
		return k, nil
	case plain:
		clear(k)
		return nil, ErrKeysPlain
	case !bytes.HasPrefix(text, []byte("ey")): // no JWE either
		return nil, fmt.Errorf("密钥文件已损坏 / the file does not hold a key of %d bytes", pseudonymKeySize)
	case p.wrap == nil:
		return nil, ErrKeysProtected
	}
	opened, err := p.wrap.Open(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		return nil, err
	}
	k, right := bytes.CutPrefix(opened, []byte(n.String()+"\n"))
	if !right || len(k) != pseudonymKeySize {
		clear(opened)
		return nil, errors.New("文件里是另一把密钥，文件名被改过 / it holds another key: the file was renamed")
	}
	return k, nil
}

// encode is a key as its file holds it.
func (p *Pseudonyms) encode(n keyName, k []byte) ([]byte, error) {
	if p.wrap == nil {
		return []byte(hex.EncodeToString(k) + "\n"), nil
	}
	text := append([]byte(n.String()+"\n"), k...)
	defer clear(text)
	sealed, err := p.wrap.Seal(text)
	return []byte(sealed + "\n"), err
}

// plainKey reads 64 lower hex digits and a newline.
func plainKey(text []byte) ([]byte, bool) {
	k := make([]byte, pseudonymKeySize)
	digits := bytes.TrimSuffix(text, []byte("\n"))
	if len(digits) != hex.EncodedLen(len(k)) {
		return nil, false
	}
	_, err := hex.Decode(k, digits)
	return k, err == nil
}

// readPrivate reads a file that is its owner's only.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, errors.New("密钥文件只可由属主读写，请 chmod 600 / file must be readable by its owner only (chmod 600)")
	}
	return os.ReadFile(path)
}

// make makes a key's file unless another process has just done so. It is whole
// and on disk before it gets its name, since a key that was used and then lost
// would leave pseudonyms that nobody can search for.
func (p *Pseudonyms) make(n keyName) error {
	return p.locked(func() error {
		l, err := p.list()
		if err != nil {
			return err
		}
		if slices.Contains(l.destroyed, EpochQuarter(n.epoch)) {
			return ErrKeysDestroyed
		}
		if _, err := os.Stat(p.path(n)); !errors.Is(err, fs.ErrNotExist) {
			return err // made meanwhile, or unreadable
		}
		k := make([]byte, pseudonymKeySize)
		defer clear(k)
		rand.Read(k) // never fails (crypto/rand, Go 1.24)
		return p.write(n, k)
	})
}

// write puts a key's file in the place of any before it. The caller holds the lock.
func (p *Pseudonyms) write(n keyName, k []byte) error {
	text, err := p.encode(n, k)
	if err != nil {
		return err
	}
	return ReplaceFile(p.path(n), text)
}

// locked does something to the directory that no other process does meanwhile.
func (p *Pseudonyms) locked(do func() error) (err error) {
	lock, err := os.OpenFile(filepath.Join(p.dir, nameLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	return do()
}

// ProtectPseudonyms encrypts the keys of a directory that are in clear, and tells
// how many. Those that are encrypted already stay as they are, so that it
// can be done again if it was cut short. What lay in clear on the disk may be
// found there, and on backups, for as long as nothing has taken its place.
func ProtectPseudonyms(dir string, wrap KeyWrap) (protected int, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, fmt.Errorf("audit: pseudonym keys: %w", err)
	}
	if !info.IsDir() {
		return 0, fmt.Errorf("audit: pseudonym keys: %s is no directory", dir)
	}
	p := &Pseudonyms{dir: dir, wrap: &wrap}
	err = p.locked(func() error {
		l, err := p.list()
		if err != nil {
			return err
		}
		for _, n := range l.keys {
			text, err := readPrivate(p.path(n))
			if err != nil {
				return fmt.Errorf("audit: pseudonym key %s: %w", n, err)
			}
			k, plain := plainKey(text)
			clear(text)
			if !plain {
				continue
			}
			err = p.write(n, k)
			clear(k)
			if err != nil {
				return fmt.Errorf("audit: pseudonym key %s: %w", n, err)
			}
			protected++
		}
		return nil
	})
	return protected, err
}

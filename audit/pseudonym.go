package audit

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/emmansun/gmsm/sm3"
)

// Types of subjects.
const (
	SubjectIDNumber  = "idno"         // an ID number whose check digit holds
	SubjectIDInvalid = "idno-invalid" // something else in an ID number's place
	SubjectUSCC      = "uscc"         // unified social credit code
	SubjectPhone     = "phone"
)

// ErrNumber is returned for what no pseudonym is made of.
var ErrNumber = errors.New("audit: pseudonym: not a number that can have one")

// pseudonymKeySize in bytes.
const pseudonymKeySize = 32

// SubjectNamer computes what entries of the quarter of a moment call a number:
// Pseudonyms in this process, or the client of a service that alone has the keys.
// Without an answer there is no record, and so no business.
type SubjectNamer interface {
	Of(idType, number string, at time.Time) (SubjectRef, error)
}

// Pseudonyms turns numbers into the pseudonyms that entries carry:
//
//	P = first 16 bytes of HMAC-SM3(K[type, quarter], normalised number)
//
// Every K is random and lies in a file of its own, <type>-<quarter>.key, so
// that destroying it unlinks that quarter for ever. The directory must be
// another one than the log's and readable by this process only; the log's
// readers have no need of it. Old quarters are never keyed again.
type Pseudonyms struct {
	dir string

	mu   sync.Mutex
	keys map[string][]byte
}

// OpenPseudonyms uses the directory, making it (mode 0700) if missing.
func OpenPseudonyms(dir string) (*Pseudonyms, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: pseudonym keys: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("audit: pseudonym keys: %w", err)
	}
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("audit: pseudonym keys: directory must be readable by its owner only (chmod 700)")
	}
	return &Pseudonyms{dir: dir, keys: make(map[string][]byte)}, nil
}

// Of is the pseudonym of a number in the quarter (UTC+8) of a moment. idType
// is SubjectIDNumber, which a three-digit document type code ("111") and ""
// stand for as well, SubjectUSCC, SubjectPhone, or another lower-case word.
// An ID number that does not hold gets SubjectIDInvalid. Role is left empty.
func (p *Pseudonyms) Of(idType, number string, at time.Time) (SubjectRef, error) {
	kind, norm, err := normalise(idType, number)
	if err != nil {
		return SubjectRef{}, err
	}
	epoch := Quarter(at)
	key, err := p.key(kind + "-" + epoch)
	if err != nil {
		return SubjectRef{}, err
	}
	mac := hmac.New(func() hash.Hash { return sm3.New() }, key)
	mac.Write([]byte(norm))
	return SubjectRef{Type: kind, Epoch: epoch, P: base64.StdEncoding.EncodeToString(mac.Sum(nil)[:16])}, nil
}

func (p *Pseudonyms) key(name string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.keys[name]; k != nil {
		return k, nil
	}
	path := filepath.Join(p.dir, name+".key")
	k, err := readPseudonymKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makePseudonymKey(path); err != nil {
			return nil, fmt.Errorf("audit: making pseudonym key %s: %w", name, err)
		}
		k, err = readPseudonymKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("audit: pseudonym key %s: %w", name, err)
	}
	p.keys[name] = k
	return k, nil
}

// readPseudonymKey reads a file of 64 lower hex digits and a newline.
func readPseudonymKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("file must be readable by its owner only (chmod 600)")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k, err := hex.DecodeString(strings.TrimSuffix(string(b), "\n"))
	if err != nil || len(k) != pseudonymKeySize {
		return nil, fmt.Errorf("file does not hold a key of %d bytes in hex", pseudonymKeySize)
	}
	return k, nil
}

// makePseudonymKey makes the file unless another process has just done so.
// It is whole and on disk before it gets its name, since a key that was used
// and then lost would leave pseudonyms that nobody can search for.
func makePseudonymKey(path string) (err error) {
	dir := filepath.Dir(path)
	lock, err := os.OpenFile(filepath.Join(dir, nameLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err // made meanwhile, or unreadable
	}
	k := make([]byte, pseudonymKeySize)
	rand.Read(k)
	if err := writeWhole(osFiles{}, path, []byte(hex.EncodeToString(k)+"\n")); err != nil {
		return err
	}
	return osFiles{}.SyncDir(dir)
}

// normalise brings a number to the one spelling that is hashed.
func normalise(idType, number string) (kind, norm string, err error) {
	if idType == "" || len(idType) == 3 && strings.Trim(idType, "0123456789") == "" {
		idType = SubjectIDNumber
	}
	if len(idType) > 32 || strings.Trim(idType, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "", "", fmt.Errorf("%w: bad subject type", ErrNumber)
	}
	norm = strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '\t' || r == '\u3000':
			return -1
		case r >= '！' && r <= '～': // full width
			r -= '！' - '!'
		}
		if r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, number)
	if norm == "" {
		return "", "", fmt.Errorf("%w: empty", ErrNumber)
	}
	if idType != SubjectIDNumber {
		return idType, norm, nil
	}
	if len(norm) == 15 && strings.Trim(norm, "0123456789") == "" {
		norm = norm[:6] + "19" + norm[6:]
		norm += string(checkDigit(norm))
	}
	if validIDNumber(norm) {
		return SubjectIDNumber, norm, nil
	}
	return SubjectIDInvalid, norm, nil
}

// validIDNumber accepts 18 characters whose GB 11643 check digit holds, and
// the 15-character number of a foreigner's permanent residence card of 2017
// (three letters, twelve digits).
func validIDNumber(s string) bool {
	switch len(s) {
	case 18:
		return strings.Trim(s[:17], "0123456789") == "" && s[17] == checkDigit(s)
	case 15:
		return strings.Trim(s[:3], "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" && strings.Trim(s[3:], "0123456789") == ""
	}
	return false
}

// checkDigit is ISO 7064 MOD 11-2 over the first 17 digits (GB 11643-1999).
func checkDigit(s string) byte {
	sum := 0
	for i := range 17 {
		sum += int(s[i]-'0') << (17 - i) % 11
	}
	return "10X98765432"[sum%11]
}

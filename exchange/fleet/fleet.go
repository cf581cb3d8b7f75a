// Package fleet holds the keys that all gateways share for what outlives one
// process: the answers to deferred questions, which any gateway may have to
// open, and what is remembered of an exchange so that any gateway can go on
// with it.
//
// Keys live in a directory that every gateway can read and write, one file a
// UTC day ("2026-11-22.pem", SM2, PKCS#8), made by whichever gateway needs it
// first. A file appears whole or not at all and is never changed. When its last
// use is over the file is deleted, and with it everything that was sealed to it
// is lost for good, wherever copies of it may be.
//
// Each file gives two keys: the SM2 pair, to whose public half fronts seal, and
// a symmetric one derived from it, HMAC-SM3(d, "yizheng-fleet-v1") cut to 16
// bytes, under which gateways seal to each other (package jose, alg "dir").
// Both go by the SM2 key's id.
package fleet

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/identity/jose"
)

// Config says where the keys are.
type Config struct {
	Dir string // made if it is not there
	// Passphrase is the file with the passphrase that protects the keys; empty:
	// they are plain.
	Passphrase string
	// Keep is how long after its day a key may still be needed: the longest time
	// a department may take, and as long as its result can be fetched.
	Keep time.Duration
}

// Keys is safe for concurrent use.
type Keys struct {
	c Config // Dir is empty for keys in memory

	mu     sync.Mutex
	byDay  map[string]*jose.Key
	byID   map[string]*jose.Key
	looked time.Time // when the directory was last read
}

// Open reads the directory. It makes no key yet.
func Open(c Config) (*Keys, error) {
	if c.Dir == "" || c.Keep <= 0 {
		return nil, errors.New("fleet keys: a directory and how long to keep keys are needed")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("fleet keys: %w", err)
	}
	k := &Keys{c: c, byDay: make(map[string]*jose.Key), byID: make(map[string]*jose.Key)}
	return k, k.read()
}

// InMemory are keys that die with the process: for one gateway alone.
func InMemory() *Keys {
	return &Keys{byDay: make(map[string]*jose.Key), byID: make(map[string]*jose.Key)}
}

var fileName = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2})\.pem$`)

// read adds the keys that are not known yet. The caller holds mu, or is alone.
func (k *Keys) read() error {
	entries, err := os.ReadDir(k.c.Dir)
	if err != nil {
		return fmt.Errorf("fleet keys: %w", err)
	}
	for _, e := range entries {
		m := fileName.FindStringSubmatch(e.Name())
		if m == nil || k.byDay[m[1]] != nil {
			continue
		}
		key, err := jose.ReadKey(filepath.Join(k.c.Dir, e.Name()), k.c.Passphrase)
		if errors.Is(err, fs.ErrNotExist) { // swept meanwhile
			continue
		}
		if err != nil {
			return fmt.Errorf("fleet keys: %s: %w", e.Name(), err)
		}
		k.byDay[m[1]], k.byID[key.ID()] = key, key
	}
	return nil
}

// Current returns the key of the day now lies in, and makes it if nobody has.
func (k *Keys) Current(now time.Time) (*jose.Key, error) {
	day := now.UTC().Format(time.DateOnly)
	k.mu.Lock()
	defer k.mu.Unlock()
	if key := k.byDay[day]; key != nil {
		return key, nil
	}
	if k.c.Dir != "" {
		if err := k.publish(day); err != nil {
			return nil, err
		}
		if err := k.read(); err != nil {
			return nil, err
		}
		if key := k.byDay[day]; key != nil {
			return key, nil
		}
		return nil, errors.New("fleet keys: today's key vanished")
	}
	key, err := jose.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("fleet keys: %w", err)
	}
	k.byDay[day], k.byID[key.ID()] = key, key
	return key, nil
}

// publish makes a day's file. Of several gateways that do so at once one wins,
// and the others read its key: a link, unlike a rename, replaces nothing.
func (k *Keys) publish(day string) error {
	key, err := jose.GenerateKey()
	if err != nil {
		return fmt.Errorf("fleet keys: %w", err)
	}
	passphrase, err := k.passphrase()
	if err != nil {
		return err
	}
	private, err := os.MkdirTemp(k.c.Dir, ".new-")
	if err != nil {
		return fmt.Errorf("fleet keys: %w", err)
	}
	defer os.RemoveAll(private)
	made := filepath.Join(private, "key.pem")
	if err := key.WriteFile(made, passphrase); err != nil {
		return fmt.Errorf("fleet keys: %w", err)
	}
	if err := syncFile(made); err != nil {
		return fmt.Errorf("fleet keys: %w", err)
	}
	if err := os.Link(made, filepath.Join(k.c.Dir, day+".pem")); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("fleet keys: %w", err)
	}
	return syncFile(k.c.Dir)
}

func (k *Keys) passphrase() ([]byte, error) {
	if k.c.Passphrase == "" {
		return nil, nil
	}
	b, err := os.ReadFile(k.c.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("fleet keys: passphrase: %w", err)
	}
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b, nil
}

// syncFile makes a file or directory durable: what is sealed to a key must not
// outlive it in a crash.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lookAgain is the least time between two looks for a key that is not known.
const lookAgain = time.Second

// Find returns the key with this id, or nil. Another gateway may have made it a
// moment ago.
func (k *Keys) Find(keyID string) *jose.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key := k.byID[keyID]; key != nil || k.c.Dir == "" || time.Since(k.looked) < lookAgain {
		return key
	}
	k.looked = time.Now()
	if err := k.read(); err != nil {
		return nil
	}
	return k.byID[keyID]
}

// Look reads the directory again, whenever that was done last.
func (k *Keys) Look() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.c.Dir == "" {
		return nil
	}
	return k.read()
}

// Today returns the symmetric key of the day now lies in, and its id.
func (k *Keys) Today(now time.Time) (keyID string, key []byte, err error) {
	pair, err := k.Current(now)
	if err != nil {
		return "", nil, err
	}
	return pair.ID(), derived(pair), nil
}

// Seal encrypts for any gateway of the fleet, as a compact JWE of type typ.
func (k *Keys) Seal(now time.Time, typ string, plain []byte) (string, error) {
	id, key, err := k.Today(now)
	if err != nil {
		return "", err
	}
	return jose.EncryptDirect(key, id, typ, plain)
}

// Open decrypts what a gateway of the fleet has sealed.
func (k *Keys) Open(typ, token string) ([]byte, error) {
	return jose.DecryptDirect(k.Symmetric, typ, token)
}

// Symmetric returns the symmetric key that goes by this id, or nil.
func (k *Keys) Symmetric(keyID string) []byte {
	if key := k.Find(keyID); key != nil {
		return derived(key)
	}
	return nil
}

func derived(key *jose.Key) []byte {
	m := hmac.New(sm3.New, key.SM2().D.FillBytes(make([]byte, 32)))
	m.Write([]byte("yizheng-fleet-v1"))
	return m.Sum(nil)[:16]
}

// Sweep deletes the keys whose last use is over.
func (k *Keys) Sweep(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for day, key := range k.byDay {
		began, err := time.Parse(time.DateOnly, day)
		if err != nil || now.Before(began.Add(48*time.Hour).Add(k.c.Keep)) || k.c.Dir == "" { // its day, and a day for clocks that differ
			continue
		}
		if err := os.Remove(filepath.Join(k.c.Dir, day+".pem")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("fleet keys: %w", err))
			continue
		}
		delete(k.byDay, day)
		delete(k.byID, key.ID())
	}
	return errors.Join(errs...)
}

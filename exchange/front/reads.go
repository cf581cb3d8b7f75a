package front

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emmansun/gmsm/sm3"
)

// reads remembers which exchange each card read was used for. With a file it
// remembers across restarts, which a front must whose department may take days:
// what is kept are digests of challenge nonces, which are random and need no
// key, one line each, durable before a question is asked on its strength:
//
//	yz-reads-1
//	<32 hex: SM3("yizheng-read-v1" 0x0A nonce), cut> <32 hex: the same of nonce, 0x0A, exchange> <until, ms since 1970>
//
// A deferred question has a second line with nonce, 0x0A, leg digest in place of
// nonce: this question came when the read was fresh.
//
// A last line without its end is one whose question was not asked; it is cut off.
type reads struct {
	mu    sync.Mutex
	used  map[string]use // by digest of the nonce
	file  appender       // nil: memory only
	torn  bool           // the file's end is not known; it has to be rewritten
	path  string
	lines int // in the file
	swept time.Time
}

// appender is the open file.
type appender interface {
	io.StringWriter
	Sync() error
	Close() error
}

type use struct {
	exchange string // digest
	until    time.Time
}

const readsHead = "yz-reads-1"

func openReads(path string, now time.Time) (*reads, error) {
	r := &reads{used: make(map[string]use), path: path, swept: now}
	if path == "" {
		return r, nil
	}
	if err := r.load(now); err != nil {
		return nil, fmt.Errorf("used card reads: %w", err)
	}
	if err := r.rewrite(); err != nil {
		return nil, fmt.Errorf("used card reads: %w", err)
	}
	return r, nil
}

func (r *reads) load(now time.Time) error {
	raw, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := strings.SplitAfter(string(raw), "\n")
	if lines[0] != readsHead+"\n" {
		return fmt.Errorf("%s is no such file", filepath.Base(r.path))
	}
	for i, line := range lines[1:] {
		line, whole := strings.CutSuffix(line, "\n")
		if !whole { // the last one
			break
		}
		nonce, u, ok := parseUse(line)
		if !ok {
			return fmt.Errorf("%s, line %d is damaged", filepath.Base(r.path), i+2)
		}
		if now.Before(u.until) {
			r.used[nonce] = u
		}
	}
	return nil
}

func parseUse(line string) (nonce string, u use, ok bool) {
	f := strings.Split(line, " ")
	if len(f) != 3 || len(f[0]) != 32 || len(f[1]) != 32 {
		return "", u, false
	}
	_, errNonce := hex.DecodeString(f[0])
	_, errExchange := hex.DecodeString(f[1])
	until, errUntil := strconv.ParseInt(f[2], 10, 64)
	return f[0], use{f[1], time.UnixMilli(until)}, errors.Join(errNonce, errExchange, errUntil) == nil
}

func useLine(nonce string, u use) string {
	return nonce + " " + u.exchange + " " + strconv.FormatInt(u.until.UnixMilli(), 10) + "\n"
}

// rewrite replaces the file by one of what still counts. The caller holds mu, or is alone.
func (r *reads) rewrite() error {
	var b strings.Builder
	b.WriteString(readsHead + "\n")
	for nonce, u := range r.used {
		b.WriteString(useLine(nonce, u))
	}
	next, err := os.OpenFile(r.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = next.WriteString(b.String())
	if err = errors.Join(err, next.Sync()); err == nil {
		err = os.Rename(next.Name(), r.path)
	}
	if err != nil {
		return errors.Join(err, next.Close())
	}
	if r.file != nil {
		r.file.Close()
	}
	r.file, r.lines = next, len(r.used)
	dir, err := os.Open(filepath.Dir(r.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (r *reads) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

var errUsed = errors.New("card read was used for another exchange")

const sweepEvery = time.Minute

// take uses a card read for an exchange, or returns errUsed. Any other error
// means that it could not be remembered.
func (r *reads) take(nonce, exchange string, now, until time.Time) error {
	id, of := readDigest(nonce), readDigest(nonce+"\n"+exchange)
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.swept) > sweepEvery {
		if err := r.sweep(now); err != nil {
			return err
		}
	}
	u, known := r.used[id]
	switch {
	case known && u.exchange != of:
		return errUsed
	case known && !u.until.Before(until.Add(-sweepEvery)): // a second leg need not be written again
		return nil
	}
	u = use{of, until}
	if err := r.keep(useLine(id, u)); err != nil {
		return err
	}
	r.used[id] = u
	return nil
}

// keep makes a line durable. After a failure nobody knows how much of it is in
// the file, to which the next one would be glued: that one needs a new file.
func (r *reads) keep(line string) error {
	if r.file == nil {
		return nil
	}
	if r.torn {
		if err := r.rewrite(); err != nil {
			return err
		}
	}
	_, err := r.file.WriteString(line)
	if err == nil {
		err = r.file.Sync()
	}
	if r.torn = err != nil; !r.torn {
		r.lines++
	}
	return err
}

// knows reports whether a card read was used for an exchange.
func (r *reads) knows(nonce, exchange string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used[readDigest(nonce)].exchange == readDigest(nonce+"\n"+exchange)
}

// sweep forgets what is over, and shrinks the file when most of it is.
func (r *reads) sweep(now time.Time) error {
	for id, u := range r.used {
		if now.After(u.until) {
			delete(r.used, id)
		}
	}
	r.swept = now
	if r.file == nil || r.lines < 1000 || r.lines < 2*len(r.used) {
		return nil
	}
	return r.rewrite()
}

func readDigest(s string) string {
	d := sm3.Sum([]byte("yizheng-read-v1\n" + s))
	return hex.EncodeToString(d[:16])
}

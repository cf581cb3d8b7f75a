package assembly

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
)

// Archives are the sealed quarters below a log's directory. Each is opened once,
// by whoever needs it first, for all that read it: documents' status, the index,
// the replica. They hold no file open.
type Archives struct {
	dir  string
	keys []*ecdsa.PublicKey

	mu   sync.Mutex // one is opened after the other
	open map[string]*audit.Archive
}

// NewArchives are those below dir, under the log's pinned keys. Nothing is read yet.
func NewArchives(dir string, keys ...*ecdsa.PublicKey) *Archives {
	return &Archives{dir: dir, keys: keys, open: map[string]*audit.Archive{}}
}

// Before lists the quarters before another, oldest first, opened or not.
func (a *Archives) Before(quarter string) ([]string, error) {
	names, err := auditor.Shards(a.dir)
	if err != nil {
		return nil, err
	}
	for i, name := range names { // ascending
		if name >= quarter {
			return names[:i], nil
		}
	}
	return names, nil
}

// Open is the archive of a quarter. One that cannot be opened is tried again
// when it is asked for again.
func (a *Archives) Open(ctx context.Context, quarter string) (*audit.Archive, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if have := a.open[quarter]; have != nil {
		return have, nil
	}
	opened, err := audit.OpenArchive(ctx, filepath.Join(a.dir, quarter), a.keys...)
	if err != nil {
		return nil, err
	}
	a.open[quarter] = opened
	return opened, nil
}

// issuedFor is how long the documents of earlier quarters can still be looked
// up: longer than any document is valid.
const issuedFor = 400 * 24 * time.Hour

// Valid opens the sealed quarters before the present one whose documents may
// still be valid, oldest first.
func (a *Archives) Valid(ctx context.Context, now time.Time) ([]*audit.Archive, error) {
	quarter := audit.Quarter(now)
	names, err := a.Before(quarter + "~") // behind all epochs of the quarter
	if err != nil {
		return nil, err
	}
	if n := len(names); n > 0 && audit.EpochQuarter(names[n-1]) == quarter { // which is being written
		names = names[:n-1]
	}
	var list []*audit.Archive
	for _, name := range names {
		if name < audit.Quarter(now.Add(-issuedFor)) {
			continue
		}
		one, err := a.Open(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("%s 季度的审计日志读不了，请先用 gateway audit verify 查明 / the audit log of %s cannot be read, see gateway audit verify: %w", name, name, err)
		}
		list = append(list, one)
	}
	return list, nil
}

package seal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"yizheng/seal/revocation"
)

// ErrListWentBack is returned for a status list that is older than one that was
// read before: somebody has put it back, or taken the newer one away.
var ErrListWentBack = errors.New("seal: status list is older than one seen before (印章状态表比已见过的旧，可能被回退)")

// statusLists are the newest lists by the maker's key id.
type statusLists struct {
	lists atomic.Pointer[map[string]*StatusList]
}

func (s *statusLists) of(kid string) *StatusList {
	if m := s.lists.Load(); m != nil {
		return (*m)[kid]
	}
	return nil
}

// ReloadStatus reads the status lists of the trust directory again. What it reads
// holds for everything that begins after it returns. A list never makes place for
// an older one or for none: the newest stays, and the error says so.
// Errors wrap ErrMaterial, and ErrListWentBack where that is the reason.
func (t *Trust) ReloadStatus() error {
	files, err := filepath.Glob(filepath.Join(t.dir, "seals-status*.json"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	fresh := map[string]*StatusList{}
	var faults []error
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err == nil {
			err = t.addStatus(fresh, raw)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%w: %s: %w", ErrMaterial, path, err))
		}
	}
	if old := t.status.lists.Load(); old != nil {
		for kid, l := range *old {
			if f := fresh[kid]; f == nil || l.newer(f) {
				faults = append(faults, fmt.Errorf("%w: %s: number %d: %w", ErrMaterial, t.dir, l.Number, ErrListWentBack))
				fresh[kid] = l
			}
		}
	}
	t.status.lists.Store(&fresh)
	return errors.Join(faults...)
}

// addStatus keeps the newest list of a pinned maker.
func (t *Trust) addStatus(lists map[string]*StatusList, raw []byte) error {
	list, maker, err := parseStatusList(raw)
	if err != nil {
		return err
	}
	issuer, err := t.maker(maker, list.Issued)
	if err != nil {
		return fmt.Errorf("its signer: %w", err)
	}
	if t.revocations.Known(maker, issuer, list.Issued, list.Issued).State == revocation.Revoked {
		return errors.New("its signer: certificate revoked")
	}
	id := keyID(maker)
	if old := lists[id]; old == nil || list.newer(old) {
		lists[id] = list
	}
	return nil
}

// StatusLists are the newest lists by the key id of their makers.
func (t *Trust) StatusLists() map[string]StatusList {
	out := map[string]StatusList{}
	if m := t.status.lists.Load(); m != nil {
		for kid, l := range *m {
			out[kid] = *l
		}
	}
	return out
}

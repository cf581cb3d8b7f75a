package seal

import "sync"

// recent remembers results by the bytes they came from: a city has few signers and
// seals, and each of its documents names the same ones. The zero value is ready. It
// is bounded, since strangers' documents may name any number of them.
type recent[T any] struct {
	mu   sync.Mutex
	kept map[string]T
}

// maxRecent bounds one memory, maxRemembered the bytes of one key.
const (
	maxRecent     = 1024
	maxRemembered = 64 << 10
)

func (r *recent[T]) find(key []byte) (T, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.kept[string(key)]
	return v, ok
}

func (r *recent[T]) keep(key []byte, v T) {
	if len(key) > maxRemembered {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept == nil || len(r.kept) >= maxRecent {
		r.kept = map[string]T{}
	}
	r.kept[string(key)] = v
}

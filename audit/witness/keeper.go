package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"yizheng/audit"
)

// Peer is a witness as a log knows it.
type Peer struct {
	URL string // https://witness.audit.example.gov.cn
	audit.WitnessKey
	HTTP *http.Client
}

// KeeperConfig says who witnesses a log and what happens when they do not.
type KeeperConfig struct {
	Log   *audit.Log // and the shards that it turns to
	Peers []Peer
	// Need is how many cosignatures make a head a witnessed one. 0: all.
	Need int
	// MaxUnwitnessed is how long entries may go without being under a witnessed
	// head before the log takes no business any more. Default 4 hours.
	MaxUnwitnessed time.Duration
	// MaxEntries is how many may. Default: any number.
	MaxEntries uint64
	// Every is the time between two heads shown. Default 10 s, or a quarter of
	// MaxUnwitnessed if that is less.
	Every time.Duration
	// File gets the last witnessed checkpoint, for auditors and for the next
	// start: entries do not become younger by a restart.
	File   string
	Now    func() time.Time
	Logger *slog.Logger
}

// Keeper shows a log's heads to its witnesses.
type Keeper struct {
	KeeperConfig
	shard string   // that is shown
	sizes []uint64 // what each peer has cosigned of it last, as far as known
	met   bool     // enough peers have cosigned a head of it since the start

	mu     sync.Mutex
	seen   audit.SignedHead // last witnessed head, with its cosignatures
	since  time.Time        // when the first entry beyond seen was first noticed; zero: none
	forked error            // ErrForked, once and for all
}

// NewKeeper makes a Keeper.
func NewKeeper(c KeeperConfig) (*Keeper, error) {
	if c.Need == 0 {
		c.Need = len(c.Peers)
	}
	if c.Need < 1 || c.Need > len(c.Peers) {
		return nil, fmt.Errorf("witness: %d of %d witnesses needed", c.Need, len(c.Peers))
	}
	names := make(map[string]bool)
	for _, p := range c.Peers {
		if names[p.Name] {
			return nil, fmt.Errorf("witness: %s is named twice", p.Name)
		}
		names[p.Name] = true
	}
	if c.MaxUnwitnessed <= 0 {
		c.MaxUnwitnessed = 4 * time.Hour
	}
	if c.Every <= 0 {
		c.Every = min(10*time.Second, c.MaxUnwitnessed/4)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{KeeperConfig: c, sizes: make([]uint64, len(c.Peers))}, nil
}

// Begin holds the log against the checkpoint in File and shows the present head
// once, before anything is released. It fails with ErrForked; a witness that
// cannot be reached is no failure yet.
func (k *Keeper) Begin(ctx context.Context) error {
	if err := k.remember(ctx); err != nil {
		return err
	}
	k.round(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.forked
}

// remember finds out since when entries have been without a witness: since the
// first one that is not under the checkpoint in File.
func (k *Keeper) remember(ctx context.Context) error {
	if err := k.load(); err != nil {
		return err
	}
	first := k.seen.Size
	if first >= k.Log.Head().Size {
		return nil // none have, or the log is no longer what it was: round will see
	}
	err := k.Log.Read(ctx, first, first+1, func(_ uint64, s audit.Stored) error {
		k.since = time.UnixMicro(s.Entry.Open.Time)
		return nil
	})
	if err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	return nil
}

// load reads the checkpoint in File, if it is one of this shard and of enough
// witnesses.
func (k *Keeper) load() error {
	if k.File == "" {
		return nil
	}
	note, err := os.ReadFile(k.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	head, err := audit.ParseCheckpoint(note)
	if err == nil {
		_, err = WitnessedAt(head, k.keys(), k.Need)
	}
	if err != nil {
		k.Logger.Warn("the checkpoint kept from before is not one of these witnesses", "file", k.File, "err", err)
		return nil
	}
	if head.Origin == k.Log.Origin() {
		k.seen = head
	}
	return nil
}

func (k *Keeper) keys() []audit.WitnessKey {
	var keys []audit.WitnessKey
	for _, p := range k.Peers {
		keys = append(keys, p.WitnessKey)
	}
	return keys
}

// WitnessedAt is the time by which need of the witnesses had seen a head, or
// ErrUnwitnessed.
func WitnessedAt(head audit.SignedHead, by []audit.WitnessKey, need int) (time.Time, error) {
	times := slices.SortedFunc(maps.Values(head.Witnessed(by)), time.Time.Compare)
	if len(times) < max(need, 1) {
		return time.Time{}, fmt.Errorf("%w: by %d, needed are %d", ErrUnwitnessed, len(times), need)
	}
	return times[need-1], nil
}

// Run shows heads until ctx ends, and then the last one.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(k.Every)
	defer tick.Stop()
	for {
		k.round(ctx)
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
			defer cancel()
			k.round(last)
			return
		case <-tick.C:
		}
	}
}

// round shows the present head to every witness at once, and decides whether
// the log may go on.
func (k *Keeper) round(ctx context.Context) {
	log := k.Log.Latest()
	if log.Origin() != k.shard {
		k.shard = log.Origin()
		clear(k.sizes)
		k.met = false
	}
	head := log.Head()
	err := k.compare(log, head)
	if err == nil && (!k.met || k.Witnessed().Size < head.Size) {
		err = k.show(ctx, log, head)
	}
	if err != nil {
		k.Logger.Warn("head not witnessed", "origin", head.Origin, "size", head.Size, "err", err)
	}
	if ctx.Err() != nil {
		return
	}
	err = k.overdue(log.Head())
	if k.Log.Hold("witness", err) {
		k.Logger.Error("log held: too few witnesses for too long", "origin", head.Origin, "held", err != nil, "err", err)
	}
}

// compare holds a head against the last witnessed one, be it from File, and
// fails with ErrForked if it does not continue that. No witness is asked.
func (k *Keeper) compare(log *audit.Log, head audit.SignedHead) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	seen := k.seen
	if k.forked != nil || seen.Origin != head.Origin {
		return k.forked
	}
	var path []audit.Hash
	if seen.Size < head.Size {
		var err error
		if path, err = log.Consistency(seen.Size, head.Size); err != nil {
			return err
		}
	}
	if err := continues(state{Size: seen.Size, Root: seen.Root[:]}, head.Head, path); err != nil {
		k.forked = fmt.Errorf("%w: %d entries were witnessed, there are %d: %w", ErrForked, seen.Size, head.Size, err)
	}
	return k.forked
}

// Witnessed is the last head that enough witnesses have cosigned.
func (k *Keeper) Witnessed() audit.SignedHead {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen
}

// show collects cosignatures of one head.
func (k *Keeper) show(ctx context.Context, log *audit.Log, head audit.SignedHead) error {
	ctx, cancel := context.WithTimeout(ctx, min(k.Every, 10*time.Second))
	defer cancel()
	lines, errs := make([]string, len(k.Peers)), make([]error, len(k.Peers))
	var wg sync.WaitGroup
	for i := range k.Peers {
		wg.Go(func() { lines[i], errs[i] = k.ask(ctx, i, log, head) })
	}
	wg.Wait()
	for _, l := range lines {
		if l != "" {
			head.Cosignatures = append(head.Cosignatures, l)
		}
	}
	if err := k.forks(errs); err != nil {
		return err
	}
	if len(head.Cosignatures) < k.Need {
		return fmt.Errorf("%d of %d cosignatures: %w", len(head.Cosignatures), k.Need, errors.Join(errs...))
	}
	if k.File != "" {
		note, err := head.MarshalText()
		if err == nil {
			err = audit.ReplaceFile(k.File, note)
		}
		if err != nil {
			return fmt.Errorf("keeping %s: %w", filepath.Base(k.File), err)
		}
	}
	k.met = true
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen, k.since = head, time.Time{}
	return nil
}

// ErrForked: witnesses have seen another history of this log than it shows
// now, or a longer one, as the checkpoint they cosigned proves or they say, so
// that not enough of them will ever cosign it.
var ErrForked = errors.New("witness: the log is not what it was before: rewound, or rewritten")

// forks decides whether so many witnesses have seen something else that the
// others are too few. That stays so until the process ends.
func (k *Keeper) forks(errs []error) error {
	against := 0
	for _, err := range errs {
		if errors.Is(err, ErrInconsistent) || errors.Is(err, errLonger) {
			against++
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.forked == nil && len(k.Peers)-against < k.Need {
		k.forked = fmt.Errorf("%w: %w", ErrForked, errors.Join(errs...))
	}
	return k.forked
}

// errLonger: a witness has cosigned more entries than the log has.
var errLonger = errors.New("has seen more entries than the log has")

// ask shows a head to one witness; once more from where the witness says it stands.
func (k *Keeper) ask(ctx context.Context, i int, log *audit.Log, head audit.SignedHead) (string, error) {
	for range 2 {
		line, err := k.post(ctx, k.Peers[i], log, head, k.sizes[i])
		var conflict *ConflictError
		if errors.As(err, &conflict) && conflict.Size <= head.Size && conflict.Size != k.sizes[i] {
			k.sizes[i] = conflict.Size
			continue
		}
		if conflict != nil && conflict.Size > head.Size {
			err = fmt.Errorf("%w: %d, not %d", errLonger, conflict.Size, head.Size)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", k.Peers[i].Name, err)
		}
		k.sizes[i] = head.Size
		return line, nil
	}
	return "", fmt.Errorf("%s: does not say where it stands", k.Peers[i].Name)
}

func (k *Keeper) post(ctx context.Context, p Peer, log *audit.Log, head audit.SignedHead, old uint64) (string, error) {
	var path []audit.Hash
	var err error
	if old > 0 && old < head.Size {
		if path, err = log.Consistency(old, head.Size); err != nil {
			return "", err
		}
	}
	body, err := request(head, old, path)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/add-checkpoint", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := p.HTTP.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return "", err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		line := strings.TrimSuffix(string(answer), "\n")
		_, err := p.Check(head.Head, line)
		return line, err
	case http.StatusConflict:
		size, err := strconv.ParseUint(strings.TrimSpace(string(answer)), 10, 64)
		if err != nil {
			return "", errors.New("409 without a size")
		}
		return "", &ConflictError{size}
	case http.StatusUnprocessableEntity:
		return "", ErrInconsistent
	}
	return "", fmt.Errorf("status %d", resp.StatusCode)
}

// ErrUnwitnessed is why a log is held.
var ErrUnwitnessed = errors.New("witness: entries are not witnessed")

// overdue reports whether entries have waited too long.
func (k *Keeper) overdue(head audit.SignedHead) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.forked != nil {
		return k.forked
	}
	waiting := head.Size
	if k.seen.Origin == head.Origin {
		waiting -= min(waiting, k.seen.Size)
	}
	now := k.Now()
	switch {
	case waiting == 0:
		k.since = time.Time{}
		return nil
	case k.since.IsZero():
		k.since = now
	}
	if d := now.Sub(k.since); d > k.MaxUnwitnessed {
		return fmt.Errorf("%w: for %s", ErrUnwitnessed, d.Round(time.Second))
	}
	if k.MaxEntries > 0 && waiting > k.MaxEntries {
		return fmt.Errorf("%w: %d of them", ErrUnwitnessed, waiting)
	}
	return nil
}

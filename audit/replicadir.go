package audit

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"path/filepath"
	"sync"
	"time"
)

// ReplicaDir is the far end of a replica: the shards of one node's log, one
// directory a quarter, made of the frames that are written to it. It believes
// none of them: every entry is hashed and every head's signature verified
// before anything is written. Segments are those of the log to the byte; tiles
// and checkpoints it makes itself, so that a replica verifies as its log does.
type ReplicaDir struct {
	cfg ReplicaConfig

	mu     sync.Mutex
	shards map[string]*copiedShard // by origin
}

// ReplicaConfig says whose log is copied and where to.
type ReplicaConfig struct {
	Dir    string             // must exist; belongs to the replica alone
	Origin string             // of the log, without the quarter
	Keys   []*ecdsa.PublicKey // pinned keys of the log
	Logger *slog.Logger       // default: discarded

	files files // tests
}

// What a replica refuses.
var (
	// ErrForeign: a log, or a log.json, that is not the one copied here.
	ErrForeign = errors.New("audit: replica of another log")
	// ErrPlace: frames that do not begin where the replica ends.
	ErrPlace = errors.New("audit: frames do not continue the replica")
)

// OpenReplicaDir opens a replica. Close it.
func OpenReplicaDir(c ReplicaConfig) (*ReplicaDir, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.files == nil {
		c.files = osFiles{}
	}
	if _, err := c.files.ReadDir(c.Dir); err != nil {
		return nil, fmt.Errorf("audit: replica: %w", err)
	}
	return &ReplicaDir{cfg: c, shards: make(map[string]*copiedShard)}, nil
}

// Origin is the log's name without the quarter.
func (d *ReplicaDir) Origin() string { return d.cfg.Origin }

// Begin makes or opens a shard. Errors wrap ErrForeign, ErrSignature, ErrDamaged.
func (d *ReplicaDir) Begin(ctx context.Context, note []byte) (uint64, error) {
	m, pub, err := readMeta(note, d.cfg.Keys)
	if err != nil {
		return 0, err
	}
	if path.Dir(m.Origin) != d.cfg.Origin || EpochQuarter(path.Base(m.Origin)) == "" {
		return 0, fmt.Errorf("%w: %s", ErrForeign, m.Origin)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.shards[m.Origin]
	if s == nil {
		if s, err = d.open(ctx, m, pub, note); err != nil {
			return 0, err
		}
		d.shards[m.Origin] = s
	}
	if string(s.note) != string(note) {
		return 0, fmt.Errorf("%w: another log.json of %s", ErrForeign, m.Origin)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chain.last.Size, s.l.Err()
}

// Write is Replica's. Errors wrap ErrForeign before Begin, ErrPlace, ErrDamaged,
// ErrSignature, and ErrPoisoned once the replica's storage has failed.
func (d *ReplicaDir) Write(_ context.Context, st Stretch) (uint64, error) {
	s, err := d.shard(st.Origin)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.l.Err(); err != nil {
		return 0, err
	}
	if err := s.take(st); err != nil {
		return 0, err
	}
	return s.chain.last.Size, nil
}

// Keep is Replica's. A file that is there already is left as it is.
func (d *ReplicaDir) Keep(_ context.Context, origin, name string, content []byte) error {
	s, err := d.shard(origin)
	if err != nil {
		return err
	}
	if name == "" || name != filepath.Base(name) || name[0] == '.' {
		return fmt.Errorf("%w: name of a quarantined file", ErrEntry)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	file := filepath.Join(s.l.cfg.Dir, nameQuarantine, name)
	if _, err := d.cfg.files.ReadFile(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeWhole(d.cfg.files, file, content); err != nil {
		return fmt.Errorf("audit: replica: quarantine: %w", err)
	}
	return d.cfg.files.SyncDir(filepath.Dir(file))
}

func (d *ReplicaDir) shard(origin string) (*copiedShard, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.shards[origin]
	if s == nil {
		return nil, fmt.Errorf("%w: %s has not begun", ErrForeign, origin)
	}
	return s, nil
}

// Close publishes the last heads and lets the directories go.
func (d *ReplicaDir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for origin, s := range d.shards {
		errs = append(errs, s.close())
		delete(d.shards, origin)
	}
	return errors.Join(errs...)
}

// copiedShard is one shard: a Log without committer and without a key of its own.
type copiedShard struct {
	l    *Log
	pub  *ecdsa.PublicKey
	note []byte // log.json

	mu    sync.Mutex
	chain chain
	ended bool // with log.close
	at    time.Time
}

// noSigner verifies with the log's key and signs nothing.
type noSigner struct{ pub *ecdsa.PublicKey }

func (s noSigner) Public() *ecdsa.PublicKey { return s.pub }
func (noSigner) SignMessage([]byte) ([]byte, error) {
	return nil, errors.New("audit: a replica signs nothing")
}

func (d *ReplicaDir) open(ctx context.Context, m meta, pub *ecdsa.PublicKey, note []byte) (*copiedShard, error) {
	cfg, err := Config{Dir: filepath.Join(d.cfg.Dir, path.Base(m.Origin)), Origin: m.Origin, Signer: noSigner{pub},
		SegmentSize: m.Segment, Logger: d.cfg.Logger, files: d.cfg.files}.withDefaults()
	if err != nil {
		return nil, err
	}
	l, err := newLog(cfg)
	if err != nil {
		return nil, err
	}
	l.copied = true
	s := &copiedShard{l: l, pub: pub, note: note}
	if err := s.load(ctx, m); err != nil {
		return nil, errors.Join(err, l.wal.close(), l.lock.Close())
	}
	l.wg.Go(func() { l.wal.spares(l.quit, l.spareFailed) })
	if l.behind != nil {
		l.wg.Go(func() {
			if _, err := l.readBehind(); err != nil && !errors.Is(err, errAway) {
				l.poison(err)
			}
		})
	}
	return s, nil
}

// load creates or recovers the shard.
func (s *copiedShard) load(ctx context.Context, m meta) error {
	l, note := s.l, s.note
	if err := l.lock.Lock(); err != nil {
		return fmt.Errorf("audit: locking %s: %w", l.cfg.Dir, err)
	}
	s.chain = chain{origin: m.Origin, prev: metaDigest(note)}
	have, err := l.cfg.files.ReadFile(filepath.Join(l.cfg.Dir, nameMeta))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := l.refuseRemains(); err != nil {
			return err
		}
		return l.createWith(note, m.Created)
	case err != nil:
		return fmt.Errorf("audit: reading log.json: %w", err)
	case string(have) != string(note):
		return fmt.Errorf("%w: another log.json of %s", ErrForeign, m.Origin)
	}
	r := recovery{l: l, meta: m, genesis: metaDigest(note)}
	if _, err := r.run(ctx); errors.Is(err, ErrSealed) {
		s.ended = true
	} else if err != nil {
		return err
	}
	if head := l.head.Load(); head != nil {
		s.chain.tree, s.chain.prev, s.chain.last = r.chain.tree, r.chain.prev, head.Head
	}
	return nil
}

// take checks frames, makes them durable and publishes what is due.
func (s *copiedShard) take(st Stretch) error {
	c := s.chain
	c.tree.roots = append([]Hash(nil), c.tree.roots...)
	var made []func()
	var head SignedHead
	var op Op
	var moved []Quarantined
	for at := 0; at < len(st.Frames); {
		f, err := parseFrame(c.origin, st.Frames[at:])
		if err != nil {
			return fmt.Errorf("%w: frame after entry %d: %w", ErrDamaged, c.last.Size, err)
		}
		if f.first != c.last.Size || s.ended || op == OpLogClose {
			return fmt.Errorf("%w: entry %d follows, not entry %d", ErrPlace, c.last.Size, f.first)
		}
		visit := func(level uint, _ uint64, h *Hash) {
			node := *h
			made = append(made, func() { s.l.tiles.add(level, node) })
		}
		r := recovery{recorded: map[string]bool{}}
		if err := c.follow(f, r.look, visit); err != nil {
			return fmt.Errorf("%w: frame after entry %d: %w", ErrDamaged, f.first, err)
		}
		head = SignedHead{Head: f.head, KeyHash: s.l.keyHash, Signature: f.sig}
		if err := head.Verify(s.pub); err != nil {
			return err
		}
		more, err := quarantinedIn(f)
		if err != nil {
			return err
		}
		op, moved, at = r.lastOp, append(moved, more...), at+int(f.length)
	}
	if len(st.Frames) == 0 {
		return nil
	}
	for _, q := range moved {
		if _, err := s.l.cfg.files.ReadFile(filepath.Join(s.l.cfg.Dir, nameQuarantine, q.Name)); err != nil {
			return fmt.Errorf("audit: replica: a quarantined file has to come first: %w", err)
		}
	}
	if err := s.write(st); err != nil {
		return err
	}
	s.l.tiles.mu.Lock()
	for _, add := range made {
		add()
	}
	s.l.tiles.mu.Unlock()
	s.chain, s.ended = c, op == OpLogClose
	s.l.head.Store(&head)
	if last := op == OpLogStop || op == OpLogClose; last || time.Since(s.at) >= s.l.cfg.PublishEvery {
		return s.publish(last)
	}
	return nil
}

// write puts the frames where the log has them.
func (s *copiedShard) write(st Stretch) error {
	w := s.l.wal
	first := s.chain.last.Size
	turn := st.Segment == segmentName(first) && st.Offset == 0 && first > 0
	if !turn && (st.Segment != w.name || st.Offset != w.off) || st.Offset+int64(len(st.Frames)) > w.size {
		return fmt.Errorf("%w: wal/%s offset %d follows, not wal/%s offset %d", ErrPlace, w.name, w.off, st.Segment, st.Offset)
	}
	if turn && w.name != st.Segment {
		if err := w.rotate(first, s.l.cfg.AppendTimeout); err != nil {
			s.l.poison(err)
			return s.l.Err()
		}
	}
	if err := w.write(st.Frames); err != nil {
		s.l.poison(err)
		return s.l.Err()
	}
	return nil
}

func (s *copiedShard) publish(last bool) error {
	s.at = time.Now()
	if err := s.l.publish(s.l.Head(), last); err != nil {
		s.l.poison(err)
		return s.l.Err()
	}
	return nil
}

func (s *copiedShard) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.chain.last.Size > 0 && s.l.Err() == nil && s.l.published.file != nil {
		err = s.publish(true)
	}
	if s.l.published.file != nil {
		err = errors.Join(err, s.l.published.file.Close())
	}
	return errors.Join(err, s.l.stop(), s.l.Err())
}

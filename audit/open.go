package audit

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// OpenLog creates the shard in an empty or missing directory, or recovers and
// continues the one that is there. It returns once its own first entry is
// durable and published. A long log is resumed at a published checkpoint, and
// what lies before it is read again while it works: damage there ends it as a
// failed write does (Failed), with the entry log.damaged; otherwise
// log.checked says that all was read. Errors wrap ErrLocked, ErrSealed, ErrSignature (the
// directory belongs to another key) or ErrDamaged, which names the entry from
// which on the log cannot be trusted; a damaged log is left as it is.
func OpenLog(ctx context.Context, cfg Config) (*Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l, err := newLog(cfg)
	if err != nil {
		return nil, err
	}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(err, l.lock.Close())
	}
	return l, nil
}

// newLog makes the directories and opens the lock file.
func newLog(cfg Config) (*Log, error) {
	l := &Log{cfg: cfg, failed: make(chan struct{}), quit: make(chan struct{}), ended: make(chan struct{}),
		queue: make(chan *request, cfg.QueueLen), tiles: newTileStore(cfg),
		wal: newWAL(cfg.files, filepath.Join(cfg.Dir, nameWAL), cfg.SegmentSize)}
	var err error
	if l.keyHash, err = noteKeyHash(cfg.Origin, cfg.Signer.Public()); err != nil {
		return nil, err
	}
	for _, dir := range []string{"", nameWAL, nameTile, "heads", nameQuarantine} {
		if err := cfg.files.Mkdir(filepath.Join(cfg.Dir, dir)); err != nil {
			return nil, fmt.Errorf("audit: making directory: %w", err)
		}
	}
	if l.lock, err = cfg.files.Open(filepath.Join(cfg.Dir, nameLock), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("audit: opening LOCK: %w", err)
	}
	return l, nil
}

// start runs with the lock file open. On error nothing is left running.
func (l *Log) start(ctx context.Context) error {
	if err := l.lock.Lock(); err != nil {
		return fmt.Errorf("audit: locking %s: %w", l.cfg.Dir, err)
	}
	first, err := l.load(ctx)
	if err != nil {
		return errors.Join(err, l.wal.close())
	}
	if err := l.check(); err != nil {
		return errors.Join(fmt.Errorf("audit: %w", err), l.wal.close(), l.published.file.Close())
	}
	if l.cfg.Replica != nil {
		l.replica = newReplicator(l)
	}
	go l.commits()
	l.wg.Go(func() { l.wal.spares(l.quit, l.spareFailed) })
	_, err = l.append(ctx, max(slowDisk, l.cfg.AppendTimeout), first)
	if err == nil {
		err = l.publish(l.Head(), true)
	}
	if err == nil {
		err = errors.Join(l.cfg.files.SyncDir(l.cfg.Dir), l.cfg.files.SyncDir(filepath.Join(l.cfg.Dir, "heads")))
	}
	if err != nil {
		l.poison(err)
	}
	l.wg.Go(l.publishes)
	l.wg.Go(l.watches)
	if l.replica != nil && err == nil {
		l.replica.begins()
	}
	if l.behind != nil && err == nil {
		l.wg.Go(l.recheck)
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// load creates or recovers what is in the directory and returns the entries
// that say so.
func (l *Log) load(ctx context.Context) ([]Entry, error) {
	note, err := l.cfg.files.ReadFile(filepath.Join(l.cfg.Dir, nameMeta))
	if errors.Is(err, fs.ErrNotExist) {
		return l.create()
	}
	if err != nil {
		return nil, fmt.Errorf("audit: reading log.json: %w", err)
	}
	m, _, err := readMeta(note, []*ecdsa.PublicKey{l.cfg.Signer.Public()})
	if err != nil {
		return nil, err
	}
	if m.Origin != l.cfg.Origin {
		return nil, fmt.Errorf("audit: %s holds the log %s, not %s", l.cfg.Dir, m.Origin, l.cfg.Origin)
	}
	l.cfg.SegmentSize, l.wal.size = m.Segment, m.Segment
	r := recovery{l: l, meta: m, genesis: metaDigest(note)}
	return r.run(ctx)
}

// create makes a new shard. log.json comes last: until it is there, the
// directory is not a log, and whatever was made is made again.
func (l *Log) create() ([]Entry, error) {
	if err := l.refuseRemains(); err != nil {
		return nil, err
	}
	now := l.now().UnixMicro()
	m, err := newMeta(l.cfg, now)
	if err != nil {
		return nil, err
	}
	note, err := m.sign(l.cfg.Signer)
	if err != nil {
		return nil, err
	}
	if err := l.createWith(note, now); err != nil {
		return nil, err
	}
	return []Entry{{Open: Open{Op: OpLogOpen, Previous: string(l.cfg.Previous)}}}, nil
}

func (l *Log) createWith(note []byte, now int64) error {
	fsys, dir := l.cfg.files, l.cfg.Dir
	for _, name := range []string{segmentName(0), spareName} {
		if err := l.wal.create(name); err != nil {
			return fmt.Errorf("audit: making segment: %w", err)
		}
	}
	for _, d := range []string{filepath.Dir(dir), dir} { // log.json must not outlive what it speaks for
		if err := fsys.SyncDir(d); err != nil {
			return fmt.Errorf("audit: making directory: %w", err)
		}
	}
	if err := writeWhole(fsys, filepath.Join(dir, nameMeta), note); err != nil {
		return fmt.Errorf("audit: writing log.json: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("audit: writing log.json: %w", err)
	}
	l.prev, l.lastTime = metaDigest(note), max(now, minTime)
	l.wal.ready <- struct{}{}
	if err := l.wal.open(segmentName(0), 0); err != nil {
		return fmt.Errorf("audit: opening segment: %w", err)
	}
	return l.openCheckpoints(0, 0)
}

// refuseRemains makes sure that a directory without log.json never was a log.
func (l *Log) refuseRemains() error {
	for _, name := range []string{nameCheckpoint, nameCheckpoints, nameLastHead} {
		if _, err := l.cfg.files.ReadFile(filepath.Join(l.cfg.Dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: log.json is missing, but %s is there", ErrDamaged, name)
		}
	}
	names, err := l.cfg.files.ReadDir(l.wal.dir)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	for _, e := range names {
		b, err := l.cfg.files.ReadFile(filepath.Join(l.wal.dir, e.Name()))
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		if !allZero(b) {
			return fmt.Errorf("%w: log.json is missing, but wal/%s holds entries", ErrDamaged, e.Name())
		}
	}
	return nil
}

// segments lists the segments in order, and the other names.
func segments(entries []fs.DirEntry) (names, others []string) {
	for _, e := range entries {
		if isSegment(e.Name()) {
			names = append(names, e.Name()) // ReadDir sorts; twelve digits keep the order
		} else {
			others = append(others, e.Name())
		}
	}
	return names, others
}

func isSegment(name string) bool {
	base, ok := strings.CutSuffix(name, ".seg")
	return ok && len(base) >= 12
}

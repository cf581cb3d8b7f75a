package assembly

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
	"yizheng/audit/search"
	"yizheng/audit/stamp"
	"yizheng/audit/witness"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// AuditLog is a program's log with all that stands around it.
type AuditLog struct {
	*audit.Log // the shard of the start: see audit.Log.Latest
	Key        *jose.Key
	Pseudonyms search.Pseudonyms
	Archives   *Archives
	Index      *index.Shards // nil without
	Copies     *Copies
	Keeper     *witness.Keeper // nil without witnesses
	Stamper    *stamp.Stamper  // nil without time stamps
	turner     *Turner
}

// Opening is what an AuditLog is opened with.
type Opening struct {
	Config     AuditConfig
	Origin     string // without the quarter
	Passphrase string // file with that of the keys
	Persons    *staff.Register
	Demo       bool
	Appended   func(time.Duration) // see audit.Config
	Logger     *slog.Logger
}

// demoSegment: a laptop need not set 128 MiB aside.
const demoSegment = 4 << 20

// OpenAuditLog opens a program's log and whatever its configuration wants around
// it. What has to be closed is left to closers, also when it fails. Nothing is
// recorded yet.
func OpenAuditLog(ctx context.Context, o Opening, closers *Closers) (*AuditLog, error) {
	c := o.Config
	key, err := jose.ReadKey(c.Key, o.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("audit key: %w", err)
	}
	conf := audit.Config{Signer: key, Appended: o.Appended, Logger: o.Logger}
	if o.Demo {
		conf.SegmentSize = demoSegment
	}
	replica, err := OpenReplica(c.Replica, o.Origin, key.Public(), &conf)
	if err != nil {
		return nil, err
	}
	if replica != nil {
		closers.OnClose(replica.Close)
	}
	l := &AuditLog{Key: key, Archives: NewArchives(c.Dir, key.Public())}
	if l.Pseudonyms, err = OpenPseudonyms(c, o.Passphrase, o.Persons, o.Logger, closers); err != nil {
		return nil, err
	}
	steps := NewKeySteps(c.Dir, key, l.Pseudonyms, o.Logger)
	epoch, compromised, err := steps.Epoch(ctx, time.Now())
	if err != nil {
		return nil, err
	}
	conf.Compromised = compromised
	if l.Log, err = OpenEpoch(ctx, c.Dir, o.Origin, epoch, conf); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	closers.OnClose(l.Close)
	steps.Begin(ctx, l.Log)
	closers.OnClose(steps.Close)
	l.turner = &Turner{Dir: c.Dir, Origin: o.Origin, Config: conf, Log: l.Log, Keys: steps, Logger: o.Logger}
	if replica != nil {
		replica.Earlier(l.Archives, l.Log, o.Logger)
		l.turner.Turned = append(l.turner.Turned, replica.Turned)
	}
	return l, l.surround(ctx, o, closers)
}

// surround opens what reads the log.
func (l *AuditLog) surround(ctx context.Context, o Opening, closers *Closers) (err error) {
	c := o.Config
	if l.Index = OpenIndex(c, l.Archives, l.Key, l.Log, o.Logger); l.Index != nil {
		closers.OnClose(l.Index.Close)
		l.turner.Turned = append(l.turner.Turned, func(shard *audit.Log) { l.Index.Add(shard) })
	}
	if l.Copies, err = OpenCopies(c, l.Log, o.Logger, l.Key.Public()); err != nil {
		return err
	}
	closers.OnClose(l.Copies.Close)
	if l.Keeper, err = OpenKeeper(ctx, c, l.Log, o.Logger); err != nil {
		return err
	}
	l.Stamper, err = OpenStamper(ctx, c, l.Log, o.Logger)
	return err
}

// Unread are the shards that could not be read: see KeySteps.Unread.
func (l *AuditLog) Unread() []string { return l.turner.Keys.Unread() }

// Watch looks after the log until ctx ends: it turns with the quarter, and is
// shown to its witnesses and the time stamp authority. The goroutines are by's.
func (l *AuditLog) Watch(ctx context.Context, by *sync.WaitGroup) {
	by.Go(func() { l.turner.Run(ctx) })
	if l.Keeper != nil {
		by.Go(func() { l.Keeper.Run(ctx) })
	}
	if l.Stamper != nil {
		by.Go(func() { l.Stamper.Run(ctx) })
	}
}

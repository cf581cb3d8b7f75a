package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/identity/jose"
)

// Config of an Engine.
type Config struct {
	Rules   *Rules
	Facts   Facts
	Log     *audit.Log         // read and written
	Key     *jose.Key          // signs the snapshot: the gateway's, for that of the log signs heads only
	Earlier []*audit.Archive   // sealed shards before it, oldest first
	Names   audit.SubjectNamer // makes pseudonyms of relatives' numbers; nil: no list can be entered
	Dir     string             // of the snapshot, the texts and the lists of relatives; made if missing
	Scan    time.Duration      // how often the log is looked at; default 2 s
	Logger  *slog.Logger       // may be nil
}

// Engine supervises one log. One engine runs for a log, in the process that writes it.
type Engine struct {
	cfg   Config
	log   *slog.Logger
	texts texts

	mu     sync.Mutex
	fold   *fold
	shard  *audit.Log    // that reader reads: Config.Log, or one after it
	reader *audit.Reader // nil while nothing runs
	saved  time.Time
	behind bool // has not read up to the log's end yet
	doubt  bool // the snapshot was not to be trusted, which the log does not say yet
	full   int  // entries that found no room in a window, as far as they were reported

	proposals map[string]Proposal // lists of relatives that wait for approval
}

// Timings.
const (
	usualScan = 2 * time.Second
	saveEvery = time.Minute
	// settle is for how long an entry may still be on its way to the log under
	// an earlier time: log time goes on by itself only so far behind the clock.
	settle = 10 * time.Second
	// portion is how many entries are read at a time, so that questions get their turn.
	portion = 4096
)

// New makes an Engine. Nothing is read before Run.
func New(c Config) (*Engine, error) {
	if c.Rules == nil || c.Log == nil || c.Key == nil || c.Dir == "" {
		return nil, errors.New("supervise: rules, log, key and directory are needed")
	}
	if c.Scan <= 0 {
		c.Scan = usualScan
	}
	e := &Engine{cfg: c, log: c.Logger, behind: true, saved: time.Now(), proposals: map[string]Proposal{}}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if e.texts, err = openTexts(filepath.Join(c.Dir, "texts")); err != nil {
		return nil, err
	}
	e.fold = newFold(c.Rules, &e.cfg.Facts)
	e.fold.lists = e.texts.relatives
	e.resume()
	return e, nil
}

// Run reads the log until ctx ends: the earlier shards it has not read yet,
// then the running one. It never holds up anybody who writes to the log. The
// error is the log's, or that of a damaged one.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.begin(ctx); err != nil {
		return stopped(ctx, err)
	}
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if err := errors.Join(e.save(), e.reader.Close()); err != nil {
			e.log.Error("supervision: state not saved", "err", err)
		}
		e.reader = nil
	}()
	tick := time.NewTicker(e.cfg.Scan)
	defer tick.Stop()
	for {
		if err := e.step(ctx); err != nil {
			return stopped(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// stopped is nil if err is only that ctx has ended.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("supervision: %w", err)
}

// begin comes to the running log, wherever the state ends.
func (e *Engine) begin(ctx context.Context) error {
	shard := e.cfg.Log.Shard(e.fold.state.Origin)
	if shard == nil {
		if err := e.readEarlier(ctx); err != nil {
			return err
		}
		shard = e.cfg.Log
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shard, e.reader = shard, shard.NewReader(e.fold.state.Next)
	return nil
}

// readEarlier reads sealed shards from where the snapshot ends, or all of them.
func (e *Engine) readEarlier(ctx context.Context) error {
	from := 0
	for i, a := range e.cfg.Earlier {
		if a.Origin() == e.fold.state.Origin {
			from = i
		}
	}
	for _, a := range e.cfg.Earlier[from:] {
		if err := e.readOne(ctx, a); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fold.turn(e.cfg.Log.Origin())
	return nil
}

func (e *Engine) readOne(ctx context.Context, a *audit.Archive) error {
	if e.fold.state.Origin != a.Origin() {
		e.mu.Lock()
		e.fold.turn(a.Origin())
		e.mu.Unlock()
	}
	r := a.NewReader(e.fold.state.Next)
	err := e.portions(func() (bool, error) { return e.readSome(ctx, r, portion) })
	return errors.Join(err, r.Close())
}

// step reads what is new and raises what was found.
func (e *Engine) step(ctx context.Context) error {
	before := time.Now()
	if err := e.portions(func() (bool, error) { return e.read(ctx, portion) }); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.behind = false
	e.fold.pass(before.Add(-settle).UnixMicro())
	if err := e.settleUp(ctx); err != nil {
		return err
	}
	e.confess()
	if time.Since(e.saved) < saveEvery {
		return nil
	}
	e.saved = time.Now()
	e.fold.tidy()
	e.complain()
	return e.save()
}

var errPortion = errors.New("enough for now")

// portions reads until there is no more, and lets others in between.
func (e *Engine) portions(read func() (more bool, err error)) error {
	for {
		e.mu.Lock()
		more, err := read()
		e.mu.Unlock()
		if err != nil || !more {
			return err
		}
	}
}

// read takes up at most limit entries of the running log, going on to its next
// shard if it has turned, and tells whether there are more.
func (e *Engine) read(ctx context.Context, limit int) (more bool, err error) {
	for {
		next := e.shard.Next() // before reading: what is there then is all of the shard
		more, err := e.readSome(ctx, e.reader, limit)
		if err != nil || more || next == nil {
			return more, err
		}
		if err := e.reader.Close(); err != nil {
			return false, err
		}
		e.shard, e.reader = next, next.NewReader(0)
		e.fold.turn(next.Origin())
	}
}

// readSome takes up at most limit entries and tells whether there are more.
func (e *Engine) readSome(ctx context.Context, r *audit.Reader, limit int) (more bool, err error) {
	n := 0
	_, err = r.Next(ctx, func(s audit.Stored) error {
		if n == limit {
			return errPortion
		}
		n++
		e.fold.read(&s)
		return nil
	})
	if errors.Is(err, errPortion) {
		return true, nil
	}
	return false, err
}

// settleUp records what the fold wants recorded, until it has read it all back.
func (e *Engine) settleUp(ctx context.Context) error {
	if !e.fold.current() {
		if err := e.append(ctx, audit.Entry{Open: audit.Open{Op: audit.OpSuperviseRules, Phase: audit.PhaseDone, Disclose: audit.DiscloseNever},
			Closed: audit.Closed{Object: "supervise.rules", Before: "catalog/" + e.cfg.Facts.Version, Digests: e.fold.own}}); err != nil {
			return err
		}
	}
	for {
		open := e.fold.open()
		if len(open) == 0 {
			return nil
		}
		var batch []audit.Entry
		for _, c := range open[:min(len(open), 64)] {
			batch = append(batch, c.entry(Raised))
		}
		if err := e.append(ctx, batch...); err != nil {
			return err
		}
	}
}

// append records entries and reads them back.
func (e *Engine) append(ctx context.Context, entries ...audit.Entry) error {
	if _, err := e.cfg.Log.Append(context.WithoutCancel(ctx), entries...); err != nil {
		return fmt.Errorf("not recorded: %w", err)
	}
	_, err := e.read(context.WithoutCancel(ctx), math.MaxInt)
	return err
}

// complain says, once for each, that a rule could not count everything.
func (e *Engine) complain() {
	sum := 0
	for _, n := range e.fold.state.Full {
		sum += n
	}
	if sum == e.full {
		return
	}
	e.full = sum
	e.log.Warn("supervision: a rule counts more groups than there is room for; choose a shorter time or other groups", "rules", len(e.fold.state.Full))
	e.alarm("SUPERVISION_FULL")
}

// confess records, once, that the snapshot was not to be trusted; rules can make
// a card of that.
func (e *Engine) confess() {
	if e.doubt {
		e.doubt = false
		e.alarm("SUPERVISION_STATE")
	}
}

func (e *Engine) alarm(outcome string) {
	if err := e.cfg.Log.AppendAsync(audit.Entry{Open: audit.Open{Op: audit.OpAlarm, Phase: audit.PhaseDone, Outcome: outcome}}); err != nil {
		e.log.Error("supervision: alarm not recorded", "alarm", outcome, "err", err)
	}
}

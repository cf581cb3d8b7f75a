package auditor

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"yizheng/audit"
)

// Options says what the shards of a log are held against.
type Options struct {
	Keys    []*ecdsa.PublicKey // pinned
	MinSize uint64             // least number of entries of the last shard
	Live    bool               // the last shard is being written
	// Known are checkpoints that the auditor keeps from earlier, at most one
	// of a shard. Each must be of a shard that is there, or the final one of
	// the shard before the first.
	Known [][]byte
	// Partial lets the first shard follow one that is not there.
	Partial bool

	Witnesses Witnesses
	Stamps    Stamps
	// Receipts and Pointers are from documents: their entries must be there.
	Receipts []audit.Receipt
	Pointers []audit.Pointer
	// Days are the counts of an earlier report, by origin and day.
	Days map[string]map[string]Day

	// Empty are quarters' directories that have no log in them.
	Empty []string

	// Complete makes it a problem that there is no known checkpoint and no
	// witness, unless Without names that ("known", "witness").
	Complete bool
	Without  []string

	seen []witnessed
}

// Shard is the report about one shard.
type Shard struct {
	Dir string
	audit.Report
	Days      map[string]Day
	Stamps    int                  // time stamps that hold
	Witnessed map[string]time.Time // when each witness saw the log, of the last shard
	// NotChecked names what nobody gave anything to hold the log against:
	// "known", "witness", "stamp", "receipt", "days". Of the last shard.
	NotChecked []string
}

// VerifyChain checks the shards in dirs, oldest first, and that each goes on
// from the one before. Since dropping whole quarters at the beginning changes
// no byte of the others, the first shard must be the log's first, or be linked
// to a known checkpoint, unless a partial log is asked for. each gets every
// report, with the problems of the chain among the others; good tells whether
// there is none. An error means that something could not be read: nothing is
// verified then.
func VerifyChain(ctx context.Context, dirs []string, o Options, each func(Shard) error) (good bool, err error) {
	known, err := readKnown(o.Known)
	if err != nil {
		return false, err
	}
	if err := o.prepare(); err != nil {
		return false, err
	}
	if len(dirs) == 0 {
		return false, errors.New("没有审计日志可验 / there is no audit log to verify")
	}
	good = true
	origins := make(map[string]bool)
	var before *audit.Head
	var held *Shard // until the next one is seen, which may have outcomes of its intents
	for i, dir := range dirs {
		last := i == len(dirs)-1
		r, err := verifyShard(ctx, dir, &o, known, last)
		if err != nil {
			return false, err
		}
		if held != nil {
			held.Followed(r.Report)
			if err := each(*held); err != nil {
				return false, err
			}
		}
		origins[r.Origin] = true
		follows(&r.Report, before, i == 0, o.Partial, known)
		if last {
			o.conclude(&r, known, origins)
		}
		before = &r.Head.Head
		good = good && r.OK()
		held = &r
	}
	return good, each(*held)
}

// prepare reads what the witnesses have given.
func (o *Options) prepare() error {
	w := &o.Witnesses
	if w.MaxAge <= 0 {
		w.MaxAge = 4 * time.Hour
	}
	if o.Stamps.MaxAge <= 0 {
		o.Stamps.MaxAge = 2 * time.Hour
	}
	if w.Need == 0 {
		w.Need = len(w.By)
	}
	if w.Need < 0 || w.Need > len(w.By) {
		return fmt.Errorf("要 %d 个见证人，只给出 %d 个 / %d witnesses needed, %d given", w.Need, len(w.By), w.Need, len(w.By))
	}
	for _, note := range w.Notes {
		seen, err := w.read(note)
		if err != nil {
			return err
		}
		o.seen = append(o.seen, seen)
	}
	return nil
}

// conclude says what only the whole chain can tell.
func (o *Options) conclude(r *Shard, known map[string]checkpoint, origins map[string]bool) {
	for origin := range known {
		problem(&r.Report, "known", "已知检查点属于 %s，这里没有 / the known checkpoint is of %s, which is not here", origin, origin)
	}
	o.judgeEmpty(r)
	elsewhere := make(map[string]string) // code by origin
	for _, w := range o.seen {
		elsewhere[w.Origin] = "witness"
	}
	for _, x := range o.Receipts {
		elsewhere[x.Origin] = "receipt"
	}
	for _, x := range o.Pointers {
		elsewhere[x.Origin] = "receipt"
	}
	for origin := range o.Days {
		elsewhere[origin] = "days"
	}
	for origin, code := range elsewhere {
		if !origins[origin] {
			problem(&r.Report, code, "涉及 %s，这里没有 / concerns %s, which is not here", origin, origin)
		}
	}
	for _, c := range []struct {
		what  string
		given bool
	}{{"known", len(o.Known) > 0 || o.MinSize > 0}, {"witness", len(o.Witnesses.By) > 0}, {"stamp", o.Stamps.Verify != nil},
		{"receipt", len(o.Receipts)+len(o.Pointers) > 0}, {"days", len(o.Days) > 0}} {
		if c.given {
			continue
		}
		r.NotChecked = append(r.NotChecked, c.what)
		if o.Complete && (c.what == "known" || c.what == "witness") && !slices.Contains(o.Without, c.what) {
			problem(&r.Report, "absent", "没有给出 %s；确无此物时用 -without %s / nothing was given for %s; say -without %s if there is none", c.what, c.what, c.what, c.what)
		}
	}
}

// judgeEmpty objects to directories without a log. A running log may just be
// making that of the next quarter.
func (o *Options) judgeEmpty(r *Shard) {
	for _, name := range o.Empty {
		p := note("missing", "季度 %s 的目录里没有日志：建立时中断，或日志已被移走 / the directory of quarter %s holds no log: its making was cut short, or it was taken away", name, name)
		p.File = name
		if o.Live && name > filepath.Base(r.Dir) {
			r.Warnings = append(r.Warnings, p)
		} else {
			r.Problems = append(r.Problems, p)
		}
	}
}

// checkpoint is a known one, parsed and as it stands.
type checkpoint struct {
	head audit.SignedHead
	note []byte
}

func readKnown(notes [][]byte) (map[string]checkpoint, error) {
	known := make(map[string]checkpoint)
	for _, note := range notes {
		head, err := audit.ParseCheckpoint(note)
		if err != nil {
			return nil, fmt.Errorf("已知检查点 / known checkpoint: %w", err)
		}
		if _, twice := known[head.Origin]; twice {
			return nil, fmt.Errorf("%s 的检查点只能给一个 / give one checkpoint of %s only", head.Origin, head.Origin)
		}
		known[head.Origin] = checkpoint{head, note}
	}
	return known, nil
}

// verifyShard checks one shard; which one the known checkpoints are of is
// only known once its origin is.
func verifyShard(ctx context.Context, dir string, o *Options, known map[string]checkpoint, last bool) (Shard, error) {
	v := audit.VerifyOptions{Keys: o.Keys, Live: o.Live && last}
	if last {
		v.MinSize = o.MinSize
	}
	origin, err := audit.ReadOrigin(dir, o.Keys...)
	if err == nil {
		v.Known = known[origin].note
		delete(known, origin)
	}
	s := newScan(o, origin)
	if err := s.readStamps(); err != nil {
		return Shard{}, err
	}
	v.Entry, v.Head = s.entry, s.head
	out := Shard{Dir: dir, Days: s.days, Stamps: len(s.stamps)}
	out.Report, err = audit.VerifyDir(ctx, dir, v)
	if err != nil && !errors.Is(err, audit.ErrDamaged) { // damage the report tells
		return out, err
	}
	if last {
		out.Witnessed = s.witnesses(out.Previous)
	}
	s.finish(&out.Report)
	return out, nil
}

// follows checks the link to the shard before.
func follows(r *audit.Report, before *audit.Head, first, partial bool, known map[string]checkpoint) {
	if r.Previous == "" {
		if !first {
			problem(r, "chain", "没有接上一季度的日志 / does not continue the shard before")
		}
		return
	}
	previous, err := audit.ParseCheckpoint([]byte(r.Previous))
	if err != nil {
		return // VerifyDir has said so
	}
	if !first {
		if *before != previous.Head {
			problem(r, "chain", "与上一季度的最终检查点不相接 / does not continue the shard before")
		}
		return
	}
	k, ok := known[previous.Origin]
	delete(known, previous.Origin)
	switch {
	case ok && k.head.Head != previous.Head:
		problem(r, "chain", "所接的 %s 与已知检查点不同 / continues %s otherwise than the known checkpoint", previous.Origin, previous.Origin)
	case ok:
	case partial:
		r.Warnings = append(r.Warnings, note("chain", "只验了一部分：更早的 %s 不在此处 / partial: the earlier %s is not here", previous.Origin, previous.Origin))
	default:
		problem(r, "chain", "前面的 %s 不在此处；请补齐，或用 -checkpoint 给出其最终检查点，或用 -partial 只验这一部分 / the earlier %s is not here: bring it, give its final checkpoint with -checkpoint, or verify a part with -partial", previous.Origin, previous.Origin)
	}
}

func problem(r *audit.Report, code, format string, a ...any) {
	r.Problems = append(r.Problems, note(code, format, a...))
}

func note(code, format string, a ...any) audit.Problem {
	return audit.Problem{Code: code, Offset: -1, Index: audit.NoIndex, Text: fmt.Sprintf(format, a...)}
}

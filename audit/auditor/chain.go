package auditor

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"

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
	// Witnesses, if not nil, have to have seen the log.
	Witnesses *Witnesses
}

// VerifyChain checks the shards in dirs, oldest first, and that each goes on
// from the one before. Since dropping whole quarters at the beginning changes
// no byte of the others, the first shard must be the log's first, or be linked
// to a known checkpoint, unless a partial log is asked for. each gets every
// report, with the problems of the chain among the others; good tells whether
// there is none. An error means that something could not be read.
func VerifyChain(ctx context.Context, dirs []string, o Options, each func(dir string, r audit.Report) error) (good bool, err error) {
	known, err := readKnown(o.Known)
	if err != nil {
		return false, err
	}
	seen, problems := o.witnesses()
	good = true
	var before *audit.Head
	for i, dir := range dirs {
		last := i == len(dirs)-1
		r, err := verifyShard(ctx, dir, o, known, last, seen.see)
		if err != nil {
			return false, err
		}
		follows(&r, before, i == 0, o.Partial, known)
		if last {
			r.Problems = append(r.Problems, problems...)
			if len(problems) == 0 {
				seen.judge(&r)
			}
			for origin := range known {
				problem(&r, "known", "已知检查点属于 %s，这里没有 / the known checkpoint is of %s, which is not here", origin, origin)
			}
		}
		before = &r.Head.Head
		good = good && r.OK()
		if err := each(dir, r); err != nil {
			return false, err
		}
	}
	return good, nil
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
func verifyShard(ctx context.Context, dir string, o Options, known map[string]checkpoint, last bool, head func(audit.Head)) (audit.Report, error) {
	v := audit.VerifyOptions{Keys: o.Keys, Live: o.Live && last, Head: head}
	if last {
		v.MinSize = o.MinSize
	}
	if origin, err := audit.ReadOrigin(dir, o.Keys...); err == nil {
		v.Known = known[origin].note
		delete(known, origin)
	}
	r, err := audit.VerifyDir(ctx, dir, v)
	if errors.Is(err, audit.ErrDamaged) {
		err = nil // the report tells
	}
	return r, err
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

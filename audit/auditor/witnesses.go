package auditor

import (
	"crypto/ecdsa"
	"path"
	"slices"
	"time"

	"yizheng/audit"
)

// Witnesses says what of a log must have been seen from outside. The checkpoint
// is best fetched from a witness, not from the gateway that keeps the log.
type Witnesses struct {
	By   []audit.WitnessKey // pinned
	Need int                // how many of them have to have cosigned; 0: all
	Note []byte             // a checkpoint with their cosignatures
	// MaxAge is how long entries may have gone without: between the checkpoint's
	// last entry and the log's. 0: any time.
	MaxAge time.Duration
}

// witnessed holds a log to a cosigned checkpoint, frame by frame.
type witnessed struct {
	Witnesses
	head  audit.SignedHead
	found bool // a frame ends with exactly this head
}

// witnesses checks the checkpoint by itself. Nil if none is asked for.
func (o Options) witnesses() (*witnessed, []audit.Problem) {
	if o.Witnesses == nil {
		return nil, nil
	}
	w := &witnessed{Witnesses: *o.Witnesses}
	if w.Need == 0 {
		w.Need = len(w.By)
	}
	var err error
	if w.head, err = audit.ParseCheckpoint(w.Note); err != nil {
		return w, []audit.Problem{note("witness", "没有见证检查点 / no witnessed checkpoint: %v", err)}
	}
	if n := len(w.head.Witnessed(w.By)); n < max(w.Need, 1) {
		return w, []audit.Problem{note("witness", "大小 %d 的检查点只有 %d 个见证方联署，须有 %d 个 / the checkpoint of size %d is cosigned by %d witnesses, needed are %d",
			w.head.Size, n, w.Need, w.head.Size, n, w.Need)}
	}
	if !slices.ContainsFunc(o.Keys, func(k *ecdsa.PublicKey) bool { return w.head.Verify(k) == nil }) {
		return w, []audit.Problem{note("witness", "见证检查点不是本日志密钥签的 / the witnessed checkpoint is not signed by the log's key")}
	}
	return w, nil
}

func (w *witnessed) see(h audit.Head) {
	if w != nil && h == w.head.Head {
		w.found = true
	}
}

// judge is for the last shard, when all have been read.
func (w *witnessed) judge(r *audit.Report) {
	if w == nil || w.head.Size == 0 {
		return
	}
	if !w.found {
		problem(r, "witness", "日志中没有见证方见过的 %s 的前 %d 条：被回退或改写 / the first %d entries of %s are not those that the witnesses saw: rewound or rewritten",
			w.head.Origin, w.head.Size, w.head.Size, w.head.Origin)
		return
	}
	last := r.Head
	if age := time.UnixMicro(last.Time).Sub(time.UnixMicro(w.head.Time)); w.MaxAge > 0 && age > w.MaxAge {
		problem(r, "witness", "最后 %s 的条目无人见证，最多允许 %s / the entries of the last %s are not witnessed, at most %s may pass", age, w.MaxAge, age, w.MaxAge)
	}
	if path.Dir(last.Origin) == path.Dir(w.head.Origin) && last.Origin != w.head.Origin {
		r.Warnings = append(r.Warnings, note("witness", "见证检查点属于较早的 %s / the witnessed checkpoint is of the earlier %s", w.head.Origin, w.head.Origin))
	}
}

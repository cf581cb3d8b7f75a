package search

import (
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/index"
)

// Carried answers for the logs on the roster, about one exchange, from what was
// carried here of them: a log's directory (one quarter, or that of all), or a
// subset file that `gateway audit export` made of a range of time. Each is
// verified with the keys that the roster has for it: a directory to the byte,
// a subset by its proofs. Rows are in order of time. The answer
// names all logs on the roster; those of which nothing is there are Missing.
// known are entries of the exchange from elsewhere, as a gateway's answer: they
// tell when it began.
//
// An error means that a path is not of a log on the roster.
func (r Roster) Carried(ctx context.Context, exchange string, paths []string, known ...Row) (Answer, error) {
	if !isNumbered(exchange) {
		return Answer{}, invalid("exchange", "办理编号格式或校验位不对，请核对", "the number is malformed, or its check character is wrong")
	}
	loads := make(map[string]*load)
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return Answer{}, fmt.Errorf("audit search: %w", err)
		}
		read := r.subset
		if info.IsDir() {
			read = r.directory
		}
		if err := read(ctx, path, exchange, loads); err != nil {
			return Answer{}, err
		}
	}
	a := Answer{Complete: true, Rows: []Row{}}
	began := beginning(loads, known)
	for _, l := range r.Logs {
		log := l.answer(Missing)
		if got := loads[l.Origin]; got != nil {
			log = l.answer(got.state(began))
			log.Shards = got.shards
			if log.State != Doubtful {
				a.Rows = append(a.Rows, got.rows...)
			}
		}
		a.Logs, a.Complete = append(a.Logs, log), a.Complete && log.whole()
	}
	newestFirst(a.Rows)
	slices.Reverse(a.Rows)
	return a, nil
}

// Reconciled holds the records of the gateways in an answer against those of
// the fronts, by the roster's names.
func (r Roster) Reconciled(a Answer, front func(source string) string) Match {
	origins := make(map[string]string)
	for _, l := range r.Logs {
		if l.Front != "" {
			origins[l.Front] = l.Origin
		}
	}
	return Reconcile(a, front, origins)
}

// With puts what was carried of logs in the place of what they answered themselves.
func (a Answer) With(carried Answer) Answer {
	for _, log := range carried.Logs {
		if log.State == Missing {
			continue
		}
		of := func(r Row) bool { return baseOf(r.Origin) == log.Origin }
		a.Logs = append(slices.DeleteFunc(a.Logs, func(l Log) bool { return l.Origin == log.Origin }), log)
		a.Rows = slices.DeleteFunc(a.Rows, of)
		for _, r := range carried.Rows {
			if of(r) {
				a.Rows = append(a.Rows, r)
			}
		}
	}
	newestFirst(a.Rows)
	slices.Reverse(a.Rows)
	a.Complete = !slices.ContainsFunc(a.Logs, func(l Log) bool { return !l.whole() })
	return a
}

// load is what was carried of one log.
type load struct {
	kind     Kind
	rows     []Row
	shards   []Shard
	spans    []span
	doubtful bool
}

// span is a time of which a log's entries are all there. Microseconds.
type span struct{ from, to int64 }

// beginning is the time of the first entry that is known of the exchange, or that a gateway has.
func beginning(loads map[string]*load, known []Row) int64 {
	first := time.Now().UnixMicro()
	for _, r := range known {
		first = min(first, r.Entry.Open.Time)
	}
	for _, l := range loads {
		for _, r := range l.rows {
			if l.kind == KindGateway {
				first = min(first, r.Entry.Open.Time)
			}
		}
	}
	return first
}

// state tells whether all is there from when the exchange began, as far as the
// log had come: one that was copied before that says nothing.
func (l *load) state(began int64) Answering {
	switch {
	case l.doubtful:
		return Doubtful
	case slices.ContainsFunc(l.spans, func(s span) bool { return s.from <= began && began <= s.to }):
		return Answered
	}
	return Partial
}

// add puts entries with their proofs to a log's load, each once, and holds them
// against its keys as an answer over the network is.
func (l *load) add(of Listed, exchange string, found []audit.Proven) error {
	held, err := of.holds(Filter{Exchange: exchange})
	if err != nil {
		return err
	}
	var rows []Row
	for _, p := range found {
		text, err := p.Receipt.MarshalText()
		if err != nil {
			return fmt.Errorf("audit search: %w", err)
		}
		row := Row{Origin: p.Receipt.Origin, Index: p.Index, Leaf: p.Leaf, Open: string(p.OpenJSON), Closed: string(p.ClosedJSON), Receipt: string(text), Entry: p.Entry}
		if row.Closed != "" {
			row.Salt = hex.EncodeToString(p.Salt[:])
		}
		if slices.ContainsFunc(l.rows, func(o Row) bool { return o.Origin == row.Origin && o.Index == row.Index }) {
			continue
		}
		if held.row(row) != nil {
			l.doubtful = true
			return nil // the answer says so
		}
		rows = append(rows, row)
	}
	l.doubtful = l.doubtful || len(l.shards) == 0
	l.rows = append(l.rows, rows...)
	return nil
}

var errNotListed = errors.New("不是名册上任何日志的，或其密钥不是名册所列 / is of no log on the roster, or its key is not the listed one")

// owner finds the log that something carried is of: the one whose keys it was signed with.
func (r Roster) owner(path string, loads map[string]*load, origin func(keys []*ecdsa.PublicKey) (string, bool)) (Listed, *load, []*ecdsa.PublicKey, error) {
	for _, l := range r.Logs {
		keys, err := l.PublicKeys()
		if err != nil {
			return Listed{}, nil, nil, err
		}
		if name, ok := origin(keys); !ok || baseOf(name) != l.Origin {
			continue
		}
		if loads[l.Origin] == nil {
			loads[l.Origin] = &load{kind: l.Kind}
		}
		return l, loads[l.Origin], keys, nil
	}
	return Listed{}, nil, nil, fmt.Errorf("audit search: %s %w", path, errNotListed)
}

func (r Roster) directory(ctx context.Context, path, exchange string, loads map[string]*load) error {
	shards, err := auditor.Dirs(path)
	if err != nil {
		return err
	}
	query := index.Query{Exchange: exchange}
	for _, dir := range shards {
		of, l, keys, err := r.owner(dir, loads, func(keys []*ecdsa.PublicKey) (string, bool) {
			origin, err := audit.ReadOrigin(dir, keys...)
			return origin, err == nil
		})
		if err != nil {
			return err
		}
		report, err := audit.VerifyDir(ctx, dir, audit.VerifyOptions{Keys: keys, Live: true})
		if errors.Is(err, audit.ErrDamaged) {
			l.doubtful = true
			continue
		}
		if err != nil {
			return err
		}
		found, _, err := audit.ProveEach(dir, func(s audit.Stored) bool { return query.Matches(s.Entry) }, keys...)
		if err != nil {
			return err
		}
		l.shards = append(l.shards, Shard{Origin: report.Origin, Size: report.Entries, CompleteTo: report.Entries})
		l.spans = append(l.spans, span{0, report.Head.Time})
		if err := l.add(of, exchange, found); err != nil {
			return err
		}
	}
	return nil
}

func (r Roster) subset(_ context.Context, path, exchange string, loads map[string]*load) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("audit search: %w", err)
	}
	of, l, keys, err := r.owner(path, loads, func(keys []*ecdsa.PublicKey) (string, bool) {
		report, err := auditor.VerifySubset(text, nil, keys...)
		return report.Origin, err == nil && report.Head.Size > 0
	})
	if err != nil {
		return err
	}
	report, entries, err := auditor.ReadSubset(text, nil, keys...)
	if err != nil {
		return err
	}
	if !report.OK() {
		l.doubtful = true
		return nil
	}
	query := index.Query{Exchange: exchange}
	entries = slices.DeleteFunc(entries, func(p audit.Proven) bool { return !query.Matches(p.Entry) })
	l.shards = append(l.shards, Shard{Origin: report.Origin, Size: report.Size})
	if !report.From.IsZero() {
		l.spans = append(l.spans, span{report.From.UnixMicro(), min(report.To.UnixMicro(), report.Head.Time)})
	}
	return l.add(of, exchange, entries)
}

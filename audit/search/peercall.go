package search

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
)

// What came of asking a log, if it is no answer.
var (
	errRefused    = errors.New("audit search: refused")
	errAbsent     = errors.New("audit search: there is no such thing")
	errUnanswered = errors.New("audit search: no answer")
	errDoubtful   = errors.New("audit search: not an answer")
	errRewound    = errors.New("audit search: not what the log was, grown longer")
)

// stateOf is what an error of asking a log means in an answer.
func stateOf(err error) Answering {
	switch {
	case errors.Is(err, errRefused):
		return Refused
	case errors.Is(err, errUnanswered):
		return Unreachable
	case errors.Is(err, errRewound):
		return Rewound
	}
	return Doubtful
}

// post asks one log. It fails with errRefused or errUnanswered.
func post(ctx context.Context, peers *http.Client, l Listed, path string, in any) (io.ReadCloser, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnanswered, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(l.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnanswered, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := peers.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errUnanswered, l.Origin, err)
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	case resp.StatusCode == http.StatusNotFound:
		err = fmt.Errorf("%w: %w", errRefused, errAbsent)
	case resp.StatusCode >= 400 && resp.StatusCode < 500:
		err = errRefused
	default:
		err = fmt.Errorf("%w: %s: HTTP %d", errUnanswered, l.Origin, resp.StatusCode)
	}
	return nil, errors.Join(err, resp.Body.Close())
}

// call asks one log for an answer that is read as a whole. It fails with
// errRefused, errUnanswered or errDoubtful.
func call[Out any](ctx context.Context, peers *http.Client, l Listed, path string, in any) (out Out, err error) {
	body, err := post(ctx, peers, l, path, in)
	if err != nil {
		return out, err
	}
	defer body.Close() // only read
	text, err := io.ReadAll(io.LimitReader(body, answerFrame+maxRows*answerRow))
	if err != nil {
		return out, fmt.Errorf("%w: %s: %w", errUnanswered, l.Origin, err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, fmt.Errorf("%w: %w", errDoubtful, err)
	}
	return out, nil
}

// How much of an answer is read: rows are of a kilobyte or two, with their proofs.
const (
	answerFrame = 256 << 10
	answerRow   = 16 << 10
)

// staleAfter is how far the clocks of two nodes may be apart.
const staleAfter = 5 * time.Minute

// holding is what another log's rows are held against, one after the other: its
// keys and the question.
type holding struct {
	base   string // the log
	keys   []*ecdsa.PublicKey
	query  index.Query
	taken  map[string]bool       // rows, each stands once
	newest map[string]audit.Head // of the rows' receipts, by origin
}

func (l Listed) holds(f Filter) (*holding, error) {
	keys, err := l.PublicKeys()
	return &holding{l.Origin, keys, Ask{Filter: f}.query(), map[string]bool{}, map[string]audit.Head{}}, err
}

// row checks that a row is proven under a head that the log signed, is one of those
// asked for, and stands once.
func (h *holding) row(r Row) error {
	if err := r.Verify(h.base, h.keys...); err != nil {
		return err
	}
	return h.take(r.Origin, r.Index, r.Receipt, r.Entry)
}

// take counts an entry whose proof holds.
func (h *holding) take(origin string, index uint64, receipt string, e audit.Entry) error {
	place := fmt.Sprint(origin, ":", index)
	if h.taken[place] || !h.query.Matches(e) {
		return fmt.Errorf("entry %s stands twice, or was not asked for", place)
	}
	h.taken[place] = true
	parsed, err := audit.ParseReceipt([]byte(receipt))
	if err == nil && parsed.Head.Size > h.newest[origin].Size {
		h.newest[origin] = parsed.Head.Head
	}
	return err
}

// question is one to another node's log. Rows are verified as they are read,
// so that what does not verify takes no room.
type question struct {
	*holding
	ask   PeerAsk
	about *about // of a search for persons, which is asked for by a ticket
	of    Listed
	at    time.Time             // when it is asked
	known map[string]audit.Head // that the log has shown before, by origin
}

// do asks, and returns the answer with the heads of its shards. Errors wrap
// errRefused, errUnanswered, errDoubtful or errRewound.
func (c *question) do(ctx context.Context, by *http.Client) (PeerAnswer, map[string]audit.SignedHead, error) {
	if err := c.prepare(); err != nil {
		return PeerAnswer{}, nil, err
	}
	body, err := post(ctx, by, c.of, c.path(), c.body())
	if err != nil {
		return PeerAnswer{}, nil, err
	}
	defer body.Close() // only read
	a, err := c.read(io.LimitReader(body, answerFrame+int64(c.ask.Limit)*answerRow))
	if err != nil {
		return PeerAnswer{}, nil, err
	}
	heads, err := c.bind(a.Shards, a.More)
	return a, heads, err
}

// prepare has ready what the answer is held against, and says what is known.
func (c *question) prepare() (err error) {
	if c.holding, err = c.of.holds(c.ask.Filter); err != nil {
		return fmt.Errorf("%w: %w", errDoubtful, err)
	}
	c.ask.Known = map[string]uint64{}
	for origin, head := range c.known {
		c.ask.Known[origin] = head.Size
	}
	return nil
}

func (c *question) path() string {
	if c.about != nil {
		return PersonsPath
	}
	return PeerPath
}

func (c *question) body() any {
	if c.about == nil {
		return c.ask
	}
	in := c.about.PeerPersonsAsk
	in.To, in.Limit, in.Known = c.ask.Filter.To, c.ask.Limit, c.ask.Known
	return in
}

// read decodes an answer member by member.
func (c *question) read(from io.Reader) (a PeerAnswer, err error) {
	d := json.NewDecoder(from)
	d.UseNumber()
	defer func() {
		var way interface{ Timeout() bool }
		switch {
		case err == nil:
		case errors.As(err, &way), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			err = fmt.Errorf("%w: %w", errUnanswered, err)
		default:
			err = fmt.Errorf("%w: %w", errDoubtful, err)
		}
	}()
	if err := expect(d, json.Delim('{')); err != nil {
		return a, err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return a, err
		}
		switch name {
		case "subjects":
			err = c.subjects(d)
		case "rows":
			a.Rows, err = c.rows(d)
		case "shards":
			err = d.Decode(&a.Shards)
		case "more":
			err = d.Decode(&a.More)
		default:
			var unknown json.RawMessage
			err = d.Decode(&unknown)
		}
		if err != nil {
			return a, err
		}
	}
	return a, expect(d, json.Delim('}'))
}

func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if err == nil && got != want {
		err = fmt.Errorf("%v where %v should be", got, want)
	}
	return err
}

// rows reads and verifies the rows.
func (c *question) rows(d *json.Decoder) ([]Row, error) {
	if err := expect(d, json.Delim('[')); err != nil {
		return nil, err
	}
	if c.about != nil && len(c.query.Subjects) == 0 {
		return nil, errors.New("rows before the pseudonyms they are about")
	}
	var rows []Row
	for d.More() {
		if len(rows) == c.ask.Limit {
			return nil, errors.New("more rows than asked for")
		}
		var r Row
		if err := d.Decode(&r); err != nil {
			return nil, err
		}
		if err := c.row(r); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, expect(d, json.Delim(']'))
}

// bind holds the shards' checkpoints against the log's keys, the rows, the time of
// the question and what the log has shown before. More: older shards may be left out.
func (c *question) bind(shards []PeerShard, more bool) (map[string]audit.SignedHead, error) {
	heads := map[string]audit.SignedHead{}
	latest := "" // of those that are not lost
	for i, sh := range shards {
		again := slices.ContainsFunc(shards[:i], func(o PeerShard) bool { return o.Origin == sh.Origin })
		if again || baseOf(sh.Origin) != c.of.Origin || sh.CompleteTo > sh.Size {
			return nil, fmt.Errorf("%w: shard %q", errDoubtful, sh.Origin)
		}
		if sh.Lost {
			continue
		}
		head, err := c.head(sh)
		if err != nil {
			return nil, err
		}
		heads[sh.Origin], latest = head, max(latest, sh.Origin)
	}
	if len(shards) == 0 {
		return nil, fmt.Errorf("%w: no shard", errDoubtful)
	}
	if lacks := c.passedOver(shards, more); lacks != "" {
		return nil, fmt.Errorf("%w: it has shown %s before and says nothing of it now", errRewound, lacks)
	}
	// The other side has recorded the question, so that its log is as young as that.
	if at := time.UnixMicro(heads[latest].Time); latest != "" && at.Before(c.at.Add(-staleAfter)) {
		return nil, fmt.Errorf("%w: its newest checkpoint is of %s", errRewound, at.UTC().Format(time.RFC3339))
	}
	for origin, newest := range c.newest {
		if head := heads[origin].Head; newest.Size > head.Size || newest.Size == head.Size && newest.Root != head.Root {
			return nil, fmt.Errorf("%w: rows of %s are of another log than its checkpoint", errDoubtful, origin)
		}
	}
	return heads, nil
}

// passedOver is a shard that the log has shown before and is silent about now, ""
// if there is none. Every one has to be named that the period touches, newest
// first, down to where an answer with more to come ends.
func (c *question) passedOver(shards []PeerShard, more bool) string {
	oldest := ""
	for _, sh := range shards {
		if name := path.Base(sh.Origin); oldest == "" || name < oldest {
			oldest = name
		}
	}
	for origin := range c.known {
		name := path.Base(origin)
		named := slices.ContainsFunc(shards, func(sh PeerShard) bool { return sh.Origin == origin })
		if !named && !(more && name < oldest) && touches(name, c.query.From, c.query.To) {
			return origin
		}
	}
	return ""
}

// touches tells whether a shard's quarter has a part of a period; of a zero bound
// it goes on for ever.
func touches(shard string, from, to time.Time) bool {
	start, ok := quarterStart(shard)
	return !ok || (to.IsZero() || start.Before(to)) && start.AddDate(0, 3, 0).After(from)
}

// head verifies one shard's checkpoint.
func (c *question) head(sh PeerShard) (audit.SignedHead, error) {
	head, err := audit.ParseCheckpoint([]byte(sh.Checkpoint))
	if err != nil {
		return head, fmt.Errorf("%w: %w", errDoubtful, err)
	}
	if head.Origin != sh.Origin || head.Size < sh.Size || head.Size == 0 {
		return head, fmt.Errorf("%w: checkpoint of %s", errDoubtful, sh.Origin)
	}
	if err := signedByOne(head, c.keys); err != nil {
		return head, fmt.Errorf("%w: %w", errDoubtful, err)
	}
	old, known := c.known[sh.Origin]
	if !known {
		return head, nil
	}
	if old.Size > head.Size {
		return head, fmt.Errorf("%w: %s had %d entries, has %d", errRewound, sh.Origin, old.Size, head.Size)
	}
	if err := audit.VerifyConsistency(old.Size, head.Size, sh.Growth, old.Root, head.Root); err != nil {
		return head, fmt.Errorf("%w: %s: %w", errRewound, sh.Origin, err)
	}
	return head, nil
}

func signedByOne(head audit.SignedHead, keys []*ecdsa.PublicKey) error {
	err := audit.ErrSignature
	for _, k := range keys {
		if err = head.Verify(k); err == nil {
			return nil
		}
	}
	return err
}

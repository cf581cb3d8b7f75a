package auditor

import (
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"yizheng/audit"
)

// A subset is some of a log's entries in one file, each with its proof under
// one signed checkpoint: what can be handed on without the log. An entry's
// closed half may be withheld; its salted hash stands in its place.
//
// Of a range of time the subset also has the entry before and the one behind,
// closed halves withheld: with entries numbered and times growing, it shows
// that nothing between is left out.
type subset struct {
	Format     string        `json:"format"`
	Range      *timeRange    `json:"range,omitempty"`
	Checkpoint string        `json:"checkpoint"`
	Entries    []subsetEntry `json:"entries"`
}

const subsetFormat = "yizheng-audit-subset/1"

// timeRange is from, inclusive, to before to; microseconds.
type timeRange struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

type subsetEntry struct {
	Index    uint64       `json:"index"`
	Open     string       `json:"open"`
	Salt     string       `json:"salt,omitempty"`
	Closed   string       `json:"closed,omitempty"`
	Withheld *audit.Hash  `json:"withheld,omitempty"` // SM3(salt ‖ closed)
	Proof    []audit.Hash `json:"proof"`
}

// Choice says which entries a subset holds.
type Choice struct {
	// Index tells them one by one, or From and To as a range of time.
	Index    func(index uint64) bool
	From, To time.Time
	// Withhold leaves the closed halves out.
	Withhold bool
}

// Export makes a subset of the shard in dir.
func Export(dir string, c Choice, keys ...*ecdsa.PublicKey) ([]byte, error) {
	out := subset{Format: subsetFormat}
	want := func(s audit.Stored) bool { return c.Index(s.Index) }
	first, behind := ^uint64(0), uint64(0) // the range's neighbours are first-1 and behind
	if c.Index == nil {
		out.Range = &timeRange{c.From.UnixMicro(), c.To.UnixMicro()}
		if err := audit.Each(dir, func(s audit.Stored) error {
			if t := s.Entry.Open.Time; t < out.Range.To {
				behind = s.Index + 1
				if t >= out.Range.From {
					first = min(first, s.Index)
				}
			}
			return nil
		}, keys...); err != nil {
			return nil, err
		}
		first = min(first, behind)
		want = func(s audit.Stored) bool { return s.Index+1 >= first && s.Index <= behind }
	}
	found, head, err := audit.ProveEach(dir, want, keys...)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("没有这样的条目 / there is no such entry: %w", audit.ErrRange)
	}
	note, err := head.MarshalText()
	if err != nil {
		return nil, err
	}
	out.Checkpoint = string(note)
	for _, p := range found {
		neighbour := out.Range != nil && (p.Index < first || p.Index >= behind)
		out.Entries = append(out.Entries, exported(p, c.Withhold || neighbour))
	}
	text, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return nil, fmt.Errorf("subset: %w", err)
	}
	return append(text, '\n'), nil
}

func exported(p audit.Proven, withhold bool) subsetEntry {
	e := subsetEntry{Index: p.Index, Open: string(p.OpenJSON), Proof: p.Receipt.Proof}
	if withhold {
		h := p.ClosedHash()
		e.Withheld = &h
		return e
	}
	e.Salt, e.Closed = hex.EncodeToString(p.Salt[:]), string(p.ClosedJSON)
	return e
}

// SubsetReport is what a subset turned out to be.
type SubsetReport struct {
	Origin   string
	Size     uint64           // of the log when the subset was made
	Head     audit.SignedHead `json:"-"`
	First    uint64
	Last     uint64
	Entries  int
	Withheld int // of them without their closed half
	From, To time.Time
	Problems []audit.Problem
}

// OK tells whether nothing is wrong.
func (r SubsetReport) OK() bool { return len(r.Problems) == 0 }

// VerifySubset checks a subset: the checkpoint's signature, each entry's place
// under it, and that a range of time is whole. known, if given, is a
// checkpoint from elsewhere of the same size, which must be the same. An error
// means that the file is no subset.
func VerifySubset(text, known []byte, keys ...*ecdsa.PublicKey) (SubsetReport, error) {
	r, _, err := ReadSubset(text, known, keys...)
	return r, err
}

// ReadSubset is VerifySubset, and returns the entries besides, to be used only
// if the report is OK. Of one whose closed half is withheld there is no more
// than the open half and the leaf.
func ReadSubset(text, known []byte, keys ...*ecdsa.PublicKey) (SubsetReport, []audit.Proven, error) {
	var s subset
	var r SubsetReport
	if err := json.Unmarshal(text, &s); err != nil || s.Format != subsetFormat {
		return r, nil, fmt.Errorf("不是 %s 文件 / not a %s file", subsetFormat, subsetFormat)
	}
	head, err := audit.ParseCheckpoint([]byte(s.Checkpoint))
	if err != nil {
		return r, nil, fmt.Errorf("子集的检查点 / checkpoint of the subset: %w", err)
	}
	r.Origin, r.Size, r.Entries = head.Origin, head.Size, len(s.Entries)
	problem := func(code string, index uint64, format string, a ...any) {
		r.Problems = append(r.Problems, audit.Problem{Code: code, Offset: -1, Index: index, Text: fmt.Sprintf(format, a...)})
	}
	var pub *ecdsa.PublicKey
	for _, k := range keys {
		if head.Verify(k) == nil {
			pub = k
		}
	}
	if pub == nil {
		problem("signature", audit.NoIndex, "the checkpoint is not signed by a pinned key")
		return r, nil, nil
	}
	if len(known) > 0 {
		k, err := audit.ParseCheckpoint(known)
		if err != nil || k.Head != head.Head {
			problem("known", audit.NoIndex, "the subset's checkpoint is not the known one")
		}
	}
	if len(s.Entries) == 0 {
		problem("gap", audit.NoIndex, "the subset holds no entry")
		return r, nil, nil
	}
	r.Head = head
	var entries []audit.Proven
	for i, e := range s.Entries {
		if i > 0 && e.Index <= s.Entries[i-1].Index {
			problem("proof", e.Index, "entries are not in order")
		}
		p, err := e.verify(head, pub)
		if err != nil {
			problem("proof", e.Index, "%v", err)
		}
		if e.Withheld != nil {
			r.Withheld++
		}
		entries = append(entries, p)
	}
	r.First, r.Last = s.Entries[0].Index, s.Entries[len(s.Entries)-1].Index
	if s.Range != nil {
		r.From, r.To = time.UnixMicro(s.Range.From), time.UnixMicro(s.Range.To)
		for _, gap := range s.gaps(entries, head.Size) {
			problem("gap", gap.Index, "%s", gap.Text)
		}
	}
	return r, entries, nil
}

// verify checks one entry and reads it, with its proof.
func (e subsetEntry) verify(head audit.SignedHead, pub *ecdsa.PublicKey) (audit.Proven, error) {
	p := audit.Proven{Stored: audit.Stored{Index: e.Index, OpenJSON: []byte(e.Open), ClosedJSON: []byte(e.Closed)}}
	switch salt, err := hex.DecodeString(e.Salt); {
	case e.Withheld != nil && e.Salt == "" && e.Closed == "":
		p.Leaf = audit.LeafHashWithheld(p.OpenJSON, *e.Withheld)
	case e.Withheld != nil || err != nil || len(salt) != audit.SaltSize:
		return p, fmt.Errorf("either a closed half and its salt, or their hash")
	default:
		p.Salt = [audit.SaltSize]byte(salt)
		p.Leaf = audit.LeafHash(p.OpenJSON, p.ClosedJSON, p.Salt)
	}
	p.Receipt = audit.Receipt{Origin: head.Origin, Index: e.Index, Leaf: p.Leaf, Head: head, Proof: e.Proof}
	if err := p.Receipt.Verify(pub, p.Leaf); err != nil {
		return p, err
	}
	if err := json.Unmarshal(p.OpenJSON, &p.Entry.Open); err != nil {
		return p, fmt.Errorf("open half is not the JSON of an entry")
	}
	if e.Withheld != nil {
		return p, nil
	}
	if err := json.Unmarshal(p.ClosedJSON, &p.Entry.Closed); err != nil {
		return p, fmt.Errorf("closed half is not the JSON of an entry")
	}
	return p, nil
}

// gaps finds what a range of time should hold and does not.
func (s subset) gaps(entries []audit.Proven, size uint64) (found []audit.Problem) {
	add := func(index uint64, text string) { found = append(found, audit.Problem{Index: index, Text: text}) }
	for i := 1; i < len(s.Entries); i++ {
		if s.Entries[i].Index != s.Entries[i-1].Index+1 {
			add(s.Entries[i-1].Index+1, "entries are missing from here on")
		}
	}
	if first := s.Entries[0].Index; first != 0 && entries[0].Entry.Open.Time >= s.Range.From {
		add(first, "the entry before the range is missing")
	}
	last := len(s.Entries) - 1
	if index := s.Entries[last].Index; index != size-1 && entries[last].Entry.Open.Time < s.Range.To {
		add(index, "the entry behind the range is missing")
	}
	return found
}

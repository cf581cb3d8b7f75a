package search

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
)

// asksFront is an office that asks a front, and what the front's log came to.
func asksFront(t *testing.T, o *office, fronts ...*node) func(at int, change func(*PeerAnswer)) Log {
	t.Helper()
	var keys []string
	for _, f := range fronts {
		keys = append(keys, listKey(t, f.key))
	}
	return func(at int, change func(*PeerAnswer)) Log {
		t.Helper()
		s := fronts[at].serve(change)
		o.Peers = s.Client()
		l := listed(t, fronts[at], KindFront, "hr-front", frontBase, s.URL)
		l.Keys = keys
		o.roster(l)
		a, err := o.Search(t.Context(), as("auditor-1"), Ask{Filter: Filter{Exchange: exchangeNumber}, Everywhere: true})
		must(t, err)
		return a.Logs[1]
	}
}

func TestALogThatSaysItIsCompleteIsOnlyTold(t *testing.T) {
	o, front := newOffice(t), newNode(t, frontBase)
	front.add(leg("hr-source", "HR-01.1", "FOUND"))
	l := asksFront(t, o, front)(0, honest)
	if l.State != Answered || !l.Told || !strings.Contains(l.Chinese, "对方声明") || !strings.Contains(l.English, "statement") {
		t.Errorf("%+v", l)
	}
}

func TestAnAnswerIsBoundToTheCheckpointOfItsLog(t *testing.T) {
	front, other := newNode(t, frontBase), newNode(t, frontBase)
	front.add(leg("hr-source", "HR-01.1", "FOUND"))
	note, err := other.Log.Head().MarshalText()
	must(t, err)
	for name, test := range map[string]struct {
		change func(*PeerAnswer)
		clock  time.Duration
		want   Answering
	}{
		"as it is":                 {honest, 0, Answered},
		"without a checkpoint":     {func(a *PeerAnswer) { a.Shards[0].Checkpoint = "" }, 0, Doubtful},
		"another key's":            {func(a *PeerAnswer) { a.Shards[0].Checkpoint = string(note) }, 0, Doubtful},
		"of fewer than it says":    {func(a *PeerAnswer) { a.Shards[0].Size += 1000; a.Shards[0].CompleteTo += 1000 }, 0, Doubtful},
		"searched beyond its end":  {func(a *PeerAnswer) { a.Shards[0].CompleteTo = a.Shards[0].Size + 1 }, 0, Doubtful},
		"a shard of another log":   {func(a *PeerAnswer) { a.Shards[0].Origin = "fp-other/audit/2026q4" }, 0, Doubtful},
		"a shard twice":            {func(a *PeerAnswer) { a.Shards = append(a.Shards, a.Shards[0]) }, 0, Doubtful},
		"rows of no shard":         {func(a *PeerAnswer) { a.Shards[0].Lost = true }, 0, Doubtful},
		"older than the question":  {honest, time.Hour, Rewound},
		"more rows than asked for": {func(a *PeerAnswer) { a.Rows = append(a.Rows, make([]Row, 2000)...) }, 0, Doubtful},
		"longer than can be":       {func(a *PeerAnswer) { a.Shards[0].Checkpoint = strings.Repeat("x", 20<<20) }, 0, Doubtful},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.now = o.now.Add(test.clock)
			if l := asksFront(t, o, front)(0, test.change); l.State != test.want {
				t.Errorf("%+v", l)
			}
		})
	}
}

func TestALogThatWasCutOrExchangedIsNoticed(t *testing.T) {
	// Three logs of one name, each signed by a key that the roster lists.
	front, cut, longer := newNode(t, frontBase), newNode(t, frontBase), newNode(t, frontBase)
	for range 8 {
		front.add(leg("hr-source", "HR-01.1", "FOUND"))
	}
	for range 40 {
		longer.add(leg("hr-source", "HR-01.1", "FOUND"))
	}
	kept := filepath.Join(t.TempDir(), "heads")
	open := func() *office {
		o := newOffice(t)
		o.roster(listed(t, front, KindFront, "hr-front", frontBase, ""))
		r := *o.Roster
		r.Logs[1].Keys = []string{listKey(t, front.key), listKey(t, cut.key), listKey(t, longer.key)}
		heads, err := OpenHeads(kept, r)
		must(t, err)
		o.Heads = heads
		return o
	}
	o := open()
	ask := asksFront(t, o, front, cut, longer)
	for i, test := range []struct {
		log    int
		change func(*PeerAnswer)
		want   Answering
	}{
		{0, honest, Answered}, {1, honest, Rewound}, {2, honest, Rewound}, {0, honest, Answered},
		{0, func(a *PeerAnswer) { a.Shards[0].Growth = nil }, Rewound},
	} {
		if l := ask(test.log, test.change); l.State != test.want || l.State == Rewound && !strings.Contains(l.Chinese, "请立即核查") {
			t.Errorf("question %d: %+v", i, l)
		}
	}
	// A restart remembers, and a file that was made up is refused.
	if l := asksFront(t, open(), front, cut, longer)(1, honest); l.State != Rewound {
		t.Errorf("after a restart: %+v", l)
	}
	raw, err := os.ReadFile(kept)
	must(t, err)
	must(t, os.WriteFile(kept, []byte(strings.Replace(string(raw), `\n`, `\n1`, 1)), 0o600))
	if _, err := OpenHeads(kept, *o.Roster); err == nil || !strings.Contains(err.Error(), "删除此文件") {
		t.Errorf("a changed file is taken: %v", err)
	}
}

func FuzzPeerAnswer(f *testing.F) {
	f.Add([]byte(`{"rows":[],"shards":[{"origin":"a/b","size":1,"complete_to_index":1}],"more":false,"x":[{}]}`))
	f.Add([]byte(`{"rows":[{"origin":"a","index":0,"open":"{}","closed":"{}","salt":"00000000000000000000000000000000","receipt":""}]}`))
	f.Add([]byte(`{"rows":{`))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := Listed{Origin: "gw/audit"}.holds(Filter{})
		must(t, err)
		c := question{holding: h, ask: PeerAsk{Limit: 10}, of: Listed{Origin: "gw/audit"}, known: map[string]audit.Head{}}
		a, err := c.read(strings.NewReader(string(text)))
		if err == nil && len(a.Rows) > 0 {
			t.Error("rows without a key were taken")
		}
		_, _ = c.bind(a.Shards, a.More) // must end
	})
}

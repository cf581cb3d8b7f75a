package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/identity/jose"
)

// kept is a log of 37 entries and its index in full files of ten and a live one,
// made, sealed and closed.
type kept struct {
	log  *audit.Log
	dir  string // of the shard's index
	conf ShardsConfig
	told chan Change
}

func keptIndex(t *testing.T) *kept {
	t.Helper()
	key, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	k := &kept{log: openLog(t), told: make(chan Change, 100)}
	k.conf = ShardsConfig{Dir: t.TempDir(), Every: time.Millisecond, Key: key, Live: 10, Merge: 100, Changed: func(c Change) { k.told <- c }}
	k.dir = filepath.Join(k.conf.Dir, "2026q4")
	k.fill(t, 37)
	s := k.open(t, false)
	k.sealed(t, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return k
}

// fill lets the log grow to so many entries, of three cases and two residents.
func (k *kept) fill(t *testing.T, size uint64) {
	t.Helper()
	var list []audit.Entry
	for n := k.log.Head().Size; n < size; n++ {
		list = append(list, audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseIntent, Case: fmt.Sprint("2026-", n%3), Department: fmt.Sprint("dept-", n%2),
			Subjects: []audit.SubjectRef{resident(n % 2 * 12)}}, Closed: audit.Closed{Actor: "clerk"}})
	}
	if _, err := k.log.Append(t.Context(), list...); err != nil {
		t.Fatal(err)
	}
}

func (k *kept) open(t *testing.T, held bool) *Shards {
	t.Helper()
	s := NewShards(k.conf)
	t.Cleanup(func() { s.Close() })
	if held {
		s.checking <- struct{}{} // nothing is looked at until it is taken
	}
	s.Add(k.log)
	if !held {
		await(t, s)
	}
	return s
}

func (k *kept) sealed(t *testing.T, files int) {
	t.Helper()
	wait(t, "seals", func() bool {
		seals, _ := filepath.Glob(filepath.Join(k.dir, "*"+sealSuffix))
		return len(seals) == files
	})
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what + ": not in time")
		}
	}
}

// found holds what a search yields to what the log has, and tells whether it
// says that it is complete.
func (k *kept) found(t *testing.T, s *Shards, q Query) (same, complete bool) {
	t.Helper()
	q.Limit = 500
	r, err := s.Search(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var have, want []uint64
	for _, h := range r.Hits {
		have = append(have, h.Index)
	}
	for n := uint64(1); n < k.log.Head().Size; n++ {
		if n%3 == 1 && q.Case != "" || n%2 == 1 && q.Subjects != nil || n%2 == 1 && q.Department != "" || q.Actor != "" {
			want = append(want, n)
		}
	}
	slices.Reverse(want)
	return slices.Equal(have, want), r.Searched[0].Err == nil && r.Searched[0].Indexed >= r.Searched[0].Size
}

var asked = map[string]Query{"case": {Case: "2026-1"}, "resident": {Subjects: []audit.SubjectRef{resident(12)}}, "department": {Department: "dept-1"}, "operator": {Actor: "clerk"}}

const full = "s000000000010.db"

// changes are what somebody who can write the files may do; the search that
// would miss something by it.
var tampering = map[string]struct {
	file, query string
	by          func(t *testing.T, dir string)
}{
	"a row deleted from a full file":          {full, "case", statements(full, "DELETE FROM entry WHERE idx = 13")},
	"the last row deleted from a full file":   {full, "case", statements(full, "DELETE FROM entry WHERE idx = 19")},
	"a row deleted from the live file":        {liveName, "case", statements(liveName, "DELETE FROM entry WHERE idx = 34")},
	"a case changed":                          {full, "case", statements(full, "UPDATE entry SET kase = 7 WHERE idx = 13")},
	"a case changed in the live file":         {liveName, "case", statements(liveName, "UPDATE entry SET kase = 7 WHERE idx = 34")},
	"a department changed":                    {liveName, "department", statements(liveName, "UPDATE entry SET dept = NULL WHERE idx = 33")},
	"a pseudonym deleted":                     {full, "resident", statements(full, "DELETE FROM subject WHERE idx = 15")},
	"a pseudonym deleted from the live file":  {liveName, "resident", statements(liveName, "DELETE FROM subject WHERE idx = 35")},
	"a pseudonym inserted into the live file": {liveName, "", statements(liveName, "INSERT INTO subject SELECT hash, 34 FROM subject WHERE idx = 35")},
	"a row inserted into a full file":         {full, "", statements(full, "INSERT INTO entry (idx, ts) VALUES (25, 1)")},
	"a file put back to an older copy":        {full, "case", statements(full, "DELETE FROM entry WHERE idx > 12", "DELETE FROM subject WHERE idx > 12")},
	"a full file by another one":              {full, "case", func(t *testing.T, dir string) { swap(t, dir, "s000000000000.db", full) }},
	"a full file gone":                        {"s000000000020.db", "case", func(t *testing.T, dir string) { remove(t, dir, full) }},
	"a row hidden from its tree": {liveName, "operator", statements(liveName, "DROP INDEX entry_actor",
		"CREATE INDEX entry_actor ON entry (actor) WHERE actor IS NOT NULL AND idx <> 34", "PRAGMA writable_schema = ON",
		"UPDATE sqlite_schema SET sql = 'CREATE INDEX entry_actor ON entry (actor) WHERE actor IS NOT NULL' WHERE name = 'entry_actor'")},
	"a table behind a view": {liveName, "case", statements(liveName, "ALTER TABLE entry RENAME TO truth", "CREATE VIEW entry AS SELECT * FROM truth WHERE idx <> 34")},
	"words exchanged": {"", "department", statements(wordsName, "UPDATE word SET text = 'x' WHERE text = 'dept-0'",
		"UPDATE word SET text = 'dept-0' WHERE text = 'dept-1'", "UPDATE word SET text = 'dept-1' WHERE text = 'x'")},
	"words that nothing can be added to":   {wordsName, "", statements(wordsName, "CREATE TRIGGER no BEFORE INSERT ON word BEGIN SELECT RAISE(ABORT, 'no'); END")},
	"a statement in the name of the words": {wordsName, "", statements(wordsName, "UPDATE name SET name = name || char(39) || '); DROP TABLE entry; --'")},
	"the seal taken away as well": {full, "case", func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, full+sealSuffix)); err != nil {
			t.Fatal(err)
		}
		statements(full, "DELETE FROM entry WHERE idx = 13")(t, dir)
	}},
}

func statements(file string, list ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		db, err := connect(dir, file)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.SetMaxOpenConns(1)
		for _, s := range slices.Concat([]string{"BEGIN IMMEDIATE"}, list, []string{"COMMIT"}) {
			if _, err := db.ExecContext(t.Context(), s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
}

func swap(t *testing.T, dir, from, to string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, from))
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(dir, to+".new"), b, 0o600), os.Rename(filepath.Join(dir, to+".new"), filepath.Join(dir, to)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What was done while nobody used the index: no search says that it is complete
// and is not; it is named, and made again.
func TestWhatWasDoneToAClosedIndexIsFoundAndMendedBeforeASearchIsComplete(t *testing.T) {
	for name, c := range tampering {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := keptIndex(t)
			c.by(t, k.dir)
			s := k.open(t, true)
			wait(t, "opened", func() bool { return s.State()[0].Err == nil || len(k.told) > 0 })
			if c.query != "" {
				if same, complete := k.found(t, s, asked[c.query]); complete && !same {
					t.Error("a search that says it is complete did not find all")
				}
			}
			<-s.checking
			k.mended(t, s, c.file)
		})
	}
}

// The same while it is used, where what was done shows at once only to the check.
func TestWhatIsDoneToAnIndexInUseIsFoundAndMended(t *testing.T) {
	for _, name := range []string{"a row deleted from a full file", "a row deleted from the live file", "a pseudonym deleted from the live file", "a file put back to an older copy", "a full file gone"} {
		c := tampering[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := keptIndex(t)
			k.conf.Check = 20 * time.Millisecond
			s := k.open(t, false)
			c.by(t, k.dir)
			file := c.file
			if name == "a full file gone" {
				file = full
			}
			k.mended(t, s, file)
		})
	}
}

// mended waits until a change of the file was told and everything is found again.
func (k *kept) mended(t *testing.T, s *Shards, file string) {
	t.Helper()
	for told := false; !told; {
		select {
		case c := <-k.told:
			told = file == "" || c.File == file
			if c.Origin != k.log.Origin() || c.What == "" || c.Next < c.First || !strings.HasSuffix(c.File, ".db") {
				t.Errorf("told %+v", c)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("nothing was told of %s: %+v", file, s.Changes())
		}
	}
	k.fill(t, k.log.Head().Size+3)
	wait(t, "complete again", func() bool {
		for _, q := range asked {
			if same, complete := k.found(t, s, q); !complete || !same {
				return false
			}
		}
		return true
	})
	if len(s.Changes()) == 0 {
		t.Error("it is not shown")
	}
}

// A row that is in the way of one that comes.
func TestARowInsertedAheadOfTheLogIsFoundWhenTheLogGetsThere(t *testing.T) {
	k := keptIndex(t)
	s := k.open(t, false)
	statements(liveName, "INSERT INTO entry (idx, ts) VALUES (38, 1)")(t, k.dir)
	k.fill(t, 39)
	k.mended(t, s, liveName)
}

func TestASearchThatStumblesOverARowHasItsFileLookedAt(t *testing.T) {
	k := keptIndex(t)
	k.conf.Check = time.Hour
	s := k.open(t, false)
	statements(liveName, "UPDATE entry SET kase = (SELECT kase FROM entry WHERE idx = 34) WHERE idx = 35")(t, k.dir)
	if _, complete := k.found(t, s, asked["case"]); complete {
		t.Error("complete in spite of a row that is not its entry's")
	}
	k.mended(t, s, liveName)
}

func TestSealsOfAnotherKeyAreNotBelieved(t *testing.T) {
	k := keptIndex(t)
	statements(full, "DELETE FROM entry WHERE idx = 13")(t, k.dir)
	forger, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	x := &Index{cfg: Config{Dir: k.dir, Origin: k.log.Origin(), Key: forger}.withDefaults(), words: &words{}}
	sum, err := digest(filepath.Join(k.dir, full), newPace(t.Context(), func() int { return 0 }))
	if err == nil {
		err = x.put(&part{name: full, first: 10, next: 20}, sum)
	}
	if err != nil {
		t.Fatal(err)
	}
	k.mended(t, k.open(t, false), full)
}

// An index that nobody touched is opened by its seals, merges, and tells nothing.
func TestAnIndexThatNobodyTouchedIsSound(t *testing.T) {
	k := keptIndex(t)
	for _, merge := range []int{100, 2} {
		k.conf.Merge = merge
		s := k.open(t, false)
		if merge == 2 {
			wait(t, "merged", func() bool {
				_, err := os.Stat(filepath.Join(k.dir, full))
				return errors.Is(err, os.ErrNotExist)
			})
		}
		wait(t, "sound", func() bool { return s.State()[0].Doubt == nil })
		if same, complete := k.found(t, s, asked["case"]); !same || !complete || len(s.Changes()) > 0 {
			t.Errorf("same %v, complete %v, %+v", same, complete, s.Changes())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

package life

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"yizheng/identity/staff"
	"yizheng/seal"
)

// journalName is the register's file in the directory of the seals.
const journalName = "journal.jws"

// Register is the register of one directory of seals. It is safe for concurrent
// use, by several processes too.
type Register struct {
	dir     string
	persons *staff.Register
	trust   *seal.Trust
	now     func() time.Time

	mu   sync.Mutex
	book book
	size int64 // bytes of the journal that book holds
	// unfinished are the seals whose files could not be made.
	unfinished map[string]bool
}

// book is the state that the lines so far have led to.
type book struct {
	seals  map[string]*Seal
	heads  []string        // digest of each line
	steps  []Entry         // what each line said
	events []seal.Event    // for status lists, in order
	esids  map[string]bool // ever approved
	// makers are the key ids of all who made an edition under an identifier: a document
	// shows the edition it was sealed with, and is verified with that maker's list.
	makers map[string][]string
	last   time.Time
}

// Entry is a line of the journal as it was read: the step, who signed it, and the
// register's head before and after it.
type Entry struct {
	Step
	By            staff.Person
	Before, After string
}

func newBook() book {
	return book{seals: map[string]*Seal{}, esids: map[string]bool{}, makers: map[string][]string{}}
}

func (b *book) head() string {
	if len(b.heads) == 0 {
		return ""
	}
	return b.heads[len(b.heads)-1]
}

// copy lets a step be tried; seals are never changed in place.
func (b *book) copy() book {
	c := *b
	c.seals, c.esids, c.makers = maps.Clone(b.seals), maps.Clone(b.esids), maps.Clone(b.makers)
	c.heads, c.steps, c.events = slices.Clip(b.heads), slices.Clip(b.steps), slices.Clip(b.events)
	return c
}

// Options of Open.
type Options struct {
	Persons *staff.Register // who may sign steps
	Trust   *seal.Trust     // whose seals may be entered; nil: any maker's, for reading only
	Now     func() time.Time
}

// Exists reports whether a directory of seals has a register.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, journalName))
	return err == nil
}

// Open reads and verifies the register of a directory; one without a journal is
// empty. What a crash left unfinished is finished: a torn last line, which nobody
// was told of, is cut off, and the seals' files are made as the steps say.
// Errors wrap ErrDamaged, ErrBusy, ErrFiles or are the file's. With ErrFiles the
// register is returned besides.
func Open(dir string, o Options) (*Register, error) {
	r := &Register{dir: dir, persons: o.Persons, trust: o.Trust, now: o.Now, book: newBook(), unfinished: map[string]bool{}}
	if r.now == nil {
		r.now = time.Now
	}
	if _, err := r.Reload(); errors.Is(err, ErrFiles) {
		return r, err
	} else if err != nil {
		return nil, err
	}
	return r, nil
}

// Reload takes up what other processes have appended and returns those lines. A
// journal that no longer begins with what was read is ErrRolledBack; the register
// stays as it was. ErrFiles, which names every seal whose files could not be made,
// comes with the lines: they hold all the same.
func (r *Register) Reload() ([]Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	unlock, err := lock(r.dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	fresh, err := r.catchUp()
	if err != nil {
		return nil, err
	}
	touched := maps.Clone(r.unfinished)
	for _, e := range fresh {
		touched[e.Seal] = true
	}
	var faults []error
	for _, id := range slices.Sorted(maps.Keys(touched)) {
		faults = append(faults, r.install(id))
	}
	return fresh, errors.Join(faults...)
}

// Changed reports, from the file's size alone, whether Reload would find something.
func (r *Register) Changed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(filepath.Join(r.dir, journalName))
	if err != nil {
		return r.size != 0
	}
	return info.Size() != r.size
}

// catchUp reads what is behind r.size. The caller holds both locks.
func (r *Register) catchUp() ([]Entry, error) {
	path := filepath.Join(r.dir, journalName)
	raw, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("seal register: %w", err)
	}
	whole := int64(bytes.LastIndexByte(raw, '\n') + 1)
	if whole < r.size || r.book.head() != lastDigest(raw[:r.size]) {
		return nil, fmt.Errorf("%w: the journal had %d steps", ErrRolledBack, len(r.book.heads))
	}
	next := r.book.copy()
	for line := range bytes.Lines(raw[r.size:whole]) {
		if err := next.enter(string(bytes.TrimSuffix(line, []byte("\n"))), r.persons); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrDamaged, len(next.heads)+1, err)
		}
	}
	if whole < int64(len(raw)) { // never acknowledged, since the line has no end
		if err := os.Truncate(path, whole); err != nil {
			return nil, fmt.Errorf("seal register: %w", err)
		}
	}
	fresh := next.steps[len(r.book.steps):]
	r.book, r.size = next, whole
	return slices.Clone(fresh), nil
}

// lastDigest is the digest of the last of some whole lines, "" of none.
func lastDigest(lines []byte) string {
	if len(lines) == 0 {
		return ""
	}
	text := lines[:len(lines)-1]
	return Digest(string(text[bytes.LastIndexByte(text, '\n')+1:]))
}

// enter reads a line and keeps it.
func (b *book) enter(line string, persons *staff.Register) error {
	before := b.head()
	step, p, err := b.read(line, persons)
	if err != nil {
		return err
	}
	b.steps = append(b.steps, Entry{Step: step, By: p, Before: before, After: b.head()})
	return nil
}

// Append enters a statement and returns its entry once it is durable. Errors:
// ErrMoved if another step came first, a *Refusal, seal.ErrMaterial, an error of
// package staff's for its signature, or the file's; ErrFiles comes with the entry.
func (r *Register) Append(statement string) (Entry, error) { return r.AppendAfter(statement, nil) }

// AppendAfter is Append that calls first once nothing speaks against the step, and
// before it is entered; an error of first's is returned, and nothing was entered.
func (r *Register) AppendAfter(statement string, first func() error) (Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	unlock, err := lock(r.dir)
	if err != nil {
		return Entry{}, err
	}
	defer unlock()
	if _, err := r.catchUp(); err != nil {
		return Entry{}, err
	}
	next := r.book.copy()
	if err := next.enter(statement, r.persons); err != nil {
		return Entry{}, err
	}
	e := next.steps[len(next.steps)-1]
	if err := r.entitled(e.Step, e.By); err != nil {
		return Entry{}, err
	}
	if err := r.trusted(e.Step); err != nil {
		return Entry{}, err
	}
	if err := steady(e.At, r.book.last, r.now()); err != nil {
		return Entry{}, err
	}
	if first != nil {
		if err := first(); err != nil {
			return Entry{}, err
		}
	}
	if err := appendLine(filepath.Join(r.dir, journalName), r.size, statement); err != nil {
		return Entry{}, err
	}
	r.book, r.size = next, r.size+int64(len(statement))+1
	return e, r.install(e.Seal)
}

// trusted judges what a step brings by today's trust. Reading the journal later
// does not: a maker who is no longer trusted has still made what is there, and
// package seal refuses to sign with it.
func (r *Register) trusted(s Step) error {
	switch s.Action {
	case Apply, Renew, Replace:
		return seal.CheckHolderCert(s.Order.Holder, seal.Validity{From: s.Order.From, Until: s.Order.Until}, r.trust)
	case Import:
		_, err := seal.Inspect(s.ESeal, s.Holder, r.trust)
		return err
	case Make:
		_, err := seal.Inspect(s.ESeal, r.book.seals[s.Seal].Pending.Order.Holder, r.trust)
		return err
	}
	return nil
}

// Next is an unsigned step at the register's present end, for a person to fill and sign.
func (r *Register) Next(id string, a Action) Step {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Step{Number: uint64(len(r.book.heads)) + 1, Prev: r.book.head(), At: r.now(), Seal: id, Action: a}
	if c := r.book.seals[id]; c != nil && c.Pending != nil && rules[a].pending {
		s.Of = c.Pending.Asked
	}
	return s
}

// Find returns a seal of the register.
func (r *Register) Find(id string) (Seal, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.book.seals[id]; s != nil {
		return *s, true
	}
	return Seal{}, false
}

// Seals lists all seals by id.
func (r *Register) Seals() []Seal {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Seal
	for _, id := range slices.Sorted(maps.Keys(r.book.seals)) {
		list = append(list, *r.book.seals[id])
	}
	return list
}

// Entries returns the lines after the first n.
func (r *Register) Entries(n int) []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.book.steps[min(n, len(r.book.steps)):])
}

// Head is the number of steps and the digest of the last.
func (r *Register) Head() (n uint64, digest string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(len(r.book.heads)), r.book.head()
}

// From returns the entries after the one whose After is head, all for "". It
// returns ErrRolledBack if the register has no such entry.
func (r *Register) From(head string) ([]Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := 0
	if head != "" {
		if i = slices.Index(r.book.heads, head) + 1; i == 0 {
			return nil, ErrRolledBack
		}
	}
	return slices.Clone(r.book.steps[i:]), nil
}

// Remembers checks that the register still has a line somebody has seen as the
// n-th: ErrRolledBack if it has not.
func (r *Register) Remembers(n uint64, digest string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > 0 && (n > uint64(len(r.book.heads)) || r.book.heads[n-1] != digest) {
		return fmt.Errorf("%w: step %d", ErrRolledBack, n)
	}
	return nil
}

// Makes reports whether the maker with this key id has made a seal of the register.
func (r *Register) Makes(makerKid string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(slices.Collect(maps.Values(r.book.makers)), func(kids []string) bool { return slices.Contains(kids, makerKid) })
}

// StatusList is what the maker with this key id has to publish about its seals,
// unsigned (seal.SignStatusList): what became of every identifier that it has made an
// edition of, even if another maker has made a later one. Number and head are the
// register's.
func (r *Register) StatusList(makerKid string, next time.Time) seal.StatusList {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := seal.StatusList{Number: uint64(len(r.book.heads)), Head: r.book.head(), Issued: r.now().UTC().Truncate(time.Second), Next: next.UTC().Truncate(time.Second), Events: []seal.Event{}}
	for _, e := range r.book.events {
		if slices.Contains(r.book.makers[e.ESID], makerKid) {
			l.Events = append(l.Events, e)
		}
	}
	return l
}

// States tells package seal which seals may be used (seal.RegistryOptions).
func (r *Register) States(id string) (state seal.State, since time.Time, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.book.seals[id]
	if s == nil {
		return "", since, false
	}
	if s.Current != nil {
		state, _ = s.State.Usable()
	}
	return state, s.Since, true
}

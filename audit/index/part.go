package index

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"yizheng/identity/jose"
)

// part is one file: the entries from first up to, but not including, next.
type part struct {
	name        string
	db          *sql.DB
	words       string // which words.db its words are in
	first, next uint64
	from, to    int64 // times of the first and the last entry, microseconds

	opened   os.FileInfo  // the file that db has open
	seal     *seal        // of a full file whose rows were held to the log; for the goroutine that checks
	standing atomic.Int32 // sound, unchecked or changed
}

// columns of the table entry behind idx and ts, in order: words, then hashes.
// The order is that of row.words and row.hashes.
var (
	wordColumns = []string{"op", "phase", "outcome", "dept", "system", "item", "proof", "provider", "source", "actor", "workstation"}
	hashColumns = []string{"kase", "exchange", "number"}
)

const tables = `
CREATE TABLE meta (first INTEGER NOT NULL, words TEXT NOT NULL);
CREATE TABLE entry (idx INTEGER PRIMARY KEY, ts INTEGER NOT NULL, %s);
CREATE TABLE subject (hash INTEGER NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY (hash, idx)) WITHOUT ROWID;`

// What is looked for by itself has an index; the rest filters.
const indexes = `
CREATE INDEX entry_kase ON entry (kase) WHERE kase IS NOT NULL;
CREATE INDEX entry_exchange ON entry (exchange) WHERE exchange IS NOT NULL;
CREATE INDEX entry_number ON entry (number) WHERE number IS NOT NULL;
CREATE INDEX entry_actor ON entry (actor) WHERE actor IS NOT NULL;`

func schema() string {
	cols := make([]string, 0, len(wordColumns)+len(hashColumns))
	for _, c := range wordColumns {
		cols = append(cols, c+" INTEGER")
	}
	for _, c := range hashColumns {
		cols = append(cols, c+" INTEGER")
	}
	return fmt.Sprintf(tables, strings.Join(cols, ", "))
}

// madeSchema is how SQLite tells the tables of a file that nobody changed.
func madeSchema(ctx context.Context, tables string) (text string, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return "", fmt.Errorf("audit index: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // each connection would have a memory of its own
	if _, err := db.ExecContext(ctx, tables); err != nil {
		return "", fmt.Errorf("audit index: %w", err)
	}
	return text, db.QueryRowContext(ctx, tablesOf).Scan(&text)
}

// tablesOf asks a file for its tables and trees.
const tablesOf = `SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name)`

// connect opens a file. What a power cut may do to it is made good from the log.
func connect(dir, name string, pragmas ...string) (*sql.DB, error) {
	return connectTo(name, address(dir, name, url.Values{"_pragma": append([]string{"busy_timeout(5000)"}, pragmas...)}))
}

func connectTo(name, at string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", at)
	if err != nil {
		return nil, fmt.Errorf("audit index: %s: %w", name, err)
	}
	return db, nil
}

func address(dir, name string, q url.Values) string {
	return "file:" + (&url.URL{Path: filepath.Join(dir, name)}).EscapedPath() + "?" + q.Encode()
}

// byItself is where a full file is read: its own bytes, which are what is sealed,
// and no journal or write-ahead log that somebody laid beside it.
func byItself(dir, name string) string { return address(dir, name, url.Values{"immutable": {"1"}}) }

// living is for the live file: it fits into the cache, so that its pages are
// written when SQLite takes them over from its own log, every 32 MiB of that.
var living = []string{"synchronous(NORMAL)", "cache_size(-32768)", "wal_autocheckpoint(8192)"}

func makePart(ctx context.Context, dir, name, words string, first uint64) (*part, error) {
	if err := removeFile(dir, name); err != nil {
		return nil, err
	}
	db, err := connect(dir, name, append([]string{"journal_mode(WAL)"}, living...)...)
	if err != nil {
		return nil, err
	}
	for _, s := range []string{schema(), indexes, begins(first, words)} {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return nil, errors.Join(fmt.Errorf("audit index: making %s: %w", name, err), db.Close())
		}
	}
	p := &part{name: name, db: db, words: words, first: first, next: first}
	if p.opened, err = os.Stat(filepath.Join(dir, name)); err != nil {
		return nil, errors.Join(fmt.Errorf("audit index: %w", err), db.Close())
	}
	return p, nil
}

func begins(first uint64, words string) string {
	return fmt.Sprintf("INSERT INTO meta VALUES (%d, '%s')", first, words)
}

// openPart opens a file that has to be there. Full files are only read; pragmas
// are for the live one.
func openPart(ctx context.Context, dir, name string, pragmas ...string) (*part, error) {
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("audit index: %w", err)
	}
	var db *sql.DB
	if name == liveName {
		db, err = connect(dir, name, pragmas...)
	} else {
		db, err = connectTo(name, byItself(dir, name))
	}
	if err != nil {
		return nil, err
	}
	p := &part{name: name, db: db, opened: info}
	if err := p.measure(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return p, nil
}

// measure reads what the file holds. Entries are added in order, whole
// transactions at a time, so that the first and the last say it all.
func (p *part) measure(ctx context.Context) error {
	var first, last, from, to sql.NullInt64
	err := p.db.QueryRowContext(ctx, `SELECT first, words FROM meta`).Scan(&p.first, &p.words)
	if err == nil { // each of these is one step in the table's own order
		err = p.db.QueryRowContext(ctx, `SELECT (SELECT MIN(idx) FROM entry), (SELECT MAX(idx) FROM entry),
			(SELECT ts FROM entry ORDER BY idx LIMIT 1), (SELECT ts FROM entry ORDER BY idx DESC LIMIT 1)`).Scan(&first, &last, &from, &to)
	}
	if err != nil {
		return fmt.Errorf("audit index: reading %s: %w", p.name, err)
	}
	p.next, p.from, p.to = p.first, from.Int64, to.Int64
	if last.Valid {
		p.next = uint64(last.Int64) + 1
	}
	if last.Valid && uint64(first.Int64) != p.first {
		return fmt.Errorf("audit index: %s does not begin with entry %d", p.name, p.first)
	}
	return nil
}

func (p *part) close() error {
	if err := p.db.Close(); err != nil {
		return fmt.Errorf("audit index: closing %s: %w", p.name, err)
	}
	return nil
}

// removeFile removes a file, its seal and what SQLite keeps beside it.
func removeFile(dir, name string) error {
	for _, suffix := range []string{sealSuffix, "", "-wal", "-shm", "-journal"} {
		if err := os.Remove(filepath.Join(dir, name+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("audit index: %w", err)
		}
	}
	return nil
}

// words numbers the words that repeat. They are few and kept in memory.
type words struct {
	db   *sql.DB
	name string // random: a file of entries says which words it was written with

	mu   sync.RWMutex
	id   map[string]int64
	text []string // by number, the first is 1
}

func (w *words) find(text string) (int64, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	id, ok := w.id[text]
	return id, ok
}

func openWords(ctx context.Context, dir string, pragmas ...string) (*words, error) {
	db, err := connect(dir, wordsName, pragmas...)
	if err != nil {
		return nil, err
	}
	w := &words{db: db, id: make(map[string]int64)}
	if err := w.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("audit index: %s: %w", wordsName, err), db.Close())
	}
	return w, nil
}

// makeWords opens the words of a directory, which may have none yet.
func makeWords(ctx context.Context, dir string) (*words, error) {
	db, err := connect(dir, wordsName, "journal_mode(WAL)", "synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(nameWords(ctx, db), db.Close()); err != nil {
		return nil, fmt.Errorf("audit index: %s: %w", wordsName, err)
	}
	return openWords(ctx, dir, "synchronous(FULL)")
}

const wordTables = `CREATE TABLE IF NOT EXISTS word (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
		CREATE TABLE IF NOT EXISTS name (id INTEGER PRIMARY KEY CHECK (id = 1), name TEXT NOT NULL)`

// wordsForm is that of rand.Text.
var wordsForm = regexp.MustCompile(`^[A-Z2-7]{26,}$`)

func nameWords(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, wordTables); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, `INSERT OR IGNORE INTO name VALUES (1, ?)`, rand.Text())
	return err
}

func (w *words) load(ctx context.Context) error {
	made, err := madeSchema(ctx, wordTables)
	if err != nil {
		return err
	}
	var tables string
	if err := w.db.QueryRowContext(ctx, tablesOf).Scan(&tables); err != nil {
		return err
	}
	if tables != made {
		return fmt.Errorf("%w: 表结构不符 / its tables are not those that were made", ErrChanged)
	}
	if err := w.db.QueryRowContext(ctx, `SELECT name FROM name`).Scan(&w.name); err != nil {
		return err
	}
	if !wordsForm.MatchString(w.name) {
		return fmt.Errorf("%w: 词表名不符 / it has another name than it was given", ErrChanged)
	}
	rows, err := w.db.QueryContext(ctx, `SELECT id, text FROM word ORDER BY id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return err
		}
		w.id[text] = id
		w.text = append(w.text, text)
		if id != int64(len(w.text)) {
			return fmt.Errorf("%w: word %d is missing", ErrChanged, len(w.text))
		}
	}
	return rows.Err()
}

// digest of the first n words: b64url(SM3(each word ‖ 0x00)). "" if there are not so many.
func (w *words) digest(n int) string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if n < 0 || n > len(w.text) {
		return ""
	}
	return jose.Digest(strings.Join(w.text[:n], "\x00") + "\x00")
}

func (w *words) count() int {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return len(w.text)
}

// number numbers a word for good, before any entry refers to it.
func (w *words) number(ctx context.Context, text string) (int64, error) {
	if id, ok := w.find(text); ok {
		return id, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if id, ok := w.id[text]; ok { // a file that is made again needed it meanwhile
		return id, nil
	}
	id := int64(len(w.text) + 1)
	if _, err := w.db.ExecContext(ctx, `INSERT INTO word VALUES (?, ?)`, id, text); err != nil {
		return 0, fmt.Errorf("audit index: %s: %w", wordsName, err)
	}
	w.id[text], w.text = id, append(w.text, text)
	return id, nil
}

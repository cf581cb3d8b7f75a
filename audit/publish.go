package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Names in the log's directory.
const (
	nameLock        = "LOCK"
	nameMeta        = "log.json"
	nameWAL         = "wal"
	nameTile        = "tile"
	nameCheckpoint  = "checkpoint"
	nameCheckpoints = "checkpoints.log"
	nameLastHead    = "heads/last"
	nameQuarantine  = "quarantine"
)

// published is what the publisher has written last.
type published struct {
	size  uint64
	count uint64 // records in checkpoints.log
	off   int64  // its length
	file  file
	at    time.Time // of the last record
	upTo  uint64    // size that it names
}

// recordEvery is how many publishing intervals apart records of
// checkpoints.log are: a minute by default, so that a busy quarter's file
// stays below 60 MB.
const recordEvery = 60

// publish writes what is derived from a head: first its tiles, then heads/last,
// checkpoints.log (if a record is due) and checkpoint. One goroutine at a time.
func (l *Log) publish(head SignedHead, last bool) error {
	p := &l.published
	if head.Size == p.size && (!last || head.Size == p.upTo) {
		return nil
	}
	note, err := head.MarshalText()
	if err != nil {
		return err
	}
	if err := l.tiles.flush(head.Size); err != nil {
		return err
	}
	dir, fsys := l.cfg.Dir, l.cfg.files
	if err := writeWhole(fsys, filepath.Join(dir, nameLastHead), note); err != nil {
		return fmt.Errorf("audit: writing heads/last: %w", err)
	}
	if last || time.Since(p.at) >= recordEvery*l.cfg.PublishEvery {
		if err := p.record(note); err != nil {
			return fmt.Errorf("audit: writing checkpoints.log: %w", err)
		}
		p.upTo = head.Size
	}
	if err := writeWhole(fsys, filepath.Join(dir, nameCheckpoint), note); err != nil {
		return fmt.Errorf("audit: writing checkpoint: %w", err)
	}
	p.size = head.Size
	l.checkpoint.Store(&Published{Size: head.Size, At: l.now().UTC()})
	return nil
}

func (p *published) record(note []byte) error {
	record := checkpointRecord(p.count, note)
	if _, err := p.file.WriteAt(record, p.off); err != nil {
		return err
	}
	if err := p.file.SyncData(); err != nil {
		return err
	}
	p.count, p.off, p.at = p.count+1, p.off+int64(len(record)), time.Now()
	return nil
}

// publishes is the publisher's loop; the last head is published when the log ends.
func (l *Log) publishes() {
	tick := time.NewTicker(l.cfg.PublishEvery)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-tick.C:
		case <-l.quit:
			done = true
		}
		if l.Err() != nil {
			continue
		}
		if err := l.publish(l.Head(), done); err != nil {
			l.poison(err)
		}
	}
	if err := l.published.file.Close(); err != nil {
		l.poison(fmt.Errorf("audit: closing checkpoints.log: %w", err))
	}
}

// checkpointRecord is one record of checkpoints.log: a line with its number
// and the note's length, and the note.
func checkpointRecord(n uint64, note []byte) []byte {
	return append(fmt.Appendf(nil, "checkpoint %d %d\n", n, len(note)), note...)
}

// errTornRecord: checkpoints.log ends within a record.
var errTornRecord = errors.New("checkpoints.log ends within a record")

// readCheckpoints splits checkpoints.log. each gets the number, offset and
// note of every whole record; good is the length of those.
func readCheckpoints(b []byte, each func(n uint64, off int64, note []byte) error) (count uint64, good int64, err error) {
	for at := 0; at < len(b); count++ {
		line, rest, ok := bytes.Cut(b[at:], []byte{'\n'})
		prefix := fmt.Sprintf("checkpoint %d ", count)
		if !ok {
			return count, int64(at), errTornRecord
		}
		n, err := strconv.Atoi(string(bytes.TrimPrefix(line, []byte(prefix))))
		if err != nil || n <= 0 || n > maxNote || string(line) != prefix+strconv.Itoa(n) {
			return count, int64(at), errTornRecord
		}
		if n > len(rest) {
			return count, int64(at), errTornRecord
		}
		if err := each(count, int64(at), rest[:n]); err != nil {
			return count, int64(at), err
		}
		at += len(line) + 1 + n
		good = int64(at)
	}
	return count, good, nil
}

// openCheckpoints opens checkpoints.log for appending.
func (l *Log) openCheckpoints(count uint64, off int64) error {
	f, err := l.cfg.files.Open(filepath.Join(l.cfg.Dir, nameCheckpoints), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("audit: opening checkpoints.log: %w", err)
	}
	l.published.file, l.published.count, l.published.off = f, count, off
	return nil
}

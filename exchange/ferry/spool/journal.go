package spool

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// journal is an append-only file of JSON entries, each framed as u32 length ‖
// u32 CRC-32C ‖ entry. A frame that was cut off by a crash is the last one and
// is dropped when the journal is opened.
type journal struct {
	path  string
	f     *os.File
	size  int64
	last  int64 // size after the last rewrite
	worth int64 // least size that is worth one
	sync  bool
}

// rewriteAt is the worth of a journal outside tests.
const rewriteAt = 16 << 20

// long reports whether a rewrite is due: it must have doubled since the last.
func (j *journal) long() bool { return j.size > max(j.worth, 2*j.last) }

// entry is one line of either journal. The sender writes epoch, sent, acked and
// void; the receiver received, void and, at the head of a rewritten journal,
// cursor.
type entry struct {
	Op       string    `json:"op"`
	Epoch    uint64    `json:"epoch"`
	Seq      uint64    `json:"seq,omitempty"` // of the file; acked, cursor: highest contiguous
	To       uint64    `json:"to,omitempty"`  // void: last of the range
	Created  int64     `json:"created,omitempty"`
	Count    int       `json:"count,omitempty"`
	State    fileState `json:"state,omitempty"` // sent, in a rewritten journal: what acked and void have said
	Reason   Reason    `json:"reason,omitempty"`
	Digest   []byte    `json:"digest,omitempty"`
	Previous []byte    `json:"prev,omitempty"`
	Root     []byte    `json:"root,omitempty"`
	IDs      []string  `json:"ids,omitempty"`    // sent: the records' ids
	Hashes   []byte    `json:"hashes,omitempty"` // received: 16 bytes of each id's SM3
	Seqs     []uint64  `json:"seqs,omitempty"`   // acked: those above Seq
	Boot     string    `json:"boot,omitempty"`   // epoch: of the machine
}

const (
	opEpoch    = "epoch"
	opSent     = "sent"
	opAcked    = "acked"
	opVoid     = "void"
	opReceived = "received"
	opCursor   = "cursor"

	maxEntry = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal opens or makes the journal and replays it.
func openJournal(path string, sync bool, replay func(entry) error) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	j := &journal{path: path, f: f, sync: sync, worth: rewriteAt}
	j.size, err = readFrames(f, replay)
	if err == nil {
		err = f.Truncate(j.size)
	}
	if err == nil {
		_, err = f.Seek(j.size, io.SeekStart)
	}
	if err == nil && sync {
		err = errors.Join(f.Sync(), syncDir(filepath.Dir(path)))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: journal %s: %w", ErrState, filepath.Base(path), err)
	}
	return j, nil
}

// readFrames calls fn for every whole frame and returns where they end. A
// damaged frame with whole frames behind it is not a crash's doing: an error.
func readFrames(f *os.File, fn func(entry) error) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReader(io.NewSectionReader(f, 0, info.Size()))
	var end int64
	head := make([]byte, 8)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return end, nil // nothing or half a frame head is left
		}
		n := binary.BigEndian.Uint32(head)
		sum := binary.BigEndian.Uint32(head[4:])
		if n == 0 || n > maxEntry || end+8+int64(n) > info.Size() {
			return end, nil
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return end, fmt.Errorf("read: %w", err)
		}
		var e entry
		if crc32.Checksum(body, castagnoli) != sum || json.Unmarshal(body, &e) != nil {
			if end+8+int64(n) < info.Size() {
				return end, fmt.Errorf("damaged at byte %d", end)
			}
			return end, nil
		}
		if err := fn(e); err != nil {
			return end, err
		}
		end += 8 + int64(n)
	}
}

// append writes an entry; with sync it is on the disk when append returns nil.
func (j *journal) append(e entry, sync bool) error {
	frame, err := encodeFrame(e)
	if err == nil {
		_, err = j.f.Write(frame)
	}
	if err == nil && sync && j.sync {
		err = j.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("%w: journal %s: %w", ErrState, filepath.Base(j.path), err)
	}
	j.size += int64(len(frame))
	return nil
}

func encodeFrame(e entry) ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	frame := make([]byte, 8, 8+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	binary.BigEndian.PutUint32(frame[4:], crc32.Checksum(body, castagnoli))
	return append(frame, body...), nil
}

// rewrite replaces the journal by head and those entries that keep wants, in
// their order; keep may shorten them. A crash leaves the old one or the new one.
func (j *journal) rewrite(head []entry, keep func(*entry) bool) error {
	if err := j.writeNew(head, keep); err != nil {
		return fmt.Errorf("%w: rewrite journal %s: %w", ErrState, filepath.Base(j.path), err)
	}
	j.last = j.size
	return nil
}

func (j *journal) writeNew(head []entry, keep func(*entry) bool) error {
	fresh := j.path + ".new"
	f, err := os.OpenFile(fresh, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	var size int64
	w := bufio.NewWriter(f)
	write := func(e entry) error {
		frame, err := encodeFrame(e)
		if err == nil {
			size += int64(len(frame))
			_, err = w.Write(frame)
		}
		return err
	}
	for _, e := range head {
		err = errors.Join(err, write(e))
	}
	if err == nil {
		_, err = readFrames(j.f, func(e entry) error {
			if !keep(&e) {
				return nil
			}
			return write(e)
		})
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil && j.sync {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(fresh, j.path)
	}
	if err == nil && j.sync {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.f.Close()
	j.f, j.size = f, size
	return nil
}

// each reads the journal from its beginning.
func (j *journal) each(fn func(entry)) error {
	_, err := readFrames(j.f, func(e entry) error { fn(e); return nil })
	return err
}

func (j *journal) close() error { return j.f.Close() }

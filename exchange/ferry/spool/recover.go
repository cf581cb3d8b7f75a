package spool

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// openSender replays the sender's journal, compares it with done/ and decides
// on the epoch. A file in done/ that the journal does not know was retained
// just before a crash; one that the journal knows as open and done/ lacks is
// lost, and the other side will be told.
func openSender(l *Link) (*sender, error) {
	s := &sender{link: l, changed: make(chan struct{}), last: map[uint64]uint64{}, files: map[pos]*sentFile{}, settled: map[uint64]int64{}}
	boot, unsettled := "", map[pos]*sentFile{}
	path := filepath.Join(l.cfg.StateDir, "out-"+l.cfg.Out+".journal")
	var err error
	s.journal, err = openJournal(path, l.cfg.Durable, func(e entry) error {
		if e.Op == opEpoch {
			boot = e.Boot
		}
		s.replay(e, unsettled)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.readDone(unsettled); err != nil {
		return nil, fmt.Errorf("%w: done/: %w", ErrState, err)
	}
	// A spool that need not survive the machine may have forgotten sequence
	// numbers it has used: after a reboot it must not use them again.
	if s.epoch == 0 || !l.cfg.Durable && boot != bootID() {
		if err := s.newEpoch(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// replay takes one entry; unsettled holds the files that no entry has settled.
func (s *sender) replay(e entry, unsettled map[pos]*sentFile) {
	switch e.Op {
	case opEpoch:
		s.epoch, s.seq, s.tail = e.Epoch, e.Seq, [32]byte(padded(e.Digest))
		s.last[e.Epoch] = max(s.last[e.Epoch], e.Seq)
	case opSent:
		f := &sentFile{pos: pos{e.Epoch, e.Seq}, count: e.Count, created: e.Created, digest: [32]byte(padded(e.Digest)), root: [32]byte(padded(e.Root)), state: e.State}
		if f.state == stateOpen {
			f.state = stateLost // unless done/ has it or it is known otherwise
			unsettled[f.pos] = f
		}
		s.files[f.pos] = f
		s.last[e.Epoch] = max(s.last[e.Epoch], e.Seq)
		if e.Epoch == s.epoch && e.Seq > s.seq {
			s.seq, s.tail = e.Seq, f.digest
		}
	case opAcked:
		for p, f := range unsettled {
			if p.epoch == e.Epoch && (p.seq <= e.Seq || slices.Contains(e.Seqs, p.seq)) {
				f.state = stateAcked
				delete(unsettled, p)
			}
		}
	case opVoid:
		f := unsettled[pos{e.Epoch, e.Seq}] // one file at a time
		if f == nil {
			return
		}
		delete(unsettled, f.pos)
		if f.state = stateExpired; e.Reason == Lost {
			f.state = stateLost
		}
	}
}

// padded makes a digest of whatever a journal holds.
func padded(b []byte) []byte { return append(slices.Clone(b), make([]byte, 32)...)[:32] }

func (s *sender) readDone(unsettled map[pos]*sentFile) error {
	dir := &s.link.dir
	names, err := dir.names("done")
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, file := range names {
		n, ours := parseName(file, s.link.cfg.Device.Extension)
		if !ours || n.kind != Data || n.channel != s.link.cfg.Out {
			continue
		}
		f := s.files[pos{n.epoch, n.seq}]
		if f != nil && unsettled[f.pos] == nil {
			if err := dir.remove("done", file); err != nil {
				return err
			}
			continue
		}
		if err := s.readRetained(f, file); err != nil {
			return err
		}
	}
	for _, f := range s.files {
		if f.state == stateOpen {
			s.open = append(s.open, f)
			s.retained += f.size
		} else if unsettled[f.pos] != nil {
			s.link.count.filesLost.Add(1)
			s.link.event(Event{Kind: EventLost, Channel: s.link.cfg.Out, Epoch: f.epoch, Range: Range{f.seq, f.seq}})
		}
	}
	slices.SortFunc(s.open, func(a, b *sentFile) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.seq, b.seq))
	})
	return nil
}

// readRetained makes a file of done/ an open one; known is what the journal
// says of it, or nil. A damaged file is moved to quarantine/.
func (s *sender) readRetained(known *sentFile, file string) error {
	data, f, err := s.loadRetained(file)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return err
		}
		s.link.quarantine("done", file, err)
		return nil
	}
	messages, err := parseRecords(f.Body, f.Count)
	if err != nil {
		s.link.quarantine("done", file, err)
		return nil
	}
	if known == nil {
		known = &sentFile{pos: pos{f.Epoch, f.Seq}, count: f.Count, created: f.Created, digest: f.Digest, root: recordsRoot(messages)}
		s.files[known.pos] = known
		s.last[f.Epoch] = max(s.last[f.Epoch], f.Seq)
		ids := make([]string, len(messages))
		for i, m := range messages {
			ids[i] = m.ID
		}
		if f.Epoch == s.epoch && f.Seq > s.seq {
			s.seq, s.tail = f.Seq, f.Digest
		}
		if err := s.journal.append(entry{Op: opSent, Epoch: f.Epoch, Seq: f.Seq, Created: f.Created, Count: f.Count,
			Digest: f.Digest[:], Root: known.root[:], IDs: ids}, true); err != nil {
			return err
		}
	}
	known.state, known.size, known.notAfter = stateOpen, int64(len(data)), f.NotAfter
	return nil
}

// loadRetained reads a file of done/ and checks its digest and name.
func (s *sender) loadRetained(file string) ([]byte, *File, error) {
	data, err := s.link.dir.read("done", file, MaxFileBytes)
	if err != nil {
		return nil, nil, err
	}
	f, _, err := s.link.parse(data)
	if err == nil && f.name().file(s.link.cfg.Device.Extension) != file {
		err = fmt.Errorf("%w: name", ErrFormat)
	}
	return data, f, err
}

// parse decodes a file as the device's rules have it.
func (l *Link) parse(data []byte) (*File, []byte, error) {
	if l.cfg.Device.XML {
		return parseWrapped(data)
	}
	return ParseFile(data)
}

// newEpoch begins to count anew, in a number greater than any before. It is on
// the disk when newEpoch returns nil.
func (s *sender) newEpoch() error {
	next := uint64(s.link.cfg.Now().UnixMilli())
	for epoch := range s.last {
		next = max(next, epoch+1)
	}
	next = max(next, s.epoch+1)
	s.epoch, s.seq, s.tail = next, 0, [32]byte{}
	s.last[next] = 0
	if err := s.journal.append(entry{Op: opEpoch, Epoch: next, Boot: bootID()}, false); err != nil {
		return err
	}
	if err := s.journal.f.Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}

// bootID names the machine's present run; empty where the kernel has none.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(bytes.TrimSpace(b)))
}

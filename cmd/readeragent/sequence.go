package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sequence numbers this agent's reads. A number is on disk before it is used,
// so that none is used twice, whatever happens to the machine.
type sequence struct {
	path string
	last uint64
}

// openSequence reads the last number from path. Without the file it starts at
// the present time in milliseconds, which lies above every number that was
// ever counted up to from an earlier start.
func openSequence(path string, now time.Time) (*sequence, error) {
	s := &sequence{path: path}
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		s.last = uint64(now.UnixMilli())
	case err != nil:
		return nil, fmt.Errorf("sequence number: %w", err)
	default:
		if s.last, err = strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 53); err != nil {
			return nil, fmt.Errorf("sequence number: %s is damaged: delete it and start again / 序号文件损坏，请删除后重启", path)
		}
	}
	return s, s.save(s.last) // finds out now whether the file can be written
}

// next returns a number that has not been used, once it is durable.
func (s *sequence) next() (uint64, error) {
	n := s.last + 1
	if err := s.save(n); err != nil {
		return 0, err
	}
	s.last = n
	return n, nil
}

// save replaces the file by one that holds n.
func (s *sequence) save(n uint64) error {
	dir := filepath.Dir(s.path)
	tmp, err := os.CreateTemp(dir, ".sequence-*")
	if err != nil {
		return fmt.Errorf("sequence number: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails when it was renamed, as it should be
	_, err = fmt.Fprintln(tmp, n)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("sequence number: %w", err)
	}
	if err := os.Rename(tmp.Name(), s.path); err != nil {
		return fmt.Errorf("sequence number: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sequence number: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sequence number: %w", err)
	}
	return nil
}

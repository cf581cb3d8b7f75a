package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// What is in in/, and whether it can be believed.

// incoming lists the files of our incoming channel in in/, oldest first. All
// others are nobody's business here.
func (l *Link) incoming(want func(Kind) bool) ([]name, error) {
	files, err := l.dir.names("in")
	if err != nil {
		return nil, err
	}
	var found []name
	for _, file := range files {
		if n, ours := parseName(file, l.cfg.Device.Extension); ours && n.channel == l.cfg.In && want(n.kind) {
			found = append(found, n)
		}
	}
	slices.SortFunc(found, func(a, b name) int {
		if c := cmpUint(a.epoch, b.epoch); c != 0 {
			return c
		}
		return cmpUint(a.seq, b.seq)
	})
	return found, nil
}

// read reads and verifies a file of in/. A file that cannot be believed is
// quarantined and nil is returned, as it is for one that has vanished.
func (l *Link) read(n name, file string) *File {
	data, err := l.dir.read("in", file, l.cfg.Device.MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, errNotRegular) {
		l.trouble("read a file of in/", err)
		return nil
	}
	var f *File
	if err == nil {
		f, err = l.believe(n, data)
	}
	if err != nil {
		l.quarantine("in", file, err)
		return nil
	}
	l.count.bytesReceived.Add(uint64(len(data)))
	l.control.heard()
	return f
}

func (l *Link) believe(n name, data []byte) (*File, error) {
	f, signature, err := l.parse(data)
	if err != nil {
		return nil, err
	}
	if err := f.Verify(signature, l.cfg.PeerKey); err != nil {
		return nil, err
	}
	if f.name() != n {
		return nil, fmt.Errorf("%w: name and header differ", ErrFormat)
	}
	return f, nil
}

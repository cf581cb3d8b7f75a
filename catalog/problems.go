package catalog

import (
	"fmt"
	"sort"
	"strings"
)

// Problem is one mistake in a catalogue, with what to do about it.
type Problem struct {
	File         string // as given to Load, or "" for a release
	Line, Column int    // from 1; 0 where File is unknown
	Path         string // proofs[2].fields[0].label
	Chinese      string
	English      string
}

// String is one line: file:line:col: path: 中文 / English.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	return b.String() + p.Chinese + " / " + p.English
}

// Problems is every mistake found, ordered by file and line. As an error it
// prints one per line.
type Problems []Problem

// Error lists all problems, one per line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (ps Problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

func (ps Problems) sort() {
	sort.SliceStable(ps, func(i, j int) bool {
		a, b := ps[i], ps[j]
		if a.File != b.File {
			return a.File < b.File
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
}

// place is where a path of the catalogue is written.
type place struct {
	file         string
	line, column int
}

// locate finds where path, or else the nearest thing around it, is written.
func locate(places map[string]place, path string) place {
	for p := path; p != ""; {
		if at, ok := places[p]; ok {
			return at
		}
		cut := strings.LastIndexAny(p, ".[")
		if cut < 0 {
			break
		}
		p = p[:cut]
	}
	return places[""]
}

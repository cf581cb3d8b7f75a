package spool

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	maxChannel = 32
	maxSeq     = 1<<63 - 1
)

// ValidChannel reports whether s may name a channel: 1 to 32 characters out of
// A-Z, 0-9 and "_", beginning and ending with a letter or digit, and not ending
// like a control file's name.
func ValidChannel(s string) bool {
	if s == "" || len(s) > maxChannel || s[0] == '_' || s[len(s)-1] == '_' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	for _, suffix := range kindSuffix {
		if suffix != "" && strings.HasSuffix(s, suffix) {
			return false
		}
	}
	return true
}

// ValidExtension reports whether s may be a file's extension: 1 to 8 characters
// out of A-Z, a-z and 0-9.
func ValidExtension(s string) bool {
	if s == "" || len(s) > 8 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// name is what a file's name says; it is believed only once the signed header
// says the same.
type name struct {
	channel string
	kind    Kind
	epoch   uint64
	seq     uint64
}

func (f *File) name() name { return name{f.Channel, f.Kind, f.Epoch, f.Seq} }

// file returns <CHANNEL>[_KIND]-<EPOCH, 13 digits>-<SEQUENCE, 20 digits>.<ext>.
func (n name) file(extension string) string {
	return fmt.Sprintf("%s%s-%013d-%020d.%s", n.channel, kindSuffix[n.kind], n.epoch, n.seq, extension)
}

// parseName reads a file's name. It reports false for names that are not ours.
func parseName(s, extension string) (name, bool) {
	stem, found := strings.CutSuffix(s, "."+extension)
	if !found {
		return name{}, false
	}
	parts := strings.Split(stem, "-")
	if len(parts) != 3 || len(parts[1]) < 13 || len(parts[2]) != 20 {
		return name{}, false
	}
	epoch, err := strconv.ParseUint(parts[1], 10, 63)
	if err != nil {
		return name{}, false
	}
	seq, err := strconv.ParseUint(parts[2], 10, 63)
	if err != nil {
		return name{}, false
	}
	n := name{parts[0], Data, epoch, seq}
	for kind, suffix := range kindSuffix {
		if channel, found := strings.CutSuffix(parts[0], suffix); found && suffix != "" {
			n.channel, n.kind = channel, Kind(kind)
		}
	}
	// Only the canonical spelling is ours.
	return n, ValidChannel(n.channel) && epoch > 0 && seq > 0 && n.file(extension) == s
}

package catalog

import (
	"regexp"
	"strconv"
	"strings"
)

// Notice (告知书) is the text, in the version in force, that a resident is shown
// before anything is asked about them, or agrees to where consent is the basis.
// The text itself lies with the department; the log says which one it was.
type Notice struct {
	ID      string `json:"id" yaml:"id"`
	Version int    `json:"version" yaml:"version"` // 1 to 9999, one more with each new text
}

// String is how requests and the log name it: N-PRH@3.
func (n Notice) String() string { return n.ID + "@" + strconv.Itoa(n.Version) }

var versionForm = regexp.MustCompile(`^[1-9][0-9]{0,3}$`)

// ParseNotice reads that form, and refuses any other: what a caller sends gets
// into the log, where there is no free text and no number of a person.
func ParseNotice(s string) (Notice, bool) {
	id, version, _ := strings.Cut(s, "@")
	if !versionForm.MatchString(version) {
		return Notice{}, false
	}
	v, err := strconv.Atoi(version)
	n := Notice{ID: id, Version: v}
	return n, err == nil && n.proper()
}

func (n Notice) proper() bool {
	return codeForm.MatchString(n.ID) && !hidesID(n.ID) && n.Version >= 1 && n.Version <= 9999
}

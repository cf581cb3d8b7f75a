// Package commandtest holds the commands of a program against what its test says
// about how they are recorded, so that a new command without an audit class fails.
// What is said is held against the source where it can be: a file must show what
// makes it true, and none has a way to a source but those whose class says so.
package commandtest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Way is how what a command does about residents gets into an audit log.
type Way string

// Ways.
const (
	ByRoutes  Way = "its routes are recorded; a test of package web walks them"
	ByFront   Way = "its questions are recorded in its own log; tests of package exchange/front hold it to that"
	ByGateway Way = "asks a running gateway, which records it"
	Offline   Way = "works on files that its caller has: no source is asked, no service answers"
	Probes    Way = "finds out whether sources could be asked; asks about nobody"
	Nobody    Way = "concerns no resident"
)

// opens tells whether a command may open connections to sources.
func (w Way) opens() bool { return w == ByRoutes || w == ByFront || w == Probes }

// Class says how a command is recorded. File, from the program's directory, has
// the text Shows in it; it may be empty where no one file shows it.
type Class struct {
	Way         Way
	File, Shows string
}

// Hold holds every command of the program in the working directory against its class.
func Hold(t *testing.T, program string, commands []string, classes map[string]Class) {
	t.Helper()
	for _, name := range commands {
		is, ok := classes[name]
		switch {
		case !ok:
			t.Errorf("%s %s: how is what it does recorded? Say so here", program, name)
		case is.File != "":
			is.hold(t, program+" "+name)
		}
	}
	for name := range classes {
		if !slices.Contains(commands, name) {
			t.Errorf("there is no %s %s any more", program, name)
		}
	}
	holdTheRest(t, program, classes)
}

func (is Class) hold(t *testing.T, command string) {
	t.Helper()
	source := read(t, is.File)
	if !strings.Contains(source, is.Shows) {
		t.Errorf("%s: %s, but %s has no %s", command, is.Way, is.File, is.Shows)
	}
	if !is.Way.opens() && reachesSources(source) {
		t.Errorf("%s: %s, but it can ask a source itself", command, is.Way)
	}
	if is.Way == Probes && strings.Contains(source, ".Ask(") {
		t.Errorf("%s: %s, but it asks", command, is.Way)
	}
}

// holdTheRest finds ways to a source in files that no class speaks of.
func holdTheRest(t *testing.T, program string, classes map[string]Class) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source of %s here: %v", program, err)
	}
	for _, file := range files {
		told := slices.ContainsFunc(slices.Collect(maps.Values(classes)), func(is Class) bool { return is.File == file })
		if !told && !strings.HasSuffix(file, "_test.go") && reachesSources(read(t, file)) {
			t.Errorf("%s: %s can ask a source, and no command's class names that file", program, file)
		}
	}
}

func reachesSources(source string) bool {
	return strings.Contains(source, `"yizheng/adapters`) || strings.Contains(source, "onnections.Open(")
}

func read(t *testing.T, file string) string {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

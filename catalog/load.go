package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// Options of Load.
type Options struct {
	// Vars are what ${name} at the beginning of a path stands for. A key
	// reference whose variable is "keys" and not given stays unresolved: it is
	// a note (Catalogue.Notes), so that a catalogue can be checked where there
	// are no keys. Such a catalogue cannot be released.
	Vars map[string]string
}

// Limits that keep a broken or hostile file from taking the process down.
const (
	maxFile  = 4 << 20 // bytes of one catalogue or referenced file
	maxDepth = 200     // brackets or indentation levels of a catalogue file
)

// Load reads all *.yaml files of a directory, and of those in it, as one
// catalogue and checks it completely. The error is Problems, every mistake with its file and line,
// unless the directory itself cannot be read.
func Load(dir string, o Options) (*Catalogue, error) {
	c, _, err := load(dir, o)
	return c, err
}

func load(dir string, o Options) (*Catalogue, *references, error) {
	files, err := catalogueFiles(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("catalogue directory %s: %w", dir, err)
	}
	l := newLoader(o)
	for _, file := range files {
		text, err := readFile(file)
		if err != nil {
			return nil, nil, fmt.Errorf("catalogue: %w", err)
		}
		l.add(file, text)
	}
	c, err := l.finish()
	return c, l.refs, err
}

// catalogueFiles lists the *.yaml files below dir in the order of their names.
func catalogueFiles(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".yaml" {
			files = append(files, path)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no *.yaml file: %w", fs.ErrNotExist)
	}
	return files, err
}

type loader struct {
	c        *Catalogue
	refs     *references
	problems Problems
}

func newLoader(o Options) *loader {
	return &loader{
		c:    &Catalogue{places: map[string]place{}},
		refs: &references{vars: o.Vars},
	}
}

// add merges one file into the catalogue: lists go on, single values may be
// given once.
func (l *loader) add(file string, text []byte) {
	if _, ok := l.c.places[""]; !ok {
		l.c.places[""] = place{file, 1, 1}
	}
	if tooDeep(text) {
		l.problems = append(l.problems, Problem{File: file, Line: 1, Column: 1, Chinese: "嵌套过深", English: "nested too deeply"})
		return
	}
	tree, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		l.problems = append(l.problems, syntaxProblem(file, err))
		return
	}
	d := &decoder{file: file, refs: l.refs, places: l.c.places}
	for i, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if i > 0 {
			d.bad(first(doc.Body), "", "一个文件只能有一份文档，请删去 ---", "one document per file, remove the ---")
			continue
		}
		d.structure(doc.Body, reflect.ValueOf(l.c).Elem(), "")
	}
	l.problems = append(l.problems, d.problems...)
}

func (l *loader) finish() (*Catalogue, error) {
	l.c.notes = l.refs.notes
	if len(l.problems) == 0 {
		// References and meaning are only worth checking once all is readable:
		// one misspelt key would otherwise be followed by dozens of its echoes.
		l.problems = validate(l.c, true)
	}
	l.problems.sort()
	if err := l.problems.orNil(); err != nil {
		return nil, err
	}
	l.c.notes.sort()
	return l.c, nil
}

// syntaxProblem keeps the parser's place and one-line message.
func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, Line: 1, Column: 1, Chinese: "YAML 语法错误", English: "YAML syntax"}
	var at yaml.Error
	if errors.As(err, &at) {
		if tk := at.GetToken(); tk != nil && tk.Position != nil {
			p.Line, p.Column = tk.Position.Line, tk.Position.Column
		}
		p.English += ": " + strings.SplitN(at.GetMessage(), "\n", 2)[0]
	}
	return p
}

// tooDeep bounds what the parser's recursion can be made to do.
func tooDeep(text []byte) bool {
	open := 0
	for _, line := range strings.Split(string(text), "\n") {
		if len(line)-len(strings.TrimLeft(line, " -?")) > 2*maxDepth {
			return true
		}
		for _, r := range line {
			switch r {
			case '[', '{':
				if open++; open > maxDepth {
					return true
				}
			case ']', '}':
				open = max(open-1, 0)
			}
		}
	}
	return false
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s: not a regular file of at most %d bytes", name, maxFile)
	}
	return os.ReadFile(name)
}

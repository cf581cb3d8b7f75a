package supervise

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/emmansun/gmsm/sm3"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"yizheng/audit"
)

// Limits of a rule directory.
const (
	maxFile  = 256 << 10 // bytes of one file
	maxFiles = 100
	maxRules = 500
	maxDepth = 20 // levels of nesting
)

// Rules is a rule set ready to use. It never changes.
type Rules struct {
	Indicators []Indicator
	rules      []*rule // in the order of their ids
	byOp       map[audit.Op][]*rule
	byAwait    map[audit.Op][]*rule
}

// rule is a compiled Rule.
type rule struct {
	Rule
	kind                                     Kind
	digest                                   string // of its text; a card and the log name it
	where, when, redWhen, awaitWhere, within *condition
	windows                                  []countdown
}

// countdown is a compiled Window.
type countdown struct {
	Window
	name  string
	where *condition
	width int64 // of a sixtieth, microseconds
}

// Problem is one mistake in a rule file, with what to do about it.
type Problem struct {
	File             string
	Line, Column     int
	Path             string // rules[2].when
	Chinese, English string
}

// String is one line: file:line:col: path: 中文 / English.
func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Path != "" {
		s += p.Path + ": "
	}
	if p.English == "" {
		return s + p.Chinese
	}
	return s + p.Chinese + " / " + p.English
}

// Problems is every mistake found. As an error it prints one per line.
type Problems []Problem

// Error lists all problems.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Load reads the *.yaml files of a directory as one rule set and checks all of
// it. The error is Problems unless the directory cannot be read.
func Load(dir string) (*Rules, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err == nil && (len(names) == 0 || len(names) > maxFiles) {
		err = fmt.Errorf("%d 个 *.yaml，须有 1–%d 个 / *.yaml files, want 1 to %d", len(names), maxFiles, maxFiles)
	}
	if err != nil {
		return nil, fmt.Errorf("监察规则目录 / rule directory %s: %w", dir, err)
	}
	l := &loader{seen: map[string]string{}}
	for _, name := range names {
		text, err := readFile(name)
		if err != nil {
			return nil, fmt.Errorf("监察规则 / rules: %w", err)
		}
		l.add(name, text)
	}
	return l.finish()
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s: 须为不超过 %d 字节的普通文件 / not a regular file of at most %d bytes", name, maxFile, maxFile)
	}
	return os.ReadFile(name)
}

type loader struct {
	rules    Rules
	seen     map[string]string // rule and indicator ids -> file
	problems Problems
}

// add reads one file.
func (l *loader) add(file string, text []byte) {
	f := &ruleFile{name: file, text: text, problems: &l.problems}
	if !f.parse() {
		return
	}
	var in Indicator
	if err := yaml.NewDecoder(strings.NewReader(string(text)), yaml.Strict()).Decode(&in); err != nil {
		f.syntax(err)
		return
	}
	l.indicator(f, &in)
	l.rules.Indicators = append(l.rules.Indicators, in)
}

func (l *loader) finish() (*Rules, error) {
	if len(l.rules.rules) > maxRules {
		l.problems = append(l.problems, Problem{Chinese: fmt.Sprintf("规则共 %d 条，最多 %d 条", len(l.rules.rules), maxRules), English: "too many rules"})
	}
	if len(l.problems) > 0 {
		sort.SliceStable(l.problems, func(i, j int) bool {
			a, b := l.problems[i], l.problems[j]
			return a.File < b.File || a.File == b.File && a.Line < b.Line
		})
		return nil, l.problems
	}
	r := &l.rules
	slices.SortFunc(r.rules, func(a, b *rule) int { return strings.Compare(a.ID, b.ID) })
	r.byOp, r.byAwait = map[audit.Op][]*rule{}, map[audit.Op][]*rule{}
	for _, c := range r.rules {
		for _, op := range c.On {
			r.byOp[op] = append(r.byOp[op], c)
		}
		if c.Await != nil {
			for _, op := range c.Await.On {
				r.byAwait[op] = append(r.byAwait[op], c)
			}
		}
	}
	return r, nil
}

// ruleFile is one file being read.
type ruleFile struct {
	name     string
	text     []byte
	tree     *ast.File
	problems *Problems
}

// parse builds the tree that places are looked up in, and refuses what a rule
// file has no use for and a parser might be hurt by.
func (f *ruleFile) parse() bool {
	if tooDeep(f.text) {
		f.bad("", "嵌套过深", "nested too deeply")
		return false
	}
	tree, err := parser.ParseBytes(f.text, 0)
	if err != nil {
		f.syntax(err)
		return false
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		f.bad("", "一个文件一项指标，恰好一份文档", "one indicator a file, exactly one document")
		return false
	}
	var odd oddities
	ast.Walk(&odd, tree.Docs[0].Body)
	if odd.found {
		f.bad("", "不接受 YAML 的锚点、别名、标签和合并键", "anchors, aliases, tags and merge keys are not accepted")
		return false
	}
	f.tree = tree
	return true
}

type oddities struct{ found bool }

func (o *oddities) Visit(n ast.Node) ast.Visitor {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		o.found = true
	}
	return o
}

// tooDeep bounds what the parser's recursion can be made to do.
func tooDeep(text []byte) bool {
	open := 0
	for line := range strings.Lines(string(text)) {
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

func (f *ruleFile) syntax(err error) {
	p := Problem{File: f.name, Line: 1, Column: 1, Chinese: "YAML 有误", English: strings.SplitN(err.Error(), "\n", 2)[0]}
	var tk *token.Token
	var at yaml.Error
	var value *misplaced
	switch {
	case errors.As(err, &value):
		p.Chinese, p.English, tk = value.Error(), "", value.token
	case errors.As(err, &at):
		p.English, tk = strings.SplitN(at.GetMessage(), "\n", 2)[0], at.GetToken()
	}
	if tk != nil && tk.Position != nil {
		p.Line, p.Column = tk.Position.Line, tk.Position.Column
	}
	*f.problems = append(*f.problems, p)
}

// bad notes a mistake at a path such as rules[2].when, or the nearest thing around it.
func (f *ruleFile) bad(path, chinese, english string) {
	p := Problem{File: f.name, Line: 1, Column: 1, Path: path, Chinese: chinese, English: english}
	for at := path; f.tree != nil && at != ""; {
		if y, err := yaml.PathString("$." + at); err == nil {
			if n, err := y.FilterFile(f.tree); err == nil && n != nil && n.GetToken() != nil && n.GetToken().Position != nil {
				p.Line, p.Column = n.GetToken().Position.Line, n.GetToken().Position.Column
				break
			}
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			break
		}
		at = at[:cut]
	}
	*f.problems = append(*f.problems, p)
}

var (
	plainCode = regexp.MustCompile(`^[A-Z][A-Z0-9-]{0,31}$`)
	plainVar  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
)

func (l *loader) indicator(f *ruleFile, in *Indicator) {
	l.code(f, "indicator", in.Code)
	if !slices.Contains(Kinds(), in.Kind) {
		f.bad("kind", fmt.Sprintf("须为 %v 之一", Kinds()), "unknown kind")
	}
	if in.Name == "" || in.NameEN == "" {
		f.bad("name", "须有 name 与 name_en", "name and name_en are needed")
	}
	if len(in.Rules) == 0 {
		f.bad("rules", "至少一条规则", "at least one rule")
	}
	for i := range in.Rules {
		r := &ruleCheck{f: f, path: fmt.Sprintf("rules[%d]", i), rule: &rule{Rule: in.Rules[i], kind: in.Kind}}
		l.code(f, r.path+".id", r.rule.ID)
		r.check()
		l.rules.rules = append(l.rules.rules, r.rule)
	}
}

// code checks an id: plain, and used once in all files.
func (l *loader) code(f *ruleFile, path, code string) {
	if !plainCode.MatchString(code) {
		f.bad(path, "编号须为大写字母开头，由大写字母、数字和 - 组成", "an id begins with a capital letter and has capitals, digits and - only")
		return
	}
	if first, dup := l.seen[code]; dup {
		f.bad(path, "编号 "+code+" 重复，已见于 "+first, "id used twice")
	}
	l.seen[code] = f.name
}

// digestOf names a rule's text, so that the log says which one held.
func digestOf(r Rule) string {
	text, err := json.Marshal(r)
	if err != nil { // only strings, numbers and maps of them
		panic(err)
	}
	sum := sm3.Sum(text)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// kindOf is the kind of a variable's value, or reflect.Invalid.
func kindOf(vars map[string]any, name string) reflect.Kind {
	v, ok := vars[name]
	if !ok {
		return reflect.Invalid
	}
	return reflect.TypeOf(v).Kind()
}

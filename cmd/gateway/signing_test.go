package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// signers are all functions of this package and of package web that sign, and what:
// each makes or checks the whole of it. None signs a digest that somebody else computed.
var signers = map[string]string{
	"sealoffice.go take":          "a step about a seal, made here",
	"sealstatus.go publish":       "the status list, made here",
	"sealtest.go testDocument":    "a test document, rendered here",
	"pseudodkeys.go take":         "a step with pseudonym keys, made here",
	"auditsearch.go auditApply":   "an application, made here",
	"auditsearch.go auditApprove": "a decision about an application, made here",
	"auditsearch.go rosterSign":   "a roster of logs, read and checked",
	"withdraw.go withdraw":        "a statement about a withdrawal, made here",
	"catalog.go catalogGrant":     "a grant, read and checked",
	"catalog.go catalogSign":      "a release of the catalogue, read and checked",
}

func TestCommandsSignWholeStatementsOnly(t *testing.T) {
	signing := regexp.MustCompile(`^(Sign([A-Z]|$)|AddSignature)`)
	digest := regexp.MustCompile(`(?i)digest|hash|tbs|to-?sign`)
	found := map[string]bool{}
	flags := 0
	for _, dir := range []string{".", "../../web"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range file.Decls {
				ast.Inspect(d, func(n ast.Node) bool {
					selector, arguments := called(n)
					if signing.MatchString(selector) {
						found[filepath.Base(name)+" "+nameOf(d)] = true
					}
					for _, flag := range flagName(selector, arguments) {
						flags++
						if digest.MatchString(flag) {
							t.Errorf("%s: %s takes -%s", name, nameOf(d), flag)
						}
					}
					return true
				})
			}
		}
	}
	if flags < 50 {
		t.Errorf("only %d flags found: does this test still know how they are declared?", flags)
	}
	if got, want := slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(signers)); !slices.Equal(got, want) {
		t.Errorf("these sign:\n%s\nknown are:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// called is the name of the method or function of a package that a node calls.
func called(n ast.Node) (string, []ast.Expr) {
	call, isCall := n.(*ast.CallExpr)
	if !isCall {
		return "", nil
	}
	selector, isSelector := call.Fun.(*ast.SelectorExpr)
	if !isSelector {
		return "", nil
	}
	return selector.Sel.Name, call.Args
}

// flagName is the flag that a call of package flag's declares: String(name, value,
// usage), StringVar(&v, name, value, usage) and so on.
func flagName(selector string, arguments []ast.Expr) []string {
	at := 0
	if strings.HasSuffix(selector, "Var") {
		selector, at = strings.TrimSuffix(selector, "Var"), 1
	}
	kinds := []string{"String", "Bool", "Int", "Uint64", "Duration", "Float64"}
	if !slices.Contains(kinds, selector) || len(arguments) != at+3 {
		return nil
	}
	if name, isLiteral := arguments[at].(*ast.BasicLit); isLiteral {
		return []string{strings.Trim(name.Value, `"`)}
	}
	return nil
}

func nameOf(d ast.Decl) string {
	if f, isFunc := d.(*ast.FuncDecl); isFunc {
		return f.Name.Name
	}
	return "declaration"
}

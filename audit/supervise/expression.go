package supervise

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// Limits of one condition: its cost is bounded by its size, as nothing in it repeats.
const (
	maxCondition = 1000 // bytes
	maxNodes     = 200
)

// condition is a compiled expression.
type condition struct {
	text    string
	program *vm.Program
}

var errArithmetic = errors.New("arithmetic: division by zero or overflow")

// The operators that stay, and what the others are called in a mistake.
var operators = []string{"==", "!=", "<", "<=", ">", ">=", "and", "&&", "or", "||", "+", "-", "*", "/", "%", "in", "startsWith", "endsWith"}

// compile checks an expression over the variables of vars and compiles it. want
// is the kind of its value: reflect.Bool or reflect.Int.
func compile(text string, vars map[string]any, want reflect.Kind) (*condition, error) {
	if len(text) > maxCondition {
		return nil, fmt.Errorf("太长，最多 %d 字节 / too long, at most %d bytes", maxCondition, maxCondition)
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, said(err)
	}
	a := allowed{vars: vars}
	ast.Walk(&tree.Node, &a)
	if a.err != nil {
		return nil, a.err
	}
	ints := new(func(int, int) int)
	options := []expr.Option{expr.Env(vars), expr.DisableAllBuiltins(), expr.DisableIfOperator(), expr.MaxNodes(maxNodes), expr.Optimize(false)}
	if want == reflect.Bool {
		options = append(options, expr.AsBool())
	} else {
		options = append(options, expr.AsKind(want))
	}
	for op, f := range arithmetic {
		name := "checked" + f.name
		options = append(options, expr.Operator(op, name), expr.Function(name, func(p ...any) (any, error) {
			return f.of(p[0].(int), p[1].(int)) // the type checker has seen to that
		}, ints))
	}
	program, err := expr.Compile(text, options...)
	if err != nil {
		return nil, said(err)
	}
	return &condition{text, program}, nil
}

// said is the library's message in one line.
func said(err error) error {
	var at *file.Error
	if errors.As(err, &at) {
		return fmt.Errorf("条件第 %d 列 / column %d: %s", at.Column+1, at.Column+1, at.Message)
	}
	return errors.New(strings.SplitN(err.Error(), "\n", 2)[0])
}

// allowed walks a tree and finds what a condition may not have.
type allowed struct {
	vars map[string]any
	err  error
}

func (a *allowed) Visit(node *ast.Node) {
	if a.err != nil {
		return
	}
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if _, ok := a.vars[n.Value]; !ok {
			a.err = fmt.Errorf("没有变量 %q，见 docs/SUPERVISION.md / no variable %q", n.Value, n.Value)
		}
	case *ast.BinaryNode:
		if !slices.Contains(operators, n.Operator) {
			a.err = fmt.Errorf("不能用运算 %s / operator %s is not allowed", n.Operator, n.Operator)
		}
	case *ast.UnaryNode, *ast.IntegerNode, *ast.StringNode, *ast.BoolNode, *ast.ConditionalNode, *ast.ArrayNode:
	default:
		kind := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", n), "*ast."), "Node")
		a.err = fmt.Errorf("条件里只能用变量、整数、文字、比较、and/or/not、四则运算和 in [..] / only variables, whole numbers, texts, comparisons, and/or/not, arithmetic and in [..]; not %s", kind)
	}
}

// arithmetic is what replaces expr's own, which wraps around and knows infinity.
var arithmetic = map[string]struct {
	name string
	of   func(a, b int) (int, error)
}{
	"+": {"Add", func(a, b int) (int, error) {
		if c := a + b; (c > a) == (b > 0) {
			return c, nil
		}
		return 0, errArithmetic
	}},
	"-": {"Sub", func(a, b int) (int, error) {
		if c := a - b; (c < a) == (b > 0) {
			return c, nil
		}
		return 0, errArithmetic
	}},
	"*": {"Mul", func(a, b int) (int, error) {
		hi, lo := bits.Mul64(magnitude(a), magnitude(b))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, errArithmetic
		}
		return a * b, nil
	}},
	"/": {"Div", func(a, b int) (int, error) {
		if b == 0 || a == math.MinInt && b == -1 {
			return 0, errArithmetic
		}
		return a / b, nil
	}},
	"%": {"Mod", func(a, b int) (int, error) {
		if b == 0 {
			return 0, errArithmetic
		}
		return a % b, nil
	}},
}

func magnitude(a int) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// machine runs conditions, one after the other.
type machine struct{ vm vm.VM }

func (m *machine) is(c *condition, vars map[string]any) (bool, error) {
	if c == nil {
		return true, nil
	}
	v, err := m.vm.Run(c.program, vars)
	if err != nil {
		return false, said(err)
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("not true or false: %T", v)
	}
	return b, nil
}

func (m *machine) number(c *condition, vars map[string]any) (int, error) {
	v, err := m.vm.Run(c.program, vars)
	if err != nil {
		return 0, said(err)
	}
	n, ok := v.(int)
	if !ok {
		return 0, fmt.Errorf("not a whole number: %T", v)
	}
	return n, nil
}

package workflows

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
)

// object is a context of expressions, such as github or steps, or a value in one.
// Names are as they are written in the workflows.
type object = map[string]any

// scope is what an expression can see.
type scope struct {
	contexts  object
	functions map[string]func(args []any) (any, error)
}

// evaluate gives the value of an expression: nil, a bool, float64, string, []any
// or object. It does what is used here, as
// https://docs.github.com/actions/reference/evaluate-expressions-in-workflows-and-actions
// has it; the rest is an error.
func (s scope) evaluate(text string) (any, error) {
	tree, problem := actionlint.NewExprParser().Parse(actionlint.NewExprLexer(text + "}}"))
	if problem != nil {
		return nil, problem
	}
	return s.value(tree)
}

func (s scope) value(node actionlint.ExprNode) (any, error) {
	switch n := node.(type) {
	case *actionlint.NullNode:
		return nil, nil
	case *actionlint.BoolNode:
		return n.Value, nil
	case *actionlint.IntNode:
		return float64(n.Value), nil
	case *actionlint.StringNode:
		return n.Value, nil
	case *actionlint.VariableNode:
		v, ok := s.contexts[n.Name]
		if !ok {
			return nil, fmt.Errorf("there is no context %q here", n.Name)
		}
		return v, nil
	case *actionlint.ObjectDerefNode:
		receiver, err := s.value(n.Receiver)
		if err != nil {
			return nil, err
		}
		fields, ok := receiver.(object)
		if !ok {
			return nil, nil
		}
		return field(fields, n.Property), nil
	case *actionlint.NotOpNode:
		v, err := s.value(n.Operand)
		return !truth(v), err
	case *actionlint.CompareOpNode:
		return s.compare(n)
	case *actionlint.LogicalOpNode:
		left, err := s.value(n.Left)
		if err != nil || truth(left) == (n.Kind == actionlint.LogicalOpNodeKindOr) {
			return left, err
		}
		return s.value(n.Right)
	case *actionlint.FuncCallNode:
		call, ok := s.functions[strings.ToLower(n.Callee)]
		if !ok {
			return nil, fmt.Errorf("there is no function %q here", n.Callee)
		}
		args := make([]any, len(n.Args))
		for i, a := range n.Args {
			var err error
			if args[i], err = s.value(a); err != nil {
				return nil, err
			}
		}
		return call(args)
	default:
		return nil, fmt.Errorf("expressions with %T are not known here", node)
	}
}

// field finds a property. The parser gives names in lower case.
func field(o object, name string) any {
	for k, v := range o {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

func (s scope) compare(n *actionlint.CompareOpNode) (any, error) {
	left, err := s.value(n.Left)
	if err != nil {
		return nil, err
	}
	right, err := s.value(n.Right)
	if err != nil {
		return nil, err
	}
	if !n.Kind.IsEqualityOp() {
		return nil, fmt.Errorf("the operator %s is not known here", n.Kind)
	}
	return equal(left, right) == (n.Kind == actionlint.CompareOpNodeKindEq), nil
}

func equal(a, b any) bool {
	x, isText := a.(string)
	y, alsoText := b.(string)
	if isText && alsoText {
		return strings.EqualFold(x, y)
	}
	return number(a) == number(b)
}

// number is what values of different kinds are compared as.
func number(v any) float64 {
	switch v := v.(type) {
	case bool:
		if v {
			return 1
		}
		return 0
	case float64:
		return v
	case string:
		if v == "" {
			return 0
		}
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			return n
		}
		return nan
	case nil:
		return 0
	}
	return nan
}

var nan = func() float64 { var zero float64; return zero / zero }()

func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case float64:
		return v != 0
	case string:
		return v != ""
	}
	return true
}

// text is how a value is put into a text.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	data, _ := json.Marshal(v)
	return string(data)
}

// fill puts the values of expressions in the place of ${{ … }}.
func (s scope) fill(template string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(template, "${{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		expression, after, found := strings.Cut(rest, "}}")
		if !found {
			return "", fmt.Errorf("%q: no }}", template)
		}
		v, err := s.evaluate(expression)
		if err != nil {
			return "", fmt.Errorf("${{%s}}: %w", expression, err)
		}
		b.WriteString(text(v))
		template = after
	}
}

// condition evaluates an if. One that asks for no status is for success only.
func (s scope) condition(expression string) (bool, error) {
	inner := strings.TrimSpace(expression)
	if whole, ok := strings.CutPrefix(inner, "${{"); ok {
		inner = strings.TrimSuffix(whole, "}}")
	}
	asks := false
	for _, status := range []string{"success()", "failure()", "cancelled()", "always()"} {
		asks = asks || strings.Contains(inner, status)
	}
	switch {
	case inner == "":
		inner = "success()"
	case !asks:
		inner = "success() && (" + inner + ")"
	}
	v, err := s.evaluate(inner)
	if err != nil {
		return false, fmt.Errorf("if: %s: %w", expression, err)
	}
	return truth(v), nil
}

func TestExpressions(t *testing.T) {
	s := scope{
		contexts: object{"inputs": object{"channel": nil}, "vars": object{"A": "a", "B": ""}, "steps": object{"x": object{"outputs": object{"Due": "true"}}}},
		functions: map[string]func([]any) (any, error){
			"success": func([]any) (any, error) { return false, nil },
			"always":  func([]any) (any, error) { return true, nil },
		},
	}
	for expression, want := range map[string]string{
		"vars.A":                              "a",
		"vars.B || vars.A":                    "a",
		"vars.A && 'b'":                       "b",
		"!inputs.channel":                     "true",
		"inputs.channel == ''":                "true",
		"inputs.channel != ''":                "false",
		"vars.A == 'A'":                       "true",
		"vars.none.deeper":                    "",
		"vars.A == 1":                         "false",
		"steps.x.outputs.due == 'true'":       "true",
		"!steps.y.outputs.due":                "true",
		"true && 1":                           "1",
		"vars.A == 'a' && vars.B == 'b' || 7": "7",
	} {
		v, err := s.evaluate(expression)
		if err != nil || text(v) != want {
			t.Errorf("evaluate(%q) = %q, %v, want %q", expression, text(v), err, want)
		}
	}
	for _, expression := range []string{"none.x", "none()", "1 +", "1 < 2", "vars[0]"} {
		if v, err := s.evaluate(expression); err == nil {
			t.Errorf("evaluate(%q) = %v, want an error", expression, v)
		}
	}
	for expression, want := range map[string]bool{"": false, "vars.A": false, "${{ always() && vars.A }}": true, "always() && vars.B": false} {
		if got, err := s.condition(expression); err != nil || got != want {
			t.Errorf("condition(%q) = %v, %v, want %v", expression, got, err, want)
		}
	}
	if got, err := s.fill("x-${{ vars.A }}-${{vars.A}}"); err != nil || got != "x-a-a" {
		t.Errorf("fill() = %q, %v", got, err)
	}
}

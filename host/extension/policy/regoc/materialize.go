package regoc

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/hexdag/hexdag/host/extension/policy"
)

// indexRule is the name of a rule in package materialize.P that is kept ready for
// policies of package P. Others there help it.
const indexRule = "index"

// materialized returns, as entrypoints, the indexes of the packages that take part in an
// evaluation of the entrypoints.
func materialized(c *ast.Compiler, entrypoints []string) []string {
	used := packages(c, roots(c, entrypoints))
	names := []string{}
	for _, m := range c.Modules {
		path := entrypointOf(m.Package.Path)
		of, ok := strings.CutPrefix(path, policy.Materialize)
		if !ok || !used[of] {
			continue
		}
		if slices.ContainsFunc(m.Rules, func(r *ast.Rule) bool {
			return len(r.Head.Args) == 0 && r.Head.Ref()[0].Value.Compare(ast.Var(indexRule)) == 0
		}) {
			names = append(names, path+"/"+indexRule)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// roots returns the rules that are entrypoints, named or by their metadata.
func roots(c *ast.Compiler, entrypoints []string) []*ast.Rule {
	var rules []*ast.Rule
	for _, name := range entrypoints {
		ref := ast.DefaultRootRef.Copy()
		for step := range strings.SplitSeq(name, "/") {
			ref = append(ref, ast.StringTerm(step))
		}
		rules = append(rules, c.GetRules(ref)...)
	}
	for _, a := range c.GetAnnotationSet().Flatten() {
		if a.Annotations.Entrypoint {
			rules = append(rules, c.GetRules(a.Annotations.GetTargetPath())...)
		}
	}
	return rules
}

// packages returns the packages of rules and of all that they depend on.
func packages(c *ast.Compiler, rules []*ast.Rule) map[string]bool {
	found, seen := map[string]bool{}, map[*ast.Rule]bool{}
	for len(rules) > 0 {
		rule := rules[len(rules)-1]
		rules = rules[:len(rules)-1]
		if seen[rule] {
			continue
		}
		seen[rule] = true
		found[entrypointOf(rule.Module.Package.Path)] = true
		for node := range c.Graph.Dependencies(rule) {
			if next, ok := node.(*ast.Rule); ok {
				rules = append(rules, next)
			}
		}
	}
	return found
}

// entrypointOf returns a ref below data as entrypoints are written: "a/b" for data.a.b.
func entrypointOf(ref ast.Ref) string {
	steps := make([]string, 0, len(ref))
	for _, t := range ref[1:] {
		name, ok := t.Value.(ast.String)
		if !ok {
			break
		}
		steps = append(steps, string(name))
	}
	return strings.Join(steps, "/")
}

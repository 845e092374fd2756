package regoc

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/hexdag/hexdag/host/extension/policy"
)

// replacePatterns has a module call the host's builtins for patterns in the place of those that
// OPA would compile into the module. What a policy replaces by with is replaced by its new name.
func replacePatterns(m *ast.Module) {
	names := policy.PatternBuiltins()
	ast.WalkTerms(m, func(t *ast.Term) bool {
		ref, ok := t.Value.(ast.Ref)
		if !ok {
			return false
		}
		if name, ours := names[ref.String()]; ours {
			t.Value = ast.MustParseRef(name)
		}
		return false
	})
}

// patternCapabilities are Capabilities with those builtins beside.
func patternCapabilities() *ast.Capabilities {
	c := Capabilities()
	for name, ours := range policy.PatternBuiltins() {
		like := ast.BuiltinMap[name]
		c.Builtins = append(c.Builtins, &ast.Builtin{Name: ours, Decl: like.Decl})
	}
	return c
}

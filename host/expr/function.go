package expr

import (
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// function is what an expression can call. run gets a value for each parameter, or
// absent; a variadic one gets what was given, the arguments with names last.
// A method's first argument is what it belongs to.
type function struct {
	signature string
	params    []parameter
	variadic  bool // takes any number of arguments without a name
	anyName   bool // takes any name
	method    bool
	missing   bool // takes what is missing as null
	run       func(m *machine, args []value, names []string) (value, *fault)
}

type parameter struct {
	name       string
	positional bool // has no name to a caller
	named      bool // has to be given by its name
	optional   bool
}

// parseSignature reads a signature as Python's documentation writes it.
func parseSignature(f *function) *function {
	_, list, _ := strings.Cut(strings.TrimSuffix(f.signature, ")"), "(")
	named := false
	for part := range strings.SplitSeq(list, ", ") {
		name, _, optional := strings.Cut(part, "=")
		switch {
		case part == "":
		case part == "/":
			for i := range f.params {
				f.params[i].positional = true
			}
		case part == "*":
			named = true
		case strings.HasPrefix(part, "**"):
			f.anyName = true
		case strings.HasPrefix(part, "*"):
			f.variadic, named = true, true
		default:
			f.params = append(f.params, parameter{name: name, named: named, optional: optional})
		}
	}
	return f
}

// position is the index of the parameter of a name, or -1.
func (f *function) position(name string) int {
	return slices.IndexFunc(f.params, func(p parameter) bool { return p.name == name && !p.positional })
}

// check says what is wrong with so many arguments without and those with a name.
func (f *function) check(positional int, names []string) string {
	name, _, _ := strings.Cut(f.signature, "(")
	takes := 0
	for _, p := range f.params {
		if !p.named {
			takes++
		}
	}
	if positional > takes && !f.variadic {
		return name + " takes " + grouped(takes) + " arguments, and " + grouped(positional) + " are given"
	}
	for _, n := range names {
		i := f.position(n)
		if i < 0 && !f.anyName {
			return name + " has no argument " + kernel.Quote(n)
		}
		if i >= 0 && i < positional && !f.params[i].named {
			return name + " gets its argument " + kernel.Quote(n) + " twice"
		}
	}
	for i, p := range f.params {
		if !p.optional && (p.named || i >= positional) && !slices.Contains(names, p.name) {
			return name + " lacks its argument " + p.name
		}
	}
	return ""
}

// Functions returns the names of the functions that expressions can call, sorted.
func Functions() []string { return slices.Sorted(maps.Keys(functions)) }

func methodNames() []string { return slices.Sorted(maps.Keys(methods)) }

// functions and methods are set once, when the program starts, and never changed.
var functions, methods map[string]*function

func init() { // in the tables' own initializers, check and the parser would make a cycle
	functions, methods = map[string]*function{}, map[string]*function{}
	for _, list := range [][]*function{conversions, collectionFunctions, numberFunctions, textFunctions, nullFunctions, timeFunctions} {
		for _, f := range list {
			name, _, _ := strings.Cut(f.signature, "(")
			functions[name] = parseSignature(f)
		}
	}
	for _, f := range methodTable {
		name, _, _ := strings.Cut(f.signature, "(")
		f.method = true
		methods[name] = parseSignature(f)
	}
}

func given(v value) bool { return v.kind != absent }

// integerArgument reads an integer that a function takes; name is for the error.
func integerArgument(v value, name string) (int64, *fault) {
	if v.isSmall() {
		return v.n, nil
	}
	return 0, wrong(name+" is "+aType(v)+", and an integer is due", "convert it: int(x)")
}

var nullFunctions = []*function{
	{signature: "default(value, fallback)", missing: true, run: func(_ *machine, args []value, _ []string) (value, *fault) {
		if args[0].isNull() {
			return args[1], nil
		}
		return args[0], nil
	}},
	{signature: "coalesce(*values)", missing: true, run: func(_ *machine, args []value, _ []string) (value, *fault) {
		for _, v := range args {
			if !v.isNull() {
				return v, nil
			}
		}
		return null, nil
	}},
	{signature: "isnone(value)", missing: true, run: func(_ *machine, args []value, _ []string) (value, *fault) {
		return boolValue(args[0].isNull()), nil
	}},
	{signature: "isempty(value)", missing: true, run: func(_ *machine, args []value, _ []string) (value, *fault) {
		v := args[0]
		empty := v.isNull() || (v.kind == kindText || v.kind == kindList || v.kind == kindDict) && !truth(v)
		return boolValue(empty), nil
	}},
}

package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTerm bounds, in bytes, the text of one argument and of the result of a host
// builtin, so that none of them can spend much of the host's time or memory.
const maxTerm = 1 << 20

// builtin is a function that a policy calls and the host runs.
type builtin struct {
	arity int
	// call returns the result. Its error means "undefined", as a builtin's errors
	// do in Rego, but for errLimit, which ends the evaluation.
	call  func(now time.Time, args []any) (any, error)
	clock bool // it tells the time
}

// errLimit ends an evaluation. Were it "undefined", a policy could be made to see
// a rule fail that only cost too much.
var errLimit = errors.New("over the limit")

var errOperand = errors.New("an operand has the wrong type")

// hostBuiltins returns the builtins that policies may call, apart from those that
// OPA compiles into the module. All are pure, and deterministic given the time.
func hostBuiltins() map[string]builtin {
	return map[string]builtin{
		"sprintf":                  pure(2, sprintf),
		"strings.any_prefix_match": pure(2, anyMatch(strings.HasPrefix)),
		"strings.any_suffix_match": pure(2, anyMatch(strings.HasSuffix)),
		"strings.count":            pure(2, stringsCount),
		"crypto.sha256":            pure(1, cryptoSHA256),
		"time.now_ns":              {0, timeNow, true},
		"time.parse_rfc3339_ns":    pure(1, timeParseRFC3339),
		"time.parse_duration_ns":   pure(1, timeParseDuration),
		"time.date":                pure(1, timeDate),
		"time.clock":               pure(1, timeClock),
		"time.weekday":             pure(1, timeWeekday),
		"time.add_date":            pure(4, timeAddDate),
	}
}

// pure makes a builtin that has no use for the time.
func pure(arity int, f func(args []any) (any, error)) builtin {
	return builtin{arity: arity, call: func(_ time.Time, args []any) (any, error) { return f(args) }}
}

// Builtins returns the names of the builtins that the host offers to policies,
// sorted. What OPA compiles into a module needs no host.
func Builtins() []string { return slices.Sorted(maps.Keys(hostBuiltins())) }

// WhyRefused says why a builtin that is neither among Builtins nor added by the
// application is not offered.
func WhyRefused(name string) string {
	family, _, _ := strings.Cut(name, ".")
	switch {
	case family == "http" || name == "net.lookup_ip_addr":
		return "it would let a policy reach the network from the host"
	case name == "opa.runtime":
		return "it would show a policy the host's configuration and environment"
	case family == "rand" || name == "uuid.rfc4122":
		return "a decision must not depend on chance"
	case family == "print" || family == "trace" || family == "internal":
		return "policies do not write to the host's output"
	}
	return "it would run in the host, and is not among the builtins that may"
}

// builtin runs the host builtin that the module calls id. Its result is the
// address of a value, 0 for undefined.
func (in *instance) builtin(ctx context.Context, id uint32, addresses []uint64) uint32 {
	b, own := in.builtins[id]
	ext, added := in.externals[id]
	if own && b.arity != len(addresses) || added && ext.Arity != len(addresses) || !own && !added {
		in.stop(protocol(in.opts.Name, fmt.Sprintf("the policy calls a builtin %d with %d arguments", id, len(addresses)), "it declared none such"))
	}
	if in.timeless && b.clock {
		in.stop(invalid(in.opts.Name, "a rule of package materialize asks for the time", "it is evaluated when data is loaded, not when something is decided", "take what depends on the time into the rules that decide"))
	}
	if added {
		return in.external(ctx, ext, addresses)
	}
	args := make([]any, len(addresses))
	for i, address := range addresses {
		args[i] = in.argument(ctx, address)
	}
	result, err := b.call(in.now, args)
	if errors.Is(err, errLimit) {
		in.stop(limit(in.opts.Name, "a builtin that the policy calls would give too much", err.Error()))
	}
	if err != nil {
		return 0
	}
	return in.resultText(ctx, appendTerm(nil, result, appendJSONString))
}

func (in *instance) argument(ctx context.Context, address uint64) any {
	term, err := parseTerm(in.argumentText(ctx, address))
	if err != nil {
		in.stop(notValue(in.opts.Name, err))
	}
	return term
}

// argumentText copies an argument out of the module's memory, as Rego's text.
func (in *instance) argumentText(ctx context.Context, address uint64) string {
	at, err := in.call(ctx, in.dump, address)
	if err != nil {
		in.stop(err)
	}
	text, err := in.text(at, maxTerm)
	if err != nil {
		in.stop(err)
	}
	return string(text)
}

func (in *instance) resultText(ctx context.Context, text []byte) uint32 {
	if len(text) > maxTerm {
		in.stop(limit(in.opts.Name, "a builtin that the policy calls gave too much", fmt.Sprintf("the limit is %d bytes", maxTerm)))
	}
	address, err := in.store(ctx, text)
	if err != nil {
		in.stop(err)
	}
	if address == 0 {
		in.stop(protocol(in.opts.Name, "the policy cannot read a builtin's result", ""))
	}
	return address
}

// sprintf is fmt.Sprintf, as in OPA, after a bound on what it could give: widths,
// precisions and repeated arguments make much of little.
func sprintf(args []any) (any, error) {
	format, ok := args[0].(string)
	list, ok2 := args[1].([]any)
	if !ok || !ok2 {
		return nil, errOperand
	}
	values := make([]any, len(list))
	longest, total := 0, 0
	for i, v := range list {
		values[i] = sprintfArg(v)
		n := len(fmt.Sprint(values[i]))
		longest, total = max(longest, n), total+n
	}
	// A verb gives at most its width, its precision, and an argument of which a
	// byte becomes at most ten (%+q), or an argument's type and complaint.
	const growth, overhead = 10, 400
	verbs := strings.Count(format, "%")
	most := len(format) + verbs*(growth*longest+overhead) + widths(format) + total + len(list)*overhead
	if most > maxTerm {
		return nil, fmt.Errorf("%w: sprintf could give %d bytes, of %d", errLimit, most, maxTerm)
	}
	return fmt.Sprintf(format, values...), nil
}

// widths returns the sum of the numbers in a format, each at most fmt's own limit.
// A * takes its number from an argument.
func widths(format string) int {
	const fmtLimit = 1_000_000
	sum, number := 0, 0
	for _, c := range []byte(format) {
		switch {
		case c == '*':
			sum += fmtLimit
		case c >= '0' && c <= '9':
			number = min(number*10+int(c-'0'), fmtLimit)
			continue
		}
		sum, number = sum+number, 0
	}
	return sum
}

// sprintfArg turns numbers and strings into Go's, and the rest into Rego's text.
func sprintfArg(v any) any {
	switch v := v.(type) {
	case json.Number:
		text := string(v)
		if strings.ContainsAny(text, ".eE") {
			if f, err := v.Float64(); err == nil {
				return f
			}
			return text
		}
		if n, err := v.Int64(); err == nil {
			return n
		}
		if n, ok := new(big.Int).SetString(text, 10); ok {
			return n
		}
		return text
	case string:
		return v
	}
	return string(appendTerm(nil, v, strconv.AppendQuote))
}

func anyMatch(match func(s, affix string) bool) func([]any) (any, error) {
	return func(args []any) (any, error) {
		search, err := stringsOf(args[0])
		if err != nil {
			return nil, err
		}
		base, err := stringsOf(args[1])
		if err != nil {
			return nil, err
		}
		if len(search)*len(base) > maxTerm {
			return nil, fmt.Errorf("%w: %d comparisons, of %d", errLimit, len(search)*len(base), maxTerm)
		}
		for _, s := range search {
			for _, b := range base {
				if match(s, b) {
					return true, nil
				}
			}
		}
		return false, nil
	}
}

// stringsOf returns a string, or an array or a set of strings, as a slice.
func stringsOf(v any) ([]string, error) {
	var items []any
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case []any:
		items = v
	case set:
		items = v
	default:
		return nil, errOperand
	}
	texts := make([]string, len(items))
	for i, item := range items {
		text, ok := item.(string)
		if !ok {
			return nil, errOperand
		}
		texts[i] = text
	}
	return texts, nil
}

func stringsCount(args []any) (any, error) {
	s, ok := args[0].(string)
	sub, ok2 := args[1].(string)
	if !ok || !ok2 {
		return nil, errOperand
	}
	return number(int64(strings.Count(s, sub))), nil
}

func cryptoSHA256(args []any) (any, error) {
	s, ok := args[0].(string)
	if !ok {
		return nil, errOperand
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:]), nil
}

func number(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }

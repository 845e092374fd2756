package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// floatPrecision is enough for any number that a wasm policy computes with.
const floatPrecision = 256

// compareTerms orders terms as Rego does: by type, then by value.
func compareTerms(a, b any) int {
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	switch a := a.(type) {
	case bool:
		return cmp.Compare(truth(a), truth(b.(bool)))
	case json.Number:
		return compareNumbers(a, b.(json.Number))
	case string:
		return strings.Compare(a, b.(string))
	case []any:
		return slices.CompareFunc(a, b.([]any), compareTerms)
	case set:
		return slices.CompareFunc(a, b.(set), compareTerms)
	case object:
		return compareObjects(a, b.(object))
	}
	return 0 // null
}

func rank(v any) int {
	switch v.(type) {
	case nil:
		return 0
	case bool:
		return 1
	case json.Number:
		return 2
	case string:
		return 3
	case []any:
		return 4
	case object:
		return 5
	case set:
		return 6
	}
	panic(fmt.Sprintf("policy: no Rego value is a %T", v))
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func compareNumbers(a, b json.Number) int {
	i, errA := a.Int64()
	j, errB := b.Int64()
	if errA == nil && errB == nil {
		return cmp.Compare(i, j)
	}
	return float(a).Cmp(float(b))
}

// float never fails: a parsed term's numbers are JSON's, and one whose exponent
// is out of range is infinite or zero.
func float(n json.Number) *big.Float {
	f, _, err := new(big.Float).SetPrec(floatPrecision).Parse(string(n), 10)
	if err != nil {
		return new(big.Float)
	}
	return f
}

func compareObjects(a, b object) int {
	for i := range min(len(a), len(b)) {
		if c := compareTerms(a[i].key, b[i].key); c != 0 {
			return c
		}
		if c := compareTerms(a[i].value, b[i].value); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

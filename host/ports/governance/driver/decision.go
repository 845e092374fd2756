package driver

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
)

// ReadDecision takes a decision from a document that a policy made elsewhere,
//
//	{"effect": "allow", "reasons": [{"id": "...", "msg": "..."}], "obligations": [...], "ttl_s": 60}
//
// of which all but the effect may be left out, and only as it is specified: what is
// not understood must not be passed over, for it could be a restriction.
func ReadDecision(v kernel.Value) (d kernel.Decision, err error) {
	document, ok := v.(map[string]any)
	if !ok {
		return d, errors.New("it is no object")
	}
	for name := range document {
		if !slices.Contains([]string{"effect", "reasons", "obligations", "ttl_s"}, name) { // encoding/json would take "Effect", too
			return d, fmt.Errorf("it has no member %s", kernel.Quote(name))
		}
	}
	return d, kernel.FromValue(v, &d)
}

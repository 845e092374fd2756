// Package arguments reads what a method of a port was called with.
package arguments

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// Reader reads the arguments of a call one by one and keeps the first error, so that a
// method takes all it knows and asks End once. An optional argument that is null is as good as
// one that is left out.
type Reader struct {
	call  *kernel.PortCall
	known []string
	err   error
	body  bool
}

// Of returns a reader of a call's arguments.
func Of(call *kernel.PortCall) *Reader { return &Reader{call: call} }

// Run returns the run that calls; it is nil only where End returns an error.
func (r *Reader) Run(ctx context.Context) *kernel.RunContext {
	run := kernel.RunFrom(ctx)
	if run == nil && r.err == nil {
		r.err = &kernel.Error{Code: kernel.CodeInternal, What: r.call.Op + " was called outside a run"}
	}
	return run
}

// Take returns any argument, and whether it was given, as null or otherwise.
func (r *Reader) Take(name string) (value any, given bool) {
	r.known = append(r.known, name)
	value, given = r.call.Args[name]
	return value, given
}

// Fail notes what is wrong with the arguments, as the end of a sentence that begins with the
// method.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = &kernel.Error{Code: kernel.CodeArguments, What: r.call.Op + ": " + fmt.Sprintf(format, args...)}
	}
}

// Text returns a text that has to be there.
func (r *Reader) Text(name string) string {
	value, _ := r.Take(name)
	text, ok := value.(string)
	if !ok {
		r.Fail("%s must be a text", name)
	}
	return text
}

// TextOr returns a text, or orElse.
func (r *Reader) TextOr(name, orElse string) string { return take(r, name, orElse, "a text") }

// Flag returns a truth value, or orElse.
func (r *Reader) Flag(name string, orElse bool) bool { return take(r, name, orElse, "true or false") }

// Object returns an object, or nil. kind, where it is set, says what of: " of texts".
func (r *Reader) Object(name, kind string) map[string]any {
	return take(r, name, map[string]any(nil), "an object"+kind)
}

// List returns a list, or nil. kind, where it is set, says what of: " of texts".
func (r *Reader) List(name, kind string) []any {
	return take(r, name, []any(nil), "a list"+kind)
}

// Texts returns a list of texts; one that was not given is nil, and an empty one is not.
func (r *Reader) Texts(name, kind string) []string {
	list := r.List(name, kind)
	if list == nil {
		return nil
	}
	texts := make([]string, len(list))
	for i, item := range list {
		var ok bool
		if texts[i], ok = item.(string); !ok {
			r.Fail("%s must be a list%s", name, kind)
		}
	}
	return texts
}

// Whole returns a whole number from least to most, or orElse. A most of math.MaxInt64 is no bound.
func (r *Reader) Whole(name string, least, most, orElse int64) int64 {
	value, _ := r.Take(name)
	if value == nil {
		return orElse
	}
	number, _ := value.(json.Number)
	n, err := number.Int64()
	switch {
	case err == nil && n >= least && n <= most:
		return n
	case most == math.MaxInt64:
		r.Fail("%s must be a whole number, %d or more", name, least)
	default:
		r.Fail("%s must be a whole number, from %d to %d", name, least, most)
	}
	return orElse
}

// Number returns a number, and whether there is one.
func (r *Reader) Number(name, kind string) (float64, bool) {
	value, _ := r.Take(name)
	if value == nil {
		return 0, false
	}
	number, _ := value.(json.Number)
	f, err := number.Float64()
	if err != nil {
		r.Fail("%s must be a number%s", name, kind)
		return 0, false
	}
	return f, true
}

// Body returns the bytes of the call; End refuses those of a call that was not asked for them.
func (r *Reader) Body() []byte {
	r.body = true
	return r.call.Body
}

// End returns the first error, or one for what was given and not taken.
func (r *Reader) End() error {
	for name := range r.call.Args {
		if !slices.Contains(r.known, name) {
			r.Fail("unknown argument %s; it takes %s", kernel.Quote(name), cmp.Or(strings.Join(r.known, ", "), "none"))
		}
	}
	if len(r.call.Body) > 0 && !r.body {
		r.Fail("it takes no body")
	}
	return r.err
}

func take[T any](r *Reader, name string, orElse T, kind string) T {
	value, _ := r.Take(name)
	if value == nil {
		return orElse
	}
	v, ok := value.(T)
	if !ok {
		r.Fail("%s must be %s", name, kind)
	}
	return v
}

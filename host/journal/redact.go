package journal

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// Redaction picks what is taken out of a journal. An entry is picked that matches one of Lanes and one of Ops, as far as these are given: patterns, in
// which * stands for anything but a slash, and in a lane at the end "/**" for all below it.
type Redaction struct {
	Lanes []string
	Ops   []string
	// Paths are JSON pointers into an entry as AppendJSON writes it: /value/customer/email, with * for any member or item. Without any, all values are
	// taken out: arguments, results, bodies, inputs, and the words of errors.
	Paths []string
}

// Redacted stands where a value was taken out.
const Redacted = "[redacted]"

// values are where an entry has what its run was given or made. The rest says what was done, and stays.
var values = []string{
	"/args", "/value", "/body", "/asked", "/failed/what", "/failed/why", "/failed/fix", "/event/result", "/event/reason", "/event/error/what", "/event/error/why", "/event/error/fix",
	"/pause", "/head/input", "/head/resumption", "/head/labels/*", "/decided/reasons/*/msg", "/decided/obligations",
}

// Redact takes values out of a run's journal, for good, and marks the entries. It returns of how many it took something, and where the journal was cut
// because it was torn. Only a run that has ended can be redacted; it can be shown, and replayed as far as nothing is missing. The error is of CodeArguments, CodeNotFound or
// the store's.
func Redact(ctx context.Context, store driver.Store, tenant, run string, r Redaction) (n int, torn *Torn, err error) {
	paths, err := r.check()
	if err != nil {
		return 0, nil, err
	}
	j, err := Read(ctx, store, tenant, run)
	if err != nil {
		return 0, nil, err
	}
	if !over(j.Head) {
		return 0, nil, notOver(run, "", nil)
	}
	chunks := []driver.Chunk{}
	for e, err := range j.Entries(ctx) {
		if err != nil {
			return 0, nil, err
		}
		if r.picks(e) {
			changed, err := e.redact(paths)
			if err != nil {
				return 0, nil, err
			}
			if changed {
				n++
			}
		}
		if chunks, err = rechunk(chunks, e, j.Head.Epoch); err != nil {
			return 0, nil, err
		}
	}
	if n == 0 {
		return 0, j.Torn, nil
	}
	for i := range chunks {
		c := &chunks[i]
		c.Data = frame(c.First, int(c.Count), c.Data)
	}
	err = store.Rewrite(ctx, tenant, run, chunks)
	var taken *driver.Taken
	switch {
	case errors.As(err, &taken):
		return 0, nil, notOver(run, taken.Owner, err)
	case errors.Is(err, driver.ErrNotFound):
		return 0, nil, notFound(run)
	}
	return n, j.Torn, err
}

func notOver(run, owner string, cause error) error {
	why := "it has not ended, and goes on from what is recorded"
	if owner != "" {
		why = "host " + kernel.Quote(owner) + " works on it"
	}
	return &kernel.Error{Code: kernel.CodeArguments, What: "the run's journal cannot be redacted yet", Where: kernel.Where{Run: run}, Why: why, Fix: "wait until it has ended, or cancel it", Err: cause}
}

// rechunk adds an entry to chunks whose data are lines.
func rechunk(chunks []driver.Chunk, e *Entry, epoch uint64) ([]driver.Chunk, error) {
	if n := len(chunks); n == 0 || len(chunks[n-1].Data) >= chunkLines {
		chunks = append(chunks, driver.Chunk{First: e.Seq, Epoch: epoch})
	}
	last := &chunks[len(chunks)-1]
	last.Count++
	var err error
	last.Data, err = appendLine(last.Data, e)
	return chunks, err
}

// check returns the paths, taken apart.
func (r *Redaction) check() ([][]string, error) {
	bad := func(format string, args ...any) error {
		return &kernel.Error{Code: kernel.CodeArguments, What: "the redaction cannot be done: " + fmt.Sprintf(format, args...), Fix: "see 'hexdag journal export' for what entries hold"}
	}
	for _, pattern := range slices.Concat(r.Lanes, r.Ops) {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, bad("%s is no pattern", kernel.Quote(pattern))
		}
	}
	given := r.Paths
	if len(given) == 0 {
		given = values
	}
	var paths [][]string
	for _, p := range given {
		parts := pointer(p)
		if parts == nil || !slices.ContainsFunc(values, func(allowed string) bool { return within(parts, pointer(allowed)) }) {
			return nil, bad("%s is no path of a value", kernel.Quote(p))
		}
		paths = append(paths, parts)
	}
	return paths, nil
}

// pointer takes a JSON pointer apart; nil is none.
func pointer(text string) []string {
	if !strings.HasPrefix(text, "/") {
		return nil
	}
	parts := strings.Split(text[1:], "/")
	for i, part := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
	}
	return parts
}

// within reports whether a path leads to or below what allowed does.
func within(parts, allowed []string) bool {
	if len(parts) < len(allowed) {
		return false
	}
	for i, part := range allowed {
		if part != "*" && part != parts[i] {
			return false
		}
	}
	return true
}

// picks reports whether the entry's lane and operation are meant.
func (r *Redaction) picks(e *Entry) bool {
	return anyMatches(r.Lanes, e.Lane) && anyMatches(r.Ops, e.Op)
}

func anyMatches(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(pattern string) bool {
		if above, all := strings.CutSuffix(pattern, "/**"); all {
			for {
				if ok, _ := path.Match(above, name); ok { // check has seen the pattern
					return true
				}
				at := strings.LastIndexByte(name, '/')
				if at < 0 {
					return false
				}
				name = name[:at]
			}
		}
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// redact takes out what is at the paths, and reports whether there was anything.
func (e *Entry) redact(paths [][]string) (changed bool, err error) {
	text, err := appendEntry(nil, e)
	if err != nil {
		return false, err
	}
	value, err := kernel.DecodeJSON(text)
	if err != nil {
		return false, err
	}
	for _, p := range paths {
		if takeOut(value, p) {
			changed = true
		}
	}
	if !changed {
		return false, nil
	}
	fields, _ := value.(map[string]any)
	if _, was := fields["body"].(string); was && e.Body != nil && fields["body"] == Redacted {
		delete(fields, "body") // which is base64
	}
	if decided, ok := fields["decided"].(map[string]any); ok && decided["obligations"] == Redacted {
		delete(decided, "obligations") // which are objects
	}
	delete(fields, "digest") // of what was taken out: whoever guesses that could tell that it is right
	if e.Kind == Enter || e.Kind == Leave {
		fields["digest"] = e.Digest // of the module
	}
	fields["redacted"] = true
	if text, err = kernel.AppendJSON(text[:0], fields); err != nil {
		return false, err
	}
	left, err := decodeLines(append(text, '\n'), e.Seq)
	if err != nil {
		return false, err
	}
	*e = *left[0]
	return true, nil
}

// takeOut replaces what is at a path in v, and reports whether there was anything but what stands there already.
func takeOut(v kernel.Value, p []string) bool {
	changed := false
	replace := func(child any, set func()) {
		switch {
		case len(p) > 1:
			changed = takeOut(child, p[1:]) || changed
		case child != nil && child != Redacted:
			set()
			changed = true
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			if p[0] == "*" || p[0] == name {
				replace(child, func() { v[name] = Redacted })
			}
		}
	case []any:
		for i, child := range v {
			if p[0] == "*" || p[0] == fmt.Sprint(i) {
				replace(child, func() { v[i] = Redacted })
			}
		}
	}
	return changed
}

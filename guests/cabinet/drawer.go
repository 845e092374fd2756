package main

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
)

// entry is a key with its value, a JSON text.
type entry struct {
	key, value string
	expires    int64 // nanoseconds since 1970; 0 is never
}

// entries are sorted by their keys.
type entries []entry

func (es entries) search(key string) (int, bool) {
	return slices.BinarySearchFunc(es, key, func(e entry, key string) int { return strings.Compare(e.key, key) })
}

func (es entries) find(key string) (entry, bool) {
	i, found := es.search(key)
	if !found {
		return entry{}, false
	}
	return es[i], true
}

func (es *entries) put(e entry) {
	i, found := es.search(e.key)
	if found {
		(*es)[i] = e
		return
	}
	*es = slices.Insert(*es, i, e)
}

func (es *entries) remove(key string) bool {
	i, found := es.search(key)
	if found {
		*es = slices.Delete(*es, i, i+1)
	}
	return found
}

// size is how many keys there are, and how many bytes they have with their values.
func (es entries) size() (keys, bytes int64) {
	for _, e := range es {
		bytes += int64(len(e.key) + len(e.value))
	}
	return int64(len(es)), bytes
}

// parse reads what text writes, but for what has expired.
func parse(text string, now int64) (entries, bool) {
	var es entries
	for line := range strings.Lines(text) {
		key, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		expires, value, more := strings.Cut(rest, "\t")
		at, err := strconv.ParseInt(expires, 10, 64)
		if !ok || !more || err != nil {
			return nil, false
		}
		if at == 0 || at > now {
			es = append(es, entry{key, value, at})
		}
	}
	return es, true
}

// text is a line for each entry: the key, when it expires, the value. Keys are
// printable and values compact JSON, so that neither has a tab or the end of a line.
func (es entries) text() string {
	var b []byte
	for _, e := range es {
		b = append(append(b, e.key...), '\t')
		b = append(strconv.AppendInt(b, e.expires, 10), '\t')
		b = append(append(b, e.value...), '\n')
	}
	return string(b)
}

// drawer is what a tenant keeps, as it was read.
type drawer struct {
	key     string // of the memory below
	was     hexdag.Value
	entries entries
}

// open reads a tenant's drawer.
func open(args hexdag.Doc) (*drawer, error) {
	d := &drawer{key: "cabinet/" + hex.EncodeToString([]byte(args.String("/tenant")))}
	reply, err := hexdag.NewCall("memory.get").String("/key", d.key).Do()
	if err != nil || !reply.Bool("/found", false) {
		return d, err
	}
	if d.was, err = reply.Get("/value"); err != nil {
		return nil, err
	}
	es, ok := parse(d.was.Text, args.Int("/now", 0))
	if !ok || d.was.Kind != hexdag.KindString {
		return nil, broken(d.key)
	}
	d.entries = es
	return d, nil
}

type broken string

func (b broken) Error() string {
	return "what is kept under " + string(b) + " is no drawer of a cabinet"
}

// putBack keeps the drawer if it is still as it was read, and reports whether it was.
func (d *drawer) putBack() (bool, error) {
	call := hexdag.NewCall("memory.compare_and_swap").String("/key", d.key).String("/value", d.entries.text())
	if d.was.Kind != hexdag.KindAbsent {
		call.Value("/expected", d.was)
	}
	reply, err := call.Do()
	return err == nil && reply.Bool("/swapped", false), err
}

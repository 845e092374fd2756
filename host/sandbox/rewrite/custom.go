package rewrite

import (
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

const (
	// Version is the version of the rewriter. It changes with every change of
	// what the rewriter emits, and belongs into the key of any cache of compiled modules.
	Version = "hexdag-rewrite/3"

	nameSection    = "name"
	markSection    = "hexdag.rewritten"
	reservedPrefix = "hexdag."
	debugPrefix    = ".debug_"
)

func rewrittenTwice(version string) error {
	return &kernel.Error{
		Code: kernel.CodeModuleInvalid,
		What: notRunnable,
		Why:  "it has been rewritten before, by " + kernel.Quote(version),
		Fix:  "load the module as its compiler made it",
		Err:  ErrRewritten,
	}
}

// parseProducers reads a producers section, or as much of it as is well-formed.
func parseProducers(c custom) (all []Producer) {
	const limit = 100
	r := &reader{buf: c.payload, base: c.base}
	for range r.count("producer fields", limit) {
		field := r.name()
		for range r.count("producers", limit) {
			p := Producer{Field: field, Name: r.name(), Version: r.name()}
			if r.err != nil || len(all) == limit {
				return all
			}
			all = append(all, p)
		}
	}
	return all
}

// keepCustom reports whether a custom section is still true after rewriting.
func keepCustom(name string) bool { return !strings.HasPrefix(name, debugPrefix) }

// Subsections of the name section that are keyed by function indices.
const (
	nameFunctions = 1
	nameLocals    = 2
	nameLabels    = 3
)

// renumberNames returns a name section with its function indices moved, or nil
// if it is malformed; that does not make a module invalid.
func (m *module) renumberNames(c custom) []byte {
	var out, sub []byte
	r := &reader{buf: c.payload, base: c.base}
	for r.more() {
		id := r.byte()
		s := r.sub(r.u32())
		switch id {
		case nameFunctions:
			sub = m.renumberMap(sub[:0], s, func(s *reader) { s.name() })
		case nameLocals, nameLabels:
			sub = m.renumberMap(sub[:0], s, skipNameMap)
		default:
			sub = append(sub[:0], s.buf...)
		}
		if s.err != nil || r.err != nil {
			return nil
		}
		out = appendSection(out, id, sub)
	}
	return out
}

// renumberMap copies a vector of function indices, each with a value that skip
// passes over.
func (m *module) renumberMap(out []byte, r *reader, skip func(*reader)) []byte {
	n := r.count("names", len(r.buf))
	out = appendU32(out, uint32(n))
	for range n {
		index := r.u32()
		at := r.pos
		if skip(r); r.err != nil {
			return nil
		}
		out = append(appendU32(out, m.funcIndex(index)), r.buf[at:r.pos]...)
	}
	r.close("subsection of names")
	return out
}

func skipNameMap(r *reader) {
	for range r.count("names", len(r.buf)) {
		r.u32()
		r.name()
		if r.err != nil {
			return
		}
	}
}

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server/mcpserver"
	"github.com/hexdag/hexdag/host/toolpins"
)

// describeTools writes what is offered, what is not, and what has changed.
func describeTools(w io.Writer, offered map[string]string, hidden []mcpserver.Hidden, pinned []toolpins.Tool) error {
	var b strings.Builder
	changed := map[string]*toolpins.Tool{}
	for i, t := range pinned {
		_, here := offered[t.ID]
		switch {
		case t.Changed != nil:
			changed[t.ID] = &pinned[i]
		case offered == nil || !here && strings.HasPrefix(t.ID, "mcp:"):
			fmt.Fprintf(&b, "%s  pinned since %s\n", kernel.Quote(t.ID), t.Pinned.At.Format("2006-01-02"))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(offered)) {
		fmt.Fprintf(&b, "%s  offered as %s\n", kernel.Quote(id), kernel.Quote(offered[id]))
	}
	for _, h := range hidden {
		if changed[h.ID] == nil {
			fmt.Fprintf(&b, "%s  not offered: %s\n", kernel.Quote(h.ID), h.Why)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		describeChange(&b, changed[id])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// describeChange shows both definitions, as far as they differ.
func describeChange(b *strings.Builder, t *toolpins.Tool) {
	fmt.Fprintf(b, "%s  changed at %s: hexdag mcp approve --hash %s %s\n", kernel.Quote(t.ID), t.Changed.At.Format("2006-01-02 15:04"), t.Changed.Hash, kernel.Quote(t.ID))
	was, is := &t.Pinned, t.Changed
	for _, part := range []struct{ name, was, is string }{
		{"name", was.Name, is.Name}, {"description", was.Description, is.Description}, {"input_schema", string(was.InputSchema), string(is.InputSchema)},
		{"output_schema", string(was.OutputSchema), string(is.OutputSchema)}, {"annotations", string(was.Annotations), string(is.Annotations)},
	} {
		if part.was != part.is {
			fmt.Fprintf(b, "  %s\n    was  %s\n    is   %s\n", part.name, whole(part.was), whole(part.is))
		}
	}
}

// whole quotes a text to its end: what is cut off could be what matters.
func whole(text string) string {
	var b strings.Builder
	for text != "" {
		n := min(len(text), 256)
		for n < len(text) && n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		if n == 0 {
			n = min(len(text), 256)
		}
		b.WriteString(kernel.Quote(text[:n]))
		text = text[n:]
	}
	return b.String()
}

package diff

import (
	"fmt"
	"io"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// WriteText writes the report for a terminal. What the contents hold is escaped.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	if r.Note != "" {
		fmt.Fprintf(&b, "compared as %s: %s\n", r.Kind, kernel.Quote(r.Note))
	}
	switch {
	case r.Equal:
		b.WriteString("the same\n")
	case r.Kind == Text:
		for line := range strings.Lines(r.Unified) {
			b.WriteString(kernel.Quote(strings.TrimSuffix(line, "\n")) + "\n")
		}
	case r.Kind == Image:
		r.Pixels.write(&b)
	case r.Kind == Bytes:
		fmt.Fprintf(&b, "%d bytes and %d bytes, the same up to byte %d\n", r.Sizes[0], r.Sizes[1], r.First)
	case len(r.Changes) == 0:
		b.WriteString("the same but for how it is written\n")
	default:
		for i := range r.Changes {
			r.Changes[i].write(&b)
		}
	}
	if r.Left > 0 {
		fmt.Fprintf(&b, "and %d changes more\n", r.Left)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *Change) write(b *strings.Builder) {
	path := kernel.Quote(c.Path)
	if path == "" {
		path = "(the whole)"
	}
	switch c.Op {
	case Added:
		fmt.Fprintf(b, "+ %s: %s\n", path, show(c.New))
	case Removed:
		fmt.Fprintf(b, "- %s: %s\n", path, show(c.Old))
	case Changed:
		fmt.Fprintf(b, "~ %s: %s -> %s\n", path, show(c.Old), show(c.New))
	}
}

func show(v any) string {
	if row, ok := v.([]string); ok {
		return kernel.Quote(strings.Join(row, ", "))
	}
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		return kernel.Quote(fmt.Sprint(v))
	}
	return kernel.Quote(string(text))
}

func (p *Pixels) write(b *strings.Builder) {
	if p.Old != p.New {
		fmt.Fprintf(b, "size: %d x %d -> %d x %d\n", p.Old.X, p.Old.Y, p.New.X, p.New.Y)
	}
	if p.Differ == 0 {
		b.WriteString("no pixel that both have differs\n")
		return
	}
	fmt.Fprintf(b, "%d pixels differ, by at most %d of 255, between (%d, %d) and (%d, %d)\n", p.Differ, p.Largest, p.Within.Min.X, p.Within.Min.Y, p.Within.Max.X, p.Within.Max.Y)
}

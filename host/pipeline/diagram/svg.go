package diagram

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

// margin is around the whole, header what the title and the waves' names take.
const (
	margin     = 24
	header     = 76
	legendLine = 22
	maxHeading = 120 // letters
)

// styleSheet is all there is: no fonts, images or scripts from elsewhere.
const styleSheet = `
text{font-family:ui-sans-serif,system-ui,"DejaVu Sans",Arial,sans-serif;fill:#1f2933}
.title{font-size:18px;font-weight:600}.about{font-size:12px;fill:#52606d}.wave{font-size:11px;fill:#7b8794}
.name{font-size:13px;font-weight:600}.kind,.frame{font-size:11px;fill:#52606d}.when{font-size:11px;fill:#8d5a00}
.box{fill:#fff;stroke:#9aa5b1}.inner{fill:#f5f7fa;stroke:#cbd2d9}
.edge{fill:none;stroke:#7b8794;stroke-width:1.4}.order{stroke-dasharray:2 3}.route{stroke:#2f6fde;stroke-dasharray:6 3}.handler{stroke:#c0392b;stroke-dasharray:6 3}
`

// SVG returns the diagram as one document: waves from left to right, bodies as
// boxes in the nodes that run them.
func (d *Diagram) SVG() []byte {
	l := place(d.graph)
	s := &svg{}
	title, about := cut(d.title, maxHeading), cut(d.note, maxHeading)
	styles := l.styles()
	w := max(l.w, float64(utf8.RuneCountInString(title))*11, float64(utf8.RuneCountInString(about))*7, 320) + 2*margin
	h := l.h + header + 2*margin
	if len(styles) > 0 {
		h += legendLine
	}
	s.add(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img">`, w, h, w, h)
	s.add(`<title>%s</title><style>%s</style>`, escape(d.title), styleSheet)
	for _, st := range []style{data, order, route, handler} {
		s.add(`<marker id="%s" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="%s"/></marker>`, st, colourOf(st))
	}
	s.add(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	s.text(margin, margin+14, "title", title)
	s.text(margin, margin+34, "about", about)
	for i, column := range l.columns {
		s.text(margin+column[0].x, margin+header-12, "wave", fmt.Sprintf("wave %d", i+1))
	}
	if len(l.columns) == 0 {
		s.text(margin, margin+header, "about", "no nodes")
	}
	s.layout(l, margin, margin+header)
	s.legend(styles, h-margin)
	s.add(`</svg>`)
	return s.Bytes()
}

// styles returns how edges are drawn, here and in bodies, if one is not plain.
func (l *layout) styles() []style {
	found := map[style]bool{}
	var visit func(l *layout)
	visit = func(l *layout) {
		for _, line := range l.lines {
			found[line.style] = true
		}
		for _, column := range l.columns {
			for _, b := range column {
				for _, f := range b.frames {
					if f.layout != nil {
						visit(f.layout)
					}
				}
			}
		}
	}
	visit(l)
	list := []style{data, order, route, handler}
	list = slices.DeleteFunc(list, func(s style) bool { return !found[s] })
	if len(list) == 1 && list[0] == data {
		return nil
	}
	return list
}

func colourOf(s style) string {
	switch s {
	case route:
		return "#2f6fde"
	case handler:
		return "#c0392b"
	}
	return "#7b8794"
}

type svg struct{ bytes.Buffer }

func (s *svg) add(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

// escape makes a text of a file's author safe in XML, in elements and attributes.
func escape(text string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(kernel.Quote(text))) //nolint:errcheck // a buffer takes everything
	return b.String()
}

// text writes a text that is cut already.
func (s *svg) text(x, y float64, class, text string) {
	if text != "" {
		s.add(`<text x="%.1f" y="%.1f" class="%s">%s</text>`, x, y, class, escape(text))
	}
}

func (s *svg) layout(l *layout, x, y float64) {
	for _, line := range l.lines {
		s.line(&line, x, y)
	}
	for _, column := range l.columns {
		for _, b := range column {
			if b.vertex != nil {
				s.box(b, x+b.x, y+b.y)
			}
		}
	}
}

// line draws an edge: a curve from each box to the next, and straight through lanes.
func (s *svg) line(l *line, x, y float64) {
	var d bytes.Buffer
	for i, to := range l.path[1:] {
		from := l.path[i]
		x1, y1, x2, y2 := x+from.x+from.w, y+from.middle(), x+to.x, y+to.middle()
		if i == 0 {
			fmt.Fprintf(&d, "M%.1f %.1f", x1, y1)
		}
		x1 = x + from.right // past the wider boxes of its column
		fmt.Fprintf(&d, "H%.1f", x1)
		half := (x2 - x1) / 2
		fmt.Fprintf(&d, "C%.1f %.1f %.1f %.1f %.1f %.1f", x1+half, y1, x2-half, y2, x2, y2)
	}
	s.add(`<path class="edge %s" marker-end="url(#%s)" d="%s"/>`, l.style, l.style, d.String())
}

func (s *svg) box(b *box, x, y float64) {
	s.add(`<g><title>%s</title>`, escape(b.tip()))
	s.add(`<rect class="box" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="6"/>`, x, y, b.w, b.h)
	s.add(`<rect x="%.1f" y="%.1f" width="4" height="%.1f" rx="2" fill="%s"/>`, x, y, b.h, colourOfKind(b.kind))
	s.text(x+padding, y+lineHeight+2, "name", shown(b.name))
	s.text(x+padding, y+2*lineHeight, "kind", shown(b.subtitle()))
	if b.when != "" {
		s.text(x+padding, y+3*lineHeight, "when", shown("if "+b.when))
	}
	for _, f := range b.frames {
		s.add(`<rect class="inner" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="4"/>`, x+f.x, y+f.y, f.w, f.h)
		s.text(x+f.x+padding/2, y+f.y+15, "frame", shown(f.name+"  "+f.note))
		if f.layout != nil {
			s.layout(f.layout, x+f.x+padding, y+f.y+frameHeader)
		}
	}
	s.add(`</g>`)
}

// tip is what a pointer over a node shows: what was cut from its box.
func (v *vertex) tip() string {
	text := v.name + " (" + v.subtitle() + ")"
	if v.about != "" {
		text += ": " + v.about
	}
	if v.when != "" {
		text += "; if " + v.when
	}
	return text
}

func colourOfKind(kind string) string {
	switch kind {
	case "llm_node", "agent_node", "central_agent_node":
		return "#7c4dbd"
	case "function_node", "service_call_node", "tool_call_node", "tool_parser_node", "tool_executor_node", "tool_results_node":
		return "#1a8f7a"
	case "api_call_node":
		return "#3f8f2f"
	case "composite_node", "process":
		return "#2f6fde"
	case "wait_node", "transition":
		return "#d18b00"
	}
	return "#9aa5b1"
}

func (s *svg) legend(styles []style, y float64) {
	x := float64(margin)
	for _, st := range styles {
		words := map[style]string{data: "given to", order: "comes before", route: "routes to", handler: "errors handled by"}[st]
		s.add(`<path class="edge %s" marker-end="url(#%s)" d="M%.1f %.1fH%.1f"/>`, st, st, x, y-4, x+32)
		s.text(x+38, y, "wave", words)
		x += 38 + widthOf(words, smallWidth) + 24
	}
}

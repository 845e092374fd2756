package diagram

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

// Lengths, in pixels.
const (
	charWidth   = 7.4 // of a letter of a name, on average and generously
	smallWidth  = 6.2 // of a letter below a name
	leastWidth  = 120
	lineHeight  = 17
	padding     = 12
	columnGap   = 64
	rowGap      = 18
	laneHeight  = 10 // what an edge that passes a wave takes of it
	maxLetters  = 46
	frameHeader = 22
)

// maxLanes is how many lanes are laid out; a graph that needs more has its edges
// drawn straight.
const maxLanes = 20_000

// box is a vertex with its place, or a lane: the way of an edge through a wave.
type box struct {
	*vertex         // nil for a lane
	x, y    float64 // of its upper left corner
	w, h    float64
	right   float64 // of its column
	before  []*box  // what it is drawn to, one wave before
	next    []*box
	frames  []placedFrame
}

type placedFrame struct {
	frame
	x, y, w, h float64 // within the box
	layout     *layout // nil without a graph
}

// line is an edge, from box to box through lanes.
type line struct {
	edge
	path []*box
}

// layout is a graph with places: a column for each wave.
type layout struct {
	columns [][]*box
	lines   []line
	w, h    float64
}

// shown is a text as it is drawn in a box: escaped and cut.
func shown(text string) string { return cut(text, maxLetters) }

func cut(text string, letters int) string {
	text = kernel.Quote(text)
	if utf8.RuneCountInString(text) > letters {
		text = string([]rune(text)[:letters-1]) + "…"
	}
	return text
}

func widthOf(text string, letter float64) float64 {
	return float64(utf8.RuneCountInString(shown(text))) * letter
}

// subtitle is what stands below a vertex's name.
func (v *vertex) subtitle() string {
	if v.note == "" {
		return v.kind
	}
	return v.kind + "  " + v.note
}

func place(g *graph) *layout {
	l := &layout{}
	boxes := map[string]*box{}
	for i, wave := range g.waves() {
		l.columns = append(l.columns, nil)
		for _, v := range wave {
			b := measure(v)
			boxes[v.name] = b
			l.columns[i] = append(l.columns[i], b)
		}
	}
	l.connect(g, boxes)
	for range 4 {
		l.sort(false)
		l.sort(true)
	}
	l.across()
	l.down()
	return l
}

// measure gives a vertex its size, and its bodies their places in it.
func measure(v *vertex) *box {
	b := &box{vertex: v, w: max(leastWidth, widthOf(v.name, charWidth)+2*padding, widthOf(v.subtitle(), smallWidth)+2*padding), h: 2*lineHeight + padding}
	if v.when != "" {
		b.w, b.h = max(b.w, widthOf("if "+v.when, smallWidth)+2*padding), b.h+lineHeight
	}
	for _, f := range v.inner {
		p := placedFrame{frame: f, x: padding, y: b.h, h: frameHeader, w: widthOf(f.name+"  "+f.note, smallWidth) + padding}
		if f.graph != nil && len(f.graph.nodes) > 0 {
			p.layout = place(f.graph)
			p.w, p.h = max(p.w, p.layout.w+2*padding), p.h+p.layout.h+padding
		}
		b.w, b.h = max(b.w, p.w+2*padding), b.h+p.h+padding
		b.frames = append(b.frames, p)
	}
	for i := range b.frames {
		b.frames[i].w = b.w - 2*padding
	}
	return b
}

// connect draws the edges from wave to wave, with lanes where they pass one.
func (l *layout) connect(g *graph, boxes map[string]*box) {
	lanes := 0
	for _, v := range g.nodes {
		for _, e := range v.after {
			if from := boxes[e.from]; from != nil {
				lanes += max(v.wave-from.wave-1, 0)
			}
		}
	}
	for _, v := range g.nodes {
		for _, e := range v.after {
			from, to := boxes[e.from], boxes[v.name]
			if from == nil {
				continue
			}
			path := []*box{from}
			for wave := from.wave + 1; wave < to.wave && lanes <= maxLanes; wave++ {
				lane := &box{h: laneHeight}
				l.columns[wave-1] = append(l.columns[wave-1], lane)
				path = append(path, lane)
			}
			path = append(path, to)
			for i := range path[1:] {
				path[i].next = append(path[i].next, path[i+1])
				path[i+1].before = append(path[i+1].before, path[i])
			}
			l.lines = append(l.lines, line{e, path})
		}
	}
}

// sort orders each column by where its neighbours stand, so that few edges cross.
func (l *layout) sort(backward bool) {
	at := map[*box]float64{}
	columns := slices.Clone(l.columns)
	for _, column := range columns {
		for i, b := range column {
			at[b] = float64(i)
		}
	}
	if backward {
		slices.Reverse(columns)
	}
	for _, column := range columns {
		wanted := make(map[*box]float64, len(column))
		for i, b := range column {
			neighbours := b.before
			if backward {
				neighbours = b.next
			}
			wanted[b] = mean(neighbours, float64(i), func(n *box) float64 { return at[n] })
		}
		slices.SortStableFunc(column, func(a, b *box) int { return cmp.Compare(wanted[a], wanted[b]) })
		for i, b := range column {
			at[b] = float64(i)
		}
	}
}

func mean(boxes []*box, otherwise float64, of func(*box) float64) float64 {
	if len(boxes) == 0 {
		return otherwise
	}
	sum := 0.0
	for _, b := range boxes {
		sum += of(b)
	}
	return sum / float64(len(boxes))
}

// across gives the columns their places from left to right.
func (l *layout) across() {
	x := 0.0
	for _, column := range l.columns {
		width := 0.0
		for _, b := range column {
			width = max(width, b.w)
		}
		for _, b := range column {
			b.x, b.right = x, x+width
			if b.vertex == nil {
				b.w = width
			}
		}
		x += width + columnGap
	}
	l.w = max(x-columnGap, 0)
}

func (b *box) middle() float64 { return b.y + b.h/2 }

// down gives the boxes of each column their places, near those that they are drawn to.
func (l *layout) down() {
	for pass := range 5 {
		for _, column := range l.columns {
			wanted := make([]float64, len(column))
			for i, b := range column {
				neighbours := b.before
				if pass%2 == 1 {
					neighbours = b.next
				}
				wanted[i] = mean(neighbours, b.middle(), (*box).middle) - b.h/2
			}
			stack(column, wanted)
		}
	}
	top := 0.0
	for _, column := range l.columns {
		for _, b := range column {
			top = min(top, b.y)
		}
	}
	for _, column := range l.columns {
		for _, b := range column {
			b.y -= top
			l.h = max(l.h, b.y+b.h)
		}
	}
}

// stack puts boxes below each other, in all as near to where they are wanted as
// their order lets them.
func stack(column []*box, wanted []float64) {
	drift := 0.0
	for i, b := range column {
		b.y = wanted[i]
		if i > 0 {
			b.y = max(b.y, column[i-1].y+column[i-1].h+rowGap)
		}
		drift += b.y - wanted[i]
	}
	for _, b := range column {
		b.y -= drift / float64(len(column))
	}
}

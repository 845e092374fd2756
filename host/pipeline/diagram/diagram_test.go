package diagram

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/pipeline"
)

func parse(t testing.TB, text string) *pipeline.File {
	t.Helper()
	p, err := pipeline.Parse("p.yaml", []byte(text), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &pipeline.File{Pipeline: p}
}

const sample = `kind: Pipeline
metadata: {name: sample}
spec:
  nodes:
    - {kind: expression_node, metadata: {name: start}, spec: {expressions: {v: "$input.n"}}}
    - {kind: composite_node, metadata: {name: router}, spec: {mode: switch, route_downstream: true, branches: [{condition: "start.v > 3", action: fast}], else_action: slow}}
    - {kind: data_node, metadata: {name: fast}, spec: {output: 1}, dependencies: []}
    - {kind: data_node, metadata: {name: slow}, spec: {output: 2}, dependencies: []}
    - kind: composite_node
      metadata: {name: each}
      spec:
        mode: for-each
        items: "[1, 2]"
        body:
          - {kind: expression_node, metadata: {name: e}, spec: {expressions: {v: item}, on_error: h}}
          - {kind: data_node, metadata: {name: h}, spec: {output: 1}}
      wait_for: [fast, slow]
    - {kind: function_node, metadata: {name: last}, spec: {fn: m.tool, input_mapping: {x: each.result, y: start.v}}}
`

func TestText(t *testing.T) {
	want := `sample
├─ wave 1
│  └─ start  expression_node
├─ wave 2
│  └─ router  composite_node switch  <- start
│     ├─ branches.0  if start.v > 3: fast
│     └─ else  slow
├─ wave 3
│  ├─ fast  data_node  <- router (route)  if router.result == 'fast'
│  └─ slow  data_node  <- router (route)  if router.result == 'slow'
├─ wave 4
│  └─ each  composite_node for-each  <- fast (order), slow (order)
│     └─ body
│        ├─ wave 1
│        │  └─ e  expression_node
│        └─ wave 2
│           └─ h  data_node  <- e (handler)
└─ wave 5
   └─ last  function_node m.tool  <- each, start
`
	if got := Of(parse(t, sample)).Text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// element is what of the SVG a test looks at.
type element struct {
	name  string
	attrs map[string]string
	text  string
}

// elements reads an SVG, strictly.
func elements(t testing.TB, svg []byte) []element {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	var all []element
	var open []int
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			open = append(open, len(all))
			all = append(all, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				all[open[len(open)-1]].text += string(token)
			}
		case xml.ProcInst, xml.Directive, xml.Comment:
			t.Errorf("%T in the picture", token)
		}
	}
}

// checkInert fails for anything that could run, or be fetched.
func checkInert(t testing.TB, svg []byte) []element {
	t.Helper()
	all := elements(t, svg)
	for _, e := range all {
		if !slices.Contains([]string{"svg", "title", "style", "marker", "path", "rect", "g", "text"}, e.name) {
			t.Errorf("element %s", e.name)
		}
		for name, value := range e.attrs {
			if strings.HasPrefix(strings.ToLower(name), "on") || name == "href" || strings.Contains(value, "script") || name != "xmlns" && strings.Contains(value, "://") {
				t.Errorf("attribute %s=%q of %s", name, value, e.name)
			}
		}
		if e.name == "style" && (strings.Contains(e.text, "url(") || strings.Contains(e.text, "@import")) {
			t.Errorf("the style fetches: %s", e.text)
		}
	}
	return all
}

func TestSVG(t *testing.T) {
	svg := Of(parse(t, sample)).SVG()
	all := checkInert(t, svg)
	var texts []string
	for _, e := range all {
		if e.name == "text" {
			texts = append(texts, e.text)
		}
	}
	for _, want := range []string{"sample", "start", "router", "composite_node  switch", "if router.result == 'fast'", "branches.0  if start.v > 3: fast", "e", "h", "function_node  m.tool", "wave 5", "errors handled by", "routes to", "comes before"} {
		if !slices.Contains(texts, want) {
			t.Errorf("nothing says %q: %q", want, texts)
		}
	}
}

// number reads an attribute.
func number(t testing.TB, e element, name string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(e.attrs[name], 64)
	if err != nil {
		t.Fatal(e, err)
	}
	return f
}

// No two boxes overlap unless one holds the other, each holds its texts, and all
// is within the picture.
func TestSVGLayout(t *testing.T) {
	var wide strings.Builder
	wide.WriteString("kind: Pipeline\nmetadata: {name: wide}\nspec:\n  nodes:\n")
	for i := range 30 {
		fmt.Fprintf(&wide, "    - {kind: data_node, metadata: {name: n%d}, spec: {output: 1}, dependencies: [%s]}\n", i, map[bool]string{true: fmt.Sprintf("n%d, n%d", i/2, i/3)}[i > 2])
	}
	for name, text := range map[string]string{"sample": sample, "wide": wide.String()} {
		all := checkInert(t, Of(parse(t, text)).SVG())
		w, h := number(t, all[0], "width"), number(t, all[0], "height")
		type rect struct{ x1, y1, x2, y2 float64 }
		var boxes []rect
		for _, e := range all {
			if class := e.attrs["class"]; class == "box" || class == "inner" {
				x, y := number(t, e, "x"), number(t, e, "y")
				boxes = append(boxes, rect{x, y, x + number(t, e, "width"), y + number(t, e, "height")})
			}
		}
		holds := func(a, b rect) bool { return a.x1 < b.x1 && a.y1 < b.y1 && a.x2 > b.x2 && a.y2 > b.y2 }
		for i, a := range boxes {
			if a.x1 < 0 || a.y1 < header || a.x2 > w || a.y2 > h {
				t.Errorf("%s: box %v is outside of %vx%v", name, a, w, h)
			}
			for _, b := range boxes[i+1:] {
				apart := a.x2 <= b.x1 || b.x2 <= a.x1 || a.y2 <= b.y1 || b.y2 <= a.y1
				if !apart && !holds(a, b) && !holds(b, a) {
					t.Errorf("%s: %v and %v overlap", name, a, b)
				}
			}
		}
	}
}

// Whatever a file's author calls things, it is text in the picture, and no more
// than text in the terminal.
func TestNamesAreEscaped(t *testing.T) {
	const evil = `<img src=x onerror=alert(1)>`
	const text = `kind: Pipeline
metadata: {name: '%[1]s', description: '</title></svg><script>alert(1)</script>'}
spec:
  nodes:
    - {kind: data_node, metadata: {name: a, description: '"><img onerror=alert(1)>'}, spec: {output: 1, when: "x == '<img onerror=alert(1)>' and y != ']]>'"}}
    - {kind: api_call_node, metadata: {name: b, description: "esc \e[31m nul \0 bidi \u202e"}, spec: {url: 'https://x/<svg onload=alert(1)>&amp;'}}
    - {kind: wait_node, metadata: {name: c}, spec: {event_key: '%[1]s'}}
    - {kind: composite_node, metadata: {name: d}, spec: {mode: switch, branches: [{condition: "x == '<b>'", action: '%[1]s'}], else_action: '%[1]s'}}
`
	d := Of(parse(t, fmt.Sprintf(text, evil)))
	svg := d.SVG()
	all := checkInert(t, svg)
	if !slices.ContainsFunc(all, func(e element) bool { return e.name == "text" && e.text == evil }) {
		t.Error("the name is not shown as text")
	}
	if strings.Contains(string(svg), "<img") || strings.Contains(string(svg), "<script") || strings.Contains(string(svg), "onload=alert(1)>&amp;<") {
		t.Errorf("%s", svg)
	}
	for _, drawn := range []string{string(svg), d.Text()} {
		if strings.ContainsAny(drawn, "\x1b\x00\u202e") {
			t.Errorf("control characters in %q", drawn)
		}
	}
	if text := (&Diagram{title: "a\x1b[31m", graph: &graph{}}).Text(); strings.Contains(text, "\x1b") {
		t.Errorf("control characters in %q", text)
	}
	// A node's name is one of letters: the loader says so, and the picture does not rely on it.
	if _, err := pipeline.Parse("p.yaml", []byte("kind: Pipeline\nmetadata: {name: t}\nspec: {nodes: [{kind: data_node, metadata: {name: '"+evil+"'}, spec: {output: 1}}]}\n"), pipeline.Options{}); err == nil || !strings.Contains(err.Error(), "no name for a node") {
		t.Errorf("the loader takes the name: %v", err)
	}
	own := &pipeline.Graph{Nodes: []*pipeline.Node{{Name: evil, Kind: evil, Description: evil, Wave: 1, Body: &pipeline.Data{}}}, Waves: []int{1}}
	checkInert(t, Of(&pipeline.File{Pipeline: &pipeline.Pipeline{Name: evil, Graph: own}}).SVG())
}

func TestSystem(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("p.yaml", "kind: Pipeline\nmetadata: {name: p}\nspec: {nodes: [{kind: data_node, metadata: {name: n}, spec: {output: 1}}]}\n")
	read := func(spec string) *Diagram {
		f, err := pipeline.Read(write("s.yaml", "kind: System\nmetadata: {name: s}\nspec:\n  processes: [{name: one, pipeline: p.yaml}, {name: two, pipeline: p.yaml}]\n"+spec), pipeline.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return Of(f)
	}
	piped := read("  pipes: [{from: one, to: two, mapping: {x: '{{ one.n }}'}}]\n")
	if want := "s\n├─ wave 1\n│  └─ one  process\n│     └─ pipeline  p\n│        └─ n  data_node\n└─ wave 2\n   └─ two  process  <- one\n      └─ pipeline  p\n         └─ n  data_node\n"; piped.Text() != want {
		t.Errorf("got\n%s\nwant\n%s", piped.Text(), want)
	}
	checkInert(t, piped.SVG())
	states := read("  state_machines: {t: {initial: A, transitions: {A: [B]}}}\n  states: {B: {on_enter: one}}\n  on_transition: {'A -> B': {process: two}}\n")
	for _, want := range []string{"one  process on B\n", "two  process on A -> B\n"} {
		if !strings.Contains(states.Text(), want) {
			t.Errorf("%q is not in\n%s", want, states.Text())
		}
	}
	checkInert(t, states.SVG())
}

// A graph that would need millions of lanes is drawn in time and memory that do
// not grow with them.
func TestLargeGraph(t *testing.T) {
	var b strings.Builder
	b.WriteString("kind: Pipeline\nmetadata: {name: large}\nspec:\n  nodes:\n")
	const n = 120
	for i := range n {
		b.WriteString("    - {kind: data_node, metadata: {name: n" + strconv.Itoa(i) + "}, spec: {output: 1}, dependencies: [")
		for j := range i {
			b.WriteString("n" + strconv.Itoa(j) + ",")
		}
		b.WriteString("]}\n")
	}
	l := place(ofGraph(parse(t, b.String()).Pipeline.Graph))
	boxes := 0
	for _, column := range l.columns {
		boxes += len(column)
	}
	if boxes != n || len(l.lines) != n*(n-1)/2 {
		t.Errorf("%d boxes and %d lines", boxes, len(l.lines))
	}
}

func TestEmpty(t *testing.T) {
	d := Of(&pipeline.File{Pipeline: &pipeline.Pipeline{Name: "none", Graph: &pipeline.Graph{}}})
	if d.Text() != "none\n" || !strings.Contains(string(d.SVG()), "no nodes") {
		t.Errorf("%q", d.Text())
	}
}

package diagram

// Vertex is a thing that comes from others.
type Vertex struct {
	Name string
	Kind string
	Note string
	From []string // names of others
}

// OfVertices returns the diagram of things that come from each other, in the order of what
// comes from what. What is its own ancestor stands in the first wave.
func OfVertices(title string, vertices []Vertex) *Diagram {
	byName := make(map[string]*Vertex, len(vertices))
	for i := range vertices {
		byName[vertices[i].Name] = &vertices[i]
	}
	waves := make(map[string]int, len(vertices))
	var wave func(v *Vertex) int
	wave = func(v *Vertex) int {
		if known, ok := waves[v.Name]; ok {
			return known
		}
		waves[v.Name] = 1 // while it is being worked out
		longest := 1
		for _, from := range v.From {
			if parent := byName[from]; parent != nil {
				longest = max(longest, wave(parent)+1)
			}
		}
		waves[v.Name] = longest
		return longest
	}
	g := &graph{}
	for i := range vertices {
		v := &vertices[i]
		drawn := &vertex{name: v.Name, kind: v.Kind, note: v.Note, wave: wave(v)}
		for _, from := range v.From {
			if byName[from] != nil {
				drawn.after = append(drawn.after, edge{from, data})
			}
		}
		g.nodes = append(g.nodes, drawn)
	}
	return &Diagram{title: title, graph: g}
}

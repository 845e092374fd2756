// Package hnsw is a graph that leads to the nearest of many points: a hierarchical navigable small
// world, after Malkov and Yashunin (2016), with their heuristic that keeps edges in all directions.
package hnsw

import (
	"cmp"
	"math"
	"math/rand"
	"slices"
)

// Distance says how far two points are apart: the smaller the nearer.
type Distance func(a, b []float32) float32

// Graph has points by their numbers, from 0 on. It may be searched by several goroutines, while
// nobody adds to it.
type Graph struct {
	distance Distance
	edges    int // of a node on a level above the lowest, where it has twice as many
	breadth  int // candidates that are considered for a new node's edges
	rng      *rand.Rand
	nodes    []node
	entry    int // the node on the highest level
}

// node has the numbers of its neighbours, for each level that it is on.
type node struct {
	point []float32
	links [][]uint32
}

// New returns an empty graph whose nodes have that many edges, found among breadth candidates.
func New(distance Distance, edges, breadth int, seed int64) *Graph {
	return &Graph{distance: distance, edges: edges, breadth: max(breadth, edges), rng: rand.New(rand.NewSource(seed))} //nolint:gosec // levels of a graph
}

// Len returns the number of points.
func (g *Graph) Len() int { return len(g.nodes) }

// Found is a point and how far it is.
type Found struct {
	Node     int
	Distance float32
}

// maxLevel is more than a graph that fits into memory has.
const maxLevel = 30

// Add adds a point, which the graph keeps, and returns its number. Who adds one point many times
// fills the edges around it with itself.
func (g *Graph) Add(point []float32) int {
	id := len(g.nodes)
	level := min(maxLevel, int(-math.Log(1-g.rng.Float64())/math.Log(float64(g.edges))))
	g.nodes = append(g.nodes, node{point, make([][]uint32, level+1)})
	if id == 0 {
		return id
	}
	top := len(g.nodes[g.entry].links) - 1
	from := g.descend(point, level)
	for l := min(level, top); l >= 0; l-- {
		found := g.walk(point, from, g.breadth, l, nil)
		from = found
		chosen := g.choose(found, g.edges)
		for _, f := range chosen {
			g.nodes[id].links[l] = append(g.nodes[id].links[l], uint32(f.Node))
			g.link(f.Node, id, l)
		}
	}
	if level > top {
		g.entry = id
	}
	return id
}

// descend walks from the top to the level above the given one, and returns where it came to.
func (g *Graph) descend(point []float32, level int) []Found {
	at := []Found{{g.entry, g.distance(point, g.nodes[g.entry].point)}}
	for l := len(g.nodes[g.entry].links) - 1; l > level; l-- {
		at = g.walk(point, at, 1, l, nil)
	}
	return at
}

// link gives a node an edge to another, and takes the least useful one away if it has too many.
func (g *Graph) link(from, to, level int) {
	links := g.nodes[from].links[level]
	links = append(links, uint32(to))
	most := g.edges
	if level == 0 {
		most = 2 * g.edges
	}
	if len(links) > most {
		point := g.nodes[from].point
		all := make([]Found, len(links))
		for i, n := range links {
			all[i] = Found{int(n), g.distance(point, g.nodes[n].point)}
		}
		slices.SortFunc(all, nearer)
		links = links[:0]
		for _, f := range g.choose(all, most) {
			links = append(links, uint32(f.Node))
		}
	}
	g.nodes[from].links[level] = links
}

// choose takes of nodes, the nearest first, those that are nearer to the point than to each other,
// so that a node in a cluster keeps edges that lead out; then the nearest of the rest.
func (g *Graph) choose(found []Found, most int) []Found {
	if len(found) <= most {
		return found
	}
	chosen, rest := make([]Found, 0, most), make([]Found, 0, len(found))
	for _, f := range found {
		if len(chosen) == most {
			return chosen
		}
		behind := slices.ContainsFunc(chosen, func(c Found) bool {
			return g.distance(g.nodes[f.Node].point, g.nodes[c.Node].point) < f.Distance
		})
		if behind {
			rest = append(rest, f)
		} else {
			chosen = append(chosen, f)
		}
	}
	return append(chosen, rest[:min(len(rest), most-len(chosen))]...)
}

func nearer(a, b Found) int {
	if c := cmp.Compare(a.Distance, b.Distance); c != 0 {
		return c
	}
	return cmp.Compare(a.Node, b.Node)
}

// Search returns at most k of the nearest nodes that keep has, nil for all, the nearest first.
// The more candidates it considers, the less it misses.
func (g *Graph) Search(point []float32, k, candidates int, keep func(node int) bool) []Found {
	if len(g.nodes) == 0 {
		return nil
	}
	found := g.walk(point, g.descend(point, 0), max(k, candidates), 0, keep)
	return found[:min(k, len(found))]
}

// walk looks at the neighbours of the nearest node that it has not looked at, until the rest is
// farther than all of the most nodes that it has found. It returns these, the nearest first.
func (g *Graph) walk(point []float32, from []Found, most, level int, keep func(int) bool) []Found {
	seen := make([]uint64, len(g.nodes)/64+1)
	ahead := heap{less: func(a, b Found) bool { return a.Distance < b.Distance }}
	found := heap{less: func(a, b Found) bool { return a.Distance > b.Distance }} // the farthest first
	take := func(f Found) {
		ahead.push(f)
		if keep == nil || keep(f.Node) {
			found.push(f)
			if len(found.list) > most {
				found.pop()
			}
		}
	}
	for _, f := range from {
		seen[f.Node/64] |= 1 << (f.Node % 64)
		take(f)
	}
	for len(ahead.list) > 0 {
		next := ahead.pop()
		if len(found.list) == most && next.Distance > found.list[0].Distance {
			break
		}
		for _, n := range g.nodes[next.Node].links[level] {
			if seen[n/64]&(1<<(n%64)) != 0 {
				continue
			}
			seen[n/64] |= 1 << (n % 64)
			d := g.distance(point, g.nodes[n].point)
			if len(found.list) < most || d < found.list[0].Distance {
				take(Found{int(n), d})
			}
		}
	}
	slices.SortFunc(found.list, nearer)
	return found.list
}

// heap has the least of its elements first.
type heap struct {
	list []Found
	less func(a, b Found) bool
}

func (h *heap) push(f Found) {
	h.list = append(h.list, f)
	for i := len(h.list) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.less(h.list[i], h.list[parent]) {
			break
		}
		h.list[i], h.list[parent] = h.list[parent], h.list[i]
		i = parent
	}
}

func (h *heap) pop() Found {
	first, last := h.list[0], len(h.list)-1
	h.list[0] = h.list[last]
	h.list = h.list[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return first
		}
		if child+1 < last && h.less(h.list[child+1], h.list[child]) {
			child++
		}
		if !h.less(h.list[child], h.list[i]) {
			return first
		}
		h.list[i], h.list[child] = h.list[child], h.list[i]
		i = child
	}
}

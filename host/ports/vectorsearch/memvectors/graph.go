package memvectors

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand"
	"slices"

	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/memvectors/hnsw"
)

const (
	// exactBelow is how many items a collection has at least before its graph is asked: so
	// many are looked at sooner.
	exactBelow = 1000
	// edges is how many a node has on a level, and breadth how many candidates are considered, for a
	// new node and in a search.
	edges, breadth = 16, 200
	// most is the largest part of a collection that the graph is asked for.
	most = 10
)

// graph is a collection's. Items in one place are one node. A node without items stays in it, is
// left out of answers, and goes when half of the nodes are such: the graph is then built anew.
type graph struct {
	metric driver.Metric
	nodes  *hnsw.Graph
	byNode [][]*entry
	byID   map[string]int
	places map[place]int
	empty  int // nodes
}

// place is a digest of a point.
type place [sha256.Size]byte

func placeOf(point []float32) place {
	h := sha256.New()
	var word [4]byte
	for _, x := range point {
		binary.LittleEndian.PutUint32(word[:], math.Float32bits(x))
		h.Write(word[:])
	}
	return place(h.Sum(nil))
}

func newGraph(metric driver.Metric) *graph {
	g := &graph{metric: metric}
	g.clear()
	return g
}

func (g *graph) clear() {
	g.byNode, g.byID, g.places, g.empty = nil, map[string]int{}, map[place]int{}, 0
	g.nodes = hnsw.New(distances[g.metric], edges, breadth, rand.Int63()) //nolint:gosec // levels of a graph
}

// distances are the smaller the nearer.
var distances = map[driver.Metric]hnsw.Distance{
	driver.Cosine:    func(a, b []float32) float32 { return float32(1 - dot(a, b)) }, // of vectors of length 1
	driver.Dot:       func(a, b []float32) float32 { return float32(-dot(a, b)) },
	driver.Euclidean: func(a, b []float32) float32 { return float32(squares(a, b)) },
}

// point is where a vector is in the graph.
func (g *graph) point(v []float32, norm float64) []float32 {
	if g.metric != driver.Cosine {
		return v
	}
	unit := make([]float32, len(v))
	for i, x := range v {
		unit[i] = float32(float64(x) / norm)
	}
	return unit
}

func (g *graph) add(e *entry) {
	point := g.point(e.Vector, e.norm)
	at := placeOf(point)
	node, there := g.places[at]
	switch {
	case !there:
		node = g.nodes.Add(point)
		g.places[at] = node
		g.byNode = append(g.byNode, nil)
	case len(g.byNode[node]) == 0:
		g.empty--
	}
	g.byNode[node] = append(g.byNode[node], e)
	g.byID[e.ID] = node
}

func (g *graph) remove(id string, left map[string]*entry) {
	node := g.byID[id]
	delete(g.byID, id)
	g.byNode[node] = slices.DeleteFunc(g.byNode[node], func(e *entry) bool { return e.ID == id })
	if len(g.byNode[node]) > 0 {
		return
	}
	if g.empty++; g.empty < exactBelow || g.empty < g.nodes.Len()/2 {
		return
	}
	g.clear()
	for _, e := range left {
		g.add(e)
	}
}

// walk asks the graph. It returns nil where that finds fewer than there may be.
func (x *index) walk(c *collection, q *driver.Query) []driver.Match {
	if len(c.items) < exactBelow || q.Limit > len(c.items)/most {
		return nil
	}
	norm := x.norm(q.Vector)
	keep := func(node int) bool {
		return slices.ContainsFunc(c.graph.byNode[node], func(e *entry) bool { return matches(e.Metadata, q.Where) })
	}
	var found []driver.Match
	for _, n := range c.graph.nodes.Search(c.graph.point(q.Vector, norm), q.Limit, max(breadth, 2*q.Limit), keep) {
		for _, e := range c.graph.byNode[n.Node] {
			if matches(e.Metadata, q.Where) {
				found = append(found, driver.Match{Item: e.Item, Score: x.score(q.Vector, norm, e)})
			}
		}
	}
	if len(found) < q.Limit {
		return nil
	}
	slices.SortFunc(found, order)
	return ours(found[:q.Limit])
}

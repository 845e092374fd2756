package membus

import (
	"slices"
	"strings"
)

// trie finds the queues whose patterns match a topic: in the time that the topic
// takes, and what was found for a topic is kept.
type trie struct {
	root  node
	found map[string][]*queue
}

// node is a part of patterns.
type node struct {
	parts map[string]*node
	one   *node    // *
	rest  []*queue // >
	here  []*queue
}

// maxFound bounds what is kept of what was found.
const maxFound = 4096

func (t *trie) match(topic string) []*queue {
	if queues, ok := t.found[topic]; ok {
		return queues
	}
	var queues []*queue
	t.root.match(topic, &queues)
	if len(queues) > 1 { // one that matches by several of its patterns is there once
		seen := make(map[*queue]bool, len(queues))
		queues = slices.DeleteFunc(queues, func(q *queue) bool {
			twice := seen[q]
			seen[q] = true
			return twice
		})
	}
	if t.found == nil || len(t.found) >= maxFound {
		t.found = map[string][]*queue{}
	}
	t.found[strings.Clone(topic)] = queues
	return queues
}

func (n *node) match(topic string, queues *[]*queue) {
	*queues = append(*queues, n.rest...)
	part, rest, more := strings.Cut(topic, ".")
	for _, child := range [2]*node{n.parts[part], n.one} {
		switch {
		case child == nil:
		case more:
			child.match(rest, queues)
		default:
			*queues = append(*queues, child.here...)
		}
	}
}

func (t *trie) add(patterns []string, q *queue) {
	t.found = nil
	for _, p := range patterns {
		list := t.root.list(strings.Split(p, "."))
		*list = append(*list, q)
	}
}

// list returns where the queues of a pattern are.
func (n *node) list(parts []string) *[]*queue {
	for _, part := range parts {
		switch part {
		case ">":
			return &n.rest
		case "*":
			if n.one == nil {
				n.one = &node{}
			}
			n = n.one
		default:
			child := n.parts[part]
			if child == nil {
				if n.parts == nil {
					n.parts = map[string]*node{}
				}
				child = &node{}
				n.parts[part] = child
			}
			n = child
		}
	}
	return &n.here
}

func (t *trie) remove(patterns []string, q *queue) {
	t.found = nil
	for _, p := range patterns {
		t.root.remove(strings.Split(p, "."), q)
	}
}

// remove takes a queue from a pattern's list, and reports whether nothing is left below.
func (n *node) remove(parts []string, q *queue) bool {
	switch {
	case len(parts) == 0:
		n.here = without(n.here, q)
	case parts[0] == ">":
		n.rest = without(n.rest, q)
	case parts[0] == "*":
		if n.one != nil && n.one.remove(parts[1:], q) {
			n.one = nil
		}
	default:
		if child := n.parts[parts[0]]; child != nil && child.remove(parts[1:], q) {
			delete(n.parts, parts[0])
		}
	}
	return len(n.parts) == 0 && n.one == nil && len(n.rest) == 0 && len(n.here) == 0
}

func without(list []*queue, q *queue) []*queue {
	if i := slices.Index(list, q); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

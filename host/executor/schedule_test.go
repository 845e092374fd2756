package executor_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/kernel"
)

// randomGraph is a graph whose nodes depend on some before them.
func randomGraph(r *rand.Rand) *executor.Graph {
	g := &executor.Graph{Concurrency: 1 + r.IntN(8)}
	for i := range 1 + r.IntN(60) {
		n := executor.Node{Name: fmt.Sprint("n", i)}
		for d := range i {
			if r.IntN(6) == 0 {
				n.After = append(n.After, d)
			}
		}
		n.Reads = n.After
		g.Nodes = append(g.Nodes, n)
	}
	return g
}

// TestSchedule runs random graphs, whose nodes end in a random order, and with as much inline as they may.
func TestSchedule(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		g := randomGraph(r)
		s := executor.NewSchedule(g)
		done := make([]bool, len(g.Nodes))
		var under []int
		bounds := map[int]int{}
		inline := 0
		for {
			for {
				i, task, ok := s.Next()
				if !ok {
					break
				}
				for _, d := range g.Nodes[i].After {
					if !done[d] {
						t.Fatalf("seed %d: node %d began before %d was done", seed, i, d)
					}
				}
				if len(task.Reads) != len(g.Nodes[i].After) {
					t.Fatalf("seed %d: node %d is given %d results", seed, i, len(task.Reads))
				}
				bounds[i] = task.Bound
				if under = append(under, i); len(under) > g.Concurrency {
					t.Fatalf("seed %d: %d at once, the bound is %d", seed, len(under), g.Concurrency)
				}
			}
			if len(under) == 0 {
				break
			}
			at := r.IntN(len(under))
			i := under[at]
			under = append(under[:at], under[at+1:]...)
			done[i] = true
			text := bytes.Repeat([]byte("1"), bounds[i])
			inline += len(text)
			s.Ended(i, &executor.Done{State: engine.NodeFinished, Outcome: executor.Ref{Inline: json.RawMessage(text), Artifact: "a"}, Spent: kernel.Spent{Usage: kernel.UsageSnapshot{PortCalls: 1}}})
		}
		if !s.Idle() || s.Done() != len(g.Nodes) || s.Spent().Usage.PortCalls != int64(len(g.Nodes)) {
			t.Fatalf("seed %d: %d of %d are done", seed, s.Done(), len(g.Nodes))
		}
		if inline > executor.InlineRun {
			t.Fatalf("seed %d: %d bytes are inline", seed, inline)
		}
	}
}

// TestInlineIsBounded has more nodes than there is room for.
func TestInlineIsBounded(t *testing.T) {
	g := &executor.Graph{Concurrency: 1000, Nodes: make([]executor.Node, 5000)}
	for i := range g.Nodes {
		g.Nodes[i].Name = fmt.Sprint(i)
	}
	s := executor.NewSchedule(g)
	sum, largest := 0, 0
	for range g.Nodes {
		i, task, ok := s.Next()
		if !ok {
			t.Fatal("it stopped")
		}
		sum, largest = sum+task.Bound, max(largest, task.Bound)
		s.Ended(i, &executor.Done{State: engine.NodeFinished, Outcome: executor.Ref{Inline: make([]byte, task.Bound)}})
	}
	if sum > executor.InlineRun || largest != executor.InlineValue {
		t.Errorf("%d bytes are inline, at most %d of one", sum, largest)
	}
}

// TestFailureStopsTheSchedule lets what is under way end, and begins nothing.
func TestFailureStopsTheSchedule(t *testing.T) {
	s := executor.NewSchedule(&executor.Graph{Concurrency: 2, Nodes: []executor.Node{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d", After: []int{0}}}})
	a, _, _ := s.Next()
	b, _, _ := s.Next()
	s.Ended(a, &executor.Done{State: engine.NodeFailed})
	if _, _, ok := s.Next(); ok || s.Idle() {
		t.Error("it went on, or did not wait")
	}
	s.Ended(b, &executor.Done{State: engine.NodeFinished})
	if !s.Idle() || !s.Failed() || s.Suspended() || len(s.Results()) != 2 {
		t.Errorf("%+v", s.Results())
	}
}

// TestWaits gives events to those who wait for them, and to nobody else.
func TestWaits(t *testing.T) {
	s := executor.NewSchedule(&executor.Graph{Concurrency: 4, Nodes: []executor.Node{{Name: "w"}, {Name: "loop"}, {Name: "after", After: []int{0, 1}, Reads: []int{0, 1}}}})
	w, _, _ := s.Next()
	loop, _, _ := s.Next()
	s.Ended(w, &executor.Done{State: engine.NodeWaiting, Waits: []engine.Wait{{Node: "w", EventKey: "k"}}, Outcome: executor.Ref{Artifact: "w1"}})
	s.Ended(loop, &executor.Done{State: engine.NodeWaiting, Waits: []engine.Wait{{Node: "loop", EventKey: "k", Path: []string{"0", "x"}}, {Node: "loop", EventKey: "k", Path: []string{"1", "x"}}, {Node: "loop", EventKey: "other", Path: []string{"2", "x"}}}, Outcome: executor.Ref{Artifact: "l1"}})
	if !s.Suspended() || len(s.Waits()) != 4 {
		t.Fatalf("%+v", s.Waits())
	}
	if settling, came := s.Take(&executor.Event{Key: "nobody's"}); came || settling != nil || !s.Suspended() {
		t.Error("it took what nobody waits for")
	}
	settling, came := s.Take(&executor.Event{Key: "k", Labelled: true})
	if !came || len(settling) != 1 || settling[0].Before.Artifact != "w1" || s.Suspended() {
		t.Fatalf("%+v", settling)
	}
	i, task, ok := s.Next()
	if !ok || i != loop || task.Before == nil || task.Before.Artifact != "l1" || task.Round != 1 || len(task.Events) != 2 || task.Events[1].Path[0] != "1" || len(s.Waits()) != 0 {
		t.Fatalf("%+v", task)
	}
	s.Ended(loop, &executor.Done{State: engine.NodeWaiting, Waits: []engine.Wait{{Node: "loop", EventKey: "other", Path: []string{"2", "x"}}}})
	s.Settled("w", &executor.Done{State: engine.NodeFinished})
	if _, late := s.Expire(engine.Wait{Node: "w", EventKey: "k"}); late {
		t.Error("what came in time was late")
	}
	late, ok := s.Expire(engine.Wait{Node: "loop", EventKey: "other", Path: []string{"2", "x"}})
	if !ok || late.Event != nil {
		t.Fatalf("%+v", late)
	}
	s.Settled("loop", &executor.Done{State: engine.NodeSkipped})
	if i, task, ok := s.Next(); !ok || i != 2 || len(task.Reads) != 2 {
		t.Errorf("%d %+v", i, task)
	}
}

// Package replayllm is a language model that answers what models answered before: from the journals of runs, by
// the digest of the request, in their order. It makes no request: one that it has no answer to is an error.
package replayllm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// operations are those that can be recorded.
var operations = []string{"llm.complete", "llm.embed", "llm.batch"}

// record is what a call answered.
type record struct {
	reply   kernel.Value
	failed  *kernel.Error
	charges []kernel.Charge
}

// Model answers from recordings. It may be used by several goroutines.
type Model struct {
	mu      sync.Mutex
	answers map[string][]record // by operation and digest, those that are not given yet
	held    int
	unread  int // that were redacted
}

// New returns a model that has no answers yet.
func New() *Model { return &Model{answers: map[string][]record{}} }

// Add adds the answers of a run, whose entries are in their order, behind those that are there.
func (m *Model) Add(entries []*journal.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := map[string]*journal.Entry{} // a lane does one thing at a time
	for _, e := range entries {
		switch {
		case !slices.Contains(operations, e.Op):
		case e.Kind == journal.Call:
			asked[e.Lane] = e
		case e.Kind == journal.Reply && asked[e.Lane] != nil && asked[e.Lane].Op == e.Op:
			call := asked[e.Lane]
			delete(asked, e.Lane)
			if call.Digest == "" || e.Redacted {
				m.unread++
				continue
			}
			key := e.Op + " " + call.Digest
			m.answers[key] = append(m.answers[key], record{e.Value, e.Failed, e.Charges})
			m.held++
		}
	}
}

// Held returns how many answers it has been given, and how many there were besides that were redacted.
func (m *Model) Held() (held, redacted int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held, m.unread
}

// Ops returns the operations of the llm port. A run is charged for an answer as it was then.
func (m *Model) Ops() []ports.Op {
	ops := make([]ports.Op, len(operations))
	for i, name := range operations {
		ops[i] = ports.Op{Name: name, Guards: []string{"model"}, Func: m.answer}
	}
	return ops
}

func (m *Model) answer(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	r, err := m.next(call)
	if err != nil {
		return nil, err
	}
	if run := kernel.RunFrom(ctx); run != nil {
		for _, c := range r.charges {
			output := c.Output
			if output == 0 {
				output = noOutput
			}
			admitted, err := run.StartLLM(ctx, kernel.LLMCall{Model: c.Model, Input: c.Input, Output: output})
			if err != nil {
				return nil, err
			}
			if err := admitted.Settle(c.Model, c.Input, c.Output); err != nil {
				return nil, err
			}
		}
	}
	if r.failed != nil {
		again := *r.failed // the caller's own
		return nil, &again
	}
	tell(call, r.reply)
	return &kernel.PortReply{Value: r.reply}, nil
}

// noOutput is what an answer takes that has no tokens; 0 would have no bound.
const noOutput = -1

// tell tells of an answer's text as a whole: nobody knows any more in which pieces it came.
func tell(call *kernel.PortCall, reply kernel.Value) {
	answer, _ := reply.(map[string]any)
	if text, _ := answer["content"].(string); text != "" && call.Tell != nil && call.Args["schema"] == nil {
		call.Tell(text)
	}
}

func (m *Model) next(call *kernel.PortCall) (record, error) {
	digest := journal.Digest(call.Args, call.Body)
	key := call.Op + " " + digest
	m.mu.Lock()
	defer m.mu.Unlock()
	left, asked := m.answers[key]
	if len(left) > 0 {
		m.answers[key] = left[1:]
		return left[0], nil
	}
	e := &kernel.Error{
		Code: kernel.CodeUnrecorded, What: "the recording has no answer to this " + call.Op, Why: fmt.Sprintf("none of its %d answers is to a request with the digest %s", m.held, short(digest)),
		Fix: "record a run that asks this, or see what of the request is other than it was: 'hexdag journal show' has its arguments",
	}
	if asked {
		e.Why = fmt.Sprintf("it has been asked more often than then: all answers to the digest %s are given", short(digest))
	}
	if m.unread > 0 {
		e.Why += fmt.Sprintf("; %d answers were redacted", m.unread)
	}
	return record{}, e
}

func short(digest string) string { return digest[:min(len(digest), len("sha256:")+12)] }

// Lines reads the entries of a run as 'hexdag journal export' writes them.
func Lines(text []byte) ([]*journal.Entry, error) {
	entries, err := journal.ParseLines(text)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the recording cannot be read", Why: kernel.Quote(strings.TrimSpace(err.Error())), Fix: "give what 'hexdag journal export RUN' writes"}
	}
	return entries, nil
}

package host_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// exampleRun runs a pipeline's spec on a host with hooks, and prints how it ended.
func exampleRun(opts host.Options, spec string, inputs ...map[string]any) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "hexdag-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "pipeline.yaml")
	if err := os.WriteFile(file, []byte("kind: Pipeline\nmetadata: {name: example}\nspec: "+spec+"\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	h, err := host.New(ctx, &host.Config{File: filepath.Join(dir, "hexdag.yaml")}, opts)
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close(ctx)
	p, err := h.Load(ctx, file, host.LoadOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, input := range inputs {
		result := p.Run(ctx, input, host.RunOptions{})
		text, err := kernel.EncodeJSON(result.NodeResults)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(result.Status, string(text))
	}
}

// logging tells of every node that ends.
type logging struct{}

func (logging) BeforeNode(context.Context, *kernel.NodeCall) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

func (logging) AfterNode(_ context.Context, call *kernel.NodeCall, output kernel.Value, err error) (kernel.Verdict, error) {
	fmt.Println(call.Name, "answered", output, err)
	return kernel.Verdict{}, nil
}

// A hook around every node that logs.
func ExampleNodeHook_logging() {
	exampleRun(host.Options{NodeHooks: []host.NodeHook{{Name: "log", Hook: logging{}}}},
		`{nodes: [{kind: expression_node, metadata: {name: a}, spec: {expressions: {x: n + 1}}}]}`, map[string]any{"n": 1})
	// Output:
	// a answered map[x:2] <nil>
	// completed {"a":{"x":2}}
}

// upper changes what a node is given.
type upper struct{}

func (upper) BeforeNode(_ context.Context, call *kernel.NodeCall) (kernel.Verdict, error) {
	fields, _ := call.Input.(map[string]any)
	changed := map[string]any{"name": "DR. " + fields["name"].(string)}
	return kernel.Verdict{Action: kernel.Replace, Value: changed}, nil
}

func (upper) AfterNode(context.Context, *kernel.NodeCall, kernel.Value, error) (kernel.Verdict, error) {
	return kernel.Verdict{Action: kernel.Replace, Value: "rewritten"}, nil
}

// A hook around one node that transforms its input and its output.
func ExampleNodeHook_transformation() {
	exampleRun(host.Options{NodeHooks: []host.NodeHook{{Name: "title", Nodes: []string{"b"}, Hook: upper{}}}},
		`{nodes: [{kind: data_node, metadata: {name: a}, spec: {output: "{{ name }}"}}, {kind: data_node, metadata: {name: b}, dependencies: [], spec: {output: "{{ name }}"}}]}`, map[string]any{"name": "Who"})
	// Output:
	// completed {"a":"Who","b":"rewritten"}
}

// cached keeps what nodes answered, by what they were given.
type cached struct {
	mu   sync.Mutex
	kept map[string]kernel.Value
}

func (c *cached) key(call *kernel.NodeCall) string {
	text, _ := kernel.EncodeJSON(call.Input) // what no JSON can hold is under ""
	return call.Name + string(text)
}

func (c *cached) BeforeNode(_ context.Context, call *kernel.NodeCall) (kernel.Verdict, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.kept[c.key(call)]; ok {
		fmt.Println("from the cache")
		return kernel.Verdict{Action: kernel.Skip, Value: v}, nil
	}
	return kernel.Verdict{}, nil
}

func (c *cached) AfterNode(_ context.Context, call *kernel.NodeCall, output kernel.Value, err error) (kernel.Verdict, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.kept[c.key(call)] = output
	}
	return kernel.Verdict{}, nil
}

// A hook around a kind of node that answers from a cache.
func ExampleNodeHook_caching() {
	hook := host.NodeHook{Name: "cache", Kinds: []string{"expression_node"}, Hook: &cached{kept: map[string]kernel.Value{}}}
	exampleRun(host.Options{NodeHooks: []host.NodeHook{hook}},
		`{nodes: [{kind: expression_node, metadata: {name: a}, spec: {expressions: {x: n * n}}}]}`, map[string]any{"n": 3}, map[string]any{"n": 3})
	// Output:
	// completed {"a":{"x":9}}
	// from the cache
	// completed {"a":{"x":9}}
}

// onlyAdults denies what a rule of the house denies.
type onlyAdults struct{}

func (onlyAdults) BeforeNode(_ context.Context, call *kernel.NodeCall) (kernel.Verdict, error) {
	var who struct {
		Age int `json:"age"`
	}
	err := kernel.FromValue(call.Input, &who)
	if adult := err == nil && who.Age >= 18; !adult {
		return kernel.Verdict{Action: kernel.Deny, Reason: "too young"}, nil
	}
	return kernel.Verdict{}, nil
}

func (onlyAdults) AfterNode(context.Context, *kernel.NodeCall, kernel.Value, error) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

// A hook that authorizes.
func ExampleNodeHook_authorization() {
	exampleRun(host.Options{NodeHooks: []host.NodeHook{{Name: "adults", Hook: onlyAdults{}}}},
		`{nodes: [{kind: data_node, metadata: {name: a}, spec: {output: served}}]}`, map[string]any{"age": 17}, map[string]any{"age": 18})
	// Output:
	// denied {}
	// completed {"a":"served"}
}

// retrying has a call that failed tried again, twice at most.
type retrying struct {
	mu    sync.Mutex
	tried int
}

func (*retrying) BeforePort(context.Context, *kernel.PortCall) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

func (r *retrying) AfterPort(_ context.Context, call *kernel.PortCall, _ *kernel.PortReply, err error) (kernel.Verdict, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil || r.tried == 2 {
		return kernel.Verdict{}, nil
	}
	r.tried++
	fmt.Println(call.Op, "failed, try", r.tried)
	return kernel.Verdict{Action: kernel.RetryAfter, Delay: time.Millisecond}, nil
}

// A hook around a port's method that retries it.
func ExamplePortHook_retry() {
	hook := host.PortHook{Name: "retry", Match: func(op string) bool { return op == "memory.get" }, Hook: &retrying{}}
	exampleRun(host.Options{PortHooks: []host.PortHook{hook}},
		`{nodes: [{kind: service_call_node, metadata: {name: a}, spec: {service: memory, method: get, strict_mapping: true, input_mapping: {key: "''"}}}]}`, nil)
	// Output:
	// memory.get failed, try 1
	// memory.get failed, try 2
	// failed {}
}

var errOpen = errors.New("the circuit is open")

// breaker refuses calls for as long as the port keeps failing.
type breaker struct {
	mu       sync.Mutex
	failures int
}

func (b *breaker) BeforePort(context.Context, *kernel.PortCall) (kernel.Verdict, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures >= 2 {
		return kernel.Verdict{Action: kernel.Deny, Reason: errOpen.Error()}, nil
	}
	return kernel.Verdict{}, nil
}

func (b *breaker) AfterPort(_ context.Context, _ *kernel.PortCall, _ *kernel.PortReply, err error) (kernel.Verdict, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures++; err == nil {
		b.failures = 0
	}
	return kernel.Verdict{}, nil
}

// A hook around a port that breaks the circuit.
func ExamplePortHook_circuitBreaker() {
	hook := host.PortHook{Name: "breaker", Match: func(op string) bool { return op == "memory.get" }, Hook: &breaker{}}
	exampleRun(host.Options{PortHooks: []host.PortHook{hook}},
		`{nodes: [{kind: service_call_node, metadata: {name: a}, spec: {service: memory, method: get, strict_mapping: true, input_mapping: {key: "''"}}}]}`, nil, nil, nil)
	// Output:
	// failed {}
	// failed {}
	// denied {}
}

package host_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver/llmserver"
)

// asking is a pipeline of one llm_node, with more members of its spec.
func (s site) asking(t *testing.T, h *host.Host, spec, node string) *host.Pipeline {
	t.Helper()
	s.write(t, "ask.yaml", "kind: Pipeline\nmetadata: {name: t}\nspec:\n"+spec+"  nodes:\n"+ask("last", node))
	p, err := h.Load(t.Context(), s.path("ask.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func modelSays(text string) func(*llmserver.Question) llmserver.Answer {
	return func(*llmserver.Question) llmserver.Answer { return llmserver.Answer{Text: text} }
}

// provided are the adapters of providers, with what is behind the server's address.
var provided = map[string]string{"openai": "/v1", "anthropic": "", "google": ""}

func providerPort(adapter, url string) string {
	return fmt.Sprintf("{adapter: %s, config: {base_url: '%s', model: gpt-4o, api_key_env: TEST_MODEL_KEY}}", adapter, url+provided[adapter])
}

// A node's answer comes from each provider, whole and piece by piece.
func TestModelsOfProviders(t *testing.T) {
	t.Setenv("TEST_MODEL_KEY", llmserver.Key)
	const text = "It is going to rain all day in Bonn, and then some more."
	for adapter := range provided {
		server := llmserver.New(t, modelSays(text))
		s := newSite(t, "  ports: {llm: "+providerPort(adapter, server.URL)+"}\n")
		h := s.open(t)
		var told []string
		res := s.asking(t, h, "", ", stream: true").Run(t.Context(), nil, host.RunOptions{Observer: func(e *host.Event) {
			if e.Type == kernel.LLMTokenStreamed {
				piece, _ := e.Result.(string)
				told = append(told, piece)
			}
		}})
		if res.Status != engine.Completed || res.NodeResults["last"] != text || strings.Join(told, "") != text || len(told) < 5 {
			t.Errorf("%s: %v %v, told %q", adapter, res.Err, res.NodeResults["last"], told)
		}
		if !strings.Contains(server.Last(t).Path+fmt.Sprint(server.Last(t).Body["stream"]), "tream") && server.Last(t).Body["stream"] != true {
			t.Errorf("%s: it was not streamed: %s", adapter, server.Last(t).Path)
		}
		got, err := s.result(t, h, nil, service("last", "llm.batch", "{requests: \"[{'messages': [{'role': 'user', 'content': 'a'}]}, {'messages': []}]\"}", ""))
		items, _ := got["items"].([]any)
		if err != nil || len(items) != 2 || items[0].(map[string]any)["content"] != text || items[1].(map[string]any)["status"] != "error" {
			t.Errorf("%s: %v, %v", adapter, got, err)
		}
	}
}

// A pipeline's own model goes where the operator lets it, whichever provider's.
func TestModelsOfPipelines(t *testing.T) {
	t.Setenv("TEST_MODEL_KEY", llmserver.Key)
	server := llmserver.New(t, modelSays("yes"))
	address := strings.TrimPrefix(server.URL, "http://")
	s := newSite(t, "  env: [TEST_MODEL_KEY]\n  endpoints: ['"+address+"']\n")
	h := s.open(t)
	for adapter, official := range map[string]string{"openai": "api.openai.com", "anthropic": "api.anthropic.com", "google": "generativelanguage.googleapis.com"} {
		res := s.asking(t, h, "  ports: {llm: "+providerPort(adapter, server.URL)+"}\n", "").Run(t.Context(), nil, host.RunOptions{})
		if res.NodeResults["last"] != "yes" {
			t.Errorf("%s: %v, %v", adapter, res.NodeResults, res.Err)
		}
		s.write(t, "other.yaml", "kind: Pipeline\nmetadata: {name: t}\nspec:\n  ports: {llm: {adapter: "+adapter+", config: {model: m, api_key_env: TEST_MODEL_KEY}}}\n  nodes: []\n")
		_, err := h.Load(t.Context(), s.path("other.yaml"), host.LoadOptions{})
		wantError(t, err, kernel.CodeConfig, "may not send to the model at "+official, "endpoints")
	}
}

// A hook hears an answer before anybody else does: it is not told of piece by piece.
func TestHooksHearBeforeObservers(t *testing.T) {
	hook := host.PortHook{Name: "mine", Match: func(op string) bool { return op == "llm.complete" }, Hook: quiet{}}
	h, p := loaded(t, "kind: Pipeline\nmetadata: {name: t}\nspec:\n  ports: {llm: "+answering("'one two three'")+"}\n  nodes:\n"+ask("last", ", stream: true"), host.Options{PortHooks: []host.PortHook{hook}})
	_ = h
	var told []any
	res := p.Run(t.Context(), nil, host.RunOptions{Observer: func(e *host.Event) {
		if e.Type == kernel.LLMTokenStreamed {
			told = append(told, e.Result)
		}
	}})
	if res.NodeResults["last"] != "hidden" || fmt.Sprint(told) != "[hidden]" {
		t.Errorf("%v %v, told %v", res.NodeResults, res.Err, told)
	}
}

// quiet answers in a model's place.
type quiet struct{}

func (quiet) BeforePort(_ context.Context, _ *kernel.PortCall) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

func (quiet) AfterPort(_ context.Context, _ *kernel.PortCall, reply *kernel.PortReply, err error) (kernel.Verdict, error) {
	if err != nil {
		return kernel.Verdict{}, err
	}
	return kernel.Verdict{Action: kernel.Replace, Value: map[string]any{"content": "hidden"}}, nil
}

// A pool asks another provider when one is overloaded, out of reach or out of money, and not when it was asked badly.
func TestPoolsOfModels(t *testing.T) {
	t.Setenv("TEST_MODEL_KEY", llmserver.Key)
	var fault *llmserver.Fault
	first := llmserver.New(t, func(*llmserver.Question) llmserver.Answer { return llmserver.Answer{Text: "first", Fault: fault} })
	second := llmserver.New(t, modelSays("second"))
	s := newSite(t, "  ports: {llm: {strategy: failover, adapters: ["+providerPort("openai", first.URL)+", "+providerPort("anthropic", second.URL)+"]}}\n")
	h := s.open(t)
	p := s.asking(t, h, "", "")
	for kind, goesOn := range map[llmserver.Kind]bool{
		llmserver.Overloaded: true, llmserver.RateLimit: true, llmserver.Broken: true, llmserver.Cut: true, llmserver.BadKey: true, llmserver.UsedUp: true, llmserver.NotFound: true, llmserver.Garbage: true,
		llmserver.Invalid: false, llmserver.TooLong: false,
	} {
		fault = &llmserver.Fault{Kind: kind, Message: "no"}
		before := len(second.Requests())
		res := p.Run(t.Context(), nil, host.RunOptions{})
		if goesOn != (res.NodeResults["last"] == "second") || goesOn != (len(second.Requests()) > before) {
			t.Errorf("%s: %v, %v", kind, res.NodeResults["last"], res.Err)
		}
	}
	fault = nil
	if res := p.Run(t.Context(), nil, host.RunOptions{}); res.NodeResults["last"] != "first" {
		t.Errorf("%v, %v", res.NodeResults, res.Err)
	}
}

// A batch goes to another member of a pool as a whole, where the first took nothing of it; what it took, it is not asked again.
func TestPoolsOfBatches(t *testing.T) {
	t.Setenv("TEST_MODEL_KEY", llmserver.Key)
	for name, fails := range map[string]bool{"all": true, "some": false} {
		first := llmserver.New(t, func(q *llmserver.Question) llmserver.Answer {
			if fails || strings.Contains(q.Prompt(), "b") {
				return llmserver.Answer{Fault: &llmserver.Fault{Kind: llmserver.Overloaded, Message: "full"}}
			}
			return llmserver.Answer{Text: "first"}
		})
		second := llmserver.New(t, modelSays("second"))
		s := newSite(t, "  ports: {llm: {strategy: failover, adapters: ["+providerPort("openai", first.URL)+", "+providerPort("anthropic", second.URL)+"]}}\n")
		got, err := s.result(t, s.open(t), nil, service("last", "llm.batch", "{requests: \"[{'messages': [{'role': 'user', 'content': 'a'}]}, {'messages': [{'role': 'user', 'content': 'b'}]}]\"}", ""))
		if err != nil {
			t.Fatal(name, err)
		}
		items, _ := got["items"].([]any)
		one, two := items[0].(map[string]any), items[1].(map[string]any)
		if fails && (one["content"] != "second" || two["content"] != "second") || !fails && (one["content"] != "first" || two["status"] != "error") {
			t.Errorf("%s: %v", name, items)
		}
	}
}

// An answer that breaks off midway is told again by whoever answers in its place: as another attempt, so that nobody shows a text twice. What
// was kept of the budget for the first is free for the second, and what came of it is charged.
func TestStreamsThatFailOver(t *testing.T) {
	t.Setenv("TEST_MODEL_KEY", llmserver.Key)
	const text = "It is going to rain all day in Bonn, and then some more."
	for name, port := range map[string]string{
		"a pool":         "{strategy: failover, adapters: [ONE, TWO]}",
		"a retry":        "{adapter: ONE, middleware: [{RetryWithBackoff: {base_delay: 0}}]}",
		"a pool, in one": "{strategy: failover, adapters: [ONE, {adapter: mock, config: {responses: ['" + text + "']}}]}",
	} {
		broken := 0
		one := llmserver.New(t, func(*llmserver.Question) llmserver.Answer {
			if broken++; broken > 1 {
				return llmserver.Answer{Text: text}
			}
			return llmserver.Answer{Text: strings.Repeat("Something else. ", 20), Fault: &llmserver.Fault{Kind: llmserver.Cut, Pieces: 6}}
		})
		two := llmserver.New(t, modelSays(text))
		first := providerPort("openai", one.URL)
		port = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(port, "{adapter: ONE,", strings.TrimSuffix(first, "}")+","), "ONE", first), "TWO", providerPort("anthropic", two.URL))
		s := newSite(t, "  ports: {llm: "+port+"}\n")
		told := map[int]string{}
		last := 0
		res := s.asking(t, s.open(t), "  limits: {max_total_tokens: 400}\n", ", stream: true, max_tokens: 300").Run(t.Context(), nil, host.RunOptions{Observer: func(e *host.Event) {
			if e.Type == kernel.LLMTokenStreamed {
				piece, _ := e.Result.(string)
				if e.Attempt < last {
					t.Errorf("%s: %q is of attempt %d after one of %d", name, piece, e.Attempt, last)
				}
				last = e.Attempt
				told[last] += piece
			}
		}})
		if res.Err != nil || res.NodeResults["last"] != text {
			t.Fatalf("%s: %v, %v", name, res.NodeResults["last"], res.Err)
		}
		if len(told) != 2 || told[last] != text || !strings.HasPrefix(told[1], "Something else.") {
			t.Errorf("%s: told %v", name, told)
		}
		if u := res.Usage; u.LLMCalls != 2 {
			t.Errorf("%s: charged %+v", name, u)
		}
	}
}

// Go code is told of an answer that breaks off, and is told again by another model of the pool, as observers are.
func TestGoCodeIsToldOfFailovers(t *testing.T) {
	t.Setenv("TEST_MODEL_KEY", llmserver.Key)
	const text = "It is going to rain all day in Bonn, and then some more."
	one := llmserver.New(t, func(*llmserver.Question) llmserver.Answer {
		return llmserver.Answer{Text: strings.Repeat("Something else. ", 20), Fault: &llmserver.Fault{Kind: llmserver.Cut, Pieces: 6}}
	})
	two := llmserver.New(t, modelSays(text))
	s := newSite(t, "  ports: {llm: {strategy: failover, adapters: ["+providerPort("openai", one.URL)+", "+providerPort("anthropic", two.URL)+"]}}\n")
	told := map[int]string{}
	last := 0
	h := s.opened(t, host.Options{Functions: map[string]host.Function{"asks": func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		return kernel.RunFrom(ctx).LLM().Stream(ctx, []any{map[string]any{"role": "user", "content": "What will it be like?"}}, func(attempt int, piece string) {
			if attempt < last {
				t.Errorf("%q is of attempt %d after one of %d", piece, attempt, last)
			}
			last = attempt
			told[attempt] += piece
		})
	}}})
	res := run(t, s.load(t, h, "{kind: function_node, metadata: {name: a}, spec: {fn: asks}}"), "{}")
	if res.Err != nil || res.NodeResults["a"] != text {
		t.Fatalf("%v, %v", res.NodeResults["a"], res.Err)
	}
	if len(told) != 2 || told[2] != text || !strings.HasPrefix(told[1], "Something else.") {
		t.Errorf("told %v", told)
	}
}

// Money and tokens are refused before they are spent: the endpoint is not asked.
func TestBudgetsOfModels(t *testing.T) {
	t.Setenv("TEST_MODEL_KEY", llmserver.Key)
	server := llmserver.New(t, modelSays("yes"))
	s := newSite(t, "  tenant_limits: {cost_usd: 0.05}\n  ports: {llm: "+providerPort("openai", server.URL)+"}\n")
	h := s.open(t)
	fails := func(spec, node string, words ...string) {
		t.Helper()
		before := len(server.Requests())
		res := s.asking(t, h, spec, node).Run(t.Context(), nil, host.RunOptions{})
		wantError(t, res.Err, kernel.CodeLimit, words...)
		if n := len(server.Requests()); n != before {
			t.Errorf("%s: the endpoint was asked", spec)
		}
	}
	fails("  limits: {max_total_tokens: 100}\n", ", max_tokens: 200", "limits.max_total_tokens is 100, and 0 of it is used", "this call may take 205 tokens")
	fails("  limits: {max_cost_usd: 0.001}\n", ", max_tokens: 1000", "limits.max_cost_usd is 0.001", "this call may take 0.0100125 dollars")
	fails("  limits: {max_cost_usd: 1}\n", ", model: nobodys", "the cost of model nobodys is not known", "prices: {nobodys:")
	fails("", ", max_tokens: 10000", "the tenant has spent what it may", "tenant_limits.cost_usd is 0.05")
	if res := s.asking(t, h, "  limits: {max_cost_usd: 0.04}\n", "").Run(t.Context(), nil, host.RunOptions{}); res.NodeResults["last"] != "yes" {
		t.Errorf("%v", res.Err)
	}
	if got := server.Last(t).Body["max_tokens"]; got != 3998.0 { // what 0.04 dollars are enough for, at 10 a million, after the prompt
		t.Errorf("the answer was bounded to %v", got)
	}
	if res := s.asking(t, newSite(t, "  ports: {llm: "+providerPort("openai", server.URL)+"}\n").open(t), "", "").Run(t.Context(), nil, host.RunOptions{}); res.NodeResults["last"] != "yes" || server.Last(t).Body["max_tokens"] != nil {
		t.Errorf("without limits: %v, bounded to %v", res.Err, server.Last(t).Body["max_tokens"])
	}
}

// What models answered in one run they answer again in another, by the journal and by a file of it, and nobody is asked.
func TestReplayedModels(t *testing.T) {
	t.Setenv("TEST_MODEL_KEY", llmserver.Key)
	n := 0
	server := llmserver.New(t, func(*llmserver.Question) llmserver.Answer {
		n++
		return llmserver.Answer{Text: fmt.Sprintf("answer %d", n)}
	})
	port := providerPort("google", server.URL)
	s := newSite(t, "  ports: {llm: "+port+"}\n")
	h, err := s.new(t)
	if err != nil {
		t.Fatal(err)
	}
	nodes := ask("one", "") + ask("two", "")
	s.write(t, "two.yaml", "kind: Pipeline\nmetadata: {name: t}\nspec:\n  nodes:\n"+strings.Replace(nodes, "{name: two}", "{name: two}, dependencies: [one]", 1))
	p, err := h.Load(t.Context(), s.path("two.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	was := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
	if was.Status != engine.Completed || was.NodeResults["two"] != "answer 2" {
		t.Fatalf("%+v", was)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.write(t, "run.jsonl", exported(t, s, was.RunID))
	for _, from := range []string{"files: [run.jsonl]", "runs: [" + was.RunID + "]"} {
		s.write(t, "hexdag.yaml", "kind: Config\nmetadata: {name: test}\nspec:\n  ports: {llm: {adapter: replay, config: {"+from+"}}}\n")
		if h, err = s.new(t); err != nil {
			t.Fatal(err)
		}
		defer h.Close(t.Context())
		if p, err = h.Load(t.Context(), s.path("two.yaml"), host.LoadOptions{}); err != nil {
			t.Fatal(err)
		}
		is := p.Run(t.Context(), nil, host.RunOptions{})
		if fmt.Sprint(is.NodeResults) != fmt.Sprint(was.NodeResults) || n != 2 || is.Usage != was.Usage {
			t.Errorf("%s: %v %v after %d requests, used %+v, then %+v", from, is.NodeResults, is.Err, n, is.Usage, was.Usage)
		}
		if from[0] == 'f' {
			if err := h.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := p.Run(t.Context(), nil, host.RunOptions{})
	wantError(t, again.Err, kernel.CodeUnrecorded, "the recording has no answer to this llm.complete", "asked more often than then")
	other := s.asking(t, h, "", ", max_tokens: 9").Run(t.Context(), nil, host.RunOptions{})
	wantError(t, other.Err, kernel.CodeUnrecorded, "none of its 2 answers is to a request with the digest sha256:")

	for config, says := range map[string]string{
		"{}": "it names no recording", "{runs: [nobody]}": "no run was recorded yet", "{files: [none.jsonl]}": "cannot be read", "{files: [hexdag.yaml]}": "the recording cannot be read", "{run: x}": "run",
	} {
		s := newSite(t, "  ports: {llm: {adapter: replay, config: "+config+"}}\n")
		if _, err := s.new(t); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", config, err, says)
		}
	}
	s.write(t, "own.yaml", "kind: Pipeline\nmetadata: {name: t}\nspec:\n  ports: {llm: {adapter: replay, config: {runs: ["+was.RunID+"]}}}\n  nodes: []\n")
	_, err = h.Load(t.Context(), s.path("own.yaml"), host.LoadOptions{})
	wantError(t, err, kernel.CodeConfig, "a pipeline cannot name runs of the journal")
	if n != 2 {
		t.Errorf("a model was asked: %d", n)
	}
}

// exported is a run's journal as 'hexdag journal export' writes it.
func exported(t *testing.T, s site, run string) string {
	t.Helper()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := host.OpenJournal(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	read, err := journal.Read(t.Context(), j.Store, j.Tenant, run)
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for e, err := range read.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if text, err = e.AppendJSON(text); err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n')
	}
	return string(text)
}

// A run whose answer was streamed is done again to the bit, though nobody knows any more in which pieces it came.
func TestStreamsAreReplayed(t *testing.T) {
	t.Setenv("TEST_MODEL_KEY", llmserver.Key)
	server := llmserver.New(t, modelSays("It is going to rain all day in Bonn, and then some more."))
	s := newSite(t, "  ports: {llm: "+providerPort("anthropic", server.URL)+"}\n")
	h, err := s.new(t)
	if err != nil {
		t.Fatal(err)
	}
	pieces := 0
	was := s.asking(t, h, "", ", stream: true").Run(t.Context(), nil, host.RunOptions{Durable: true, Observer: func(e *host.Event) {
		if e.Type == kernel.LLMTokenStreamed {
			pieces++
		}
	}})
	if err := h.Close(t.Context()); was.Status != engine.Completed || pieces < 5 || err != nil {
		t.Fatalf("%v, %d pieces, %v", was.Err, pieces, err)
	}
	s.replayed(t, was.RunID)
	if len(server.Requests()) != 1 {
		t.Errorf("after %d requests", len(server.Requests()))
	}
}

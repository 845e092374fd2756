package mcpserver_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/server/mcpserver"
)

const offering = `  mcp:
    prompts:
      greet:
        description: Greets.
        arguments: {name: {description: Whom., required: true, values: [Ann, Anna, Bob]}, tone: {}}
        messages: [{text: "Greet {{ name }} {{tone}}."}, {role: assistant, text: "Hello {{name}}."}, {file: pixel.png}, {file: notes.txt}, {resource: "docs://{{name}}"}]
      hidden: {messages: [{text: nobody sees it}]}
      made: {tool: pipeline:make, arguments: {id: {required: true}}}
      gone: {messages: [{file: nowhere.txt}]}
    resources:
      Ann: {uri: "docs://Ann", file: notes.txt, title: About Ann}
      secret: {uri: "docs://secret", file: notes.txt}
      large: {uri: "docs://large", file: large.txt}
      ticket: {uri: "tickets://{id}/text", tool: pipeline:make, variables: {id: {values: ["1", "12"]}}}
      none: {uri: "tickets:none", tool: box.none}
`

const hiding = `{adapter: abac, config: {rules: [{id: all, effect: allow, actions: ["**"]}, {id: not, effect: deny, actions: [mcp.*], resources: ["prompt:hidden", "resource:secret"], message: "not yours"}]}}`

func offeringSite(t *testing.T) site {
	t.Helper()
	s := newSite(t, counting, hiding)
	config, err := os.ReadFile(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "hexdag.yaml", string(config)+offering)
	s.write(t, "notes.txt", "notes")
	s.write(t, "pixel.png", "\x89PNG")
	s.write(t, "large.txt", strings.Repeat("a", 4<<20))
	s.write(t, "make.yaml", `kind: Pipeline
metadata: {name: make}
spec:
  input_schema: {id: str}
  nodes:
    - {kind: data_node, metadata: {name: a}, spec: {output: {messages: [{role: user, content: {type: text, text: "{{ $input.id }}"}}]}}}
  output: {messages: a.messages}
`)
	return s
}

func TestPrompts(t *testing.T) {
	s := offeringSite(t)
	session := connect(t, s.open(t, mcpserver.Options{}, s.path("make.yaml")), nil)
	list, err := session.ListPrompts(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, p := range list.Prompts {
		shown = append(shown, p.Name)
	}
	if fmt.Sprint(shown) != "[gone greet made]" {
		t.Errorf("%v", shown)
	}
	got, err := session.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: "greet", Arguments: map[string]string{"name": "Ann"}})
	if err != nil || len(got.Messages) != 5 {
		t.Fatalf("%+v, %v", got, err)
	}
	image, _ := got.Messages[2].Content.(*mcp.ImageContent)
	file, _ := got.Messages[3].Content.(*mcp.EmbeddedResource)
	document, _ := got.Messages[4].Content.(*mcp.EmbeddedResource)
	if got.Messages[0].Content.(*mcp.TextContent).Text != "Greet Ann ." || got.Messages[1].Role != "assistant" || image == nil || image.MIMEType != "image/png" || file == nil || file.Resource.Text != "notes" || document == nil || document.Resource.URI != "docs://Ann" || document.Resource.Text != "notes" {
		t.Errorf("%+v %+v %+v", image, file, document)
	}
	if made, err := session.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: "made", Arguments: map[string]string{"id": "7"}}); err != nil || made.Messages[0].Content.(*mcp.TextContent).Text != "7" || made.Meta["hexdag/run"] == nil {
		t.Errorf("%+v, %v", made, err)
	}
	for words, params := range map[string]*mcp.GetPromptParams{
		`prompt greet needs the argument name (pass it)`: {Name: "greet"},
		`prompt greet has no argument x`:                 {Name: "greet", Arguments: map[string]string{"name": "a", "x": "y"}},
		`the argument name is too long`:                  {Name: "greet", Arguments: map[string]string{"name": strings.Repeat("a", 65<<10)}},
		`Resource not found`:                             {Name: "greet", Arguments: map[string]string{"name": "secret"}},
		`unknown prompt`:                                 {Name: "hidden"},
		`its file is not there, or not to be read`:       {Name: "gone"},
	} {
		_, err := session.GetPrompt(t.Context(), params)
		if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), s.dir) {
			t.Errorf("%v does not say %q", err, words)
		}
	}
}

func TestDocuments(t *testing.T) {
	s := offeringSite(t)
	session := connect(t, s.open(t, mcpserver.Options{}, s.path("make.yaml")), nil)
	list, err := session.ListResources(t.Context(), nil)
	if err != nil || len(list.Resources) != 2 || list.Resources[0].URI != "docs://Ann" || list.Resources[0].Title != "About Ann" || list.Resources[0].MIMEType != "text/plain" {
		t.Errorf("%+v, %v", list, err)
	}
	templates, err := session.ListResourceTemplates(t.Context(), nil)
	if err != nil || len(templates.ResourceTemplates) != 4 { // with those of runs
		t.Errorf("%+v, %v", templates, err)
	}
	read, err := session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "tickets://a%20b/text"})
	if err != nil || read.Contents[0].Text != `{"messages":[{"content":{"text":"a b","type":"text"},"role":"user"}]}` || read.Contents[0].MIMEType != "application/json" || read.Contents[0].URI != "tickets://a%20b/text" {
		t.Errorf("%+v, %v", read, err)
	}
	for uri, words := range map[string]string{"docs://secret": "Resource not found", "docs://Ann/x": "Resource not found", "tickets://1/2/text": "Resource not found", "tickets:none": "Resource not found", "docs://large": "it is larger than 3 MiB"} {
		if _, err := session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri}); err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), s.dir) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	for value, want := range map[string]string{"": "[1 12]", "12": "[12]", "x": "[]"} {
		out, err := session.Complete(t.Context(), &mcp.CompleteParams{Ref: &mcp.CompleteReference{Type: "ref/resource", URI: "tickets://{id}/text"}, Argument: mcp.CompleteParamsArgument{Name: "id", Value: value}})
		if err != nil || fmt.Sprint(out.Completion.Values) != want {
			t.Errorf("%q: %+v, %v", value, out, err)
		}
	}
	if out, err := session.Complete(t.Context(), &mcp.CompleteParams{Ref: &mcp.CompleteReference{Type: "ref/prompt", Name: "greet"}, Argument: mcp.CompleteParamsArgument{Name: "name", Value: "an"}}); err != nil || fmt.Sprint(out.Completion.Values) != "[Ann Anna]" {
		t.Errorf("%+v, %v", out, err)
	}
	if out, err := session.Complete(t.Context(), &mcp.CompleteParams{Ref: &mcp.CompleteReference{Type: "ref/resource", URI: "hexdag://runs/{id}"}, Argument: mcp.CompleteParamsArgument{Name: "id"}}); err != nil || len(out.Completion.Values) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	for _, ref := range []*mcp.CompleteReference{{Type: "ref/prompt", Name: "hidden"}, {Type: "ref/resource", URI: "docs://secret"}} {
		if _, err := session.Complete(t.Context(), &mcp.CompleteParams{Ref: ref, Argument: mcp.CompleteParamsArgument{Name: "id"}}); err == nil || !strings.Contains(err.Error(), "name one that is listed") {
			t.Errorf("%v", err)
		}
	}
}

// Who follows a document is told that it is another.
func TestDocumentChanges(t *testing.T) {
	s := offeringSite(t)
	c := connectOld(t, s.open(t, mcpserver.Options{}), `{}`)
	c.send(`{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"docs://Ann"}}`)
	c.next("result")
	told := make(chan map[string]any)
	go func() { told <- c.next("method") }()
	for text := "a"; ; text += "a" { // the first look at it may come after the change
		s.write(t, "notes.txt", text)
		select {
		case v := <-told:
			if v["method"] != "notifications/resources/updated" || fmt.Sprint(v["params"]) != "map[uri:docs://Ann]" {
				t.Errorf("%v", v)
			}
			return
		case <-t.Context().Done():
			t.Fatal("nobody is told")
		case <-tick(t):
		}
	}
}

// tick comes a while after the one before.
func tick(t *testing.T) <-chan time.Time {
	t.Helper()
	timer := time.NewTimer(300 * time.Millisecond)
	t.Cleanup(func() { timer.Stop() })
	return timer.C
}

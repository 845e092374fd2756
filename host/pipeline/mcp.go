package pipeline

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// MCPSpec is what the operator offers through MCP beside tools.
type MCPSpec struct {
	Prompts   []MCPPrompt
	Resources []MCPResource
}

// MCPPrompt is a prompt: messages, or what a tool answers.
type MCPPrompt struct {
	Where             kernel.Where
	Name, Title, Text string // Text is its description
	Arguments         []MCPArgument
	Messages          []MCPMessage
	Tool              string // module.tool, or pipeline:NAME
}

// MCPArgument is an argument of a prompt, or a variable of a resource's URI.
type MCPArgument struct {
	Name, Text string
	Required   bool
	Values     []string // that are proposed to who fills it in
}

// MCPMessage is a message of a prompt: a text, the file of an image, a sound or a document, or a resource that is offered.
type MCPMessage struct {
	Role     string // user, or assistant
	Text     *Template
	File     string
	Resource *Template
}

// MCPResource is a document: a file, or what a tool answers.
type MCPResource struct {
	Where             kernel.Where
	Name, Title, Text string // Text is its description
	URI               string // with {variables}, where a tool makes it
	MIMEType          string
	File              string
	Tool              string
	Variables         []MCPArgument
}

// Bounds of what is offered.
const maxOffered = 1000

var (
	offeredName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)
	offeredURI  = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:[^\s{}]*(?:\{[A-Za-z_][A-Za-z0-9_]*\}[^\s{}]*)*$`)
	uriVariable = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*)\}`)
)

// URIVariables are the names of the variables of a URI, in their order.
func URIVariables(uri string) []string {
	var names []string
	for _, m := range uriVariable.FindAllStringSubmatch(uri, -1) {
		names = append(names, m[1])
	}
	return names
}

func isURL(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && u.IsAbs()
}

func (r *reader) readMCP(c *Config, s *source.Section) MCPSpec {
	var m MCPSpec
	if s == nil {
		return m
	}
	if prompts := s.Member("prompts"); prompts != nil {
		r.offered(prompts, "prompts")
		for _, name := range prompts.M.Names {
			if p := prompts.Member(name); p != nil {
				m.Prompts = append(m.Prompts, r.readPrompt(c, name, p))
			}
		}
	}
	if resources := s.Member("resources"); resources != nil {
		r.offered(resources, "resources")
		uris := map[string]bool{}
		for _, name := range resources.M.Names {
			d := resources.Member(name)
			if d == nil {
				continue
			}
			one := r.readResource(c, name, d)
			if uris[one.URI] {
				r.Add(d.At.Errorf(kernel.CodeConfig, "give each a URI of its own", "resource %s has the URI of another", kernel.Quote(name)))
			}
			uris[one.URI] = true
			m.Resources = append(m.Resources, one)
		}
	}
	s.Rest()
	return m
}

func (r *reader) offered(s *source.Section, what string) {
	if len(s.M.Names) > maxOffered {
		r.Add(s.At.Errorf(kernel.CodeConfig, "offer fewer", "there are %d %s, the limit is %d", len(s.M.Names), what, maxOffered))
	}
	for _, name := range s.M.Names {
		if !offeredName.MatchString(name) {
			r.Add(s.At.Errorf(kernel.CodeConfig, "a name has letters, digits, _, . and -, at most 128", "%s: %s is no name", what, kernel.Quote(name)))
		}
	}
}

func (r *reader) readPrompt(c *Config, name string, s *source.Section) MCPPrompt {
	p := MCPPrompt{Where: s.At.Where(), Name: name, Title: s.Text("title"), Text: s.Text("description"), Tool: s.Text("tool"), Arguments: r.readArguments(s.Member("arguments"))}
	for _, item := range s.Items("messages") {
		if m := r.Open(item, "a message"); m != nil {
			p.Messages = append(p.Messages, r.readMessage(c, m, &p))
		}
	}
	if (p.Tool == "") == (len(p.Messages) == 0) {
		r.Add(s.At.Errorf(kernel.CodeConfig, "write messages, or the tool that makes them", "prompt %s needs messages or a tool, and not both", kernel.Quote(name)))
	}
	s.Rest()
	return p
}

func (r *reader) readArguments(s *source.Section) []MCPArgument {
	if s == nil {
		return nil
	}
	var all []MCPArgument
	for _, name := range s.M.Names {
		if a := s.Member(name); a != nil {
			all = append(all, MCPArgument{Name: name, Text: a.Text("description"), Required: a.Flag("required"), Values: a.Texts("values")})
			a.Rest()
		}
	}
	return all
}

func (r *reader) readMessage(c *Config, s *source.Section, p *MCPPrompt) MCPMessage {
	m := MCPMessage{Role: "user"}
	if s.Get("role") != nil {
		m.Role = r.oneOf(s, "role", "user", "assistant")
	}
	given := 0
	if v := s.Get("text"); v != nil {
		m.Text = r.promptText(s, "text", p)
		given++
	}
	if file := s.Text("file"); file != "" {
		m.File = c.resolve(file)
		given++
	}
	if v := s.Get("resource"); v != nil {
		m.Resource = r.promptText(s, "resource", p)
		given++
	}
	if given != 1 {
		r.Add(s.At.Errorf(kernel.CodeConfig, "write one of text, file and resource", "a message of prompt %s has %d of text, file and resource", kernel.Quote(p.Name), given))
	}
	s.Rest()
	return m
}

// promptText reads a text that names arguments of the prompt alone.
func (r *reader) promptText(s *source.Section, name string, p *MCPPrompt) *Template {
	v := s.Get(name)
	t := parseTemplate(s.Text(name), v)
	for _, ref := range t.refs {
		if len(ref.Path) != 1 || !slices.ContainsFunc(p.Arguments, func(a MCPArgument) bool { return a.Name == ref.Path[0] }) {
			r.Add(v.Errorf(kernel.CodeConfig, "name an argument, or add it to arguments", "prompt %s has no argument %s", kernel.Quote(p.Name), kernel.Quote(ref.text())))
		}
	}
	return t
}

func (r *reader) readResource(c *Config, name string, s *source.Section) MCPResource {
	d := MCPResource{Where: s.At.Where(), Name: name, Title: s.Text("title"), Text: s.Text("description"), URI: s.Required("uri"), MIMEType: s.Text("mime_type"), Tool: s.Text("tool"), Variables: r.readArguments(s.Member("variables"))}
	if file := s.Text("file"); file != "" {
		d.File = c.resolve(file)
	}
	variables := URIVariables(d.URI)
	problem := func(fix, format string, args ...any) {
		r.Add(s.At.Errorf(kernel.CodeConfig, fix, format, args...))
	}
	switch {
	case !offeredURI.MatchString(d.URI) || !isURL(uriVariable.ReplaceAllString(d.URI, "x")):
		problem("write a scheme and what follows it, as docs://handbook or tickets://{id}", "resource %s: %s is no URI", kernel.Quote(name), kernel.Quote(d.URI))
	case len(d.URI) > 1024:
		problem("write a shorter one", "resource %s: the URI has %d bytes, the limit is 1024", kernel.Quote(name), len(d.URI))
	case strings.HasPrefix(d.URI, "hexdag:"):
		problem("use another scheme", "resource %s: hexdag:// is for runs", kernel.Quote(name))
	case (d.File == "") == (d.Tool == ""):
		problem("write the file, or the tool that makes it", "resource %s needs a file or a tool, and not both", kernel.Quote(name))
	case d.File != "" && len(variables) > 0:
		problem("write a URI without {variables}, or a tool", "resource %s is one file, and its URI has variables", kernel.Quote(name))
	}
	for _, v := range d.Variables {
		if !slices.Contains(variables, v.Name) {
			problem("name a variable of the URI", "resource %s: its URI has no variable %s", kernel.Quote(name), kernel.Quote(v.Name))
		}
	}
	s.Rest()
	return d
}

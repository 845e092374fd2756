package mcpserver

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// document is a resource of the configuration.
type document struct {
	*pipeline.MCPResource
	pattern *regexp.Regexp // of its URI, with a group for each variable; nil where it has none
}

func documentsOf(c pipeline.MCPSpec) []*document {
	all := make([]*document, len(c.Resources))
	for i := range c.Resources {
		all[i] = &document{MCPResource: &c.Resources[i]}
		if names := pipeline.URIVariables(c.Resources[i].URI); len(names) > 0 {
			pattern := regexp.QuoteMeta(c.Resources[i].URI)
			for _, name := range names {
				pattern = strings.Replace(pattern, regexp.QuoteMeta("{"+name+"}"), `([^/?#]+)`, 1)
			}
			all[i].pattern = regexp.MustCompile("^" + pattern + "$")
		}
	}
	return all
}

// match returns the values of a URI's variables.
func (d *document) match(uri string) (map[string]any, bool) {
	if d.pattern == nil {
		return map[string]any{}, uri == d.URI
	}
	found := d.pattern.FindStringSubmatch(uri)
	if found == nil {
		return nil, false
	}
	args := map[string]any{}
	for i, name := range pipeline.URIVariables(d.URI) {
		v, err := url.PathUnescape(found[i+1])
		if err != nil {
			return nil, false
		}
		args[name] = v
	}
	return args, true
}

// offerDocuments offers those resources that the principal may have.
func (o *served) offerDocuments(ctx context.Context, offers map[string]*offer) error {
	shown := map[string]bool{}
	for _, d := range o.documents {
		shows, err := o.shows(ctx, actionResource, documentResource(d.Name), d.Tool, offers)
		if err != nil {
			return err
		}
		if shown[d.URI] = shows; !shows || o.readables[d.URI] {
			continue
		}
		if d.pattern != nil {
			o.mcp.AddResourceTemplate(&mcp.ResourceTemplate{Name: d.Name, Title: d.Title, Description: d.Text, URITemplate: d.URI, MIMEType: d.MIMEType}, o.document)
		} else {
			o.mcp.AddResource(d.listed(), o.document)
		}
	}
	for _, d := range o.documents {
		if o.readables[d.URI] && !shown[d.URI] {
			o.mcp.RemoveResources(d.URI)
			o.mcp.RemoveResourceTemplates(d.URI)
		}
	}
	o.readables = shown
	return nil
}

func (d *document) listed() *mcp.Resource {
	r := &mcp.Resource{Name: d.Name, Title: d.Title, Description: d.Text, URI: d.URI, MIMEType: d.MIMEType}
	if r.MIMEType == "" && d.File != "" {
		r.MIMEType = typeOf(d.File, nil)
	}
	return r
}

func (o *served) hasDocument(uri string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.readables[uri]
}

// find returns the resource of a URI that the principal may have, and its variables.
func (o *served) find(uri string) (*document, map[string]any) {
	for _, d := range o.documents {
		if args, ok := d.match(uri); ok && o.hasDocument(d.URI) {
			return d, args
		}
	}
	return nil, nil
}

// document reads a resource of the configuration.
func (o *served) document(ctx context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	uri := req.Params.URI
	d, args := o.find(uri)
	if d == nil {
		return nil, mcp.ResourceNotFoundError(uri)
	}
	if req.Params.RequestState == "" {
		if err := o.admit(ctx, actionResource, documentResource(d.Name)); err != nil {
			return nil, err
		}
	}
	if d.File != "" {
		text, mimeType, err := readFile(d.File, d.MIMEType)
		if err != nil {
			return nil, err
		}
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{contentsOf(uri, mimeType, text)}}, nil
	}
	return o.documentByTool(ctx, req, d, args)
}

// documentByTool has a tool make a resource: {contents: [{text or blob, mimeType?}]} in MCP's own form, a text, or any other value, as JSON.
func (o *served) documentByTool(ctx context.Context, req *mcp.ReadResourceRequest, d *document, args map[string]any) (*mcp.ReadResourceResult, error) {
	result, text, err := o.made(ctx, &mcp.CallToolRequest{Session: req.Session, Extra: req.Extra, Params: &mcp.CallToolParamsRaw{Meta: req.Params.Meta, InputResponses: req.Params.InputResponses, RequestState: req.Params.RequestState}}, d.Tool, args)
	switch {
	case err != nil:
		return nil, err
	case text == nil:
		return &mcp.ReadResourceResult{Meta: result.Meta, InputRequests: result.InputRequests, RequestState: result.RequestState}, nil
	}
	out := &mcp.ReadResourceResult{}
	var said string
	var fields map[string]json.RawMessage
	switch {
	case json.Unmarshal(text, &said) == nil:
		out.Contents = []*mcp.ResourceContents{{MIMEType: d.MIMEType, Text: said}}
	case json.Unmarshal(text, &fields) == nil && fields["contents"] != nil && len(fields) == 1:
		if json.Unmarshal(text, out) != nil || len(out.Contents) == 0 {
			return nil, malformed(d.Tool, `{"contents": [{"text": "..."}]}`)
		}
	default:
		out.Contents = []*mcp.ResourceContents{{MIMEType: orElse(d.MIMEType, typeJSON), Text: string(text)}}
	}
	for _, c := range out.Contents {
		c.URI = req.Params.URI // a tool does not speak for others
		if c.MIMEType == "" {
			c.MIMEType = orElse(d.MIMEType, "text/plain")
		}
	}
	out.Meta, out.InputRequests, out.RequestState = result.Meta, nil, ""
	return out, nil
}

// stamp is how a file was when it was looked at.
type stamp struct {
	size int64
	at   time.Time
}

// changed tells those who follow a resource that its file is another.
func (s *Server) changed() {
	for _, d := range s.documents {
		if d.File == "" || d.pattern != nil {
			continue
		}
		now := stamp{}
		if info, err := os.Stat(d.File); err == nil {
			now = stamp{info.Size(), info.ModTime()}
		}
		was, known := s.stamps[d.URI]
		s.stamps[d.URI] = now
		if !known || was == now {
			continue
		}
		s.mu.Lock()
		all := make([]*served, 0, len(s.served))
		for _, o := range s.served {
			all = append(all, o)
		}
		s.mu.Unlock()
		for _, o := range all {
			if err := o.mcp.ResourceUpdated(s.base, &mcp.ResourceUpdatedNotificationParams{URI: d.URI}); err != nil {
				s.log.Debug("a client is not told of a resource", "error", kernel.Quote(err.Error()))
			}
		}
	}
}

// Package mcpport has runs call tools of other servers, through the Model Context Protocol.
//
// What a server says is data: it is bounded, and untrusted. A tool is what it was when it was first seen, or approved since: one that
// tells something else of itself cannot be called, and what it answers is held to the schema that it tells. A server that dies is started again, with back-off, and no call of a tool is
// made twice. A server asks its client for nothing: not for a model, not for files, not for input.
package mcpport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/toolpins"
)

// The bounds of a server, where its configuration names no others.
const (
	defaultTimeout = 60 * time.Second
	defaultResult  = 1 << 20 // bytes
	mostResult     = 64 << 20
	startTimeout   = 30 * time.Second
	stopTimeout    = 2 * time.Second
	firstBackOff   = time.Second
	longestBackOff = time.Minute
	listEvery      = 10 * time.Second // tools are asked for anew; the SDK's own way to be told of changes leaves a goroutine behind
	maxTools       = 1000
	maxPages       = 100      // of a server's list of its tools
	maxDefinitions = 4 << 20  // bytes of all that these pages hold
	slack          = 64 << 10 // bytes that a message has beside a result
)

// ServerConfig says how to reach a server: by a command, whose standard input and output it talks on, or by a URL.
type ServerConfig struct {
	Command []string          `json:"command,omitempty"`
	Env     map[string]string `json:"env,omitempty"`      // all that the command has of an environment,
	PassEnv []string          `json:"pass_env,omitempty"` // beside these variables of the host's
	Dir     string            `json:"dir,omitempty"`      // the command's folder

	URL            string            `json:"url,omitempty"`
	Headers        map[string]string `json:"headers,omitempty"`
	AllowAddresses []string          `json:"allow_addresses,omitempty"` // that are not public

	Tools          []string `json:"tools,omitempty"`   // patterns of those that may be called; empty is all
	Timeout        float64  `json:"timeout,omitempty"` // seconds of a call
	MaxResultBytes int64    `json:"max_result_bytes,omitempty"`
}

// Config is the port's.
type Config struct {
	Servers map[string]*ServerConfig `json:"servers"`
}

// Options are what the host gives the port.
type Options struct {
	Pins *toolpins.Store
	Log  *slog.Logger
	Dir  string // that commands' folders are relative to
}

// Port is the mcp port. It is safe for concurrent use.
type Port struct {
	servers map[string]*server
}

var serverName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)

// New returns a port. Servers are started, and connected to, when they are first needed. The caller closes it.
func New(c Config, opts Options) (*Port, error) {
	p := &Port{servers: map[string]*server{}}
	if len(c.Servers) == 0 {
		return nil, configError("the mcp port has no servers", "", "add servers: {name: {command: [...]}} or {name: {url: ...}}")
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(c.Servers)) {
		s, err := newServer(name, c.Servers[name], opts)
		problems = append(problems, err)
		p.servers[name] = s
	}
	return p, errors.Join(problems...)
}

func configError(what, why, fix string) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: what, Why: why, Fix: fix}
}

// Names returns the names of the servers, sorted.
func (p *Port) Names() []string { return slices.Sorted(maps.Keys(p.servers)) }

// Close ends the servers that were started.
func (p *Port) Close() error {
	var all sync.WaitGroup
	for _, s := range p.servers {
		all.Go(s.close)
	}
	all.Wait()
	return nil
}

// newServer checks a server's configuration.
func newServer(name string, c *ServerConfig, opts Options) (*server, error) {
	what := "MCP server " + kernel.Quote(name)
	if c == nil {
		c = &ServerConfig{}
	}
	s := &server{name: name, config: c, pins: opts.Pins, log: opts.Log, dir: opts.Dir, timeout: defaultTimeout, most: defaultResult}
	s.base, s.stop = context.WithCancel(context.Background())
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if c.Timeout > 0 {
		s.timeout = time.Duration(c.Timeout * float64(time.Second))
	}
	if c.MaxResultBytes > 0 {
		s.most = c.MaxResultBytes
	}
	var err error
	switch {
	case !serverName.MatchString(name):
		err = configError(what+" has a name that cannot be used", "tools are called name.tool", "use letters, digits, _ and -, at most 64")
	case (len(c.Command) == 0) == (c.URL == ""):
		err = configError(what+" needs a command or a url", "it has both, or neither", "write command: [program, argument] or url: https://...")
	case c.URL != "" && len(c.Env)+len(c.PassEnv) > 0 || c.URL != "" && c.Dir != "":
		err = configError(what+" has an environment or a folder", "it is reached by its url", "remove env, pass_env and dir")
	case len(c.Command) > 0 && len(c.Headers)+len(c.AllowAddresses) > 0:
		err = configError(what+" has headers or addresses", "it is a command", "remove headers and allow_addresses")
	case c.Timeout < 0 || c.MaxResultBytes < 0 || s.most > mostResult:
		err = configError(what+" has a limit that cannot be", fmt.Sprintf("timeout is %g, max_result_bytes %d, of which %d is the most", c.Timeout, c.MaxResultBytes, mostResult), "write positive numbers, or leave them out")
	case strings.HasPrefix(c.URL, "http://") && len(c.AllowAddresses) == 0:
		err = configError(what+" is not reached safely", "its url is http:, and what is sent could be read and changed on the way", "use https:, or list the addresses of your own network under allow_addresses")
	case c.URL != "":
		s.client, err = s.webClient()
	}
	return s, err
}

// allows reports whether the operator lets a tool be called.
func (s *server) allows(tool string) bool {
	return len(s.config.Tools) == 0 || slices.ContainsFunc(s.config.Tools, func(pattern string) bool { return abi.Match(pattern, tool) })
}

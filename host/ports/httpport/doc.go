// Package httpport is the port to the web, and the only way out for what runs in
// a pipeline: one HTTP request, one answer.
//
// # What is reachable
//
// Nothing, until the operator lists hosts. A host is what [Host] makes of a URL: in
// lower case, without a final dot, ASCII (an international name as xn--...), an
// IPv6 address in brackets, and with the port unless it is the scheme's own:
//
//	http:
//	  adapter: http
//	  config:
//	    hosts: [api.example.com, "*.example.org", "localhost:8080"]   # patterns as in grants
//	    allow_addresses: [127.0.0.0/8]     # beside the public ones
//
// A name is not what it resolves to. So every address that is dialed is checked when
// it is dialed, after the name was resolved: loopback, private, link-local, multicast,
// carrier-grade NAT, translated (NAT64, 6to4, Teredo) and other special addresses
// are refused, the metadata services of clouds among them, unless allow_addresses
// lists them. What a name resolves to at another moment is of no account.
//
// Proxies of the environment are not used. A redirect is followed only to the same
// host and port, and never from https to http; any other is the answer. Answers
// have a limit that counts bytes after decompression; what is longer is an error.
package httpport

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/tracing"
)

// Config says what is reachable and how much of it. A zero stands for the default.
type Config struct {
	Hosts            []string `json:"hosts"`              // patterns; none means that nothing is reachable
	AllowAddresses   []string `json:"allow_addresses"`    // prefixes such as 127.0.0.0/8 that may be dialed though they are special
	Timeout          float64  `json:"timeout"`            // of a whole request, in seconds; 30, at most 600
	MaxRequestBytes  int64    `json:"max_request_bytes"`  // 1 MiB
	MaxResponseBytes int64    `json:"max_response_bytes"` // after decompression; 4 MiB
	MaxRedirects     int      `json:"max_redirects"`      // 5, at most 20; -1 follows none

	// Resolver looks names up; nil is the system's.
	Resolver *net.Resolver `json:"-"`
}

// The limits that are not the operator's.
const (
	maxURL           = 8 << 10
	maxHeaders       = 64
	maxHeaderBytes   = 16 << 10
	maxReplyHeader   = 64 << 10
	maxConnections   = 64 // to one host
	maxTimeout       = 600
	defaultTimeout   = 30
	maxHostPatterns  = 1000
	defaultRedirects = 5
	mostRedirects    = 20
	defaultRequest   = 1 << 20
	defaultResponse  = 4 << 20
	mostBytes        = 1 << 30
	connectTimeout   = 10 * time.Second
	idleTimeout      = time.Minute
	defaultUserAgent = "hexdag"
)

// Port makes HTTP requests. It may be used by several goroutines.
type Port struct {
	hosts    []string
	allowed  []netip.Prefix
	timeout  time.Duration
	request  int64
	response int64
	client   *client
	tracer   *tracing.Tracer
}

// TraceWith has the spans of requests say what was answered, and hosts told of them that the operator lists. It is set before the port is used.
func (p *Port) TraceWith(t *tracing.Tracer) { p.tracer = t }

// FromConfig is New for a decoded configuration. The keys are those of Config;
// any other is an error.
func FromConfig(config map[string]any) (*Port, error) {
	var cfg Config
	if err := kernel.FromValue(config, &cfg); err != nil {
		return nil, configError("it takes hosts, allow_addresses, timeout, max_request_bytes, max_response_bytes, max_redirects", "%s", kernel.Quote(err.Error()))
	}
	return New(cfg)
}

// New returns the port. Its errors are of CodeConfig.
func New(cfg Config) (*Port, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Port{timeout: time.Duration(cfg.Timeout * float64(time.Second)), request: cfg.MaxRequestBytes, response: cfg.MaxResponseBytes}
	for _, pattern := range cfg.Hosts {
		canonical, err := hostPattern(pattern)
		if err != nil {
			return nil, err
		}
		p.hosts = append(p.hosts, canonical)
	}
	for _, text := range cfg.AllowAddresses {
		prefix, err := parsePrefix(text)
		if err != nil {
			return nil, configError("write an address or a prefix, such as 127.0.0.0/8", "allow_addresses: %s is no prefix", kernel.Quote(text))
		}
		p.allowed = append(p.allowed, prefix)
	}
	p.client = newClient(p.checkAddress, cfg.MaxRedirects, cfg.Resolver)
	return p, nil
}

// check fills in the defaults and refuses what cannot be.
func (cfg *Config) check() error {
	if len(cfg.Hosts) > maxHostPatterns || len(cfg.AllowAddresses) > maxHostPatterns {
		return configError("use patterns", "hosts and allow_addresses have at most %d each", maxHostPatterns)
	}
	if !(cfg.Timeout >= 0 && cfg.Timeout <= maxTimeout) {
		return configError("", "timeout is %v s; it is at most %d", cfg.Timeout, maxTimeout)
	}
	if cfg.MaxRedirects < -1 || cfg.MaxRedirects > mostRedirects {
		return configError("-1 follows none", "max_redirects is %d; it is at most %d", cfg.MaxRedirects, mostRedirects)
	}
	if slices.Min([]int64{cfg.MaxRequestBytes, cfg.MaxResponseBytes}) < 0 || slices.Max([]int64{cfg.MaxRequestBytes, cfg.MaxResponseBytes}) > mostBytes {
		return configError("", "max_request_bytes and max_response_bytes are from 1 to %d", mostBytes)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.MaxRedirects == 0 {
		cfg.MaxRedirects = defaultRedirects
	}
	if cfg.MaxRequestBytes == 0 {
		cfg.MaxRequestBytes = defaultRequest
	}
	if cfg.MaxResponseBytes == 0 {
		cfg.MaxResponseBytes = defaultResponse
	}
	return nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), err
	}
	return netip.ParsePrefix(text)
}

// Close closes the connections that are kept open.
func (p *Port) Close() error {
	p.client.CloseIdleConnections()
	return nil
}

package mcpserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
)

// Tokens are who may call over HTTP: principals, by the bearer token that each shows.
type Tokens map[string]string

// HTTPOptions say who may call over HTTP.
type HTTPOptions struct {
	// Tokens, if there are any, has every request show one of them.
	Tokens Tokens
	// Origins are those of web pages that may call, beside the server's own: https://host.
	Origins []string
}

// The times of HTTP.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	sessionTimeout    = 30 * time.Minute
	shutdownTime      = 5 * time.Second
)

// ServeHTTP serves /mcp on a listener until ctx ends. One that others than this machine can reach needs tokens.
func (s *Server) ServeHTTP(ctx context.Context, l net.Listener, opts HTTPOptions) error {
	local := isLoopback(l.Addr())
	if !local && len(opts.Tokens) == 0 {
		return errors.Join(&kernel.Error{Code: kernel.CodeConfig, What: "the MCP server cannot listen at " + kernel.Quote(l.Addr().String()), Why: "other machines could call it, and nothing says who they are", Fix: "pass --tokens FILE, or listen at 127.0.0.1"}, l.Close())
	}
	server := &http.Server{Handler: s.Handler(local, opts), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, BaseContext: func(net.Listener) context.Context { return s.base }}
	stopped := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-ctx.Done():
		case <-stopped:
		}
		s.stop() // streams that are open would be waited for
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close()
		}
	}()
	err := server.Serve(l)
	close(stopped)
	<-done
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeFailed, What: "the MCP server cannot serve", Why: err.Error(), Fix: "see the reason", Err: err}
}

// Handler serves /mcp. local says that only this machine can reach it: then who names another host is a web page that was told a
// wrong address, and is refused.
func (s *Server) Handler(local bool, opts HTTPOptions) http.Handler {
	serverOf := func(r *http.Request) *mcp.Server {
		principal := s.opts.Principal
		if len(opts.Tokens) > 0 {
			info := auth.TokenInfoFromContext(r.Context())
			if info == nil {
				return nil
			}
			principal = info.UserID
		}
		o, err := s.of(principal)
		if err != nil {
			s.log.Error("a client cannot be served", "error", err.Error())
			return nil
		}
		if r.Header.Get("Mcp-Session-Id") == "" && o.sessions() >= maxSessions {
			s.log.Warn("a client is not served: there are too many sessions", "principal", kernel.Quote(principal))
			return nil
		}
		return o.mcp
	}
	options := mcp.StreamableHTTPOptions{SessionTimeout: sessionTimeout, MaxRequestBodyBytes: maxMessage}
	sessions := mcp.NewStreamableHTTPHandler(serverOf, &options)
	stateless := options
	stateless.Stateless, stateless.PropagateRequestCancellation = true, true
	requests := mcp.NewStreamableHTTPHandler(serverOf, &stateless)
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") >= sinceRounds { // a request is all that there is
			requests.ServeHTTP(w, r)
			return
		}
		sessions.ServeHTTP(w, r)
	})
	if len(opts.Tokens) > 0 {
		handler = auth.RequireBearerToken(opts.Tokens.verify, nil)(handler)
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", handler)
	return guard(mux, local, opts.Origins)
}

func (o *served) sessions() (n int) {
	for range o.mcp.Sessions() {
		n++
	}
	return n
}

// guard refuses requests that web pages of elsewhere have a browser send.
func guard(next http.Handler, local bool, origins []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local && !isLocalName(hostOf(r.Host)) {
			refuse(w, "the request is for the host "+kernel.Quote(r.Host), "this server is this machine's alone", "call it at 127.0.0.1 or localhost")
			return
		}
		for _, origin := range r.Header.Values("Origin") {
			if !allowed(origin, r.Host, local, origins) {
				refuse(w, "the request is of the web page "+kernel.Quote(origin), "pages of other origins may not call", "pass --origin to let it")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// allowed reports whether a web page of this origin may call.
func allowed(origin, host string, local bool, origins []string) bool {
	for _, known := range origins {
		if origin == known {
			return true
		}
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false // null, for one
	}
	return u.Host == host || local && isLocalName(u.Hostname())
}

func refuse(w http.ResponseWriter, what, why, fix string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": nil, "error": map[string]any{"code": -32000, "message": what + ": " + why + " (" + fix + ")"}})
}

func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

func isLocalName(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// verify says whose a token is. What is compared takes the same time for all of them.
func (t Tokens) verify(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	shown := sha256.Sum256([]byte(token))
	found, ok := "", false
	for known, principal := range t {
		sum := sha256.Sum256([]byte(known))
		if subtle.ConstantTimeCompare(shown[:], sum[:]) == 1 {
			found, ok = principal, true
		}
	}
	if !ok {
		return nil, auth.ErrInvalidToken
	}
	return &auth.TokenInfo{UserID: found, Expiration: time.Now().Add(time.Hour)}, nil
}

// ParseTokens reads lines of a token and whose it is: TOKEN PRINCIPAL. Lines that begin with # are none.
func ParseTokens(text string) (Tokens, error) {
	tokens := Tokens{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
			continue
		case len(fields) != 2 || len(fields[0]) < 16 || tokens[fields[0]] != "":
			return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the file of tokens cannot be used", Why: "a line is no token and its principal, or a token has less than 16 characters, or is there twice", Fix: "write lines TOKEN PRINCIPAL, with tokens from a random source"}
		}
		tokens[fields[0]] = fields[1]
	}
	if len(tokens) == 0 {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the file of tokens has none", Fix: "write lines TOKEN PRINCIPAL"}
	}
	return tokens, nil
}

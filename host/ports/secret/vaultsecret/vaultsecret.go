// Package vaultsecret has the secret port's values from a server that speaks the HTTP API of
// Vault's secrets engine KV version 2: HashiCorp Vault, OpenBao. A reference is path#field, the
// secret's path below the mount and the field of its data.
//
// The token comes from an environment variable, or from a file that an agent keeps fresh.
// A value is asked for again after a minute, or what ttl says.
package vaultsecret

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/secret/driver"
)

// Config says where the server is.
type Config struct {
	URL       string  `json:"url"`        // https://vault:8200; http for loopback alone
	Mount     string  `json:"mount"`      // of the engine; secret if empty
	Namespace string  `json:"namespace"`  // sent as X-Vault-Namespace if there is one
	TokenEnv  string  `json:"token_env"`  // VAULT_TOKEN if this and token_file are empty
	TokenFile string  `json:"token_file"` // read for every request
	CAFile    string  `json:"ca_file"`    // certificates to trust in place of the system's
	TTL       float64 `json:"ttl"`        // how long a value is kept, in seconds; 60 if 0, at most 60; below 0 not at all
	Timeout   float64 `json:"timeout"`    // of a request, in seconds; 10 if 0, at most 60
}

const (
	mostSeconds    = 60
	defaultTimeout = 10
	maxAnswer      = 1 << 20
	maxKept        = 1000
	maxToken       = 16 << 10
)

type store struct {
	cfg    Config
	base   *url.URL
	client *http.Client
	ttl    time.Duration

	mu   sync.Mutex
	kept map[string]kept // by path
}

// kept is the data of a path.
type kept struct {
	fields map[string]any
	until  time.Time
}

// New returns the store. It asks the server nothing yet. What is wrong with the configuration is
// CodeConfig.
func New(cfg Config) (driver.Store, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Scheme != "https" && (base.Scheme != "http" || !loopback(base.Hostname())) {
		return nil, configError("write https://vault.example.com:8200", "url is missing, or cannot be used")
	}
	if cfg.TTL > mostSeconds || !(cfg.Timeout >= 0 && cfg.Timeout <= mostSeconds) {
		return nil, configError("", "ttl and timeout are at most %d seconds", mostSeconds)
	}
	if cfg.TokenEnv != "" && cfg.TokenFile != "" {
		return nil, configError("remove one", "token_env and token_file are both there")
	}
	if cfg.Mount == "" {
		cfg.Mount = "secret"
	}
	if cfg.TTL == 0 {
		cfg.TTL = mostSeconds
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if problem := segments(cfg.Mount); problem != nil {
		return nil, configError("write it as in secret or team/kv", "mount: %v", problem)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, configError("", "ca_file: %s", kernel.Quote(err.Error()))
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, configError("", "ca_file holds no certificate")
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	client := &http.Client{Transport: transport, Timeout: time.Duration(cfg.Timeout * float64(time.Second)),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // the token would go along
	return &store{cfg: cfg, base: base, client: client, ttl: time.Duration(max(0, cfg.TTL) * float64(time.Second)), kept: map[string]kept{}}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func configError(fix, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the vault secrets' configuration: " + fmt.Sprintf(format, args...), Fix: fix}
}

func segments(path string) error {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return errors.New("a segment of the path is empty, or leads elsewhere")
		}
	}
	return nil
}

func parseRef(ref string) (path, field string, err error) {
	path, field, found := strings.Cut(ref, "#")
	if !found || field == "" {
		return "", "", errors.New("it is written path#field")
	}
	return path, field, segments(path)
}

// Check implements driver.Store.
func (s *store) Check(ref string) error {
	_, _, err := parseRef(ref)
	return err
}

// Get implements driver.Store.
func (s *store) Get(ctx context.Context, ref string) (string, error) {
	path, field, err := parseRef(ref)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	if s.kept == nil {
		s.mu.Unlock()
		return "", errors.New("the store is closed")
	}
	have, ok := s.kept[path]
	s.mu.Unlock()
	if !ok || time.Now().After(have.until) {
		fields, err := s.fetch(ctx, path)
		if err != nil {
			return "", err
		}
		have = kept{fields, time.Now().Add(s.ttl)}
		s.keep(path, have)
	}
	value, isText := have.fields[field].(string)
	if !isText {
		return "", driver.ErrNotFound
	}
	return value, nil
}

func (s *store) keep(path string, k kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil || s.ttl == 0 {
		return
	}
	if len(s.kept) >= maxKept {
		clear(s.kept)
	}
	s.kept[path] = k
}

func (s *store) token() (string, error) {
	var token string
	if s.cfg.TokenFile != "" {
		f, err := os.Open(s.cfg.TokenFile)
		if err != nil {
			return "", unavailable("the token's file cannot be opened", "see that the agent writes it")
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxToken))
		if err != nil {
			return "", unavailable("the token's file cannot be read", "")
		}
		token = string(data)
	} else {
		name := s.cfg.TokenEnv
		if name == "" {
			name = "VAULT_TOKEN"
		}
		token = os.Getenv(name)
	}
	token = strings.TrimSpace(token)
	if token == "" || strings.ContainsAny(token, "\r\n") {
		return "", unavailable("there is no token", "set VAULT_TOKEN, token_env or token_file")
	}
	return token, nil
}

func unavailable(why, fix string) error {
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the store of the secrets cannot be asked", Why: why, Fix: fix}
}

// fetch reads the newest version of a path: GET /v1/MOUNT/data/PATH.
func (s *store) fetch(ctx context.Context, path string) (map[string]any, error) {
	token, err := s.token()
	if err != nil {
		return nil, err
	}
	u := s.base.JoinPath("v1", escape(s.cfg.Mount), "data", escape(path))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, unavailable("its address cannot be used", "correct url")
	}
	req.Header.Set("X-Vault-Token", token)
	req.Header.Set("X-Vault-Request", "true")
	if s.cfg.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", s.cfg.Namespace)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, unavailable("it cannot be reached", "check that it runs, and url")
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || len(data) > maxAnswer {
		return nil, unavailable("its answer broke off, or is too large", "")
	}
	return answer(resp.StatusCode, data)
}

func escape(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// answer reads what the server answered, whose own words are left out.
func answer(status int, body []byte) (map[string]any, error) {
	switch {
	case status == http.StatusNotFound: // deleted versions, too
		return nil, driver.ErrNotFound
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return nil, unavailable("it denies the token this path", "give the token's policy the capability read of MOUNT/data/PATH")
	case slices.Contains([]int{http.StatusTooManyRequests, 412, 472, 473, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout}, status):
		e := &kernel.Error{Code: kernel.CodeRetry, What: "the store of the secrets is busy", Why: fmt.Sprintf("it answered %d", status)}
		return nil, e
	case status == http.StatusServiceUnavailable:
		return nil, unavailable("it is sealed, or in maintenance", "unseal it")
	case status >= 300 && status < 400:
		return nil, unavailable("it redirects", "name the active node, or an address that forwards to it, in url")
	case status != http.StatusOK:
		return nil, unavailable(fmt.Sprintf("it answered %d", status), "check url, mount and namespace")
	}
	v, err := kernel.DecodeJSON(body)
	outer, _ := v.(map[string]any)
	data, _ := outer["data"].(map[string]any)
	fields, isObject := data["data"].(map[string]any)
	if err != nil || !isObject {
		return nil, unavailable("its answer is none of KV version 2", "check that the mount is of version 2")
	}
	return fields, nil
}

// Close implements driver.Store.
func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = nil
	s.client.CloseIdleConnections()
	return nil
}

package httpport

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// deadProxy is where nobody listens.
const deadProxy = "http://127.0.0.1:9"

// TestMain sets proxies before anything reads the environment, which the standard
// library does once.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		if err := os.Setenv(name, deadProxy); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func serve(t testing.TB, h http.HandlerFunc) (*httptest.Server, string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s, strings.TrimPrefix(s.URL, "http://")
}

func open(t testing.TB, cfg Config) *Port {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// local is a port that may reach this machine.
func local(t testing.TB, cfg Config) *Port {
	cfg.Hosts = append(cfg.Hosts, "127.0.0.1:*")
	cfg.AllowAddresses = append(cfg.AllowAddresses, "127.0.0.0/8")
	return open(t, cfg)
}

func do(ctx context.Context, p *Port, op string, args map[string]any, body []byte) (*kernel.PortReply, error) {
	ops := p.Ops()
	i := slices.IndexFunc(ops, func(o ports.Op) bool { return o.Name == op })
	return ops[i].Func(ctx, &kernel.PortCall{Op: op, Args: args, Body: body})
}

func get(t testing.TB, p *Port, rawURL string) (map[string]any, error) {
	t.Helper()
	reply, err := do(t.Context(), p, "http.request", map[string]any{"url": rawURL}, nil)
	if err != nil {
		return nil, err
	}
	return reply.Value.(map[string]any), nil
}

func wantCode(t *testing.T, what string, err error, code kernel.Code, says string) {
	t.Helper()
	if kernel.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%s: %v (%s), want %s and %q", what, err, kernel.CodeOf(err), code, says)
	}
}

// echo answers what it was asked, as JSON.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	headers := map[string]string{}
	for name, values := range r.Header {
		headers[name] = strings.Join(values, "|")
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Add("X-Twice", "a")
	w.Header().Add("X-Twice", "b")
	w.WriteHeader(http.StatusTeapot)
	_ = json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "uri": r.RequestURI, "host": r.Host, "headers": headers, "body": string(body)})
}

func TestRequests(t *testing.T) {
	s, host := serve(t, echo)
	p := local(t, Config{})
	for _, c := range []struct {
		op   string
		args map[string]any
		body []byte
		want map[string]any
	}{
		{"http.request", map[string]any{}, nil, map[string]any{"method": "GET", "uri": "/"}},
		{"http.request", map[string]any{"method": "put", "json": map[string]any{"b": kernel.Number(1), "a": nil}}, nil, map[string]any{"method": "PUT", "uri": "/", "body": `{"a":null,"b":1}`, "Content-Type": "application/json"}},
		{"http.request", map[string]any{"method": "POST", "body": "text", "headers": map[string]any{"content-type": "text/x", "X-A": "1", "X-N": kernel.Number(7)}}, nil, map[string]any{"method": "POST", "uri": "/", "body": "text", "Content-Type": "text/x", "X-A": "1", "X-N": "7"}},
		{"http.request", map[string]any{"method": "PATCH", "headers": nil, "params": nil, "timeout": nil}, []byte{1, 2}, map[string]any{"method": "PATCH", "uri": "/", "body": "\x01\x02", "Content-Type": "application/octet-stream"}},
		{"http.request", map[string]any{"params": map[string]any{"q": "a b&c=d", "n": kernel.Number(1), "l": []any{"x", true, nil}}}, nil, map[string]any{"method": "GET", "uri": "/?l=x&l=true&l=&n=1&q=a+b%26c%3Dd"}},
		{"http.request", map[string]any{"method": "DELETE", "headers": map[string]any{"User-Agent": "mine"}}, nil, map[string]any{"method": "DELETE", "uri": "/", "User-Agent": "mine"}},
		{"api_call.get", map[string]any{}, nil, map[string]any{"method": "GET", "uri": "/"}},
		{"api_call.post", map[string]any{"json_body": []any{}}, nil, map[string]any{"method": "POST", "uri": "/", "body": "[]", "Content-Type": "application/json"}},
		{"api_call.request", map[string]any{"method": "PUT"}, nil, map[string]any{"method": "PUT", "uri": "/"}},
		{"api_call.delete", map[string]any{}, nil, map[string]any{"method": "DELETE", "uri": "/"}},
	} {
		c.args["url"] = s.URL
		reply, err := do(t.Context(), p, c.op, c.args, c.body)
		if err != nil {
			t.Errorf("%s %v: %v", c.op, c.args, err)
			continue
		}
		value := reply.Value.(map[string]any)
		got := value["body"].(map[string]any)
		headers := got["headers"].(map[string]any)
		if c.want["User-Agent"] == nil {
			c.want["User-Agent"] = "hexdag"
		}
		for name, want := range c.want {
			have, inBody := got[name]
			if !inBody {
				have = headers[name]
			}
			if have != want {
				t.Errorf("%s %v: %s is %q, want %q", c.op, c.args, name, have, want)
			}
		}
		if got["host"] != host || value["status_code"] != kernel.Number(418) || value["headers"].(map[string]any)["x-twice"] != "a, b" {
			t.Errorf("%v: %v", c.args, value)
		}
	}
}

func TestBodies(t *testing.T) {
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		_, _ = io.WriteString(w, r.URL.Query().Get("body"))
	})
	p := local(t, Config{})
	for _, c := range []struct {
		media, body string
		want        kernel.Value
		bytes       string
	}{
		{"application/json", `{"a": 1.50}`, map[string]any{"a": json.Number("1.50")}, ""},
		{"application/problem+json; charset=utf-8", `[]`, []any{}, ""},
		{"application/json", `{"a":1,"a":2}`, `{"a":1,"a":2}`, ""}, // two readers could differ
		{"application/json", `{`, `{`, ""},
		{"text/html", "<p>日本", "<p>日本", ""},
		{"text/json", `{"a":1}`, `{"a":1}`, ""},
		{"text/plain", "", nil, ""},
		{"image/png", "\x89PNG\x00", nil, "\x89PNG\x00"},
		{"text/plain", "\xff", nil, "\xff"},
	} {
		reply, err := do(t.Context(), p, "http.request", map[string]any{"url": s.URL, "params": map[string]any{"type": c.media, "body": c.body}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, reply.Value.(map[string]any)["body"]); diff != "" || string(reply.Body) != c.bytes {
			t.Errorf("%s %q: %s, bytes %q", c.media, c.body, diff, reply.Body)
		}
	}
	reply, err := do(t.Context(), p, "http.request", map[string]any{"url": s.URL, "method": "HEAD"}, nil)
	if err != nil || reply.Value.(map[string]any)["body"] != nil {
		t.Errorf("HEAD: %v, %v", reply, err)
	}
}

// TestNothingIsReachable by default, nor what is listed at an address that is not.
func TestNothingIsReachable(t *testing.T) {
	reached := false
	s, host := serve(t, func(http.ResponseWriter, *http.Request) { reached = true })
	_, err := get(t, open(t, Config{}), s.URL)
	wantCode(t, "no hosts", err, kernel.CodeDenied, "lists none")
	_, err = get(t, open(t, Config{AllowAddresses: []string{"127.0.0.0/8"}}), s.URL)
	wantCode(t, "an address is not enough", err, kernel.CodeDenied, "lists none")
	_, err = get(t, open(t, Config{Hosts: []string{"other.example"}, AllowAddresses: []string{"127.0.0.0/8"}}), s.URL)
	wantCode(t, "another host", err, kernel.CodeDenied, "does not list it")
	_, err = get(t, open(t, Config{Hosts: []string{host}}), s.URL)
	wantCode(t, "a host is not enough", err, kernel.CodeDenied, "its address is loopback")
	if reached {
		t.Error("it was reached")
	}
}

// TestAddressTricks: every way to write an address that is not public ends before a
// connection, even where the operator lists every host.
func TestAddressTricks(t *testing.T) {
	p := open(t, Config{Hosts: []string{"**"}, Timeout: 5})
	for _, rawURL := range []string{
		"http://127.0.0.1/", "http://127.0.0.1:22/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://0.0.0.0/", "http://[::]/", "http://127.8.8.8/",
		"http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/", "http://[fd00:ec2::254]/", "http://100.100.100.200/", "http://168.63.129.16/",
		"http://[64:ff9b::7f00:1]/", "http://[64:ff9b::a9fe:a9fe]/", "http://[2002:7f00:1::]/", "http://[::7f00:1]/", "http://10.0.0.1/", "http://192.168.0.1/", "http://172.16.0.1/", "http://100.64.0.1/",
		"http://[fe80::1]/", "http://[fc00::1]/", "http://224.0.0.1/", "http://255.255.255.255/", "http://[ff02::1]/", "http://localhost/", "http://LOCALHOST./", "http://１２７.0.0.1/",
	} {
		_, err := get(t, p, rawURL)
		wantCode(t, rawURL, err, kernel.CodeDenied, "its address is")
	}
	for _, rawURL := range badURLs {
		if host, err := Host(rawURL); err == nil {
			t.Logf("%q is %s", rawURL, host)
			continue
		}
		_, err := get(t, p, rawURL)
		wantCode(t, rawURL, err, kernel.CodeArguments, "cannot be requested")
	}
}

func TestRedirects(t *testing.T) {
	var evilReached atomic.Bool
	evil, evilHost := serve(t, func(http.ResponseWriter, *http.Request) { evilReached.Store(true) })
	var paths sync.Map
	s, host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		paths.Store(r.Method+" "+r.URL.Path, r.Header.Get("Authorization"))
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		if r.URL.Path == "/loop" {
			w.Header().Set("Location", "/loop")
			w.WriteHeader(http.StatusFound)
			return
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append([]byte("arrived "), body...))
	})
	p := local(t, Config{})
	redirect := func(p *Port, to string) (map[string]any, error) {
		reply, err := do(t.Context(), p, "http.request", map[string]any{"url": s.URL + "/from", "method": "POST", "body": "b", "params": map[string]any{"to": to}, "headers": map[string]any{"Authorization": "secret"}}, nil)
		if err != nil {
			return nil, err
		}
		return reply.Value.(map[string]any), nil
	}
	for _, to := range []string{"/to", s.URL + "/to", "http://" + host + "/to", "//" + host + "/to", "HTTP://" + host + "/to#x"} {
		value, err := redirect(p, to)
		if err != nil || value["body"] != "arrived b" {
			t.Errorf("%s: %v, %v", to, value, err)
		}
	}
	if auth, _ := paths.Load("POST /to"); auth != "secret" {
		t.Errorf("the redirected request had %v", auth)
	}
	for _, to := range []string{
		evil.URL, "//" + evilHost, "http://" + host + "@" + evilHost + "/", "http://user@" + host + "/to", "https://" + host + "/to", "http://localhost:" + host[10:] + "/to",
		"http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "gopher://" + host, "http://127.0.0.1:1/", "http://[::ffff:127.0.0.2]:80/", `http://` + host + `\@` + evilHost,
	} {
		value, err := redirect(p, to)
		if err == nil && value["status_code"] != kernel.Number(307) {
			t.Errorf("%s: %v", to, value)
		}
		if err == nil && value["headers"].(map[string]any)["location"] != to {
			t.Errorf("%s: the answer does not say where: %v", to, value)
		}
	}
	if evilReached.Load() {
		t.Error("a redirect led to another host")
	}
	_, err := get(t, p, s.URL+"/loop")
	wantCode(t, "a loop", err, kernel.CodeLimit, "max_redirects of the http port is 5")
	if value, err := get(t, local(t, Config{MaxRedirects: -1}), s.URL+"/loop"); err != nil || value["status_code"] != kernel.Number(302) {
		t.Errorf("none: %v, %v", value, err)
	}
}

// TestLimits: what is too much is an error, and not cut.
func TestLimits(t *testing.T) {
	compressed := bomb()
	s, host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exact":
			_, _ = w.Write(make([]byte, 1000))
		case "/more":
			_, _ = w.Write(make([]byte, 1001))
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(compressed)
		case "/headers":
			for i := range 1000 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("y", 100))
			}
		case "/slow":
			select {
			case <-time.After(5 * time.Second):
			case <-r.Context().Done():
			}
		case "/drip":
			for {
				_, err := w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				if err != nil || r.Context().Err() != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		case "/broken":
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("x"))
		}
	})
	p := local(t, Config{MaxResponseBytes: 1000})
	hasty := local(t, Config{MaxResponseBytes: 1000, Timeout: 0.3})
	if reply, err := do(t.Context(), p, "http.request", map[string]any{"url": s.URL + "/exact"}, nil); err != nil || len(reply.Body) != 1000 {
		t.Errorf("at the limit: %v", err)
	}
	for path, want := range map[string]struct {
		code kernel.Code
		says string
	}{
		"/more":    {kernel.CodeLimit, "more than 1000 bytes, max_response_bytes"},
		"/endless": {kernel.CodeLimit, "more than 1000 bytes"},
		"/bomb":    {kernel.CodeLimit, "more than 1000 bytes"},
		"/headers": {kernel.CodeUnavailable, "headers exceeded"},
		"/slow":    {kernel.CodeTimeout, "the limit is 300ms"},
		"/drip":    {kernel.CodeTimeout, "did not answer in time"},
		"/broken":  {kernel.CodeUnavailable, "broke off"},
	} {
		asked := p
		if want.code == kernel.CodeTimeout {
			asked = hasty
		}
		_, err := get(t, asked, s.URL+path)
		wantCode(t, path, err, want.code, want.says)
	}
	_, err := do(t.Context(), p, "http.request", map[string]any{"url": s.URL + "/slow", "timeout": json.Number("0.05")}, nil)
	wantCode(t, "a shorter timeout", err, kernel.CodeTimeout, "the limit is 50ms")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = do(ctx, p, "http.request", map[string]any{"url": s.URL}, nil)
	wantCode(t, "a canceled run", err, kernel.CodeCanceled, "")
	s.Close()
	_, err = get(t, p, s.URL)
	wantCode(t, "nobody there", err, kernel.CodeUnavailable, kernel.Quote(host)+" cannot be reached")
}

// bomb is 10 MiB in 10 KiB.
func bomb() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(make([]byte, 10<<20))
	_ = z.Close()
	return b.Bytes()
}

func TestGzip(t *testing.T) {
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte("text"))
		_ = z.Close()
	})
	if value, err := get(t, local(t, Config{}), s.URL); err != nil || value["body"] != "text" {
		t.Errorf("%v, %v", value, err)
	}
}

// TestNoProxy: what the environment says of proxies is not looked at.
func TestNoProxy(t *testing.T) {
	names := newNames(t, map[string][]string{"api.example.com.": {"127.0.0.1"}})
	_, host := serve(t, echo)
	p := open(t, Config{Hosts: []string{"api.example.com:*"}, AllowAddresses: []string{"127.0.0.1"}, Resolver: names.resolver()})
	_, port, _ := net.SplitHostPort(host)
	req, err := http.NewRequest(http.MethodGet, "http://api.example.com:"+port, nil)
	if err != nil {
		t.Fatal(err)
	}
	if proxy, err := http.ProxyFromEnvironment(req); err != nil || proxy == nil || proxy.String() != deadProxy {
		t.Fatalf("the environment names the proxy %v, %v: nothing is tested", proxy, err)
	}
	if _, err := get(t, p, req.URL.String()); err != nil {
		t.Error(err)
	}
}

// TestNames: what counts is what a name resolves to when it is dialed.
func TestNames(t *testing.T) {
	var reached atomic.Int64
	_, host := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	_, port, _ := net.SplitHostPort(host)
	names := newNames(t, map[string][]string{
		"private.example.com.": {"127.0.0.1"}, "metadata.example.com.": {"169.254.169.254"}, "mapped.example.com.": {"::ffff:127.0.0.1"}, "nat.example.com.": {"64:ff9b::7f00:1"},
		"both.example.com.": {"10.0.0.1", "127.0.0.1", "::1"}, "localhost.": {"127.0.0.1"},
	})
	p := open(t, Config{Hosts: []string{"*.example.com:*"}, Resolver: names.resolver(), Timeout: 5})
	for _, name := range []string{"private", "metadata", "mapped", "nat", "both"} {
		_, err := get(t, p, "http://"+name+".example.com:"+port)
		wantCode(t, name, err, kernel.CodeDenied, "its address is")
		if err != nil && (strings.Contains(err.Error(), "127.0") || strings.Contains(err.Error(), "169.254")) {
			t.Errorf("%s: the error tells the address: %v", name, err)
		}
	}
	_, err := get(t, p, "http://unknown.example.com:"+port)
	wantCode(t, "a name that there is not", err, kernel.CodeUnavailable, "cannot be resolved")
	if reached.Load() != 0 {
		t.Error("it was reached")
	}
}

// TestRebinding: a name that was reachable is not when it resolves to another
// address, however shortly after.
func TestRebinding(t *testing.T) {
	var reached atomic.Int64
	_, host := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		w.Header().Set("Connection", "close")
	})
	_, port, _ := net.SplitHostPort(host)
	names := newNames(t, map[string][]string{"rebind.example.com.": {"127.0.0.1"}})
	// 127.0.0.1 plays what is public here; 127.0.0.2, where the server also is, what is private.
	p := open(t, Config{Hosts: []string{"rebind.example.com:*"}, AllowAddresses: []string{"127.0.0.1"}, Resolver: names.resolver(), Timeout: 5})
	url := "http://rebind.example.com:" + port
	if _, err := get(t, p, url); err != nil {
		t.Fatal(err)
	}
	names.set("rebind.example.com.", "127.0.0.2")
	_, err := get(t, p, url)
	wantCode(t, "rebound", err, kernel.CodeDenied, "its address is loopback")
	if reached.Load() != 1 {
		t.Errorf("reached %d times", reached.Load())
	}
}

// TestGrants: a capability restricts the host that is dialed, whatever the call says.
func TestGrants(t *testing.T) {
	for _, op := range open(t, Config{}).Ops() {
		for _, c := range []struct {
			args         map[string]any
			host, method string
		}{
			{map[string]any{"url": "https://API.example.com./x"}, "api.example.com", "GET"},
			{map[string]any{"url": "https://evil.example", "host": "api.example.com", "method": "delete"}, "evil.example", "DELETE"},
			{map[string]any{"url": "https://api.example.com@evil.example", "host": "api.example.com"}, "", "GET"},
			{map[string]any{"url": []any{"https://api.example.com"}, "method": []any{"GET"}}, "", ""},
			{map[string]any{}, "", "GET"},
		} {
			got := op.Derive(c.args)
			if got["host"] != c.host || got["method"] != c.method {
				t.Errorf("%s %v: %v", op.Name, c.args, got)
			}
			if _, there := got["host"]; there && c.host == "" {
				t.Errorf("%s %v: a host that there is not is matched as if there were", op.Name, c.args)
			}
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s, _ := serve(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	p := local(b, Config{})
	b.Run("port", func(b *testing.B) {
		for b.Loop() {
			if _, err := get(b, p, s.URL); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("net-http", func(b *testing.B) {
		defer http.DefaultClient.CloseIdleConnections()
		for b.Loop() {
			resp, err := http.Get(s.URL)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
	})
}

package httpport

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

func TestHost(t *testing.T) {
	for rawURL, want := range map[string]string{
		"https://api.example.com/v1?q=1#f":     "api.example.com",
		"HTTPS://API.Example.COM":              "api.example.com",
		"https://api.example.com.":             "api.example.com",
		"https://api.example.com:443/":         "api.example.com",
		"http://api.example.com:80/":           "api.example.com",
		"http://api.example.com:443/":          "api.example.com:443",
		"https://api.example.com:80/":          "api.example.com:80",
		"https://api.example.com:08443/":       "api.example.com:8443",
		"https://api.example.com:/":            "api.example.com",
		"https://bücher.example":               "xn--bcher-kva.example",
		"https://BÜCHER.example":               "xn--bcher-kva.example",
		"https://xn--bcher-kva.example":        "xn--bcher-kva.example",
		"https://ａｐｉ.example。com":              "api.example.com",
		"https://api.example.com。":             "api.example.com",
		"https://аpi.example.com":              "xn--pi-6kc.example.com", // another letter than it looks
		"http://my_host:8080":                  "my_host:8080",
		"http://127.0.0.1:8080/":               "127.0.0.1:8080",
		"http://１２７.0.0.1/":                    "127.0.0.1",
		"http://127.0.0.1./":                   "127.0.0.1",
		"http://[::1]/":                        "[::1]",
		"http://[0:0:0:0:0:0:0:1]:80/":         "[::1]",
		"http://[::ffff:127.0.0.1]:81/":        "127.0.0.1:81",
		"http://[::FFFF:7f00:1]/":              "127.0.0.1",
		"http://[2001:DB8::1]/":                "[2001:db8::1]",
		"http://localhost/@evil.example":       "localhost",
		"http://localhost?@evil.example":       "localhost",
		"http://localhost#@evil.example":       "localhost",
		"https://allowed.example.evil.example": "allowed.example.evil.example",
	} {
		if got, err := Host(rawURL); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", rawURL, got, err, want)
		}
	}
}

// badURLs are what two readers could take for different places, or no web at all.
var badURLs = []string{
	"", " ", "api.example.com", "//api.example.com", "/path", "http:", "http://", "http:///path", "http://:80/", "https:api.example.com", "http:/api.example.com",
	"file:///etc/passwd", "ftp://api.example.com", "gopher://api.example.com:70/_", "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/", "data:text/plain,x", "javascript:alert(1)", "ws://api.example.com",
	"http://allowed@evil.example/", "http://allowed:secret@evil.example/", "http://@evil.example/", "http://user:secret@allowed/",
	`http://allowed\@evil.example/`, `http://allowed\.evil.example`, "http://allowed%40evil.example", "http://allowed%2eexample", "http://allowed%00.evil.example", "http://allowed%0d%0aHost:evil",
	"http://allowed\r\nHost: evil/", "http://allowed\t.evil.example", "http://allowed\x00.evil.example", "http://a b/", "http://a\u00a0b/", "http://a;b/", "http://a,b/", "http://a|b/",
	"http://api.example.com..", "http://.api.example.com", "http://api..example.com", "http://.", "http://..", "http://" + strings.Repeat("a", 64) + ".com", "http://" + strings.Repeat("a.", 200) + "com",
	"http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/", "http://127.0.1/", "http://0/", "http://127.0.0.1.1/", "http://127.0.0.01/", "http://256.0.0.1/", "http://1.2.3.0x4/", "http://a.0x/",
	"http://[::1%25eth0]/", "http://[fe80::1%25lo]/", "http://[::1", "http://::1/", "http://[127.0.0.1]/", "http://[::1]evil/", "http://[v1.x]/", "http://[]/", "http://[localhost]/",
	"http://api.example.com:0/", "http://api.example.com:65536/", "http://api.example.com:-1/", "http://api.example.com:http/", "http://api.example.com:80:80/", "http://api.example.com:８０/",
	"http://ex\u00adample.com\u200b\u202e/", "http://xn--a.example", "http://xn--/", "https://host/" + strings.Repeat("x", 8<<10),
}

func TestBadURLs(t *testing.T) {
	for _, rawURL := range badURLs {
		got, err := Host(rawURL)
		if kernel.CodeOf(err) != kernel.CodeArguments {
			t.Errorf("%q: %q, %v", rawURL, got, err)
			continue
		}
		if text := err.Error(); strings.Contains(text, "secret") || strings.ContainsAny(text, "\r\n\x00\t") {
			t.Errorf("%q: the error says %q", rawURL, text)
		}
	}
}

// A canonical host is canonical: it means itself.
func FuzzHost(f *testing.F) {
	for _, rawURL := range badURLs {
		f.Add(rawURL)
	}
	for _, rawURL := range []string{"https://bücher.example:8443/x", "http://[::ffff:1.2.3.4]", "http://a_b.c."} {
		f.Add(rawURL)
	}
	f.Fuzz(func(t *testing.T, rawURL string) {
		host, err := Host(rawURL)
		if err != nil {
			return
		}
		for _, scheme := range []string{"http://", "https://"} {
			again, err := Host(scheme + host)
			if err != nil || again != host && again+":80" != host && again+":443" != host {
				t.Errorf("%q is %q, and that is %q (%v)", rawURL, host, again, err)
			}
		}
		if strings.ContainsAny(host, "/@?#\\ %*") || host != strings.ToLower(host) {
			t.Errorf("%q is %q", rawURL, host)
		}
	})
}

func TestSpecialAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"0.0.0.0": "unspecified", "0.1.2.3": "unspecified", "::": "unspecified", "127.0.0.1": "loopback", "127.255.255.254": "loopback", "::1": "loopback",
		"10.0.0.1": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private", "fc00::1": "private", "fdff::1": "private", "fec0::1": "private",
		"169.254.169.254": "a metadata service", "fd00:ec2::254": "a metadata service", "100.100.100.200": "a metadata service", "168.63.129.16": "a metadata service", "192.0.0.192": "a metadata service",
		"169.254.1.1": "link-local", "fe80::1": "link-local", "100.64.0.1": "carrier-grade NAT", "100.127.255.255": "carrier-grade NAT",
		"224.0.0.1": "multicast", "239.255.255.255": "multicast", "ff02::1": "multicast",
		"64:ff9b::7f00:1": "translated", "64:ff9b::8.8.8.8": "translated", "64:ff9b:1::1": "translated", "2002:7f00:1::": "translated", "192.88.99.1": "translated", "2001::1": "translated", "::127.0.0.1": "translated", "::7f00:1": "translated",
		"192.0.0.8": "reserved", "192.0.2.1": "reserved", "198.18.0.1": "reserved", "198.51.100.1": "reserved", "203.0.113.1": "reserved", "240.0.0.1": "reserved", "255.255.255.255": "reserved",
		"2001:db8::1": "reserved", "100::1": "reserved", "5f00::1": "reserved", "3fff::1": "reserved", "4000::1": "reserved", "::ffff:0:127.0.0.1": "reserved", "2001:10::1": "reserved",
		"8.8.8.8": "", "1.1.1.1": "", "172.32.0.1": "", "100.128.0.1": "", "169.253.1.1": "", "11.0.0.1": "", "126.255.255.255": "", "128.0.0.1": "", "223.255.255.255": "", "2606:4700::1111": "", "2a00:1450::1": "", "2001:4860:4860::8888": "",
	} {
		got := specialAddress(netip.MustParseAddr(text))
		if got != want && (want == "" || !strings.HasPrefix(got, want)) {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	open, err := New(Config{AllowAddresses: []string{"127.0.0.0/8", "::1", "fd00::/8"}})
	if err != nil {
		t.Fatal(err)
	}
	closed, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		network, address string
		open, closed     bool
	}{
		{"tcp4", "127.0.0.1:80", true, false}, {"tcp6", "[::1]:80", true, false}, {"tcp6", "[::ffff:127.0.0.1]:80", true, false}, {"tcp6", "[::2]:80", false, false},
		{"tcp6", "[fd00:ec2::254]:80", true, false}, {"tcp4", "10.0.0.1:80", false, false}, {"tcp6", "[::ffff:10.0.0.1]:80", false, false}, {"tcp6", "[::ffff:169.254.169.254]:80", false, false},
		{"tcp6", "[fe80::1%eth0]:80", false, false}, {"tcp4", "8.8.8.8:443", true, true}, {"tcp6", "[2606:4700::1111]:443", true, true}, {"tcp6", "[::ffff:8.8.8.8]:443", true, true},
		{"unix", "/var/run/docker.sock", false, false}, {"udp4", "8.8.8.8:53", false, false}, {"tcp4", "localhost:80", false, false}, {"tcp4", "", false, false},
	} {
		for p, want := range map[*Port]bool{open: c.open, closed: c.closed} {
			if err := p.checkAddress(c.network, c.address, nil); (err == nil) != want {
				t.Errorf("%s %s, with loopback allowed %v: %v", c.network, c.address, p == open, err)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		config map[string]any
		says   string
	}{
		{map[string]any{"host": []any{"a"}}, "it takes hosts, allow_addresses"},
		{map[string]any{"hosts": "a"}, "hosts"},
		{map[string]any{"hosts": []any{"https://api.example.com"}}, "without a scheme"},
		{map[string]any{"hosts": []any{"api.example.com/v1"}}, "without a scheme and a path"},
		{map[string]any{"hosts": []any{"https://*.example.com"}}, "no pattern of a host"},
		{map[string]any{"hosts": []any{"*.example.com/v1"}}, "no pattern of a host"},
		{map[string]any{"hosts": []any{"*@example.com"}}, "no pattern of a host"},
		{map[string]any{"hosts": []any{""}}, "no host"},
		{map[string]any{"hosts": []any{"127.1"}}, "no host"},
		{map[string]any{"allow_addresses": []any{"10.0.0.0/33"}}, "no prefix"},
		{map[string]any{"allow_addresses": []any{"localhost"}}, "no prefix"},
		{map[string]any{"allow_addresses": []any{""}}, "no prefix"},
		{map[string]any{"timeout": -1}, "timeout is -1"},
		{map[string]any{"timeout": 601}, "at most 600"},
		{map[string]any{"timeout": "30s"}, "it takes"},
		{map[string]any{"max_redirects": 21}, "at most 20"},
		{map[string]any{"max_response_bytes": -1}, "from 1 to"},
		{map[string]any{"max_request_bytes": 1 << 40}, "from 1 to"},
	} {
		if _, err := FromConfig(c.config); kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want %q", c.config, err, c.says)
		}
	}
}

// TestHostPatterns: what an operator lists is what is meant, and nothing near it.
func TestHostPatterns(t *testing.T) {
	p, err := New(Config{Hosts: []string{"API.example.com.", "*.Example.org", "localhost:8080", "bücher.example", "[::FFFF:127.0.0.1]:81", "**.deep.example"}})
	if err != nil {
		t.Fatal(err)
	}
	for rawURL, want := range map[string]bool{
		"https://api.example.com/": true, "http://API.EXAMPLE.COM.:80/": true, "https://api.example.com:8443/": false, "https://xapi.example.com": false, "https://api.example.com.evil.example": false, "https://api-example.com": false, "https://apixexample.com": false,
		"https://a.example.org": true, "https://a.b.example.org": false, "https://example.org": false, "https://evilexample.org": false, "https://a.example.org:8080": false,
		"http://localhost:8080": true, "http://localhost": false, "http://localhost:80801": false, "https://xn--bcher-kva.example": true, "https://bucher.example": false,
		"http://127.0.0.1:81": true, "http://127.0.0.1": false, "https://a.b.deep.example": true, "https://deep.example": false, "https://*.example.org": false,
	} {
		host, err := Host(rawURL)
		if err != nil {
			if want {
				t.Error(err)
			}
			continue
		}
		if err := p.checkHost(host); (err == nil) != want || err != nil && kernel.CodeOf(err) != kernel.CodeDenied {
			t.Errorf("%s: %v", rawURL, err)
		}
	}
}

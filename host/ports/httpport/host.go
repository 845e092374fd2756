package httpport

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// Host returns the host of a URL as capabilities and the operator's hosts
// restrict it; package httpport's documentation says how it is written. A URL that
// has none, or that two readers could take for different hosts, is an error.
func Host(rawURL string) (string, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return "", err
	}
	return u.Host, nil
}

// parseURL reads a URL and makes its host canonical, so that what is checked is
// what is dialed.
func parseURL(rawURL string) (*url.URL, error) {
	fail := func(why string) error {
		return &kernel.Error{Code: kernel.CodeArguments, What: "the URL " + kernel.Quote(withoutUser(rawURL)) + " cannot be requested", Why: why, Fix: "write https://host/path"}
	}
	if len(rawURL) > maxURL {
		return nil, fail(fmt.Sprintf("it has %d bytes, the limit is %d", len(rawURL), maxURL))
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fail("it is none")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fail("its scheme is neither http nor https")
	}
	if u.User != nil {
		return nil, fail("it holds credentials, which belong into a header")
	}
	if u.Opaque != "" || u.Host == "" {
		return nil, fail("it has no host")
	}
	name, err := canonicalName(u.Hostname())
	if err != nil {
		return nil, fail(err.Error())
	}
	port, err := canonicalPort(u.Scheme, u.Port())
	if err != nil {
		return nil, fail(err.Error())
	}
	u.Host, u.Fragment, u.RawFragment = name+port, "", ""
	return u, nil
}

// withoutUser hides what stands before an @, which may be a password.
func withoutUser(rawURL string) string {
	if at := strings.LastIndexByte(rawURL, '@'); at >= 0 {
		return "…" + rawURL[at:]
	}
	return rawURL
}

// names maps a host's name as a browser does before it looks it up.
var names = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.StrictDomainName(false))

// canonicalName returns the one way to write a host: a name, or an address.
func canonicalName(host string) (string, error) {
	if strings.Contains(host, ":") {
		return canonicalAddress(host)
	}
	name, err := names.ToASCII(host)
	name = strings.TrimSuffix(name, ".") // after the mapping, which makes it of other dots, too
	if err != nil || !utf8.ValidString(host) || len(name) > maxName || slices.ContainsFunc(strings.Split(name, "."), isNoLabel) {
		return "", fmt.Errorf("its host is no name")
	}
	if strings.ContainsFunc(name, isOdd) {
		return "", fmt.Errorf("its host is no name")
	}
	// What ends in a number is an address to some readers, however it is written.
	if isNumber(name[strings.LastIndexByte(name, '.')+1:]) {
		return canonicalAddress(name)
	}
	return name, nil
}

// maxName and maxLabel are DNS's limits.
const (
	maxName  = 253
	maxLabel = 63
)

func isNoLabel(label string) bool { return label == "" || len(label) > maxLabel }

func isOdd(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_.", r)
}

// isNumber reports whether a label is a number in any base that resolvers take.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func canonicalAddress(host string) (string, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return "", fmt.Errorf("its host is no address in the usual form")
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String(), nil
	}
	return "[" + addr.String() + "]", nil
}

// canonicalPort returns ":port", or "" for the scheme's own.
func canonicalPort(scheme, port string) (string, error) {
	if port == "" {
		return "", nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("its port is not from 1 to 65535")
	}
	if scheme == "http" && n == 80 || scheme == "https" && n == 443 {
		return "", nil
	}
	return ":" + strconv.FormatUint(n, 10), nil
}

// hostPattern makes a pattern of the operator's canonical, as far as it is no pattern.
func hostPattern(pattern string) (string, error) {
	lower := strings.ToLower(pattern)
	if strings.Contains(pattern, "*") {
		if strings.Trim(lower, "abcdefghijklmnopqrstuvwxyz0123456789-_.*:[]") != "" || strings.ContainsAny(lower, "/@ ") {
			return "", configError("write the host as in api.example.com or *.example.com:8443", "hosts: %s is no pattern of a host", kernel.Quote(pattern))
		}
		return lower, nil
	}
	u, err := parseURL("https://" + pattern)
	if err != nil || u.Path != "" || u.RawQuery != "" {
		return "", configError("write the host as in api.example.com or localhost:8080, without a scheme and a path", "hosts: %s is no host", kernel.Quote(pattern))
	}
	return u.Host, nil
}

func configError(fix, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the http port's configuration: " + fmt.Sprintf(format, args...), Fix: fix}
}

// checkHost refuses a host that the operator did not list.
func (p *Port) checkHost(host string) error {
	if slices.ContainsFunc(p.hosts, func(pattern string) bool { return abi.Match(pattern, host) }) {
		return nil
	}
	why := "hosts of the http port does not list it"
	if len(p.hosts) == 0 {
		why = "hosts of the http port lists none"
	}
	return &kernel.Error{Code: kernel.CodeDenied, What: "requests to " + kernel.Quote(host) + " are denied", Why: why, Fix: "if it is to be reached, add it under hosts of the http port"}
}

package httpport

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

// special are the addresses that are dialed only if the operator lists them, by
// what they are, from IANA's registries of special-purpose addresses. Of
// IPv6, what is not in 2000::/3 is special, too.
var special = []struct {
	what     string
	prefixes string
}{
	{"a metadata service", "169.254.169.254/32 100.100.100.200/32 168.63.129.16/32 192.0.0.192/32 fd00:ec2::254/128 fd20:ce::254/128"},
	{"unspecified", "0.0.0.0/8 ::/128"},
	{"loopback", "127.0.0.0/8 ::1/128"},
	{"private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"},
	{"link-local", "169.254.0.0/16 fe80::/10"},
	{"carrier-grade NAT", "100.64.0.0/10"},
	{"multicast", "224.0.0.0/4 ff00::/8"},
	{"translated to another one", "64:ff9b::/96 64:ff9b:1::/48 2002::/16 192.88.99.0/24 2001::/32 ::/96"},
	{"reserved", "192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 " +
		"2001::/23 2001:db8::/32 2620:4f:8000::/48 3fff::/20"},
}

// unicast is what IPv6 has of public addresses.
var unicast = netip.MustParsePrefix("2000::/3")

// specialAddress says what an address is that is not a public one, or "".
func specialAddress(addr netip.Addr) string {
	for _, kind := range special {
		for text := range strings.FieldsSeq(kind.prefixes) {
			if netip.MustParsePrefix(text).Contains(addr) {
				return kind.what
			}
		}
	}
	if addr.Is6() && !unicast.Contains(addr) {
		return "reserved"
	}
	return ""
}

// addressError is that an address may not be dialed. It does not name the address,
// which a guest could learn a network's plan from.
type addressError struct{ what string }

func (e *addressError) Error() string { return "its address is " + e.what }

// checkAddress is the dialer's Control: it sees each address that is about to be
// connected to, however it was come by.
func (p *Port) checkAddress(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return &addressError{"of the network " + network}
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &addressError{fmt.Sprintf("none (%v)", err)}
	}
	addr := ap.Addr().WithZone("").Unmap()
	for _, prefix := range p.allowed {
		if prefix.Contains(addr) {
			return nil
		}
	}
	if what := specialAddress(addr); what != "" {
		return &addressError{what}
	}
	return nil
}

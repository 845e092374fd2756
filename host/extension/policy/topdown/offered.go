package topdown

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/extension/policy"
)

// guard refuses arguments, in Rego's text, that would cost too much: OPA's
// builtins are not interrupted by a deadline.
type guard func(args []string) error

const (
	small = 16 << 10  // bytes, for what may take a time that grows with the square
	large = 256 << 10 // bytes, for what takes a time that grows with the text
)

// atMost bounds the arguments' bytes together.
func atMost(most int) guard {
	return func(args []string) error {
		n := 0
		for _, a := range args {
			n += len(a)
		}
		if n > most {
			return fmt.Errorf("its arguments have %d bytes, and the limit is %d", n, most)
		}
		return nil
	}
}

// both applies guards in turn.
func both(guards ...guard) guard {
	return func(args []string) error {
		for _, g := range guards {
			if err := g(args); err != nil {
				return err
			}
		}
		return nil
	}
}

// replaced bounds what regex.replace can give: between any two bytes of the text
// it may put the replacement, and that may name the whole match every two bytes.
func replaced(args []string) error {
	if most := len(args[0]) * len(args[2]); most > 16*maxResult {
		return fmt.Errorf("it could give %d bytes, and the limit is %d", most, 16*maxResult)
	}
	return nil
}

// copies bounds the copies of a json.patch: each may double the document.
func copies(args []string) error {
	const most = 8
	if n := strings.Count(args[1], `"copy"`); n > most {
		return fmt.Errorf("it has %d copies, and the limit is %d", n, most)
	}
	return nil
}

// hosts bounds the addresses that net.cidr_expand lists.
func hosts(args []string) error {
	const most = 12 // bits
	_, length, ok := strings.Cut(strings.Trim(args[0], `"`), "/")
	bits, err := strconv.Atoi(length)
	if !ok || err != nil {
		return nil //nolint:nilerr // it is undefined
	}
	size := 32
	if strings.Contains(args[0], ":") {
		size = 128
	}
	if size-bits > most {
		return fmt.Errorf("a /%d has 2^%d addresses, and the limit is 2^%d", bits, size-bits, most)
	}
	return nil
}

// noExponent refuses numbers such as 1e999999999, which are short and large.
func noExponent(args []string) error {
	if huge.MatchString(strings.Join(args, " ")) {
		return fmt.Errorf("it has a number with an exponent of more than three digits")
	}
	return nil
}

var huge = regexp.MustCompile(`[0-9.][eE][+-]?[0-9]{4,}`)

// sameEverywhere refuses the time zone "Local", which differs between machines.
func sameEverywhere(args []string) error {
	if strings.Contains(strings.Join(args, " "), `"Local"`) {
		return fmt.Errorf("the time zone Local is not offered")
	}
	return nil
}

// offered are OPA's builtins that policies may call, with their guards.
var offered = map[string]guard{
	"base64url.encode_no_pad": atMost(large), "cast_array": atMost(large), "cast_boolean": atMost(large), "cast_null": atMost(large),
	"cast_object": atMost(large), "cast_set": atMost(large), "cast_string": atMost(large),

	"crypto.hmac.equal": atMost(large), "crypto.hmac.md5": atMost(large), "crypto.hmac.sha1": atMost(large), "crypto.hmac.sha256": atMost(large),
	"crypto.hmac.sha512": atMost(large), "crypto.md5": atMost(large), "crypto.sha1": atMost(large),
	"crypto.x509.parse_certificate_request": atMost(small), "crypto.x509.parse_certificates": atMost(small),

	"glob.quote_meta": atMost(large), "hex.decode": atMost(large), "hex.encode": atMost(large), "indexof_n": atMost(small),

	"graphql.is_valid": atMost(small), "graphql.parse": atMost(small), "graphql.parse_and_verify": atMost(small), "graphql.parse_query": atMost(small),
	"graphql.parse_schema": atMost(small), "graphql.schema_is_valid": atMost(small),

	"io.jwt.decode": atMost(small), "io.jwt.decode_verify": atMost(small), "io.jwt.verify_eddsa": atMost(small),
	"io.jwt.verify_es256": atMost(small), "io.jwt.verify_es384": atMost(small), "io.jwt.verify_es512": atMost(small),
	"io.jwt.verify_hs256": atMost(small), "io.jwt.verify_hs384": atMost(small), "io.jwt.verify_hs512": atMost(small),
	"io.jwt.verify_ps256": atMost(small), "io.jwt.verify_ps384": atMost(small), "io.jwt.verify_ps512": atMost(small),
	"io.jwt.verify_rs256": atMost(small), "io.jwt.verify_rs384": atMost(small), "io.jwt.verify_rs512": atMost(small),

	"json.marshal_with_options": atMost(small), "json.patch": both(atMost(small), copies), "object.subset": atMost(small),

	"net.cidr_contains_matches": atMost(small), "net.cidr_expand": hosts, "net.cidr_is_valid": atMost(small), "net.cidr_merge": atMost(small),

	"numbers.range_step": both(noExponent, steps), "rand.intn": both(atMost(small), noExponent),
	"uuid.parse": atMost(small), "uuid.rfc4122": atMost(small),

	"regex.find_n": atMost(large), "regex.replace": both(atMost(large), replaced), "regex.split": atMost(large), "regex.template_match": atMost(small),
	"semver.compare": atMost(small), "semver.is_valid": atMost(small), "strings.split_n": atMost(large),

	"time.diff": sameEverywhere, "time.format": both(atMost(small), sameEverywhere), "time.parse_ns": both(atMost(small), sameEverywhere),
	"units.parse": both(atMost(small), noExponent), "units.parse_bytes": both(atMost(small), noExponent),

	"uri.is_valid": atMost(large), "uri.parse": atMost(large), "urlquery.decode": atMost(large), "urlquery.decode_object": atMost(large),
	"urlquery.encode": atMost(large), "urlquery.encode_object": atMost(large),

	"yaml.is_valid": atMost(small), "yaml.marshal": atMost(small), "yaml.unmarshal": atMost(small),
}

// steps bounds the numbers that numbers.range_step lists.
func steps(args []string) error {
	const most = 100_000
	var n [3]float64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseFloat(args[i], 64); err != nil {
			return nil //nolint:nilerr // it is undefined
		}
	}
	if n[2] > 0 && max(n[0]-n[1], n[1]-n[0])/n[2] > most {
		return fmt.Errorf("it would give more than %d numbers", most)
	}
	return nil
}

// WhyRefused says why a builtin of OPA's is not offered.
func WhyRefused(name string) string {
	switch name {
	case "crypto.parse_private_keys", "crypto.x509.parse_keypair", "crypto.x509.parse_rsa_private_key",
		"io.jwt.encode_sign", "io.jwt.encode_sign_raw", "providers.aws.sign_req":
		return "it takes a private key, and a policy that can hold one can leak it"
	case "crypto.x509.parse_and_verify_certificates", "crypto.x509.parse_and_verify_certificates_with_options":
		return "it reads the clock of the host, not the time of the evaluation"
	case "graph.reachable_paths", "regex.globs_match":
		return "its cost grows exponentially with its arguments, and the host cannot interrupt it"
	case "json.match_schema", "json.verify_schema":
		return "a schema that refers to itself takes the host's stack, and the host cannot interrupt it"
	case "strings.render_template":
		return "a template can loop, and the host cannot interrupt it"
	case "rego.parse_module":
		return "a decision needs no parser of Rego, whose cost has no bound"
	}
	return policy.WhyRefused(name)
}

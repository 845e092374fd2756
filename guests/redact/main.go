// Command redact is a hook that takes personal data out of a node's input before
// the node, and so any model behind it, sees it. It replaces e-mail addresses,
// payment card numbers, IBANs, phone numbers and given names with [EMAIL],
// [CARD], [IBAN], [PHONE] and [NAME].
//
// Configuration:
//
//	fields      JSON pointers below /input; every string and number below them
//	            is looked at. Default: ["/input"].
//	names_from  JSON pointers to strings, lists or objects, such as
//	            /input/customer/name: their words are redacted wherever they occur.
//
// It fails closed: what it cannot read or patch makes the verdict an error. It
// counts what it replaced with metrics.count {name: "fields_redacted"}.
//
// Not covered: the names of members, words that only context makes personal
// (street addresses, user names), and numbers written out in words.
package main

import (
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/nodebefore"
)

func init() { nodebefore.Handle(redact) }

func main() {}

func redact(c *hexdag.NodeCall) hexdag.Verdict {
	fields, err := pointers("/fields")
	if err != nil {
		return hexdag.FailWith(err)
	}
	if fields == nil {
		fields = []string{"/input"}
	}
	r := redactor{doc: c.Payload()}
	if r.names, err = givenNames(r.doc); err != nil {
		return hexdag.FailWith(err)
	}
	for _, field := range fields {
		if field != "/input" && !strings.HasPrefix(field, "/input/") {
			return hexdag.FailWith(configError("fields: " + field + " is not below /input"))
		}
		if err := r.walk(field); err != nil {
			return hexdag.FailWith(err)
		}
	}
	if r.count == 0 {
		return hexdag.Continue()
	}
	count(r.count)
	return hexdag.Replace()
}

// count reports how much was replaced. That a metric is lost is no reason to stop.
func count(n int64) {
	_, err := hexdag.NewCall("metrics.count").String("/name", "fields_redacted").Int("/delta", n).Do()
	if err != nil {
		hexdag.Log(hexdag.LevelWarn, err.Error())
	}
}

type configError string

func (e configError) Error() string { return "config: " + string(e) }

// pointers reads a list of JSON pointers from the configuration, nil if it is not there.
func pointers(path string) ([]string, error) {
	config := hexdag.Config()
	switch config.Kind(path) {
	case hexdag.KindAbsent:
		return nil, nil
	case hexdag.KindArray:
	default:
		return nil, configError(path[1:] + " is not a list")
	}
	list := make([]string, 0, config.Len(path))
	keys, err := config.Keys(path)
	for _, key := range keys {
		pointer := config.String(path + "/" + key)
		if !strings.HasPrefix(pointer, "/") {
			return nil, configError(path[1:] + " holds what is not a JSON pointer")
		}
		list = append(list, pointer)
	}
	return list, err
}

// givenNames collects the words to redact from the fields that names_from lists.
func givenNames(doc hexdag.Doc) ([]name, error) {
	from, err := pointers("/names_from")
	var names []name
	for i := 0; i < len(from); i++ {
		v, err := doc.Get(from[i])
		if err != nil {
			return nil, err
		}
		switch v.Kind {
		case hexdag.KindString:
			names = appendNames(names, v.Text)
		case hexdag.KindArray, hexdag.KindObject:
			keys, err := doc.Keys(from[i])
			if err != nil {
				return nil, err
			}
			for _, key := range keys {
				from = append(from, from[i]+"/"+hexdag.Escape(key))
			}
		}
	}
	return names, err
}

// redactor redacts one document.
type redactor struct {
	doc   hexdag.Doc
	names []name
	count int64
}

// walk redacts every string and number at or below path.
func (r *redactor) walk(path string) error {
	switch r.doc.Kind(path) {
	case hexdag.KindString, hexdag.KindNumber:
		return r.redact(path)
	case hexdag.KindArray, hexdag.KindObject:
		keys, err := r.doc.Keys(path)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := r.walk(path + "/" + hexdag.Escape(key)); err != nil {
				return err
			}
		}
	case hexdag.KindAbsent:
		_, err := r.doc.Get(path) // a path that is too deep to read looks absent too
		return err
	}
	return nil
}

// redact redacts the string or number at path. A number becomes a string.
func (r *redactor) redact(path string) error {
	v, err := r.doc.Get(path)
	if err != nil {
		return err
	}
	text, n := replace(v.Text, r.names)
	if n > 0 {
		r.doc.SetString(path, text)
		r.count += int64(n)
	}
	return nil
}

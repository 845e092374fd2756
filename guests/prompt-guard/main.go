// Command prompt-guard is a hook before nodes that looks for attempts to talk a model
// out of its instructions, in every text of the node's input.
//
// Configuration, all of it optional:
//
//	fields     JSON pointers below /input; every text below them is looked at.
//	           Default: ["/input"].
//	threshold  the score from which an input is denied; 3
//	action     "deny", or "log": write a warning and let it pass; "deny"
//
// Each sign that is found adds its weight to the score, once; see signs.go. Before the
// search, texts are brought to lower case, look-alike letters to Latin ones, invisible
// characters are removed (and are a sign themselves) and white space is one space.
//
// These are heuristics: they find what is said in known words, in English, German,
// French and Spanish, and can be talked around. What a model may do is for governance
// and grants to limit; this hook makes the common attempts visible.
//
// It fails closed: what it cannot read makes the verdict an error. It asks for no
// capability.
package main

import (
	"strconv"
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/nodebefore"
)

func init() { nodebefore.Handle(guard) }

func main() {}

func guard(c *hexdag.NodeCall) hexdag.Verdict {
	fields, threshold, action, err := settings()
	if err != nil {
		return hexdag.Fail("bad_config", err.Error())
	}
	found := search{doc: c.Payload()}
	for _, field := range fields {
		if err := found.walk(field); err != nil {
			return hexdag.FailWith(err)
		}
	}
	if found.score == 0 {
		return hexdag.Continue()
	}
	why := "score " + strconv.FormatInt(found.score, 10) + ": " + strings.Join(found.what, "; ")
	if found.score >= threshold && action == "deny" {
		return hexdag.Deny("prompt_injection", "the input looks like an attempt to change a model's instructions, "+why)
	}
	hexdag.Log(hexdag.LevelWarn, "signs of prompt injection, "+why)
	return hexdag.Continue()
}

type configError string

func (e configError) Error() string { return "config: " + string(e) }

func settings() (fields []string, threshold int64, action string, err error) {
	config := hexdag.Config()
	threshold, action, fields = config.Int("/threshold", 3), config.String("/action"), []string{"/input"}
	if action == "" {
		action = "deny"
	}
	switch {
	case threshold < 1:
		return nil, 0, "", configError("threshold is not a positive integer")
	case action != "deny" && action != "log":
		return nil, 0, "", configError("action is deny or log")
	case config.Kind("/fields") == hexdag.KindAbsent:
		return fields, threshold, action, nil
	case config.Kind("/fields") != hexdag.KindArray:
		return nil, 0, "", configError("fields is not a list")
	}
	fields = nil
	for i := range config.Len("/fields") {
		field := config.String("/fields/" + strconv.Itoa(i))
		if field != "/input" && !strings.HasPrefix(field, "/input/") {
			return nil, 0, "", configError("fields holds what is not a JSON pointer below /input")
		}
		fields = append(fields, field)
	}
	return fields, threshold, action, nil
}

// search collects the signs in one document.
type search struct {
	doc   hexdag.Doc
	score int64
	what  []string
	seen  [len(signs) + 1]bool
}

// walk looks at every text at or below path.
func (s *search) walk(path string) error {
	v, err := s.doc.Get(path)
	if err != nil {
		return err
	}
	switch v.Kind {
	case hexdag.KindString:
		s.text(path, v.Text)
	case hexdag.KindArray, hexdag.KindObject:
		keys, err := s.doc.Keys(path)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := s.walk(path + "/" + hexdag.Escape(key)); err != nil {
				return err
			}
		}
	}
	return nil
}

// text notes each sign where it is found first.
func (s *search) text(path, text string) {
	plain, hidden := normalize(text)
	if hidden >= maxHidden {
		s.note(len(signs), path, "hidden characters", 3)
	}
	for i, sign := range signs {
		if sign.in(plain) {
			s.note(i, path, sign.name, sign.weight)
		}
	}
}

func (s *search) note(i int, path, name string, weight int64) {
	if s.seen[i] {
		return
	}
	s.seen[i] = true
	s.score += weight
	s.what = append(s.what, name+" in "+path)
}

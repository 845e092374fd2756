package main

import "strings"

// sign is what attempts have in common: a part of each of its groups, in this order
// and near to each other.
type sign struct {
	name   string
	weight int64
	groups [][]string
}

// near is how many bytes may be between the parts of a sign.
const near = 40

// maxHidden is how many invisible characters are taken for a message that people do
// not see; emoji and some scripts have a few.
const maxHidden = 8

var signs = [...]sign{
	{"an order to drop the instructions", 3, [][]string{
		{"ignore", "disregard", "forget", "override", "bypass", "ignoriere", "vergiss", "oublie", "ignora", "olvida"},
		{"previous", "prior", "above", "earlier", "all", "your", "the system", "vorherig", "bisherig", "alle", "precedent", "anterior"},
		{"instruction", "prompt", "rule", "direction", "guideline", "anweisung", "regel", "consigne", "instruccion"},
	}},
	{"a question for the system prompt", 3, [][]string{
		{"reveal", "show", "print", "repeat", "output", "tell me", "zeige", "montre", "muestra"},
		{"system prompt", "initial prompt", "hidden prompt", "your instructions", "your prompt", "systemprompt", "system-prompt", "prompt systeme", "prompt del sistema"},
	}},
	{"markup of a chat's roles", 3, [][]string{{"<|im_start|>", "<|im_end|>", "<|system|>", "<|endoftext|>", "[inst]", "<<sys>>", "[/inst]", "<system>", "### system", "### instruction", "begin system message"}}},
	{"another role", 2, [][]string{
		{"you are now", "you are no longer", "from now on you", "act as", "pretend to be", "pretend you", "du bist jetzt", "ab jetzt bist du", "tu es maintenant", "ahora eres"},
	}},
	{"a mode without rules", 3, [][]string{
		{"developer mode", "dan mode", "do anything now", "jailbreak", "god mode", "without any restrictions", "no restrictions", "unfiltered mode"},
	}},
	{"a claim to be the operator", 2, [][]string{{"system:", "system message:", "new instructions:", "admin override", "this is your developer", "message from openai", "message from anthropic", "neue anweisung:"}}},
	{"an order to keep it secret", 2, [][]string{
		{"do not", "don't", "never", "without"},
		{"tell", "mention", "inform", "telling", "informing"},
		{"the user", "anyone", "the operator", "your developer"},
	}},
	{"an order to send data away", 2, [][]string{
		{"send", "post", "forward", "exfiltrate", "upload"},
		{"conversation", "credentials", "password", "api key", "secret", "system prompt", "chat history"},
		{"http://", "https://", "to this address", "@"},
	}},
}

// in reports whether the groups' parts are there one after the other.
func (s sign) in(text string) bool { return follows(text, s.groups, true) }

func follows(text string, groups [][]string, first bool) bool {
	if len(groups) == 0 {
		return true
	}
	for _, part := range groups[0] {
		rest := text
		for {
			i := strings.Index(rest, part)
			if i < 0 || !first && i > near {
				break
			}
			rest = rest[i+len(part):]
			if follows(rest[:min(len(rest), window(groups))], groups[1:], false) {
				return true
			}
		}
	}
	return false
}

// window bounds what is searched behind a part: a long text takes no longer than its length.
func window(groups [][]string) int { return len(groups) * (near + 32) }

// normalize returns the text in lower case with single spaces, look-alikes as Latin
// letters and without invisible characters, and how many of those there were.
func normalize(text string) (plain string, hidden int) {
	var b strings.Builder
	b.Grow(len(text))
	space := true
	for _, r := range strings.ToLower(text) {
		if isHidden(r) {
			hidden++
			continue
		}
		if r <= ' ' || r == 0xa0 || r >= 0x2000 && r <= 0x200a || r == 0x3000 {
			if !space {
				b.WriteByte(' ')
			}
			space = true
			continue
		}
		space = false
		b.WriteRune(latin(r))
	}
	return b.String(), hidden
}

// isHidden reports whether a character shows nothing: zero-width ones, those that
// change the direction, variation selectors and tags.
func isHidden(r rune) bool {
	switch {
	case r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x2069, r >= 0xfe00 && r <= 0xfe0f,
		r == 0xad, r == 0xfeff, r >= 0xe0000 && r <= 0xe01ef:
		return true
	}
	return false
}

// alike are letters that look like others, each with what it looks like.
var alike = func() map[rune]rune {
	m := map[rune]rune{}
	from := []rune("аеорсухіјѕһԁԛԝαορνικ" + "àáâãäåèéêëìíîïòóôõöùúûüçñ")
	to := []rune("aeopcyxijshdqwaopvik" + "aaaaaaeeeeiiiiooooouuuucn")
	for i, r := range from {
		m[r] = to[i]
	}
	return m
}()

func latin(r rune) rune {
	if r < 0x80 {
		return r
	}
	if r >= 0xff01 && r <= 0xff5e { // full-width forms
		r -= 0xfee0
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	if l, ok := alike[r]; ok {
		return l
	}
	return r
}

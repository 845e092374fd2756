package hexdag

import "strings"

// Escape returns a member's name as a reference token of a JSON pointer.
func Escape(name string) string {
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

func unescape(token string) string {
	if strings.IndexByte(token, '~') < 0 {
		return token
	}
	return strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
}

// splitTokens reads what the import keys writes: "/a/b~1c".
func splitTokens(text string, count int) []string {
	tokens := make([]string, 0, count)
	for text != "" {
		token := text[1:]
		end := strings.IndexByte(token, '/')
		if end < 0 {
			end = len(token)
		}
		tokens = append(tokens, unescape(token[:end]))
		text = token[end:]
	}
	return tokens
}

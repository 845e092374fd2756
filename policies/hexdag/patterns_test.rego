package hexdag.patterns_test

import data.hexdag.patterns

test_matches[name] if {
	some name, tc in {
		"the same": {"pattern": "ab", "text": "ab", "want": true},
		"another": {"pattern": "ab", "text": "abc", "want": false},
		"a beginning": {"pattern": "ab*", "text": "abc", "want": true},
		"all of it": {"pattern": "ab*", "text": "ab", "want": true},
		"less than it": {"pattern": "ab*", "text": "a", "want": false},
		"anything": {"pattern": "*", "text": "", "want": true},
		"a star in the text": {"pattern": "a**", "text": "a*b", "want": true},
		"a star within": {"pattern": "a*b", "text": "axb", "want": false},
		"runes": {"pattern": "größe*", "text": "größer", "want": true},
	}
	found := {patterns.text(tc.pattern): true}
	matches := object.get(found, patterns.part(tc.text, patterns.length(tc.pattern)), false)
	matches == tc.want
}

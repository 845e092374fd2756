# METADATA
# title: Patterns, looked up
# description: |
#   Finds which of many patterns, as ports.matches has them, match a text, without going
#   through them all. They are sorted into objects by their lengths:
#   [{"length": -1, "of": {"a": x}}, {"length": 1, "of": {"b": y}}] is for the patterns "a"
#   and "b*". A pattern matches text where of[substring(text, 0, length)] is defined.
package hexdag.patterns

# METADATA
# title: How much of a text a pattern is compared with
# description: -1 is all of it.
length(pattern) := count(pattern) - 1 if endswith(pattern, "*")

length(pattern) := -1 if not endswith(pattern, "*")

# METADATA
# title: What it is compared to
text(pattern) := trim_suffix(pattern, "*")

# METADATA
# title: The part of a text that a pattern of a length is compared with
part(text, n) := substring(text, 0, n) if n >= 0

part(text, -1) := text

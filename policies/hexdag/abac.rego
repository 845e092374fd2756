# METADATA
# title: Attributes
# description: |
#   Decides by conditions on attributes. data.abac.rules is a list of
#   {id, effect, action, resource, when: [condition]}, where effect is allow, approve or
#   deny and a condition is {of: path, is: operator, value} or, to compare with another
#   attribute, {of: path, is: operator, as: path}. A path is ["subject", "department"]:
#   the request, in which subject has data.abac.subjects[id] beside its own members and
#   resource data.abac.resources["type:id"]. The operators are eq, ne, in, has, prefix,
#   lt, le, gt and ge; the last four take numbers alone. All conditions have to hold.
#
#   What cannot be told is not to the subject's advantage: a condition on an attribute
#   that is not there fails in a rule that allows, and holds in one that does not.
package hexdag.abac

import data.hexdag.ports

# METADATA
# title: The policy, for hexdag.combine
rules := {"allow": allow, "approve": approve, "deny": deny}

# METADATA
# title: Rules that allow the request
allow contains reason(rule) if {
	some rule in data.abac.rules
	rule.effect == "allow"
	concerns(rule)
	every condition in object.get(rule, "when", []) {
		holds(condition)
	}
}

# METADATA
# title: Rules that send the request to a person
approve contains reason(rule) if {
	some rule in data.abac.rules
	rule.effect == "approve"
	concerns(rule)
	every condition in object.get(rule, "when", []) {
		may_hold(condition)
	}
}

# METADATA
# title: Rules that deny the request
# description: A rule whose effect is none of the three is taken for one that denies.
deny contains reason(rule) if {
	some rule in data.abac.rules
	not object.get(rule, "effect", "deny") in {"allow", "approve"}
	concerns(rule)
	every condition in object.get(rule, "when", []) {
		may_hold(condition)
	}
}

reason(rule) := {"id": concat(".", ["abac", rule.id]), "msg": object.get(rule, "msg", concat(" ", ["rule", rule.id]))}

concerns(rule) if {
	ports.matches(object.get(rule, "action", "*"), input.action.name)
	ports.matches(object.get(rule, "resource", "*"), ports.resource)
}

subject := object.union(object.get(data.abac, ["subjects", input.subject.id], {}), input.subject)

resource := object.union(object.get(data.abac, ["resources", ports.resource], {}), input.resource)

attribute(["subject"]) := subject

attribute(path) := object.get(subject, array.slice(path, 1, count(path)), null) if path[0] == "subject"

attribute(path) := object.get(resource, array.slice(path, 1, count(path)), null) if path[0] == "resource"

attribute(path) := object.get(input, path, null) if path[0] in {"action", "context"}

# An attribute that is not there is null: no condition has a value of null.
operand(condition) := condition.value if not condition.as

operand(condition) := attribute(condition.as) if condition.as

holds(condition) if {
	left := attribute(condition.of)
	right := operand(condition)
	left != null
	right != null
	compare(condition.is, left, right)
}

may_hold(condition) if holds(condition)

may_hold(condition) if not told(condition)

# An operator that there is none of, or that does not take such values, tells nothing.
told(condition) if {
	left := attribute(condition.of)
	right := operand(condition)
	left != null
	right != null
	takes(condition.is, left, right)
}

takes(operator, _, _) if operator in {"eq", "ne"}

takes("in", _, right) if is_collection(right)

takes("has", left, _) if is_collection(left)

takes("prefix", left, right) if {
	is_string(left)
	is_string(right)
}

takes(operator, left, right) if {
	operator in {"lt", "le", "gt", "ge"}
	is_number(left)
	is_number(right)
}

is_collection(v) if is_array(v)

is_collection(v) if is_object(v)

compare("eq", left, right) if left == right

compare("ne", left, right) if left != right

compare("in", left, right) if left in right

compare("has", left, right) if right in left

compare("prefix", left, right) if {
	takes("prefix", left, right)
	startswith(left, right)
}

compare(operator, left, right) if {
	takes(operator, left, right)
	ordered(operator, left, right)
}

ordered("lt", left, right) if left < right

ordered("le", left, right) if left <= right

ordered("gt", left, right) if left > right

ordered("ge", left, right) if left >= right

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

import data.hexdag.patterns
import data.hexdag.ports

# METADATA
# title: The policy, for hexdag.combine
rules := {"allow": allow, "approve": approve, "deny": deny}

# METADATA
# title: Rules that allow the request
# description: |
#   Of these and of those below, the first rule says it. The second comes to the same by
#   the index that the host makes of data.abac when it loads it, if there is one.
allow contains reason(rule) if {
	not index
	some rule in data.abac.rules
	effect(rule) == "allow"
	concerns(rule)
	all_hold(rule)
}

allow contains reason(rule) if {
	some [n, actions] in index.allow
	some [m, resources] in actions[patterns.part(input.action.name, n)]
	some rule in resources[patterns.part(ports.resource, m)]
	all_hold(rule)
}

# METADATA
# title: Rules that send the request to a person
approve contains reason(rule) if {
	not index
	some rule in data.abac.rules
	effect(rule) == "approve"
	concerns(rule)
	all_may_hold(rule)
}

approve contains reason(rule) if {
	some [n, actions] in index.approve
	some [m, resources] in actions[patterns.part(input.action.name, n)]
	some rule in resources[patterns.part(ports.resource, m)]
	all_may_hold(rule)
}

# METADATA
# title: Rules that deny the request
# description: A rule whose effect is none of the three is taken for one that denies.
deny contains reason(rule) if {
	not index
	some rule in data.abac.rules
	effect(rule) == "deny"
	concerns(rule)
	all_may_hold(rule)
}

deny contains reason(rule) if {
	some [n, actions] in index.deny
	some [m, resources] in actions[patterns.part(input.action.name, n)]
	some rule in resources[patterns.part(ports.resource, m)]
	all_may_hold(rule)
}

index := data.materialized["hexdag/abac/index"]

# METADATA
# title: The effect of a rule
effect(rule) := rule.effect if rule.effect in ["allow", "approve"]

effect(rule) := "deny" if not object.get(rule, "effect", "deny") in ["allow", "approve"]

all_hold(rule) if {
	every condition in object.get(rule, "when", []) {
		holds(condition)
	}
}

all_may_hold(rule) if {
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

attribute(path) := object.get(whose(path[0]), array.slice(path, 1, count(path)), null)

whose("subject") := subject

whose("resource") := resource

whose("action") := input.action

whose("context") := input.context

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

takes(operator, _, _) if operator in ["eq", "ne"]

takes("in", _, right) if is_collection(right)

takes("has", left, _) if is_collection(left)

takes("prefix", left, right) if {
	is_string(left)
	is_string(right)
}

takes(operator, left, right) if {
	operator in ["lt", "le", "gt", "ge"]
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
	is_number(left)
	is_number(right)
	ordered(operator, left, right)
}

ordered("lt", left, right) if left < right

ordered("le", left, right) if left <= right

ordered("gt", left, right) if left > right

ordered("ge", left, right) if left >= right

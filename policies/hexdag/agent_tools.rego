# METADATA
# title: Tools of agents
# description: |
#   Says who may call which tool with which arguments. data.tools is
#   {name: {principals, args: {argument: limits}, approve: {argument: limits}}}, where
#   limits are any of {type, one_of, prefix, matches, min, max, max_length, optional}. A
#   tool that is not there, an argument that is not, and one outside "args" are denied;
#   one outside "approve" needs a person. The principal "*" is anybody.
package hexdag.agent_tools

import data.hexdag.ports

# METADATA
# title: The policy, for hexdag.combine
rules := {"allow": allow, "approve": approve, "deny": deny}

tool := data.tools[input.action.name]

# METADATA
# title: The arguments
args := object.get(input.action, "args", {})

# METADATA
# title: Allowed calls
allow contains {"id": "tools.allowed", "msg": concat(" ", [input.action.name, "may be called like this"])} if {
	tool
	count(deny) == 0
}

# METADATA
# title: Calls that need a person
approve contains {"id": "tools.approve", "msg": concat(" ", ["the argument", name, "is more than the agent may decide:", which])} if {
	some name, limits in object.get(tool, "approve", {})
	some which in broken(name, limits)
}

# METADATA
# title: Denied calls
deny contains {"id": "tools.unknown", "msg": concat(" ", ["there is no tool", input.action.name])} if not tool

deny contains {"id": "tools.principal", "msg": concat(" ", [input.action.name, "is not for this principal"])} if {
	tool
	not for_principal
}

deny contains {"id": "tools.arguments", "msg": "the arguments are no object"} if not is_object(args)

deny contains {"id": "tools.unexpected", "msg": concat(" ", ["there is no argument", name])} if {
	tool
	is_object(args)
	some name, _ in args
	not name in object.keys(object.get(tool, "args", {}))
}

deny contains {"id": "tools.missing", "msg": concat(" ", ["the argument", name, "is missing"])} if {
	some name, limits in tool.args
	not name in object.keys(args)
	not limits.optional
}

deny contains {"id": "tools.argument", "msg": concat(" ", ["the argument", name, "is outside its limits:", which])} if {
	some name, limits in tool.args
	name in object.keys(args)
	some which in broken(name, limits)
}

for_principal if "*" in tool.principals

for_principal if ports.principal in tool.principals

# The names of the limits that an argument does not keep. A limit that cannot be
# checked, as of a kind that there is not, is broken.
broken(name, limits) := {which |
	some which, limit in limits
	which != "optional"
	not keeps(which, limit, object.get(args, name, null))
}

keeps("type", limit, v) if type_name(v) == limit

keeps("one_of", limit, v) if v in limit

keeps("prefix", limit, v) if {
	is_string(v)
	startswith(v, limit)
	not contains(v, "..")
}

keeps("matches", limit, v) if {
	is_string(v)
	regex.match(concat("", ["^(?:", limit, ")$"]), v)
}

keeps("min", limit, v) if {
	is_number(v)
	is_number(limit)
	v >= limit
}

keeps("max", limit, v) if {
	is_number(v)
	is_number(limit)
	v <= limit
}

keeps("max_length", limit, v) if {
	not is_number(v)
	is_number(limit)
	count(v) <= limit
}

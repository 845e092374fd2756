# METADATA
# title: Approvals with four eyes
# description: |
#   Sends calls to people, and sees to it that they are others than those who ask.
#   data.approvals has calls: a list of {id, action, resource, argument, over, group,
#   count, ttl_s}, of which a call with an argument is concerned where the argument is no number
#   up to "over", and groups: {name: [person]}. Where fewer others than "count" (1)
#   are in the group, the call is denied.
#
#   It also answers whether somebody may give an approval: the action approvals.approve
#   with the arguments {group, requested_by: [person], approved_by: [person]}.
package hexdag.approvals

import data.hexdag.ports

# METADATA
# title: The policy, for hexdag.combine
rules := {"allow": allow, "approve": approve, "deny": deny, "obligations": obligations}

# METADATA
# title: The entries that concern the request
concerned contains call if {
	some call in data.approvals.calls
	ports.matches(call.action, input.action.name)
	ports.matches(object.get(call, "resource", "*"), ports.resource)
	not within(call)
}

within(call) if {
	amount := input.action.args[call.argument]
	is_number(amount)
	is_number(call.over)
	amount <= call.over
}

# METADATA
# title: Who may approve, without those who ask
others(call) := [person | some person in sort({p | some p in data.approvals.groups[call.group]}); not person in ports.people]

needed(call) := object.get(call, "count", 1)

# METADATA
# title: Calls that need a person
approve contains {"id": concat(".", ["approvals", call.id]), "msg": concat(" ", [input.action.name, "needs an approval of the group", call.group])} if {
	some call in concerned
}

obligations contains obligation(call) if some call in concerned

obligation(call) := object.union(
	{"type": "approval", "by": others(call), "count": needed(call)},
	object.filter(call, {"ttl_s"}),
)

# METADATA
# title: Denials
deny contains {"id": concat(".", ["approvals", call.id]), "msg": concat(" ", ["too few others are in the group", call.group])} if {
	some call in concerned
	not enough(call)
}

enough(call) if count(others(call)) >= needed(call)

# Giving an approval.

giving if input.action.name == "approvals.approve"

deny contains {"id": "approvals.module", "msg": "only a person can approve"} if {
	giving
	ports.is_module
}

deny contains {"id": "approvals.group", "msg": "the approver is not in the group"} if {
	giving
	not in_group
}

deny contains {"id": "approvals.own", "msg": "nobody approves what they asked for"} if {
	giving
	not other("requested_by")
}

deny contains {"id": "approvals.twice", "msg": "nobody approves twice"} if {
	giving
	not other("approved_by")
}

in_group if input.subject.id in data.approvals.groups[input.action.args.group]

# The list has to be there: without one nobody can tell.
other(name) if {
	people := input.action.args[name]
	is_array(people)
	not input.subject.id in people
}

# METADATA
# title: Approvals that may be given
allow contains {"id": "approvals.given", "msg": "the approver is another person of the group"} if {
	giving
	count(deny) == 0
}

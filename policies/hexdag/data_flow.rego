# METADATA
# title: Data flow
# description: |
#   Keeps untrusted input from side effects, and secrets inside. The host tells the labels
#   of what goes into a call as input.context.labels.integrity ("trusted" or "untrusted") and
#   .confidentiality ("public", "internal" or "secret"), and where these come from as
#   input.context.sources; without a label, or with another, what goes in is taken for untrusted
#   and secret. data.flow has outside: patterns of the actions or resources ("type:id") that
#   leave the house, endorse: a list of {action, resource, principals} of side effects that
#   untrusted input may have, approve: the same for those that it may have if a person
#   approves, declassify: the same for secrets, and harmless: patterns of actions without side
#   effects beside those that only read.
package hexdag.data_flow

import data.hexdag.ports

# METADATA
# title: The policy, for hexdag.combine
rules := {"deny": deny, "approve": approve}

default untrusted := true

untrusted := false if input.context.labels.integrity == "trusted"

default secret := true

secret := false if input.context.labels.confidentiality in {"public", "internal"}

# METADATA
# title: The call changes something
default side_effect := true

side_effect := false if ports.read_only

side_effect := false if {
	some pattern in data.flow.harmless
	ports.matches(pattern, input.action.name)
}

# METADATA
# title: The call leaves the house
default outside := false

outside if {
	some pattern in data.flow.outside
	some name in {input.action.name, ports.resource}
	ports.matches(pattern, name)
}

# METADATA
# title: Denials
deny contains {"id": "flow.untrusted", "msg": concat(" ", ["untrusted input must not reach", input.action.name, "without endorsement"])} if {
	untrusted
	side_effect
	not exempt(endorsements)
	not exempt(approvals)
}

# METADATA
# title: What a person decides
approve contains {"id": "flow.approve", "msg": concat(" ", ["untrusted input reaches", input.action.name, concat("", ["(", concat(", ", sources), ")"])])} if {
	untrusted
	side_effect
	not exempt(endorsements)
	exempt(approvals)
}

default sources := []

sources := input.context.sources if is_array(input.context.sources)

deny contains {"id": "flow.secret", "msg": concat(" ", ["a secret must not leave through", input.action.name])} if {
	secret
	outside
	not exempt(declassifications)
}

# Without data there are none. To name data.flow in a negation would make the whole
# rule undefined where it is not there.
default endorsements := []

endorsements := data.flow.endorse

default approvals := []

approvals := data.flow.approve

default declassifications := []

declassifications := data.flow.declassify

exempt(list) if {
	some one in list
	ports.matches(one.action, input.action.name)
	ports.matches(object.get(one, "resource", "*"), ports.resource)
	some principal in one.principals
	principal in {"*", ports.principal}
}

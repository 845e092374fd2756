# METADATA
# title: Purpose
# description: |
#   Binds data to purposes. data.purposes has resources: a list of {resource, purposes},
#   where a resource is "type:id", with a * at its end for any rest, and pipelines:
#   {name: [purpose]}, the purposes that a pipeline may state. A run states its purpose as
#   the label "purpose". What is bound to purposes by several entries is for those that
#   all of them have. It allows nothing itself.
package hexdag.purpose

import data.hexdag.ports

# METADATA
# title: The policy, for hexdag.combine
rules := {"deny": deny}

# METADATA
# title: The purpose that the run states
default stated := ""

stated := input.context.labels.purpose if is_string(input.context.labels.purpose)

of_pipeline if stated in data.purposes.pipelines[input.context.pipeline]

# METADATA
# title: The entries that bind the resource
binding contains entry if {
	some entry in data.purposes.resources
	ports.matches(entry.resource, ports.resource)
}

# METADATA
# title: Denials
deny contains {"id": "purpose.none", "msg": concat(" ", [ports.resource, "may be used for stated purposes only"])} if {
	count(binding) > 0
	stated == ""
}

deny contains {"id": "purpose.other", "msg": concat(" ", [ports.resource, "may not be used for the purpose", stated])} if {
	stated != ""
	some entry in binding
	not stated in entry.purposes
}

deny contains {"id": "purpose.pipeline", "msg": concat(" ", ["this pipeline may not state the purpose", stated])} if {
	stated != ""
	not of_pipeline
}

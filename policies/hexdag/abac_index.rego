# METADATA
# title: Attributes, worked out when data is loaded
# description: |
#   The rules of data.abac by their effect, where the patterns of their actions, and below
#   each those of resources, are looked up as hexdag.patterns has it. There is no index if
#   a pattern is no text.
package materialize.hexdag.abac

import data.hexdag.abac
import data.hexdag.patterns

index[effect] := [[n, {action: [[m, resources] | some m, resources in rows] | some action, rows in actions}] |
	some n, actions in object.get(rules, effect, {})
] if {
	every rule in data.abac.rules {
		is_string(object.get(rule, "action", "*"))
		is_string(object.get(rule, "resource", "*"))
	}
	some effect in ["allow", "approve", "deny"]
}

rules[abac.effect(rule)][patterns.length(action)][patterns.text(action)][patterns.length(resource)][patterns.text(resource)] contains rule if {
	some rule in data.abac.rules
	action := object.get(rule, "action", "*")
	resource := object.get(rule, "resource", "*")
}

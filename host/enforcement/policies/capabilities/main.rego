# METADATA
# title: Roles, and tools by their arguments
package hexdag.authz

import data.hexdag.agent_tools
import data.hexdag.combine
import data.hexdag.rbac

# METADATA
# entrypoint: true
decision := combine.decision([rbac.rules, tools])

default tools := {}

tools := agent_tools.rules if input.resource.type == "tool"

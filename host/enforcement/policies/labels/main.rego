# METADATA
# title: Roles, tools by their arguments, and data flow
package hexdag.authz

import data.hexdag.agent_tools
import data.hexdag.combine
import data.hexdag.data_flow
import data.hexdag.rbac

# METADATA
# entrypoint: true
decision := combine.decision([rbac.rules, tools, data_flow.rules])

default tools := {}

tools := agent_tools.rules if input.resource.type == "tool"

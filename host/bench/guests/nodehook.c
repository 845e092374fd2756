// A hook around nodes that reads one field of what the node is given.
#include "../../../guests/sdk/c/hexdag.h"

static char buf[256];

HEXDAG_EXPORT(node_before) {
    return hexdag_get_text(HEXDAG_INPUT, "/input/x", buf, sizeof buf) < 0 ? HEXDAG_ERROR : HEXDAG_CONTINUE;
}

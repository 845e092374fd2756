/* output-guard is a hook after nodes and port calls that denies what is too large
 * to go on: a node's output, or a port's reply with its body.
 *
 * Configuration
 *
 *     max_bytes  of JSON text, and of the body; 65536
 *
 * It reads lengths and copies nothing. It asks for no capability. */
#include "../sdk/c/hexdag.h"

static uint64_t guard(const char *what, const char *path) {
    int64_t max = 65536, size, body;
    if (hexdag_kind(HEXDAG_CONFIG, "/max_bytes") != HEXDAG_ABSENT &&
        (!hexdag_get_int(HEXDAG_CONFIG, "/max_bytes", &max) || max < 1))
        return hexdag_fail("bad_config", "config: max_bytes is not a positive integer");

    size = hexdag_length(HEXDAG_INPUT, path);
    if (hexdag_kind(HEXDAG_INPUT, path) == HEXDAG_STRING) size += 2; /* its quotes */
    body = hexdag_body(HEXDAG_INPUT, 0, 0, 0);
    if (body < 0) return hexdag_fail("unreadable", "the size of the body cannot be read");
    if (size <= max && body <= max) return HEXDAG_CONTINUE;

    char buf[128];
    struct hexdag_text t = {buf, sizeof buf, 0, 0};
    hexdag_add(&t, "the ");
    hexdag_add(&t, what);
    hexdag_add(&t, size > max ? " has " : "'s body has ");
    hexdag_add_int(&t, size > max ? size : body);
    hexdag_add(&t, " bytes, max_bytes is ");
    hexdag_add_int(&t, max);
    return hexdag_deny("too_large", buf);
}

HEXDAG_EXPORT(node_after) { return guard("output", "/output"); }

HEXDAG_EXPORT(port_after) { return guard("reply", "/reply"); }

/* toolbox has the tools that its configuration says, so that a test can have an agent
 * with real ones:
 *
 *     tools.NAME.calls    what the tool does, in order, of which the last reply is its
 *                         result: {op, head?, args?}. head is the call as JSON; with args,
 *                         the tool's arguments are put into it under that name.
 *
 * As the body of a node it does what the tool "node" does, with the node's input for
 * arguments. What a call answers other than ok ends it with an error that says so. */
#include "../../../guests/sdk/c/hexdag.h"

static char tool[128], path[256], op[128], text[1 << 14], head[1 << 15], args[1 << 14];

/* at builds the path of a member of the i-th call. */
static const char *at(uint32_t i, const char *member) {
    char digit[2] = {(char)('0' + i % 10), 0};
    struct hexdag_text p = {path, sizeof path, 0, 0};
    hexdag_add(&p, "/tools");
    hexdag_add_token(&p, tool);
    hexdag_add(&p, "/calls");
    if (member) {
        hexdag_add_token(&p, digit);
        hexdag_add_token(&p, member);
    }
    return path;
}

/* request writes what the i-th call is called with, and returns its length. */
static uint32_t request(uint32_t i, const char *given) {
    struct hexdag_text h = {head, sizeof head, 0, 0};
    int32_t fixed = hexdag_get(HEXDAG_CONFIG, at(i, "head"), HEXDAG_OBJECT, text, sizeof text);
    if (fixed < 2) fixed = 2, text[0] = '{', text[1] = '}';
    hexdag_add_bytes(&h, text, (uint32_t)fixed - 1); /* without its } */
    if (hexdag_get_text(HEXDAG_CONFIG, at(i, "args"), text, sizeof text) > 0 && hexdag_get(HEXDAG_INPUT, given, HEXDAG_OBJECT, args, sizeof args) > 2) {
        if (fixed > 2) hexdag_add(&h, ",");
        hexdag_add(&h, "\"");
        hexdag_add(&h, text);
        hexdag_add(&h, "\":");
        hexdag_add(&h, args);
    }
    hexdag_add(&h, "}");
    return h.len;
}

static uint64_t act(const char *given) {
    uint32_t count = hexdag_count(HEXDAG_CONFIG, at(0, 0));
    if (count == 0) return hexdag_fail("toolbox", "there is no such tool");
    for (uint32_t i = 0; i < count; i++) {
        if (hexdag_get_text(HEXDAG_CONFIG, at(i, "op"), op, sizeof op) < 0) return hexdag_fail("toolbox", "a call has no op");
        uint32_t len = request(i, given);
        if (hexdag_call(op, hexdag_strlen(op), head, len, 0, 0) != HEXDAG_OK) {
            hexdag_get_text(HEXDAG_REPLY, "/message", text, sizeof text);
            return hexdag_fail("call", text);
        }
    }
    int64_t r = hexdag_field(HEXDAG_REPLY, "", 0, head, sizeof head);
    if (r > 0 && (uint32_t)r <= sizeof head) hexdag_set(HEXDAG_OUTPUT, "", 0, (uint32_t)(r >> 32), head, (uint32_t)r);
    return HEXDAG_CONTINUE;
}

HEXDAG_EXPORT(tool_call) {
    if (hexdag_get_text(HEXDAG_INPUT, "/tool", tool, sizeof tool) < 0) return hexdag_fail("toolbox", "no tool is named");
    return act("/args");
}

HEXDAG_EXPORT(node_run) {
    struct hexdag_text t = {tool, sizeof tool, 0, 0};
    hexdag_add(&t, "node");
    return act("/input");
}

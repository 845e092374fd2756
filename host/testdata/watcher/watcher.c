/* watcher observes events, and subscribes to them:
 *
 *     node_run  calls op with args of its configuration; the reply is its output
 *     observe   publishes the event's data on "seen.<tag>", if the configuration has a tag,
 *               and decides verdict
 */
#include "../../../guests/sdk/c/hexdag.h"

static char op[256], text[1 << 14], topic[64] = "seen.";

HEXDAG_EXPORT(node_run) {
    if (hexdag_get_text(HEXDAG_CONFIG, "/op", op, sizeof op) < 0) return HEXDAG_CONTINUE;
    int32_t args = hexdag_get(HEXDAG_CONFIG, "/args", HEXDAG_OBJECT, text, sizeof text);
    if (hexdag_call(op, hexdag_strlen(op), text, args < 0 ? 0 : (uint32_t)args, 0, 0) != HEXDAG_OK) {
        hexdag_get_text(HEXDAG_REPLY, "/message", text, sizeof text);
        return hexdag_fail("call", text);
    }
    int64_t r = hexdag_field(HEXDAG_REPLY, "", 0, text, sizeof text);
    if (r > 0) hexdag_set(HEXDAG_OUTPUT, "", 0, (uint32_t)(r >> 32), text, (uint32_t)r);
    return HEXDAG_CONTINUE;
}

HEXDAG_EXPORT(observe) {
    int64_t verdict = HEXDAG_CONTINUE;
    hexdag_get_int(HEXDAG_CONFIG, "/verdict", &verdict);
    if (hexdag_get_text(HEXDAG_CONFIG, "/tag", topic + 5, sizeof topic - 5) < 0) return (uint64_t)verdict;
    int64_t r = hexdag_field(HEXDAG_INPUT, "/event/data", 11, text, sizeof text);
    hexdag_set_text(HEXDAG_REQUEST, "/topic", topic);
    if (r > 0) hexdag_set(HEXDAG_REQUEST, "/data", 5, (uint32_t)(r >> 32), text, (uint32_t)r);
    if (hexdag_call("eventbus.publish", 16, 0, 0, 0, 0) != HEXDAG_OK) {
        hexdag_get_text(HEXDAG_REPLY, "/message", text, sizeof text);
        return hexdag_fail("publish", text);
    }
    return (uint64_t)verdict;
}

/* puppet does what its configuration says, so that a test needs no guest of its own:
 *
 *     log      a line to log
 *     loop     true: never return
 *     op, args a port operation to call; a status other than ok makes the verdict error
 *     output   the output document; without it, the operation's reply
 *     verdict  the number to return
 */
#include "../../../guests/sdk/c/hexdag.h"

static char op[256], text[1 << 14];

/* copy writes a field as the output document. */
static void copy(uint32_t doc, const char *path) {
    int64_t r = hexdag_field(doc, path, hexdag_strlen(path), text, sizeof text);
    if (r > 0) hexdag_set(HEXDAG_OUTPUT, "", 0, (uint32_t)(r >> 32), text, (uint32_t)r);
}

static uint64_t act(void) {
    int64_t verdict = HEXDAG_CONTINUE;
    if (hexdag_get_text(HEXDAG_CONFIG, "/log", text, sizeof text) >= 0) hexdag_log_text(HEXDAG_INFO, text);
    if (hexdag_kind(HEXDAG_CONFIG, "/loop") == HEXDAG_BOOL)
        for (;;) __asm__ volatile("");
    if (hexdag_get_text(HEXDAG_CONFIG, "/op", op, sizeof op) >= 0) {
        int32_t args = hexdag_get(HEXDAG_CONFIG, "/args", HEXDAG_OBJECT, text, sizeof text);
        if (hexdag_call(op, hexdag_strlen(op), text, args < 0 ? 0 : (uint32_t)args, 0, 0) != HEXDAG_OK) {
            hexdag_get_text(HEXDAG_REPLY, "/message", text, sizeof text);
            return hexdag_fail("call", text);
        }
        copy(HEXDAG_REPLY, "");
    }
    copy(HEXDAG_CONFIG, "/output");
    hexdag_get_int(HEXDAG_CONFIG, "/verdict", &verdict);
    return (uint64_t)verdict;
}

HEXDAG_EXPORT(node_run) { return act(); }
HEXDAG_EXPORT(node_before) { return act(); }
HEXDAG_EXPORT(tool_call) { return act(); }

/* A model for tests: it answers the last message as its configuration says,
 * {"answers": [[prompt, answer]]}, or never, with {"stall": true}. */
#include "../../../../../../guests/sdk/c/hexdag.h"

static char prompt[64 * 1024], asked[64 * 1024], answer[256 * 1024];

/* at makes a path of a prefix, a number and a rest. */
static const char *at(char *buf, uint32_t cap, const char *prefix, uint32_t n, const char *rest) {
    struct hexdag_text t = {buf, cap, 0, 0};
    hexdag_add(&t, prefix);
    hexdag_add_int(&t, n);
    hexdag_add(&t, rest);
    return buf;
}

HEXDAG_EXPORT(port_call) {
    char path[64], op[32];
    uint32_t messages = hexdag_count(HEXDAG_INPUT, "/args/messages"), answers = hexdag_count(HEXDAG_CONFIG, "/answers");
    if (hexdag_get_text(HEXDAG_INPUT, "/op", op, sizeof op) < 0 || !hexdag_equal(op, "llm.complete")) return hexdag_fail("unsupported", "it completes alone");
    if (hexdag_kind(HEXDAG_CONFIG, "/stall") != HEXDAG_ABSENT)
        for (volatile int i = 0;; i++) {}
    if (messages == 0 || hexdag_get_text(HEXDAG_INPUT, at(path, sizeof path, "/args/messages/", messages - 1, "/content"), asked, sizeof asked) < 0)
        return hexdag_fail("invalid", "there is no message, or it is too long");
    for (uint32_t i = 0; i < answers; i++) {
        if (hexdag_get_text(HEXDAG_CONFIG, at(path, sizeof path, "/answers/", i, "/0"), prompt, sizeof prompt) < 0 || !hexdag_equal(prompt, asked)) continue;
        int64_t r = hexdag_field(HEXDAG_CONFIG, path, hexdag_strlen(at(path, sizeof path, "/answers/", i, "/1")), answer, sizeof answer);
        if (r < 0 || hexdag_set(HEXDAG_OUTPUT, "/content", 8, HEXDAG_STRING, answer, (uint32_t)r) != HEXDAG_OK) return hexdag_fail("limit", "the answer is too long");
        return HEXDAG_CONTINUE;
    }
    return hexdag_fail("not_found", "nobody told what to answer");
}

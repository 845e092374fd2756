/* A model that has the model answer that it is over. It reports as used what its
 * configuration says, if it says something. */
#include "../../../guests/sdk/c/hexdag.h"

static char text[64 * 1024];

/* copy writes a document as another, or a part of it. */
static int copy(uint32_t from, const char *path, uint32_t to, const char *into) {
    int64_t r = hexdag_field(from, path, hexdag_strlen(path), text, sizeof text);
    uint32_t kind = (uint32_t)(r >> 32);
    return r > 0 && (uint32_t)r <= sizeof text && hexdag_set(to, into, hexdag_strlen(into), kind, text, (uint32_t)r) == HEXDAG_OK;
}

HEXDAG_EXPORT(port_call) {
    char op[32], code[32];
    if (hexdag_get_text(HEXDAG_INPUT, "/op", op, sizeof op) < 0 || !copy(HEXDAG_INPUT, "/args", HEXDAG_REQUEST, "")) return hexdag_fail("invalid", "there is nothing to relay");
    if (hexdag_call_port(op) != HEXDAG_OK) return hexdag_fail(hexdag_get_text(HEXDAG_REPLY, "/code", code, sizeof code) < 0 ? "failed" : code, "the model below failed");
    if (!copy(HEXDAG_REPLY, "", HEXDAG_OUTPUT, "")) return hexdag_fail("failed", "the answer is too long");
    if (hexdag_kind(HEXDAG_CONFIG, "/usage") != HEXDAG_ABSENT && !copy(HEXDAG_CONFIG, "/usage", HEXDAG_OUTPUT, "/usage")) return hexdag_fail("failed", "usage");
    return HEXDAG_CONTINUE;
}

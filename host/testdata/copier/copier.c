/* A node that copies the artifact /input/id as /input/name, piece by piece, with every byte turned into upper case. With /input/stop it
 * ends before it has closed what it writes. */
#include "../../../guests/sdk/c/hexdag.h"

static char id[128], name[128], from[32], to[32], piece[48 * 1024];

static uint64_t failed(void) {
    static char message[512], code[64];
    hexdag_get_text(HEXDAG_REPLY, "/message", message, sizeof message);
    return hexdag_fail(hexdag_get_text(HEXDAG_REPLY, "/code", code, sizeof code) < 0 ? "failed" : code, message);
}

HEXDAG_EXPORT(node_run) {
    int stop = 0, end = 0;
    hexdag_get_bool(HEXDAG_INPUT, "/input/stop", &stop);
    if (hexdag_get_text(HEXDAG_INPUT, "/input/id", id, sizeof id) < 0 || hexdag_get_text(HEXDAG_INPUT, "/input/name", name, sizeof name) < 0) return hexdag_fail("invalid", "give id and name");
    hexdag_set_text(HEXDAG_REQUEST, "/id", id);
    if (hexdag_call_port("artifacts.open") != HEXDAG_OK) return failed();
    hexdag_get_text(HEXDAG_REPLY, "/handle", from, sizeof from);
    hexdag_set_text(HEXDAG_REQUEST, "/name", name);
    hexdag_set_int(HEXDAG_REQUEST, "/size", 8 << 20);
    if (hexdag_call_port("artifacts.create") != HEXDAG_OK) return failed();
    hexdag_get_text(HEXDAG_REPLY, "/handle", to, sizeof to);
    while (!end) {
        hexdag_set_text(HEXDAG_REQUEST, "/handle", from);
        hexdag_set_int(HEXDAG_REQUEST, "/limit", sizeof piece);
        if (hexdag_call_port("artifacts.read") != HEXDAG_OK) return failed();
        hexdag_get_bool(HEXDAG_REPLY, "/end", &end);
        int64_t n = hexdag_read_body(HEXDAG_REPLY, 0, piece, sizeof piece);
        for (int64_t i = 0; i < n; i++) if (piece[i] >= 'a' && piece[i] <= 'z') piece[i] -= 'a' - 'A';
        hexdag_set_text(HEXDAG_REQUEST, "/handle", to);
        if (n > 0 && hexdag_call_body("artifacts.write", piece, (uint32_t)n) != HEXDAG_OK) return failed();
    }
    if (stop) return HEXDAG_CONTINUE;
    hexdag_set_text(HEXDAG_REQUEST, "/handle", to);
    if (hexdag_call_port("artifacts.close") != HEXDAG_OK) return failed();
    hexdag_get_text(HEXDAG_REPLY, "/id", id, sizeof id);
    hexdag_set_text(HEXDAG_OUTPUT, "/id", id);
    return HEXDAG_CONTINUE;
}

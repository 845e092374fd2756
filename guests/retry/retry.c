/* retry is a hook after port calls that has a call which failed tried again,
 * later each time: after delay_ms, then twice that, up to max_delay_ms.
 *
 * Configuration, all of it optional
 *
 *     attempts      how often a call is made at most, 2 to 10; 3
 *     delay_ms      the first delay; 200
 *     max_delay_ms  the longest; 10000
 *     jitter        true: each delay is between its half and the whole, at random, so
 *                   that calls which failed together do not come again together; true
 *     also          operations that may be done twice, beside those known
 *
 * Only what may be done twice is: a call that timed out may have been done. The
 * operations known to be safe are in known() below; of requests by HTTP those
 * whose method is safe. A port that says "retry" has not begun, so that is tried
 * again whatever the operation.
 *
 * /attempt tells it how often the call was made. It asks for random.read, for the jitter
 * alone: where it is denied, because the caller may not draw either, delays are whole. */
#include "../sdk/c/hexdag.h"

/* setting reads an integer within bounds: 0 if it is something else. */
static int setting(const char *path, int64_t low, int64_t high, int64_t *value) {
    if (hexdag_kind(HEXDAG_CONFIG, path) == HEXDAG_ABSENT) return 1;
    return hexdag_get_int(HEXDAG_CONFIG, path, value) && *value >= low && *value <= high;
}

static int is_one_of(const char *text, const char *const *list, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (hexdag_equal(text, list[i])) return 1;
    return 0;
}

#define ONE_OF(text, list) is_one_of(text, list, sizeof list / sizeof *list)

/* transient reports whether an error's code says that another attempt may work. */
static int transient(const char *code) {
    static const char *const codes[] = {"failed", "timeout", "port.unavailable", "retry"};
    return ONE_OF(code, codes);
}

/* known reports whether doing an operation twice is the same as doing it once. */
static int known(const char *op) {
    static const char *const safe[] = {
        "llm.complete", "database.query", "database.describe_table", "database.list_tables",
        "artifacts.store", "artifacts.retrieve", "artifacts.list", "artifacts.delete",
        "memory.get", "memory.set", "memory.delete", "memory.exists", "memory.list_keys",
        "api_call.get", "api_call.put", "api_call.delete",
    };
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE"};
    char method[8];
    if (ONE_OF(op, safe)) return 1;
    if (!hexdag_equal(op, "http.request") && !hexdag_equal(op, "api_call.request")) return 0;
    if (hexdag_kind(HEXDAG_INPUT, "/args/method") == HEXDAG_ABSENT) return 1; /* it is a GET then */
    return hexdag_get_text(HEXDAG_INPUT, "/args/method", method, sizeof method) >= 0 && ONE_OF(method, methods);
}

/* configured reports whether the operator lists an operation under also. */
static int configured(const char *op) {
    uint32_t n = hexdag_count(HEXDAG_CONFIG, "/also");
    for (uint32_t i = 0; i < n; i++) {
        char path[24], other[128];
        struct hexdag_text t = {path, sizeof path, 0, 0};
        hexdag_add(&t, "/also/");
        hexdag_add_int(&t, i);
        if (hexdag_get_text(HEXDAG_CONFIG, path, other, sizeof other) >= 0 && hexdag_equal(op, other)) return 1;
    }
    return 0;
}

/* shortened is a delay with jitter. */
static uint32_t shortened(uint32_t delay) {
    uint32_t half = delay / 2, draw = UINT32_MAX;
    if (hexdag_random(&draw, sizeof draw) != HEXDAG_OK) return delay;
    return delay - half + (uint32_t)((uint64_t)half * draw >> 32);
}

HEXDAG_EXPORT(port_after) {
    int64_t attempts = 3, delay = 200, longest = 10000, attempt = 1;
    int jitter = 1;
    char op[128], code[64];
    if (hexdag_get_text(HEXDAG_INPUT, "/error/code", code, sizeof code) < 0) return HEXDAG_CONTINUE;
    if (!setting("/attempts", 2, 10, &attempts)) return hexdag_fail("bad_config", "config: attempts is not an integer from 2 to 10");
    if (!setting("/delay_ms", 1, 3600000, &delay)) return hexdag_fail("bad_config", "config: delay_ms is not an integer from 1 to 3600000");
    if (!setting("/max_delay_ms", 1, 3600000, &longest)) return hexdag_fail("bad_config", "config: max_delay_ms is not an integer from 1 to 3600000");
    if (hexdag_kind(HEXDAG_CONFIG, "/jitter") != HEXDAG_ABSENT && !hexdag_get_bool(HEXDAG_CONFIG, "/jitter", &jitter)) return hexdag_fail("bad_config", "config: jitter is true or false");

    if (!transient(code) || hexdag_get_text(HEXDAG_INPUT, "/op", op, sizeof op) < 0) return HEXDAG_CONTINUE;
    if (!hexdag_equal(code, "retry") && !known(op) && !configured(op)) return HEXDAG_CONTINUE;
    hexdag_get_int(HEXDAG_INPUT, "/attempt", &attempt);
    if (attempt >= attempts) return HEXDAG_CONTINUE;
    while (attempt-- > 1 && delay < longest) delay *= 2;
    if (delay > longest) delay = longest;
    return hexdag_retry_after(jitter ? shortened((uint32_t)delay) : (uint32_t)delay);
}

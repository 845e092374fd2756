// The hook: it gives back the body that it gets.
#include "../../../guests/sdk/c/hexdag.h"

// Makes modules that differ: see BenchmarkIdle.
const volatile char tag[] = "TAG-00000";

static char buf[1024];

HEXDAG_EXPORT(port_before) {
    int64_t n = hexdag_body(HEXDAG_INPUT, 0, buf, sizeof buf);
    if (tag[0] != 'T' || n < 0 || n > (int64_t)sizeof buf || hexdag_append(HEXDAG_OUTPUT, buf, (uint32_t)n) != HEXDAG_OK)
        return HEXDAG_ERROR;
    return HEXDAG_CONTINUE;
}

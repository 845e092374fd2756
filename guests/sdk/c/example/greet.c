#include "../hexdag.h"

HEXDAG_EXPORT(node_before) {
    char name[256], greeting[300];
    struct hexdag_text t = {greeting, sizeof greeting, 0, 0};
    if (hexdag_get_text(HEXDAG_INPUT, "/input/name", name, sizeof name) < 0) return hexdag_deny("no_name", "the input has no name");
    hexdag_add(&t, "hello ");
    hexdag_add(&t, name);
    return hexdag_set_text(HEXDAG_INPUT, "/input/greeting", greeting) == HEXDAG_OK ? HEXDAG_REPLACE : HEXDAG_ERROR;
}

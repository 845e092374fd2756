/* The C SDK natively, with a host of a few lines in place of the imports:
 *
 *     cc -std=c11 -Wall -Wextra -Werror guests/sdk/c/test/hexdag_test.c -o hexdag_test && ./hexdag_test */
#include <stdio.h>
#include <string.h>

#include "../hexdag.h"

static struct field {
    uint32_t doc;
    const char *path;
    uint32_t kind;
    const char *text;
} fields[] = {
    {HEXDAG_INPUT, "/input/name", HEXDAG_STRING, "Ann"},   {HEXDAG_INPUT, "/n/max", HEXDAG_NUMBER, "9223372036854775807"},
    {HEXDAG_INPUT, "/n/min", HEXDAG_NUMBER, "-9223372036854775808"}, {HEXDAG_INPUT, "/n/over", HEXDAG_NUMBER, "9223372036854775808"},
    {HEXDAG_INPUT, "/n/float", HEXDAG_NUMBER, "1.5"},     {HEXDAG_INPUT, "/t", HEXDAG_BOOL, "true"},
    {HEXDAG_INPUT, "/f", HEXDAG_BOOL, "false"},
};

static char written[1024]; /* what the guest did */

static void note(const char *what, uint32_t doc, const char *path, uint32_t path_len, const void *val, uint32_t val_len) {
    size_t at = strlen(written);
    snprintf(written + at, sizeof written - at, "%s %u %.*s %.*s;", what, doc, (int)path_len, path, (int)val_len, val ? (const char *)val : "");
}

int64_t hexdag_field(uint32_t doc, const char *path, uint32_t path_len, void *buf, uint32_t cap) {
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const struct field *f = &fields[i];
        if (f->doc != doc || strlen(f->path) != path_len || memcmp(f->path, path, path_len) != 0) continue;
        size_t n = strlen(f->text);
        if (n <= cap) memcpy(buf, f->text, n);
        return (int64_t)f->kind << 32 | (int64_t)n;
    }
    return path_len > 0 && path[0] != '/' ? HEXDAG_INVALID : 0;
}

int64_t hexdag_keys(uint32_t doc, const char *path, uint32_t path_len, void *buf, uint32_t cap) {
    static const char names[] = "/a/b~1c/~01/";
    (void)doc, (void)path, (void)path_len;
    if (sizeof names - 1 <= cap) memcpy(buf, names, sizeof names - 1);
    return 4ll << 32 | (sizeof names - 1);
}

int32_t hexdag_set(uint32_t doc, const char *path, uint32_t path_len, uint32_t kind, const void *val, uint32_t val_len) {
    note(kind == HEXDAG_ABSENT ? "remove" : "set", doc, path, path_len, val, val_len);
    return doc == HEXDAG_CONFIG ? HEXDAG_DENIED : HEXDAG_OK;
}

int64_t hexdag_body(uint32_t doc, int64_t offset, void *buf, uint32_t cap) {
    static const char body[] = "0123456789";
    (void)doc;
    if (offset < 10) memcpy(buf, body + offset, cap < 10 - offset ? cap : (size_t)(10 - offset));
    return 10;
}

int32_t hexdag_append(uint32_t doc, const void *ptr, uint32_t len) {
    note("append", doc, "", 0, ptr, len);
    return HEXDAG_OK;
}

int32_t hexdag_call(const char *op, uint32_t op_len, const void *head, uint32_t head_len, const void *body, uint32_t body_len) {
    (void)head, (void)head_len;
    note("call", 0, op, op_len, body, body_len);
    return HEXDAG_RETRY;
}

int32_t hexdag_log(uint32_t level, const char *ptr, uint32_t len) {
    note("log", level, "", 0, ptr, len);
    return HEXDAG_OK;
}

uint32_t hexdag_input(void *buf, uint32_t cap) { return (void)buf, (void)cap, 0; }
int64_t hexdag_clock(uint32_t id) { return id; }
int32_t hexdag_random(void *ptr, uint32_t len) { return memset(ptr, 7, len), HEXDAG_OK; }

/* The guest that is tested. */
HEXDAG_EXPORT(node_before) {
    char name[16];
    if (hexdag_get_text(HEXDAG_INPUT, "/input/name", name, sizeof name) < 0) return hexdag_fail("no_name", "there is no name");
    if (hexdag_equal(name, "Ann")) return hexdag_deny("ann", "not Ann");
    return HEXDAG_CONTINUE;
}

static int failures;

#define CHECK(condition) \
    do { \
        if (!(condition)) printf("%s:%d: %s\n", __FILE__, __LINE__, #condition), failures++; \
    } while (0)

static int did(const char *want) {
    int same = strcmp(written, want) == 0;
    if (!same) printf("did %s\n", written);
    written[0] = 0;
    return same;
}

int main(void) {
    int64_t n = 0;
    int b = -1;
    char buf[8];
    CHECK(hexdag_get_int(HEXDAG_INPUT, "/n/max", &n) && n == INT64_MAX);
    CHECK(hexdag_get_int(HEXDAG_INPUT, "/n/min", &n) && n == INT64_MIN);
    CHECK(!hexdag_get_int(HEXDAG_INPUT, "/n/over", &n) && !hexdag_get_int(HEXDAG_INPUT, "/n/float", &n) && !hexdag_get_int(HEXDAG_INPUT, "/t", &n) && !hexdag_get_int(HEXDAG_INPUT, "/no", &n));
    CHECK(hexdag_get_bool(HEXDAG_INPUT, "/t", &b) && b == 1);
    CHECK(hexdag_get_bool(HEXDAG_INPUT, "/f", &b) && b == 0);
    CHECK(!hexdag_get_bool(HEXDAG_INPUT, "/input/name", &b));
    CHECK(hexdag_get_text(HEXDAG_INPUT, "/input/name", buf, 4) == 3 && strcmp(buf, "Ann") == 0);
    CHECK(hexdag_get_text(HEXDAG_INPUT, "/input/name", buf, 3) == -1);
    CHECK(hexdag_get_text(HEXDAG_INPUT, "/t", buf, sizeof buf) == -1);
    CHECK(hexdag_kind(HEXDAG_INPUT, "/input/name") == HEXDAG_STRING && hexdag_kind(HEXDAG_INPUT, "bad") == HEXDAG_ABSENT);
    CHECK(hexdag_length(HEXDAG_INPUT, "/input/name") == 3 && hexdag_length(HEXDAG_INPUT, "bad") == 0);

    char names[32], *rest = names, *name;
    uint32_t left = (uint32_t)hexdag_keys(HEXDAG_INPUT, "", 0, names, sizeof names);
    CHECK(hexdag_next_key(&rest, &left, &name) == 1 && strcmp(name, "a") == 0);
    CHECK(hexdag_next_key(&rest, &left, &name) == 3 && strcmp(name, "b/c") == 0);
    CHECK(hexdag_next_key(&rest, &left, &name) == 2 && strcmp(name, "~1") == 0);
    CHECK(hexdag_next_key(&rest, &left, &name) == 0 && hexdag_next_key(&rest, &left, &name) == -1);

    char path[16];
    struct hexdag_text t = {path, sizeof path, 0, 0};
    hexdag_add_token(&t, "a/b~");
    CHECK(strcmp(path, "/a~1b~0") == 0 && !t.full);
    hexdag_add(&t, "0123456789");
    CHECK(t.full && strlen(path) == 15);

    CHECK(hexdag_read_body(HEXDAG_INPUT, 8, buf, 8) == 2 && memcmp(buf, "89", 2) == 0);
    CHECK(hexdag_read_body(HEXDAG_INPUT, 10, buf, 8) == 0 && hexdag_read_body(HEXDAG_INPUT, 0, buf, 8) == 8);
    CHECK(hexdag_retry_after(4294967295u) == 0xffffffff00000004u);

    CHECK(hexdag_set_int(HEXDAG_REQUEST, "/n", INT64_MIN) == HEXDAG_OK && did("set 2 /n -9223372036854775808;"));
    CHECK(hexdag_set_bool(HEXDAG_OUTPUT, "/b", 0) == HEXDAG_OK && hexdag_set_null(HEXDAG_OUTPUT, "/z") == HEXDAG_OK && did("set 4 /b false;set 4 /z null;"));
    CHECK(hexdag_set_text(HEXDAG_CONFIG, "/x", "y") == HEXDAG_DENIED && did("set 1 /x y;"));
    CHECK(strcmp(hexdag_status_name(hexdag_call_body("a.b", "xy", 2)), "retry") == 0 && did("call 0 a.b xy;"));
    CHECK(hexdag_node_before(0) == HEXDAG_DENY && did("remove 4  ;set 4 /code ann;set 4 /reason not Ann;"));
    fields[0].kind = HEXDAG_NULL;
    CHECK(hexdag_node_before(0) == HEXDAG_ERROR && did("remove 4  ;set 4 /code no_name;set 4 /reason there is no name;"));
    if (failures == 0) puts("ok");
    return failures > 0;
}

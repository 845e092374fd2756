/* The probe of the conformance kit, made with the C SDK: see abi/tck/README.md. */
#include "../hexdag.h"

static char text[128 * 1024]; /* what a step reads */
static char value[128 * 1024]; /* what a step is to write */
static char line[136 * 1024]; /* what it reports */
static uint32_t text_len, value_len, remembered;

/* The step under way: its document and the path of its object. */
static uint32_t program;
static char step[64];
static uint32_t step_len;

static const char *kinds[] = {"absent", "null", "bool", "number", "string", "array", "object", "json"};
static const char *documents[] = {"input", "config", "request", "reply", "output"};

static uint32_t index_of(const char *name, const char **names, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (hexdag_equal(name, names[i])) return i;
    return count;
}

/* param returns the path of a member of the step. */
static const char *param(const char *name) {
    static char path[128];
    struct hexdag_text t = {path, sizeof path, 0, 0};
    hexdag_add_bytes(&t, step, step_len);
    hexdag_add(&t, name);
    return path;
}

static int64_t number(const char *name) {
    int64_t n = 0;
    hexdag_get_int(program, param(name), &n);
    return n;
}

/* load reads a text of the step into buf. */
static uint32_t load(const char *name, char *buf, uint32_t cap) {
    int32_t n = hexdag_get_text(program, param(name), buf, cap);
    if (n < 0) buf[0] = 0;
    return n < 0 ? 0 : (uint32_t)n;
}

static struct hexdag_text report(const char *start) {
    struct hexdag_text t = {line, sizeof line, 0, 0};
    hexdag_add(&t, start);
    return t;
}

static void say(const struct hexdag_text *t) { hexdag_log(HEXDAG_DEBUG, t->buf, t->len); }

static void say_status(int64_t status) {
    struct hexdag_text t = report(hexdag_status_name((int32_t)status));
    say(&t);
}

/* Checksums are FNV-1a of 32 bits. */
static uint32_t sum_of(uint32_t sum, const char *bytes, uint32_t len) {
    for (uint32_t i = 0; i < len; i++) sum = (sum ^ (unsigned char)bytes[i]) * 16777619u;
    return sum;
}

static void add_sum(struct hexdag_text *t, uint32_t len, uint32_t sum) {
    hexdag_add_int(t, len);
    hexdag_add(t, " ");
    hexdag_add_int(t, sum);
}

#define EMPTY_SUM 2166136261u

/* The field that a step names. */
static uint32_t doc;
static char at[2048];
static uint32_t at_len;

static void get(int sum) {
    int64_t r = hexdag_field(doc, at, at_len, text, sizeof text);
    if (r < 0) {
        say_status(r);
        return;
    }
    uint32_t kind = (uint32_t)(r >> 32);
    struct hexdag_text t = report(kinds[kind]);
    text_len = (uint32_t)r;
    if (kind != HEXDAG_ABSENT) hexdag_add(&t, " ");
    if (sum) add_sum(&t, text_len, sum_of(EMPTY_SUM, text, text_len));
    else hexdag_add_bytes(&t, text, text_len);
    say(&t);
}

static void kind_of(void) {
    struct hexdag_text t = report("kind ");
    hexdag_add(&t, kinds[hexdag_kind(doc, at)]);
    say(&t);
}

static void get_text(void) {
    struct hexdag_text t = report("text ");
    int32_t n = hexdag_get_text(doc, at, text, sizeof text);
    if (n < 0) hexdag_add(&t, "none");
    else hexdag_add_bytes(&t, text, (uint32_t)n);
    say(&t);
}

static void get_int(void) {
    struct hexdag_text t = report("int ");
    int64_t n;
    if (hexdag_get_int(doc, at, &n)) hexdag_add_int(&t, n);
    else hexdag_add(&t, "none");
    say(&t);
}

static void get_bool(void) {
    int b;
    struct hexdag_text t = report("bool ");
    if (hexdag_get_bool(doc, at, &b)) hexdag_add(&t, b ? "true" : "false");
    else hexdag_add(&t, "none");
    say(&t);
}

static void keys(int sum) {
    int64_t r = hexdag_keys(doc, at, at_len, text, sizeof text);
    if (r < 0) {
        say_status(r);
        return;
    }
    struct hexdag_text names = {value, sizeof value, 0, 0}, t = report("keys ");
    char *rest = text, *name;
    uint32_t left = (uint32_t)r;
    for (int32_t n, first = 1; (n = hexdag_next_key(&rest, &left, &name)) >= 0; first = 0) {
        if (!first) hexdag_add(&names, ",");
        hexdag_add_bytes(&names, name, (uint32_t)n);
    }
    hexdag_add_int(&t, r >> 32);
    hexdag_add(&t, " ");
    if (sum) add_sum(&t, names.len, sum_of(EMPTY_SUM, names.buf, names.len));
    else hexdag_add_bytes(&t, names.buf, names.len);
    say(&t);
}

static void count(void) {
    struct hexdag_text t = report("count ");
    hexdag_add_int(&t, hexdag_count(doc, at));
    say(&t);
}

/* set_value writes a value of a kind with the helper for it. */
static int32_t set_value(uint32_t to, const char *path, uint32_t kind) {
    if (hexdag_strlen(value) != value_len) return hexdag_set(to, path, hexdag_strlen(path), kind, value, value_len);
    switch (kind) {
    case HEXDAG_STRING: return hexdag_set_text(to, path, value);
    case HEXDAG_NUMBER: return hexdag_set_number(to, path, value);
    case HEXDAG_JSON: return hexdag_set_json(to, path, value);
    case HEXDAG_NULL:
        if (hexdag_equal(value, "null")) return hexdag_set_null(to, path);
        break;
    case HEXDAG_BOOL:
        if (hexdag_equal(value, "true")) return hexdag_set_bool(to, path, 1);
        if (hexdag_equal(value, "false")) return hexdag_set_bool(to, path, 0);
    }
    return hexdag_set(to, path, hexdag_strlen(path), kind, value, value_len);
}

static void set(int raw) {
    char name[16];
    load("/kind", name, sizeof name);
    uint32_t kind = index_of(name, kinds, 8);
    if (raw) value_len = (uint32_t)hexdag_read_body(HEXDAG_INPUT, 0, value, sizeof value);
    else value_len = load("/value", value, sizeof value);
    say_status(raw ? hexdag_set(doc, at, at_len, kind, value, value_len) : set_value(doc, at, kind));
}

static void append(void) {
    value_len = load("/value", value, sizeof value);
    say_status(hexdag_append(HEXDAG_OUTPUT, value, value_len));
}

/* body reads all of a body in pieces. */
static void body(void) {
    uint32_t size = (uint32_t)number("/size"), sum = EMPTY_SUM, pieces = 0, total = 0;
    for (int64_t n; (n = hexdag_read_body(doc, total, text, size)) > 0; pieces++) {
        sum = sum_of(sum, text, (uint32_t)n);
        total += (uint32_t)n;
    }
    struct hexdag_text t = report("body ");
    hexdag_add_int(&t, pieces);
    hexdag_add(&t, " ");
    add_sum(&t, total, sum);
    say(&t);
}

static void body_at(void) {
    int64_t n = hexdag_read_body(doc, (uint64_t)number("/offset"), text, (uint32_t)number("/size"));
    struct hexdag_text t = report("bytes ");
    add_sum(&t, (uint32_t)n, sum_of(EMPTY_SUM, text, (uint32_t)n));
    say(&t);
}

static void copy_body(void) {
    int64_t n = hexdag_read_body(doc, 0, text, sizeof text);
    say_status(hexdag_append(HEXDAG_OUTPUT, text, (uint32_t)n));
}

/* arguments writes those of a call to the request. */
static int32_t arguments(void) {
    uint32_t n = hexdag_count(program, param("/args"));
    for (uint32_t i = 0; i < n; i++) {
        char name[32], kind[16];
        struct hexdag_text t = {name, sizeof name, 0, 0};
        hexdag_add(&t, "/args/");
        hexdag_add_int(&t, i);
        hexdag_add(&t, "/0");
        load(name, at, sizeof at);
        name[t.len - 1] = '1';
        load(name, kind, sizeof kind);
        name[t.len - 1] = '2';
        value_len = load(name, value, sizeof value);
        int32_t status = set_value(HEXDAG_REQUEST, at, index_of(kind, kinds, 8));
        if (status != HEXDAG_OK) {
            hexdag_remove(HEXDAG_REQUEST, "");
            return status;
        }
    }
    return HEXDAG_OK;
}

static void call(void) {
    static char op[160];
    int is_short = 0;
    hexdag_get_bool(program, param("/short"), &is_short);
    load("/op", op, sizeof op);
    int32_t status = arguments();
    if (status == HEXDAG_OK) {
        value_len = load("/body", value, sizeof value);
        status = value_len > 0 ? hexdag_call_body(op, value, value_len) : hexdag_call_port(op);
    }
    struct hexdag_text t = report(hexdag_status_name(status));
    if (status != HEXDAG_OK && !is_short) {
        int64_t ms = 0;
        hexdag_get_text(HEXDAG_REPLY, "/code", text, sizeof text);
        hexdag_get_int(HEXDAG_REPLY, "/retry_ms", &ms);
        hexdag_add(&t, " ");
        hexdag_add(&t, text);
        hexdag_add(&t, " ");
        hexdag_add_int(&t, ms);
        hexdag_get_text(HEXDAG_REPLY, "/message", text, sizeof text);
        hexdag_add(&t, " ");
        hexdag_add(&t, text);
    }
    say(&t);
}

static void log_line(void) {
    value_len = load("/text", value, sizeof value);
    hexdag_log((uint32_t)number("/level"), value, value_len);
}

static void clock(uint32_t id, const char *name) {
    int64_t ns = hexdag_clock(id);
    if (ns < 0) {
        say_status(ns);
        return;
    }
    struct hexdag_text t = report(name);
    hexdag_add_int(&t, ns);
    say(&t);
}

static void random_bytes(void) {
    uint32_t size = (uint32_t)number("/size");
    int32_t status = hexdag_random(text, size);
    if (status != HEXDAG_OK) {
        say_status(status);
        return;
    }
    struct hexdag_text t = report("random ");
    add_sum(&t, size, sum_of(EMPTY_SUM, text, size));
    say(&t);
}

static void escape(void) {
    static char token[256];
    struct hexdag_text t = {token, sizeof token, 0, 0}, r = report("escape ");
    load("/value", value, sizeof value);
    hexdag_add_token(&t, value);
    hexdag_add(&r, token + 1);
    say(&r);
}

static void remember(void) {
    struct hexdag_text t = report("remembered ");
    hexdag_add_int(&t, ++remembered);
    say(&t);
}

static uint64_t refuse(uint64_t (*verdict)(const char *code, const char *reason)) {
    static char code[64], reason[256];
    load("/code", code, sizeof code);
    load("/reason", reason, sizeof reason);
    return verdict(code, reason);
}

/* act does one step. It returns 1 and a verdict where that is the step. */
static int act(uint64_t *verdict) {
    char name[16], does[16];
    load("/do", does, sizeof does);
    load("/doc", name, sizeof name);
    doc = index_of(name, documents, 5);
    at_len = load("/at", at, sizeof at);
    if (hexdag_equal(does, "get")) get(0);
    else if (hexdag_equal(does, "sum")) get(1);
    else if (hexdag_equal(does, "kind")) kind_of();
    else if (hexdag_equal(does, "text")) get_text();
    else if (hexdag_equal(does, "int")) get_int();
    else if (hexdag_equal(does, "bool")) get_bool();
    else if (hexdag_equal(does, "keys")) keys(0);
    else if (hexdag_equal(does, "keysum")) keys(1);
    else if (hexdag_equal(does, "count")) count();
    else if (hexdag_equal(does, "set")) set(0);
    else if (hexdag_equal(does, "setraw")) set(1);
    else if (hexdag_equal(does, "setint")) say_status(hexdag_set_int(doc, at, number("/value")));
    else if (hexdag_equal(does, "remove")) say_status(hexdag_remove(doc, at));
    else if (hexdag_equal(does, "append")) append();
    else if (hexdag_equal(does, "body")) body();
    else if (hexdag_equal(does, "bodyat")) body_at();
    else if (hexdag_equal(does, "copybody")) copy_body();
    else if (hexdag_equal(does, "call")) call();
    else if (hexdag_equal(does, "log")) log_line();
    else if (hexdag_equal(does, "now")) clock(0, "now ");
    else if (hexdag_equal(does, "elapsed")) clock(1, "elapsed ");
    else if (hexdag_equal(does, "random")) random_bytes();
    else if (hexdag_equal(does, "escape")) escape();
    else if (hexdag_equal(does, "remember")) remember();
    else {
        *verdict = HEXDAG_CONTINUE;
        if (hexdag_equal(does, "replace")) *verdict = HEXDAG_REPLACE;
        else if (hexdag_equal(does, "skip")) *verdict = HEXDAG_SKIP;
        else if (hexdag_equal(does, "retry")) *verdict = hexdag_retry_after((uint32_t)number("/ms"));
        else if (hexdag_equal(does, "deny")) *verdict = refuse(hexdag_deny);
        else if (hexdag_equal(does, "fail")) *verdict = refuse(hexdag_fail);
        return 1;
    }
    return 0;
}

/* play does the steps of the configuration, or else of the arguments. */
static uint64_t play(void) {
    const char *steps = "/steps";
    program = HEXDAG_CONFIG;
    if (hexdag_kind(program, steps) == HEXDAG_ABSENT) {
        program = HEXDAG_INPUT;
        steps = "/args/steps";
    }
    uint32_t n = hexdag_count(program, steps);
    uint64_t verdict = HEXDAG_CONTINUE;
    for (uint32_t i = 0; i < n; i++) {
        struct hexdag_text t = {step, sizeof step, 0, 0};
        hexdag_add(&t, steps);
        hexdag_add(&t, "/");
        hexdag_add_int(&t, i);
        step_len = t.len;
        if (act(&verdict)) break;
    }
    return verdict;
}

HEXDAG_EXPORT(node_before) { return play(); }
HEXDAG_EXPORT(node_after) { return play(); }
HEXDAG_EXPORT(port_before) { return play(); }
HEXDAG_EXPORT(port_after) { return play(); }
HEXDAG_EXPORT(node_run) { return play(); }
HEXDAG_EXPORT(tool_call) { return play(); }
HEXDAG_EXPORT(port_call) { return play(); }
HEXDAG_EXPORT(observe) { return play(); }

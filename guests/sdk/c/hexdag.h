/* hexdag.h: the C and C++ SDK for hexdag guests, ABI version 1.
 *
 * One header, no libc. A guest defines the extension points that it serves:
 *
 *     #include "hexdag.h"
 *
 *     HEXDAG_EXPORT(node_before) {
 *         if (hexdag_kind(HEXDAG_INPUT, "/input/name") == HEXDAG_STRING)
 *             return HEXDAG_CONTINUE;
 *         hexdag_set_text(HEXDAG_INPUT, "/input/name", "nobody");
 *         return HEXDAG_REPLACE;
 *     }
 *
 * and is built with
 *
 *     clang --target=wasm32 -mbulk-memory -ffreestanding -nostdlib -O2 -Wl,--no-entry guest.c -o guest.wasm
 *
 * Paths are JSON pointers (RFC 6901), "" is the whole document. abi/README.md
 * says what each import does. */
#ifndef HEXDAG_H
#define HEXDAG_H

#include <stdint.h>

#ifdef __cplusplus
#define HEXDAG_C extern "C"
#else
#define HEXDAG_C
#endif

/* An extension point, such as node_before: a function of the payload's length
 * that returns a verdict. What a module exports is what it can be used for.
 *
 * Elsewhere than in WebAssembly the imports are ordinary functions: a native test
 * defines them, and calls hexdag_node_before. */
#ifdef __wasm__
#define HEXDAG_EXPORT(point) \
    HEXDAG_C __attribute__((export_name(#point))) uint64_t hexdag_##point(uint32_t payload_len __attribute__((unused)))
#define HEXDAG_IMPORT(name) HEXDAG_C __attribute__((import_module("hexdag_v1"), import_name(name)))
#else
#define HEXDAG_EXPORT(point) HEXDAG_C uint64_t hexdag_##point(uint32_t payload_len __attribute__((unused)))
#define HEXDAG_IMPORT(name) HEXDAG_C
#endif

/* Documents. */
enum { HEXDAG_INPUT, HEXDAG_CONFIG, HEXDAG_REQUEST, HEXDAG_REPLY, HEXDAG_OUTPUT };

/* Kinds. HEXDAG_JSON is for hexdag_set alone: any JSON text. */
enum {
    HEXDAG_ABSENT, HEXDAG_NULL, HEXDAG_BOOL, HEXDAG_NUMBER,
    HEXDAG_STRING, HEXDAG_ARRAY, HEXDAG_OBJECT, HEXDAG_JSON
};

/* Statuses. */
enum {
    HEXDAG_OK = 0, HEXDAG_NOT_FOUND = -1, HEXDAG_DENIED = -2, HEXDAG_INVALID = -3,
    HEXDAG_LIMIT = -4, HEXDAG_FAULT = -5, HEXDAG_UNSUPPORTED = -6, HEXDAG_UNAVAILABLE = -7,
    HEXDAG_TIMEOUT = -8, HEXDAG_FAILED = -9, HEXDAG_RETRY = -10
};

/* Verdicts. HEXDAG_DENY and HEXDAG_ERROR want a code and a reason: see
 * hexdag_deny and hexdag_fail; for a delay see hexdag_retry_after. */
enum { HEXDAG_CONTINUE, HEXDAG_REPLACE, HEXDAG_SKIP, HEXDAG_DENY, HEXDAG_RETRY_AFTER, HEXDAG_ERROR };

/* Log levels. */
enum { HEXDAG_DEBUG, HEXDAG_INFO, HEXDAG_WARN, HEXDAG_LOG_ERROR };

/* The imports. */
HEXDAG_IMPORT("input") uint32_t hexdag_input(void *buf, uint32_t cap);
HEXDAG_IMPORT("field") int64_t hexdag_field(uint32_t doc, const char *path, uint32_t path_len, void *buf, uint32_t cap);
HEXDAG_IMPORT("keys") int64_t hexdag_keys(uint32_t doc, const char *path, uint32_t path_len, void *buf, uint32_t cap);
HEXDAG_IMPORT("set") int32_t hexdag_set(uint32_t doc, const char *path, uint32_t path_len, uint32_t kind, const void *val, uint32_t val_len);
HEXDAG_IMPORT("body") int64_t hexdag_body(uint32_t doc, int64_t offset, void *buf, uint32_t cap);
HEXDAG_IMPORT("append") int32_t hexdag_append(uint32_t doc, const void *ptr, uint32_t len);
HEXDAG_IMPORT("call") int32_t hexdag_call(const char *op, uint32_t op_len, const void *head, uint32_t head_len, const void *body, uint32_t body_len);
HEXDAG_IMPORT("log") int32_t hexdag_log(uint32_t level, const char *ptr, uint32_t len);
HEXDAG_IMPORT("clock") int64_t hexdag_clock(uint32_t id);
HEXDAG_IMPORT("random") int32_t hexdag_random(void *ptr, uint32_t len);

/* hexdag_strlen is the length of a text that ends with a zero. */
static inline uint32_t hexdag_strlen(const char *s) {
    uint32_t n = 0;
    while (s[n]) n++;
    return n;
}

/* hexdag_equal reports whether two texts are the same. */
static inline int hexdag_equal(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

/* hexdag_kind returns the kind of a field, HEXDAG_ABSENT too if the path is malformed. */
static inline uint32_t hexdag_kind(uint32_t doc, const char *path) {
    int64_t r = hexdag_field(doc, path, hexdag_strlen(path), 0, 0);
    return r < 0 ? HEXDAG_ABSENT : (uint32_t)(r >> 32);
}

/* hexdag_length returns the length of a field: of a string its bytes, else of
 * its JSON text; 0 if it is absent. */
static inline uint32_t hexdag_length(uint32_t doc, const char *path) {
    int64_t r = hexdag_field(doc, path, hexdag_strlen(path), 0, 0);
    return r < 0 ? 0 : (uint32_t)r;
}

/* hexdag_count returns how many members an object or array has, else 0. */
static inline uint32_t hexdag_count(uint32_t doc, const char *path) {
    int64_t r = hexdag_keys(doc, path, hexdag_strlen(path), 0, 0);
    return r < 0 ? 0 : (uint32_t)(r >> 32);
}

/* hexdag_get copies a field of one kind, with a zero behind it, and returns its
 * length: -1 if it is not there, of another kind, or does not fit. */
static inline int32_t hexdag_get(uint32_t doc, const char *path, uint32_t kind, char *buf, uint32_t cap) {
    int64_t r = cap == 0 ? -1 : hexdag_field(doc, path, hexdag_strlen(path), buf, cap - 1);
    if (r < 0 || (uint32_t)(r >> 32) != kind || (uint32_t)r > cap - 1) return -1;
    buf[(uint32_t)r] = 0;
    return (int32_t)r;
}

/* hexdag_get_text copies a string: see hexdag_get. */
static inline int32_t hexdag_get_text(uint32_t doc, const char *path, char *buf, uint32_t cap) {
    return hexdag_get(doc, path, HEXDAG_STRING, buf, cap);
}

/* hexdag_get_int reads an integer of 64 bits and returns 1, or 0 if there is none. */
static inline int hexdag_get_int(uint32_t doc, const char *path, int64_t *value) {
    char text[21];
    int32_t n = hexdag_get(doc, path, HEXDAG_NUMBER, text, sizeof text);
    int32_t i = n > 0 && text[0] == '-';
    uint64_t sum = 0, most = (uint64_t)INT64_MAX + (uint64_t)i;
    if (n - i < 1) return 0;
    for (int32_t j = i; j < n; j++) {
        uint64_t digit = (uint64_t)(unsigned char)text[j] - '0';
        if (digit > 9 || sum > (most - digit) / 10) return 0;
        sum = sum * 10 + digit;
    }
    *value = i ? (int64_t)(0 - sum) : (int64_t)sum;
    return 1;
}

/* hexdag_get_bool reads a boolean and returns 1, or 0 if there is none. */
static inline int hexdag_get_bool(uint32_t doc, const char *path, int *value) {
    char text[6];
    if (hexdag_get(doc, path, HEXDAG_BOOL, text, sizeof text) < 0) return 0;
    *value = text[0] == 't';
    return 1;
}

/* hexdag_read_body copies raw bytes from offset on, and returns how many, or a status. */
static inline int64_t hexdag_read_body(uint32_t doc, uint64_t offset, void *buf, uint32_t cap) {
    int64_t total = hexdag_body(doc, (int64_t)offset, buf, cap);
    if (total < 0) return total;
    if (offset >= (uint64_t)total) return 0;
    return (uint64_t)total - offset < cap ? (int64_t)((uint64_t)total - offset) : (int64_t)cap;
}

/* hexdag_text builds a text in a buffer of the caller. What does not fit is
 * left out and full is set. Start with { buf, sizeof buf }. */
struct hexdag_text {
    char *buf;
    uint32_t cap, len, full;
};

/* hexdag_add_bytes appends bytes; a zero always follows them. */
static inline void hexdag_add_bytes(struct hexdag_text *t, const char *s, uint32_t len) {
    for (uint32_t i = 0; i < len; i++) {
        if (t->len + 1 >= t->cap) {
            t->full = 1;
            break;
        }
        t->buf[t->len++] = s[i];
    }
    if (t->cap > 0) t->buf[t->len] = 0;
}

/* hexdag_add appends a text that ends with a zero. */
static inline void hexdag_add(struct hexdag_text *t, const char *s) {
    hexdag_add_bytes(t, s, hexdag_strlen(s));
}

/* hexdag_add_token appends a member's name as a part of a path, with a / before it. */
static inline void hexdag_add_token(struct hexdag_text *t, const char *name) {
    hexdag_add(t, "/");
    for (; *name; name++) {
        if (*name == '~') hexdag_add(t, "~0");
        else if (*name == '/') hexdag_add(t, "~1");
        else hexdag_add_bytes(t, name, 1);
    }
}

/* hexdag_next_key takes the next name from what hexdag_keys wrote, *keys, of which
 * *len bytes are left: it puts the name, unescaped and with a zero behind it, in
 * its place, points name at it and returns its length, or -1 at the end. */
static inline int32_t hexdag_next_key(char **keys, uint32_t *len, char **name) {
    char *from = *keys, *to = *keys;
    uint32_t left = *len;
    if (left == 0) return -1;
    *name = to;
    for (from++, left--; left > 0 && *from != '/'; from++, left--) {
        char c = *from;
        if (c == '~' && left > 1) {
            from++, left--;
            c = *from == '1' ? '/' : '~';
        }
        *to++ = c;
    }
    *keys = from;
    *len = left;
    *to = 0; /* its place is that of the / before the name, which made room */
    return (int32_t)(to - *name);
}

/* hexdag_add_int appends a number. */
static inline void hexdag_add_int(struct hexdag_text *t, int64_t n) {
    char digits[21];
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    uint32_t i = sizeof digits - 1;
    digits[i] = 0;
    do digits[--i] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (n < 0) digits[--i] = '-';
    hexdag_add(t, digits + i);
}

/* hexdag_set_text writes a string, which is UTF-8. Returns a status. */
static inline int32_t hexdag_set_text(uint32_t doc, const char *path, const char *value) {
    return hexdag_set(doc, path, hexdag_strlen(path), HEXDAG_STRING, value, hexdag_strlen(value));
}

/* hexdag_set_json writes any value, given as JSON text. Returns a status. */
static inline int32_t hexdag_set_json(uint32_t doc, const char *path, const char *text) {
    return hexdag_set(doc, path, hexdag_strlen(path), HEXDAG_JSON, text, hexdag_strlen(text));
}

/* hexdag_set_number writes a number as it is spelled, so that no digit is lost. Returns a status. */
static inline int32_t hexdag_set_number(uint32_t doc, const char *path, const char *text) {
    return hexdag_set(doc, path, hexdag_strlen(path), HEXDAG_NUMBER, text, hexdag_strlen(text));
}

/* hexdag_set_bool writes a boolean. Returns a status. */
static inline int32_t hexdag_set_bool(uint32_t doc, const char *path, int value) {
    return hexdag_set(doc, path, hexdag_strlen(path), HEXDAG_BOOL, value ? "true" : "false", value ? 4 : 5);
}

/* hexdag_set_null writes null. Returns a status. */
static inline int32_t hexdag_set_null(uint32_t doc, const char *path) {
    return hexdag_set(doc, path, hexdag_strlen(path), HEXDAG_NULL, "null", 4);
}

/* hexdag_set_int writes an integer. Returns a status. */
static inline int32_t hexdag_set_int(uint32_t doc, const char *path, int64_t value) {
    char buf[24];
    struct hexdag_text t = {buf, sizeof buf, 0, 0};
    hexdag_add_int(&t, value);
    return hexdag_set(doc, path, hexdag_strlen(path), HEXDAG_NUMBER, buf, t.len);
}

/* hexdag_remove removes a member. Returns a status. */
static inline int32_t hexdag_remove(uint32_t doc, const char *path) {
    return hexdag_set(doc, path, hexdag_strlen(path), HEXDAG_ABSENT, 0, 0);
}

/* hexdag_call_port calls op with the request document, which it empties. On
 * HEXDAG_OK the answer is in HEXDAG_REPLY, else /code and /message are. */
static inline int32_t hexdag_call_port(const char *op) {
    return hexdag_call(op, hexdag_strlen(op), 0, 0, 0, 0);
}

/* hexdag_call_body is hexdag_call_port with raw bytes beside the arguments. */
static inline int32_t hexdag_call_body(const char *op, const void *body, uint32_t len) {
    return hexdag_call(op, hexdag_strlen(op), 0, 0, body, len);
}

/* hexdag_status_name returns a status in the words of the specification. */
static inline const char *hexdag_status_name(int32_t status) {
    switch (status) {
    case HEXDAG_OK: return "ok";
    case HEXDAG_NOT_FOUND: return "not_found";
    case HEXDAG_DENIED: return "denied";
    case HEXDAG_INVALID: return "invalid";
    case HEXDAG_LIMIT: return "limit";
    case HEXDAG_FAULT: return "fault";
    case HEXDAG_UNSUPPORTED: return "unsupported";
    case HEXDAG_UNAVAILABLE: return "unavailable";
    case HEXDAG_TIMEOUT: return "timeout";
    case HEXDAG_FAILED: return "failed";
    case HEXDAG_RETRY: return "retry";
    }
    return "unknown";
}

/* hexdag_log_text writes a log line. */
static inline void hexdag_log_text(uint32_t level, const char *text) {
    hexdag_log(level, text, hexdag_strlen(text));
}

/* hexdag_retry_after is the verdict to be tried again after so many milliseconds. */
static inline uint64_t hexdag_retry_after(uint32_t milliseconds) {
    return (uint64_t)milliseconds << 32 | HEXDAG_RETRY_AFTER;
}

static inline uint64_t hexdag_explain(uint64_t verdict, const char *code, const char *reason) {
    hexdag_remove(HEXDAG_OUTPUT, "");
    hexdag_set_text(HEXDAG_OUTPUT, "/code", code);
    hexdag_set_text(HEXDAG_OUTPUT, "/reason", reason);
    return verdict;
}

/* hexdag_deny is the verdict that refuses, with a code for programs and a reason for people. */
static inline uint64_t hexdag_deny(const char *code, const char *reason) {
    return hexdag_explain(HEXDAG_DENY, code, reason);
}

/* hexdag_fail is the verdict of a guest that could not do its work. */
static inline uint64_t hexdag_fail(const char *code, const char *reason) {
    return hexdag_explain(HEXDAG_ERROR, code, reason);
}

#endif

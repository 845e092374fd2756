/* QuickJS as a guest. The scripts are data, which 'hexdag build' compiles beside this
 * file together with the exports (host/toolchain/javascript.go). They are evaluated
 * once, in _initialize: calls start from there. */
#include <stdlib.h>
#include <string.h>

#include "../../c/hexdag.h"
#include "quickjs.h"

struct hexdag_script {
    const char *name, *text; /* a zero is behind the text, as JS_Eval wants it */
    size_t len;
};

/* What a manifest has to request is there if it does: else these say denied, and the
 * module does not import what it may not call. */
int32_t hexdag_engine_call(const char *op, uint32_t op_len, const void *body, uint32_t body_len);
int64_t hexdag_engine_clock(uint32_t id);
int32_t hexdag_engine_random(void *ptr, uint32_t len);

extern const struct hexdag_script hexdag_scripts[]; /* the first is the guest's own; one without a name ends them */

static JSContext *ctx;
static JSValue serve = JS_UNDEFINED, entry = JS_UNDEFINED;

static void log_error(const char *what) { hexdag_log_text(HEXDAG_LOG_ERROR, what); }

static void log_exception(void) {
    JSValue e = JS_GetException(ctx);
    const char *text = JS_ToCString(ctx, e);
    log_error(text ? text : "an exception that has no text");
    JS_FreeCString(ctx, text);
    JS_FreeValue(ctx, e);
}

/* A text of the script's: the characters of a string, or the bytes of an ArrayBuffer.
 * release gives it back. */
struct bytes {
    const char *at, *string;
    size_t len;
};

static int take(JSValueConst v, struct bytes *b) {
    b->string = 0;
    if (JS_IsArrayBuffer(v)) {
        b->at = (const char *)JS_GetArrayBuffer(ctx, &b->len, v);
        return 1;
    }
    b->at = b->string = JS_ToCStringLen(ctx, &b->len, v);
    return b->at != 0;
}

static void release(struct bytes *b) {
    if (b->string) JS_FreeCString(ctx, b->string);
}

static uint32_t number(JSValueConst v) {
    uint32_t n = 0;
    JS_ToUint32(ctx, &n, v);
    return n;
}

typedef int64_t (*reader)(uint32_t doc, const char *path, uint32_t path_len, void *buf, uint32_t cap);

/* read gives [high 32 bits, text], or a status. */
static JSValue read(reader import, JSValueConst *argv) {
    char small[1024], *buf = small;
    struct bytes path;
    if (!take(argv[1], &path)) return JS_EXCEPTION;
    int64_t r = import(number(argv[0]), path.at, (uint32_t)path.len, small, sizeof small);
    if (r >= 0 && (uint32_t)r > sizeof small) {
        if (!(buf = malloc((uint32_t)r))) {
            release(&path);
            return JS_ThrowOutOfMemory(ctx);
        }
        r = import(number(argv[0]), path.at, (uint32_t)path.len, buf, (uint32_t)r);
    }
    release(&path);
    if (r < 0) return JS_NewInt32(ctx, (int32_t)r);
    JSValue pair = JS_NewArray(ctx);
    JS_SetPropertyUint32(ctx, pair, 0, JS_NewUint32(ctx, (uint32_t)(r >> 32)));
    JS_SetPropertyUint32(ctx, pair, 1, JS_NewStringLen(ctx, buf, (uint32_t)r));
    if (buf != small) free(buf);
    return pair;
}

#define FUNCTION(name) static JSValue name(JSContext *c __attribute__((unused)), JSValueConst self __attribute__((unused)), int argc __attribute__((unused)), JSValueConst *argv)

FUNCTION(js_field) { return read(hexdag_field, argv); }
FUNCTION(js_keys) { return read(hexdag_keys, argv); }

FUNCTION(js_set) {
    struct bytes path, value;
    if (!take(argv[1], &path)) return JS_EXCEPTION;
    if (!take(argv[3], &value)) {
        release(&path);
        return JS_EXCEPTION;
    }
    int32_t status = hexdag_set(number(argv[0]), path.at, (uint32_t)path.len, number(argv[2]), value.at, (uint32_t)value.len);
    release(&path);
    release(&value);
    return JS_NewInt32(ctx, status);
}

/* body(doc, offset, size) gives an ArrayBuffer, or a status. */
FUNCTION(js_body) {
    double offset = 0, most = 0;
    uint32_t doc = number(argv[0]);
    JS_ToFloat64(ctx, &offset, argv[1]);
    JS_ToFloat64(ctx, &most, argv[2]);
    int64_t total = hexdag_body(doc, 0, 0, 0);
    if (total < 0) return JS_NewInt32(ctx, (int32_t)total);
    double left = offset >= 0 && offset < (double)total ? (double)total - offset : 0;
    size_t size = (size_t)(most >= 0 && most < left ? most : left);
    char *buf = malloc(size + 1);
    if (!buf) return JS_ThrowOutOfMemory(ctx);
    hexdag_body(doc, (int64_t)offset, buf, (uint32_t)size);
    JSValue bytes = JS_NewArrayBufferCopy(ctx, (const uint8_t *)buf, size);
    free(buf);
    return bytes;
}

FUNCTION(js_append) {
    struct bytes value;
    if (!take(argv[1], &value)) return JS_EXCEPTION;
    int32_t status = hexdag_append(number(argv[0]), value.at, (uint32_t)value.len);
    release(&value);
    return JS_NewInt32(ctx, status);
}

FUNCTION(js_call) {
    struct bytes op, body;
    if (!take(argv[0], &op)) return JS_EXCEPTION;
    if (!take(argv[1], &body)) {
        release(&op);
        return JS_EXCEPTION;
    }
    int32_t status = hexdag_engine_call(op.at, (uint32_t)op.len, body.at, (uint32_t)body.len);
    release(&op);
    release(&body);
    return JS_NewInt32(ctx, status);
}

FUNCTION(js_log) {
    struct bytes line;
    if (!take(argv[1], &line)) return JS_EXCEPTION;
    int32_t status = hexdag_log(number(argv[0]), line.at, (uint32_t)line.len);
    release(&line);
    return JS_NewInt32(ctx, status);
}

FUNCTION(js_clock) { return JS_NewBigInt64(ctx, hexdag_engine_clock(number(argv[0]))); }

/* random(size) gives an ArrayBuffer, or a status. */
FUNCTION(js_random) {
    uint32_t size = number(argv[0]);
    char *buf = malloc((size_t)size + 1);
    if (!buf) return JS_ThrowOutOfMemory(ctx);
    int32_t status = hexdag_engine_random(buf, size);
    JSValue r = status < 0 ? JS_NewInt32(ctx, status) : JS_NewArrayBufferCopy(ctx, (const uint8_t *)buf, size);
    free(buf);
    return r;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("field", 2, js_field), JS_CFUNC_DEF("keys", 2, js_keys),     JS_CFUNC_DEF("set", 4, js_set),
    JS_CFUNC_DEF("body", 3, js_body),   JS_CFUNC_DEF("append", 2, js_append), JS_CFUNC_DEF("call", 2, js_call),
    JS_CFUNC_DEF("log", 2, js_log),     JS_CFUNC_DEF("clock", 1, js_clock),   JS_CFUNC_DEF("random", 1, js_random),
};

static const struct hexdag_script *script_named(const char *name) {
    for (const struct hexdag_script *s = hexdag_scripts; s->name; s++)
        if (strcmp(s->name, name) == 0) return s;
    return 0;
}

/* Modules are named by their file, and the SDK is "hexdag". */
static char *normalize(JSContext *c, const char *base __attribute__((unused)), const char *name, void *opaque __attribute__((unused))) {
    return js_strdup(c, strncmp(name, "./", 2) == 0 ? name + 2 : name);
}

static JSModuleDef *load(JSContext *c, const char *name, void *opaque __attribute__((unused))) {
    const struct hexdag_script *s = script_named(name);
    if (!s) {
        JS_ThrowReferenceError(c, "there is no module %s", name);
        return 0;
    }
    JSValue compiled = JS_Eval(c, s->text, s->len, s->name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    if (JS_IsException(compiled)) return 0;
    JSModuleDef *m = JS_VALUE_GET_PTR(compiled);
    JS_FreeValue(c, compiled);
    return m;
}

static void run_jobs(void) {
    JSContext *c;
    while (JS_ExecutePendingJob(JS_GetRuntime(ctx), &c) > 0) {
    }
}

/* evaluate gives a module's exports. */
static int evaluate(const char *name, JSValue *exports) {
    JSModuleDef *m = load(ctx, name, 0);
    if (!m) return 0;
    JSValue module = JS_DupValue(ctx, JS_MKPTR(JS_TAG_MODULE, m));
    if (JS_ResolveModule(ctx, module) < 0) return 0;
    JSValue promise = JS_EvalFunction(ctx, module);
    if (JS_IsException(promise)) return 0;
    run_jobs();
    if (JS_PromiseState(ctx, promise) == JS_PROMISE_REJECTED) {
        JS_Throw(ctx, JS_PromiseResult(ctx, promise));
        return 0;
    }
    JS_FreeValue(ctx, promise);
    *exports = JS_GetModuleNamespace(ctx, m);
    return !JS_IsException(*exports);
}

/* A guest whose script does not load has no verdict, and says why in its log. */
__attribute__((constructor)) static void start(void) {
    JSRuntime *rt = JS_NewRuntime();
    JS_SetMaxStackSize(rt, 768 * 1024);
    JS_SetModuleLoaderFunc(rt, normalize, load, 0);
    ctx = JS_NewContext(rt);
    JSValue global = JS_GetGlobalObject(ctx), host = JS_NewObject(ctx), sdk;
    JS_SetPropertyFunctionList(ctx, host, functions, sizeof functions / sizeof functions[0]);
    JS_SetPropertyStr(ctx, global, "hexdagHost", host);
    JS_FreeValue(ctx, global);
    if (!evaluate("hexdag", &sdk) || !evaluate(hexdag_scripts[0].name, &entry)) {
        log_exception();
        __builtin_trap();
    }
    serve = JS_GetPropertyStr(ctx, sdk, "serve");
    JS_FreeValue(ctx, sdk);
    JS_RunGC(rt);
}

/* hexdag_js calls a handler, through the SDK: serve gives [verdict, argument]. */
uint64_t hexdag_js(const char *point) {
    JS_UpdateStackTop(JS_GetRuntime(ctx));
    JSValue args[2] = {JS_NewString(ctx, point), JS_GetPropertyStr(ctx, entry, point)};
    JSValue r = JS_Call(ctx, serve, JS_UNDEFINED, 2, args);
    run_jobs();
    if (JS_IsException(r)) {
        log_exception();
        return HEXDAG_ERROR;
    }
    JSValue verdict = JS_GetPropertyUint32(ctx, r, 0), arg = JS_GetPropertyUint32(ctx, r, 1);
    uint64_t bits = (uint64_t)number(arg) << 32 | number(verdict);
    JS_FreeValue(ctx, args[0]);
    JS_FreeValue(ctx, args[1]);
    JS_FreeValue(ctx, r);
    return bits;
}

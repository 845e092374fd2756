/* token-budget is a hook before llm.complete that keeps a run's model calls
 * within a budget of tokens. It denies a call whose prompt leaves no room for an
 * answer, and lowers /args/max_tokens so that the answer cannot overshoot.
 *
 * Configuration, at least one of
 *
 *     max_tokens_per_run   tokens of one run's prompts and completions
 *     max_tokens_per_call  tokens of one call's prompt and completion
 *
 * A prompt's tokens are not known before the call, so they are estimated: a
 * quarter of its bytes, and four more a message. What was really used, as the
 * port reports it, is in /run/usage and counts for the next call. Calls that run
 * at the same time see the same usage; each alone keeps within the budget.
 *
 * It asks for no capability: it reads its input and patches it.
 *
 * token-budget.wasm is checked in; 'hexdag build guests/token-budget' with
 * clang-14 makes it again, byte for byte. */
#include "../sdk/c/hexdag.h"

enum { BYTES_PER_TOKEN = 4, TOKENS_PER_MESSAGE = 4 };

/* limit reads a positive integer from the configuration into *value: 1 if it is
 * there, 0 if it is not, -1 if it is something else. */
static int limit(const char *path, int64_t *value) {
    if (hexdag_kind(HEXDAG_CONFIG, path) == HEXDAG_ABSENT) return 0;
    return hexdag_get_int(HEXDAG_CONFIG, path, value) && *value > 0 ? 1 : -1;
}

/* prompt_tokens estimates the prompt from the lengths of its messages, none of
 * which is copied. */
static int64_t prompt_tokens(void) {
    int64_t tokens = 0;
    uint32_t messages = hexdag_count(HEXDAG_INPUT, "/args/messages");
    for (uint32_t i = 0; i < messages; i++) {
        char buf[48];
        struct hexdag_text path = {buf, sizeof buf, 0, 0};
        hexdag_add(&path, "/args/messages/");
        hexdag_add_int(&path, i);
        hexdag_add(&path, "/content");
        tokens += (hexdag_length(HEXDAG_INPUT, buf) + (BYTES_PER_TOKEN - 1)) / BYTES_PER_TOKEN + TOKENS_PER_MESSAGE;
    }
    return tokens;
}

/* used_tokens is what the run has used, as the host counts it. */
static int64_t used_tokens(void) {
    int64_t in = 0, out = 0;
    hexdag_get_int(HEXDAG_INPUT, "/run/usage/input_tokens", &in);
    hexdag_get_int(HEXDAG_INPUT, "/run/usage/output_tokens", &out);
    return in + out;
}

/* over denies the call with the figures and the key that would change it. */
static uint64_t over(const char *key, int64_t max, int64_t used, int64_t prompt) {
    char buf[256];
    struct hexdag_text t = {buf, sizeof buf, 0, 0};
    if (used > 0) {
        hexdag_add(&t, "the run has used ");
        hexdag_add_int(&t, used);
        hexdag_add(&t, " tokens and ");
    }
    hexdag_add(&t, "this prompt takes about ");
    hexdag_add_int(&t, prompt);
    hexdag_add(&t, ", which leaves no room for an answer within ");
    hexdag_add(&t, key);
    hexdag_add(&t, ": ");
    hexdag_add_int(&t, max);
    return hexdag_deny("over_budget", buf);
}

static uint64_t bad_config(const char *key) {
    char buf[128];
    struct hexdag_text t = {buf, sizeof buf, 0, 0};
    hexdag_add(&t, "config: ");
    hexdag_add(&t, key);
    return hexdag_fail("bad_config", buf);
}

/* lower makes sure that the answer takes at most room tokens. A max_tokens that
 * is no positive integer would be no limit, so it is replaced too. */
static uint64_t lower(int64_t room) {
    int64_t asked;
    if (hexdag_get_int(HEXDAG_INPUT, "/args/max_tokens", &asked) && asked > 0 && asked <= room) return HEXDAG_CONTINUE;
    if (hexdag_set_int(HEXDAG_INPUT, "/args/max_tokens", room) != HEXDAG_OK)
        return hexdag_fail("write_failed", "cannot lower /args/max_tokens");
    return HEXDAG_REPLACE;
}

HEXDAG_EXPORT(port_before) {
    char op[16];
    int64_t per_run = INT64_MAX, per_call = INT64_MAX;
    if (hexdag_get_text(HEXDAG_INPUT, "/op", op, sizeof op) < 0 || !hexdag_equal(op, "llm.complete")) return HEXDAG_CONTINUE;

    int has_run = limit("/max_tokens_per_run", &per_run);
    int has_call = limit("/max_tokens_per_call", &per_call);
    if (has_run < 0) return bad_config("max_tokens_per_run is not a positive integer");
    if (has_call < 0) return bad_config("max_tokens_per_call is not a positive integer");
    if (!has_run && !has_call) return bad_config("neither max_tokens_per_run nor max_tokens_per_call is set");

    int64_t prompt = prompt_tokens(), used = used_tokens();
    if (prompt >= per_call) return over("max_tokens_per_call", per_call, 0, prompt);
    if (used >= per_run || prompt >= per_run - used) return over("max_tokens_per_run", per_run, used, prompt);

    int64_t room = per_call - prompt;
    return lower(per_run - used - prompt < room ? per_run - used - prompt : room);
}

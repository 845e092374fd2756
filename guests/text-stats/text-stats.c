/* text-stats is a tool that counts: bytes, characters, words, lines and sentences
 * of a text, and the longest word's characters.
 *
 * A word is a run of characters other than white space; a sentence ends with a run
 * of . ! ? before white space, of the characters of other scripts that do the same,
 * or with the text. A line ends with a line feed, or with the text. White space is ASCII's, no-break space,
 * U+2000 to U+200A, U+2028, U+2029 and U+3000.
 *
 * It asks for no capability. */
#include "../sdk/c/hexdag.h"

extern unsigned char __heap_base;

enum { PAGE = 65536 };

/* room returns memory behind the data, of at least so many bytes; 0 if there is none. */
static unsigned char *room(uint32_t size) {
    uint64_t need = (uint64_t)(uintptr_t)&__heap_base + size;
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
    if (need > have && __builtin_wasm_memory_grow(0, (need - have + PAGE - 1) / PAGE) == (uintptr_t)-1) return 0;
    return &__heap_base;
}

/* next decodes a character of text, which the host has checked to be UTF-8. */
static uint32_t next(const unsigned char *text, uint32_t *at) {
    uint32_t c = text[(*at)++];
    uint32_t more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    if (more) c &= 0x3f >> more;
    while (more--) c = c << 6 | (text[(*at)++] & 0x3f);
    return c;
}

static int is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == ' ' || c == 0xa0 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x3000;
}

static int ends_sentence(uint32_t c) {
    return c == '.' || c == '!' || c == '?' || c == 0x3002 || c == 0xff01 || c == 0xff1f || c == 0x061f || c == 0x0964;
}

struct counts {
    int64_t characters, words, lines, sentences, longest;
};

static void count(const unsigned char *text, uint32_t size, struct counts *n) {
    int64_t word = 0;
    int open = 0, ended = 0, last = '\n';
    for (uint32_t i = 0; i < size;) {
        uint32_t c = next(text, &i);
        n->characters++;
        n->lines += c == '\n';
        if (is_space(c)) word = 0;
        else {
            n->words += word == 0;
            if (++word > n->longest) n->longest = word;
        }
        if (ends_sentence(c)) ended = open ? (c < 0x80 ? 1 : 2) : 0;
        else {
            if (ended == 2 || (ended && is_space(c))) n->sentences++, open = 0; /* 3.14 goes on */
            ended = 0;
            if (!is_space(c)) open = 1;
        }
        last = (int)c;
    }
    n->sentences += open;
    n->lines += last != '\n';
}

HEXDAG_EXPORT(tool_call) {
    char tool[16];
    if (hexdag_get_text(HEXDAG_INPUT, "/tool", tool, sizeof tool) < 0 || !hexdag_equal(tool, "text_stats"))
        return hexdag_fail("no_tool", "the only tool is text_stats");
    if (hexdag_kind(HEXDAG_INPUT, "/args/text") != HEXDAG_STRING) return hexdag_fail("bad_arguments", "text must be a string");

    uint32_t size = hexdag_length(HEXDAG_INPUT, "/args/text");
    unsigned char *text = room(size);
    if (!text) return hexdag_fail("too_large", "there is no memory for the text");
    if ((uint32_t)hexdag_field(HEXDAG_INPUT, "/args/text", 10, text, size) != size) return hexdag_fail("unreadable", "the text cannot be read");

    struct counts n = {0, 0, 0, 0, 0};
    count(text, size, &n);
    int32_t failed = hexdag_set_int(HEXDAG_OUTPUT, "/bytes", size) | hexdag_set_int(HEXDAG_OUTPUT, "/characters", n.characters) |
                     hexdag_set_int(HEXDAG_OUTPUT, "/words", n.words) | hexdag_set_int(HEXDAG_OUTPUT, "/lines", n.lines) |
                     hexdag_set_int(HEXDAG_OUTPUT, "/sentences", n.sentences) | hexdag_set_int(HEXDAG_OUTPUT, "/longest_word", n.longest);
    return failed ? hexdag_fail("write_failed", "the result cannot be written") : HEXDAG_CONTINUE;
}

// The same without any framework: the host writes to in, calls, and reads out.
#define EXPORT(name) __attribute__((export_name(#name)))

static char in[1024], out[1024];

EXPORT(in) char *input(void) { return in; }
EXPORT(out) char *output(void) { return out; }

EXPORT(echo) int echo(int n) {
    if (n < 0 || n > (int)sizeof in) return -1;
    __builtin_memcpy(out, in, n);
    return n;
}

// The same for waPC.
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("wapc"), import_name(#name)))

IMPORT(__guest_request) void guest_request(char *op, char *payload);
IMPORT(__guest_response) void guest_response(const char *ptr, uint32_t len);

static char op[64], buf[1024];

__attribute__((export_name("__guest_call"))) int32_t guest_call(uint32_t op_len, uint32_t len) {
    if (op_len > sizeof op || len > sizeof buf) return 0;
    guest_request(op, buf);
    guest_response(buf, len);
    return 1;
}

// Kernels to measure metering with. kernels.wasm is made of it by
//   clang --target=wasm32-wasi -mexec-model=reactor -O3 -mbulk-memory \
//     -mmutable-globals -Wl,--strip-all kernels.c -o kernels.wasm
#include <stdint.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

EXPORT("spin") uint64_t spin(uint64_t n) {
  uint64_t x = 88172645463325252ull;
  for (uint64_t i = 0; i < n; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
  }
  return x;
}

static double A[128 * 128], B[128 * 128], C[128 * 128];

EXPORT("matmul") double matmul(uint32_t n) {
  for (uint32_t i = 0; i < n * n; i++) {
    A[i] = i % 7;
    B[i] = i % 5;
  }
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = 0; j < n; j++) {
      double s = 0;
      for (uint32_t k = 0; k < n; k++) s += A[i * n + k] * B[k * n + j];
      C[i * n + j] = s;
    }
  return C[n + 1];
}

static uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

// The rounds of SHA-256, with other constants.
EXPORT("sha") uint32_t sha(uint32_t n) {
  static uint32_t k[64];
  uint32_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[64];
  for (int i = 0; i < 64; i++) k[i] = i * 2654435761u;
  for (uint32_t block = 0; block < n / 64; block++) {
    for (int i = 0; i < 16; i++) w[i] = block * i;
    for (int i = 16; i < 64; i++) {
      uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + w[i - 7] + (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) + (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10);
    }
    uint32_t v[8];
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
      uint32_t e = v[4], a = v[0];
      uint32_t t1 = v[7] + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + k[i] + w[i];
      uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
      for (int j = 7; j > 0; j--) v[j] = v[j - 1];
      v[4] += t1;
      v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) h[i] += v[i];
  }
  return h[0] ^ h[7];
}

EXPORT("sieve") uint32_t sieve(uint32_t n) {
  static uint8_t composite[1 << 20];
  uint32_t count = 0;
  memset(composite, 0, n);
  for (uint32_t i = 2; i < n; i++)
    if (!composite[i]) {
      count++;
      for (uint32_t j = i * 2; j < n; j += i) composite[j] = 1;
    }
  return count;
}

__attribute__((noinline)) static uint32_t fibonacci(uint32_t n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

EXPORT("fib") uint32_t fib(uint32_t n) { return fibonacci(n); }

EXPORT("scan") uint32_t scan(uint32_t n) {
  static char text[1 << 16];
  uint32_t depth = 0, sum = 0, quoted = 0;
  for (uint32_t i = 0; i < sizeof text; i++) text[i] = "{\"a\":[1,2,{\"b\":null}]}, "[i % 25];
  for (uint32_t round = 0; round < n; round++)
    for (uint32_t i = 0; i < sizeof text; i++) {
      char c = text[i];
      switch (c) {
      case '{': case '[': depth++; break;
      case '}': case ']': depth--; break;
      case '"': quoted ^= 1; break;
      case ' ': break;
      default:
        if (c >= '0' && c <= '9')
          sum = sum * 10 + c - '0';
        else if (quoted)
          sum ^= c;
      }
    }
  return sum + depth;
}

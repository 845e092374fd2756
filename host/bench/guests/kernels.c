// Work without imports. The payload's length says which: what node_run is called
// with. The high half of the result is a checksum.
#include <stdint.h>

static uint32_t spin(uint32_t n) {
    uint32_t x = 2463534242u;
    for (uint32_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }
    return x;
}

#define SIDE 96
static double a[SIDE * SIDE], b[SIDE * SIDE], c[SIDE * SIDE];

static uint32_t matmul(void) {
    for (int i = 0; i < SIDE * SIDE; i++) a[i] = i % 7, b[i] = i % 5;
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            double sum = 0;
            for (int k = 0; k < SIDE; k++) sum += a[i * SIDE + k] * b[k * SIDE + j];
            c[i * SIDE + j] = sum;
        }
    double sum = 0;
    for (int i = 0; i < SIDE * SIDE; i++) sum += c[i];
    return (uint32_t)sum;
}

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74,
    0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d,
    0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e,
    0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
    0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))

static unsigned char text[1 << 16];

// The blocks of SHA-256, without its padding.
static uint32_t sha256(void) {
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}, w[64];
    for (uint32_t i = 0; i < sizeof text; i++) text[i] = (unsigned char)i;
    for (uint32_t at = 0; at < sizeof text; at += 64) {
        for (int i = 0; i < 16; i++) {
            unsigned char *p = text + at + 4 * i;
            w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
        for (int i = 16; i < 64; i++) {
            uint32_t s0 = ROR(w[i - 15], 7) ^ ROR(w[i - 15], 18) ^ w[i - 15] >> 3, s1 = ROR(w[i - 2], 17) ^ ROR(w[i - 2], 19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        uint32_t s[8];
        for (int i = 0; i < 8; i++) s[i] = h[i];
        for (int i = 0; i < 64; i++) {
            uint32_t t1 = s[7] + (ROR(s[4], 6) ^ ROR(s[4], 11) ^ ROR(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + K[i] + w[i];
            uint32_t t2 = (ROR(s[0], 2) ^ ROR(s[0], 13) ^ ROR(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
            for (int j = 7; j > 0; j--) s[j] = s[j - 1];
            s[4] += t1;
            s[0] = t1 + t2;
        }
        for (int i = 0; i < 8; i++) h[i] += s[i];
    }
    return h[0];
}

// A walk through 64 KB of JSON: strings with escapes, nesting, numbers.
static uint32_t json(void) {
    static const char record[] = "{\"id\":12345,\"name\":\"a \\\"b\\\" c\",\"tags\":[\"x\",\"y\",true,null],\"n\":-1.5e3},\n";
    for (uint32_t i = 0; i < sizeof text; i++) text[i] = (unsigned char)record[i % (sizeof record - 1)];
    uint32_t strings = 0, numbers = 0, depth = 0, deepest = 0;
    for (uint32_t i = 0; i < sizeof text; i++) {
        unsigned char ch = text[i];
        if (ch == '"') {
            strings++;
            for (i++; i < sizeof text && text[i] != '"'; i++)
                if (text[i] == '\\') i++;
        } else if (ch == '{' || ch == '[') {
            if (++depth > deepest) deepest = depth;
        } else if (ch == '}' || ch == ']') {
            depth--;
        } else if (ch == '-' || (ch >= '0' && ch <= '9')) {
            numbers++;
            while (i + 1 < sizeof text && (text[i + 1] == '.' || text[i + 1] == 'e' || (text[i + 1] >= '0' && text[i + 1] <= '9'))) i++;
        }
    }
    return strings << 16 ^ numbers << 4 ^ deepest;
}

#define PRIMES 200000
static unsigned char composite[PRIMES];

static uint32_t sieve(void) {
    uint32_t count = 0;
    for (uint32_t i = 2; i < PRIMES; i++) composite[i] = 0;
    for (uint32_t i = 2; i < PRIMES; i++) {
        if (composite[i]) continue;
        count++;
        for (uint32_t j = 2 * i; j < PRIMES; j += i) composite[j] = 1;
    }
    return count;
}

__attribute__((export_name("node_run"))) uint64_t node_run(uint32_t which) {
    uint32_t sum = 0;
    switch (which) {
    case 1: sum = spin(1000000); break;
    case 2: sum = matmul(); break;
    case 3: sum = sha256(); break;
    case 4: sum = json(); break;
    case 5: sum = sieve(); break;
    case 6: sum = spin(500000000); break;
    }
    return (uint64_t)sum << 32;
}

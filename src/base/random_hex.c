#include "base/random_hex.h"

#include <sys/random.h>

#include "base/compiler.h"

void qw_random_hex(char *out, size_t n)
{
    unsigned char bytes[32];
    QW_ASSERT(n <= 2 * sizeof bytes);
    // At most 256 bytes come whole, and wait only for the entropy of a machine that just booted.
    while (getrandom(bytes, (n + 1) / 2, 0) < 0) continue;
    for (size_t i = 0; i < n; i++) {
        out[i] = "0123456789abcdef"[i % 2 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4];
    }
    out[n] = '\0';
}

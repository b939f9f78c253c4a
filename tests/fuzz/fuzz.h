#ifndef QW_TESTS_FUZZ_H
#define QW_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/** libFuzzer's entry point: one run on `size` bytes. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif

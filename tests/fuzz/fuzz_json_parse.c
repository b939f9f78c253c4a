// Any bytes as JSON: accepted by our parser exactly if jansson's accepts them, with equal values,
// and what is written reads back. Two differences are meant: we refuse numbers of more than 511
// characters, and NUL bytes behind a number, which jansson skips.
#include "base/mem.h"
#include "format/json.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) qw_json_init();
    ready = true;
    size_t live = qw_mem_live();
    qw_error err;
    json_error_t je;
    json_t *v = NULL, *again = NULL;
    json_t *want = json_loadb((const char *)data, size,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &je);
    qw_status st = qw_json_parse(&v, (const char *)data, size, "input", &err);
    bool may_differ = st != QW_OK && (strstr(err.text, "too long") || memchr(data, '\0', size));
    QW_ASSERT((st == QW_OK) == (want != NULL) || may_differ);
    if (st == QW_OK) {
        QW_ASSERT(json_equal(v, want));
        qw_buf text;
        qw_buf_init(&text, 1 << 24);
        qw_json_write(&text, v, false);
        QW_ASSERT(qw_json_parse(&again, text.data, text.len, "output", &err) == QW_OK);
        QW_ASSERT(json_equal(again, v));
        qw_buf_release(&text);
    }
    json_decref(again);
    json_decref(want);
    json_decref(v);
    QW_ASSERT(qw_mem_live() == live);
    return 0;
}

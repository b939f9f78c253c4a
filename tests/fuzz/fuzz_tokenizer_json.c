// Any bytes as tokenizer.json: refused with a sentence, or a tokenizer that works on any text.
#include "base/mem.h"
#include "format/json.h"
#include "format/tokenizer_internal.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) qw_json_init();
    ready = true;
    // The bytes behind the first NUL, which no JSON text has, are tokenizer_config.json.
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    qw_str json = {(const char *)data, nul ? (size_t)(nul - data) : size};
    qw_str config = {"", 0};
    if (nul) config = (qw_str){(const char *)nul + 1, size - json.len - 1};
    qw_error err;
    void *image;
    size_t image_size;
    qw_tokenizer *t;
    if (qw_tokenizer_compile(&image, &image_size, &json, nul ? &config : NULL, &err) != QW_OK)
        return 0;
    if (qw_tokenizer_from_image(&t, image, image_size, &err) != QW_OK) return 0;
    qw_ids ids = {0};
    qw_buf text;
    qw_buf_init(&text, 1 << 20);
    if (qw_tokenizer_encode(t, QW_STR("<s> abc aaaa\nlr \u00e9te\u0301 12\xff WORD"), 0, &ids,
                            &err) == QW_OK) {
        qw_tokenizer_decode(t, ids.data, ids.len, false, &text);
        QW_ASSERT(qw_utf8_is_valid((qw_str){text.data ? text.data : "", text.len}));
    }
    qw_buf_release(&text);
    qw_ids_release(&ids);
    qw_tokenizer_close(t);
    return 0;
}

// Any bytes as a compiled tokenizer: refused, or safe to use. The checksum is put right first, or
// nothing behind it would ever be reached.
#include "base/mem.h"
#include "format/tokenizer_internal.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qw_error err;
    qw_tokenizer *t;
    qw_tokenizer_view view;
    char *image = qw_mem_alloc(size);
    if (size) memcpy(image, data, size);
    (void)!qw_tokenizer_image_view(&view, image, size, &err); // as it comes
    if (size >= sizeof(qw_tokenizer_header)) {
        uint64_t whole = size;
        memcpy(image + offsetof(qw_tokenizer_header, size), &whole, sizeof whole);
        qw_tokenizer_image_seal(image, size);
    }
    if (qw_tokenizer_from_image(&t, image, size, &err) != QW_OK) return 0;
    qw_ids ids = {0};
    qw_buf text;
    qw_buf_init(&text, 1 << 20);
    if (qw_tokenizer_encode(t, QW_STR("<s> abc aaaa\nlr \u00e9te\u0301 12\xff WORD"), 0, &ids,
                            &err) == QW_OK) {
        qw_tokenizer_decode(t, ids.data, ids.len, true, &text);
        QW_ASSERT(qw_utf8_is_valid((qw_str){text.data ? text.data : "", text.len}));
    }
    int32_t id;
    (void)qw_tokenizer_id_of(t, QW_STR("abc"), &id);
    qw_buf_release(&text);
    qw_ids_release(&ids);
    qw_tokenizer_close(t);
    return 0;
}

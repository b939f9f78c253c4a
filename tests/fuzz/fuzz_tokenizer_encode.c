// Any bytes as text, with the tiny model's tokenizer: what is decoded is the text's NFC, and the
// incremental detokenizer gives out nothing else.
#include "base/mem.h"
#include "format/detokenizer.h"
#include "format/json.h"
#include "format/nfc.h"
#include "format/tokenizer_internal.h"
#include "fuzz/fuzz.h"

static qw_tokenizer *tokenizer(void)
{
    static qw_tokenizer *t; // until the process ends
    qw_error err;
    if (!t) {
        qw_json_init();
        QW_ASSERT(qw_tokenizer_open(&t, QW_SOURCE_DIR "/models/tiny", NULL, &err) == QW_OK);
    }
    return t;
}

static void check_stream(const qw_ids *ids, qw_str whole)
{
    qw_error err;
    qw_detokenizer d;
    qw_buf text;
    qw_buf_init(&text, 1 << 24);
    QW_ASSERT(qw_detokenizer_init(&d, tokenizer(), false, NULL, 0, &err) == QW_OK);
    for (size_t i = 0; i < ids->len; i++)
        QW_ASSERT(qw_detokenizer_push(&d, ids->data[i], &text, &err) == QW_OK);
    QW_ASSERT(qw_str_starts_with(whole, (qw_str){text.data ? text.data : "", text.len}));
    QW_ASSERT(text.len == whole.len || qw_str_ends_with(whole, QW_STR("\uFFFD")));
    qw_detokenizer_release(&d);
    qw_buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const qw_tokenizer *t = tokenizer();
    qw_error err;
    qw_str text = {(const char *)data, size};
    qw_ids ids = {0};
    qw_buf valid, nfc, back;
    qw_buf_init(&valid, 1 << 24);
    qw_buf_init(&nfc, 1 << 24);
    qw_buf_init(&back, 1 << 24);
    QW_ASSERT(qw_tokenizer_encode(t, text, size % 2 ? QW_ENCODE_SPLIT_SPECIAL : 0, &ids, &err) ==
              QW_OK);
    qw_tokenizer_decode(t, ids.data, ids.len, false, &back);
    qw_str decoded = {back.data ? back.data : "", back.len};
    QW_ASSERT(qw_utf8_is_valid(decoded));
    bool has_added = false;
    for (size_t i = 0; i < ids.len; i++) has_added |= qw_tokenizer_is_added(t, ids.data[i]);
    if (!has_added) {
        qw_utf8_repair repair = {0};
        qw_utf8_repair_push(&repair, &valid, text);
        qw_utf8_repair_end(&repair, &valid);
        QW_ASSERT(qw_nfc_append(&nfc, (qw_str){valid.data ? valid.data : "", valid.len}, &err) ==
                  QW_OK);
        QW_ASSERT(qw_str_eq(decoded, (qw_str){nfc.data ? nfc.data : "", nfc.len}));
    }
    check_stream(&ids, decoded);
    qw_buf_release(&back);
    qw_buf_release(&nfc);
    qw_buf_release(&valid);
    qw_ids_release(&ids);
    return 0;
}

// Any bytes as the answer of a server under load: read whole and byte by byte, the outcome is the
// same but for its times, and nothing is left behind. The first byte: 1 for a chat.
#include "base/mem.h"
#include "bench/load_stream.h"
#include "format/json.h"
#include "fuzz/fuzz.h"

static qw_status read_answer(qw_load_outcome *o, const char *data, size_t size, size_t step,
                             bool is_chat)
{
    qw_error err;
    qw_load_stream s;
    qw_status st = QW_OK;
    qw_load_stream_init(&s, o, is_chat);
    for (size_t at = 0; at < size && st == QW_OK; at += step)
        st = qw_load_stream_feed(&s, data + at, size - at < step ? size - at : step, 1, &err);
    qw_load_stream_finish(&s);
    qw_load_stream_release(&s);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) qw_json_init();
    ready = true;
    if (size == 0) return 0;
    size_t live = qw_mem_live();
    bool is_chat = data[0] == 1;
    qw_load_outcome whole = {0}, pieces = {0};
    qw_status a = read_answer(&whole, (const char *)data + 1, size - 1, size, is_chat);
    qw_status b = read_answer(&pieces, (const char *)data + 1, size - 1, 1, is_chat);
    QW_ASSERT(a == b && whole.is_ok == pieces.is_ok && whole.n_itls == pieces.n_itls);
    QW_ASSERT(whole.output_tokens == pieces.output_tokens);
    QW_ASSERT(!whole.text == !pieces.text && (!whole.text || !strcmp(whole.text, pieces.text)));
    qw_load_outcome_release(&whole);
    qw_load_outcome_release(&pieces);
    QW_ASSERT(qw_mem_live() == live);
    return 0;
}

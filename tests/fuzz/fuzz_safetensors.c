// Any bytes as a safetensors file: refused, or every tensor's bytes lie inside and can be read.
#include "base/mem.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) qw_json_init();
    ready = true;
    size_t live = qw_mem_live();
    qw_safetensors st;
    qw_error err;
    if (qw_safetensors_parse(&st, data, size, &err) == QW_OK) {
        size_t total = 0;
        unsigned sum = 0;
        for (size_t i = 0; i < st.n_tensors; i++) {
            const qw_stored_tensor *t = &st.tensors[i];
            QW_ASSERT(qw_safetensors_find(&st, t->name) == t);
            for (size_t k = 0; k < t->size; k++) sum += t->data[k];
            total += t->size;
        }
        QW_ASSERT(total + 8 <= size && sum + 1 > 0);
        qw_safetensors_close(&st);
    }
    QW_ASSERT(qw_mem_live() == live);
    return 0;
}

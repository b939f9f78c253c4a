// Any text as a quantization description, then names looked up in it.
#include "base/mem.h"
#include "format/json.h"
#include "format/quant_description.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) qw_json_init();
    ready = true;
    size_t live = qw_mem_live();
    qw_error err;
    qw_quant_description d;
    if (qw_quant_description_parse(&d, (const char *)data, size, &err) == QW_OK) {
        QW_ASSERT(d.group_size >= -1 && d.group_size <= INT32_MAX);
        for (size_t i = 0; i < d.n_entries; i++) {
            QW_ASSERT(d.entries[i].type <= QW_QUANT_OTHER && d.entries[i].text);
            QW_ASSERT(strlen(qw_quant_type_name(d.entries[i].type)) > 0);
        }
        (void)qw_quant_description_entry(&d, "a.weight");
        (void)qw_quant_description_entry(&d, "thinker.a.weight_packed");
        (void)qw_quant_description_entry(&d, "");
        qw_quant_description_release(&d);
    }
    QW_ASSERT(qw_mem_live() == live);
    return 0;
}

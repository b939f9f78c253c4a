// Any text as config.json and, behind the first NUL byte, as --hf-overrides; then as
// generation_config.json. What is accepted keeps the promises of the headers.
#include <math.h>

#include "base/mem.h"
#include "format/generation_config.h"
#include "format/json.h"
#include "fuzz/fuzz.h"

static void check_config(const qw_model_config *c)
{
    QW_ASSERT(c->num_key_value_heads > 0 && c->num_attention_heads % c->num_key_value_heads == 0);
    QW_ASSERT(c->head_dim > 0 && c->head_dim % 2 == 0);
    QW_ASSERT((int64_t)c->head_dim * c->num_attention_heads <= INT32_MAX);
    QW_ASSERT(c->rms_norm_eps > 0 && c->rope.rope_theta >= 2 && c->rope.factor >= 1);
    QW_ASSERT(c->rope.original_max_position_embeddings > 0);
    QW_ASSERT(qw_model_config_max_len(c) > 0);
    double m = qw_model_config_attention_factor(c);
    QW_ASSERT(isfinite(m) && m > 0);
    QW_ASSERT(c->warnings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) qw_json_init();
    ready = true;
    size_t live = qw_mem_live();
    const char *text = (const char *)data;
    size_t len = 0;
    while (len < size && text[len]) len++;
    char *overrides = len < size ? qw_mem_strndup(text + len + 1, size - len - 1) : NULL;
    qw_error err;
    qw_model_config c = {0};
    qw_generation_config g;
    if (qw_model_config_parse(&c, text, len, overrides, &err) == QW_OK) check_config(&c);
    if (qw_generation_config_parse(&g, text, len, overrides, &c, &err) == QW_OK)
        qw_generation_config_release(&g);
    qw_model_config_release(&c);
    qw_mem_free(overrides);
    QW_ASSERT(qw_mem_live() == live);
    return 0;
}

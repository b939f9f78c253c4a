#include "engine/memory_plan.h"

#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

static double gib(size_t bytes)
{
    return (double)bytes / (double)((size_t)1 << 30);
}

static int32_t blocks_for(const qw_plan_input *in, int64_t n_tokens)
{
    return (int32_t)((n_tokens + in->block_size - 1) / in->block_size);
}

static qw_status refuse_weights(const qw_memory_plan *p, qw_error *err)
{
    const qw_plan_input *in = &p->in;
    size_t one_block = in->weights + in->activations + in->kv_per_block;
    double fraction = (double)one_block / (double)in->memory_limit;
    char hint[160];
    if (fraction <= 1.0)
        snprintf(hint, sizeof hint, "--gpu-memory-utilization %.2f would do",
                 fraction + 0.01 > 1.0 ? 1.0 : fraction + 0.01);
    else
        snprintf(hint, sizeof hint,
                 "this model needs a machine with at least %.2f GiB, or fewer layers "
                 "(--hf-overrides '{\"num_hidden_layers\": N}')",
                 gib(one_block));
    return qw_fail(
        err, QW_ERR_NO_MEMORY,
        "no memory for the KV cache: weights take %.2f GiB and step buffers %.2f GiB, but "
        "%.2f of the %.2f GiB of this machine is %.2f GiB; %s",
        gib(in->weights), gib(in->activations), in->memory_fraction, gib(in->memory_limit),
        gib(p->budget), hint);
}

static qw_status refuse_length(const qw_memory_plan *p, int32_t available, qw_error *err)
{
    const qw_plan_input *in = &p->in;
    size_t need = (size_t)blocks_for(in, p->max_model_len) * in->kv_per_block;
    size_t have = (size_t)available * in->kv_per_block;
    double fraction = (double)(in->weights + in->activations + need) / (double)in->memory_limit;
    char more[80] = "";
    if (in->kv_cache_bytes > 0)
        snprintf(more, sizeof more, ", or --kv-cache-memory-bytes %zu", need);
    else if (in->n_blocks_override > 0)
        snprintf(more, sizeof more, ", or --num-gpu-blocks-override %d",
                 blocks_for(in, p->max_model_len));
    else if (fraction <= 0.99)
        snprintf(more, sizeof more, ", or --gpu-memory-utilization %.2f", fraction + 0.01);
    return qw_fail(err, QW_ERR_NO_MEMORY,
                   "to serve one request of the model's max seq len (%d), %.3f GiB of KV cache is "
                   "needed, but %.3f GiB is available; --max-model-len %d would fit%s",
                   p->max_model_len, gib(need), gib(have), available * in->block_size, more);
}

// Blocks that the budget, the absolute size or the override allows.
static qw_status available_blocks(const qw_memory_plan *p, int32_t *out, qw_error *err)
{
    const qw_plan_input *in = &p->in;
    if (in->n_blocks_override > 0) {
        *out = in->n_blocks_override;
        return QW_OK;
    }
    size_t bytes = (size_t)in->kv_cache_bytes;
    if (bytes == 0) {
        size_t fixed = in->weights + in->activations;
        if (p->budget < fixed || p->budget - fixed < in->kv_per_block)
            return refuse_weights(p, err);
        bytes = p->budget - fixed;
    }
    size_t n = bytes / in->kv_per_block;
    *out = n > INT32_MAX / 256 ? INT32_MAX / 256 : (int32_t)n;
    if (*out < 1)
        return qw_fail(err, QW_ERR_USAGE,
                       "--kv-cache-memory-bytes %" PRId64 " is less than one block of %zu bytes",
                       in->kv_cache_bytes, in->kv_per_block);
    return QW_OK;
}

qw_status qw_memory_plan_make(qw_memory_plan *out, const qw_plan_input *in, qw_error *err)
{
    qw_memory_plan p = {.in = *in};
    p.budget = (size_t)((double)in->memory_limit * in->memory_fraction);
    p.max_model_len = in->max_model_len > 0 ? in->max_model_len : in->derived_max_len;
    if (p.max_model_len > in->derived_max_len && !in->allow_long)
        return qw_fail(
            err, QW_ERR_USAGE,
            "--max-model-len %d is more than the %d tokens this model is made for; scale "
            "its positions with --hf-overrides (YaRN), or set "
            "VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 to try all the same",
            p.max_model_len, in->derived_max_len);
    int32_t available = 0;
    qw_status st = available_blocks(&p, &available, err);
    if (st != QW_OK) return st;
    if (in->max_model_len < 0 && blocks_for(in, p.max_model_len) > available)
        p.max_model_len = available * in->block_size;
    if (blocks_for(in, p.max_model_len) > available) return refuse_length(&p, available, err);
    int64_t useful = (int64_t)blocks_for(in, p.max_model_len) * in->max_num_seqs;
    p.n_blocks = available < useful || in->n_blocks_override > 0 ? available : (int32_t)useful;
    p.kv = (size_t)p.n_blocks * in->kv_per_block;
    if (!qw_add_size(&p.total, p.kv, in->weights) ||
        !qw_add_size(&p.total, p.total, in->activations))
        return qw_fail(err, QW_ERR_USAGE, "the KV cache asked for is larger than any memory");
    if (p.total > in->memory_limit)
        return qw_fail(
            err, QW_ERR_NO_MEMORY,
            "the plan needs %.2f GiB (weights %.2f, step buffers %.2f, KV cache %.2f), more "
            "than this machine's %.2f GiB; give the KV cache at most %zu bytes",
            gib(p.total), gib(in->weights), gib(in->activations), gib(p.kv), gib(in->memory_limit),
            in->memory_limit > p.total - p.kv ? in->memory_limit - (p.total - p.kv) : 0);
    *out = p;
    return QW_OK;
}

void qw_memory_plan_print(const qw_memory_plan *p, qw_buf *out)
{
    const qw_plan_input *in = &p->in;
    qw_buf_printf(out, "memory plan\n");
    qw_buf_printf(out, "  weights         %9.3f GiB%s\n", gib(in->weights),
                  p->mapped_weights ? "  mapped from the packed cache" : "");
    if (in->experts > 0)
        qw_buf_printf(out, "    experts       %9.3f GiB  of these\n", gib(in->experts));
    qw_buf_printf(out, "  step buffers    %9.3f GiB\n", gib(in->activations));
    qw_buf_printf(
        out,
        "  KV cache        %9.3f GiB  reserved: %d blocks of %d tokens, %zu bytes a token in %s\n",
        gib(p->kv), p->n_blocks, in->block_size, in->kv_per_block / (size_t)in->block_size,
        qw_dtype_name(in->kv_dtype));
    qw_buf_printf(out, "  worst case      %9.3f GiB  of %.3f GiB (%.2f of %.3f)\n", gib(p->total),
                  gib(p->budget), in->memory_fraction, gib(in->memory_limit));
    qw_buf_printf(out, "  mapped files    %9.3f GiB  page cache, not counted above\n",
                  gib(in->mapped));
    qw_buf_printf(out, "  context         %9d tokens\n", p->max_model_len);
}

// A number in a one-line file, or `fallback`: "max", no file, nonsense.
static size_t read_limit(const char *path, size_t fallback)
{
    FILE *f = fopen(path, "re");
    if (!f) return fallback;
    char line[64] = "";
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == ' ')) n--;
    int64_t value;
    return qw_str_to_i64((qw_str){line, n}, &value) && value > 0 ? (size_t)value : fallback;
}

size_t qw_memory_limit(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t limit = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : (size_t)1 << 30;
    size_t v2 = read_limit("/sys/fs/cgroup/memory.max", limit);
    size_t v1 = read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes", limit);
    if (v2 < limit) limit = v2;
    if (v1 < limit) limit = v1;
    return limit;
}

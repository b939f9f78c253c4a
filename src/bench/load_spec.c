// vllm/benchmarks/serve.py, fetch_spec_decode_metrics, and the figures made of it.
#include "bench/load_spec.h"

static const char prefix[] = "vllm:spec_decode";

// The value behind the last blank of a line, rounded down; false if there is none.
static bool read_value(int64_t *out, qw_str line)
{
    size_t at = line.len;
    while (at > 0 && line.ptr[at - 1] != ' ') at--;
    double value;
    if (!qw_str_to_f64((qw_str){line.ptr + at, line.len - at}, &value)) return false;
    if (!(value >= 0 && value < 9e18)) return false;
    *out = (int64_t)value;
    return true;
}

// Nobody counts that far; a server that says so is not believed.
static void add(int64_t *sum, int64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum)) *sum = 0;
}

static bool has(qw_str line, const char *text)
{
    return qw_str_find(line, qw_str_of(text), 0) != SIZE_MAX;
}

// position="3"
static bool read_position(int *out, qw_str line)
{
    const qw_str label = QW_STR("position=\"");
    size_t at = qw_str_find(line, label, 0);
    if (at == SIZE_MAX) return false;
    at += label.len;
    size_t end = at;
    while (end < line.len && line.ptr[end] != '"') end++;
    int64_t position;
    if (!qw_str_to_i64((qw_str){line.ptr + at, end - at}, &position)) return false;
    if (position < 0 || position >= QW_LOAD_MAX_POSITIONS) return false;
    *out = (int)position;
    return true;
}

static void read_line(qw_load_spec_counters *c, qw_str line)
{
    int64_t value;
    int position;
    if (!qw_str_starts_with(line, qw_str_of(prefix)) || !read_value(&value, line)) return;
    // Prometheus clients add NAME_created, the time of the counter's birth.
    if (has(line, "_created")) return;
    c->is_there = true;
    if (has(line, "num_drafts")) {
        add(&c->n_drafts, value);
    } else if (has(line, "num_draft_tokens")) {
        add(&c->n_draft_tokens, value);
    } else if (has(line, "num_accepted_tokens_per_pos")) {
        if (!read_position(&position, line)) return;
        add(&c->accepted_at[position], value);
        if (position >= c->n_positions) c->n_positions = position + 1;
    } else if (has(line, "num_accepted_tokens")) {
        add(&c->n_accepted_tokens, value);
    }
}

void qw_load_spec_parse(qw_load_spec_counters *out, qw_str text)
{
    *out = (qw_load_spec_counters){0};
    for (size_t at = 0; at < text.len;) {
        size_t end = qw_str_find(text, QW_STR("\n"), at);
        if (end == SIZE_MAX) end = text.len;
        read_line(out, (qw_str){text.ptr + at, end - at});
        at = end + 1;
    }
}

bool qw_load_spec_make(qw_load_spec_stats *out, const qw_load_spec_counters *before,
                       const qw_load_spec_counters *after)
{
    if (!before->is_there || !after->is_there) return false;
    qw_load_spec_stats s = {.n_drafts = after->n_drafts - before->n_drafts,
                            .n_draft_tokens = after->n_draft_tokens - before->n_draft_tokens,
                            .n_accepted_tokens =
                                after->n_accepted_tokens - before->n_accepted_tokens};
    if (s.n_draft_tokens <= 0) return false;
    s.acceptance_rate = (double)s.n_accepted_tokens / (double)s.n_draft_tokens * 100;
    if (s.n_drafts > 0) {
        s.acceptance_length = 1 + (double)s.n_accepted_tokens / (double)s.n_drafts;
        s.n_positions = after->n_positions;
        for (int i = 0; i < s.n_positions; i++)
            s.per_position[i] =
                (double)(after->accepted_at[i] - before->accepted_at[i]) / (double)s.n_drafts;
    }
    *out = s;
    return true;
}

#include "engine/sampler_state.h"

#include "base/mem.h"
#include "base/rng.h"

bool qw_sampler_has_penalty(const qw_sampling_params *params)
{
    return params->repetition_penalty != 1 || params->frequency_penalty != 0 ||
           params->presence_penalty != 0;
}

uint64_t qw_sampler_seed(const qw_sampling_params *params, uint64_t base_seed, uint64_t arrival,
                         uint64_t i_child)
{
    uint64_t seed =
        params->has_seed ? (uint64_t)params->seed : qw_rng_child_seed(base_seed, arrival);
    return seed + i_child;
}

// Count `id`; room for all tokens was taken by qw_sampler_state_new, so this cannot fail.
static void note_token(qw_sampler_state *st, int32_t id, uint32_t n_output)
{
    if (!st->seen || id < 0 || (size_t)id >= st->n_valid_ids) return;
    uint32_t i;
    if (!qw_map_get(&st->seen_index, (qw_str){(const char *)&id, sizeof id}, &i)) {
        QW_ASSERT(st->n_seen < st->max_seen);
        i = (uint32_t)st->n_seen++;
        st->seen[i] = (qw_seen_token){.id = id};
        qw_str key = {(const char *)&st->seen[i].id, sizeof id};
        qw_status status = qw_map_put(&st->seen_index, key, i, NULL, NULL);
        QW_ASSERT(status == QW_OK);
    }
    st->seen[i].n_output += n_output;
}

static qw_status alloc_penalties(qw_sampler_state *st, const qw_sampler_sequence *seq,
                                 qw_error *err)
{
    size_t n;
    if (!qw_add_size(&n, seq->n_prompt, seq->max_output) || n > st->n_valid_ids)
        n = st->n_valid_ids;
    st->max_seen = n;
    st->seen = qw_mem_array(n, sizeof *st->seen);
    if (!st->seen) return qw_fail_memory(err, n * sizeof *st->seen, "penalties");
    qw_status status = qw_map_reserve(&st->seen_index, n, err);
    if (status != QW_OK) return status;
    for (size_t i = 0; i < seq->n_prompt; i++) note_token(st, seq->prompt_ids[i], 0);
    return QW_OK;
}

static size_t longest_bad_word(const qw_sampling_params *params)
{
    size_t longest = 0;
    for (size_t i = 0; i < params->n_bad_word_ids; i++)
        if (params->bad_word_ids[i].len > longest) longest = params->bad_word_ids[i].len;
    return longest;
}

qw_status qw_sampler_state_create(qw_sampler_state **out, size_t n_valid_ids,
                                  const qw_sampler_sequence *seq, qw_error *err)
{
    qw_status status = QW_OK;
    qw_sampler_state *st = qw_mem_calloc(1, sizeof *st);
    if (!st) return qw_fail_memory(err, sizeof *st, "the state of a sampled sequence");
    st->params = seq->params;
    st->stop_ids = seq->stop_ids;
    st->n_stop_ids = seq->n_stop_ids;
    st->seed = seq->seed;
    st->n_prompt = seq->n_prompt;
    st->max_output = seq->max_output;
    st->n_valid_ids = n_valid_ids;
    st->think_start_id = seq->think_start_id;
    st->think_end_id = seq->think_end_id;
    st->is_thinking = seq->params->starts_thinking;
    st->eos_ids = seq->eos_ids;
    st->n_eos_ids = seq->n_eos_ids;
    qw_map_init(&st->seen_index);

    size_t longest = longest_bad_word(seq->params);
    if (longest > 1) {
        st->max_recent = longest - 1;
        st->recent = qw_mem_array(st->max_recent, sizeof *st->recent);
        if (!st->recent) {
            status = qw_fail_memory(err, st->max_recent * sizeof *st->recent, "bad_words");
            goto out;
        }
    }
    if (qw_sampler_has_penalty(seq->params)) status = alloc_penalties(st, seq, err);
    if (status == QW_OK && seq->params->grammar) {
        static const qw_grammar_phase first[] = {[QW_GRAMMAR_AT_ONCE] = QW_PHASE_BOUND,
                                                 [QW_GRAMMAR_AFTER_THINKING] = QW_PHASE_THINKING,
                                                 [QW_GRAMMAR_MAY_THINK] = QW_PHASE_MAY_THINK};
        st->phase = st->think_end_id < 0 ? QW_PHASE_BOUND : first[seq->params->grammar_start];
        status = qw_matcher_new(&st->matcher, seq->params->grammar, err);
    }
    if (status != QW_OK) goto out;
    *out = st;
    st = NULL;
out:
    qw_sampler_state_free(st);
    return status;
}

void qw_sampler_state_free(qw_sampler_state *st)
{
    if (!st) return;
    qw_matcher_free(st->matcher);
    qw_map_release(&st->seen_index);
    qw_mem_free(st->seen);
    qw_mem_free(st->recent);
    qw_mem_free(st);
}

bool qw_sampler_must_end_thinking(const qw_sampler_state *st)
{
    int64_t budget = st->params->thinking_token_budget;
    return budget >= 0 && st->is_thinking && st->n_thinking >= (uint64_t)budget;
}

static void follow_thinking(qw_sampler_state *st, int32_t id)
{
    if (st->params->thinking_token_budget < 0) return;
    if (id == st->think_end_id) {
        st->is_thinking = false;
    } else if (st->is_thinking) {
        st->n_thinking++;
    } else if (id == st->think_start_id) {
        st->is_thinking = true;
        st->n_thinking = 0;
    }
}

static bool is_one_of(int32_t id, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id) return true;
    return false;
}

// Tokens that were sampled under the mask are always accepted; forced ones, of a thinking budget,
// come in other phases.
static void follow_grammar(qw_sampler_state *st, int32_t id)
{
    qw_error ignored;
    if (st->phase == QW_PHASE_THINKING && id == st->think_end_id) {
        st->phase = QW_PHASE_BOUND;
    } else if (st->phase == QW_PHASE_MAY_THINK && id == st->think_start_id) {
        st->phase = QW_PHASE_THINKING;
    } else if (st->phase == QW_PHASE_MAY_THINK || st->phase == QW_PHASE_BOUND) {
        st->phase = QW_PHASE_BOUND;
        bool ends =
            is_one_of(id, st->eos_ids, st->n_eos_ids) ||
            (is_one_of(id, st->stop_ids, st->n_stop_ids) && qw_matcher_may_end(st->matcher));
        if (ends || qw_matcher_accept(st->matcher, id, &ignored) != QW_OK)
            st->phase = QW_PHASE_FREE;
    }
}

void qw_sampler_state_accept(qw_sampler_state *st, int32_t id)
{
    QW_ASSERT(st->n_output < st->max_output);
    st->n_output++;
    note_token(st, id, 1);
    follow_thinking(st, id);
    follow_grammar(st, id);
    if (st->max_recent == 0) return;
    if (st->n_recent == st->max_recent) {
        st->n_recent--;
        memmove(st->recent, st->recent + 1, st->n_recent * sizeof *st->recent);
    }
    st->recent[st->n_recent++] = id;
}

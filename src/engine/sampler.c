#include "engine/sampler.h"

#include "base/fmath.h"
#include "base/mem.h"
#include "base/rng.h"
#include "engine/sampler_state.h"
#include "engine/topk.h"

#include <float.h>

#define GREEDY_BELOW 1e-5 // a lower temperature means "take the best token"

struct qw_sampler {
    size_t n_vocab;   /* floats in a row */
    size_t n_ids;     /* the first of them that are tokens */
    qw_topk topk;     /* over n_ids: what may be chosen */
    qw_topk row_topk; /* over n_vocab: what the model said, for logprobs */
    float *left;      /* [n_vocab] logits that a grammar has left */
    uint32_t *mask;   /* [qw_mask_words(n_ids)] of a grammar */
    float *edited;    /* [n_ids] logits after masks, bias and penalties */
    float *p;         /* [n_ids] probabilities of the survivors, relative to the best token's */
    int32_t *ids;     /* [n_vocab] the survivors, or the candidates of a row */
};

qw_status qw_sampler_new(qw_sampler **out, size_t n_vocab, size_t n_valid_ids, qw_error *err)
{
    if (n_valid_ids < 1 || n_valid_ids > n_vocab || n_vocab > INT32_MAX)
        return qw_fail(err, QW_ERR_USAGE,
                       "cannot sample from %zu logits with %zu token ids; there must be at least "
                       "one id and no more than logits",
                       n_vocab, n_valid_ids);
    qw_sampler *s = qw_mem_calloc(1, sizeof *s);
    if (!s) return qw_fail_memory(err, sizeof *s, "a sampler");
    qw_status status = qw_topk_init(&s->topk, n_valid_ids, err);
    if (status == QW_OK) status = qw_topk_init(&s->row_topk, n_vocab, err);
    if (status != QW_OK) goto out;
    s->n_vocab = n_vocab;
    s->n_ids = n_valid_ids;
    s->left = qw_mem_array(n_vocab, sizeof *s->left);
    s->mask = qw_mem_array(qw_mask_words(n_valid_ids), sizeof *s->mask);
    s->edited = qw_mem_array(n_valid_ids, sizeof *s->edited);
    s->p = qw_mem_array(n_valid_ids, sizeof *s->p);
    s->ids = qw_mem_array(n_vocab, sizeof *s->ids);
    if (!s->left || !s->mask || !s->edited || !s->p || !s->ids) {
        status = qw_fail(err, QW_ERR_NO_MEMORY, "cannot allocate a sampler for %zu token ids",
                         n_valid_ids);
        goto out;
    }
    *out = s;
    s = NULL;
out:
    qw_sampler_free(s);
    return status;
}

void qw_sampler_free(qw_sampler *s)
{
    if (!s) return;
    qw_topk_release(&s->topk);
    qw_topk_release(&s->row_topk);
    qw_mem_free(s->left);
    qw_mem_free(s->mask);
    qw_mem_free(s->edited);
    qw_mem_free(s->p);
    qw_mem_free(s->ids);
    qw_mem_free(s);
}

qw_status qw_sampler_state_new(qw_sampler_state **out, const qw_sampler *s,
                               const qw_sampler_sequence *seq, qw_error *err)
{
    return qw_sampler_state_create(out, s->n_ids, seq, err);
}

// The maximum of what the model gave; a row with NaN or +inf has no distribution.
static qw_status scan_model_row(float *max, qw_topk *topk, const float *logits, qw_error *err)
{
    bool has_nan;
    float found = qw_topk_scan(topk, logits, &has_nan);
    if (has_nan) return qw_fail(err, QW_ERR_DEVICE, "the model produced NaN logits");
    if (found == INFINITY) return qw_fail(err, QW_ERR_DEVICE, "the model produced infinite logits");
    if (found == -INFINITY)
        return qw_fail(err, QW_ERR_DEVICE, "the model produced no logit above minus infinity");
    *max = found;
    return QW_OK;
}

// ---- step 1: the grammar ----

static void set_mask_bit(qw_sampler *s, int32_t id, bool on)
{
    if (id < 0 || (size_t)id >= s->n_ids) return;
    uint32_t bit = 1u << (id % 32);
    s->mask[id / 32] = on ? s->mask[id / 32] | bit : s->mask[id / 32] & ~bit;
}

// Words of 32 tokens: mostly all or none of them may come.
static void apply_mask(qw_sampler *s, const float *logits)
{
    size_t n_words = s->n_ids / 32;
    for (size_t w = 0; w < n_words; w++) {
        float *to = s->left + w * 32;
        const float *from = logits + w * 32;
        uint32_t bits = s->mask[w];
        if (bits == UINT32_MAX) {
            memcpy(to, from, 32 * sizeof *to);
            continue;
        }
        for (int i = 0; i < 32; i++) to[i] = -INFINITY;
        for (; bits; bits &= bits - 1) to[__builtin_ctz(bits)] = from[__builtin_ctz(bits)];
    }
    for (size_t i = n_words * 32; i < s->n_vocab; i++)
        s->left[i] = i < s->n_ids && (s->mask[i / 32] >> (i % 32) & 1) ? logits[i] : -INFINITY;
}

qw_status qw_sampler_constrain(const float **out, qw_sampler *s, const qw_sampler_state *st,
                               const float *logits, qw_error *err)
{
    size_t n_allowed;
    *out = logits;
    if (st->phase == QW_PHASE_FREE || st->phase == QW_PHASE_THINKING) return QW_OK;
    qw_status status = qw_matcher_mask(st->matcher, s->mask, s->n_ids, &n_allowed, err);
    if (status != QW_OK) return status;
    bool may_end = qw_matcher_may_end(st->matcher);
    for (size_t i = 0; i < st->n_eos_ids; i++) set_mask_bit(s, st->eos_ids[i], may_end);
    for (size_t i = 0; i < st->n_stop_ids && may_end; i++) set_mask_bit(s, st->stop_ids[i], true);
    if (st->phase == QW_PHASE_MAY_THINK) set_mask_bit(s, st->think_start_id, true);
    if (n_allowed == 0 && st->n_eos_ids + st->n_stop_ids == 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "the text that the grammar allows is complete, and the model has no token "
                       "that ends a text");
    apply_mask(s, logits);
    *out = s->left;
    return QW_OK;
}

// ---- steps 3 to 6: what the request changes in the row ----

static bool must_mask_stop_ids(const qw_sampler_state *st)
{
    return st->n_stop_ids > 0 && st->params->min_tokens > 0 &&
           st->n_output < (uint64_t)st->params->min_tokens;
}

static bool has_edits(const qw_sampler_state *st)
{
    const qw_sampling_params *params = st->params;
    return params->n_allowed_token_ids > 0 || params->n_bad_word_ids > 0 ||
           params->n_logit_bias > 0 || must_mask_stop_ids(st) || qw_sampler_has_penalty(params);
}

static bool is_valid(const qw_sampler *s, int32_t id)
{
    return id >= 0 && (size_t)id < s->n_ids;
}

static void mask_id(qw_sampler *s, int32_t id)
{
    if (is_valid(s, id)) s->edited[id] = -INFINITY;
}

static void copy_allowed(qw_sampler *s, const qw_sampling_params *params, const float *logits)
{
    for (size_t i = 0; i < s->n_ids; i++) s->edited[i] = -INFINITY;
    for (size_t i = 0; i < params->n_allowed_token_ids; i++) {
        int32_t id = params->allowed_token_ids[i];
        if (is_valid(s, id)) s->edited[id] = logits[id];
    }
}

// The last token of a bad word may not follow when the output ends with the rest of it.
static void mask_bad_words(qw_sampler *s, const qw_sampler_state *st)
{
    for (size_t i = 0; i < st->params->n_bad_word_ids; i++) {
        const qw_token_seq *word = &st->params->bad_word_ids[i];
        if (word->len == 0) continue;
        size_t n_before = word->len - 1;
        if (n_before > st->n_recent) continue;
        const int32_t *tail = n_before ? st->recent + st->n_recent - n_before : NULL;
        if (n_before == 0 || memcmp(tail, word->ids, n_before * sizeof *tail) == 0)
            mask_id(s, word->ids[n_before]);
    }
}

static void add_bias(qw_sampler *s, const qw_sampling_params *params)
{
    for (size_t i = 0; i < params->n_logit_bias; i++) {
        const qw_logit_bias *b = &params->logit_bias[i];
        if (is_valid(s, b->id)) s->edited[b->id] += b->bias;
    }
}

static void apply_penalties(qw_sampler *s, const qw_sampler_state *st)
{
    const qw_sampling_params *params = st->params;
    float repetition = (float)fmin(params->repetition_penalty, FLT_MAX);
    float frequency = (float)params->frequency_penalty, presence = (float)params->presence_penalty;
    for (size_t i = 0; i < st->n_seen; i++) {
        const qw_seen_token *token = &st->seen[i];
        float z = s->edited[token->id];
        if (z == -INFINITY) continue;
        z = z > 0 ? z / repetition : z * repetition;
        z -= frequency * (float)token->n_output;
        if (token->n_output > 0) z -= presence;
        // An extreme penalty may overflow; it neither masks a token nor makes the row invalid.
        s->edited[token->id] = fminf(fmaxf(z, -FLT_MAX), FLT_MAX);
    }
}

static void edit_row(qw_sampler *s, const qw_sampler_state *st, const float *logits)
{
    if (st->params->n_allowed_token_ids > 0)
        copy_allowed(s, st->params, logits);
    else
        memcpy(s->edited, logits, s->n_ids * sizeof *logits);
    mask_bad_words(s, st);
    if (must_mask_stop_ids(st))
        for (size_t i = 0; i < st->n_stop_ids; i++) mask_id(s, st->stop_ids[i]);
    add_bias(s, st->params);
    apply_penalties(s, st);
}

// ---- steps 9 to 11: survivors in ids and p, ascending by id ----

// Temperature, min_p and top_k. min_p and top_k both keep the best tokens down to some bound, so
// their order does not matter; the bound of min_p is exact because the best token has p = 1.
static size_t find_survivors(qw_sampler *s, const qw_sampling_params *params, const float *z,
                             float max)
{
    float temperature = (float)fmin(params->temperature, FLT_MAX);
    float least = fmaxf((float)params->min_p, FLT_MIN); // p is 0 or a normal number
    bool has_top_k = params->top_k > 0 && (uint64_t)params->top_k < s->n_ids;
    size_t n = s->n_ids, n_kept = 0;
    if (has_top_k) {
        n = qw_topk_select(&s->topk, s->ids, z, (size_t)params->top_k);
        for (size_t i = 0; i < n; i++) s->p[i] = z[s->ids[i]];
        z = s->p;
    }
    qw_exp_row(s->p, z, n, max, temperature);
    for (size_t i = 0; i < n; i++) {
        int32_t id = has_top_k ? s->ids[i] : (int32_t)i;
        float p = s->p[i];
        s->p[n_kept] = p;
        s->ids[n_kept] = id;
        n_kept += p >= least; // no branch: what is written beyond n_kept is overwritten
    }
    return n_kept;
}

// A number that grows as p falls from 1: 0 .. 2^30.
static uint32_t falling_key(float p)
{
    return 0x3F800000u - qw_f32_bits(p);
}

// Keep a survivor when the mass of those before it, in the order (p descending, id ascending), is
// below top_p of the total. A weighted radix search for the last one: digit by digit, skip the
// digits whose mass lies wholly inside. Sums are in double, in the order of digits, then ids, so
// nothing depends on how the survivors were found.
static size_t keep_top_p(qw_sampler *s, size_t n, double top_p)
{
    double before = 0, target = 0;
    uint32_t prefix = 0;
    for (int shift = 20; shift >= 0; shift -= 10) {
        double mass[1024] = {0};
        for (size_t i = 0; i < n; i++) {
            uint32_t key = falling_key(s->p[i]);
            if (key >> (shift + 10) == prefix) mass[key >> shift & 1023] += (double)s->p[i];
        }
        if (shift == 20) {
            for (int d = 0; d < 1024; d++) target += mass[d];
            target *= top_p;
        }
        // The last digit that holds anything is taken even when rounding leaves it short.
        double before_digit = before;
        uint32_t digit = 0;
        for (uint32_t d = 0; d < 1024; d++) {
            if (mass[d] == 0) continue;
            digit = d;
            before_digit = before;
            before += mass[d];
            if (before >= target) break;
        }
        before = before_digit;
        prefix = prefix << 10 | digit;
    }
    // The last value is found; of several tokens with that value the lowest ids fill the target.
    float last = qw_f32_from_bits(0x3F800000u - prefix);
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        float p = s->p[i];
        if (p < last) continue;
        if (p == last) {
            if (before >= target) continue;
            before += (double)p;
        }
        s->p[n_kept] = p;
        s->ids[n_kept++] = s->ids[i];
    }
    return n_kept;
}

// ---- step 12: the draw ----

typedef struct race {
    uint64_t seed, position;
    uint32_t group, words[4]; /* the random words of the ids 4 * group .. 4 * group + 3 */
    float best;
    int32_t best_id; /* -1: nobody yet */
} race;

static uint32_t word_of(race *r, int32_t id)
{
    uint32_t group = (uint32_t)id / 4;
    if (group != r->group) {
        qw_rng_token_words(r->words, r->seed, r->position, group);
        r->group = group;
    }
    return r->words[(uint32_t)id % 4];
}

static void race_token(race *r, int32_t id, float p)
{
    // Most tokens lose by a margin that is cheaper to see than their score: e is at least 2^-33,
    // and -log(u) >= 1 - u (2^-20 of slack covers the roundings).
    if (p * (1 / QW_EXPONENTIAL_MIN) < r->best) return;
    uint32_t word = word_of(r, id);
    float one_minus_u = (float)~word * 0x1p-32f;
    if (p < r->best * one_minus_u * (1 - 0x1p-20f)) return;
    float score = p / qw_exponential(word);
    if (score > r->best || (score == r->best && id < r->best_id)) {
        r->best = score;
        r->best_id = id;
    }
}

// argmax of p / e with e ~ Exp(1) of each survivor's own: token i wins with probability p_i / sum p
// (an exponential race). Ties go to the lowest id.
static int32_t draw(const qw_sampler *s, size_t n, const qw_sampler_state *st)
{
    race r = {.seed = st->seed, .position = st->n_prompt + st->n_output};
    r.group = UINT32_MAX;
    r.best_id = -1;
    // The most probable token first: few can beat its score.
    size_t i_top = 0;
    while (i_top + 1 < n && s->p[i_top] != 1.0f) i_top++;
    race_token(&r, s->ids[i_top], s->p[i_top]);
    for (size_t i = 0; i < n; i++) race_token(&r, s->ids[i], s->p[i]);
    return r.best_id;
}

qw_status qw_sampler_sample(int32_t *out, qw_sampler *s, const qw_sampler_state *st,
                            const float *logits, qw_error *err)
{
    const qw_sampling_params *params = st->params;
    const float *z = logits;
    float max;
    qw_status status = scan_model_row(&max, &s->topk, logits, err);
    if (status != QW_OK) return status;
    if (has_edits(st)) {
        edit_row(s, st, logits);
        z = s->edited;
        bool has_nan;
        max = qw_topk_scan(&s->topk, z, &has_nan);
        QW_ASSERT(!has_nan);
        if (max == -INFINITY)
            return qw_fail(err, QW_ERR_USAGE,
                           "no token is left to choose from: allowed_token_ids, bad_words, "
                           "min_tokens and the grammar exclude all of them");
    }
    if (qw_sampler_must_end_thinking(st) && is_valid(s, st->think_end_id)) { // step 7
        *out = st->think_end_id;
        return QW_OK;
    }
    if (params->temperature < GREEDY_BELOW) {
        *out = (int32_t)qw_topk_argmax(&s->topk, z, max);
        return QW_OK;
    }
    size_t n = find_survivors(s, params, z, max);
    if (params->top_p < 1) n = keep_top_p(s, n, params->top_p);
    *out = draw(s, n, st);
    return QW_OK;
}

// ---- logprobs ----

size_t qw_logprobs_len(const qw_sampler *s, int64_t n_top)
{
    if (n_top == QW_LOGPROBS_ALL || (n_top > 0 && (uint64_t)n_top > s->n_vocab))
        return s->n_vocab + 1;
    return n_top > 0 ? (size_t)n_top + 1 : 1;
}

// True if token a comes before token b: more probable, or as probable with the lower id.
static bool is_before(const float *z, int32_t a, int32_t b)
{
    return z[a] != z[b] ? z[a] > z[b] : a < b;
}

// Let ids[i] sink in the heap ids[0..n-1] whose root is the last token in order.
static void sift_down(int32_t *ids, size_t i, size_t n, const float *z)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_before(z, ids[child], ids[child + 1])) child++;
        if (!is_before(z, ids[i], ids[child])) return;
        int32_t t = ids[i];
        ids[i] = ids[child];
        ids[child] = t;
    }
}

// Heapsort: in place, no recursion, no allocation (libc's qsort may allocate).
static void sort_ids(int32_t *ids, size_t n, const float *z)
{
    for (size_t i = n / 2; i-- > 0;) sift_down(ids, i, n, z);
    for (size_t end = n; end-- > 1;) {
        int32_t t = ids[0];
        ids[0] = ids[end];
        ids[end] = t;
        sift_down(ids, 0, end, z);
    }
}

qw_status qw_logprobs_row(qw_logprob *out, qw_sampler *s, const float *logits, int32_t id,
                          int64_t n_top, qw_error *err)
{
    QW_ASSERT(id >= 0 && (size_t)id < s->n_vocab);
    float max;
    qw_status status = scan_model_row(&max, &s->row_topk, logits, err);
    if (status != QW_OK) return status;
    float log_sum = qw_log_ref(qw_exp_sum(logits, s->n_vocab, max));

    int32_t rank = (int32_t)qw_topk_count(&s->row_topk, logits, logits[id]);
    out[0] = (qw_logprob){.id = id, .rank = rank, .logprob = logits[id] - max - log_sum};

    size_t n = qw_logprobs_len(s, n_top) - 1;
    if (n == 0) return QW_OK;
    size_t n_found = 0;
    if (n < s->n_vocab) n_found = qw_topk_select(&s->row_topk, s->ids, logits, n);
    if (n_found < n) { // the whole vocabulary, or too few tokens above -inf
        for (size_t i = 0; i < s->n_vocab; i++) s->ids[i] = (int32_t)i;
        n_found = s->n_vocab;
    }
    sort_ids(s->ids, n_found, logits);
    for (size_t i = 0; i < n; i++) {
        int32_t top = s->ids[i];
        out[1 + i] =
            (qw_logprob){.id = top, .rank = (int32_t)i + 1, .logprob = logits[top] - max - log_sum};
    }
    return QW_OK;
}

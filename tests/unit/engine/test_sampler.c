#include "test_util.h"

#include "base/mem.h"
#include "base/rng.h"
#include "engine/sampler.h"

#include <math.h>

static qw_error err;

#define MAX_V 300

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void random_row(float *z, size_t n, uint32_t seed, float scale)
{
    for (size_t i = 0; i < n; i++) // a sum of uniforms: bell-shaped, as logits are
        z[i] = scale *
               ((float)(next_random(&seed) + next_random(&seed) + next_random(&seed)) * 0x1p-24f -
                1.5f);
}

static qw_sampling_params neutral(double temperature)
{
    return (qw_sampling_params){.temperature = temperature,
                                .top_p = 1,
                                .repetition_penalty = 1,
                                .n = 1,
                                .max_tokens = 1,
                                .logprobs = QW_LOGPROBS_OFF,
                                .prompt_logprobs = QW_LOGPROBS_OFF,
                                .thinking_token_budget = -1};
}

static qw_sampler *new_sampler(size_t n_vocab)
{
    qw_sampler *s = NULL;
    assert_ok(qw_sampler_new(&s, n_vocab, n_vocab, &err));
    return s;
}

typedef struct history {
    const int32_t *prompt, *output;
    size_t n_prompt, n_output;
    const int32_t *stop;
    size_t n_stop;
} history;

static qw_sampler_state *new_state(const qw_sampler *s, const qw_sampling_params *params,
                                   const history *h, uint64_t seed, size_t max_output)
{
    qw_sampler_sequence seq = {.params = params,
                               .prompt_ids = h->prompt,
                               .n_prompt = h->n_prompt,
                               .stop_ids = h->stop,
                               .n_stop_ids = h->n_stop,
                               .seed = seed,
                               .max_output = h->n_output + max_output};
    qw_sampler_state *st = NULL;
    assert_ok(qw_sampler_state_new(&st, s, &seq, &err));
    for (size_t i = 0; i < h->n_output; i++) qw_sampler_state_accept(st, h->output[i]);
    return st;
}

static int32_t sample(qw_sampler *s, const qw_sampler_state *st, const float *z)
{
    int32_t id = -1;
    assert_ok(qw_sampler_sample(&id, s, st, z, &err));
    return id;
}

// ---- the brute-force version, in double and with sorting ----

static double edited[MAX_V];

static int by_edited(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (edited[x] != edited[y]) return edited[x] < edited[y] ? 1 : -1;
    return (x > y) - (x < y);
}

static bool ends_with(const history *h, const qw_token_seq *word)
{
    if (word->len - 1 > h->n_output) return false;
    for (size_t i = 0; i + 1 < word->len; i++)
        if (h->output[h->n_output - (word->len - 1) + i] != word->ids[i]) return false;
    return true;
}

static void reference_edits(const qw_sampling_params *p, const history *h, const float *z, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool is_allowed = p->n_allowed_token_ids == 0;
        for (size_t j = 0; j < p->n_allowed_token_ids; j++)
            if (p->allowed_token_ids[j] == (int32_t)i) is_allowed = true;
        edited[i] = is_allowed ? (double)z[i] : -INFINITY;
    }
    for (size_t i = 0; i < p->n_bad_word_ids; i++)
        if (ends_with(h, &p->bad_word_ids[i]))
            edited[p->bad_word_ids[i].ids[p->bad_word_ids[i].len - 1]] = -INFINITY;
    if ((int64_t)h->n_output < p->min_tokens)
        for (size_t i = 0; i < h->n_stop; i++) edited[h->stop[i]] = -INFINITY;
    for (size_t i = 0; i < p->n_logit_bias; i++)
        edited[p->logit_bias[i].id] += (double)p->logit_bias[i].bias;
    for (size_t i = 0; i < n; i++) {
        int in_prompt = 0, in_output = 0;
        for (size_t j = 0; j < h->n_prompt; j++) in_prompt += h->prompt[j] == (int32_t)i;
        for (size_t j = 0; j < h->n_output; j++) in_output += h->output[j] == (int32_t)i;
        if (in_prompt + in_output > 0)
            edited[i] = edited[i] > 0 ? edited[i] / p->repetition_penalty
                                      : edited[i] * p->repetition_penalty;
        edited[i] -= p->frequency_penalty * in_output;
        edited[i] -= in_output > 0 ? p->presence_penalty : 0;
    }
}

// Probability of each token under the parameters; 0 for those that do not survive.
static void reference(double *prob, const qw_sampling_params *p, const history *h, const float *z,
                      size_t n)
{
    int32_t order[MAX_V] = {0};
    reference_edits(p, h, z, n);
    for (size_t i = 0; i < n; i++) order[i] = (int32_t)i;
    qsort(order, n, sizeof *order, by_edited);
    double best = edited[order[0]], total = 0, before = 0, kept = 0;
    size_t n_kept = n;
    while (n_kept > 1 && edited[order[n_kept - 1]] == -INFINITY) n_kept--;
    while (n_kept > 1 && exp((edited[order[n_kept - 1]] - best) / p->temperature) < p->min_p)
        n_kept--;
    if (p->top_k > 0 && (size_t)p->top_k < n_kept) {
        double kth = edited[order[p->top_k - 1]];
        while (edited[order[n_kept - 1]] < kth) n_kept--;
    }
    for (size_t i = 0; i < n; i++) prob[i] = 0;
    for (size_t i = 0; i < n_kept; i++) total += exp((edited[order[i]] - best) / p->temperature);
    for (size_t i = 0; i < n_kept && before < p->top_p * total; i++) {
        double e = exp((edited[order[i]] - best) / p->temperature);
        prob[order[i]] = e;
        before += e;
        kept = before;
    }
    for (size_t i = 0; i < n; i++) prob[i] /= kept;
}

#define N_DRAWS 20000

// Draw at 20,000 positions and compare the counts with `prob`: no draw outside the survivors, every
// survivor of some weight drawn, and Pearson's chi-square below its mean + 5 deviations.
static void check_distribution(qw_sampler *s, const qw_sampling_params *params, const history *h,
                               const float *z, size_t n, uint64_t seed)
{
    static double prob[MAX_V];
    static int count[MAX_V];
    reference(prob, params, h, z, n);
    memset(count, 0, sizeof count);
    // A position is the prompt's length plus the output's; only the former varies here, so the
    // history stays the same.
    int32_t *prompt = qw_mem_array(N_DRAWS, sizeof *prompt);
    assert_non_null(prompt);
    for (size_t i = 0; i < N_DRAWS; i++) prompt[i] = h->n_prompt ? h->prompt[i % h->n_prompt] : -1;
    history longer = *h;
    longer.prompt = prompt;
    for (size_t i = 0; i < N_DRAWS; i++) {
        longer.n_prompt = h->n_prompt + (h->n_prompt ? i % 64 : i);
        qw_sampler_state *st =
            new_state(s, params, &longer, h->n_prompt ? seed + i / 64 * 1000003 : seed, 1);
        count[sample(s, st, z)]++;
        qw_sampler_state_free(st);
    }
    qw_mem_free(prompt);

    double chi2 = 0, rest_want = 0;
    int n_cells = 0, rest_count = 0;
    for (size_t i = 0; i < n; i++) {
        double want = prob[i] * N_DRAWS;
        if (prob[i] == 0 && count[i] > 0) fail_msg("token %zu drawn %d times", i, count[i]);
        if (want > 12 && count[i] == 0) fail_msg("token %zu never drawn, %g expected", i, want);
        if (want < 8) {
            rest_want += want;
            rest_count += count[i];
            continue;
        }
        chi2 += (count[i] - want) * (count[i] - want) / want;
        n_cells++;
    }
    if (rest_want >= 8) {
        chi2 += (rest_count - rest_want) * (rest_count - rest_want) / rest_want;
        n_cells++;
    }
    double limit = n_cells - 1 + 5 * sqrt(2.0 * (n_cells - 1) + 1);
    if (!(chi2 <= limit)) fail_msg("chi-square %g over %d cells, limit %g", chi2, n_cells, limit);
}

static void draws_follow_the_distribution(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        double temperature, top_p, min_p;
        int64_t top_k;
    } cases[] = {
        {2, 1, 1, 0, 0},     {5, 0.7, 1, 0, -1},     {40, 1, 1, 0, 0},
        {300, 1.5, 1, 0, 0}, {40, 1, 1, 0, 7},       {300, 0.6, 0.95, 0, 20},
        {300, 1, 0.9, 0, 0}, {300, 1, 0.5, 0, 0},    {300, 1, 0.999, 0, 0},
        {100, 1, 1, 0.1, 0}, {100, 2, 0.8, 0.05, 0}, {100, 1, 0.7, 0.02, 30},
        {17, 1, 0.01, 0, 0}, {300, 100, 0.6, 0, 0},  {64, 1, 1, 1, 0},
        {64, 1, 0.9, 0, 1},
    };
    static float z[MAX_V];
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        random_row(z, cases[i].n, (uint32_t)i * 7 + 1, 6);
        qw_sampling_params params = neutral(cases[i].temperature);
        params.top_p = cases[i].top_p;
        params.top_k = cases[i].top_k;
        params.min_p = cases[i].min_p;
        qw_sampler *s = new_sampler(cases[i].n);
        check_distribution(s, &params, &(history){.prompt = NULL}, z, cases[i].n, 1000 + i);
        qw_sampler_free(s);
    }
}

static void edits_follow_the_reference(void **state)
{
    (void)state;
    enum { N = 50 };
    static float z[N];
    int32_t prompt[] = {3, 9, 9, 40}, output[] = {9, 11, 12, 9}, stop[] = {1, 44};
    int32_t bad_a[] = {12, 9, 20}, bad_b[] = {25}, bad_c[] = {11, 9, 21}, bad_d[] = {9, 22};
    qw_token_seq bad[] = {{bad_a, 3}, {bad_b, 1}, {bad_c, 3}, {bad_d, 2}};
    qw_logit_bias bias[] = {{4, 2.5f}, {9, -1.0f}, {20, 100.0f}, {30, -100.0f}};
    int32_t allowed[] = {1, 3, 4, 9, 11, 20, 22, 33, 40};
    history h = {prompt, output, QW_ARRAY_LEN(prompt), QW_ARRAY_LEN(output), stop, 2};
    qw_sampler *s = new_sampler(N);
    for (int mask = 1; mask < 64; mask++) {
        qw_sampling_params params = neutral(1.2);
        if (mask & 1) params.allowed_token_ids = allowed, params.n_allowed_token_ids = 9;
        if (mask & 2) params.bad_word_ids = bad, params.n_bad_word_ids = 4;
        if (mask & 4) params.min_tokens = mask & 1 ? 5 : 4; // 4: reached, nothing is masked
        if (mask & 8) params.logit_bias = bias, params.n_logit_bias = 4;
        if (mask & 16) params.repetition_penalty = mask & 1 ? 1.5 : 0.8;
        if (mask & 32) params.frequency_penalty = 0.7, params.presence_penalty = -0.4;
        if (mask % 5 && mask != 63) continue; // one in five, and all together
        random_row(z, N, (uint32_t)mask, 5);
        check_distribution(s, &params, &h, z, N, (uint64_t)mask);
    }
    qw_sampler_free(s);
}

// Greedy needs no statistics: the best token after the edits, over many random rows.
static void greedy_takes_the_best_edited_token(void **state)
{
    (void)state;
    enum { N = 50 };
    static float z[N];
    int32_t prompt[] = {3, 9, 9, 40}, output[] = {9, 11, 12, 9}, stop[] = {1, 44};
    int32_t bad_a[] = {12, 9, 20}, bad_b[] = {25}, bad_c[] = {11, 9, 21}, empty[] = {0};
    qw_token_seq bad[] = {{bad_a, 3}, {bad_b, 1}, {bad_c, 3}};
    qw_token_seq bad_and_empty[] = {{empty, 0}, {bad_b, 1}};
    qw_logit_bias bias[] = {{-5, 9}, {4, 2.5f}, {20, 3}, {30, -2}, {1000, 100}};
    history h = {prompt, output, QW_ARRAY_LEN(prompt), QW_ARRAY_LEN(output), stop, 2};
    qw_sampler *s = new_sampler(N);
    qw_sampling_params params = neutral(0);
    params.top_k = 5, params.top_p = 0.1, params.min_p = 0.5; // do not matter
    params.bad_word_ids = bad, params.n_bad_word_ids = 3;
    params.min_tokens = 5;
    params.repetition_penalty = 1.3, params.frequency_penalty = 0.4, params.presence_penalty = 0.2;
    params.logit_bias = bias + 1, params.n_logit_bias = 3;
    for (uint32_t seed = 0; seed < 500; seed++) {
        random_row(z, N, seed, 8);
        reference_edits(&params, &h, z, N);
        size_t best = 0;
        for (size_t i = 1; i < N; i++)
            if (edited[i] > edited[best]) best = i;
        qw_sampler_state *st = new_state(s, &params, &h, 1, 1);
        assert_int_equal(sample(s, st, z), best);
        qw_sampler_state_free(st);
    }
    // Ids that the model does not have are ignored everywhere.
    int32_t odd_allowed[] = {-3, 7, 99};
    params.bad_word_ids = bad_and_empty, params.n_bad_word_ids = 2;
    params.logit_bias = bias, params.n_logit_bias = 5;
    params.allowed_token_ids = odd_allowed, params.n_allowed_token_ids = 3;
    prompt[0] = 1000, prompt[1] = -1, stop[0] = 500;
    qw_sampler_state *st = new_state(s, &params, &h, 1, 1);
    assert_int_equal(sample(s, st, z), 7);
    qw_sampler_state_free(st);
    qw_sampler_free(s);
}

static int32_t greedy(qw_sampler *s, const qw_sampling_params *params, const history *h,
                      const float *z)
{
    qw_sampler_state *st = new_state(s, params, h, 0, 1);
    int32_t id = sample(s, st, z);
    qw_sampler_state_free(st);
    return id;
}

// Each penalty's formula at the point where it changes the winner.
static void penalties_case_by_case(void **state)
{
    (void)state;
    qw_sampler *s = new_sampler(4);
    int32_t prompt[] = {0}, output[] = {1, 1};
    history in_prompt = {.prompt = prompt, .n_prompt = 1},
            in_output = {.output = output, .n_output = 2};
    const float positive[] = {4, 4, 2.5f, 0}, negative[] = {-2, -2, -3.5f, -10};

    qw_sampling_params params = neutral(0);
    params.repetition_penalty = 1.59; // 4 / 1.59 = 2.516, and id 1 has no part in it
    assert_int_equal(greedy(s, &params, &in_prompt, (float[]){4, 0, 2.5f, 0}), 0);
    params.repetition_penalty = 1.61; // 2.484
    assert_int_equal(greedy(s, &params, &in_prompt, (float[]){4, 0, 2.5f, 0}), 2);
    params.repetition_penalty = 1.74; // -2 * 1.74 = -3.48
    assert_int_equal(greedy(s, &params, &in_prompt, (float[]){-2, -9, -3.5f, -9}), 0);
    params.repetition_penalty = 1.76;
    assert_int_equal(greedy(s, &params, &in_prompt, (float[]){-2, -9, -3.5f, -9}), 2);
    // Once in prompt or output counts as much as many times.
    params.repetition_penalty = 1.5;
    assert_int_equal(greedy(s, &params, &in_output, (float[]){0, 4, 2.5f, 0}), 1);

    params = neutral(0);
    params.presence_penalty = 1.6; // output only, once
    assert_int_equal(greedy(s, &params, &in_prompt, positive), 0);
    assert_int_equal(greedy(s, &params, &in_output, (float[]){0, 4, 2.5f, 0}), 2);
    assert_int_equal(greedy(s, &params, &in_output, negative), 0);
    params.presence_penalty = 1.4;
    assert_int_equal(greedy(s, &params, &in_output, (float[]){0, 4, 2.5f, 0}), 1);

    params = neutral(0);
    params.frequency_penalty = 0.74; // output only, twice
    assert_int_equal(greedy(s, &params, &in_output, (float[]){0, 4, 2.5f, 0}), 1);
    params.frequency_penalty = 0.76;
    assert_int_equal(greedy(s, &params, &in_output, (float[]){0, 4, 2.5f, 0}), 2);
    assert_int_equal(greedy(s, &params, &in_prompt, positive), 0);

    params.repetition_penalty = 1e300; // overflows to the smallest float, not to "masked"
    assert_int_equal(greedy(s, &params, &in_output, (float[]){-INFINITY, -1, -INFINITY, -INFINITY}),
                     1);
    qw_sampler_free(s);
}

static void a_bad_word_is_only_barred_when_it_would_be_completed(void **state)
{
    (void)state;
    qw_sampler *s = new_sampler(8);
    int32_t word_ids[] = {5, 6, 7};
    qw_token_seq word = {word_ids, 3};
    qw_sampling_params params = neutral(0);
    params.bad_word_ids = &word, params.n_bad_word_ids = 1;
    const float z[] = {0, 0, 0, 1, 0, 0, 0, 2};
    int32_t output[] = {5, 5, 6, 5, 6, 6, 5, 6};
    static const int32_t want[] = {7, 7, 7, 3, 7, 3, 7, 7, 3};
    for (size_t n = 0; n <= 8; n++)
        assert_int_equal(greedy(s, &params, &(history){.output = output, .n_output = n}, z),
                         want[n]);
    // The prompt does not count.
    assert_int_equal(greedy(s, &params, &(history){.prompt = output, .n_prompt = 3}, z), 7);
    qw_sampler_free(s);
}

static void ties_go_to_the_lowest_id_or_all_stay(void **state)
{
    (void)state;
    enum { N = 40 };
    float z[N];
    for (int i = 0; i < N; i++) z[i] = i % 4 == 3 ? 2.0f : 0.0f;
    qw_sampler *s = new_sampler(N);
    qw_sampling_params params = neutral(0);
    assert_int_equal(greedy(s, &params, &(history){.prompt = NULL}, z), 3);
    params.temperature = 1;
    params.top_k = 2; // ten tokens tie with the second best: all stay
    check_distribution(s, &params, &(history){.prompt = NULL}, z, N, 5);
    params.top_k = 0;
    params.top_p = 0.35; // of ties the lowest ids fill the mass
    check_distribution(s, &params, &(history){.prompt = NULL}, z, N, 6);
    qw_sampler_free(s);
}

static void draw_many(int32_t *ids, size_t n, uint64_t seed)
{
    static float z[100];
    random_row(z, 100, 77, 3);
    qw_sampling_params params = neutral(1);
    params.top_p = 0.98;
    qw_sampler *s = new_sampler(100);
    qw_sampler_state *st = new_state(s, &params, &(history){.prompt = NULL}, seed, n);
    for (size_t i = 0; i < n; i++) {
        ids[i] = sample(s, st, z);
        assert_int_equal(sample(s, st, z), ids[i]); // drawing changes nothing
        qw_sampler_state_accept(st, ids[i]);
    }
    qw_sampler_state_free(st);
    qw_sampler_free(s);
}

static void seeds_reproduce_and_children_differ(void **state)
{
    (void)state;
    enum { N = 200 };
    int32_t a[N], b[N];
    qw_sampling_params seeded = neutral(1), unseeded = neutral(1);
    seeded.has_seed = true;
    seeded.seed = -1;
    assert_int_equal(qw_sampler_seed(&seeded, 5, 9, 0), UINT64_MAX);
    assert_int_equal(qw_sampler_seed(&seeded, 6, 10, 3), 2);
    assert_int_equal(qw_sampler_seed(&unseeded, 5, 9, 1), qw_sampler_seed(&unseeded, 5, 9, 0) + 1);
    assert_int_not_equal(qw_sampler_seed(&unseeded, 5, 9, 0), qw_sampler_seed(&unseeded, 5, 10, 0));
    assert_int_not_equal(qw_sampler_seed(&unseeded, 5, 9, 0), qw_sampler_seed(&unseeded, 6, 9, 0));

    draw_many(a, N, 42);
    draw_many(b, N, 42);
    assert_memory_equal(a, b, sizeof a);
    draw_many(b, N, 43);
    int n_equal = 0;
    for (int i = 0; i < N; i++) n_equal += a[i] == b[i];
    assert_true(n_equal < N / 3);
    // Fixed once and for all: a change here changes every seeded answer of every user.
    static const int32_t want[8] = {90, 42, 37, 61, 71, 35, 94, 76};
    for (int i = 0; i < 8; i++) assert_int_equal(a[i], want[i]);
}

// With equal logits the smallest -log(u) wins, that is the largest random word: this pins key and
// counter of the draw.
static void the_draw_is_keyed_by_seed_position_and_id(void **state)
{
    (void)state;
    enum { N = 30 };
    const float z[N] = {0};
    const uint64_t seed = UINT64_C(0xFEDCBA9876543210);
    int32_t prompt[5] = {0};
    qw_sampling_params params = neutral(0.8);
    qw_sampler *s = new_sampler(N);
    qw_sampler_state *st =
        new_state(s, &params, &(history){.prompt = prompt, .n_prompt = 5}, seed, 50);
    for (uint64_t position = 5; position < 55; position++) {
        uint32_t words[32];
        for (uint32_t i = 0; i < 8; i++) qw_rng_token_words(words + 4 * i, seed, position, i);
        int32_t want = 0;
        for (int32_t i = 1; i < N; i++)
            if (words[i] > words[want]) want = i;
        assert_int_equal(sample(s, st, z), want);
        qw_sampler_state_accept(st, want);
    }
    qw_sampler_state_free(st);
    qw_sampler_free(s);
}

static void a_row_without_a_choice_is_an_error(void **state)
{
    (void)state;
    qw_sampler *s = new_sampler(20);
    float z[20] = {0};
    int32_t id = -7;
    for (int greedy_first = 0; greedy_first < 2; greedy_first++) {
        qw_sampling_params params = neutral(greedy_first ? 0 : 1);
        qw_sampler_state *st = new_state(s, &params, &(history){.prompt = NULL}, 0, 1);
        z[13] = NAN;
        assert_fails(qw_sampler_sample(&id, s, st, z, &err), QW_ERR_DEVICE,
                     "the model produced NaN logits");
        z[13] = INFINITY;
        assert_fails(qw_sampler_sample(&id, s, st, z, &err), QW_ERR_DEVICE, "infinite logits");
        z[13] = -INFINITY;
        assert_ok(qw_sampler_sample(&id, s, st, z, &err));
        assert_int_not_equal(id, 13);
        id = -7;
        qw_sampler_state_free(st);
        // NaN shows even where the request masks it.
        int32_t only[] = {13};
        params.allowed_token_ids = only, params.n_allowed_token_ids = 1;
        st = new_state(s, &params, &(history){.prompt = NULL}, 0, 1);
        assert_fails(qw_sampler_sample(&id, s, st, z, &err), QW_ERR_USAGE, "no token is left");
        z[13] = 0, z[3] = NAN;
        assert_fails(qw_sampler_sample(&id, s, st, z, &err), QW_ERR_DEVICE, "NaN");
        z[3] = 0;
        assert_int_equal(id, -7);
        qw_sampler_state_free(st);
    }
    for (int i = 0; i < 20; i++) z[i] = -INFINITY;
    qw_logprob out[1];
    assert_fails(qw_logprobs_row(out, s, z, 0, 0, &err), QW_ERR_DEVICE, "minus infinity");
    z[4] = NAN;
    assert_fails(qw_logprobs_row(out, s, z, 0, 0, &err), QW_ERR_DEVICE, "NaN");
    qw_sampler_free(s);
}

static void ids_without_a_token_are_never_chosen(void **state)
{
    (void)state;
    enum { N = 40, N_IDS = 33 };
    float z[N];
    random_row(z, N, 3, 4);
    z[35] = 50; // beyond the tokenizer's ids
    qw_sampler *s = NULL;
    assert_fails(qw_sampler_new(&s, 10, 11, &err), QW_ERR_USAGE, "11 token ids");
    assert_fails(qw_sampler_new(&s, 10, 0, &err), QW_ERR_USAGE, "0 token ids");
    assert_ok(qw_sampler_new(&s, N, N_IDS, &err));
    qw_sampling_params params = neutral(1);
    check_distribution(s, &params, &(history){.prompt = NULL}, z, N_IDS, 8);
    // Logprobs tell what the model said, about the whole row.
    qw_logprob out[N + 1];
    assert_int_equal(qw_logprobs_len(s, QW_LOGPROBS_ALL), N + 1);
    assert_ok(qw_logprobs_row(out, s, z, 36, QW_LOGPROBS_ALL, &err));
    assert_int_equal(out[1].id, 35);
    double total = 0;
    for (int i = 1; i <= N; i++) total += exp((double)out[i].logprob);
    assert_true(fabs(total - 1) < 1e-5);
    qw_sampler_free(s);
}

static void logprobs_match_double(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 7, 16, 50, MAX_V};
    static float z[MAX_V], copy[MAX_V];
    static qw_logprob out[MAX_V + 1];
    for (size_t i_size = 0; i_size < QW_ARRAY_LEN(sizes); i_size++) {
        size_t n = sizes[i_size];
        qw_sampler *s = new_sampler(n);
        random_row(z, n, (uint32_t)n, 9);
        for (size_t i = 0; i < n; i += 3) z[i] = floorf(z[i]); // ties
        if (n > 20) z[5] = z[17] = -INFINITY;
        memcpy(copy, z, sizeof z);
        double max = -INFINITY, sum = 0;
        for (size_t i = 0; i < n; i++) max = fmax(max, (double)z[i]);
        for (size_t i = 0; i < n; i++) sum += exp((double)z[i] - max);
        static const int64_t tops[] = {0, 1, 5, 20, 299, 1000, QW_LOGPROBS_ALL};
        for (size_t i_top = 0; i_top < QW_ARRAY_LEN(tops); i_top++) {
            int32_t id = (int32_t)(n * 2 / 3);
            size_t len = qw_logprobs_len(s, tops[i_top]);
            size_t want_len = tops[i_top] < 0 || (size_t)tops[i_top] > n ? n : (size_t)tops[i_top];
            assert_int_equal(len, want_len + 1);
            assert_ok(qw_logprobs_row(out, s, z, id, tops[i_top], &err));
            int rank = 0;
            for (size_t i = 0; i < n; i++) rank += z[i] >= z[id];
            assert_int_equal(out[0].id, id);
            assert_int_equal(out[0].rank, rank);
            for (size_t i = 0; i < len; i++) {
                double want = (double)z[out[i].id] - max - log(sum);
                if (isinf(want))
                    assert_true(out[i].logprob == -INFINITY);
                else
                    assert_true(fabs((double)out[i].logprob - want) <= 4e-6);
                if (i > 0) assert_int_equal(out[i].rank, i);
                if (i > 1) // order: value descending, id ascending
                    assert_true(z[out[i - 1].id] > z[out[i].id] ||
                                (z[out[i - 1].id] == z[out[i].id] && out[i - 1].id < out[i].id));
            }
            // What was left out is not better than what is in.
            for (size_t i = 0; len > 1 && i < n; i++) {
                bool is_in = false;
                for (size_t j = 1; j < len; j++) is_in |= out[j].id == (int32_t)i;
                int32_t last = out[len - 1].id;
                assert_true(is_in || z[i] < z[last] || (z[i] == z[last] && (int32_t)i > last));
            }
        }
        assert_memory_equal(z, copy, sizeof z);
        qw_sampler_free(s);
    }
}

static void a_large_vocabulary_is_exact_too(void **state)
{
    (void)state;
    enum { N = 151936 };
    float *z = qw_mem_array(N, sizeof *z);
    assert_non_null(z);
    random_row(z, N, 9, 12);
    z[100000] = 20, z[3] = 19.5f, z[151935] = 19.25f;
    qw_sampler *s = new_sampler(N);
    qw_sampling_params params = neutral(1);
    params.top_k = 3;
    qw_sampler_state *st = new_state(s, &params, &(history){.prompt = NULL}, 11, 400);
    int n_seen[3] = {0};
    for (int i = 0; i < 400; i++) {
        int32_t id = sample(s, st, z);
        assert_true(id == 100000 || id == 3 || id == 151935);
        n_seen[id == 100000 ? 0 : id == 3 ? 1 : 2]++;
        qw_sampler_state_accept(st, id);
    }
    assert_true(n_seen[0] > n_seen[1] && n_seen[1] > n_seen[2] && n_seen[2] > 40);
    qw_sampler_state_free(st);
    qw_sampler_free(s);
    qw_mem_free(z);
}

static void failed_allocations_leave_nothing(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    int32_t prompt[] = {1, 2, 3}, word_ids[] = {4, 5};
    qw_token_seq word = {word_ids, 2};
    qw_sampling_params params = neutral(1);
    params.presence_penalty = 1;
    params.bad_word_ids = &word, params.n_bad_word_ids = 1;
    qw_sampler_sequence seq = {
        .params = &params, .prompt_ids = prompt, .n_prompt = 3, .max_output = 10};
    bool is_done = false;
    for (uint64_t n = 1; !is_done; n++) {
        qw_sampler *s = NULL;
        qw_sampler_state *st = NULL;
        qw_mem_fail_at(n);
        qw_status status = qw_sampler_new(&s, 100, 90, &err);
        if (status == QW_OK) status = qw_sampler_state_new(&st, s, &seq, &err);
        qw_mem_fail_at(0);
        is_done = status == QW_OK;
        assert_true(is_done ? n > 6 : status == QW_ERR_NO_MEMORY);
        qw_sampler_state_free(st);
        qw_sampler_free(s);
        assert_int_equal(qw_mem_live(), live);
    }
    qw_sampler_free(NULL);
    qw_sampler_state_free(NULL);
}

// Sampling and accepting allocate nothing: with every allocation failing they still work.
static void sampling_allocates_nothing(void **state)
{
    (void)state;
    float z[30];
    random_row(z, 30, 4, 3);
    int32_t prompt[] = {1, 2, 3}, word_ids[] = {4, 5, 6};
    qw_token_seq word = {word_ids, 3};
    qw_sampling_params params = neutral(1);
    params.frequency_penalty = 0.5, params.top_p = 0.9;
    params.bad_word_ids = &word, params.n_bad_word_ids = 1;
    qw_sampler *s = new_sampler(30);
    qw_sampler_state *st =
        new_state(s, &params, &(history){.prompt = prompt, .n_prompt = 3}, 1, 100);
    qw_logprob out[31];
    qw_mem_fail_at(1);
    for (int i = 0; i < 100; i++) {
        int32_t id = sample(s, st, z);
        assert_ok(qw_logprobs_row(out, s, z, id, QW_LOGPROBS_ALL, &err));
        qw_sampler_state_accept(st, id);
    }
    assert_null(qw_mem_alloc(1)); // the failure is still waiting for the first allocation
    qw_mem_fail_at(0);
    qw_sampler_state_free(st);
    qw_sampler_free(s);
}

// After so many tokens inside a thinking block its end comes, whatever the logits and masks say.
static void test_thinking_budget(void **state)
{
    (void)state;
    enum { V = 40, START = 3, END = 4 };
    float z[V];
    for (int i = 0; i < V; i++) z[i] = (float)-i; // 0 is the best
    qw_sampler *s = new_sampler(V);
    int32_t allowed[] = {0, 1, START};
    for (int64_t budget = -1; budget < 4; budget++)
        for (int starts = 0; starts < 2; starts++) {
            qw_sampling_params p = neutral(starts ? 1.0 : 0.0);
            p.thinking_token_budget = budget;
            p.starts_thinking = starts;
            p.allowed_token_ids = allowed;
            p.n_allowed_token_ids = QW_ARRAY_LEN(allowed);
            qw_sampler_sequence seq = {
                .params = &p, .think_start_id = START, .think_end_id = END, .max_output = 20};
            qw_sampler_state *st = NULL;
            assert_ok(qw_sampler_state_new(&st, s, &seq, &err));
            for (int block = 0; block < 2; block++) {
                if (block > 0 || !starts) {
                    assert_int_not_equal(sample(s, st, z), END); // outside
                    qw_sampler_state_accept(st, START);
                }
                for (int64_t i = 0; i < (budget < 0 ? 5 : budget); i++) {
                    assert_int_not_equal(sample(s, st, z), END);
                    qw_sampler_state_accept(st, i == 1 ? START : 0); // a second start counts too
                }
                if (budget >= 0) assert_int_equal(sample(s, st, z), END);
                qw_sampler_state_accept(st, END);
            }
            qw_sampler_state_free(st);
        }
    qw_sampler_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(edits_follow_the_reference),
        cmocka_unit_test(greedy_takes_the_best_edited_token),
        cmocka_unit_test(penalties_case_by_case),
        cmocka_unit_test(a_bad_word_is_only_barred_when_it_would_be_completed),
        cmocka_unit_test(ties_go_to_the_lowest_id_or_all_stay),
        cmocka_unit_test(seeds_reproduce_and_children_differ),
        cmocka_unit_test(the_draw_is_keyed_by_seed_position_and_id),
        cmocka_unit_test(a_row_without_a_choice_is_an_error),
        cmocka_unit_test(ids_without_a_token_are_never_chosen),
        cmocka_unit_test(logprobs_match_double),
        cmocka_unit_test(a_large_vocabulary_is_exact_too),
        cmocka_unit_test(failed_allocations_leave_nothing),
        cmocka_unit_test(sampling_allocates_nothing),
        cmocka_unit_test(test_thinking_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

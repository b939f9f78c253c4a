// What structured output costs: `grammar_bench [TOKENIZER_DIR]`, share/tokenizer by default; rows
// of 151,936 logits. A schema of 30 fields, a document that satisfies it, 16 streams that write it,
// each at its own place. Prints the time of the vocabulary's tree, of the first use of the schema
// (compiling it and every mask of a whole document), and of a token afterwards.

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "engine/sampler.h"
#include "grammar/grammar.h"

enum { N_STREAMS = 16, N_ROUNDS = 400 };

static const char member[] = // five fields, six times over
    "\"name_%d\":{\"type\":\"string\"},\"count_%d\":{\"type\":\"integer\",\"minimum\":0,"
    "\"maximum\":"
    "100000},\"kind_%d\":{\"enum\":[\"small\",\"medium\",\"large\"]},\"tags_%d\":{\"type\":"
    "\"array\","
    "\"items\":{\"type\":\"string\",\"maxLength\":40}},\"place_%d\":{\"type\":\"object\","
    "\"properties\":{"
    "\"city\":{\"type\":\"string\"},\"lat\":{\"type\":\"number\"}},\"required\":[\"city\"]}";
static const char filled[] =
    "\"name_%d\": \"The quick brown fox jumps over %d dogs\", \"count_%d\": 4711, \"kind_%d\": "
    "\"medium\", \"tags_%d\": [\"red\", \"a longer tag, with a comma\"], \"place_%d\": {\"city\": "
    "\"K\xC3\xB6ln\", \"lat\": 50.93}";

static void make_texts(qw_buf *schema, qw_buf *document)
{
    qw_buf_puts(schema, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    qw_buf_puts(document, "{");
    for (int i = 0; i < 6; i++) {
        qw_buf_puts(schema, i ? "," : "");
        qw_buf_printf(schema, member, i, i, i, i, i);
        qw_buf_puts(document, i ? ", " : "");
        qw_buf_printf(document, filled, i, i, i, i, i, i);
    }
    qw_buf_puts(schema, "}}");
    qw_buf_puts(document, "}");
}

static void must(qw_status st, const qw_error *err)
{
    if (st == QW_OK) return;
    fprintf(stderr, "grammar_bench: %s\n", err->text);
    exit(1);
}

// This thread's time: other programs on the machine do not count.
static int64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double ms_since(int64_t start)
{
    return (double)(cpu_ns() - start) / 1e6;
}

/** One stream: its state, and where in the document it is. */
typedef struct stream {
    qw_sampler_state *state;
    size_t at;
} stream;

static void open_stream(stream *s, const qw_sampler *sampler, const qw_sampling_params *params)
{
    static const int32_t eos = 151645;
    qw_error err;
    qw_sampler_sequence seq = {.params = params,
                               .eos_ids = &eos,
                               .n_eos_ids = 1,
                               .think_start_id = -1,
                               .think_end_id = -1,
                               .max_output = 1u << 30};
    qw_sampler_state_free(s->state);
    must(qw_sampler_state_new(&s->state, sampler, &seq, &err), &err);
    s->at = 0;
}

// One token of a stream: the mask on a row, and going on by the document's token.
static void advance(stream *s, qw_sampler *sampler, const qw_sampling_params *params,
                    const float *logits, const qw_ids *ids)
{
    qw_error err;
    const float *row;
    if (s->at == ids->len) open_stream(s, sampler, params);
    int32_t id = ids->data[s->at++];
    must(qw_sampler_constrain(&row, sampler, s->state, logits, &err), &err);
    if (row[id] != logits[id]) {
        fprintf(stderr, "grammar_bench: token %zu of the document is forbidden\n", s->at - 1);
        exit(1);
    }
    qw_sampler_state_accept(s->state, id);
}

int main(int argc, char **argv)
{
    qw_error err;
    qw_tokenizer *tokenizer;
    qw_grammar_cache *cache;
    qw_sampler *sampler;
    qw_buf schema, document;
    qw_ids ids = {0};
    const size_t n_vocab = 151936;
    qw_json_init();
    qw_buf_init(&schema, 1 << 20);
    qw_buf_init(&document, 1 << 20);
    make_texts(&schema, &document);
    must(qw_tokenizer_open(&tokenizer, argc > 1 ? argv[1] : "share/tokenizer", NULL, &err), &err);
    must(qw_tokenizer_encode(tokenizer, (qw_str){document.data, document.len}, 0, &ids, &err),
         &err);
    must(qw_grammar_cache_new(&cache, tokenizer, &err), &err);
    int32_t n_ids = qw_tokenizer_get_info(tokenizer)->n_ids;
    must(qw_sampler_new(&sampler, n_vocab, (size_t)n_ids, &err), &err);
    float *logits = qw_mem_calloc(n_vocab, sizeof *logits);
    json_t *json;
    must(qw_json_parse(&json, schema.data, schema.len, "the schema", &err), &err);

    int64_t start = cpu_ns();
    must(qw_grammar_cache_warm(cache, &err), &err);
    printf("the vocabulary's tree, once for a model: %.1f ms\n", ms_since(start));

    qw_sampling_params params;
    qw_sampling_params_init(&params);
    qw_grammar_spec spec = {.kind = QW_GRAMMAR_JSON_SCHEMA, .json = json};
    stream streams[N_STREAMS] = {{0}};
    start = cpu_ns();
    must(qw_grammar_cache_get(cache, &params.grammar, &spec, &err), &err);
    double compiled = ms_since(start);
    open_stream(&streams[0], sampler, &params);
    for (size_t i = 0; i < ids.len; i++) advance(&streams[0], sampler, &params, logits, &ids);
    printf(
        "first use: %.1f ms to compile with the first mask, %.1f ms with all masks of a document "
        "of %zu tokens; %.1f MB\n",
        compiled, ms_since(start), ids.len, (double)qw_grammar_size(params.grammar) / 1e6);

    for (int i = 0; i < N_STREAMS; i++) {
        open_stream(&streams[i], sampler, &params);
        for (size_t k = 0; k < (size_t)i * ids.len / N_STREAMS; k++)
            advance(&streams[i], sampler, &params, logits, &ids);
    }
    double least = 1e9, sum = 0;
    for (int r = 0; r < N_ROUNDS; r++) {
        start = cpu_ns();
        for (int i = 0; i < N_STREAMS; i++) advance(&streams[i], sampler, &params, logits, &ids);
        double ms = ms_since(start);
        sum += ms;
        if (ms < least) least = ms;
    }
    printf("steady state: %.3f ms for a step of %d streams (%.1f us a token), at best %.3f ms\n",
           sum / N_ROUNDS, N_STREAMS, sum / N_ROUNDS / N_STREAMS * 1e3, least);

    for (int i = 0; i < N_STREAMS; i++) qw_sampler_state_free(streams[i].state);
    qw_sampling_params_release(&params);
    qw_sampler_free(sampler);
    qw_grammar_cache_free(cache);
    json_decref(json);
    qw_mem_free(logits);
    qw_ids_release(&ids);
    qw_tokenizer_close(tokenizer);
    qw_buf_release(&schema);
    qw_buf_release(&document);
    return 0;
}

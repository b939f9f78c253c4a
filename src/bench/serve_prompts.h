#ifndef QW_BENCH_SERVE_PROMPTS_H
#define QW_BENCH_SERVE_PROMPTS_H

#include "bench/serve_host.h"
#include "format/tokenizer.h"

/**
 * Prompts of exactly so many tokens, as text and as ids: words that are one token each, put
 * together at random. Zero is an empty list.
 */
typedef struct qw_serve_prompts {
    char **texts;             /* [n] as in a JSON string: letters and blanks; owned */
    qw_serve_prompt *prompts; /* [n] their ids, owned */
    size_t n;
    const qw_tokenizer *tokenizer; /* borrowed */
    qw_ids words;
} qw_serve_prompts;

/** Find the words. QW_ERR_UNSUPPORTED: the vocabulary has hardly any. */
QW_MUST_CHECK qw_status qw_serve_prompts_init(qw_serve_prompts *out, const qw_tokenizer *tokenizer,
                                              qw_error *err);
void qw_serve_prompts_release(qw_serve_prompts *p);
/**
 * Append n_prompts prompts of n_prefix + n_tokens tokens; all begin with the same n_prefix.
 * `*first` is the index of the first.
 */
QW_MUST_CHECK qw_status qw_serve_prompts_add(qw_serve_prompts *p, int n_prompts, int n_prefix,
                                             int n_tokens, int *first, qw_error *err);

#endif

#include "grammar/grammar_sources.h"

static void refuse(qw_gram *g, const char *what)
{
    qw_pda_fail(g->pda, QW_ERR_UNSUPPORTED, "%s is not compiled yet", what);
}

void qw_source_json_schema(qw_gram *g, const json_t *schema, const qw_json_style *style,
                           int32_t from, int32_t to)
{
    (void)schema, (void)style, (void)from, (void)to;
    refuse(g, "a JSON schema");
}

void qw_source_ebnf(qw_gram *g, qw_str text, int32_t from, int32_t to)
{
    (void)text, (void)from, (void)to;
    refuse(g, "a grammar");
}

void qw_source_structural_tag(qw_gram *g, const json_t *tag, const qw_json_style *style,
                              int32_t from, int32_t to)
{
    (void)tag, (void)style, (void)from, (void)to;
    refuse(g, "a structural tag");
}

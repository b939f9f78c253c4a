// The bytes of a set of texts, as UTF-8 or inside of a JSON string. A range of code points becomes
// a small automaton over the digits of its numbers: the groups of 7, 5 + 6, 4 + 6 + 6 and 3 + 6 + 6
// + 6 bits of UTF-8, or hexadecimal digits in \u escapes.

#include "grammar/char_dfa.h"

typedef enum digit_kind {
    DIGIT_BYTE, /* prefix | digit */
    DIGIT_HEX,  /* the hexadecimal digit prefix | digit */
} digit_kind;

typedef struct digit {
    int bits;
    digit_kind kind;
    uint8_t prefix;
    const char *before; /* literal bytes in front of it, NULL: none */
} digit;

enum { FORM_1, FORM_2, FORM_3, FORM_4, FORM_HEX, FORM_PAIR, N_FORMS, MAX_DIGITS = 6 };

// Each form with the code points it spells; what `sub` takes away comes first.
typedef struct form {
    int32_t lo, hi, sub;
    int n;
    digit digits[MAX_DIGITS];
} form;

static const form forms[N_FORMS] = {
    {0, 0x7F, 0, 1, {{7, DIGIT_BYTE, 0, NULL}}},
    {0x80, 0x7FF, 0, 2, {{5, DIGIT_BYTE, 0xC0, NULL}, {6, DIGIT_BYTE, 0x80, NULL}}},
    {0x800,
     0xFFFF,
     0,
     3,
     {{4, DIGIT_BYTE, 0xE0, NULL}, {6, DIGIT_BYTE, 0x80, NULL}, {6, DIGIT_BYTE, 0x80, NULL}}},
    {0x10000,
     0x10FFFF,
     0,
     4,
     {{3, DIGIT_BYTE, 0xF0, NULL},
      {6, DIGIT_BYTE, 0x80, NULL},
      {6, DIGIT_BYTE, 0x80, NULL},
      {6, DIGIT_BYTE, 0x80, NULL}}},
    {0,
     0xFFFF,
     0,
     4,
     {{4, DIGIT_HEX, 0, "\\u"},
      {4, DIGIT_HEX, 0, NULL},
      {4, DIGIT_HEX, 0, NULL},
      {4, DIGIT_HEX, 0, NULL}}},
    // D800 + the upper ten bits, DC00 + the lower ten: the first digit of each is D.
    {0x10000,
     0x10FFFF,
     0x10000,
     6,
     {{2, DIGIT_HEX, 8, "\\uD"},
      {4, DIGIT_HEX, 0, NULL},
      {4, DIGIT_HEX, 0, NULL},
      {2, DIGIT_HEX, 12, "\\uD"},
      {4, DIGIT_HEX, 0, NULL},
      {4, DIGIT_HEX, 0, NULL}}},
};

typedef struct speller {
    qw_gram *g;
    qw_pda *p;
    int32_t *nodes; /* of each state */
    int32_t *full;  /* [n_states][N_FORMS][MAX_DIGITS] where any digits from there on may follow
                       and lead to the state; 0: not made yet */
    qw_dfa_spelling spelling;
} speller;

static int shift_after(const form *f, int pos)
{
    int shift = 0;
    for (int i = pos + 1; i < f->n; i++) shift += f->digits[i].bits;
    return shift;
}

static void put_hex(qw_pda *p, int32_t from, int lo, int hi, int32_t to)
{
    if (lo <= 9) qw_pda_bytes(p, from, (uint8_t)('0' + lo), (uint8_t)('0' + (hi < 9 ? hi : 9)), to);
    if (hi < 10) return;
    int first = lo > 10 ? lo - 10 : 0, last = hi - 10;
    qw_pda_bytes(p, from, (uint8_t)('a' + first), (uint8_t)('a' + last), to);
    qw_pda_bytes(p, from, (uint8_t)('A' + first), (uint8_t)('A' + last), to);
}

static void put_digit(qw_pda *p, const digit *d, int32_t from, int lo, int hi, int32_t to)
{
    for (const char *c = d->before; c && *c; c++) {
        int32_t next = qw_pda_node_new(p);
        uint8_t b = (uint8_t)*c;
        qw_pda_bytes(p, from, b, b, next);
        if (b == 'D') qw_pda_bytes(p, from, 'd', 'd', next);
        from = next;
    }
    if (d->kind == DIGIT_HEX)
        put_hex(p, from, d->prefix | lo, d->prefix | hi, to);
    else
        qw_pda_bytes(p, from, (uint8_t)(d->prefix | lo), (uint8_t)(d->prefix | hi), to);
}

static int32_t full_from(speller *s, int i_form, int pos, int32_t state)
{
    const form *f = &forms[i_form];
    if (pos == f->n) return s->nodes[state];
    int32_t *known = &s->full[((size_t)state * N_FORMS + (size_t)i_form) * MAX_DIGITS + pos];
    if (*known == 0) {
        *known = qw_pda_node_new(s->p);
        const digit *d = &f->digits[pos];
        put_digit(s->p, d, *known, 0, (1 << d->bits) - 1, full_from(s, i_form, pos + 1, state));
    }
    return *known;
}

// Digits pos.. of the numbers lo .. hi, from node `from` to a state.
static void put_range(speller *s, int i_form, int pos, int32_t from, int32_t lo, int32_t hi,
                      int32_t state)
{
    const form *f = &forms[i_form];
    const digit *d = &f->digits[pos];
    int shift = shift_after(f, pos);
    int32_t mask = (1 << shift) - 1;
    int first = lo >> shift, last = hi >> shift;
    if (!qw_pda_spend(s->p, 1)) return;
    if (shift > 0 && ((lo & mask) != 0 || first == last)) {
        if (first == last && (lo & mask) == 0 && (hi & mask) == mask) goto whole;
        int32_t next = qw_pda_node_new(s->p), end = first == last ? hi & mask : mask;
        put_digit(s->p, d, from, first, first, next);
        put_range(s, i_form, pos + 1, next, lo & mask, end, state);
        if (first++ == last) return;
    }
    if (shift > 0 && (hi & mask) != mask) {
        int32_t next = qw_pda_node_new(s->p);
        put_digit(s->p, d, from, last, last, next);
        put_range(s, i_form, pos + 1, next, 0, hi & mask, state);
        last--;
    }
whole:
    if (first <= last) put_digit(s->p, d, from, first, last, full_from(s, i_form, pos + 1, state));
}

static void put_form(speller *s, int i_form, int32_t from, int32_t lo, int32_t hi, int32_t state)
{
    const form *f = &forms[i_form];
    if (lo < f->lo) lo = f->lo;
    if (hi > f->hi) hi = f->hi;
    if (lo <= hi) put_range(s, i_form, 0, from, lo - f->sub, hi - f->sub, state);
}

static void put_utf8(speller *s, int32_t from, int32_t lo, int32_t hi, int32_t state)
{
    for (int i = FORM_1; i <= FORM_4; i++) put_form(s, i, from, lo, hi, state);
}

// Code points lo .. hi without those of `holes`, ascending, which may be empty.
static void put_raw(speller *s, int32_t from, int32_t lo, int32_t hi, const qw_char_range *holes,
                    size_t n_holes, int32_t state)
{
    for (size_t i = 0; i < n_holes && lo <= hi; i++) {
        if (holes[i].hi < lo || holes[i].lo > hi) continue;
        if (holes[i].lo > lo) put_utf8(s, from, lo, holes[i].lo - 1, state);
        lo = holes[i].hi + 1;
    }
    if (lo <= hi) put_utf8(s, from, lo, hi, state);
}

static void put_short_escapes(speller *s, int32_t from, int32_t lo, int32_t hi, int32_t state)
{
    static const char escapes[][2] = {{'"', '"'},  {'\\', '\\'}, {'/', '/'},  {'b', '\b'},
                                      {'f', '\f'}, {'n', '\n'},  {'r', '\r'}, {'t', '\t'}};
    int32_t backslash = -1;
    for (size_t i = 0; i < QW_ARRAY_LEN(escapes); i++) {
        int32_t c = escapes[i][1];
        if (c < lo || c > hi || (c == '/' && s->spelling == QW_SPELL_JSON_LITERAL)) continue;
        if (backslash < 0) {
            backslash = qw_pda_node_new(s->p);
            qw_pda_bytes(s->p, from, '\\', '\\', backslash);
        }
        uint8_t b = (uint8_t)escapes[i][0];
        qw_pda_bytes(s->p, backslash, b, b, s->nodes[state]);
    }
}

static void put_hex_escapes(speller *s, int32_t from, int32_t lo, int32_t hi, int32_t state)
{
    static const qw_char_range plain[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x7E}};
    static const qw_char_range surrogates = {0xD800, 0xDFFF};
    int32_t end = hi;
    for (size_t i = 0; i < QW_ARRAY_LEN(plain) && s->spelling == QW_SPELL_JSON_LITERAL; i++) {
        int32_t last = plain[i].lo - 1 < end ? plain[i].lo - 1 : end;
        if (lo <= last) put_form(s, FORM_HEX, from, lo, last, state);
        if (lo <= plain[i].hi) lo = plain[i].hi + 1;
    }
    int32_t last = surrogates.lo - 1 < end ? surrogates.lo - 1 : end;
    if (lo <= last) put_form(s, FORM_HEX, from, lo, last, state);
    if (lo <= surrogates.hi) lo = surrogates.hi + 1;
    if (lo <= end) put_form(s, FORM_HEX, from, lo, end, state);
    put_form(s, FORM_PAIR, from, lo, end, state);
}

static void put_edge(speller *s, int32_t from, const qw_dfa_edge *e)
{
    static const qw_char_range never[] = {{0, 0x1F}, {0x22, 0x22}, {0x5C, 0x5C}, {0xD800, 0xDFFF}};
    if (s->spelling == QW_SPELL_UTF8) {
        put_raw(s, from, e->lo, e->hi, &never[3], 1, e->to);
        return;
    }
    put_raw(s, from, e->lo, e->hi, never, QW_ARRAY_LEN(never), e->to);
    put_short_escapes(s, from, e->lo, e->hi, e->to);
    put_hex_escapes(s, from, e->lo, e->hi, e->to);
}

// ---- states that only texts longer than any token tell apart

static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v + 0x9E3779B97F4A7C15u + (h << 6) + (h >> 2);
    return h * 0xD6E8FEB86659FD93u;
}

typedef struct labelled {
    uint64_t label;
    int32_t state;
} labelled;

static int compare_labels(const void *a, const void *b)
{
    const labelled *x = a, *y = b;
    if (x->label != y->label) return x->label > y->label ? 1 : -1;
    return (x->state > y->state) - (x->state < y->state);
}

// After k rounds two states have the same label if no text of up to k code points tells them apart
// (labels are 64-bit hashes of labels). As many rounds as a token can have characters.
static void find_aliases(speller *s, const qw_char_dfa *d, int32_t max_token)
{
    size_t n = (size_t)d->n_states, n_classes = 2, n_before = 0;
    labelled *labels = qw_gram_alloc(s->g, n, sizeof *labels);
    labelled *sorted = qw_gram_alloc(s->g, n, sizeof *sorted);
    uint64_t *next = qw_gram_alloc(s->g, n, sizeof *next);
    if (!labels || !sorted || !next) return;
    for (size_t i = 0; i < n; i++) labels[i] = (labelled){d->states[i].accepts ? 2 : 1, (int32_t)i};
    for (int32_t round = 0; round <= max_token && n_classes != n_before; round++) {
        if (!qw_pda_spend(s->p, n + (size_t)d->n_edges)) return;
        for (size_t i = 0; i < n; i++) {
            const qw_dfa_state *state = &d->states[i];
            uint64_t h = state->accepts ? 2 : 1;
            for (int32_t e = state->first; e < state->first + state->n; e++) {
                const qw_dfa_edge *edge = &d->edges[e];
                h = mix(mix(h, (uint64_t)edge->lo << 32 | (uint64_t)edge->hi),
                        labels[edge->to].label);
            }
            next[i] = h;
        }
        for (size_t i = 0; i < n; i++) labels[i].label = next[i];
        memcpy(sorted, labels, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, compare_labels);
        n_before = n_classes;
        n_classes = 1;
        for (size_t i = 1; i < n; i++) n_classes += sorted[i].label != sorted[i - 1].label;
        if (n_classes == n) return; // all differ
    }
    for (size_t i = 1; i < n; i++)
        if (sorted[i].label == sorted[i - 1].label) {
            // The first of its label stands for all.
            int32_t as = s->p->nodes[s->nodes[sorted[i - 1].state]].alias;
            qw_pda_alias(s->p, s->nodes[sorted[i].state], as);
        }
}

void qw_dfa_spell(qw_gram *g, const qw_char_dfa *d, qw_dfa_spelling spelling, int32_t max_token,
                  int32_t from, int32_t to)
{
    speller s = {.g = g, .p = g->pda, .spelling = spelling};
    size_t n = (size_t)d->n_states;
    if (!qw_pda_ok(g->pda) || n == 0) return;
    s.nodes = qw_gram_alloc(g, n, sizeof *s.nodes);
    s.full = qw_gram_alloc(g, n * N_FORMS * MAX_DIGITS, sizeof *s.full);
    if (!s.nodes || !s.full) return;
    for (size_t i = 0; i < n; i++) s.nodes[i] = qw_pda_node_new(g->pda);
    if (!qw_pda_ok(g->pda)) return;
    qw_pda_empty(g->pda, from, s.nodes[0]);
    for (size_t i = 0; i < n && qw_pda_ok(g->pda); i++) {
        const qw_dfa_state *state = &d->states[i];
        if (state->accepts) qw_pda_empty(g->pda, s.nodes[i], to);
        for (int32_t e = state->first; e < state->first + state->n; e++)
            put_edge(&s, s.nodes[i], &d->edges[e]);
    }
    if (n > 8 && qw_pda_ok(g->pda)) find_aliases(&s, d, max_token);
}

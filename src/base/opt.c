#include "base/opt.h"

#include <stdarg.h>

#include "base/nearest.h"
#include "base/opt_internal.h"

static const qw_opt help_row = {
    "help", QW_OPT_FLAG, .shorts = "h", .metavar = "TOPIC",
    .help = "show this help, or one option or group of it; --help=all: everything"};

bool qw_opt_is_help(const qw_opt *row)
{
    return row == &help_row;
}

static qw_status no_memory(qw_error *err)
{
    return qw_fail(err, QW_ERR_NO_MEMORY, "out of memory while reading the options");
}

static char folded(char c)
{
    return c == '_' ? '-' : c;
}

static bool starts_with_folded(qw_str name, qw_str prefix)
{
    if (prefix.len > name.len) return false;
    for (size_t i = 0; i < prefix.len; i++)
        if (folded(name.ptr[i]) != folded(prefix.ptr[i])) return false;
    return true;
}

static char *dashed_name(qw_arena *a, const char *prefix, const char *name)
{
    size_t n_prefix = strlen(prefix), n_name = strlen(name);
    char *out = qw_arena_alloc(a, n_prefix + n_name + 1);
    if (!out) return NULL;
    memcpy(out, prefix, n_prefix);
    for (size_t i = 0; i < n_name; i++) out[n_prefix + i] = folded(name[i]);
    return out;
}

static char *env_name(qw_arena *a, const char *name)
{
    char *out = dashed_name(a, "QWENCH_", name);
    for (char *p = out; p && *p; p++) {
        if (*p == '-') *p = '_';
        if (*p >= 'a' && *p <= 'z') *p = (char)(*p - 'a' + 'A');
    }
    return out;
}

// An option as the command line names it.
typedef struct opt_match {
    qw_opt_value *value;
    bool negated; /* by its --no- name */
} opt_match;

static const char *match_name(const opt_match *m)
{
    return m->negated ? m->value->no_name : m->value->name;
}

// Step to the next long name of all options, from {0} on: the walk that matching and suggesting
// share. False at the end.
static bool next_name(const qw_opts *o, opt_match *m)
{
    if (!m->value) {
        *m = (opt_match){.value = o->values};
        return o->n_values > 0;
    }
    if (!m->negated && m->value->no_name) {
        m->negated = true;
        return true;
    }
    *m = (opt_match){.value = m->value + 1};
    return m->value < o->values + o->n_values;
}

static qw_status fail_unknown(const qw_opts *o, const char *arg, qw_str name, qw_error *err)
{
    qw_nearest near;
    qw_nearest_init(&near, name);
    for (opt_match m = {0}; next_name(o, &m);)
        if (!m.value->row->hidden) qw_nearest_offer(&near, match_name(&m));
    if (near.name)
        return qw_fail(err, QW_ERR_USAGE, "unrecognized arguments: %s (did you mean '--%s'?)", arg,
                       near.name);
    return qw_fail(err, QW_ERR_USAGE, "unrecognized arguments: %s", arg);
}

static qw_status fail_ambiguous(const qw_opts *o, qw_str name, qw_error *err)
{
    char list[400] = "";
    size_t used = 0;
    for (opt_match m = {0}; next_name(o, &m) && used < sizeof list;) {
        if (!starts_with_folded(qw_str_of(match_name(&m)), name)) continue;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s--%s", used ? ", " : "",
                                 match_name(&m));
    }
    return qw_fail(err, QW_ERR_USAGE, "ambiguous option: --%.*s could match %s", (int)name.len,
                   name.ptr, list);
}

// Long name: the whole of one, else the beginning of exactly one.
static qw_status find_long(const qw_opts *o, opt_match *out, const char *arg, qw_str name,
                           qw_error *err)
{
    opt_match found = {0};
    int n_found = 0;
    for (opt_match m = {0}; name.len > 0 && next_name(o, &m);) {
        qw_str full = qw_str_of(match_name(&m));
        if (!starts_with_folded(full, name)) continue;
        found = m;
        n_found++;
        if (full.len == name.len) {
            n_found = 1;
            break;
        }
    }
    if (n_found == 0) return fail_unknown(o, arg, name, err);
    if (n_found > 1) return fail_ambiguous(o, name, err);
    *out = found;
    return QW_OK;
}

static bool has_short(const qw_opt *row, qw_str name)
{
    for (const char *p = row->shorts; p && *p;) {
        size_t len = strcspn(p, " ");
        if (qw_str_eq((qw_str){p, len}, name)) return true;
        p += len;
        p += strspn(p, " ");
    }
    return false;
}

// An option word taken apart: --name.path=value, views into the word.
typedef struct opt_word {
    int dashes;
    qw_str name;
    bool has_path;
    qw_str path;
    const char *value; /* NULL: no '=' */
} opt_word;

// Short name: the whole of one, or one letter with a number right behind it (-O3). Other attached
// values are not taken: "-prompt x" would silently become -p with the value "rompt".
static qw_status find_short(const qw_opts *o, opt_match *out, const char *arg, opt_word *w,
                            qw_error *err)
{
    for (size_t i = 0; i < o->n_values; i++) {
        if (!has_short(o->values[i].row, w->name)) continue;
        *out = (opt_match){.value = &o->values[i]};
        return QW_OK;
    }
    for (size_t i = 0; i < o->n_values && w->name.len > 1 && !w->value; i++) {
        const qw_opt *row = o->values[i].row;
        if (row->type != QW_OPT_INT && row->type != QW_OPT_FLOAT) continue;
        if (w->name.ptr[1] < '0' || w->name.ptr[1] > '9') continue;
        if (!has_short(row, (qw_str){w->name.ptr, 1})) continue;
        *out = (opt_match){.value = &o->values[i]};
        w->value = w->name.ptr + 1;
        w->has_path = false; // the dot of -t0.5 belongs to the number
        return QW_OK;
    }
    return fail_unknown(o, arg, w->name, err);
}

// Make room for one more element in an array of the arena that holds `n` and grows by doubling.
static void *grown(qw_arena *a, const void *items, size_t n, size_t size)
{
    bool full = n == 0 || (n & (n - 1)) == 0; // capacities are powers of two
    if (!full) return (void *)(uintptr_t)items;
    size_t cap;
    if (!qw_mul_size(&cap, n ? n : 1, 2)) return NULL;
    void *more = qw_arena_array(a, cap, size);
    if (more && n) memcpy(more, items, n * size);
    return more;
}

static qw_status add_warning(qw_opts *o, qw_error *err, const char *fmt, ...) QW_PRINTF(3, 4);

static qw_status add_warning(qw_opts *o, qw_error *err, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (size_t i = 0; i < o->n_warnings; i++)
        if (strcmp(o->warnings[i], text) == 0) return QW_OK;
    char *copy = qw_arena_strndup(&o->arena, text, strlen(text));
    const char **more = grown(&o->arena, o->warnings, o->n_warnings, sizeof *more);
    if (!copy || !more) return no_memory(err);
    o->warnings = more;
    o->warnings[o->n_warnings++] = copy;
    return QW_OK;
}

// A higher source forgets what lower ones gave. False: `source` is too low to say anything.
static bool claim(qw_opt_value *v, qw_opt_source source)
{
    if (source < v->source) return false;
    if (source > v->source) {
        v->source = source;
        v->n_texts = v->n_assigns = 0;
    }
    return true;
}

static qw_status warn_if_given(qw_opts *o, const qw_opt_value *v, qw_error *err)
{
    if (!v->row->warning || v->source == QW_OPT_FROM_DEFAULT) return QW_OK;
    return add_warning(o, err, "--%s: %s", v->name, v->row->warning);
}

static qw_status put_texts(qw_opts *o, qw_opt_value *v, qw_opt_source source,
                           const char *const *texts, size_t n, qw_error *err)
{
    if (!claim(v, source)) return QW_OK;
    if (!v->row->append && v->n_texts > 0) {
        v->n_texts = 0;
        qw_status st = add_warning(o, err, "Found duplicate keys --%s", v->name);
        if (st != QW_OK) return st;
    }
    for (size_t i = 0; i < n; i++) {
        char *copy = qw_arena_strndup(&o->arena, texts[i], strlen(texts[i]));
        const char **more = grown(&o->arena, v->texts, v->n_texts, sizeof *more);
        if (!copy || !more) return no_memory(err);
        v->texts = more;
        v->texts[v->n_texts++] = copy;
    }
    return warn_if_given(o, v, err);
}

static qw_status put_assign(qw_opts *o, qw_opt_value *v, qw_opt_source source, qw_str path,
                            const char *value, qw_error *err)
{
    if (!claim(v, source)) return QW_OK;
    bool append = path.len > 0 && path.ptr[path.len - 1] == '+';
    if (append) path.len--;
    qw_opt_assign a = {
        .path = qw_arena_strndup(&o->arena, path.ptr, path.len),
        .value = qw_arena_strndup(&o->arena, value, strlen(value)),
        .append = append,
    };
    qw_opt_assign *more = grown(&o->arena, v->assigns, v->n_assigns, sizeof *more);
    if (!a.path || !a.value || !more) return no_memory(err);
    v->assigns = more;
    for (size_t i = 0; i < v->n_assigns && !append; i++) {
        if (strcmp(v->assigns[i].path, a.path) != 0) continue;
        qw_status st = add_warning(o, err, "Found duplicate keys --%s.%s", v->name, a.path);
        if (st != QW_OK) return st;
        break;
    }
    more[v->n_assigns++] = a;
    return warn_if_given(o, v, err);
}

static opt_word split_word(const char *arg)
{
    opt_word w = {.dashes = arg[0] != '-' ? 0 : arg[1] != '-' ? 1 : 2};
    const char *p = arg + w.dashes;
    const char *equals = strchr(p, '=');
    qw_str key = {p, equals ? (size_t)(equals - p) : strlen(p)};
    const char *dot = memchr(key.ptr, '.', key.len);
    w.name = (qw_str){p, dot ? (size_t)(dot - p) : key.len};
    w.has_path = dot != NULL;
    if (dot) w.path = (qw_str){dot + 1, key.len - w.name.len - 1};
    if (equals) w.value = equals + 1;
    return w;
}

static bool is_value(const char *arg)
{
    if (arg[0] != '-' || arg[1] == '\0') return true;
    double number;
    if (qw_str_to_f64(qw_str_of(arg), &number)) return true;
    return memchr(arg, ' ', strcspn(arg, "=")) != NULL;
}

static bool takes_no_value(const qw_opt *row)
{
    return row->type == QW_OPT_FLAG || row->type == QW_OPT_BOOL;
}

static bool is_list(const qw_opt *row)
{
    return row->type == QW_OPT_STRS || row->type == QW_OPT_INTS;
}

static qw_status put_switch(qw_opts *o, const opt_match *m, const opt_word *w, qw_error *err)
{
    if (w->value)
        return qw_fail(err, QW_ERR_USAGE, "argument --%s: takes no value, got '%s'", match_name(m),
                       w->value);
    const char *text = m->negated ? "false" : "true";
    return put_texts(o, m->value, QW_OPT_FROM_FLAG, &text, 1, err);
}

// The option of argv[*i]; *i moves over the values that it takes.
static qw_status parse_option(qw_opts *o, int argc, char *const *argv, int *i, qw_error *err)
{
    const char *arg = argv[*i];
    opt_word w = split_word(arg);
    opt_match m = {0};
    qw_status st =
        w.dashes == 2 ? find_long(o, &m, arg, w.name, err) : find_short(o, &m, arg, &w, err);
    if (st != QW_OK) return st;
    QW_ASSERT(m.value);
    const qw_opt *row = m.value->row;
    if (w.has_path && row->type != QW_OPT_JSON)
        return qw_fail(err, QW_ERR_USAGE, "argument --%s: takes no dotted keys, got '%s'",
                       m.value->name, arg);
    if (qw_opt_is_help(row)) {
        o->wants_help = true;
        if (!w.value) return QW_OK;
        o->help_topic = qw_arena_strndup(&o->arena, w.value, strlen(w.value));
        return o->help_topic ? QW_OK : no_memory(err);
    }
    if (takes_no_value(row)) return put_switch(o, &m, &w, err);

    const char *const *values = (const char *const *)argv + *i + 1;
    size_t n_values = 0, most = is_list(row) && !row->append ? SIZE_MAX : 1;
    if (w.value) {
        values = &w.value;
        n_values = 1;
    } else {
        while (*i + 1 < argc && n_values < most && is_value(argv[*i + 1])) {
            n_values++;
            (*i)++;
        }
    }
    if (n_values == 0)
        return qw_fail(err, QW_ERR_USAGE, "argument --%s: expected %s%s", m.value->name,
                       most == 1 ? "one argument" : "at least one argument",
                       *i + 1 < argc ? "; a value that begins with '-' is given as --name=-value"
                                     : "");
    if (w.has_path) return put_assign(o, m.value, QW_OPT_FROM_FLAG, w.path, values[0], err);
    return put_texts(o, m.value, QW_OPT_FROM_FLAG, values, n_values, err);
}

// The next positional row that is still free takes the word; a list never fills up.
static qw_status parse_positional(qw_opts *o, const char *arg, qw_error *err)
{
    for (size_t i = 0; i < o->n_values; i++) {
        qw_opt_value *v = &o->values[i];
        if (!v->row->positional) continue;
        if (v->source == QW_OPT_FROM_FLAG && !is_list(v->row)) continue;
        return put_texts(o, v, QW_OPT_FROM_FLAG, &arg, 1, err);
    }
    return qw_fail(err, QW_ERR_USAGE, "unrecognized arguments: %s", arg);
}

qw_status qw_opts_parse(qw_opts *o, int argc, char *const *argv, qw_error *err)
{
    bool only_positional = false;
    for (int i = 1; i < argc && !o->wants_help; i++) {
        qw_status st = QW_OK;
        if (!only_positional && strcmp(argv[i], "--") == 0)
            only_positional = true;
        else if (only_positional || is_value(argv[i]))
            st = parse_positional(o, argv[i], err);
        else
            st = parse_option(o, argc, argv, &i, err);
        if (st != QW_OK) return st;
    }
    return QW_OK;
}

qw_status qw_opts_apply_config(qw_opts *o, const char *key, const char *const *values,
                               size_t n_values, qw_error *err)
{
    char shown[128];
    snprintf(shown, sizeof shown, "--%s", key);
    opt_word w = split_word(key);
    opt_match m = {0};
    if (w.dashes != 0 || w.value) return fail_unknown(o, shown, w.name, err);
    qw_status st = find_long(o, &m, shown, w.name, err);
    if (st != QW_OK) return st;
    QW_ASSERT(m.value);
    const qw_opt *row = m.value->row;
    if (qw_opt_is_help(row)) return fail_unknown(o, shown, w.name, err);
    if (w.has_path && row->type != QW_OPT_JSON)
        return qw_fail(err, QW_ERR_USAGE, "config file key '%s': '%s' takes no dotted keys", key,
                       m.value->name);
    if (n_values == 0 || (n_values > 1 && !is_list(row)))
        return qw_fail(err, QW_ERR_USAGE, "config file key '%s': expected %s, got %zu values", key,
                       is_list(row) ? "at least one value" : "one value", n_values);
    if (takes_no_value(row)) {
        if (strcmp(values[0], "false") == 0) return QW_OK;
        if (strcmp(values[0], "true") != 0)
            return qw_fail(err, QW_ERR_USAGE,
                           "config file key '%s': invalid value '%s': expected true or false", key,
                           values[0]);
        const char *text = m.negated ? "false" : "true";
        return put_texts(o, m.value, QW_OPT_FROM_FILE, &text, 1, err);
    }
    if (w.has_path) return put_assign(o, m.value, QW_OPT_FROM_FILE, w.path, values[0], err);
    return put_texts(o, m.value, QW_OPT_FROM_FILE, values, n_values, err);
}

static qw_status put_environment(qw_opts *o, qw_opt_value *v, qw_error *err)
{
    const char *text = v->env ? getenv(v->env) : NULL;
    if (!text || text[0] == '\0' || v->source > QW_OPT_FROM_ENV) return QW_OK;
    if (!is_list(v->row) || v->row->append) return put_texts(o, v, QW_OPT_FROM_ENV, &text, 1, err);
    // A list on the command line is separated by blanks; so it is here. Each word is handed over
    // by itself, so the row's texts are gathered first.
    const char **words = NULL;
    size_t n_words = 0;
    for (const char *p = text + strspn(text, " \t"); *p; p += strspn(p, " \t")) {
        size_t len = strcspn(p, " \t");
        const char **more = grown(&o->arena, words, n_words, sizeof *more);
        char *word = qw_arena_strndup(&o->arena, p, len);
        if (!more || !word) return no_memory(err);
        words = more;
        words[n_words++] = word;
        p += len;
    }
    return n_words ? put_texts(o, v, QW_OPT_FROM_ENV, words, n_words, err) : QW_OK;
}

qw_status qw_opts_finish(qw_opts *o, qw_error *err)
{
    for (size_t i = 0; i < o->n_values; i++) {
        qw_opt_value *v = &o->values[i];
        qw_status st = put_environment(o, v, err);
        if (st == QW_OK && v->source == QW_OPT_UNSET && v->row->def)
            st = put_texts(o, v, QW_OPT_FROM_DEFAULT, &v->row->def, 1, err);
        if (st == QW_OK && v->source == QW_OPT_UNSET && v->row->required)
            st = qw_fail(err, QW_ERR_USAGE, "the following arguments are required: %s%s",
                         v->row->positional ? "" : "--", v->name);
        if (st == QW_OK && v->source != QW_OPT_UNSET) st = qw_opt_value_convert(o, v, err);
        if (st != QW_OK) return st;
    }
    for (size_t i = 0; i < o->n_values; i++)
        if (o->values[i].source != QW_OPT_UNSET) qw_opt_value_store(&o->values[i]);
    return QW_OK;
}

static qw_status init_value(qw_opts *o, qw_opt_value *v, const qw_opt *row, void *target,
                            qw_error *err)
{
    *v = (qw_opt_value){.row = row, .target = target, .env = row->env};
    v->name = dashed_name(&o->arena, "", row->name);
    if (row->type == QW_OPT_BOOL) v->no_name = dashed_name(&o->arena, "no-", row->name);
    if (!row->env && !qw_opt_is_help(row)) v->env = env_name(&o->arena, row->name);
    bool whole =
        v->name && (row->type != QW_OPT_BOOL || v->no_name) && (v->env || qw_opt_is_help(row));
    return whole ? QW_OK : no_memory(err);
}

qw_status qw_opts_init(qw_opts *o, const char *program, const char *summary,
                       const qw_opt_table *tables, size_t n_tables, qw_error *err)
{
    qw_opts opts = {.program = program, .summary = summary};
    qw_arena_init(&opts.arena, 4096);
    size_t n = 1; // --help
    for (size_t t = 0; t < n_tables; t++) n += tables[t].n_rows;
    opts.values = qw_arena_array(&opts.arena, n, sizeof *opts.values);
    qw_status st = opts.values ? QW_OK : no_memory(err);
    for (size_t t = 0; t < n_tables && st == QW_OK; t++)
        for (size_t r = 0; r < tables[t].n_rows && st == QW_OK; r++)
            st = init_value(&opts, &opts.values[opts.n_values++], &tables[t].rows[r],
                            tables[t].target, err);
    if (st == QW_OK) st = init_value(&opts, &opts.values[opts.n_values++], &help_row, NULL, err);
    if (st != QW_OK) {
        qw_arena_release(&opts.arena);
        return st;
    }
    *o = opts;
    return QW_OK;
}

void qw_opts_release(qw_opts *o)
{
    qw_arena_release(&o->arena);
    *o = (qw_opts){0};
}

const qw_opt_value *qw_opts_get(const qw_opts *o, const char *name)
{
    qw_str wanted = qw_str_of(name);
    for (size_t i = 0; i < o->n_values; i++) {
        qw_str full = qw_str_of(o->values[i].name);
        if (full.len == wanted.len && starts_with_folded(full, wanted)) return &o->values[i];
    }
    return NULL;
}

const char *qw_opt_source_name(qw_opt_source source)
{
    switch (source) {
    case QW_OPT_UNSET: return "unset";
    case QW_OPT_FROM_DEFAULT: return "default";
    case QW_OPT_FROM_FILE: return "config file";
    case QW_OPT_FROM_ENV: return "environment";
    case QW_OPT_FROM_FLAG: return "flag";
    }
    return "unknown";
}

// Global functions.

#include "format/jinja_internal.h"

#include <locale.h>
#include <time.h>

#include "format/jinja_text.h"

#define GLOBAL(name)                                                                               \
    static qw_status name(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,  \
                          qw_jinja_value *out)

#define MAX_RANGE 100000 /* the sandbox's limit */

GLOBAL(call_range)
{
    (void)self;
    int64_t start = 0, stop = 0, step = 1;
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[0], "range()'s argument", &stop));
    if (args->v[1].kind != QW_JINJA_ABSENT) {
        start = stop;
        QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[1], "range()'s argument", &stop));
    }
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[2], "range()'s argument", &step));
    if (step == 0) return qw_jinja_fail(r, "range() arg 3 must not be zero");
    // Distances between int64s fit in uint64.
    bool up = step > 0;
    uint64_t distance = 0, stride = up ? (uint64_t)step : 0 - (uint64_t)step;
    if (up ? start < stop : start > stop)
        distance = up ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    uint64_t n = distance == 0 ? 0 : (distance - 1) / stride + 1;
    if (n > MAX_RANGE)
        return qw_jinja_fail(r, "range too big: the sandbox blocks ranges larger than %d",
                             MAX_RANGE);
    qw_jinja_range *range = qw_jinja_alloc(r, 1, sizeof *range);
    if (!range) return qw_jinja_failure(r);
    *range = (qw_jinja_range){start, stop, step, (size_t)n};
    *out = (qw_jinja_value){.kind = QW_JINJA_RANGE, .range = range};
    return QW_OK;
}

// Copy a mapping, or pairs, into `d`.
static qw_status add_all(qw_jinja_run *r, qw_jinja_dict *d, const qw_jinja_value *from)
{
    const qw_jinja_value *items, *pair;
    size_t n, two;
    if (from->kind == QW_JINJA_DICT || from->kind == QW_JINJA_NAMESPACE) {
        const qw_jinja_entry *entries;
        QW_JINJA_TRY(qw_jinja_entries(r, from->dict, &entries, &n));
        for (size_t i = 0; i < n; i++)
            QW_JINJA_TRY(qw_jinja_dict_put(r, d, &entries[i].key, &entries[i].value));
        return QW_OK;
    }
    QW_JINJA_TRY(qw_jinja_iterate(r, from, &items, &n));
    for (size_t i = 0; i < n; i++) {
        QW_JINJA_TRY(qw_jinja_iterate(r, &items[i], &pair, &two));
        if (two != 2)
            return qw_jinja_fail(r, "element %zu has length %zu; a key and a value are required", i,
                                 two);
        QW_JINJA_TRY(qw_jinja_dict_put(r, d, &pair[0], &pair[1]));
    }
    return QW_OK;
}

static qw_status make_dict(qw_jinja_run *r, const qw_jinja_args *args, qw_jinja_kind kind,
                           qw_jinja_value *out)
{
    qw_jinja_dict *d = qw_jinja_dict_new(r);
    if (!d) return qw_jinja_failure(r);
    if (args->n_pos > 1)
        return qw_jinja_fail(r, "dict expected at most 1 argument, got %zu", args->n_pos);
    if (args->n_pos == 1) QW_JINJA_TRY(add_all(r, d, &args->pos[0]));
    for (size_t i = 0; i < args->n_kw; i++) {
        qw_jinja_value key = qw_jinja_string(args->kw[i].name);
        QW_JINJA_TRY(qw_jinja_dict_put(r, d, &key, &args->kw[i].value));
    }
    *out = (qw_jinja_value){.kind = (uint8_t)kind, .dict = d};
    return QW_OK;
}

GLOBAL(call_dict)
{
    (void)self;
    return make_dict(r, args, QW_JINJA_DICT, out);
}

GLOBAL(call_namespace)
{
    (void)self;
    return make_dict(r, args, QW_JINJA_NAMESPACE, out);
}

GLOBAL(call_raise_exception)
{
    (void)self, (void)out;
    qw_str message;
    QW_JINJA_TRY(qw_jinja_to_str(r, &args->v[0], &message));
    return qw_jinja_fail(r, "%.*s", qw_jinja_clip(message, 400), message.ptr);
}

// strftime of glibc in the "C" locale. The result is bounded, because a template could ask for
// "%1000000000d".
GLOBAL(call_strftime_now)
{
    (void)self;
    qw_str format = {"", 0};
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "the time format", &format));
    if (memchr(format.ptr, '\0', format.len)) return qw_jinja_fail(r, "embedded null character");
    struct tm now;
    if (r->opt->now) {
        now = *r->opt->now;
    } else {
        time_t t = time(NULL);
        if (!localtime_r(&t, &now)) return qw_jinja_fail(r, "the local time is not known");
    }
    size_t size;
    if (!qw_mul_size(&size, format.len, 32) || !qw_add_size(&size, size, 256)) size = SIZE_MAX;
    char *text = qw_jinja_alloc(r, size, 1);
    // The trailing "." tells an empty result from one that did not fit.
    char *with_end = text ? qw_jinja_alloc(r, format.len + 2, 1) : NULL;
    if (!with_end) return qw_jinja_failure(r);
    if (format.len) memcpy(with_end, format.ptr, format.len);
    with_end[format.len] = '.';
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c) return r->failed = qw_fail_memory(r->err, 0, "a locale");
    size_t len = strftime_l(text, size, with_end, &now, c);
    freelocale(c);
    if (len == 0) return qw_jinja_fail(r, "the time format gives a text that is too long");
    *out = qw_jinja_string((qw_str){text, len - 1});
    return QW_OK;
}

GLOBAL(call_joiner)
{
    (void)self;
    qw_jinja_joiner *joiner = qw_jinja_alloc(r, 1, sizeof *joiner);
    if (!joiner) return qw_jinja_failure(r);
    joiner->separator = QW_STR(", ");
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "joiner's separator", &joiner->separator));
    *out = (qw_jinja_value){.kind = QW_JINJA_JOINER, .joiner = joiner};
    return QW_OK;
}

GLOBAL(call_cycler)
{
    (void)self;
    if (args->n_pos == 0 || args->n_kw)
        return qw_jinja_fail(r, "at least one item has to be provided");
    qw_jinja_cycler *cycler = qw_jinja_alloc(r, 1, sizeof *cycler);
    if (!cycler) return qw_jinja_failure(r);
    *cycler = (qw_jinja_cycler){.items = args->pos, .n = args->n_pos};
    *out = (qw_jinja_value){.kind = QW_JINJA_CYCLER, .cycler = cycler};
    return QW_OK;
}

GLOBAL(call_lipsum)
{
    (void)self, (void)args, (void)out;
    return qw_jinja_refuse(r, "lipsum() is not supported in chat templates");
}

static const qw_jinja_builtin globals[] = {
    {"namespace", NULL, call_namespace},
    {"range", "start stop? step?", call_range},
    {"dict", NULL, call_dict},
    {"raise_exception", "message", call_raise_exception},
    {"strftime_now", "format", call_strftime_now},
    {"joiner", "sep?", call_joiner},
    {"cycler", NULL, call_cycler},
    {"lipsum", NULL, call_lipsum},
    {NULL, NULL, NULL},
};

const qw_jinja_builtin *qw_jinja_find_global(qw_str name)
{
    return qw_jinja_find_builtin(globals, name);
}

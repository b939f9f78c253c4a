// From the texts of an option to its value: conversion, range checks, and the store.
#include "base/nearest.h"
#include "base/opt_internal.h"

#include <ctype.h>
#include <strings.h>

// Power of 1000 (lower case) or 1024 (upper case) that `c` stands for; 0: no suffix.
static int suffix_power(char c)
{
    const char *suffixes = "kmgt";
    const char *hit = c ? strchr(suffixes, tolower((unsigned char)c)) : NULL;
    return hit ? (int)(hit - suffixes) + 1 : 0;
}

// digits[.digits] times `scale`, a power of ten; digits below one unit are cut off, as vLLM does.
// Worked out in integers: 1.001k is 1001, where binary floating point would give 1000.
static bool scaled_decimal(qw_str s, int64_t scale, int64_t *out)
{
    size_t point = qw_str_find(s, QW_STR("."), 0);
    size_t n_whole = point == SIZE_MAX ? s.len : point;
    if (n_whole == 0 || n_whole + 1 == s.len) return false; // ".5" and "5."
    int64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (i == n_whole) continue;
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
        int64_t digit = s.ptr[i] - '0', part;
        if (i < n_whole) {
            if (__builtin_mul_overflow(value, (int64_t)10, &value)) return false;
            if (__builtin_add_overflow(value, digit, &value)) return false;
            if (i + 1 == n_whole && __builtin_mul_overflow(value, scale, &value)) return false;
        } else {
            scale /= 10;
            part = digit * scale;
            if (__builtin_add_overflow(value, part, &value)) return false;
        }
    }
    *out = value;
    return true;
}

bool qw_opt_human_int(qw_str s, int64_t *out)
{
    if (s.len == 0) return false;
    char last = s.ptr[s.len - 1];
    int power = suffix_power(last);
    if (power == 0) return qw_str_to_i64(s, out);
    qw_str number = {s.ptr, s.len - 1};
    int64_t scale = 1;
    for (int i = 0; i < power; i++) scale *= islower((unsigned char)last) ? 1000 : 1024;
    if (islower((unsigned char)last)) return scaled_decimal(number, scale, out);
    int64_t value;
    if (number.len == 0 || !isdigit((unsigned char)number.ptr[0])) return false;
    if (!qw_str_to_i64(number, &value)) return false;
    if (__builtin_mul_overflow(value, scale, &value)) return false;
    *out = value;
    return true;
}

static bool has_range(const qw_opt *row)
{
    return row->min != 0 || row->max != 0;
}

static bool in_range(const qw_opt *row, double value)
{
    return !has_range(row) || (value >= row->min && value <= row->max);
}

static void describe_number(const qw_opt *row, const char *kind, char *text, size_t size)
{
    char word[48] = "";
    if (row->word) snprintf(word, sizeof word, ", or '%s'", row->word);
    const char *human = row->human ? " (k, M, ... suffixes allowed)" : "";
    if (!has_range(row))
        snprintf(text, size, "%s%s%s", kind, human, word);
    else if (row->max >= QW_OPT_NO_MAX)
        snprintf(text, size, "%s of at least %.15g%s%s", kind, row->min, human, word);
    else
        snprintf(text, size, "%s from %.15g to %.15g%s%s", kind, row->min, row->max, human, word);
}

static void describe_choices(const qw_opt *row, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; row->choices[i] && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", row->choices[i]);
}

void qw_opt_describe_allowed(const qw_opt *row, char *text, size_t size)
{
    switch (row->type) {
    case QW_OPT_FLAG:
    case QW_OPT_BOOL: snprintf(text, size, "true or false"); return;
    case QW_OPT_INT:
    case QW_OPT_INTS: describe_number(row, "an integer", text, size); break;
    case QW_OPT_FLOAT: describe_number(row, "a number", text, size); break;
    case QW_OPT_CHOICE: describe_choices(row, text, size); return;
    case QW_OPT_STR:
    case QW_OPT_STRS: snprintf(text, size, "text"); break;
    case QW_OPT_JSON: snprintf(text, size, "JSON text"); break;
    }
    size_t used = strlen(text);
    if (row->allowed && used < size) snprintf(text + used, size - used, ", %s", row->allowed);
}

static qw_status fail_value(const qw_opt_value *v, const char *text, const char *hint,
                            qw_error *err)
{
    char origin[160], allowed[256];
    switch (v->source) {
    case QW_OPT_FROM_ENV: snprintf(origin, sizeof origin, "environment variable %s", v->env); break;
    case QW_OPT_FROM_FILE: snprintf(origin, sizeof origin, "config file key '%s'", v->name); break;
    default: snprintf(origin, sizeof origin, "argument --%s", v->name);
    }
    qw_opt_describe_allowed(v->row, allowed, sizeof allowed);
    if (hint)
        return qw_fail(err, QW_ERR_USAGE,
                       "%s: invalid value '%s': expected %s (did you mean '%s'?)", origin, text,
                       allowed, hint);
    return qw_fail(err, QW_ERR_USAGE, "%s: invalid value '%s': expected %s", origin, text, allowed);
}

static bool to_flag(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "1", "yes", "on"};
    static const char *const no[] = {"false", "0", "no", "off"};
    for (size_t i = 0; i < QW_ARRAY_LEN(yes); i++) {
        if (strcasecmp(text, yes[i]) != 0 && strcasecmp(text, no[i]) != 0) continue;
        *out = strcasecmp(text, yes[i]) == 0;
        return true;
    }
    return false;
}

static bool to_int(const qw_opt *row, const char *text, int64_t *out)
{
    if (row->word && strcmp(text, row->word) == 0) {
        *out = row->word_value;
        return true;
    }
    qw_str s = qw_str_of(text);
    int64_t value;
    if (row->human ? !qw_opt_human_int(s, &value) : !qw_str_to_i64(s, &value)) return false;
    if (!in_range(row, (double)value)) return false;
    *out = value;
    return true;
}

static qw_status convert_choice(qw_opt_value *v, const char *text, qw_error *err)
{
    qw_nearest near;
    qw_nearest_init(&near, qw_str_of(text));
    for (int i = 0; v->row->choices[i]; i++) {
        if (strcmp(v->row->choices[i], text) == 0) {
            v->as.index = i;
            return QW_OK;
        }
        qw_nearest_offer(&near, v->row->choices[i]);
    }
    return fail_value(v, text, near.name, err);
}

static qw_status convert_ints(qw_opts *o, qw_opt_value *v, qw_error *err)
{
    int64_t *ints = qw_arena_array(&o->arena, v->n_texts, sizeof *ints);
    if (!ints) return qw_fail_memory(err, v->n_texts * sizeof *ints, v->name);
    for (size_t i = 0; i < v->n_texts; i++)
        if (!to_int(v->row, v->texts[i], &ints[i])) return fail_value(v, v->texts[i], NULL, err);
    v->as.ints = ints;
    return QW_OK;
}

qw_status qw_opt_value_convert(qw_opts *o, qw_opt_value *v, qw_error *err)
{
    const char *text = v->n_texts ? v->texts[v->n_texts - 1] : NULL;
    bool good = true;
    // A value without text: only lists, and JSON that was given by its members.
    const qw_opt_type type = v->row->type;
    QW_ASSERT(text || type == QW_OPT_JSON || type == QW_OPT_INTS || type == QW_OPT_STRS);
    switch (type) {
    case QW_OPT_FLAG:
    case QW_OPT_BOOL: good = to_flag(text, &v->as.flag); break;
    case QW_OPT_INT: good = to_int(v->row, text, &v->as.i64); break;
    case QW_OPT_FLOAT:
        good = qw_str_to_f64(qw_str_of(text), &v->as.f64) && in_range(v->row, v->as.f64);
        break;
    case QW_OPT_CHOICE: return convert_choice(v, text, err);
    case QW_OPT_INTS: return convert_ints(o, v, err);
    case QW_OPT_JSON: v->as.json = (qw_opt_json){text, v->assigns, v->n_assigns}; break;
    case QW_OPT_STR:
    case QW_OPT_STRS: break; // the texts are the value
    }
    return good ? QW_OK : fail_value(v, text, NULL, err);
}

void qw_opt_value_store(const qw_opt_value *v)
{
    if (!v->target || v->row->offset == QW_OPT_NO_FIELD) return;
    char *field = (char *)v->target + v->row->offset;
    switch (v->row->type) {
    case QW_OPT_FLAG:
    case QW_OPT_BOOL: memcpy(field, &v->as.flag, sizeof v->as.flag); return;
    case QW_OPT_INT: memcpy(field, &v->as.i64, sizeof v->as.i64); return;
    case QW_OPT_FLOAT: memcpy(field, &v->as.f64, sizeof v->as.f64); return;
    case QW_OPT_CHOICE: memcpy(field, &v->as.index, sizeof v->as.index); return;
    case QW_OPT_JSON: memcpy(field, &v->as.json, sizeof v->as.json); return;
    case QW_OPT_STR: memcpy(field, &v->texts[v->n_texts - 1], sizeof v->texts[0]); return;
    case QW_OPT_STRS: memcpy(field, &v->texts, sizeof v->texts); break;
    case QW_OPT_INTS: memcpy(field, &v->as.ints, sizeof v->as.ints); break;
    }
    memcpy((char *)v->target + v->row->n_offset, &v->n_texts, sizeof v->n_texts);
}

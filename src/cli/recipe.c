#include "cli/recipe.h"

#include "base/file.h"
#include "cli/yaml_reader.h"

static const char kind[] = "recipe";

static qw_status fail_line(const qw_yaml_reader *r, size_t line, const char *what)
{
    return qw_fail(r->err, QW_ERR_USAGE, "%s '%.200s' line %zu: %s", kind, r->name, line, what);
}

static qw_status read_target(const qw_yaml_reader *r, size_t line, const json_t *type,
                             qw_target *out)
{
    if (json_is_string(type) && qw_target_from_name(out, qw_json_str(type))) return QW_OK;
    return fail_line(r, line,
                     "a rule needs a type: FLOAT, W8A8, W8A8_DYNAMIC, W8A8_MIX, W8A16, "
                     "W4A8_DYNAMIC, W4A4_DYNAMIC or W4A4_FLATQUANT_DYNAMIC");
}

static qw_status read_method(const qw_yaml_reader *r, size_t line, const json_t *method,
                             qw_scale_method *out)
{
    static const char *const names[] = {
        [QW_SCALE_MINMAX] = "minmax", [QW_SCALE_MSE] = "mse", [QW_SCALE_SSZ] = "ssz"};
    *out = QW_SCALE_AUTO;
    if (!method) return QW_OK;
    for (int m = QW_SCALE_MINMAX; m <= QW_SCALE_SSZ; m++)
        if (json_is_string(method) && strcmp(json_string_value(method), names[m]) == 0)
            *out = (qw_scale_method)m;
    return *out != QW_SCALE_AUTO ? QW_OK : fail_line(r, line, "a method is minmax, mse or ssz");
}

static qw_status add_rule(qw_recipe *out, const qw_yaml_reader *r, const qw_quant_rule *rule,
                          const json_t *pattern, size_t *cap)
{
    if (!json_is_string(pattern) || json_string_length(pattern) == 0 ||
        strlen(json_string_value(pattern)) != json_string_length(pattern))
        return fail_line(r, rule->line, "'match' must be a pattern or a list of them");
    if (out->n_rules == *cap) {
        *cap = *cap ? 2 * *cap : 16;
        qw_quant_rule *more = qw_arena_array(&out->arena, *cap, sizeof *more);
        if (!more) return qw_fail_memory(r->err, *cap * sizeof *more, "the recipe");
        if (out->n_rules) memcpy(more, out->rules, out->n_rules * sizeof *more);
        out->rules = more;
    }
    qw_quant_rule *new = &out->rules[out->n_rules];
    *new = *rule;
    new->pattern =
        qw_arena_strndup(&out->arena, json_string_value(pattern), json_string_length(pattern));
    if (!new->pattern) return qw_fail_memory(r->err, json_string_length(pattern), "the recipe");
    out->n_rules++;
    return QW_OK;
}

static qw_status use_rule(qw_recipe *out, const qw_yaml_reader *r, const json_t *v, size_t line,
                          size_t *cap)
{
    if (!json_is_object(v))
        return fail_line(r, line, "expected a rule, {match: PATTERN, type: TYPE}");
    const char *key;
    json_t *unused;
    json_object_foreach((json_t *)(uintptr_t)v, key, unused)
    {
        if (strcmp(key, "match") != 0 && strcmp(key, "type") != 0 && strcmp(key, "method") != 0)
            return qw_fail(r->err, QW_ERR_USAGE,
                           "%s '%.200s' line %zu: a rule has no '%.100s', only match, type and "
                           "method",
                           kind, r->name, line, key);
    }
    qw_quant_rule rule = {.line = line};
    qw_status st = read_target(r, line, json_object_get(v, "type"), &rule.target);
    if (st == QW_OK) st = read_method(r, line, json_object_get(v, "method"), &rule.method);
    const json_t *match = json_object_get(v, "match");
    size_t n = json_is_array(match) ? json_array_size(match) : 1;
    if (st == QW_OK && n == 0) st = fail_line(r, line, "'match' names nothing");
    for (size_t i = 0; i < n && st == QW_OK; i++)
        st = add_rule(out, r, &rule, json_is_array(match) ? json_array_get(match, i) : match, cap);
    return st;
}

// The list behind "layers:", rule by rule, so that each knows its line.
static qw_status read_rules(qw_recipe *out, qw_yaml_reader *r)
{
    size_t cap = 0;
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return qw_yaml_fail(r, &r->event.start_mark, "'layers' must be a list of rules");
    for (;;) {
        qw_status st = qw_yaml_next(r);
        if (st != QW_OK || r->event.type == YAML_SEQUENCE_END_EVENT) return st;
        size_t line = r->event.start_mark.line + 1;
        json_t *v = NULL;
        st = qw_yaml_value(r, &v, 1);
        if (st == QW_OK) st = use_rule(out, r, v, line, &cap);
        json_decref(v);
        if (st != QW_OK) return st;
    }
}

// msModelSlim's own recipes ("practice" files) are programs of several processes, which are options
// and schemes here.
static bool is_of_practice(qw_str key)
{
    static const char *const keys[] = {"apiversion", "metadata",  "spec",         "process",
                                       "anti_cfg",   "calib_cfg", "calib_params", "quant_config"};
    for (size_t i = 0; i < QW_ARRAY_LEN(keys); i++)
        if (qw_str_is(key, keys[i])) return true;
    return false;
}

static qw_status read_document(qw_recipe *out, qw_yaml_reader *r)
{
    static const char expected[] = "expected 'layers:' and a list of rules";
    static const char practice[] =
        "this is a practice file of msModelSlim: give the types of its linear_quant by --scheme, "
        "and "
        "write 'layers:' with a list of {match: PATTERN, type: TYPE} for what it excludes (type "
        "FLOAT) or stores in another way";
    bool any, has_layers = false;
    qw_status st = qw_yaml_begin(r, &any, expected);
    while (st == QW_OK && any) {
        st = qw_yaml_next(r);
        if (st != QW_OK) return st;
        if (r->event.type == YAML_MAPPING_END_EVENT) {
            st = qw_yaml_end(r);
            break;
        }
        if (r->event.type == YAML_SCALAR_EVENT && is_of_practice(qw_yaml_text(&r->event)))
            return qw_yaml_fail(r, &r->event.start_mark, practice);
        if (r->event.type != YAML_SCALAR_EVENT || !qw_str_is(qw_yaml_text(&r->event), "layers") ||
            has_layers)
            return qw_yaml_fail(r, &r->event.start_mark, expected);
        has_layers = true;
        st = qw_yaml_next(r);
        if (st == QW_OK) st = read_rules(out, r);
    }
    if (st == QW_OK && out->n_rules == 0)
        st = qw_fail(r->err, QW_ERR_USAGE, "%s '%.200s' names no layer", kind, r->name);
    return st;
}

qw_status qw_recipe_parse(qw_recipe *out, const char *text, size_t len, const char *name,
                          qw_error *err)
{
    qw_yaml_reader r;
    qw_status st = qw_yaml_init(&r, text, len, kind, name, err);
    if (st != QW_OK) return st;
    qw_recipe recipe = {0};
    qw_arena_init(&recipe.arena, 4096);
    st = read_document(&recipe, &r);
    qw_yaml_release(&r);
    if (st == QW_OK)
        *out = recipe;
    else
        qw_recipe_release(&recipe);
    return st;
}

qw_status qw_recipe_load(qw_recipe *out, const char *path, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, QW_YAML_MAX_SIZE);
    qw_status st = qw_file_read(&text, path, err);
    if (st != QW_OK)
        st = qw_context(err, st, "--recipe");
    else
        st = qw_recipe_parse(out, text.data ? text.data : "", text.len, path, err);
    qw_buf_release(&text);
    return st;
}

void qw_recipe_release(qw_recipe *r)
{
    qw_arena_release(&r->arena);
    *r = (qw_recipe){0};
}

#include "quant/quant_plan.h"

#include "base/str.h"

const char *const qw_scheme_names[QW_N_SCHEMES + 1] = {
    "w8a8", "w8a8-dynamic", "w8a8-mix", "w8a16", "w4a8", "w4a4-flatquant", "w4a4-laos", NULL};

// Roles by name

static const struct {
    const char *suffix;
    qw_role role;
} layer_suffixes[] = {
    {"input_layernorm.weight", QW_ROLE_INPUT_NORM},
    {"post_attention_layernorm.weight", QW_ROLE_POST_NORM},
    {"self_attn.q_proj.weight", QW_ROLE_Q},
    {"self_attn.k_proj.weight", QW_ROLE_K},
    {"self_attn.v_proj.weight", QW_ROLE_V},
    {"self_attn.o_proj.weight", QW_ROLE_O},
    {"gate_proj.weight", QW_ROLE_GATE},
    {"up_proj.weight", QW_ROLE_UP},
    {"down_proj.weight", QW_ROLE_DOWN},
    {".mlp.gate.weight", QW_ROLE_ROUTER},
};

static const char layer_prefix[] = "model.layers.";

static void find_role(qw_quant_item *it)
{
    const char *name = it->name;
    it->layer = -1;
    it->role = QW_ROLE_OTHER;
    if (strcmp(name, "model.embed_tokens.weight") == 0) it->role = QW_ROLE_EMBED;
    if (strcmp(name, "lm_head.weight") == 0) it->role = QW_ROLE_LM_HEAD;
    if (strcmp(name, "model.norm.weight") == 0) it->role = QW_ROLE_FINAL_NORM;
    if (!qw_str_starts_with(qw_str_of(name), qw_str_of(layer_prefix))) return;
    const char *number = name + sizeof layer_prefix - 1, *dot = strchr(number, '.');
    int64_t i;
    if (!dot || !qw_str_to_i64((qw_str){number, (size_t)(dot - number)}, &i) || i < 0 ||
        i > INT32_MAX)
        return;
    it->layer = (int)i;
    it->is_expert = qw_str_starts_with(qw_str_of(dot), QW_STR(".mlp.experts."));
    for (size_t s = 0; s < QW_ARRAY_LEN(layer_suffixes); s++)
        if (qw_str_ends_with(qw_str_of(name), qw_str_of(layer_suffixes[s].suffix)))
            it->role = layer_suffixes[s].role;
}

// Types by scheme

static qw_target target_of(qw_scheme scheme, const qw_quant_item *it)
{
    bool is_down = it->role == QW_ROLE_DOWN;
    bool is_mlp_in = it->role == QW_ROLE_GATE || it->role == QW_ROLE_UP;
    switch (scheme) {
    case QW_SCHEME_W8A8: return is_down || it->is_expert ? QW_TARGET_W8A8_DYNAMIC : QW_TARGET_W8A8;
    case QW_SCHEME_W8A8_DYNAMIC: return QW_TARGET_W8A8_DYNAMIC;
    case QW_SCHEME_W8A8_MIX: return it->is_expert ? QW_TARGET_W8A8_DYNAMIC : QW_TARGET_W8A8_MIX;
    case QW_SCHEME_W8A16: return QW_TARGET_W8A16;
    case QW_SCHEME_W4A8:
        if (it->is_expert) return QW_TARGET_W4A8;
        return is_down ? QW_TARGET_FLOAT : QW_TARGET_W4A8;
    case QW_SCHEME_W4A4_FLATQUANT:
        return is_down || it->role == QW_ROLE_O ? QW_TARGET_W8A8_DYNAMIC : QW_TARGET_FLATQUANT;
    case QW_SCHEME_W4A4_LAOS:
    default: return is_mlp_in ? QW_TARGET_W4A4 : QW_TARGET_W8A8_DYNAMIC;
    }
}

bool qw_quant_pattern_fits(const char *p, const char *name)
{
    for (; *p; p++, name++) {
        if (*p == '*') {
            while (p[1] == '*') p++;
            for (const char *rest = name;; rest++) {
                if (qw_quant_pattern_fits(p + 1, rest)) return true;
                if (*rest == '\0') return false;
            }
        }
        const char *close = *p == '{' ? strchr(p, '}') : NULL;
        if (close) {
            for (const char *word = p + 1; word <= close;) {
                size_t len = strcspn(word, ",}");
                if (strncmp(name, word, len) == 0 && qw_quant_pattern_fits(close + 1, name + len))
                    return true;
                word += len + 1;
            }
            return false;
        }
        if (*name == '\0' || (*p != '?' && *p != *name)) return false;
    }
    return *name == '\0';
}

// A pattern is about the Linear; its weight's name is meant as well.
static bool rule_fits(const qw_quant_rule *rule, const qw_quant_item *it, char *linear)
{
    size_t len = strlen(it->name) - strlen(".weight");
    memcpy(linear, it->name, len);
    linear[len] = '\0';
    return qw_quant_pattern_fits(rule->pattern, linear) ||
           qw_quant_pattern_fits(rule->pattern, it->name);
}

static qw_status apply_rules(qw_quant_plan *p, const qw_quant_choices *c, qw_error *err)
{
    size_t longest = 0;
    for (size_t i = 0; i < p->n_items; i++) {
        size_t len = strlen(p->items[i].name);
        if (len > longest) longest = len;
    }
    char *linear = qw_arena_alloc(&p->arena, longest + 1);
    if (!linear) return qw_fail_memory(err, longest, "a name");
    for (size_t r = 0; r < c->n_rules; r++) {
        const qw_quant_rule *rule = &c->rules[r];
        bool any = false;
        for (size_t i = 0; i < p->n_items; i++) {
            qw_quant_item *it = &p->items[i];
            if (!qw_role_is_linear(it->role) || !rule_fits(rule, it, linear)) continue;
            any = true;
            if (p->is_rotated &&
                (qw_target_is_static(rule->target) || rule->target == QW_TARGET_FLATQUANT))
                return qw_fail(err, QW_ERR_USAGE,
                               "recipe '%s' line %zu: %s does not go with the rotation of '%s'",
                               c->recipe, rule->line, qw_target_name(rule->target),
                               qw_scheme_names[c->scheme]);
            it->target = rule->target;
            if (rule->method != QW_SCALE_AUTO) it->method = rule->method;
        }
        if (!any)
            return qw_fail(err, QW_ERR_USAGE,
                           "recipe '%s' line %zu: '%s' names no linear layer of this model",
                           c->recipe, rule->line, rule->pattern);
    }
    return QW_OK;
}

// Checks

// Linears that are one product in the other engine must be of one type (quantization.md 1.5).
static int family_of(const qw_quant_item *it)
{
    if (it->role >= QW_ROLE_Q && it->role <= QW_ROLE_V) return 1;
    if (it->is_expert) return 3;
    return it->role == QW_ROLE_GATE || it->role == QW_ROLE_UP ? 2 : 0;
}

static qw_status check_families(const qw_quant_plan *p, qw_error *err)
{
    for (size_t u = 0; u < p->n_units; u++) {
        const qw_quant_item *seen[4] = {0};
        for (size_t i = p->unit_first[u]; i < p->unit_first[u + 1]; i++) {
            const qw_quant_item *it = &p->items[i];
            int f = qw_role_is_linear(it->role) ? family_of(it) : 0;
            if (f == 0) continue;
            if (!seen[f]) seen[f] = it;
            if (seen[f]->target != it->target)
                return qw_fail(err, QW_ERR_USAGE,
                               "'%s' is to be %s and '%s' %s: they read the same input and must be "
                               "of one type",
                               seen[f]->name, qw_target_name(seen[f]->target), it->name,
                               qw_target_name(it->target));
        }
    }
    return QW_OK;
}

static bool is_row_parallel(const qw_quant_item *it)
{
    return it->role == QW_ROLE_O || it->role == QW_ROLE_DOWN;
}

static qw_status choose_group(qw_quant_plan *p, int64_t asked, qw_error *err)
{
    static const size_t sizes[] = {256, 128, 64, 32};
    bool has_any = false, has_experts = false;
    for (size_t i = 0; i < p->n_items; i++) {
        bool is_w4a8 = p->items[i].target == QW_TARGET_W4A8;
        has_any |= is_w4a8;
        has_experts |= is_w4a8 && p->items[i].is_expert;
    }
    if (!has_any || asked == 0 || (asked < 0 && has_experts)) return QW_OK;
    for (size_t s = 0; s < QW_ARRAY_LEN(sizes) && p->group_size == 0; s++) {
        size_t g = asked > 0 ? (size_t)asked : sizes[s];
        const qw_quant_item *bad = NULL;
        for (size_t i = 0; i < p->n_items; i++)
            if (p->items[i].target == QW_TARGET_W4A8 && p->items[i].in % g != 0) bad = &p->items[i];
        if (bad && asked > 0)
            return qw_fail(err, QW_ERR_USAGE,
                           "group size %zu does not divide the %zu columns of '%s'", g, bad->in,
                           bad->name);
        if (!bad) p->group_size = g;
    }
    return QW_OK; // nothing fits: one level
}

static qw_status check_item(const qw_quant_item *it, qw_error *err)
{
    size_t left, right;
    if (it->target == QW_TARGET_W4A8 && it->out % 2 != 0)
        return qw_fail(err, QW_ERR_UNSUPPORTED, "'%s': W4A8 packs rows in pairs, and it has %zu",
                       it->name, it->out);
    if (it->target == QW_TARGET_W4A8 && is_row_parallel(it) && it->in % 16 != 0)
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "'%s': W4A8 needs its %zu columns to be a multiple of 16", it->name, it->in);
    if (it->target == QW_TARGET_FLATQUANT &&
        (it->in % 8 != 0 || !qw_kronecker_split(it->in, &left, &right)))
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "'%s': FlatQuant needs its %zu columns to be a multiple of 8", it->name,
                       it->in);
    return QW_OK;
}

// The tensors of an item

static const struct {
    const char *suffix;
    qw_dtype dtype;
} kinds[QW_N_OUT_KINDS] = {
    [QW_OUT_WEIGHT] = {"weight", QW_DTYPE_I8},
    [QW_OUT_SCALE] = {"weight_scale", QW_DTYPE_F32},
    [QW_OUT_OFFSET] = {"weight_offset", QW_DTYPE_F32},
    [QW_OUT_SECOND] = {"weight_scale_second", QW_DTYPE_F16},
    [QW_OUT_SECOND_OFFSET] = {"weight_offset_second", QW_DTYPE_F16},
    [QW_OUT_SCALE_BIAS] = {"scale_bias", QW_DTYPE_F32},
    [QW_OUT_INPUT_SCALE] = {"input_scale", QW_DTYPE_F32},
    [QW_OUT_INPUT_OFFSET] = {"input_offset", QW_DTYPE_F32},
    [QW_OUT_QUANT_BIAS] = {"quant_bias", QW_DTYPE_I32},
    [QW_OUT_DEQ_SCALE] = {"deq_scale", QW_DTYPE_F32},
    [QW_OUT_LEFT] = {"left_trans", QW_DTYPE_F32},
    [QW_OUT_RIGHT] = {"right_trans", QW_DTYPE_F32},
    [QW_OUT_CLIP] = {"clip_ratio", QW_DTYPE_F32},
    [QW_OUT_BIAS] = {"bias", QW_DTYPE_F32},
};

#define BIT(kind) (1u << (kind))
enum {
    DYNAMIC_KINDS = BIT(QW_OUT_WEIGHT) | BIT(QW_OUT_SCALE) | BIT(QW_OUT_OFFSET),
    STATIC_KINDS = BIT(QW_OUT_WEIGHT) | BIT(QW_OUT_INPUT_SCALE) | BIT(QW_OUT_INPUT_OFFSET) |
                   BIT(QW_OUT_QUANT_BIAS) | BIT(QW_OUT_DEQ_SCALE),
};

static uint32_t kinds_of(const qw_quant_plan *p, const qw_quant_item *it)
{
    uint32_t k = DYNAMIC_KINDS;
    if (it->target == QW_TARGET_FLOAT) k = BIT(QW_OUT_WEIGHT);
    if (it->target == QW_TARGET_W8A8) k = STATIC_KINDS;
    if (it->target == QW_TARGET_W8A8_MIX) k = DYNAMIC_KINDS | STATIC_KINDS;
    if (it->target == QW_TARGET_W4A8) k |= BIT(QW_OUT_SCALE_BIAS);
    if (it->target == QW_TARGET_W4A8 && p->group_size > 0)
        k |= BIT(QW_OUT_SECOND) | BIT(QW_OUT_SECOND_OFFSET);
    if (it->target == QW_TARGET_FLATQUANT)
        k |= BIT(QW_OUT_LEFT) | BIT(QW_OUT_RIGHT) | BIT(QW_OUT_CLIP);
    if (it->bias) k |= BIT(QW_OUT_BIAS);
    return k;
}

static void set_shape(qw_out_tensor *o, size_t rank, size_t rows, size_t cols)
{
    o->t.rank = rank;
    o->shape[0] = rows;
    o->shape[1] = cols;
}

static void shape_output(const qw_quant_plan *p, const qw_quant_item *it, qw_out_kind kind,
                         qw_out_tensor *o)
{
    size_t left = 0, right = 0;
    switch (kind) {
    case QW_OUT_WEIGHT:
        if (it->source->rank != 2)
            set_shape(o, it->source->rank, it->source->rank ? it->source->shape[0] : 1, 0);
        else
            set_shape(o, 2, it->target == QW_TARGET_W4A8 ? it->out / 2 : it->out, it->in);
        if (it->target == QW_TARGET_FLOAT) o->t.dtype = it->source->dtype;
        break;
    case QW_OUT_SECOND:
    case QW_OUT_SECOND_OFFSET: set_shape(o, 2, it->out, it->in / p->group_size); break;
    case QW_OUT_SCALE_BIAS: set_shape(o, 2, it->out, is_row_parallel(it) ? 16 : 1); break;
    case QW_OUT_INPUT_SCALE:
    case QW_OUT_INPUT_OFFSET:
    case QW_OUT_CLIP: set_shape(o, 1, 1, 0); break;
    case QW_OUT_DEQ_SCALE:
        if (p->model_dtype != QW_DTYPE_BF16) o->t.dtype = QW_DTYPE_I64;
        set_shape(o, 1, it->out, 0);
        break;
    case QW_OUT_QUANT_BIAS:
    case QW_OUT_BIAS: set_shape(o, 1, it->out, 0); break;
    case QW_OUT_LEFT:
    case QW_OUT_RIGHT:
        if (!qw_kronecker_split(it->in, &left, &right)) break; // checked before
        if (kind == QW_OUT_LEFT) right = left;
        set_shape(o, 2, right, right);
        break;
    default: set_shape(o, 2, it->out, 1); break;
    }
    o->t.shape = o->shape;
}

size_t qw_quant_plan_output(const qw_quant_item *item, qw_out_kind kind)
{
    QW_ASSERT(qw_quant_item_has(item, kind));
    return item->first + (size_t)__builtin_popcount(item->kinds & (BIT(kind) - 1));
}

static qw_status name_output(qw_quant_plan *p, const qw_quant_item *it, qw_out_kind kind,
                             qw_out_tensor *o, qw_error *err)
{
    if (kind == QW_OUT_WEIGHT) {
        o->t.name = it->name;
    } else {
        size_t stem = strlen(it->name) - strlen("weight"), len = strlen(kinds[kind].suffix);
        char *name = qw_arena_alloc(&p->arena, stem + len + 1);
        if (!name) return qw_fail_memory(err, stem + len + 1, "a tensor's name");
        memcpy(name, it->name, stem);
        memcpy(name + stem, kinds[kind].suffix, len + 1);
        o->t.name = name;
    }
    o->t.dtype = kinds[kind].dtype;
    o->tag = qw_target_name(kind == QW_OUT_BIAS ? QW_TARGET_FLOAT : it->target);
    shape_output(p, it, kind, o);
    if (!qw_stored_tensor_size(&o->t.size, o->t.dtype, o->t.shape, o->t.rank))
        return qw_fail(err, QW_ERR_FORMAT, "tensor '%s' is larger than any memory", o->t.name);
    return QW_OK;
}

static qw_status list_outputs(qw_quant_plan *p, uint64_t part_size, qw_error *err)
{
    for (size_t i = 0; i < p->n_items; i++) {
        p->items[i].kinds = kinds_of(p, &p->items[i]);
        p->items[i].first = p->n_outputs;
        p->n_outputs += (size_t)__builtin_popcount(p->items[i].kinds);
    }
    p->outputs = qw_arena_array(&p->arena, p->n_outputs, sizeof *p->outputs);
    if (!p->outputs)
        return qw_fail_memory(err, p->n_outputs * sizeof *p->outputs, "a tensor table");
    uint64_t in_part = 0;
    p->n_parts = 1;
    for (size_t i = 0; i < p->n_items; i++) {
        qw_quant_item *it = &p->items[i];
        uint64_t size = 0;
        qw_out_tensor *o = p->outputs + it->first, *end = o;
        for (int k = 0; k < QW_N_OUT_KINDS; k++) {
            if (!qw_quant_item_has(it, (qw_out_kind)k)) continue;
            qw_status st = name_output(p, it, (qw_out_kind)k, end, err);
            if (st != QW_OK) return st;
            size += end->t.size;
            end++;
        }
        if (in_part > 0 && in_part + size > part_size) {
            p->n_parts++;
            in_part = 0;
        }
        in_part += size;
        p->total_size += size;
        for (; o < end; o++) o->part = p->n_parts - 1;
    }
    return QW_OK;
}

// Items

static bool is_dropped(const qw_model_config *c, const char *name)
{
    if (c->tie_word_embeddings && strcmp(name, "lm_head.weight") == 0) return true;
    return qw_str_ends_with(qw_str_of(name), QW_STR("rotary_emb.inv_freq"));
}

// "x.bias" of a Linear "x.weight": its weight is in the checkpoint and is quantized along with it.
static bool is_linear_bias(const qw_checkpoint *ck, const char *name, char *weight, size_t room)
{
    size_t len = strlen(name), stem = len - strlen("bias");
    if (!qw_str_ends_with(qw_str_of(name), QW_STR("_proj.bias")) || stem + 7 > room) return false;
    memcpy(weight, name, stem);
    memcpy(weight + stem, "weight", 7);
    return qw_checkpoint_find(ck, weight);
}

static const qw_stored_tensor *bias_of(const qw_checkpoint *ck, const char *weight)
{
    char name[512];
    size_t stem = strlen(weight) - strlen("weight");
    if (stem + 5 > sizeof name) return NULL;
    memcpy(name, weight, stem);
    memcpy(name + stem, "bias", 5);
    return qw_checkpoint_find(ck, name);
}

static void set_item(qw_quant_plan *p, const qw_quant_choices *c, const qw_checkpoint *ck,
                     qw_quant_item *it)
{
    const qw_stored_tensor *t = it->source;
    find_role(it);
    it->out = t->rank == 2 ? t->shape[0] : 1;
    it->in = t->rank == 0 ? 1 : t->shape[t->rank - 1];
    it->method = c->method;
    it->target = QW_TARGET_FLOAT;
    if (t->rank != 2 && qw_role_is_linear(it->role)) it->role = QW_ROLE_OTHER;
    if (!qw_role_is_linear(it->role)) return;
    it->target = target_of(c->scheme, it);
    it->bias = bias_of(ck, it->name);
    p->model_dtype = t->dtype;
}

static size_t unit_of(const qw_quant_plan *p, const qw_quant_item *it)
{
    if (it->layer >= 0 && it->layer < p->config->num_hidden_layers) return (size_t)it->layer + 1;
    return it->role == QW_ROLE_EMBED ? 0 : p->n_units - 1;
}

// Sort the items by unit, those of a unit as they stand in the source.
static qw_status order_items(qw_quant_plan *p, qw_error *err)
{
    qw_quant_item *sorted = qw_arena_array(&p->arena, p->n_items, sizeof *sorted);
    p->unit_first = qw_arena_array(&p->arena, p->n_units + 2, sizeof *p->unit_first);
    if (!sorted || !p->unit_first)
        return qw_fail_memory(err, p->n_items * sizeof *sorted, "the list of tensors");
    size_t *next = p->unit_first + 1; // becomes unit_first itself while it is used
    for (size_t i = 0; i < p->n_items; i++) next[unit_of(p, &p->items[i])]++;
    size_t sum = 0;
    for (size_t u = 0; u < p->n_units; u++) {
        size_t n = next[u];
        next[u] = sum;
        sum += n;
    }
    for (size_t i = 0; i < p->n_items; i++) sorted[next[unit_of(p, &p->items[i])]++] = p->items[i];
    p->items = sorted;
    return QW_OK;
}

static qw_status list_items(qw_quant_plan *p, const qw_checkpoint *ck, const qw_quant_choices *c,
                            qw_error *err)
{
    p->items = qw_arena_array(&p->arena, ck->n_tensors + 1, sizeof *p->items);
    if (!p->items) return qw_fail_memory(err, ck->n_tensors * sizeof *p->items, "a tensor table");
    char weight[512];
    for (size_t i = 0; i < ck->n_tensors; i++) {
        const qw_stored_tensor *t = ck->tensors[i];
        if (is_dropped(p->config, t->name) || is_linear_bias(ck, t->name, weight, sizeof weight))
            continue;
        qw_quant_item *it = &p->items[p->n_items++];
        *it = (qw_quant_item){.source = t, .name = t->name};
        set_item(p, c, ck, it);
    }
    // Rotated, the head is no longer the embedding.
    if (p->is_rotated && p->config->tie_word_embeddings) {
        const qw_stored_tensor *embed = qw_checkpoint_find(ck, "model.embed_tokens.weight");
        QW_ASSERT(embed);
        qw_quant_item *it = &p->items[p->n_items++];
        *it = (qw_quant_item){.source = embed, .name = "lm_head.weight"};
        set_item(p, c, ck, it);
    }
    return order_items(p, err);
}

static qw_status make(qw_quant_plan *p, const qw_checkpoint *ck, const qw_quant_choices *c,
                      qw_error *err)
{
    qw_status st = list_items(p, ck, c, err);
    if (st == QW_OK) st = apply_rules(p, c, err);
    if (st == QW_OK) st = check_families(p, err);
    if (st == QW_OK) st = choose_group(p, c->group_size, err);
    for (size_t i = 0; i < p->n_items && st == QW_OK; i++) {
        st = check_item(&p->items[i], err);
        p->needs_ranges |= qw_target_is_static(p->items[i].target);
    }
    return st == QW_OK ? list_outputs(p, c->part_size, err) : st;
}

qw_status qw_quant_plan_make(qw_quant_plan *out, const qw_model_config *config,
                             const qw_checkpoint *checkpoint, const qw_quant_choices *choices,
                             qw_error *err)
{
    qw_quant_plan p = {.config = config,
                       .scheme = choices->scheme,
                       .model_dtype = QW_DTYPE_BF16,
                       .is_rotated = choices->scheme == QW_SCHEME_W4A4_LAOS,
                       .n_units = (size_t)config->num_hidden_layers + 2};
    qw_arena_init(&p.arena, (size_t)1 << 18);
    qw_status st = make(&p, checkpoint, choices, err);
    if (st == QW_OK)
        *out = p;
    else
        qw_quant_plan_release(&p);
    return st;
}

void qw_quant_plan_release(qw_quant_plan *p)
{
    qw_arena_release(&p->arena);
    *p = (qw_quant_plan){0};
}

qw_target qw_quant_plan_headline(const qw_quant_plan *p)
{
    static const int rank[QW_N_TARGETS] = {
        [QW_TARGET_FLOAT] = 0,        [QW_TARGET_W4A8] = 1,     [QW_TARGET_W8A16] = 2,
        [QW_TARGET_W8A8_DYNAMIC] = 3, [QW_TARGET_W8A8_MIX] = 4, [QW_TARGET_W8A8] = 5,
        [QW_TARGET_FLATQUANT] = 6,    [QW_TARGET_W4A4] = 7,
    };
    qw_target best = QW_TARGET_FLOAT;
    for (size_t i = 0; i < p->n_items; i++)
        if (rank[p->items[i].target] > rank[best]) best = p->items[i].target;
    return best == QW_TARGET_FLATQUANT ? QW_TARGET_W4A4 : best; // as msModelSlim has it
}

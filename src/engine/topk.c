#include "engine/topk.h"

#include "base/dtype.h"
#include "base/mem.h"

#include <math.h>

#define PANEL 16

qw_status qw_topk_init(qw_topk *t, size_t n, qw_error *err)
{
    size_t n_panels = n / PANEL + (n % PANEL != 0);
    float *panel_max = qw_mem_array(n_panels, sizeof *panel_max);
    uint32_t *keys = qw_mem_array(n, sizeof *keys);
    if (!panel_max || !keys) {
        qw_mem_free(panel_max);
        qw_mem_free(keys);
        return qw_fail(err, QW_ERR_NO_MEMORY, "cannot allocate memory to select from %zu logits",
                       n);
    }
    *t = (qw_topk){.n = n, .n_panels = n_panels, .panel_max = panel_max, .keys = keys};
    return QW_OK;
}

void qw_topk_release(qw_topk *t)
{
    qw_mem_free(t->panel_max);
    qw_mem_free(t->keys);
    *t = (qw_topk){0};
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

// Lengths are constants so that the compiler makes vector instructions of the loops.
static float panel_maximum(const float *x)
{
    float m[8];
    for (int l = 0; l < 8; l++) m[l] = larger(x[l], x[l + 8]);
    for (int l = 0; l < 4; l++) m[l] = larger(m[l], m[l + 4]);
    return larger(larger(m[0], m[2]), larger(m[1], m[3]));
}

float qw_topk_scan(qw_topk *t, const float *z, bool *has_nan)
{
    float max = -INFINITY;
    uint32_t nan_lanes[PANEL] = {0};
    size_t n_whole = t->n / PANEL;
    for (size_t i = 0; i < n_whole; i++) {
        const float *x = z + i * PANEL;
        for (int l = 0; l < PANEL; l++) nan_lanes[l] |= x[l] != x[l];
        t->panel_max[i] = panel_maximum(x);
        max = larger(t->panel_max[i], max);
    }
    uint32_t nan = 0;
    for (int l = 0; l < PANEL; l++) nan |= nan_lanes[l];
    if (n_whole < t->n_panels) {
        float last = -INFINITY;
        for (size_t i = n_whole * PANEL; i < t->n; i++) {
            nan |= z[i] != z[i];
            last = larger(z[i], last);
        }
        t->panel_max[n_whole] = last;
        max = larger(last, max);
    }
    *has_nan = nan != 0;
    return max;
}

size_t qw_topk_argmax(const qw_topk *t, const float *z, float max)
{
    size_t i = 0;
    while (t->panel_max[i] != max) i++;
    for (i *= PANEL; z[i] != max; i++) {
    }
    return i;
}

// One past the last element of a panel; the last panel may be short.
static size_t panel_end(const qw_topk *t, size_t i_panel)
{
    size_t end = (i_panel + 1) * PANEL;
    return end < t->n ? end : t->n;
}

size_t qw_topk_count(const qw_topk *t, const float *z, float least)
{
    size_t count = 0;
    for (size_t i_panel = 0; i_panel < t->n_panels; i_panel++) {
        if (t->panel_max[i_panel] < least) continue;
        for (size_t i = i_panel * PANEL; i < panel_end(t, i_panel); i++) count += z[i] >= least;
    }
    return count;
}

// An unsigned number that orders as the float does.
static uint32_t order_key(float x)
{
    uint32_t bits = qw_f32_bits(x);
    return bits ^ (bits >> 31 ? UINT32_MAX : UINT32_C(1) << 31);
}

static float value_of_key(uint32_t key)
{
    return qw_f32_from_bits(key ^ (key >> 31 ? UINT32_C(1) << 31 : UINT32_MAX));
}

// The k-th largest of keys [n], 1 <= k <= n, which are overwritten: a radix search from the highest
// digit, linear in n whatever the values are.
static uint32_t kth_largest(uint32_t *keys, size_t n, size_t k)
{
    static const int shifts[] = {21, 10, 0};
    static const uint32_t masks[] = {2047, 2047, 1023};
    uint32_t found = 0;
    for (int pass = 0; pass < 3; pass++) {
        uint32_t count[2048] = {0};
        for (size_t i = 0; i < n; i++) count[keys[i] >> shifts[pass] & masks[pass]]++;
        uint32_t digit = masks[pass];
        for (; count[digit] < k; digit--) k -= count[digit];
        found |= digit << shifts[pass];
        if (pass == 2) break;
        size_t n_left = 0;
        for (size_t i = 0; i < n; i++)
            if ((keys[i] >> shifts[pass] & masks[pass]) == digit) keys[n_left++] = keys[i];
        n = n_left;
    }
    return found;
}

// Indices with z >= least, looking only into panels that have one.
static size_t gather(const qw_topk *t, int32_t *ids, const float *z, float least)
{
    size_t n_ids = 0;
    for (size_t i_panel = 0; i_panel < t->n_panels; i_panel++) {
        if (t->panel_max[i_panel] < least) continue;
        for (size_t i = i_panel * PANEL; i < panel_end(t, i_panel); i++)
            if (z[i] >= least && z[i] > -INFINITY) ids[n_ids++] = (int32_t)i;
    }
    return n_ids;
}

size_t qw_topk_select(qw_topk *t, int32_t *ids, const float *z, size_t k)
{
    float least = -INFINITY;
    if (k <= t->n_panels) {
        for (size_t i = 0; i < t->n_panels; i++) t->keys[i] = order_key(t->panel_max[i]);
        least = value_of_key(kth_largest(t->keys, t->n_panels, k));
    }
    size_t n_ids = gather(t, ids, z, least);
    if (n_ids <= k) return n_ids;

    for (size_t i = 0; i < n_ids; i++) t->keys[i] = order_key(z[ids[i]]);
    least = value_of_key(kth_largest(t->keys, n_ids, k));
    size_t n_kept = 0;
    for (size_t i = 0; i < n_ids; i++)
        if (z[ids[i]] >= least) ids[n_kept++] = ids[i];
    return n_kept;
}

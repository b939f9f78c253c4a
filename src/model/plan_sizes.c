#include "model/plan_sizes.h"

enum { DEFAULT_LIMIT = 512 };

// Put `size` in its place; false when the array is full. A size that is there is counted only.
static bool insert(qw_plan_sizes *s, int32_t size)
{
    size_t at = s->n;
    while (at > 0 && s->sizes[at - 1] > size) at--;
    if (at > 0 && s->sizes[at - 1] == size) {
        s->n_repeated++;
        return true;
    }
    if (s->n == QW_PLAN_SIZES_MAX) return false;
    memmove(&s->sizes[at + 1], &s->sizes[at], (s->n - at) * sizeof s->sizes[0]);
    s->sizes[at] = size;
    s->n++;
    return true;
}

static bool insert_defaults(qw_plan_sizes *s, int64_t limit)
{
    bool fits = true;
    for (int32_t size = 1; size <= 4 && size <= limit; size *= 2) fits = fits && insert(s, size);
    for (int32_t size = 8; size < 256 && size <= limit; size += 8) fits = fits && insert(s, size);
    for (int32_t size = 256; size <= limit && fits; size += 16) fits = insert(s, size);
    return fits;
}

static qw_status insert_given(qw_plan_sizes *s, const qw_plan_sizes_input *in, bool *fits,
                              qw_error *err)
{
    int64_t largest = 0;
    for (size_t i = 0; i < in->n_sizes && *fits; i++) {
        int64_t size = in->sizes[i];
        if (size < 1)
            return qw_fail(err, QW_ERR_USAGE,
                           "cudagraph_capture_sizes: a size must be at least 1, got %" PRId64,
                           size);
        if (size > largest) largest = size;
        if (size > in->max_rows)
            s->n_above++;
        else
            *fits = insert(s, (int32_t)size);
    }
    if (*fits && in->max_size >= 0 && in->max_size != largest)
        return qw_fail(err, QW_ERR_USAGE,
                       "customized max_cudagraph_capture_size(=%" PRId64
                       ") should be consistent with the max value of "
                       "cudagraph_capture_sizes(=%" PRId64 "); give only one of them",
                       in->max_size, largest);
    return QW_OK;
}

qw_status qw_plan_sizes_make(qw_plan_sizes *out, const qw_plan_sizes_input *in, qw_error *err)
{
    QW_ASSERT(in->max_rows >= 1);
    qw_plan_sizes s = {.n = 0};
    bool fits = true;
    if (in->max_size < -1)
        return qw_fail(err, QW_ERR_USAGE,
                       "max_cudagraph_capture_size must be at least 0, got %" PRId64, in->max_size);
    if (in->sizes) {
        qw_status st = insert_given(&s, in, &fits, err);
        if (st != QW_OK) return st;
    } else {
        int64_t limit = in->max_size >= 0 ? in->max_size : DEFAULT_LIMIT;
        fits = insert_defaults(&s, limit < in->max_rows ? limit : in->max_rows);
    }
    bool is_off = in->sizes ? in->n_sizes == 0 : in->max_size == 0;
    if (fits && !is_off && (s.n == 0 || s.sizes[s.n - 1] < in->max_rows)) {
        fits = insert(&s, in->max_rows);
        s.is_last_added = true;
    }
    if (!fits)
        return qw_fail(err, QW_ERR_USAGE,
                       "cudagraph_capture_sizes: more than %d different sizes; every step plan "
                       "takes memory, give fewer",
                       QW_PLAN_SIZES_MAX);
    *out = s;
    return QW_OK;
}

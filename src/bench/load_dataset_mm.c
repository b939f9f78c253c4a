// Pictures of noise beside random prompts: vLLM's RandomMultiModalDataset.
#include <math.h>

#include "bench/load_dataset_internal.h"
#include "bench/picture.h"

#define MAX_MEDIA ((size_t)1 << 30)

static const qw_mm_bucket *choose(const qw_mm_options *mm, double total, qw_draws *draws)
{
    double at = qw_draws_unit(draws) * total;
    const qw_mm_bucket *last = NULL;
    for (size_t i = 0; i < mm->n_buckets; i++) {
        if (mm->buckets[i].probability <= 0) continue;
        last = &mm->buckets[i];
        at -= last->probability;
        if (at < 0) break;
    }
    return last;
}

static qw_status check_buckets(const qw_mm_options *mm, double *total, qw_error *err)
{
    *total = 0;
    for (size_t i = 0; i < mm->n_buckets; i++) {
        const qw_mm_bucket *b = &mm->buckets[i];
        if (b->probability <= 0) continue;
        if (b->n_frames != 1)
            return qw_fail(err, QW_ERR_UNSUPPORTED,
                           "--random-mm-bucket-config: a bucket of %" PRId64 " frames is a video, "
                           "and only pictures (1 frame) are made here; set its probability to 0",
                           b->n_frames);
        *total += b->probability;
    }
    if (*total > 0) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE,
                   "--random-mm-bucket-config: no bucket has a probability above 0");
}

static qw_status add_pictures(qw_load_request *r, const qw_mm_options *mm, double total,
                              qw_draws *draws, qw_error *err)
{
    double n = (double)mm->items_per_request;
    int64_t low = (int64_t)floor(n * (1 - mm->items_range_ratio));
    int64_t high = (int64_t)ceil(n * (1 + mm->items_range_ratio));
    if (high > mm->max_images) high = mm->max_images;
    if (low > high) low = high;
    qw_buf media, png;
    qw_buf_init(&media, MAX_MEDIA);
    qw_buf_init(&png, MAX_MEDIA);
    for (int64_t left = qw_draws_range(draws, low, high); left > 0; left--) {
        const qw_mm_bucket *b = choose(mm, total, draws);
        qw_buf_clear(&png);
        qw_picture_png(&png, b->width, b->height, draws);
        qw_buf_printf(
            &media, "%s{\"type\": \"image_url\", \"image_url\": {\"url\": \"data:image/png;base64,",
            media.len ? ", " : "");
        if (!png.failed) qw_picture_base64(&media, png.data, png.len);
        qw_buf_puts(&media, "\"}}");
    }
    qw_status st = qw_buf_check(&png, "a picture", err);
    if (st == QW_OK) st = qw_buf_check(&media, "the pictures of a request", err);
    if (st == QW_OK && media.len > 0) r->media = qw_buf_take(&media, NULL);
    qw_buf_release(&png);
    qw_buf_release(&media);
    return st;
}

qw_status qw_load_dataset_add_pictures(qw_load_dataset *d, const qw_dataset_options *o,
                                       qw_error *err)
{
    double total;
    qw_draws draws;
    qw_draws_init(&draws, o->seed, 6);
    qw_status st = check_buckets(&o->mm, &total, err);
    for (size_t i = 0; i < d->n && st == QW_OK; i++)
        st = add_pictures(&d->requests[i], &o->mm, total, &draws, err);
    return st;
}

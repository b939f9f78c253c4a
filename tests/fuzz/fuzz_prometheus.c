// Any bytes as /metrics and as the list of requests of a server that is watched.
#include <math.h>

#include "base/mem.h"
#include "cli/top_view.h"
#include "format/json.h"
#include "format/prometheus.h"
#include "fuzz/fuzz.h"

static void check_histogram(const qw_top_histogram *h)
{
    for (int i = 1; i < h->n; i++) QW_ASSERT(h->bounds[i - 1] < h->bounds[i]);
    double median = qw_top_histogram_quantile(h, 0.5);
    QW_ASSERT(!isinf(median));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) qw_json_init();
    ready = true;
    size_t live = qw_mem_live();
    qw_str text = {(const char *)data, size};
    qw_prometheus_sample p;
    size_t last = 0;
    for (size_t pos = 0; qw_prometheus_next(&p, text, &pos); last = pos) {
        QW_ASSERT(pos > last && pos <= size && p.name.len > 0);
        QW_ASSERT(p.labels.ptr >= text.ptr && p.labels.ptr + p.labels.len <= text.ptr + pos);
        char value[8];
        (void)qw_prometheus_label(value, sizeof value, p.labels, "le");
        QW_ASSERT(strlen(value) < sizeof value);
    }
    static qw_top_view v; // large
    v = (qw_top_view){.url = "http://x"};
    for (int i = 0; i < 2; i++) {
        qw_top_sample s = {.time_ns = i};
        qw_error err;
        qw_top_sample_metrics(&s, (qw_str){text.ptr, i == 0 ? size / 2 : size});
        if (qw_top_sample_requests(&s, text.ptr, size, &err) != QW_OK) QW_ASSERT(!s.has_requests);
        check_histogram(&s.first_token);
        check_histogram(&s.per_token);
        qw_top_view_add(&v, &s);
    }
    qw_buf out;
    qw_buf_init(&out, 1 << 24);
    qw_top_view_write(&v, 80, 30, &out);
    for (size_t i = 0; i < out.len; i++) {
        unsigned char c = (unsigned char)out.data[i];
        QW_ASSERT(c == '\n' || (c >= 0x20 && c < 0x7F));
    }
    qw_buf_release(&out);
    qw_top_view_release(&v);
    QW_ASSERT(qw_mem_live() == live);
    return 0;
}

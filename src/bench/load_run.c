#include "bench/load_run.h"

#include <math.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

enum { SENDS_AT_ONCE = 16, MAX_BODY = 1 << 30 };

#define PROGRESS_NS INT64_C(200000000)
#define RETRY_NS INT64_C(5000000000)

/** A run under way: requests arrive, wait for a place, are sent, and are done. */
typedef struct load_run {
    const qw_load_plan *plan;
    qw_load_client *client;
    qw_load_result *result;
    const double *times; /* [n] NULL: all at 0 */
    bool is_copies;      /* all are the first request */
    int64_t start_ns, progress_ns;
    uint64_t progress_events;
    size_t n_arrived, n_sent, n_done, n_failed;
    int64_t last_rps;
} load_run;

void qw_load_result_release(qw_load_result *r)
{
    for (size_t i = 0; i < r->n; i++) qw_load_outcome_release(&r->outcomes[i]);
    qw_mem_free(r->outcomes);
    qw_mem_free(r->rps_changes);
    *r = (qw_load_result){0};
}

static void on_done(void *ctx, size_t i)
{
    load_run *run = ctx;
    run->n_done++;
    if (!run->result->outcomes[i].is_ok) run->n_failed++;
}

// Ramps

// Python's datetime.now().isoformat().
static void write_timestamp(char *out, size_t size)
{
    struct timespec now;
    struct tm tm;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, size, "%s.%06u", text, (unsigned)(now.tv_nsec / 1000) % 1000000);
}

static qw_status note_rps(load_run *run, int64_t rps, qw_error *err)
{
    qw_load_result *r = run->result;
    qw_load_rps_change *grown =
        qw_mem_realloc(r->rps_changes, (r->n_rps_changes + 1) * sizeof *grown);
    if (!grown) return qw_fail_memory(err, sizeof *grown, "the ramp");
    r->rps_changes = grown;
    grown[r->n_rps_changes].rps = rps;
    write_timestamp(grown[r->n_rps_changes].timestamp, sizeof grown->timestamp);
    r->n_rps_changes++;
    run->last_rps = rps;
    return QW_OK;
}

static qw_status note_arrival(load_run *run, size_t i, qw_error *err)
{
    const qw_load_arrivals *a = &run->plan->arrivals;
    if (a->ramp_up == QW_RAMP_NONE || run->is_copies) return QW_OK;
    qw_status st = run->last_rps < 0 ? note_rps(run, a->ramp_start_rps, err) : QW_OK;
    int64_t rps = (int64_t)qw_load_arrivals_rate(a, i, run->result->n);
    while (st == QW_OK && run->last_rps < rps) st = note_rps(run, run->last_rps + 1, err);
    return st;
}

// Sending

static qw_status send_request(load_run *run, size_t i, qw_error *err)
{
    const qw_load_request *r = &run->plan->dataset->requests[run->is_copies ? 0 : i];
    qw_buf body;
    qw_buf_init(&body, MAX_BODY);
    qw_load_body_write(run->plan->body, r, &body);
    qw_status st = qw_buf_check(&body, "a request", err);
    if (st == QW_OK) {
        size_t len;
        char *text = qw_buf_take(&body, &len);
        st = qw_load_client_start(run->client, i, text, len, &run->result->outcomes[i], err);
    }
    qw_buf_release(&body);
    return st;
}

static int64_t arrival_ns(const load_run *run, size_t i)
{
    return run->start_ns + (run->times ? (int64_t)(run->times[i] * 1e9) : 0);
}

static bool has_room(const load_run *run)
{
    size_t max = run->plan->max_concurrency;
    return max == 0 || qw_load_client_n_running(run->client) < max;
}

// What is due, a few at a time, so that those already sent do not wait for the others' bodies.
static qw_status send_due(load_run *run, qw_error *err)
{
    int64_t now = qw_clock_ns();
    qw_status st = QW_OK;
    while (st == QW_OK && run->n_arrived < run->result->n &&
           arrival_ns(run, run->n_arrived) <= now) {
        st = note_arrival(run, run->n_arrived, err);
        run->n_arrived++;
    }
    for (int n = 0;
         st == QW_OK && n < SENDS_AT_ONCE && run->n_sent < run->n_arrived && has_room(run); n++)
        st = send_request(run, run->n_sent++, err);
    return st;
}

static void tell_progress(load_run *run, bool is_end)
{
    const qw_load_plan *plan = run->plan;
    int64_t now = qw_clock_ns();
    if (!is_end && now - run->progress_ns < PROGRESS_NS) return;
    uint64_t n_events = qw_load_client_n_events(run->client);
    double since_s = (double)(now - run->progress_ns) * 1e-9;
    const qw_load_progress p = {
        .n_done = run->n_done,
        .n_failed = run->n_failed,
        .n_running = qw_load_client_n_running(run->client),
        .n_total = run->result->n,
        .elapsed_s = (double)(now - run->start_ns) * 1e-9,
        .n_events = n_events,
        .events_rate = since_s > 0 ? (double)(n_events - run->progress_events) / since_s : 0,
        .is_end = is_end,
    };
    if (plan->progress && !run->is_copies) plan->progress(plan->progress_ctx, &p);
    run->progress_ns = now;
    run->progress_events = n_events;
}

static int64_t next_deadline(const load_run *run)
{
    if (run->n_sent < run->n_arrived && has_room(run)) return qw_clock_ns();
    int64_t due = run->progress_ns + PROGRESS_NS; // the same for many events: the timer stays
    if (run->n_arrived < run->result->n && arrival_ns(run, run->n_arrived) < due)
        due = arrival_ns(run, run->n_arrived);
    return due;
}

static qw_status drive(load_run *run, qw_error *err)
{
    run->start_ns = run->progress_ns = qw_clock_ns();
    qw_status st = QW_OK;
    while (st == QW_OK && run->n_done < run->result->n) {
        st = send_due(run, err);
        if (st == QW_OK) st = qw_load_client_poll(run->client, next_deadline(run), err);
        if (st == QW_OK) tell_progress(run, false);
    }
    run->result->duration_s = (double)(qw_clock_ns() - run->start_ns) * 1e-9;
    if (st == QW_OK) tell_progress(run, true);
    return st;
}

static qw_status run_all(load_run *run, size_t n, qw_error *err)
{
    qw_load_result *r = run->result;
    *r = (qw_load_result){.outcomes = qw_mem_calloc(n, sizeof *r->outcomes)};
    if (!r->outcomes) return qw_fail_memory(err, n * sizeof *r->outcomes, "the results");
    r->n = n;
    run->last_rps = -1;
    qw_status st = qw_load_client_new(&run->client, run->plan->target, on_done, run, err);
    if (st == QW_OK) st = drive(run, err);
    qw_load_client_free(run->client);
    return st;
}

qw_status qw_load_run(qw_load_result *out, const qw_load_plan *plan, qw_error *err)
{
    size_t n = plan->dataset->n;
    double *times = qw_mem_array(n, sizeof *times);
    if (!times) return qw_fail_memory(err, n * sizeof *times, "the arrivals");
    qw_draws draws;
    qw_draws_init(&draws, plan->seed, 0);
    qw_load_arrivals_make(times, n, &plan->arrivals, &draws);
    load_run run = {.plan = plan, .result = out, .times = times};
    qw_status st = run_all(&run, n, err);
    qw_mem_free(times);
    return st;
}

qw_status qw_load_run_copies(qw_load_result *out, const qw_load_plan *plan, size_t n, qw_error *err)
{
    load_run run = {.plan = plan, .result = out, .is_copies = true};
    return run_all(&run, n, err);
}

static void sleep_until(int64_t at_ns)
{
    const struct timespec at = {at_ns / 1000000000, at_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0) continue;
}

qw_status qw_load_wait_ready(const qw_load_plan *plan, double timeout_s, qw_error *err)
{
    int64_t end_ns = qw_clock_ns() + (int64_t)(timeout_s * 1e9);
    for (;;) {
        int64_t retry_ns = qw_clock_ns() + RETRY_NS;
        qw_load_result result;
        qw_status st = qw_load_run_copies(&result, plan, 1, err);
        bool is_ready = st == QW_OK && result.outcomes[0].is_ok;
        if (st == QW_OK && !is_ready)
            qw_fail(err, QW_ERR_DEVICE,
                    "Initial test run failed - Please make sure benchmark arguments are correctly "
                    "specified. Error: %s",
                    result.outcomes[0].error ? result.outcomes[0].error : "");
        qw_load_result_release(&result);
        if (st != QW_OK || is_ready) return st;
        if (retry_ns >= end_ns) return QW_ERR_DEVICE;
        sleep_until(retry_ns);
    }
}

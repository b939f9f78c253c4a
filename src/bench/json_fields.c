#include "bench/json_fields.h"

#include "format/json.h"

static void begin(qw_buf *b, const char *key)
{
    char last = b->len > 0 ? b->data[b->len - 1] : '{';
    if (last != '{' && last != '[') qw_buf_puts(b, ", ");
    if (!key) return;
    qw_json_write_string(b, qw_str_of(key));
    qw_buf_puts(b, ": ");
}

void qw_fields_open(qw_buf *b, const char *key, char bracket)
{
    begin(b, key);
    qw_buf_putc(b, bracket);
}

void qw_fields_close(qw_buf *b, char bracket)
{
    qw_buf_putc(b, bracket);
}

void qw_fields_text(qw_buf *b, const char *key, const char *value)
{
    begin(b, key);
    qw_json_write_string(b, qw_str_of(value));
}

void qw_fields_number(qw_buf *b, const char *key, double value)
{
    begin(b, key);
    qw_json_write_f64(b, value);
}

void qw_fields_count(qw_buf *b, const char *key, int64_t value)
{
    begin(b, key);
    qw_buf_printf(b, "%" PRId64, value);
}

void qw_fields_null(qw_buf *b, const char *key)
{
    begin(b, key);
    qw_buf_puts(b, "null");
}

void qw_fields_flag(qw_buf *b, const char *key, bool value)
{
    begin(b, key);
    qw_buf_puts(b, value ? "true" : "false");
}

void qw_fields_summary(qw_buf *b, const char *key, const qw_summary *value)
{
    qw_fields_open(b, key, '{');
    qw_fields_number(b, "min", value->min);
    qw_fields_number(b, "p10", value->p10);
    qw_fields_number(b, "p50", value->p50);
    qw_fields_number(b, "p90", value->p90);
    qw_fields_close(b, '}');
}

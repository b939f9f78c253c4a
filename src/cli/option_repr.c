#include "cli/option_repr.h"

#include "format/opt_json.h"

// 'text', as Python's repr writes it.
static void put_repr(qw_buf *out, const char *text)
{
    char quote = strchr(text, '\'') && !strchr(text, '"') ? '"' : '\'';
    qw_buf_putc(out, quote);
    for (const char *p = text; *p; p++) {
        if (*p == '\\' || *p == quote)
            qw_buf_printf(out, "\\%c", *p);
        else if (*p == '\n')
            qw_buf_puts(out, "\\n");
        else
            qw_buf_putc(out, *p);
    }
    qw_buf_putc(out, quote);
}

qw_status qw_option_repr(qw_buf *out, const qw_opt_value *v, qw_error *err)
{
    char number[32];
    switch (v->row->type) {
    case QW_OPT_FLAG:
    case QW_OPT_BOOL: qw_buf_puts(out, v->as.flag ? "True" : "False"); break;
    case QW_OPT_INT: qw_buf_printf(out, "%" PRId64, v->as.i64); break;
    case QW_OPT_FLOAT:
        (void)qw_str_from_f64(number, v->as.f64);
        qw_buf_puts(out, number);
        break;
    case QW_OPT_STRS:
    case QW_OPT_INTS:
        qw_buf_putc(out, '[');
        for (size_t i = 0; i < v->n_texts; i++) {
            if (i) qw_buf_puts(out, ", ");
            if (v->row->type == QW_OPT_INTS)
                qw_buf_puts(out, v->texts[i]);
            else
                put_repr(out, v->texts[i]);
        }
        qw_buf_putc(out, ']');
        break;
    case QW_OPT_STR:
    case QW_OPT_CHOICE: put_repr(out, v->texts[v->n_texts - 1]); break;
    case QW_OPT_JSON: {
        json_t *object;
        qw_status st = qw_opt_json_merge(&object, &v->as.json, v->name, err);
        if (st != QW_OK) return st;
        qw_json_write(out, object, false);
        json_decref(object);
    }
    }
    return QW_OK;
}

#ifndef QW_SERVER_TOOL_CALLS_INTERNAL_H
#define QW_SERVER_TOOL_CALLS_INTERNAL_H

// The forms of tool calls. Only for tool_calls*.c.

#include "format/json_scan.h"
#include "server/tool_calls.h"

/** Reads {"name": ..., "arguments": ...} byte by byte: members in any order, others skipped. */
typedef struct qw_call_reader {
    uint8_t at, kind;
    bool has_name, has_arguments;
    qw_json_scan scan;
    qw_buf text; /* the member's name, or the value of "name", as spelled */
} qw_call_reader;

struct qw_tool_calls {
    qw_tool_form form;
    const json_t *tools; /* borrowed */
    size_t max_calls;
    qw_status failed;
    bool is_broken, is_over;

    qw_tool_call **calls; /* [n_calls], room for cap_calls */
    size_t n_calls, cap_calls;
    bool is_open;  /* the last call is not whole; its name may not be known yet */
    bool is_known; /* the open call's name is known */

    qw_buf blank;   /* white space in front of everything: dropped if a call follows */
    bool has_text;  /* content other than that was seen */
    qw_buf pending; /* text not yet understood */
    size_t at;      /* bytes of it that are done */
    qw_buf raw;     /* text of the open block, until its name is known */
    int state;      /* of the form */

    qw_call_reader reader;
    size_t scan_from;   /* qwen3_coder: where the end of the value may begin */
    qw_buf parameter;   /* qwen3_coder: the open parameter's name */
    json_t *parameters; /* qwen3_coder: names that the open call has had */
};

/** Bytes that are not done. */
static inline qw_str qw_calls_rest(const qw_tool_calls *p)
{
    if (p->pending.len == 0) return (qw_str){"", 0};
    return (qw_str){p->pending.data + p->at, p->pending.len - p->at};
}

/** How far `text` begins like `tag`: all of it, none, or so far. */
typedef enum qw_tag_match { QW_TAG_NO, QW_TAG_PART, QW_TAG_YES } qw_tag_match;
qw_tag_match qw_tag_at(qw_str text, qw_str tag);
/** Length of the longest end of `text` that a tag may begin with. */
size_t qw_tag_overlap(qw_str text, qw_str tag);

/** Text outside of calls. */
void qw_calls_put_text(qw_tool_calls *p, qw_str text, qw_buf *content);
/** Begin a call whose name is not known; its block's text goes to p->raw by the caller. */
bool qw_calls_begin(qw_tool_calls *p);
qw_tool_call *qw_calls_open(qw_tool_calls *p);
/** The open call's name is known now. */
void qw_calls_name(qw_tool_calls *p, qw_str name);
void qw_calls_end(qw_tool_calls *p);
/** The open block is no call after all, or ended too early. */
void qw_calls_break(qw_tool_calls *p, qw_buf *content);
/** Note that memory was short. */
void qw_calls_watch(qw_tool_calls *p, const qw_buf *b);

/** The forms: do as much of the rest as is certain. False: nothing was done. */
bool qw_calls_step_json(qw_tool_calls *p, qw_text_end end, qw_buf *content);
bool qw_calls_step_xml(qw_tool_calls *p, qw_text_end end, qw_buf *content);

void qw_call_reader_release(qw_call_reader *r);

/** Append `value` as the JSON that a parameter of this schema asks for. */
void qw_write_coerced(qw_buf *out, qw_str value, const json_t *schema);

#endif

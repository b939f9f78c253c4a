#ifndef TMPSTUB
#define TMPSTUB
#include "format/json.h"
typedef struct qw_chat_prompt qw_chat_prompt;
typedef struct qw_chat_request { const json_t *messages, *tools, *chat_template_kwargs; bool add_generation_prompt, continue_final_message; } qw_chat_request;
static inline qw_status qw_chat_prompt_open(qw_chat_prompt **o, const char *d, const char *t, qw_error *e) { (void)d;(void)t;(void)e;*o=NULL; return QW_OK; }
static inline void qw_chat_prompt_close(qw_chat_prompt *c) { (void)c; }
static inline qw_status qw_chat_prompt_render(const qw_chat_prompt *c, const qw_chat_request *r, qw_buf *b, qw_error *e) { (void)c;(void)r;(void)b;(void)e; return QW_OK; }
#endif

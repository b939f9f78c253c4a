#ifndef QW_FORMAT_CHAT_MESSAGES_H
#define QW_FORMAT_CHAT_MESSAGES_H

#include "format/json.h"

// A request's messages and tools, checked and brought into the form that vLLM hands to templates
// (vllm/entrypoints/chat_utils.py, protocol.py). The input is never changed: the results share all
// unchanged values with it and hold references to them. Caller owns *out (json_decref).

/**
 * Checked copies of the messages:
 *
 *   content       null or missing becomes ""; a list of text parts becomes one text, joined by
 *                 newlines, or with `as_parts` a list of {"type": "text", "text": ...}
 *   tool_calls    null or [] is dropped; arguments given as text are parsed, "" and null are {}
 *   reasoning     of an assistant is offered as `reasoning_content` too, and the other way round
 *
 * A part is an object with `type` text, input_text or output_text (and `text`), refusal or thinking
 * (and a text of that name), or a bare text. Parts whose text is null are left out.
 */
QW_MUST_CHECK qw_status qw_chat_messages_prepare(json_t **out, const json_t *messages,
                                                 bool as_parts, qw_error *err);

/**
 * Tools as {"type": "function", "function": {"name", "description", "parameters", ...}}, in this
 * order, null where nothing was given, unknown members behind. *out is JSON null for no tools:
 * NULL, null or [].
 */
QW_MUST_CHECK qw_status qw_chat_tools_prepare(json_t **out, const json_t *tools, qw_error *err);

/** What a prepared message says: its content, or the text of its last part. False if none. */
bool qw_chat_message_text(qw_str *out, const json_t *message);

#endif

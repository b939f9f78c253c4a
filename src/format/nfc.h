#ifndef QW_FORMAT_NFC_H
#define QW_FORMAT_NFC_H

#include "base/buf.h"
#include "base/str.h"

/** True if no code point of `text` (valid UTF-8) is one that NFC can change, reorder or join: the
 *  text is then its own NFC. False says only that qw_nfc_append must look closer. */
bool qw_nfc_is_plain(qw_str text);

/**
 * Append the canonical composition (NFC) of `text` (valid UTF-8, NUL allowed) as the reference
 * tokenizer computes it: with the characters of Unicode 9; newer ones stay as they are
 * (qwen3-dense 5.5). Time is linear, also for a million combining marks in a row.
 * Fails for lack of memory or at out->max; `out` then keeps its old length.
 */
QW_MUST_CHECK qw_status qw_nfc_append(qw_buf *out, qw_str text, qw_error *err);

#endif

#ifndef QW_SERVER_API_ERROR_H
#define QW_SERVER_API_ERROR_H

#include "base/buf.h"
#include "base/status.h"

/** Kinds of answers that are no success; each has one HTTP status and one type (http-api.md 1.3).
 */
typedef enum qw_api_fault {
    QW_FAULT_SCHEMA,      /* 400 "Bad Request": the body does not fit the request's form */
    QW_FAULT_REQUEST,     /* 400 "BadRequestError": well formed, but cannot be done */
    QW_FAULT_AUTH,        /* 401 {"error":"Unauthorized"} */
    QW_FAULT_NOT_FOUND,   /* 404 "NotFoundError": unknown model */
    QW_FAULT_PATH,        /* 404 {"detail":"Not Found"} */
    QW_FAULT_METHOD,      /* 405 {"detail":"Method Not Allowed"} */
    QW_FAULT_TOO_LARGE,   /* 413 "BadRequestError" */
    QW_FAULT_BUSY,        /* 429 "rate_limit_error" */
    QW_FAULT_INTERNAL,    /* 500 "InternalServerError" */
    QW_FAULT_UNSUPPORTED, /* 501 "NotImplementedError" */
    QW_FAULT_UNAVAILABLE, /* 503 "ServiceUnavailableError": memory is short, or shutting down */
} qw_api_fault;

/** Why a request is refused. Plain data: it may be copied and sent between threads. */
typedef struct qw_api_error {
    qw_api_fault fault;
    char param[64];  /* the field to blame; "": null in the answer */
    char text[1984]; /* one message, vLLM's words where it has some */
} qw_api_error;

/** HTTP status of a fault. */
int qw_api_fault_status(qw_api_fault fault);

/**
 * Record a refusal and return the status that fits it, never QW_OK, so that `return
 * qw_api_fail(..)` is one step. `param` may be NULL. Text too long for the struct is cut between
 * characters; an address as Python prints it (" at 0x7f...>") is taken out.
 */
qw_status qw_api_fail(qw_api_error *err, qw_api_fault fault, const char *param, const char *fmt,
                      ...) QW_PRINTF(4, 5);

/**
 * The refusal for a failure `st` of the layers below, whose sentence is `why`. What the client
 * caused (USAGE, FORMAT, and UNSUPPORTED: a value inside the request) is QW_FAULT_REQUEST; memory
 * UNAVAILABLE; BUSY stays; all else is INTERNAL, with "Internal server error" for its text.
 */
qw_status qw_api_fail_with(qw_api_error *err, qw_status st, const qw_error *why, const char *param);

/**
 * Append the body: {"error":{"message":...,"type":...,"param":...,"code":400}}, or the shorter form
 * of the faults that have one.
 */
void qw_api_error_write(qw_buf *out, const qw_api_error *e);
/**
 * Append the event of a stream that fails after it began, blank line included: the same object as
 * Python's json.dumps prints it, with spaces and with \uXXXX for everything beyond ASCII. The event
 * that ends the stream is not added.
 */
void qw_api_error_write_event(qw_buf *out, const qw_api_error *e);

#endif

#ifndef QW_CLI_NOTIFY_H
#define QW_CLI_NOTIFY_H

/**
 * Tell the service manager how the service stands ("READY=1", "STOPPING=1", "STATUS=..."): one
 * datagram to the socket that $NOTIFY_SOCKET names, as sd_notify(3) describes. Without that
 * variable nothing happens; failures do not matter to the service.
 */
void qw_notify(const char *state);

#endif

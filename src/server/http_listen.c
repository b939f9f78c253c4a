#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/http_internal.h"

static int new_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static void set_reuse(int fd, int on)
{
    // Without it a restart would have to wait for the last server's old connections.
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
}

// Two sockets with SO_REUSEADDR may be bound to one port as long as neither listens, and a server
// that still loads its model does not listen. So the option is set only when an old connection is
// in the way, and by listen, when it no longer lets others in.
static int bind_once(int fd, const struct sockaddr *address, socklen_t len)
{
    if (bind(fd, address, len) == 0) return 0;
    if (errno != EADDRINUSE) return -1;
    set_reuse(fd, 1);
    int rc = bind(fd, address, len);
    int why = errno;
    set_reuse(fd, 0);
    errno = why;
    return rc;
}

static int bind_address(const struct sockaddr *address, socklen_t len)
{
    int fd = new_socket(address->sa_family);
    if (fd < 0) return -1;
    if (address->sa_family == AF_INET6) {
        // "::" is for IPv4 clients too; another address is not.
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
        int only6 = !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof only6);
    }
    if (bind_once(fd, address, len) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

// All interfaces: one socket for IPv6 and IPv4, or IPv4 alone where there is no IPv6.
static int bind_all(int port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int fd = bind_address((const struct sockaddr *)(const void *)&six, sizeof six);
    if (fd >= 0 || errno == EADDRINUSE || errno == EACCES) return fd;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return bind_address((const struct sockaddr *)(const void *)&four, sizeof four);
}

static qw_status bind_host(int *fd, const char *host, int port, qw_error *err)
{
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0)
        return qw_fail(err, QW_ERR_USAGE, "cannot listen on host '%s': %s", host, gai_strerror(rc));
    *fd = -1;
    int why = 0;
    for (struct addrinfo *a = list; a && *fd < 0; a = a->ai_next) {
        *fd = bind_address(a->ai_addr, a->ai_addrlen);
        if (*fd < 0 && why == 0) why = errno;
    }
    freeaddrinfo(list);
    errno = why;
    return QW_OK;
}

static int port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)(void *)&a, &len) != 0) return 0;
    if (a.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)(void *)&a)->sin_port);
    return ntohs(((struct sockaddr_in6 *)(void *)&a)->sin6_port);
}

static qw_status bind_tcp(qw_http_server *s, const qw_http_options *o, qw_error *err)
{
    const char *host = o->host && *o->host ? o->host : NULL;
    if (o->port < 0 || o->port > 65535)
        return qw_fail(err, QW_ERR_USAGE, "port %d is not in 0..65535", o->port);
    int fd = -1;
    if (host) {
        qw_status st = bind_host(&fd, host, o->port, err);
        if (st != QW_OK) return st;
    } else {
        fd = bind_all(o->port);
    }
    const char *name = host ? host : "0.0.0.0";
    if (fd < 0 && errno == EADDRINUSE)
        return qw_fail(err, QW_ERR_IO,
                       "port %d of '%s' is in use; stop the program that uses it or choose another "
                       "--port",
                       o->port, name);
    if (fd < 0)
        return qw_fail(err, QW_ERR_IO, "cannot listen on port %d of '%s': %s", o->port, name,
                       strerror(errno));
    s->listen_fd = fd;
    s->port = port_of(fd);
    bool is_ipv6 = strchr(name, ':') != NULL;
    qw_buf url;
    qw_buf_init(&url, 4096);
    qw_buf_printf(&url, "http%s://%s%s%s:%d", s->tls.is_on ? "s" : "", is_ipv6 ? "[" : "", name,
                  is_ipv6 ? "]" : "", s->port);
    qw_status st = qw_buf_check(&url, "the server's address", err);
    if (st == QW_OK) s->url = qw_buf_take(&url, NULL);
    qw_buf_release(&url);
    return st;
}

// Make way for a socket of that name: a file that a dead server left is removed, anything else
// stays.
static qw_status clear_path(const char *path, const struct sockaddr_un *address, qw_error *err)
{
    struct stat info;
    if (lstat(path, &info) != 0) return QW_OK;
    if (!S_ISSOCK(info.st_mode))
        return qw_fail(err, QW_ERR_USAGE, "'%s' exists and is not a socket; choose another --uds",
                       path);
    int fd = new_socket(AF_UNIX);
    if (fd < 0) return qw_fail(err, QW_ERR_IO, "cannot make a unix socket: %s", strerror(errno));
    int rc = connect(fd, (const struct sockaddr *)(const void *)address, sizeof *address);
    int why = rc == 0 ? 0 : errno;
    close(fd);
    if (why == 0 || why == EAGAIN)
        return qw_fail(err, QW_ERR_IO,
                       "another server listens on '%s'; stop it or choose another --uds", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return qw_fail(err, QW_ERR_IO, "cannot remove the old socket '%s': %s", path,
                       strerror(errno));
    return QW_OK;
}

static qw_status bind_uds(qw_http_server *s, const qw_http_options *o, qw_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(o->uds);
    if (len >= sizeof address.sun_path)
        return qw_fail(err, QW_ERR_USAGE,
                       "the path of a unix socket has at most %zu bytes; '%s' has %zu",
                       sizeof address.sun_path - 1, o->uds, len);
    memcpy(address.sun_path, o->uds, len + 1);
    qw_status st = clear_path(o->uds, &address, err);
    if (st != QW_OK) return st;

    s->listen_fd = new_socket(AF_UNIX);
    if (s->listen_fd < 0 ||
        bind(s->listen_fd, (const struct sockaddr *)(const void *)&address, sizeof address) != 0)
        return qw_fail(err, QW_ERR_IO, "cannot listen on '%s': %s", o->uds, strerror(errno));
    struct stat info;
    if (stat(o->uds, &info) == 0) {
        s->uds_device = info.st_dev;
        s->uds_inode = info.st_ino;
    }
    s->uds_path = qw_mem_strdup(o->uds);
    if (!s->uds_path) {
        unlink(o->uds);
        return qw_fail_memory(err, len, "the socket's path");
    }
    if (o->uds_mode != 0 && chmod(o->uds, (mode_t)o->uds_mode) != 0)
        return qw_fail(err, QW_ERR_IO, "cannot set the permissions of '%s': %s", o->uds,
                       strerror(errno));
    qw_buf url;
    qw_buf_init(&url, 4096);
    qw_buf_printf(&url, "unix:%s", o->uds);
    st = qw_buf_check(&url, "the server's address", err);
    if (st == QW_OK) s->url = qw_buf_take(&url, NULL);
    qw_buf_release(&url);
    return st;
}

qw_status qw_http_bind(qw_http_server *s, const qw_http_options *o, qw_error *err)
{
    return o->uds ? bind_uds(s, o, err) : bind_tcp(s, o, err);
}

qw_status qw_http_server_listen(qw_http_server *s, qw_error *err)
{
    set_reuse(s->listen_fd, 1);
    if (listen(s->listen_fd, 1024) != 0) {
        if (errno == EADDRINUSE)
            return qw_fail(err, QW_ERR_IO, "another program began to listen on %s", s->url);
        return qw_fail(err, QW_ERR_IO, "cannot listen on %s: %s", s->url, strerror(errno));
    }
    s->is_listening = true;
    qw_http_set_accepting(s, true);
    return QW_OK;
}

void qw_http_unbind(qw_http_server *s)
{
    if (s->listen_fd >= 0) {
        qw_http_set_accepting(s, false);
        close(s->listen_fd);
        s->listen_fd = -1;
    }
    struct stat info;
    if (s->uds_path && stat(s->uds_path, &info) == 0 && info.st_dev == s->uds_device &&
        info.st_ino == s->uds_inode)
        unlink(s->uds_path);
    qw_mem_free(s->uds_path);
    s->uds_path = NULL;
}

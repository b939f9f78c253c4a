#include "cli/share.h"

#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

// The executable's directory, or NULL.
static char *executable_dir(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return NULL;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash) return NULL;
    return qw_mem_strndup(path, (size_t)(slash - path));
}

static bool exists(const char *path)
{
    return qw_file_exists(path) || qw_file_is_dir(path);
}

qw_status qw_share_find(char **out, const char *name, qw_error *err)
{
    const char *given = getenv("QWENCH_SHARE");
    char *exe = executable_dir();
    qw_buf path, searched;
    qw_buf_init(&path, 1 << 16);
    qw_buf_init(&searched, 1 << 16);
    qw_status st = QW_ERR_IO;
    for (int i = 0; i < 3; i++) {
        qw_buf_clear(&path);
        if (i == 0 && given && *given)
            qw_buf_printf(&path, "%s/%s", given, name);
        else if (i == 1 && exe)
            qw_buf_printf(&path, "%s/../share/qwench/%s", exe, name);
        else if (i == 2 && exe)
            qw_buf_printf(&path, "%s/share/qwench/%s", exe, name);
        else
            continue;
        st = qw_buf_check(&path, "a path", err);
        if (st != QW_OK) goto out;
        if (exists(path.data)) {
            *out = qw_buf_take(&path, NULL);
            goto out;
        }
        qw_buf_printf(&searched, "%s'%s'", searched.len ? ", " : "", path.data);
    }
    st = qw_fail(err, QW_ERR_IO, "cannot find '%s' of this installation in %s; set QWENCH_SHARE",
                 name, searched.data ? searched.data : "any place");
out:
    qw_buf_release(&path);
    qw_buf_release(&searched);
    qw_mem_free(exe);
    return st;
}

char *qw_cache_dir(void)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (xdg && *xdg) return qw_file_join(xdg, "qwench");
    if (home && *home) return qw_file_join(home, ".cache/qwench");
    return NULL;
}

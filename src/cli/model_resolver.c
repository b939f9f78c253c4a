#include "cli/model_resolver.h"

#include <dirent.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

enum { MAX_PATH = 4096, MAX_SEARCHED = 360 };

typedef struct search {
    const qw_model_query *query;
    char *found;     /* NULL: not yet */
    qw_buf searched; /* the caches looked into, for the error */
    qw_buf path;     /* of the place being looked at */
} search;

// ORG/NAME or NAME, of the characters that hubs allow: never a path that leaves its folder.
static bool is_hub_id(const char *model)
{
    size_t n_slashes = 0;
    for (const char *p = model; *p; p++) {
        bool word = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                    (*p >= '0' && *p <= '9') || strchr("._-", *p);
        bool slash = *p == '/' && p > model && p[-1] != '/' && p[1];
        if (!word && !slash) return false;
        if (*p == '.' && (p == model || p[-1] == '/')) return false;
        n_slashes += slash;
    }
    return *model && n_slashes <= 1;
}

static bool is_model_dir(const qw_buf *path)
{
    if (!path->data || path->failed) return false;
    char *config = qw_file_join(path->data, "config.json");
    bool is = config && qw_file_exists(config);
    qw_mem_free(config);
    return is;
}

static void take(search *s)
{
    s->found = qw_buf_take(&s->path, NULL);
}

static void note(search *s, const char *root)
{
    if (s->searched.len + strlen(root) > MAX_SEARCHED) return;
    qw_buf_printf(&s->searched, "%s'%s'", s->searched.len ? ", " : "", root);
}

// The commit in `repo`/refs/REVISION; false when there is no such file.
static bool read_ref(char out[65], const char *repo, const char *revision)
{
    qw_buf path, text;
    qw_buf_init(&path, MAX_PATH);
    qw_buf_init(&text, 64);
    qw_buf_printf(&path, "%s/refs/%s", repo, revision);
    bool good = !path.failed && qw_file_exists(path.data) &&
                qw_file_read(&text, path.data, NULL) == QW_OK && text.len > 0;
    size_t len = 0;
    while (good && len < text.len && text.data[len] > ' ' && text.data[len] != '/') len++;
    good = good && len > 0;
    if (good) snprintf(out, 65, "%.*s", (int)len, text.data);
    qw_buf_release(&path);
    qw_buf_release(&text);
    return good;
}

// Without a reference: the snapshot that was made last.
static bool newest_snapshot(char out[256], const char *repo)
{
    char *dir = qw_file_join(repo, "snapshots");
    DIR *d = dir ? opendir(dir) : NULL;
    int64_t newest = INT64_MIN;
    for (struct dirent *e = NULL; d && (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, 0) != 0 || !S_ISDIR(st.st_mode)) continue;
        if (st.st_mtime < newest) continue;
        newest = st.st_mtime;
        snprintf(out, 256, "%s", e->d_name);
    }
    if (d) closedir(d);
    qw_mem_free(dir);
    return newest != INT64_MIN;
}

static void look_in_huggingface(search *s, const char *root)
{
    if (s->found) return;
    qw_buf repo;
    qw_buf_init(&repo, MAX_PATH);
    qw_buf_printf(&repo, "%s/models--", root);
    for (const char *p = s->query->model; *p; p++)
        qw_buf_puts(&repo, *p == '/' ? "--" : (char[]){*p, '\0'});
    const char *revision = s->query->revision;
    char commit[256] = "";
    if (!repo.failed && qw_file_is_dir(repo.data)) {
        if (!read_ref(commit, repo.data, revision ? revision : "main")) {
            if (revision)
                snprintf(commit, sizeof commit, "%s", revision);
            else if (!newest_snapshot(commit, repo.data))
                commit[0] = '\0';
        }
        qw_buf_clear(&s->path);
        qw_buf_printf(&s->path, "%s/snapshots/%s", repo.data, commit);
        if (commit[0] && is_model_dir(&s->path)) take(s);
    }
    qw_buf_release(&repo);
}

static void look_in_modelscope(search *s, const char *root)
{
    static const char *const layouts[] = {"hub/models/", "models/", "hub/", ""};
    for (size_t i = 0; i < QW_ARRAY_LEN(layouts); i++) {
        for (int dots = 0; dots < 2 && !s->found; dots++) {
            qw_buf_clear(&s->path);
            qw_buf_printf(&s->path, "%s/%s", root, layouts[i]);
            for (const char *p = s->query->model; *p; p++)
                qw_buf_puts(&s->path, dots && *p == '.' ? "___" : (char[]){*p, '\0'});
            if (is_model_dir(&s->path)) take(s);
        }
    }
}

typedef void look_fn(search *s, const char *root);

// $VARIABLE/tail, or ~/tail for HOME.
static void look_below(search *s, look_fn *look, const char *variable, const char *tail)
{
    const char *base = getenv(variable);
    if (s->found || !base || !*base) return;
    char root[MAX_PATH];
    int n = snprintf(root, sizeof root, "%s%s%s", base, *tail ? "/" : "", tail);
    if (n < 0 || (size_t)n >= sizeof root) return;
    look(s, root);
    note(s, root);
}

static void look_in_hubs(search *s, bool modelscope)
{
    if (modelscope) {
        look_below(s, look_in_modelscope, "MODELSCOPE_CACHE", "");
        look_below(s, look_in_modelscope, "HOME", ".cache/modelscope");
    } else {
        look_below(s, look_in_huggingface, "HF_HUB_CACHE", "");
        look_below(s, look_in_huggingface, "HF_HOME", "hub");
        look_below(s, look_in_huggingface, "HOME", ".cache/huggingface/hub");
    }
}

static bool prefers_modelscope(void)
{
    const char *v = getenv("VLLM_USE_MODELSCOPE");
    return v && (strcasecmp(v, "true") == 0 || strcmp(v, "1") == 0);
}

static qw_status fail_missing(const search *s, qw_error *err)
{
    const char *model = s->query->model;
    if (!is_hub_id(model))
        return qw_fail(
            err, QW_ERR_IO,
            "no model directory '%.200s'; give the path of a checkpoint with config.json "
            "and *.safetensors",
            model);
    return qw_fail(err, QW_ERR_IO,
                   "no model directory '%.80s', and no hub cache of this machine has it (searched "
                   "%s); nothing is downloaded: give the path of a checkpoint",
                   model, s->searched.data ? s->searched.data : "none: HOME is not set");
}

qw_status qw_model_resolve(char **out, const qw_model_query *query, qw_error *err)
{
    search s = {.query = query};
    qw_buf_init(&s.searched, MAX_SEARCHED + 64);
    qw_buf_init(&s.path, MAX_PATH);
    if (qw_file_is_dir(query->model)) {
        s.found = qw_mem_strdup(query->model);
    } else if (is_hub_id(query->model)) {
        if (query->download_dir && *query->download_dir) {
            look_in_huggingface(&s, query->download_dir);
            if (!s.found) look_in_modelscope(&s, query->download_dir);
            note(&s, query->download_dir);
        }
        bool modelscope = prefers_modelscope();
        look_in_hubs(&s, modelscope);
        look_in_hubs(&s, !modelscope);
    }
    qw_status st = QW_OK;
    if (s.found)
        *out = s.found;
    else if (s.path.failed == QW_ERR_NO_MEMORY || s.searched.failed == QW_ERR_NO_MEMORY ||
             qw_file_is_dir(query->model))
        st = qw_fail_memory(err, strlen(query->model), "a path");
    else
        st = fail_missing(&s, err);
    qw_buf_release(&s.searched);
    qw_buf_release(&s.path);
    return st;
}

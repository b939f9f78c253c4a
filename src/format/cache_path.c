#include "format/cache_path.h"

#include <xxhash.h>

#include "base/buf.h"
#include "base/mem.h"

qw_status qw_cache_path(char **out, const char *cache_dir, const char *model_dir, qw_str variant,
                        const char *extension, qw_error *err)
{
    char *real = realpath(model_dir, NULL); // allocated by libc
    const char *dir = real ? real : model_dir;
    XXH128_hash_t h = XXH3_128bits(dir, strlen(dir));
    free(real);
    if (variant.len > 0) {
        uint64_t of_variant = XXH3_64bits(variant.ptr, variant.len);
        uint64_t parts[3] = {h.low64, h.high64, of_variant};
        h = XXH3_128bits(parts, sizeof parts);
    }
    qw_buf path;
    qw_buf_init(&path, (size_t)1 << 16);
    qw_buf_printf(&path, "%s/%016" PRIx64 "%016" PRIx64 ".%s", cache_dir, (uint64_t)h.high64,
                  (uint64_t)h.low64, extension);
    qw_status st = qw_buf_check(&path, "a path", err);
    if (st == QW_OK) *out = qw_buf_take(&path, NULL);
    qw_buf_release(&path);
    return st;
}

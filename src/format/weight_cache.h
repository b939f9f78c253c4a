#ifndef QW_FORMAT_WEIGHT_CACHE_H
#define QW_FORMAT_WEIGHT_CACHE_H

// The file that keeps packed weights between starts (cpu-kernels 2.4). This layer knows names,
// shapes and places; what the bytes mean is the backend's business.
//
//   0      magic "QWPACK\r\n"
//   8      u32 container version, u32 layout version
//   16     u64 file size, u64 table offset, u32 entries, u32 flags (0)
//   40     u128 fingerprint of the source, u128 XXH3 of the table, u64 XXH3 of bytes 0 .. 71
//   80     zeros
//   4096   data: arrays in order of use, each at a multiple of 4,096, from 2 MiB on of 2 MiB
//   table  per entry: u32 length and name, u32 format, u32 concat, u32 group, u32 input, u64 N, K,
//   Np, Kp,
//          u32 segments and u64 rows of each, u32 arrays and for each u32 kind, u64 offset,
//          u64 size, u64 XXH3-64 of its bytes
//
// All little endian. Nothing in a file is trusted: what differs in any way from what the model
// asks for is an error that says so, and the caller packs again.
#include "base/file.h"
#include "format/fingerprint.h"

enum {
    QW_WEIGHT_CACHE_CONTAINER = 2, /* version of this file format */
    QW_WEIGHT_CACHE_LAYOUT = 2,    /* version of the layouts of cpu-kernels 2 */
    QW_WEIGHT_CACHE_MAX_SEGMENTS = 3,
};

/** How the elements of an entry are stored. */
typedef enum qw_packed_format {
    QW_PACKED_BF16 = 1,
    QW_PACKED_F16 = 2,
    QW_PACKED_F32 = 3,
    QW_PACKED_I8 = 4,
    QW_PACKED_I4 = 5,
} qw_packed_format;

/** The arrays of an entry. */
typedef enum qw_packed_array {
    QW_PACKED_PANELS,
    QW_PACKED_BIAS,         /* fp32 [Np] */
    QW_PACKED_SCALES,       /* fp32 [Np], with integers */
    QW_PACKED_GROUP_SCALES, /* fp32 [Np / 16][K / group][16] */
    QW_PACKED_STATIC_BIAS,  /* int32 [Np] */
    QW_PACKED_TRANSFORMS,   /* fp32 */
    QW_PACKED_N_ARRAYS,
} qw_packed_array;

/** One packed matrix. Shapes are compared with the file's; `name` is borrowed. */
typedef struct qw_packed_entry {
    const char *name;
    qw_packed_format format;
    uint32_t concat; /* how the segments are put together: a qw_concat */
    uint32_t group;  /* elements per scale of a group; 0: no groups */
    uint32_t input;  /* how the input is quantized: a qw_input_kind */
    uint64_t n, k, np, kp;
    uint32_t n_segments;
    uint64_t segment_rows[QW_WEIGHT_CACHE_MAX_SEGMENTS];
    uint64_t sizes[QW_PACKED_N_ARRAYS]; /* bytes; 0: the entry has no such array */
} qw_packed_entry;

/** An open cache file, mapped. Read-only, any thread. */
typedef struct qw_weight_cache {
    qw_file file;
    uint64_t (*offsets)[QW_PACKED_N_ARRAYS]; /* [n_entries]; owned */
    size_t n_entries;
} qw_weight_cache;

/**
 * Map `path` if it holds exactly `entries`, in this order, packed from the source with this
 * fingerprint. `verify` also hashes all data. QW_ERR_IO: cannot be read; QW_ERR_FORMAT: damaged,
 * stale, of another version or not for these entries; the text says what, without the path.
 */
QW_MUST_CHECK qw_status qw_weight_cache_open(qw_weight_cache *out, const char *path,
                                             const qw_packed_entry *entries, size_t n_entries,
                                             qw_fingerprint fingerprint, bool verify,
                                             qw_error *err);
void qw_weight_cache_close(qw_weight_cache *c);
/** An array of entry i, aligned to 4,096 bytes; NULL if the entry has none. Until close. */
const void *qw_weight_cache_array(const qw_weight_cache *c, size_t i, qw_packed_array array);

/**
 * A cache file being made: under a name of its own, locked, so that a reader never sees part of it
 * and the next writer knows a dead writer's leftovers and removes them.
 */
typedef struct qw_weight_cache_writer {
    qw_file_writer file;
    const qw_packed_entry *entries; /* borrowed until commit or abort */
    size_t n_entries;
    uint64_t (*offsets)[QW_PACKED_N_ARRAYS];
    uint64_t table_offset, file_size;
} qw_weight_cache_writer;

/**
 * Start the file that will be `path`; its directory is created. The space is reserved here, so a
 * full disk is known before any work is done.
 */
QW_MUST_CHECK qw_status qw_weight_cache_writer_open(qw_weight_cache_writer *out, const char *path,
                                                    const qw_packed_entry *entries,
                                                    size_t n_entries, qw_error *err);
/** Write `size` bytes at `offset` of an array. Any thread. Returns 0 or an errno. */
int qw_weight_cache_writer_put(qw_weight_cache_writer *w, size_t i_entry, qw_packed_array array,
                               uint64_t offset, const void *data, size_t size);
/** Ask the system to start moving entry i to the disk, so that the commit waits less. */
void qw_weight_cache_writer_flush(qw_weight_cache_writer *w, size_t i_entry);
/**
 * Hash what was written, as it is read back, write table and header, sync, put the file in place
 * and open it. Releases `w`, whether it succeeds or fails; a failure leaves nothing behind.
 */
QW_MUST_CHECK qw_status qw_weight_cache_writer_commit(qw_weight_cache_writer *w,
                                                      qw_fingerprint fingerprint,
                                                      qw_weight_cache *out, qw_error *err);
/** Give up: removes what was written. */
void qw_weight_cache_writer_abort(qw_weight_cache_writer *w);

#endif

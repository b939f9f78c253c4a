#ifndef QW_BACKEND_BACKEND_H
#define QW_BACKEND_BACKEND_H

#include "backend/ops.h"

/** The quantized side of what a product is packed from. */
typedef struct qw_quant_source {
    qw_input_scheme input;
    /** I8 segments hold -8 .. 7 and are packed as I4. */
    bool narrow;
    /** Segments are floats that become I8 on the way, each row as TOKEN8 makes it of an input:
     *  `scales` and groups are not given. */
    bool from_float;
    /** [n_segments], each [1][rows]; one that is not set, or NULL: all 1. */
    const qw_host_matrix *scales;
    /** Inputs per group: a multiple of 8 that divides k; 0: no groups. */
    int group;
    /** [n_segments], each [rows][k / group]; with groups. */
    const qw_host_matrix *group_scales;
    /** [n_segments], each I32 [1][rows]; with STATIC8, one that is not set: 0. */
    const qw_host_matrix *static_biases;
    /** FLAT4: left [left][left] as stored (it is applied transposed), right [right][right]. */
    qw_host_matrix left, right;
} qw_quant_source;

/** What a product is packed from: 1 to 3 matrices of equal width, all float, all I8 or all I4. */
typedef struct qw_linear_source {
    const qw_host_matrix *segments; /* [n_segments] */
    const qw_host_matrix *biases;   /* [n_segments], each [rows] or not set; NULL: none at all */
    int n_segments;
    qw_concat concat;
    const qw_quant_source *quant; /* NULL with float weights */
} qw_linear_source;

/** The arrays of a packed product. */
typedef enum qw_linear_part {
    QW_LINEAR_PANELS,
    QW_LINEAR_BIAS,
    QW_LINEAR_SCALES,
    QW_LINEAR_GROUP_SCALES,
    QW_LINEAR_STATIC_BIAS,
    QW_LINEAR_TRANSFORMS,
    QW_N_LINEAR_PARTS,
} qw_linear_part;

/** An array of a product; NULL until there is memory. */
void *qw_linear_part_data(const qw_linear *w, qw_linear_part part);
void qw_linear_part_set(qw_linear *w, qw_linear_part part, void *data);
/** Bytes of an array; 0: the product has none. */
size_t qw_linear_part_size(const qw_linear *w, qw_linear_part part);
/** Bytes of all arrays together. */
size_t qw_linear_total_size(const qw_linear *w);

/**
 * Takes `size` packed bytes that belong at `offset` of `part`. Called in any order, from any of the
 * device's threads, several at a time. Returns 0, or an errno that ends the packing.
 */
typedef int qw_linear_sink(void *ctx, qw_linear_part part, size_t offset, const void *data,
                           size_t size);

/**
 * Operations written down once, with everything resolved that does not change, to be run many
 * times: the steps of one size.
 */
typedef struct qw_plan {
    int max_rows; /* rows that a run computes at most */
    size_t size;  /* bytes */
} qw_plan;

/**
 * Calls the operations of a plan, in order, on `recorder`, which writes them down. It is called
 * twice, and both times must call the same. Every call is about the plan's max_rows rows;
 * norm_rope_store and attention are about the same sequences throughout. Arrays and structs that
 * the calls point to must live as long as the plan; what is in them counts when it is run.
 */
typedef void qw_plan_calls(void *ctx, qw_backend *recorder);

/** A device: its operations, and the memory that weights and buffers live in. */
struct qw_backend {
    const qw_ops *ops;
    const char *isa; /* "ref", "avx2", ...: what the start-up table prints */
    int n_threads;
    /** Plan and pack a product into memory of the device. The source is not needed afterwards. */
    qw_status (*linear_pack)(qw_backend *be, qw_linear *out, const qw_linear_source *source,
                             qw_error *err);
    /** Pack a product that qw_linear_plan has laid out, and hand the bytes to `sink`. */
    qw_status (*linear_write)(qw_backend *be, const qw_linear *w, const qw_linear_source *source,
                              qw_linear_sink *sink, void *sink_ctx, qw_error *err);
    /**
     * Set aside what products with `w` need for up to max_rows rows; keeps what is there already.
     * To be called for every product that quantizes its input, before its first use and before any
     * plan is made; between steps. Nothing to do for the others.
     */
    qw_status (*linear_reserve)(qw_backend *be, const qw_linear *w, int max_rows, qw_error *err);
    /** Frees what linear_pack made; forgets what is borrowed. */
    void (*linear_release)(qw_backend *be, qw_linear *w);
    /** Write all rows of a computed matrix to out [rows][cols], in its dtype. */
    void (*fill_rows)(qw_backend *be, void *out, const qw_host_matrix *m);
    /** Write a plan down; nothing is computed. NULL: the device has no plans. */
    qw_status (*plan_make)(qw_backend *be, qw_plan **out, int max_rows, qw_plan_calls *calls,
                           void *ctx, qw_error *err);
    /**
     * As all calls of the plan one after the other, to the bit, for the first n_rows rows (1 ..
     * max_rows) and the first n_seqs sequences, which cover them. Never allocates.
     */
    void (*plan_run)(qw_backend *be, qw_plan *plan, int n_rows, int n_seqs);
    void (*plan_free)(qw_backend *be, qw_plan *plan);
    void (*close)(qw_backend *be);
};

/** Options of qw_backend_open_cpu. */
typedef struct qw_cpu_options {
    int n_threads;   /* 0: one per usable physical core */
    const char *isa; /* "auto" or NULL: the best this CPU has; "ref", "avx2", ... */
} qw_cpu_options;

/** The CPU device. Close with qw_backend_close. */
QW_MUST_CHECK qw_status qw_backend_open_cpu(qw_backend **out, const qw_cpu_options *options,
                                            qw_error *err);
void qw_backend_close(qw_backend *be);

/**
 * The layout of a product from the shapes of its source: everything of a qw_linear but the memory
 * (the arrays stay NULL; a size > 0 tells that there is one). Errors: integer weights with more
 * inputs than an int32 sum can hold, groups that do not divide them, transforms of other sizes.
 */
QW_MUST_CHECK qw_status qw_linear_plan(qw_linear *out, const qw_linear_source *source,
                                       qw_error *err);

/** Bytes that linear_reserve sets aside, at most, for products with `w` on max_rows rows. */
size_t qw_linear_reserve_size(const qw_linear *w, int max_rows);

/** Bytes of panels for these shapes. */
QW_MUST_CHECK bool qw_linear_bytes(size_t *out, const int *rows, const qw_dtype *dtypes,
                                   int n_segments, int k);
/** The panel dtype for these float sources: theirs when they agree, else F32 (widening is exact).
 */
qw_dtype qw_linear_dtype(const qw_dtype *dtypes, int n_segments);

#endif

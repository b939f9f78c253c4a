#ifndef QW_MODEL_DUMMY_SCHEME_H
#define QW_MODEL_DUMMY_SCHEME_H

#include "format/quant_description.h"

/** How the Linears of made-up layers are stored (--dummy-quantization). */
typedef struct qw_dummy_scheme {
    const char *name;         /* "w8a8-dynamic" */
    qw_quant_type type;       /* of those that read what a norm has left: q, k, v, gate, up */
    qw_quant_type other_type; /* of o and down */
    int group;                /* inputs per group of both; 0: none */
} qw_dummy_scheme;

/** The scheme of that name, or NULL. "none" is one: all is float. */
const qw_dummy_scheme *qw_dummy_scheme_find(const char *name);

/** How a tensor of the model is stored under the scheme (NULL: none). Only the "..._proj.weight" of
 *  layers are ever integers; routers, the embedding and the head are not. */
qw_quant_type qw_dummy_scheme_type(const qw_dummy_scheme *s, const char *tensor);

#endif

#ifndef QW_QUANT_QUANT_FILES_H
#define QW_QUANT_QUANT_FILES_H

// The small files of a quantized checkpoint (quantization.md 1.1, 1.2, 8.2).
#include "base/file.h"
#include "quant/quant_plan.h"

enum { QW_QUANT_PART_NAME = 64 };
/** quant_model_weights-00001-of-00003.safetensors; `part` counts from 0. */
void qw_quant_part_name(char out[QW_QUANT_PART_NAME], size_t part, size_t n_parts);

/**
 * Into `dir`: quant_model_weights.safetensors.index.json, quant_model_description.json, and from
 * `src` every .json, .txt, .jinja and .py file that is about the model and not its weights;
 * config.json without quantization_config, and untied where the plan rotates.
 */
QW_MUST_CHECK qw_status qw_quant_files_write(const qw_quant_plan *p, const char *src,
                                             const char *dir, qw_error *err);

#endif

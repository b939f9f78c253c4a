#include "server/api_models.h"

#include "server/api_write.h"

static void write_card(qw_buf *out, const qw_api_config *cfg, const char *name,
                       const char *random_id)
{
    QW_PUT(out, "{\"id\":");
    qw_json_write_string(out, qw_str_of(name));
    QW_PUT(out, ",\"object\":\"model\",\"created\":");
    qw_api_write_int(out, cfg->created);
    QW_PUT(out, ",\"owned_by\":\"vllm\",\"root\":");
    qw_json_write_string(out, qw_str_of(cfg->model_path));
    QW_PUT(out, ",\"parent\":null,\"max_model_len\":");
    qw_api_write_int(out, cfg->max_model_len);
    QW_PUT(out, ",\"permission\":[{\"id\":\"modelperm-");
    qw_buf_puts(out, random_id);
    QW_PUT(out, "\",\"object\":\"model_permission\",\"created\":");
    qw_api_write_int(out, cfg->created);
    QW_PUT(out, ",\"allow_create_engine\":false,\"allow_sampling\":true,\"allow_logprobs\":true,"
                "\"allow_search_indices\":false,\"allow_view\":true,\"allow_fine_tuning\":false,"
                "\"organization\":\"*\",\"group\":null,\"is_blocking\":false}]}");
}

void qw_api_models_write(qw_buf *out, const qw_api_config *cfg, const char *random_id)
{
    QW_PUT(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < cfg->n_served_names; i++) {
        if (i) qw_buf_putc(out, ',');
        write_card(out, cfg, cfg->served_names[i], random_id);
    }
    QW_PUT(out, "]}");
}

qw_status qw_api_model_write(qw_buf *out, const qw_api_config *cfg, qw_str id,
                             const char *random_id, qw_api_error *err)
{
    for (size_t i = 0; i < cfg->n_served_names; i++) {
        if (!qw_str_is(id, cfg->served_names[i])) continue;
        write_card(out, cfg, cfg->served_names[i], random_id);
        return QW_OK;
    }
    return qw_api_fail(err, QW_FAULT_NOT_FOUND, "model", "The model `%.*s` does not exist.",
                       (int)(id.len > 1000 ? 1000 : id.len), id.ptr);
}

void qw_api_version_write(qw_buf *out, const char *version)
{
    QW_PUT(out, "{\"version\":");
    qw_json_write_string(out, qw_str_of(version));
    qw_buf_putc(out, '}');
}

void qw_api_load_write(qw_buf *out, int64_t n_requests)
{
    QW_PUT(out, "{\"server_load\":");
    qw_api_write_int(out, n_requests);
    qw_buf_putc(out, '}');
}

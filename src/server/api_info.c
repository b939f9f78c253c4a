#include "server/api_info.h"
#include "server/server_internal.h"
void qw_api_version_write(qw_buf *out, const char *version) { qw_buf_printf(out, "{\"version\":\"%s\"}", version); }
void qw_api_load_write(qw_buf *out, int64_t n) { qw_buf_printf(out, "{\"server_load\":%lld}", (long long)n); }
void qw_api_models_write(qw_buf *out, const qw_api_config *cfg) { qw_buf_printf(out, "{\"object\":\"list\",\"data\":[{\"id\":\"%s\",\"root\":\"%s\"}]}", cfg->served_names[0], cfg->model_path); }
qw_status qw_api_model_write(qw_buf *out, const qw_api_config *cfg, qw_str name, qw_api_error *err) { (void)name; (void)err; qw_api_models_write(out, cfg); return QW_OK; }
qw_status qw_api_tokenize(const qw_api_config *cfg, const qw_api_call *call, qw_buf *out, qw_api_error *err) {(void)cfg;(void)call;(void)out; return qw_api_fail(err, QW_FAULT_UNSUPPORTED, NULL, "no");}
qw_status qw_api_detokenize(const qw_api_config *cfg, const qw_api_call *call, qw_buf *out, qw_api_error *err) {(void)cfg;(void)call;(void)out; return qw_api_fail(err, QW_FAULT_UNSUPPORTED, NULL, "no");}
qw_status qw_api_tokenizer_info(const qw_api_config *cfg, const qw_api_call *call, qw_buf *out, qw_api_error *err) {(void)cfg;(void)call;(void)out; return qw_api_fail(err, QW_FAULT_UNSUPPORTED, NULL, "no");}
void qw_server_write_metrics(qw_server *s, qw_buf *out) {
    qw_engine_stats e; qw_runner_stats(s->runner, &e);
    qw_buf_printf(out, "vllm:num_requests_running{} %d\nvllm:num_requests_waiting{} %d\nvllm:kv_cache_usage_perc{} %g\nvllm:generation_tokens_total{} %llu\n", e.n_running, e.n_waiting, (double)e.n_blocks_used/e.n_blocks, (unsigned long long)e.n_generated_tokens);
}

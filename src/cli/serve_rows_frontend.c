#include "cli/serve_options.h"
#include "cli/serve_rows.h"

#define FIELD(x) offsetof(qw_serve_options, x)
#define FRONTEND "Frontend"

static const char *const http_log_levels[] = {"critical", "error", "warning", "info",
                                              "debug",    "trace", NULL};
static const char *const content_formats[] = {"auto", "string", "openai", NULL};
static const char *const fingerprint_modes[] = {"full", "hash", "custom", "none", NULL};

static const qw_opt rows[] = {
    // Where it listens
    {"host", QW_OPT_STR, FIELD(host), .group = FRONTEND, .metavar = "NAME",
     .def_note = "all interfaces", .help = "name or address to listen on"},
    {"port", QW_OPT_INT, FIELD(port), .group = FRONTEND, .def = "8000", .max = 65535,
     .help = "port to listen on; 0: a free one, told in the log"},
    {"uds", QW_OPT_STR, FIELD(uds), .group = FRONTEND, .metavar = "PATH",
     .help = "listen on a Unix socket instead; host and port do not count then"},
    {"root_path", QW_OPT_STR, FIELD(root_path), .group = FRONTEND, .metavar = "PATH",
     .help = "the prefix of all paths behind a proxy"},
    {"ssl_keyfile", QW_OPT_STR, FIELD(ssl_keyfile), .group = FRONTEND, .metavar = "FILE",
     .help = "private key, PEM: HTTPS is spoken"},
    {"ssl_certfile", QW_OPT_STR, FIELD(ssl_certfile), .group = FRONTEND, .metavar = "FILE",
     .help = "certificate chain, PEM"},
    {"ssl_ca_certs", QW_OPT_STR, FIELD(ssl_ca_certs), .group = FRONTEND, .metavar = "FILE",
     .help = "authorities that clients' certificates are checked against, PEM"},
    {"ssl_cert_reqs", QW_OPT_INT, FIELD(ssl_cert_reqs), .group = FRONTEND, .def = "0", .max = 2,
     .help = "must clients show a certificate: 0 no, 1 if they have one, 2 yes"},
    {"ssl_ciphers", QW_OPT_STR, FIELD(ssl_ciphers), .group = FRONTEND, .metavar = "LIST",
     .effect = QW_OPT_WARNED, .why = "the TLS library's own defaults are used",
     .help = "cipher suites for HTTPS"},
    {"enable_ssl_refresh", QW_OPT_BOOL, QW_OPT_NO_FIELD, .group = FRONTEND, .effect = QW_OPT_WARNED,
     .why = "certificates are read at start only",
     .help = "read certificates again when their files change"},
    {"shutdown_timeout", QW_OPT_FLOAT, FIELD(shutdown_timeout_s), .group = FRONTEND, .def = "30",
     .min = 0, .max = QW_OPT_NO_MAX, .metavar = "SECONDS",
     .help = "how long running requests may go on after SIGTERM; 0: they are ended at once"},

    // Who may ask
    {"api_key", QW_OPT_STRS, FIELD(api_keys), FIELD(n_api_keys), .group = FRONTEND,
     .metavar = "KEY...", .def_note = "$VLLM_API_KEY, else everybody may ask",
     .help = "keys of which a request to /v1 must bring one"},
    {"allow_credentials", QW_OPT_BOOL, FIELD(allow_credentials), .group = FRONTEND,
     .help = "let browsers send credentials from other origins"},
    {"allowed_origins", QW_OPT_STR, QW_OPT_NO_FIELD, .group = FRONTEND, .metavar = "JSON",
     .def = "[\"*\"]", .help = "origins whose pages may ask, a JSON list"},
    {"allowed_methods", QW_OPT_STR, QW_OPT_NO_FIELD, .group = FRONTEND, .metavar = "JSON",
     .def = "[\"*\"]", .help = "methods that other origins may use, a JSON list"},
    {"allowed_headers", QW_OPT_STR, QW_OPT_NO_FIELD, .group = FRONTEND, .metavar = "JSON",
     .def = "[\"*\"]", .help = "headers that other origins may send, a JSON list"},

    // What is answered
    {"ui", QW_OPT_BOOL, FIELD(ui), .group = FRONTEND, .def = "true",
     .help = "answer / with a page to chat and to watch the server with"},
    {"enable_request_id_headers", QW_OPT_BOOL, FIELD(enable_request_id_headers), .group = FRONTEND,
     .help = "answer with an X-Request-Id header"},
    {"enable_prompt_tokens_details", QW_OPT_BOOL, FIELD(enable_prompt_tokens_details),
     .group = FRONTEND, .help = "tell in usage how many tokens of the prompt were cached"},
    {"enable_force_include_usage", QW_OPT_BOOL, FIELD(enable_force_include_usage),
     .group = FRONTEND, .help = "put usage into every stream"},
    {"enable_server_load_tracking", QW_OPT_BOOL, FIELD(enable_server_load_tracking),
     .group = FRONTEND, .help = "count running requests for /load"},
    {"enable_tokenizer_info_endpoint", QW_OPT_BOOL, FIELD(enable_tokenizer_info_endpoint),
     .group = FRONTEND, .help = "answer /tokenizer_info"},
    {"return_tokens_as_token_ids", QW_OPT_BOOL, FIELD(return_tokens_as_token_ids),
     .group = FRONTEND, .help = "name tokens in logprobs as token_id:N"},
    {"fingerprint_mode", QW_OPT_CHOICE, FIELD(fingerprint_mode), .group = FRONTEND, .def = "full",
     .choices = fingerprint_modes, .help = "what system_fingerprint holds"},
    {"fingerprint_value", QW_OPT_STR, FIELD(fingerprint_value), .group = FRONTEND,
     .help = "the fingerprint under --fingerprint-mode custom"},

    // Chat
    {"chat_template_content_format", QW_OPT_CHOICE, FIELD(chat_template_content_format),
     .group = FRONTEND, .def = "auto", .choices = content_formats, .effect = QW_OPT_ADJUSTED,
     .why = "always auto: the template itself shows what it takes",
     .help = "how the template gets a message's content: as a text or as a list of parts"},
    {"trust_request_chat_template", QW_OPT_BOOL, FIELD(trust_request_chat_template),
     .group = FRONTEND, .help = "accept templates that come with requests"},
    {"default_chat_template_kwargs", QW_OPT_JSON, QW_OPT_NO_FIELD, .group = FRONTEND,
     .help = "variables for the chat template where a request gives none: "
             "'{\"enable_thinking\": false}'"},
    {"response_role", QW_OPT_STR, FIELD(response_role), .group = FRONTEND, .def = "assistant",
     .metavar = "NAME", .help = "the role of answers"},
    {"reasoning_parser", QW_OPT_STR, FIELD(reasoning_parser), .group = "StructuredOutputsConfig",
     .def = "auto", .metavar = "NAME",
     .help = "what takes the reasoning out of answers: qwen3; auto: qwen3 for templates that know "
             "<think>; none"},
    {"enable_auto_tool_choice", QW_OPT_BOOL, FIELD(enable_auto_tool_choice), .group = FRONTEND,
     .help = "let the model decide when to call tools; needs --tool-call-parser"},
    {"tool_call_parser", QW_OPT_STR, FIELD(tool_call_parser), .group = FRONTEND, .metavar = "NAME",
     .help = "how the model writes tool calls: hermes, qwen3 (the same), qwen3_coder, qwen3_xml"},
    {"exclude_tools_when_tool_choice_none", QW_OPT_BOOL, FIELD(exclude_tools_when_tool_choice_none),
     .group = FRONTEND, .help = "leave tools out of the prompt under tool_choice none"},

    // What is told
    {"uvicorn_log_level", QW_OPT_CHOICE, FIELD(uvicorn_log_level), .group = FRONTEND, .def = "info",
     .choices = http_log_levels, .help = "which lines of the HTTP server are shown"},
    {"disable_uvicorn_access_log", QW_OPT_BOOL, FIELD(disable_uvicorn_access_log),
     .group = FRONTEND, .help = "no line for each request"},
    {"disable_access_log_for_endpoints", QW_OPT_STR, QW_OPT_NO_FIELD, .group = FRONTEND,
     .metavar = "PATHS", .help = "paths whose requests get no line: \"/health,/metrics\""},
    {"enable_log_requests", QW_OPT_BOOL, FIELD(enable_log_requests), .group = FRONTEND,
     .help = "log the parameters of requests"},
    {"enable_log_outputs", QW_OPT_BOOL, FIELD(enable_log_outputs), .group = FRONTEND,
     .effect = QW_OPT_WARNED, .why = "only requests are logged, not answers, in this version",
     .help = "log answers too; needs --enable-log-requests"},
    {"max_log_len", QW_OPT_INT, FIELD(max_log_len), .group = FRONTEND, .def = "-1", .min = -1,
     .max = QW_OPT_NO_MAX, .def_note = "all", .help = "most characters of a prompt in the log"},
    {"disable_log_stats", QW_OPT_FLAG, FIELD(disable_log_stats), .group = "ObservabilityConfig",
     .help = "no periodic line and no recording of metrics"},
    {"log_json", QW_OPT_FLAG, FIELD(log_json), .group = "ObservabilityConfig",
     .help = "log JSON lines"},
    {"log_config_file", QW_OPT_STR, QW_OPT_NO_FIELD, .group = "ObservabilityConfig",
     .metavar = "FILE", .effect = QW_OPT_WARNED,
     .why = "it configures Python's logging; VLLM_LOGGING_LEVEL and --log-json work here",
     .help = "logging configuration"},

    // Size limits of requests: fixed by the connection's memory
    {"h11_max_incomplete_event_size", QW_OPT_INT, QW_OPT_NO_FIELD, .group = FRONTEND,
     .def = "4194304", .min = 0, .max = QW_OPT_NO_MAX, .effect = QW_OPT_ADJUSTED,
     .why = "the head of a request may take 128 KiB", .help = "most bytes of an unfinished head"},
    {"h11_max_header_count", QW_OPT_INT, QW_OPT_NO_FIELD, .group = FRONTEND, .def = "256", .min = 0,
     .max = QW_OPT_NO_MAX, .effect = QW_OPT_WARNED,
     .why = "headers are limited by their bytes, 128 KiB", .help = "most headers of a request"},

    // The command itself
    {"config", QW_OPT_STR, QW_OPT_NO_FIELD, .metavar = "FILE.yaml",
     .help = "more options, by their names without dashes; the command line wins"},
    {"explain", QW_OPT_FLAG, FIELD(explain),
     .help = "print what each given option, variable and JSON key does here, and why; then exit"},
};

const qw_opt *qw_serve_frontend_rows(size_t *n_rows)
{
    *n_rows = QW_ARRAY_LEN(rows);
    return rows;
}

"""Only what `python3 -m vllm.entrypoints.openai.api_server` needs; see qwench."""

// The server's API. Addresses are relative to the page, so that a path in front of it stays.

let key = "";

export function setKey(value) {
  key = value.trim();
}

/** A refusal of the server, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "same-origin", redirect: "error" });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new ApiError(0, e instanceof TypeError && e.message.includes("header")
      ? "The API key holds characters that cannot be sent." : "The server cannot be reached.");
  }
  if (response.ok) return response;
  throw new ApiError(response.status, await reason(response));
}

// The server's own words for a failure.
async function reason(response) {
  if (response.status === 401) return "This server asks for an API key.";
  const text = await response.text().catch(() => "");
  try {
    const { error, detail } = JSON.parse(text);
    const words = error?.message ?? error ?? detail;
    if (typeof words === "string" && words) return words;
  } catch { /* not JSON: say the status */ }
  return `The server answered ${response.status} ${response.statusText}`.trim() + ".";
}

/** [{id, max_model_len}] */
export async function listModels() {
  const { data } = await (await request("v1/models")).json();
  return data;
}

/** The text of /metrics. */
export async function fetchMetrics() {
  return (await request("metrics", { cache: "no-store" })).text();
}

/** The chunks of a streamed chat completion; aborting `signal` ends it, here and on the server. */
export async function* streamChat(body, signal) {
  const response = await request("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    let chunk;
    try {
      chunk = JSON.parse(data);
    } catch {
      throw new ApiError(0, "The answer was cut: an event of the stream cannot be read.");
    }
    if (chunk.error) throw new ApiError(chunk.error.code ?? 0, String(chunk.error.message ?? chunk.error));
    yield chunk;
  }
  throw new ApiError(0, "The connection was closed before the answer was complete.");
}

// The data of each event of a stream (WHATWG 9.2.6; only "data" matters here).
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", data = [];
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch (e) {
      if (e.name === "AbortError") throw e;
      throw new ApiError(0, "The connection was lost before the answer was complete.");
    }
    if (piece.done) return;
    const lines = (rest + piece.value).split("\n");
    rest = lines.pop();
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (data.length) yield data.join("\n");
        data = [];
      } else if (line.startsWith("data:")) {
        data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
  }
}

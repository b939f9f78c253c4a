// The live panel: /metrics every two seconds while somebody looks, and what has changed in between.

import { fetchMetrics } from "./api.js";
import { byId } from "./dom.js";

const PERIOD_MS = 2000;
const KEEP = 60; // samples in the chart

/** Prometheus text: {name: sum over its label sets}, and the buckets of histograms by bound. */
export function parseMetrics(text) {
  const sums = new Map(), buckets = new Map();
  for (const line of text.split("\n")) {
    if (!line || line.startsWith("#")) continue;
    const at = line.lastIndexOf(" ");
    const value = Number(line.slice(at + 1));
    const brace = line.indexOf("{");
    const name = line.slice(0, brace < 0 ? at : brace);
    if (at < 0 || Number.isNaN(value)) continue;
    sums.set(name, (sums.get(name) ?? 0) + value);
    const bound = name.endsWith("_bucket") ? /[{,]le="([^"]*)"/.exec(line) : null;
    if (!bound) continue;
    const le = bound[1] === "+Inf" ? Infinity : Number(bound[1]);
    const of = buckets.get(name) ?? new Map();
    of.set(le, (of.get(le) ?? 0) + value);
    buckets.set(name, of);
  }
  return { sums, buckets };
}

/** The quantile of what a histogram got between two looks, as Prometheus estimates it; NaN: nothing. */
export function quantile(q, before, now) {
  const bounds = [...(now ?? new Map()).keys()].sort((a, b) => a - b);
  const counts = bounds.map((b) => now.get(b) - (before?.get(b) ?? 0));
  const total = counts[counts.length - 1] ?? 0;
  if (!(total > 0)) return NaN;
  const i = counts.findIndex((c) => c >= q * total);
  if (bounds[i] === Infinity) return i > 0 ? bounds[i - 1] : NaN;
  const low = i > 0 ? bounds[i - 1] : 0, below = i > 0 ? counts[i - 1] : 0;
  return low + ((bounds[i] - low) * (q * total - below)) / (counts[i] - below);
}

const rate = (n) => (n >= 100 ? n.toFixed(0) : n.toFixed(1));
const percent = (x) => `${(100 * x).toFixed(x > 0 && x < 0.1 ? 1 : 0)} %`;
const seconds = (s) => (Number.isNaN(s) ? "–" : s < 1 ? `${(1000 * s).toFixed(s < 0.01 ? 1 : 0)} ms` : `${s.toFixed(1)} s`);

function show(id, text) {
  const e = byId(id);
  if (e.textContent !== text) e.textContent = text;
}

export class Live {
  constructor() {
    this.samples = [];
    this.rates = [];
    this.wanted = false;
    document.addEventListener("visibilitychange", () => this.arm());
  }

  /** Look from now on, or no longer. */
  want(on) {
    this.wanted = on;
    this.arm();
  }

  arm() {
    const on = this.wanted && !document.hidden;
    if (on && !this.timer) this.timer = setTimeout(() => this.look(), 0);
    if (!on) {
      clearTimeout(this.timer);
      this.timer = null;
    }
  }

  async look() {
    try {
      const sample = { at: performance.now() / 1000, ...parseMetrics(await fetchMetrics()) };
      this.take(sample);
      this.say(sample.sums.size ? "" : "The server records no statistics (--disable-log-stats).");
    } catch (e) {
      this.say(e.message);
    }
    this.timer = null;
    if (this.wanted && !document.hidden) this.timer = setTimeout(() => this.look(), PERIOD_MS);
  }

  say(text) {
    byId("panel-note").hidden = !text;
    show("panel-note", text);
    byId("live").classList.toggle("lost", Boolean(text));
  }

  take(now) {
    // A server that began anew, or a pause: there is nothing to compare with.
    const last = this.samples[this.samples.length - 1];
    if (last && (now.at - last.at > 10 * PERIOD_MS / 1000 || this.count(now, "vllm:generation_tokens_total") < this.count(last, "vllm:generation_tokens_total"))) {
      this.samples = [];
      this.rates = [];
    }
    this.samples.push(now);
    if (this.samples.length > KEEP) this.samples.shift();
    this.draw(now, this.samples[Math.max(0, this.samples.length - 3)], this.samples[0]);
  }

  count(sample, name) {
    return sample.sums.get(name) ?? 0;
  }

  draw(now, recent, oldest) {
    const value = (name) => this.count(now, name);
    const grown = (name, since) => value(name) - this.count(since, name);
    const elapsed = now.at - recent.at;
    const generated = elapsed > 0 ? grown("vllm:generation_tokens_total", recent) / elapsed : 0;
    const prompt = elapsed > 0 ? grown("vllm:prompt_tokens_total", recent) / elapsed : 0;
    const running = value("vllm:num_requests_running"), waiting = value("vllm:num_requests_waiting");
    show("m-running", String(running));
    show("m-waiting", String(waiting));
    show("m-generated", rate(generated));
    show("m-prompt", rate(prompt));
    show("live-text", running + waiting > 0 ? `${running + waiting} active · ${rate(generated)} tokens/s` : "idle");
    byId("live").classList.toggle("busy", running + waiting > 0);
    this.rates.push(generated);
    if (this.rates.length > KEEP) this.rates.shift();
    this.chart();

    const used = value("vllm:kv_cache_usage_perc");
    show("m-kv", percent(used));
    byId("m-kv-bar").value = used;
    // Of the last two minutes if anything was looked up, else of all time.
    let queries = grown("vllm:prefix_cache_queries_total", oldest), hits = grown("vllm:prefix_cache_hits_total", oldest);
    if (!queries) {
      queries = value("vllm:prefix_cache_queries_total");
      hits = value("vllm:prefix_cache_hits_total");
    }
    show("m-hits", queries ? percent(hits / queries) : "–");
    byId("m-hits-bar").value = queries ? hits / queries : 0;

    show("m-ttft", this.median("vllm:time_to_first_token_seconds_bucket", oldest, now));
    show("m-itl", this.median("vllm:inter_token_latency_seconds_bucket", oldest, now));
    show("m-answered", value("vllm:request_success_total").toLocaleString("en"));
  }

  median(name, before, now) {
    const recent = quantile(0.5, before.buckets.get(name), now.buckets.get(name));
    return seconds(Number.isNaN(recent) ? quantile(0.5, null, now.buckets.get(name)) : recent);
  }

  chart() {
    const width = 240, height = 56, top = Math.max(1, ...this.rates) * 1.1;
    const x = (i) => width - ((this.rates.length - 1 - i) * width) / (KEEP - 1);
    const points = this.rates.map((r, i) => `${x(i).toFixed(1)},${(height - 1 - (r / top) * (height - 3)).toFixed(1)}`);
    const line = `M${points.join("L")}`;
    byId("chart").querySelector(".line").setAttribute("d", line);
    byId("chart").querySelector(".area").setAttribute("d", `${line}L${width},${height}L${x(0).toFixed(1)},${height}Z`);
  }
}

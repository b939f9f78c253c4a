// One answer of the server, from the conversation so far to its last token.

import { streamChat } from "./api.js";

const NUMBERS = ["temperature", "top_p", "top_k", "min_p", "presence_penalty", "repetition_penalty", "max_tokens", "seed"];

export { NUMBERS };

/** The request's body; what is not set is left to the server. */
function bodyOf(chat, history, settings, model) {
  const messages = history.map(({ role, content }) => ({ role, content }));
  if (chat.system.trim()) messages.unshift({ role: "system", content: chat.system });
  const body = { model, messages, chat_template_kwargs: { enable_thinking: settings.thinking !== false } };
  for (const name of NUMBERS) if (Number.isFinite(settings[name])) body[name] = settings[name];
  return body;
}

/**
 * Fill in `answer` (role assistant) as it comes; `onChange` is called after each piece. Never
 * throws: answer.error says what went wrong, answer.finish how it ended. The error is returned.
 */
export async function generate(answer, { chat, history, settings, model, signal, onChange }) {
  const start = performance.now();
  const since = () => (performance.now() - start) / 1000;
  let first = 0, last = 0;
  answer.isRunning = true;
  onChange();
  try {
    for await (const chunk of streamChat(bodyOf(chat, history, settings, model), signal)) {
      if (chunk.usage) {
        answer.tokens = chunk.usage.completion_tokens;
        answer.contextTokens = chunk.usage.total_tokens;
      }
      const choice = chunk.choices?.[0];
      if (!choice) continue;
      const reasoning = choice.delta?.reasoning ?? choice.delta?.reasoning_content;
      const content = choice.delta?.content;
      if (reasoning || content) {
        last = since();
        first ||= last;
      }
      if (reasoning) answer.reasoning += reasoning;
      if (content) {
        if (answer.reasoning && !answer.content) {
          answer.thoughtFor = last;
          answer.content += content.trimStart();
        } else {
          answer.content += content;
        }
      }
      if (choice.finish_reason) answer.finish = choice.finish_reason;
      onChange();
    }
    return null;
  } catch (e) {
    if (e.name === "AbortError") {
      answer.finish = "stopped";
      return null;
    }
    answer.error = e.message;
    return e;
  } finally {
    if (answer.reasoning && !answer.thoughtFor) answer.thoughtFor = last;
    if (first) answer.firstAfter = first;
    // Tokens that came in one piece say nothing about speed.
    if (answer.tokens > 1 && last - first > 0.1) answer.rate = (answer.tokens - 1) / (last - first);
    answer.isRunning = false;
    onChange();
  }
}

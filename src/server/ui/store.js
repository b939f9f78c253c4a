// What this browser keeps: conversations, settings, perhaps the key.
//
//   qwench.list        [{id, title, updated}], newest first
//   qwench.chat.<id>   {id, title, system, messages: [{role, content, reasoning, ...}]}
//   qwench.settings    {temperature, ..., system, thinking, model, panel}

const PREFIX = "qwench.";

let onFull = () => {};

/** `fn(is_full)` is told whether the browser takes what is written. */
export function watchFull(fn) {
  onFull = fn;
}

function read(name, fallback) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    const value = text === null ? null : JSON.parse(text);
    return value === null || typeof value !== "object" ? fallback : value;
  } catch {
    return fallback;
  }
}

function write(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
    onFull(false);
  } catch {
    onFull(true);
  }
}

function text(value) {
  return typeof value === "string" ? value : "";
}

export function listChats() {
  const list = read("list", []);
  return Array.isArray(list) ? list.filter((c) => c && typeof c.id === "string") : [];
}

export function newChat(system) {
  const id = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
  return { id, title: "", system, messages: [] };
}

/** The conversation, or null; whatever was found there, its fields have the types they should. */
export function loadChat(id) {
  const chat = read(`chat.${id}`, null);
  if (!chat || !Array.isArray(chat.messages)) return null;
  const messages = chat.messages
    .filter((m) => m && (m.role === "user" || m.role === "assistant"))
    .map((m) => ({ ...m, content: text(m.content), reasoning: text(m.reasoning) }));
  return { id, title: text(chat.title), system: text(chat.system), messages };
}

export function saveChat(chat) {
  write(`chat.${chat.id}`, chat);
  const others = listChats().filter((c) => c.id !== chat.id);
  write("list", [{ id: chat.id, title: chat.title, updated: Date.now() }, ...others]);
}

export function removeChat(id) {
  localStorage.removeItem(`${PREFIX}chat.${id}`);
  write("list", listChats().filter((c) => c.id !== id));
}

export function loadSettings() {
  return { system: "", thinking: true, ...read("settings", {}) };
}

export function saveSettings(settings) {
  write("settings", settings);
}

/** The key is kept as long as the tab, or, if asked for, as long as the browser keeps things. */
export function loadKey() {
  const kept = localStorage.getItem(`${PREFIX}key`);
  return { key: kept ?? sessionStorage.getItem(`${PREFIX}key`) ?? "", isKept: kept !== null };
}

export function saveKey(key, keep) {
  localStorage.removeItem(`${PREFIX}key`);
  sessionStorage.removeItem(`${PREFIX}key`);
  if (key) (keep ? localStorage : sessionStorage).setItem(`${PREFIX}key`, key);
}

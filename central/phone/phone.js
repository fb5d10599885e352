// A phone that shows live codes: the ticket is signed by its issuer, the moment by this phone. Works without a network.
import { correction, generate, mode } from "./vendor/lean-qr.mjs";
import { decode, encode } from "./base45.js";
import { codes, forget, keep, keyPair } from "./vault.js";

const PREFIX = "SG1:";
const CONTEXT = new TextEncoder().encode("scenic-gate/shown/1");
const RENEW_MS = 3000;
const QUIET_ZONE = 4;
const WORDS = {
  bound_elsewhere: ["此票码已存入另一部手机，请到服务台办理", "This code is on another phone. Please come to the service counter."],
  expired: ["此票码已过有效期", "This code is not valid any more."],
  not_a_code: ["这不是本平台的票码，请核对后重新粘贴", "This is not a code of ours. Please paste it again."],
  offline: ["添加票码需要联网，请稍后再试", "Adding a code needs a network. Please try again later."],
  storage: ["浏览器不允许保存票码，请勿使用无痕模式", "This browser keeps nothing. Please leave private browsing."],
};
const $ = (id) => document.getElementById(id);
let held = [];
let chosen = null;

function say(word) {
  const [zh, en] = WORDS[word] ?? WORDS.offline;
  $("trouble").hidden = word === null;
  if (word === null) return;
  const english = document.createElement("small");
  english.lang = "en";
  english.textContent = en;
  $("trouble").replaceChildren(zh, english);
}

async function live(code) {
  const envelope = decode(code.slice(PREFIX.length));
  const time = new Uint8Array(4);
  new DataView(time.buffer).setUint32(0, Math.floor(Date.now() / 1000));
  const signed = new Uint8Array([...CONTEXT, ...envelope, ...time]);
  const { privateKey } = await keyPair();
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, privateKey, signed);
  return PREFIX + encode(new Uint8Array([...envelope, ...time, ...new Uint8Array(signature)]));
}

async function draw() {
  $("network").textContent = navigator.onLine ? "" : "离线可用 works offline";
  $("time").textContent = new Date().toLocaleTimeString("zh-CN", { hour12: false });
  if (chosen === null) return;
  const text = await live(chosen.code);
  const symbol = generate(text, { minCorrectionLevel: correction.M, modes: [mode.alphaNumeric] });
  symbol.toCanvas($("symbol"), { on: [0, 0, 0, 255], off: [255, 255, 255, 255], padX: QUIET_ZONE, padY: QUIET_ZONE });
  $("symbol").dataset.text = text;
}

function choose(key) {
  chosen = held.find((code) => code.key === key) ?? held.at(-1) ?? null;
  $("shown").hidden = chosen === null;
  $("add").open = chosen === null;
  if (chosen === null) return;
  $("name-zh").textContent = chosen.name_zh;
  $("name-en").textContent = chosen.name_en;
  const until = new Date(chosen.valid_until_s * 1000).toLocaleString("zh-CN", { hour12: false, dateStyle: "medium", timeStyle: "short" });
  $("validity").textContent = `有效期至 valid until ${until}`;
  $("choice").hidden = held.length < 2;
  $("which").replaceChildren(...held.map((code) => new Option(`${code.name_zh} ${code.key.slice(0, 4)}`, code.key, false, code === chosen)));
  return draw();
}

async function add(text) {
  const { publicKey } = await keyPair();
  const point = new Uint8Array(await crypto.subtle.exportKey("raw", publicKey));
  let response;
  try {
    response = await fetch("codes", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ code: text, holder_key: btoa(String.fromCharCode(...point)) }),
    });
  } catch {
    return say("offline");
  }
  const answer = await response.json();
  if (!response.ok) return say(answer.error.code);
  say(null);
  await keep(answer);
  held = await codes();
  await choose(answer.key);
}

function unquoted(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // whoever made the link forgot that a code may hold a per cent sign
  }
}

async function start() {
  const now_s = Date.now() / 1000;
  held = await codes();
  for (const code of held.filter((code) => code.valid_until_s + 86400 < now_s)) await forget(code.key);
  held = await codes();
  await choose(null);
  const given = unquoted(location.hash.slice(1));
  if (given) {
    history.replaceState(null, "", location.pathname); // the code does not stay in the address, nor in the history
    await add(given);
  }
  setInterval(draw, RENEW_MS);
}

$("add").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  add($("code").value.trim()).then(() => { $("code").value = ""; });
});
$("which").addEventListener("change", () => choose($("which").value));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  draw();
  navigator.wakeLock?.request("screen").catch(() => {});
});
navigator.serviceWorker?.register("worker.js").catch(() => {});
navigator.wakeLock?.request("screen").catch(() => {});
start().catch((error) => { console.error(error); say("storage"); });

// The staff's page. It shows what the box answered and nothing else: no answer, no verdict.

import { readCamera } from "./reader.js";

const $ = (id) => document.getElementById(id);
const SIGNS = { ADMIT: "✓", REFER: "?", DENY: "✕" };
const KINDS = { ADMIT: "放行", REFER: "转人工", DENY: "不放行" };
const TONES = { ADMIT: [[880, 0.12]], REFER: [[440, 0.15], [440, 0.15]], DENY: [[220, 0.5]] };
const BUZZES = { ADMIT: [80], REFER: [80, 80, 80], DENY: [400] };
const WEDGE_PAUSE_MS = 300; // a scanner types faster than anybody, also over a slow radio
const MOST_PERSONS = 99;
const RECENT = 12;

const state = { token: sessionStorage.getItem("token") ?? "", lanes: [], open: null, stopCamera: null, audio: null };

class BoxError extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

async function ask(path, body) {
  const headers = { Authorization: `Bearer ${state.token}` };
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(`/v1/staff/${path}`, {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(8000),
    });
  } catch {
    throw new BoxError(0, "no_box", "");
  }
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new BoxError(response.status, said.error?.code ?? "error", said.error?.message ?? "");
  return said;
}

const TROUBLES = {
  no_box: "设备无应答，未核验。请重试；仍不行请走闸机通道。 The box does not answer: nothing was checked. Try again, or use a lane.",
  unauthorized: "口令不对，请重新输入。 That is not your token. Enter it again.",
  too_many_tries: "错误次数过多，请等待半分钟。 Too many wrong tries: wait half a minute.",
  lane_busy: "上一位游客尚未完成，请稍候。 The visitor before is not through yet.",
  no_such_refusal: "已处理或已超时，请重新扫码。 Answered already or too long ago: scan again.",
  too_early: "本机时间早于平台时间，请先校准本机。 This phone is behind the centre: set it right first.",
  too_late: "本机时间远晚于平台时间，请先校准本机。 This phone is far ahead of the centre: set it right first.",
  not_waiting: "已记录，无需再报。 This is recorded already.",
  no_camera: "相机不可用；请用扫码枪或手输。 The camera cannot be used: use a scanner, or type.",
};

function trouble(code, message = "") {
  $("trouble").textContent = code ? (TROUBLES[code] ?? `出错 Error: ${code} ${message}`) : "";
  $("trouble").hidden = !code;
}

// Runs one thing asked of the box at a time, and says what went wrong.
let turn = Promise.resolve();
function inTurn(work) {
  turn = turn.then(async () => {
    try {
      await work();
      trouble("");
    } catch (error) {
      if (!(error instanceof BoxError)) throw error;
      trouble(error.code, error.message);
      if (error.code === "no_box") blank();
      if (error.code === "unauthorized") leave();
    }
  });
  return turn;
}

function words(element, zh, en) {
  element.replaceChildren(document.createTextNode(zh), Object.assign(document.createElement("small"), { textContent: en }));
}

function blank() {
  $("verdict").dataset.verdict = "none";
  $("sign").textContent = "▢";
  $("kind-word").textContent = "";
  words($("word"), "请扫码", "Scan a code");
  for (const id of ["why", "detail", "record"]) $(id).textContent = "";
  for (const id of ["passage", "override", "needs"]) $(id).hidden = true;
}

function show(answer) {
  $("verdict").dataset.verdict = answer.verdict;
  $("sign").textContent = SIGNS[answer.verdict];
  $("kind-word").textContent = KINDS[answer.verdict] + (answer.persons > 1 ? ` ${answer.persons}人` : "");
  words($("word"), answer.text.zh, answer.text.en);
  $("why").textContent = `${answer.staff_text.zh} ${answer.staff_text.en}`;
  $("detail").textContent = answer.detail;
  $("record").textContent = answer.record && `记录号 Record ${answer.record}`;
  state.open = answer.admission_id;
  $("passage").hidden = !(answer.admission_id && isAttended());
  offerActs(answer);
  remember(answer);
  if (answer.reason === "CLOCK_UNSURE") inTurn(async () => offerClock(await ask("me")));
  sound(answer.verdict);
}

function offerActs(answer) {
  const title = answer.verdict === "REFER" ? ["核对无误后放行", "Checked, let in"] : ["仍要放行", "Let in all the same"];
  words($("override-title"), ...title);
  $("codes").replaceChildren(
    ...answer.acts.map((act) => {
      const button = document.createElement("button");
      words(button, act.zh, act.en);
      button.dataset.code = act.code;
      button.addEventListener("click", () => override(answer.record, act.code));
      return button;
    }),
  );
  $("override").hidden = !answer.acts.length;
  $("needs").hidden = answer.verdict === "ADMIT" || answer.acts.length > 0;
  $("needs").textContent = answer.needs_role
    ? "需由主管放行 A supervisor may let them in"
    : "不可放行，请按提示引导游客 Nobody may let them in: follow the advice above";
}

function remember(answer) {
  const line = document.createElement("li");
  const when = new Date().toLocaleTimeString("zh-CN", { hour12: false });
  const cells = [["b", SIGNS[answer.verdict]], ["span", answer.staff_text.zh], ["time", when]];
  line.append(...cells.map(([tag, textContent]) => Object.assign(document.createElement(tag), { textContent })));
  $("list").prepend(line);
  while ($("list").children.length > RECENT) $("list").lastChild.remove();
}

function sound(verdict) {
  navigator.vibrate?.(BUZZES[verdict]);
  if (!state.audio) return;
  let at = state.audio.currentTime;
  for (const [pitch, seconds] of TONES[verdict]) {
    const tone = new OscillatorNode(state.audio, { frequency: pitch });
    tone.connect(state.audio.destination);
    tone.start(at);
    tone.stop((at += seconds));
    at += 0.08;
  }
}

const lane = () => $("lane").value;
const isAttended = () => state.lanes.find((one) => one.id === lane())?.attended ?? false;

function scan(text) {
  const payload = text.trim();
  if (!payload) return turn;
  const persons = isAttended() ? state.persons : 1;
  count(1); // the next code is one visitor's unless somebody says otherwise
  return inTurn(async () => show(await ask("scans", { lane: lane(), payload, persons })));
}

function count(persons) {
  state.persons = Math.min(Math.max(persons, 1), MOST_PERSONS);
  $("persons").hidden = !isAttended();
  $("persons").dataset.many = state.persons > 1;
  $("count").replaceChildren(
    Object.assign(document.createElement("b"), { textContent: state.persons }),
    " 人",
    Object.assign(document.createElement("small"), { textContent: state.persons > 1 ? "persons" : "person" }),
  );
}

function override(record, code) {
  return inTurn(async () => show(await ask("overrides", { lane: lane(), record, code })));
}

function tell(passed) {
  const admission_id = state.open;
  return inTurn(async () => {
    await ask("passages", { lane: lane(), admission_id, passed });
    blank();
  });
}

async function toggleCamera() {
  if (state.stopCamera) {
    state.stopCamera();
    state.stopCamera = null;
    $("finder").hidden = true;
    words($("camera"), "打开相机", "Camera");
    return;
  }
  try {
    $("finder").hidden = false;
    state.stopCamera = await readCamera($("video"), scan);
    words($("camera"), "关闭相机", "Camera off");
  } catch {
    $("finder").hidden = true;
    trouble("no_camera");
  }
}

function enter() {
  return inTurn(async () => {
    const me = await ask("me");
    sessionStorage.setItem("token", state.token);
    state.lanes = me.lanes;
    const wanted = me.lanes.find((one) => one.attended) ?? me.lanes[0];
    $("lane").replaceChildren(...me.lanes.map((one) => new Option(`${one.attended ? "手持" : "闸机"} ${one.id}`, one.id)));
    $("lane").value = wanted.id;
    $("who").textContent = `${me.staff_id} · ${me.box_id}`;
    for (const id of ["lane", "leave", "work"]) $(id).hidden = false;
    $("enter").hidden = true;
    offerClock(me);
    count(1);
    blank();
  });
}

function offerClock(me) {
  $("clock").hidden = me.time_sure;
  $("set-clock").hidden = me.role !== "supervisor";
  const [zh, en] = me.role === "supervisor"
    ? [`闸机不能确定时间；本机为 ${new Date().toLocaleString("zh-CN", { hour12: false })}`, "The gate is not sure what time it is; this phone's time is shown"]
    : ["闸机不能确定时间，请主管校时", "The gate is not sure what time it is: ask a supervisor"];
  words($("clock-word"), zh, en);
}

$("set-clock").addEventListener("click", () => inTurn(async () => {
  await ask("clock", { at_ms: Date.now() });
  offerClock(await ask("me"));
}));

function leave() {
  sessionStorage.removeItem("token");
  state.token = "";
  if (state.stopCamera) toggleCamera();
  for (const id of ["lane", "leave", "work"]) $(id).hidden = true;
  $("who").textContent = "检票 Handheld";
  $("enter").hidden = false;
  $("list").replaceChildren();
}

// A wedge scanner types into whatever has the focus, or into nothing at all.
let typed = "";
let typedAt = 0;
document.addEventListener("keydown", (event) => {
  if ($("work").hidden || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
  if (event.timeStamp - typedAt > WEDGE_PAUSE_MS) typed = "";
  typedAt = event.timeStamp;
  if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
    typed += event.key;
    event.preventDefault();
  } else if (event.key === "Enter" && typed.length > 3) {
    event.preventDefault();
    scan(typed);
    typed = "";
  }
});

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.audio ??= new AudioContext(); // browsers allow sound only after somebody touched the page
  state.token = $("token").value.trim();
  $("token").value = "";
  enter();
});
$("code-form").addEventListener("submit", (event) => {
  event.preventDefault();
  scan($("code").value);
  $("code").value = "";
});
$("fewer").addEventListener("click", () => count(state.persons - 1));
$("more").addEventListener("click", () => count(state.persons + 1));
$("lane").addEventListener("change", () => count(1));
$("camera").addEventListener("click", toggleCamera);
$("passed").addEventListener("click", () => tell(true));
$("not-passed").addEventListener("click", () => tell(false));
$("leave").addEventListener("click", leave);

if (state.token) enter();
else $("enter").hidden = false;

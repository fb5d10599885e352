// Shows what the demo's server has gathered. Everything is set as text, never as markup.

import { BARRIER, REASONS, VERDICTS, admits } from "./words.js";

const STATE_EVERY_MS = 250;
const PICTURE_EVERY_MS = 125;
const RETRY_MS = 500;
const FRESH_MS = 5000; // a verdict is shown in full colour for so long
const SETTLED_MS = 2500; // sides that agreed so recently are not reported as apart
const CHART = { width: 400, height: 116, seconds: 120, least: 8 };
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
const number = (value) => (value == null ? "–" : value.toLocaleString("zh-CN"));
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function put(element, text) {
  const value = String(text);
  if (element.textContent !== value) element.textContent = value;
}

// The lanes -----------------------------------------------------------------------------------------------------------

class Lane {
  constructor(id, box, isReal) {
    this.id = id;
    this.element = byId("lane-template").content.cloneNode(true).firstElementChild;
    this.element.id = `lane-${id}`;
    this.find(".name b").textContent = `${box} · ${id} 号通道`;
    this.find(".name span").textContent = `Lane ${id}`;
    this.find("canvas").setAttribute("aria-label", `${id} 号通道摄像头 camera of lane ${id}`);
    this.find(".note").hidden = !isReal;
    byId("lanes").append(this.element);
    this.watch();
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  // Picture after picture: the next one is asked for when this one has come.
  async watch() {
    const canvas = this.find("canvas");
    const context = canvas.getContext("2d", { alpha: false });
    for (;;) {
      const began = performance.now();
      const picture = document.hidden ? null : await fetchPicture(this.id);
      if (picture) {
        canvas.width = picture.width;
        canvas.height = picture.height;
        context.drawImage(picture, 0, 0);
        picture.close();
        canvas.dataset.pictures = Number(canvas.dataset.pictures ?? 0) + 1;
      }
      await wait(picture ? Math.max(0, PICTURE_EVERY_MS - (performance.now() - began)) : RETRY_MS);
    }
  }

  show(state, isUp, nowMs) {
    this.showVeil(state.camera, isUp);
    this.showVerdict(state.last, nowMs, isUp);
    this.showBarrier(isUp ? state.barrier : "UNKNOWN");
    this.showCounters(state);
    const { p50, p99 } = state.frame_to_release_ms;
    const fps = isUp && state.camera ? state.camera.fps.toFixed(0) : "–";
    const stage = isUp && state.camera?.stage ? ` · ${state.camera.stage}` : "";
    put(this.find(".pace"), `${fps} fps${stage} · 画面到放行 frame to release p50 ${p50 ?? "–"} · p99 ${p99 ?? "–"} ms`);
  }

  showVeil(camera, isUp) {
    const problem = camera?.problem ?? "";
    const advice = camera?.do_zh ? [camera.do_zh, camera.do_en] : ["摄像头无画面", `No picture: ${problem}`];
    const [zh, en] = isUp ? advice : ["正在重启", "Restarting"];
    this.find(".veil").hidden = isUp && !problem;
    put(this.find(".veil b"), zh);
    put(this.find(".veil span"), en);
  }

  showVerdict(last, nowMs, isUp) {
    const panel = this.find(".verdict");
    panel.dataset.verdict = last ? last.verdict : "NONE";
    panel.classList.toggle("past", Boolean(last) && !(isUp && nowMs - last.at_ms < FRESH_MS));
    const [zh, en] = VERDICTS[panel.dataset.verdict];
    put(this.find(".kind > b"), zh);
    put(this.find(".kind > span"), en);
    put(this.find(".words .zh"), last ? last.zh : "请出示入园码");
    put(this.find(".words .en"), last ? last.en : "Please show your entry code");
    put(this.find(".staff-zh"), last ? last.staff_zh : "");
    put(this.find(".staff-en"), last ? last.staff_en : "");
    this.find(".record").hidden = !last;
    put(this.find(".record b"), last ? last.record : "");
  }

  showBarrier(position) {
    const [zh, en] = BARRIER[position];
    this.find(".state").dataset.position = position;
    put(this.find(".position b"), zh);
    put(this.find(".position span"), en);
  }

  showCounters(state) {
    const counts = Object.entries(state.reasons).sort((a, b) => admits(b[0]) - admits(a[0]) || b[1] - a[1]);
    const admitted = counts.reduce((sum, [reason, count]) => sum + (admits(reason) ? count : 0), 0);
    put(this.find(".admitted"), number(admitted));
    put(this.find(".passed"), number(state.passed));
    put(this.find(".abandoned"), number(state.abandoned));
    const wanted = JSON.stringify(counts);
    const list = this.find(".reasons");
    if (list.dataset.shown === wanted) return;
    list.dataset.shown = wanted;
    list.replaceChildren(...counts.map(counter));
  }
}

function counter([reason, count]) {
  const [zh, en] = REASONS[reason] ?? [reason, ""];
  const item = document.createElement("li");
  const english = document.createElement("i");
  const total = document.createElement("b");
  english.lang = "en";
  english.textContent = en;
  total.textContent = number(count);
  item.className = admits(reason) ? "good" : "";
  item.append(zh, english, total);
  return item;
}

async function fetchPicture(lane) {
  try {
    const response = await fetch(`/api/lanes/${encodeURIComponent(lane)}/picture`);
    return response.status === 200 ? await createImageBitmap(await response.blob()) : null;
  } catch {
    return null; // the server or the box is away; the last picture stays
  }
}

// The network ---------------------------------------------------------------------------------------------------------

let agreed = { at: -Infinity, number: 0 };

function accord(state) {
  const behind = Math.max(0, state.ledger.box - (state.ledger.centre ?? 0));
  const down = state.boxes.filter((box) => !box.said).map((box) => box.id);
  if (down.length) return ["wait", `${down.join("、")} 正在重启`, `${down.join(", ")} restarting`];
  if (state.network.is_cut) return ["cut", "中心已断，闸机照常", "Centre cut; the gates go on"];
  if (state.ledger.agree) agreed = { at: performance.now(), number: state.ledger.box };
  if (performance.now() - agreed.at < SETTLED_MS) return ["agree", "双方一致", "Both sides agree"];
  return ["wait", `正在补传 ${behind} 条`, `Catching up: ${behind} to go`];
}

function showNetwork(state) {
  const [kind, zh, en] = accord(state);
  const { is_cut, is_site_cut } = state.network;
  byId("accord").dataset.kind = kind;
  put(byId("accord-zh"), zh);
  put(byId("accord-en"), en);
  // What was written since the last agreement is on its way; it is shown when it has arrived, or when it does not.
  const ledger = kind === "agree" ? { box: agreed.number, centre: agreed.number } : state.ledger;
  put(byId("ledger-box"), number(ledger.box));
  put(byId("ledger-centre"), number(ledger.centre));
  put(byId("ledger-sign"), ledger.box === ledger.centre ? "=" : "≠");
  const waiting = state.boxes.map((box) => box.said?.backlog ?? null);
  put(byId("backlog"), waiting.includes(null) ? "–" : number(waiting.reduce((a, b) => a + b, 0)));
  const [centre, site] = [is_cut ? "断 cut" : "通 up", is_site_cut ? "断 cut" : "通 up"];
  put(byId("plan-label"), `中心链路 centre: ${centre}; 邻箱链路 site: ${site}`);
  for (const box of state.boxes) {
    byId(`end-${box.id}`).classList.toggle("is-down", !box.said);
    byId(`link-${box.id}`).classList.toggle("is-cut", is_cut);
    allow(`kill-${box.id}`, Boolean(box.said));
  }
  byId("link-site").classList.toggle("is-cut", is_site_cut);
  allow("cut", !is_cut);
  allow("restore", is_cut);
  allow("cut-site", !is_site_cut);
  allow("restore-site", is_site_cut);
  showChart(state.history);
}

function showChart(history) {
  const most = Math.max(CHART.least, ...history.map(([, backlog]) => backlog ?? 0)) * 1.15;
  const x = (age) => CHART.width * (1 - age / CHART.seconds);
  const y = (backlog) => CHART.height * (1 - backlog / most) + 3;
  let curve = "";
  let area = "";
  let run = [];
  const close = () => {
    if (run.length > 1) {
      const points = run.map(([age, backlog]) => `${x(age).toFixed(1)} ${y(backlog).toFixed(1)}`).join("L");
      curve += `M${points}`;
      area += `M${x(run[0][0]).toFixed(1)} 120L${points}L${x(run.at(-1)[0]).toFixed(1)} 120Z`;
    }
    run = [];
  };
  for (const sample of history) {
    if (sample[1] === null) close(); // the box was down: a gap, not a guess
    else run.push(sample);
  }
  close();
  byId("curve").setAttribute("d", curve);
  byId("area").setAttribute("d", area);
  byId("cuts").replaceChildren(...cutBands(history).map(([from, to]) => band(x(from), x(to))));
}

function cutBands(history) {
  const bands = [];
  history.forEach(([age, , isCut], at) => {
    if (!isCut) return;
    const until = history[at + 1]?.[0] ?? 0;
    if (history[at - 1]?.[2]) bands.at(-1)[1] = until;
    else bands.push([age, until]);
  });
  return bands;
}

function band(left, right) {
  const rect = document.createElementNS(SVG, "rect");
  const shape = { x: left, y: 0, width: Math.max(1, right - left), height: 120, fill: "url(#hatch)" };
  for (const [name, value] of Object.entries(shape)) rect.setAttribute(name, value);
  return rect;
}

// The buttons ---------------------------------------------------------------------------------------------------------

// A button that cannot be used now keeps its place in the tab order.
function allow(id, isAllowed) {
  byId(id).setAttribute("aria-disabled", String(!isAllowed));
}

const ACTS = {
  cut: "cut/centre",
  restore: "restore/centre",
  "cut-site": "cut/site",
  "restore-site": "restore/site",
  "kill-B1": "kill/B1",
  "kill-B2": "kill/B2",
};
for (const [id, path] of Object.entries(ACTS)) {
  byId(id).addEventListener("click", async () => {
    if (byId(id).getAttribute("aria-disabled") === "true") return;
    await fetch(`/api/${path}`, { method: "POST", headers: { "X-Scenic-Gate": "live-page" } });
    await refresh();
  });
}

// Box and centre ------------------------------------------------------------------------------------------------------

function age(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} 秒前 s ago`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} 分钟前 min ago` : `${Math.round(seconds / 3600)} 小时前 h ago`;
}

const LINKS = { true: ["up", "在线 online"], false: ["down", "脱机 offline"], undefined: ["none", "重启中 restarting"] };

class BoxCard {
  constructor(id) {
    this.element = byId("box-template").content.cloneNode(true).firstElementChild;
    this.element.id = `box-${id}`;
    byId("boxes").append(this.element);
  }

  put(name, text) {
    put(this.element.querySelector(`.${name}`), text);
  }

  showLink(name, isUp) {
    const [link, words] = LINKS[isUp];
    this.element.querySelector(`.${name}`).dataset.link = link;
    this.put(name, words);
  }

  show({ said, process, id }) {
    this.showLink("link-centre", said?.link_up);
    this.showLink("link-site", said?.site_link_up);
    this.put("box-pid", process.pid ?? "–");
    this.put("box-starts", `第 ${process.starts} 次启动 start no. ${process.starts}`);
    this.put("problems", said ? said.problems.join(" · ") : "");
    this.put("box-backlog", said ? number(said.backlog) : "–");
    this.put("box-name", said ? `${id} · ${said.site_id}` : id);
    if (!said) return;
    this.put("box-list", said.list_version || "–");
    this.put("box-list-age", said.list_version ? age(said.list_age_s) : "");
    const [neighbour] = said.neighbours;
    if (!neighbour) return;
    const isHeard = said.site_link_up && neighbour.silent_s !== null && neighbour.silent_s < 5;
    const behind = neighbour.behind ? `缺 ${neighbour.behind} behind` : "已同步 in step";
    this.put("box-behind", `${neighbour.box_id} ${isHeard ? behind : "听不到 not heard"}`);
  }
}

function showCentre(centre) {
  if (!centre) {
    put(byId("centre-seen"), "无法访问 not answering");
    return;
  }
  put(byId("site-zh"), centre.site.zh);
  put(byId("site-en"), centre.site.en);
  const online = Object.values(centre.online).filter(Boolean).length;
  put(byId("centre-seen"), `${online} / ${Object.keys(centre.online).length} 台在线 boxes online`);
  put(byId("centre-events"), number(centre.events_received));
  put(byId("centre-admitted"), number(centre.admitted));
  put(byId("centre-passages"), number(centre.passages));
  put(byId("centre-refused"), number(centre.refused));
  put(byId("centre-conflicts"), number(centre.conflicts));
  put(byId("centre-cost"), centre.conflicts ? `¥${(centre.conflicts_fen / 100).toFixed(2)}` : "");
  put(byId("centre-charges"), number(centre.charges));
  put(byId("centre-money"), `¥${(centre.charges_fen / 100).toFixed(2)}`);
}

// All of it -----------------------------------------------------------------------------------------------------------

const lanes = new Map();
const boxes = new Map();

function showConflicts(conflicts) {
  const lines = conflicts.map(({ gates, cost_fen }) => {
    const places = gates.map(({ box_id, lane_id, at_ms }) => `${box_id} 通道 lane ${lane_id} ${clock(at_ms)}`);
    return `${places.join(" ＋ ")} · ¥${(cost_fen / 100).toFixed(2)}`;
  });
  const list = byId("conflicts");
  if (list.dataset.shown === lines.join()) return;
  list.dataset.shown = lines.join();
  list.replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
}

const clock = (ms) => new Date(ms).toLocaleTimeString("zh-CN", { hour12: false, timeZone: "Asia/Shanghai" });

function show(state) {
  for (const lane of state.lanes) {
    if (!lanes.has(lane.id)) lanes.set(lane.id, new Lane(lane.id, lane.box_id, lane.id === state.camera_lane));
    lanes.get(lane.id).show(lane, lane.is_up, state.at_ms);
  }
  for (const box of state.boxes) {
    if (!boxes.has(box.id)) boxes.set(box.id, new BoxCard(box.id));
    boxes.get(box.id).show(box);
  }
  showNetwork(state);
  showCentre(state.centre);
  showConflicts(state.conflicts);
}

async function refresh() {
  try {
    show(await (await fetch("/api/state")).json());
    document.body.classList.remove("lost");
  } catch {
    document.body.classList.add("lost");
    byId("accord").dataset.kind = "wait";
    put(byId("accord-zh"), "演示程序已停止");
    put(byId("accord-en"), "The demo has stopped");
  }
}

for (;;) {
  await refresh();
  await wait(STATE_EVERY_MS);
}

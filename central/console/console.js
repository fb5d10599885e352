// Shows what the centre knows. Everything from the server is set as text, never as markup.

const POLL_MS = 1000;
const REST_TIMES = 9; // a centre that is slow to answer is left in peace for so many times as long
const ROWS = 12;

const OUTCOMES = {
  passed: ["已过闸", "passed", "good-text"],
  abandoned: ["未通过", "not entered", ""],
  tailgated: ["尾随", "tailgated", "bad-text"],
  forced: ["强行", "forced", "bad-text"],
  unknown: ["未知", "unknown", "warn-text"],
  released: ["已释放", "released", ""],
};
const KINDS = {
  ticket_overused: ["门票超次使用", "ticket used too often"],
  used_and_refunded: ["已用又退票", "used and refunded"],
  free_visit_overused: ["免票超次", "free visit used too often"],
  credit_exceeded: ["超出信用额度", "beyond the credit line"],
};
const NOTES = {
  fork: ["账本分叉", "ledger forked"],
  wrong_clock: ["时钟有误", "wrong clock"],
  ledger: ["无法解读的记录", "entries that cannot be read"],
  diary: ["无法解读的日志", "diary entries that cannot be read"],
  tailgated: ["尾随", "tailgated"],
  forced: ["强行通过", "forced"],
};

const byId = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("zh-CN");
const money = (fen) => `¥${(fen / 100).toLocaleString("zh-CN", { minimumFractionDigits: 2 })}`;
const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);
const clock = (ms) => new Date(ms).toLocaleTimeString("zh-CN", { hour12: false, timeZone });

let timeZone; // the sites'
let names = {};
let shown = "";

class Unauthorized extends Error {}

async function get(path) {
  const token = sessionStorage.getItem("token");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers, cache: "no-store" });
  if (response.status === 401) throw new Unauthorized();
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

function cell(text, sub = "", className = "") {
  const td = document.createElement("td");
  if (className) td.className = className;
  td.append(text);
  if (sub) {
    const span = document.createElement("span");
    span.className = "sub";
    span.append(sub);
    td.append(span);
  }
  return td;
}

function fill(id, rows, columns) {
  const body = byId(id);
  body.replaceChildren(
    ...rows.map((cells) => {
      const tr = document.createElement("tr");
      tr.append(...cells);
      return tr;
    }),
  );
  if (!rows.length) {
    const td = cell("暂无 none", "", "empty");
    td.colSpan = columns;
    const tr = document.createElement("tr");
    tr.append(td);
    body.append(tr);
  }
}

function showTotals(found) {
  const values = {
    sold: found.tickets.sold,
    imported: found.tickets.imported,
    refunded: found.tickets.refunded,
    admitted: sum(found.totals.admitted),
    passages: found.totals.passages,
    refused: sum(found.totals.refused),
    conflicts: found.conflicts.count,
    charges: found.charges.count,
  };
  for (const [id, value] of Object.entries(values)) byId(id).textContent = number(value);
  byId("conflict-cost").textContent = found.conflicts.count ? money(found.conflicts.fen) : "";
  byId("charge-sum").textContent = found.charges.count ? money(found.charges.fen) : "";
  byId("conflict-tile").classList.toggle("alert", found.conflicts.count > 0);
}

function notes(box) {
  const counted = { ...box.incidents, ...box.set_aside };
  const told = Object.entries(counted).map(([kind, count]) => {
    const [zh, en] = NOTES[kind] ?? [kind, kind];
    return `${zh} ${en} ${count}`;
  });
  return [...(box.health?.problems ?? []), ...told].join("; ");
}

function presenceOf(box) {
  if (box.barred_s !== null) return ["已停用", "barred", "empty"];
  return box.online ? ["在线", "online", "good-text"] : ["离线", "offline", "bad-text"];
}

function boxRow(box) {
  const [zh, en] = names[box.site_id] ?? [box.site_id, ""];
  const presence = presenceOf(box);
  const health = box.health;
  const backlog = health ? health.backlog : 0;
  const lanes = Object.entries(health?.lanes ?? {}).map(([lane, state]) => `${lane}: ${state}`);
  const waiting = box.events_received - box.events_folded;
  return [
    cell(zh, en),
    cell(box.box_id),
    cell(presence[0], box.last_seen_ms ? `${presence[1]} · ${clock(box.last_seen_ms)}` : presence[1], presence[2]),
    cell(lanes.join(", ") || "–"),
    cell(health ? String(health.list_version) : "–", health ? `${health.list_age_s} s` : ""),
    cell(health ? number(backlog) : "–", "", backlog ? "n warn-text" : "n"),
    cell(number(box.events_received), waiting ? `待处理 to fold ${number(waiting)}` : "", "n"),
    cell(number(sum(box.admitted)), "", "n"),
    cell(number(sum(box.refused)), "", "n"),
    cell(notes(box) || "–", "", notes(box) ? "warn-text" : "empty"),
  ];
}

function showSummary(found) {
  timeZone = found.timezone;
  names = Object.fromEntries(found.sites.map((site) => [site.site_id, [site.name_zh, site.name_en]]));
  showTotals(found);
  fill("boxes", found.boxes.map(boxRow), 10);
  byId("rejected").hidden = !found.rejections.length;
  fill(
    "rejections",
    found.rejections.map((row) => [
      cell(row.topic, "", "key"),
      cell(row.problem, row.detail),
      cell(number(row.count), "", "n"),
      cell(clock(row.last_ms), "", "time"),
    ]),
    4,
  );
}

function admissionRow(row) {
  const told = row.outcomes.map((outcome) => OUTCOMES[outcome] ?? [outcome, outcome, ""]);
  const open = ["进行中", "under way", "warn-text"];
  const [zh, en, className] = told.length ? told[told.length - 1] : open;
  const ended = told.find((outcome) => outcome[1] === "passed") ?? [zh, en, className];
  return [
    cell(clock(row.at_ms), "", "time"),
    cell(row.lane_id, row.box_id),
    cell(row.staff_zh, row.staff_en),
    cell(ended[0], ended[1], ended[2]),
    cell(row.charged_fen ? money(row.charged_fen) : "", "", "n"),
  ];
}

function refusalRow(row) {
  return [
    cell(clock(row.at_ms), "", "time"),
    cell(row.lane_id, row.box_id),
    cell(row.staff_zh, `${row.staff_en} · ${row.reason}`, row.verdict === "REFER" ? "warn-text" : ""),
  ];
}

function place(use) {
  if (!use) return cell("–", "", "empty");
  const [zh, en] = names[use.site_id] ?? [use.site_id, ""];
  return cell(`${clock(use.at_ms)} · ${use.box_id}/${use.lane_id}`, `${zh} ${en}`);
}

function conflictRow(row) {
  const [zh, en] = KINDS[row.kind] ?? [row.kind, ""];
  return [
    cell(zh, en),
    cell(row.key.slice(0, 12), "", "key"),
    place(row.first),
    place(row.excess),
    cell(money(row.cost_fen), "", "n"),
  ];
}

async function showRows() {
  const [admissions, refusals, conflicts] = await Promise.all([
    get(`/v1/admissions?limit=${ROWS}`),
    get(`/v1/refusals?limit=${ROWS}`),
    get(`/v1/conflicts?limit=${ROWS}`),
  ]);
  fill("admissions", admissions.admissions.map(admissionRow), 5);
  fill("refusals", refusals.refusals.map(refusalRow), 3);
  fill("conflict-rows", conflicts.conflicts.map(conflictRow), 5);
}

async function refresh() {
  const found = await get("/v1/summary?since=today");
  showSummary(found);
  const state = JSON.stringify([found.totals, found.conflicts, found.charges]);
  if (state !== shown) {
    await showRows();
    shown = state;
  }
  return found;
}

function say(text, className) {
  byId("state").textContent = text;
  byId("state").className = `state ${className}`;
}

async function poll() {
  const began = performance.now();
  try {
    const found = await refresh();
    say(`实时 live · ${clock(found.at_ms)}`, "live");
    byId("login").hidden = true;
    byId("main").hidden = false;
  } catch (error) {
    if (error instanceof Unauthorized) {
      byId("login").hidden = false;
      byId("main").hidden = true;
      say("需要令牌 a token is needed", "lost");
      return;
    }
    say("中心平台没有应答，正在重试 no answer, trying again", "lost");
  }
  setTimeout(poll, Math.max(POLL_MS, REST_TIMES * (performance.now() - began)));
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", byId("token").value);
  poll();
});

poll();

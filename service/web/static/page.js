// Draws the figures of a page, keeps the page up to date, and handles clicks and forms.
"use strict";

const POLL_MS = 5000;
const MIN_REFRESH_MS = 1000;
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 640px)");

// ---- Figures: the server makes them (service/reports/plot.py), and the page styles them. ----

const drawn = new Map();

function drawFigures({ force = false } = {}) {
  for (const chart of document.querySelectorAll("[data-figure]")) draw(chart, force);
}

function draw(chart, force) {
  const text = document.getElementById(chart.dataset.figure)?.textContent ?? "";
  chart.hidden = !text || text === "null";
  if (!window.Plotly || chart.hidden || (!force && drawn.get(chart.id) === text)) return;
  drawn.set(chart.id, text);
  const { data, layout } = JSON.parse(text);
  chart.querySelector(".loading")?.remove();
  const config = { displaylogo: false, responsive: true, showSendToCloud: false, displayModeBar: false };
  Plotly.react(chart, data.map(styleTrace), styleLayout(layout, data), config);
}

/** Break the long name of a trace on a narrow page, and lighten its dark colours on a dark one. */
function styleTrace(trace) {
  if (narrow.matches && trace.name) trace = { ...trace, name: trace.name.replace(/(.{28,34}) /g, "$1<br>") };
  if (!dark.matches) return trace;
  const lighten = (color) => color?.replace(/#000000/g, "#e6e9ee").replace(/rgba\(0,0,0,/g, "rgba(230,233,238,").replace(/#0072B2/g, "#3ea6e8");
  return { ...trace, fillcolor: lighten(trace.fillcolor), line: { ...trace.line, color: lighten(trace.line?.color) } };
}

/** Adapt a layout to the colours and the width of the page, which has the title above the figure. */
function styleLayout(layout, data) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const styleAxis = (axis) => ({
    ...axis,
    title: { ...axis.title, font: { size: 13, color: color("--muted") }, standoff: 10 },
    gridcolor: color("--border"),
    linecolor: color("--border-strong"),
    automargin: true,
  });
  const isShort = data.filter((trace) => trace.showlegend !== false).length <= 4;
  const beside = { x: 1.02, y: 1, font: { size: 12 } };
  const above = { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } };
  return {
    ...layout,
    title: undefined,
    uirevision: layout.yaxis.type ?? "linear",
    margin: { t: 20, r: 20, b: 50, l: 60 },
    font: { color: color("--text"), family: getComputedStyle(document.body).fontFamily, size: 13 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: color("--surface"), bordercolor: color("--border"), font: { color: color("--text") } },
    xaxis: { ...styleAxis(layout.xaxis), tickformat: "d", rangemode: "normal" },
    yaxis: styleAxis(layout.yaxis),
    legend: narrow.matches || isShort ? above : beside,
    showlegend: !narrow.matches || isShort,
  };
}

/** Download a figure as the server made it, with its title and on white. */
async function savePng(name) {
  const { data, layout } = JSON.parse(document.getElementById(`${name}-figure`).textContent);
  const hidden = document.createElement("div");
  await Plotly.newPlot(hidden, data, { ...layout, width: 1100, height: 650, paper_bgcolor: "white" });
  await Plotly.downloadImage(hidden, { format: "png", scale: 2, width: 1100, height: 650, filename: "comparison" });
  Plotly.purge(hidden);
}

// ---- Refresh: the page fetches itself again, and replaces the regions that changed. ----

let refreshing = Promise.resolve();

/** Refresh after the refresh that is under way: an older response must not come last. */
function refresh(address = location.href) {
  refreshing = refreshing.catch(() => {}).then(() => fetchRegions(address));
  return refreshing;
}

async function fetchRegions(address) {
  const response = await fetch(address, { headers: { accept: "text/html" } });
  if (!response.ok) throw new Error(response.statusText);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const old of document.querySelectorAll("[data-region]")) {
    const fresh = page.getElementById(old.id);
    if (fresh && fresh.innerHTML !== old.innerHTML) replaceRegion(old, fresh);
  }
  drawFigures();
  if (!page.body.dataset.stream) stopUpdates();
}

/** Replace the content of a region, but keep what is open, the scroll position and the focus. */
function replaceRegion(old, fresh) {
  const hasFocus = old.contains(document.activeElement);
  if (hasFocus && document.activeElement.matches("input, select, textarea")) return;
  const open = [...old.querySelectorAll("details[open]")].map((each) => each.id);
  const focused = hasFocus ? listFocusable(old).indexOf(document.activeElement) : -1;
  const scrolled = [...old.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  old.replaceChildren(...fresh.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  old.querySelectorAll(".scroll").forEach((each, index) => { each.scrollLeft = scrolled[index] ?? 0; });
  if (focused >= 0) listFocusable(old)[focused]?.focus({ preventScroll: true });
}

const listFocusable = (region) => [...region.querySelectorAll("a, button, summary, [tabindex]")];

// ---- Updates: the server's events say when to refresh; without them the page polls. ----

let source = null;
let polling = null;
let refreshedAt = 0;
let timer = null;

function connect() {
  if (!document.body.dataset.stream) return;
  source = new EventSource(document.body.dataset.stream);
  source.addEventListener("hello", () => { stopPolling(); showStatus("live", "Live"); });
  source.addEventListener("change", refreshSoon);
  source.addEventListener("error", startPolling);
}

function refreshSoon() {
  timer ??= setTimeout(() => {
    timer = null;
    refreshedAt = Date.now();
    refresh().catch(showLost);
  }, Math.max(0, refreshedAt + MIN_REFRESH_MS - Date.now()));
}

function startPolling() {
  if (polling) return;
  showPolling();
  polling = setInterval(() => {
    refresh().then(showPolling).catch(showLost);
    if (source?.readyState === EventSource.CLOSED) connect();
  }, POLL_MS);
}

function stopPolling() {
  clearInterval(polling);
  polling = null;
}

/** Stop when the page shows nothing that can still change. */
function stopUpdates() {
  source?.close();
  stopPolling();
  showStatus("off", "This page does not update by itself.");
}

const showPolling = () => showStatus("polling", "Updating every 5 seconds");
const showLost = () => showStatus("lost", "The server does not answer. Trying again …");

function showStatus(state, text) {
  const status = document.getElementById("update-status");
  if (status.dataset.state !== state) { status.dataset.state = state; status.textContent = text; }
}

// ---- Clicks and forms. ----

function listen() {
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const copyButton = event.target.closest("[data-copy]");
    if (copyButton) copy(copyButton);
    const pngButton = event.target.closest("[data-png]");
    if (pngButton) savePng(pngButton.dataset.png);
  });
  for (const form of document.querySelectorAll("form[data-auto]")) {
    form.addEventListener("change", (event) => {
      if (event.target.matches("select, [type=checkbox]")) applyForm(form);
    });
  }
  dark.addEventListener("change", () => drawFigures({ force: true }));
  narrow.addEventListener("change", () => drawFigures({ force: true }));
}

/** Show what a form asks for, and put it into the address, which people share. */
async function applyForm(form) {
  const query = [...new FormData(form)].filter(([, value]) => value !== "");
  const address = `${form.getAttribute("action")}?${new URLSearchParams(query)}`;
  history.replaceState(null, "", address);
  await refresh(address).catch(() => location.assign(address));
}

async function copy(button) {
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

drawFigures();
listen();
connect();

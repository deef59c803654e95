// Draws the figures of a page, keeps the page up to date, and handles clicks and forms.
"use strict";

const POLL_MS = 5000;
const MIN_REFRESH_MS = 1000;
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 640px)");
const touch = matchMedia("(pointer: coarse)");
/** A chart of less than this width has a long legend below, not beside. */
const SLIM = 700;

// ---- Figures: the server makes them (service/reports/plots/), and the page styles them. ----

const drawn = new Map();
/** By chart, how often its zoom was reset, which makes plotly forget it. */
const resets = new Map();
/** By chart, the line and the point that the arrow keys are at. */
const steps = new Map();

function drawFigures({ force = false } = {}) {
  for (const chart of document.querySelectorAll("[data-figure]")) draw(chart, force);
}

function draw(chart, force) {
  const text = document.getElementById(chart.dataset.figure)?.textContent ?? "";
  chart.hidden = !text || text === "null";
  if (!window.Plotly || chart.hidden || (!force && drawn.get(chart.id) === text)) return;
  const [isNew, before] = [!drawn.has(chart.id), chart.layout?.uirevision];
  drawn.set(chart.id, text);
  const { data, layout } = JSON.parse(dark.matches ? lighten(text) : text);
  chart.querySelector(".loading")?.remove();
  const styled = styleLayout(layout, data, chart);
  chart.style.height = styled.height ? `${styled.height}px` : "";
  const config = { displaylogo: false, responsive: true, showSendToCloud: false, displayModeBar: false, doubleClick: false };
  Plotly.react(chart, data.map(styleTrace), styled, config);
  if (isNew) listenToChart(chart);
  else if (before !== styled.uirevision) setZoom(chart, "");
}

/** Lighten the dark colours of a figure. */
function lighten(text) {
  return text.replace(/#000000/g, "#e6e9ee").replace(/rgba\(0,0,0,/g, "rgba(230,233,238,").replace(/#0072B2/g, "#3ea6e8").replace(/rgba\(0,114,178,/g, "rgba(62,166,232,");
}

/** Break the long name of a trace on a narrow page. */
function styleTrace(trace) {
  return narrow.matches && trace.name ? { ...trace, name: trace.name.replace(/(.{28,34}) /g, "$1<br>") } : trace;
}

/** Adapt a layout to the colours and the width of the page, which has the title above the figure. */
function styleLayout(layout, data, chart) {
  const style = getComputedStyle(document.documentElement);
  const font = getComputedStyle(document.body).fontFamily;
  const isSlim = chart.clientWidth < SLIM;
  const color = (name) => style.getPropertyValue(name).trim();
  const styleAxis = (axis) => ({
    ...axis,
    title: { ...axis.title, font: { size: 13, color: color("--muted") }, standoff: 10 },
    tickfont: { size: isSlim ? 11.5 : 13 },
    gridcolor: color("--border"),
    linecolor: color("--border-strong"),
    zerolinecolor: color("--border-strong"),
    automargin: true,
  });
  const names = data.filter((trace) => trace.showlegend).length;
  const isShort = names <= 4;
  const above = { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } };
  const beside = { x: 1.02, y: 1, font: { size: 12 } };
  const below = { x: 0, y: -0.2, yanchor: "top", font: { size: 12 } };
  return {
    ...layout,
    title: undefined,
    uirevision: [layout.yaxis.title.text, layout.yaxis.type, resets.get(chart.id)].join(),
    dragmode: findDragMode(chart),
    margin: { t: 20, r: 20, b: 50, l: 60 },
    font: { color: color("--text"), family: font, size: 13 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { ...layout.hoverlabel, bgcolor: color("--surface"), bordercolor: color("--border-strong"), font: { color: color("--text"), family: font, size: 13 } },
    xaxis: styleAxis(layout.xaxis),
    yaxis: styleAxis(layout.yaxis),
    height: layout.height ?? (isSlim && !isShort ? 350 + 20 * names : undefined),
    legend: isShort ? above : isSlim ? below : beside,
    showlegend: names > 0,
  };
}

/** Download a figure as the server made it, with its title and on white. */
async function savePng(name) {
  const { data, layout } = JSON.parse(document.getElementById(`${name}-figure`).textContent);
  const hidden = document.createElement("div");
  const size = { width: 1100, height: layout.height ?? 650 };
  await Plotly.newPlot(hidden, data, { ...layout, ...size, paper_bgcolor: "white" });
  await Plotly.downloadImage(hidden, { format: "png", scale: 2, ...size, filename: name });
  Plotly.purge(hidden);
}

// ---- Zoom: dragging zooms; fingers scroll the page, until a button lets them zoom once. ----

function listenToChart(chart) {
  chart.on("plotly_relayout", (changes) => {
    if (Object.keys(changes).some((name) => /^[xy]axis\.range/.test(name))) setZoom(chart, "zoomed");
  });
  chart.on("plotly_doubleclick", () => resetZoom(chart));
  chart.addEventListener("keydown", (event) => stepThrough(chart, event));
  chart.addEventListener("blur", () => Plotly.Fx.unhover(chart));
  setZoom(chart, "");
}

/** Note whether a chart is zoomed, or about to be, and say what its button does next. */
function setZoom(chart, state) {
  chart.dataset.zoom = state;
  const button = document.querySelector(`[data-zooms="${chart.id}"]`);
  button.hidden = !touch.matches && !state;
  button.textContent = { "": "Zoom", armed: "Drag over the chart", zoomed: "Reset zoom" }[state];
  const mode = findDragMode(chart);
  if (chart.layout.dragmode !== mode) Plotly.relayout(chart, { dragmode: mode });
}

const findDragMode = (chart) => (touch.matches && chart.dataset.zoom !== "armed" ? false : "zoom");

function resetZoom(chart) {
  resets.set(chart.id, (resets.get(chart.id) ?? 0) + 1);
  draw(chart, true);
}

function pressZoom(chart) {
  if (chart.dataset.zoom === "zoomed") resetZoom(chart);
  else setZoom(chart, chart.dataset.zoom ? "" : "armed");
}

/** Move the tooltip by the arrow keys: to the next point, or up and down to another line. */
function stepThrough(chart, event) {
  const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (event.key === "Escape") Plotly.Fx.unhover(chart);
  if (!move) return;
  event.preventDefault();
  const lines = chart.data.map((trace, number) => ({ trace, number })).filter(({ trace }) => trace.hoverinfo !== "skip" && trace.visible !== "legendonly");
  if (!lines.length) return;
  const [line, point] = steps.get(chart.id) ?? [0, -1];
  const nextLine = (line + move[0] + lines.length) % lines.length;
  const { trace, number } = lines[nextLine];
  const nextPoint = Math.max(0, Math.min(point + move[1], trace.x.length - 1));
  steps.set(chart.id, [nextLine, nextPoint]);
  Plotly.Fx.hover(chart, [{ curveNumber: number, pointNumber: nextPoint }]);
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
    const zoomButton = event.target.closest("[data-zooms]");
    if (zoomButton) pressZoom(document.getElementById(zoomButton.dataset.zooms));
    const heading = event.target.closest(".comparison th a");
    if (heading && !event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); sortBy(heading.href); }
  });
  for (const form of document.querySelectorAll("form[data-auto]")) {
    form.addEventListener("change", (event) => {
      if (event.target.matches("select, [type=checkbox]")) applyForm(form);
    });
  }
  dark.addEventListener("change", () => drawFigures({ force: true }));
  narrow.addEventListener("change", () => drawFigures({ force: true }));
}

/** Sort the table where it stands; the address holds the order, and the form, whose other choices keep it. */
async function sortBy(address) {
  document.querySelector("form [name=sort]").value = new URL(address).searchParams.get("sort");
  await show(address);
}

/** Show what a form asks for, and put it into the address, which people share. */
async function applyForm(form) {
  const query = [...new FormData(form)].filter(([, value]) => value !== "");
  const address = `${form.getAttribute("action")}?${new URLSearchParams(query)}`;
  await show(address);
}

async function show(address) {
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

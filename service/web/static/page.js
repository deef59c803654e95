// What a page does beyond showing: it draws its figures, and updates itself.
"use strict";

const POLL_MS = 5000;
const LEAST_MS = 1000;
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 640px)");

// ---- Figures: the server draws them (service/plot.py), the page only fits them to itself. ----

const drawn = new Map();

function drawFigures() {
  for (const place of document.querySelectorAll("[data-figure]")) draw(place);
}

function draw(place, anew = false) {
  const text = document.getElementById(place.dataset.figure)?.textContent ?? "";
  place.hidden = !text || text === "null";
  if (!window.Plotly || place.hidden || (!anew && drawn.get(place.id) === text)) return;
  drawn.set(place.id, text);
  const { data, layout } = JSON.parse(text);
  place.querySelector(".loading")?.remove();
  const config = { displaylogo: false, responsive: true, showSendToCloud: false, displayModeBar: false };
  Plotly.react(place, data.map(dress), fit(place, layout, data), config);
}

/** Make a trace readable on a narrow page, by short lines of its name, and on a dark one: black is the ink. */
function dress(trace) {
  if (narrow.matches && trace.name) trace = { ...trace, name: trace.name.replace(/(.{28,34}) /g, "$1<br>") };
  if (!dark.matches) return trace;
  const ink = (color) => color?.replace(/#000000/g, "#e6e9ee").replace(/rgba\(0,0,0,/g, "rgba(230,233,238,").replace(/#0072B2/g, "#3ea6e8");
  return { ...trace, fillcolor: ink(trace.fillcolor), line: { ...trace.line, color: ink(trace.line?.color) } };
}

/** Fit a layout to the page: its colours, its width; its title stands above the figure. */
function fit(place, layout, data) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = (own) => ({
    ...own,
    title: { ...own.title, font: { size: 13, color: color("--faint") }, standoff: 10 },
    gridcolor: color("--line"),
    linecolor: color("--edge"),
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
    font: { color: color("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: color("--sheet"), bordercolor: color("--line"), font: { color: color("--ink") } },
    xaxis: { ...axis(layout.xaxis), tickformat: "d", rangemode: "normal" },
    yaxis: axis(layout.yaxis),
    legend: narrow.matches || isShort ? above : beside,
    showlegend: !narrow.matches || isShort,
  };
}

/** Save a figure as the server drew it, title and all, on white. */
async function savePng(name) {
  const { data, layout } = JSON.parse(document.getElementById(`${name}-figure`).textContent);
  const hidden = document.createElement("div");
  await Plotly.newPlot(hidden, data, { ...layout, width: 1100, height: 650, paper_bgcolor: "white" });
  await Plotly.downloadImage(hidden, { format: "png", scale: 2, width: 1100, height: 650, filename: "comparison" });
  Plotly.purge(hidden);
}

// ---- Renewing: the page asks for itself anew, and takes over the regions that changed. ----

let renewing = Promise.resolve();

/** One after the other: an answer to an older question must not come last. */
function renew(address = location.href) {
  const renewed = renewing.catch(() => {}).then(() => takeOver(address));
  renewing = renewed;
  return renewed;
}

async function takeOver(address) {
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  if (!answer.ok) throw new Error(answer.statusText);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-region]")) {
    const fresh = page.getElementById(old.id);
    if (fresh && fresh.innerHTML !== old.innerHTML) replace(old, fresh);
  }
  drawFigures();
  if (!page.body.dataset.stream) settle();
}

/** Put new content into a region; what was open stays open, and the focus stays where it was. */
function replace(old, fresh) {
  if (old.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) return;
  const open = [...old.querySelectorAll("details[open]")].map((each) => each.id);
  const focused = old.contains(document.activeElement) ? focusables(old).indexOf(document.activeElement) : -1;
  const scrolled = [...old.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  old.replaceChildren(...fresh.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  old.querySelectorAll(".scroll").forEach((each, place) => { each.scrollLeft = scrolled[place] ?? 0; });
  if (focused >= 0) focusables(old)[focused]?.focus({ preventScroll: true });
}

const focusables = (region) => [...region.querySelectorAll("a, button, summary, [tabindex]")];

// ---- Living: one stream a page; where there is none, the page asks every few seconds. ----

let source = null;
let polling = null;
let renewedAt = 0;
let due = null;

function live() {
  if (!document.body.dataset.stream) return;
  source = new EventSource(document.body.dataset.stream);
  source.addEventListener("hello", () => { stopPolling(); say("live", "Live"); });
  source.addEventListener("change", soon);
  source.addEventListener("error", poll);
}

function soon() {
  due ??= setTimeout(async () => {
    due = null;
    renewedAt = Date.now();
    await renew().catch(() => say("lost", "The server does not answer. Trying again …"));
  }, Math.max(0, renewedAt + LEAST_MS - Date.now()));
}

function poll() {
  if (polling) return;
  say("asking", "Updating every 5 seconds");
  polling = setInterval(() => {
    renew().then(() => say("asking", "Updating every 5 seconds")).catch(() => say("lost", "The server does not answer. Trying again …"));
    if (source?.readyState === EventSource.CLOSED) { source.close(); live(); }
  }, POLL_MS);
}

function stopPolling() {
  clearInterval(polling);
  polling = null;
}

/** The page shows what can change no more. */
function settle() {
  source?.close();
  stopPolling();
  say("still", "This page does not update by itself.");
}

function say(state, text) {
  const place = document.getElementById("liveness");
  if (place.dataset.state !== state) { place.dataset.state = state; place.textContent = text; }
}

// ---- Hands: what people click and choose. ----

function listen() {
  document.addEventListener("submit", (event) => {
    const asked = event.target.dataset.confirm;
    if (asked && !confirm(asked)) event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const copier = event.target.closest("[data-copy]");
    if (copier) copy(copier);
    const saver = event.target.closest("[data-png]");
    if (saver) savePng(saver.dataset.png);
  });
  for (const form of document.querySelectorAll("form[data-auto]")) {
    form.addEventListener("change", (event) => {
      if (event.target.matches("select, [type=checkbox]")) choose(form);
    });
  }
  dark.addEventListener("change", redraw);
  narrow.addEventListener("change", redraw);
}

/** Show what a form asks for, and keep it in the address, which can be passed on. */
async function choose(form) {
  const said = [...new FormData(form)].filter(([, value]) => value !== "");
  const address = `${form.getAttribute("action")}?${new URLSearchParams(said)}`;
  history.replaceState(null, "", address);
  await renew(address).catch(() => location.assign(address));
}

async function copy(button) {
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

function redraw() {
  for (const place of document.querySelectorAll("[data-figure]")) draw(place, true);
}

drawFigures();
listen();
live();

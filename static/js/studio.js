// The composer: pictures by drop, paste and file with progress; the prompt's counter; Ctrl+Enter; the draft that stays.
const composer = () => document.getElementById("composer");

// --- Pictures: one XMLHttpRequest each, because fetch cannot tell how far an upload is ------------------------------
const IMAGE = /^image\/(jpeg|png|webp|gif|avif)$/;
const MOST_BYTES = 30_000_000;

function room(from) {
  const zone = from?.closest?.("[data-picture]");
  if (zone?.hasAttribute("data-room")) return zone;
  const zones = [...document.querySelectorAll("[data-picture]")];
  return zones.find((it) => it.hasAttribute("data-room")) ?? zones[0];
}

function say(zone, text, isBad = false) {
  const status = zone.querySelector("[data-upload-status]");
  if (!status) return;
  status.textContent = text;
  status.classList.toggle("error", isBad);
}

function bring(zone, extra, shown = "Fetching the picture") {
  isTouched = true;
  const form = composer();
  const data = new FormData();
  data.append("engine", form.elements.shown_engine.value);
  data.append("field", zone.dataset.picture);
  for (const kept of zone.querySelectorAll(`input[type=hidden][name="${CSS.escape(zone.dataset.picture)}"]`)) {
    data.append(kept.name, kept.value);
  }
  for (const [name, value] of Object.entries(extra)) data.append(name, value);
  const bar = zone.querySelector("progress");
  if (bar) bar.hidden = false;
  say(zone, `${shown} …`);
  const request = new XMLHttpRequest();
  request.open("POST", "/pictures/");
  request.setRequestHeader("X-CSRFToken", form.elements.csrfmiddlewaretoken.value);
  request.setRequestHeader("HX-Request", "true");
  request.upload.addEventListener("progress", (event) => {
    if (bar && event.lengthComputable) bar.value = (event.loaded / event.total) * 100;
  });
  request.addEventListener("load", () => {
    const isFragment = request.getResponseHeader("Content-Type")?.startsWith("text/html");
    if (isFragment && (request.status === 200 || request.status === 422)) replace(zone.id, request.responseText);
    else if (request.getResponseHeader("HX-Redirect")) location.assign(request.getResponseHeader("HX-Redirect"));
    else failed(zone, bar, `The picture could not be sent (${request.status}). Try again.`);
  });
  request.addEventListener("error", () => failed(zone, bar, "The connection broke. Try again."));
  request.send(data);
}

function failed(zone, bar, text) {
  if (bar) bar.hidden = true;
  say(zone, text, true);
}

function replace(id, html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const fresh = holder.content.firstElementChild;
  document.getElementById(id).replaceWith(fresh);
  htmx.process(fresh);
  fresh.querySelector("button, input:not([type=hidden])")?.focus({ preventScroll: true });
  save();
}

function takeFile(zone, file) {
  if (!zone || !file) return;
  if (file.type && !IMAGE.test(file.type)) return say(zone, `${file.name} is not a picture we take: JPG, PNG, WebP, GIF or AVIF.`, true);
  if (file.size > MOST_BYTES) return say(zone, `${file.name} is larger than 30 MB.`, true);
  bring(zone, { [`${zone.dataset.picture}-file`]: file }, `Uploading ${file.name}`);
}

document.addEventListener("change", (event) => {
  if (event.target.matches?.(".drop input[type=file]")) {
    const zone = room(event.target);
    takeFile(zone, event.target.files[0]);
    event.target.value = "";
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-upload]");
  if (!button) return;
  event.preventDefault();
  const zone = room(button);
  if (button.name === "sample") return bring(zone, { sample: zone.dataset.picture }, "Drawing the sample");
  const link = zone.querySelector("[data-link]");
  if (link.value.trim()) bring(zone, { [link.name]: link.value });
  else link.focus();
});

let depth = 0;
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragenter", (event) => {
  if (!hasFiles(event)) return;
  depth += 1;
  document.body.classList.add("is-dragging");
});
document.addEventListener("dragleave", (event) => {
  if (hasFiles(event) && --depth <= 0) document.body.classList.remove("is-dragging");
});
document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
document.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  depth = 0;
  document.body.classList.remove("is-dragging");
  takeFile(room(event.target), event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((it) => IMAGE.test(it.type));
  if (!file) return;
  event.preventDefault();
  takeFile(room(event.target), file);
});

// --- The prompt -----------------------------------------------------------------------------------------------------
const LONG_WORDS = 200;

function count() {
  for (const field of document.querySelectorAll("[data-counted]")) {
    const text = field.querySelector("textarea").value.trim();
    const words = text ? text.split(/\s+/).length : 0;
    const most = Number(field.querySelector("[data-count]").dataset.max) || 0;
    const chars = [...text].length;
    const counter = field.querySelector("[data-count]");
    counter.textContent = `${words} word${words === 1 ? "" : "s"} · ${chars.toLocaleString("en")}${most ? ` of ${most.toLocaleString("en")}` : ""} characters`;
    counter.classList.toggle("text-bad", most > 0 && chars > most);
    field.querySelector("[data-long]").hidden = words <= LONG_WORDS;
  }
}

document.addEventListener("input", (event) => {
  if (event.target.closest?.("[data-counted]")) count();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.closest?.("#composer")) {
    event.preventDefault();
    document.getElementById("generate").click();
  }
});

// The list of engines closes once one is chosen with the pointer; arrow keys may go on.
document.addEventListener("click", (event) => {
  if (event.target.matches?.(".engine-radio") && event.detail > 0) document.getElementById("engine").open = false;
});

// --- The draft: kept in this browser per person, given back when the page comes up empty ----------------------------
const key = `clipledger.draft.${document.body.dataset.user}`;
const PASSING = new Set(["csrfmiddlewaretoken", "form_token", "seen_credits", "kind"]);
let waiting = 0;
let isTouched = false;

function values() {
  const found = {};
  for (const [name, value] of new FormData(composer())) {
    if (typeof value !== "string" || PASSING.has(name) || name.endsWith("-link")) continue;
    (found[name] ??= []).push(value);
  }
  return found;
}

function save() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    try {
      localStorage.setItem(key, JSON.stringify(values()));
      const status = document.getElementById("draft-status");
      if (status) status.textContent = "Draft saved";
    } catch { /* a full or forbidden store: the draft is a comfort, not a promise */ }
  }, 600);
}

function restore() {
  if (document.querySelector("[data-prefilled]") || location.search || document.querySelector("#composer [role=alert]")) return;
  let draft;
  try { draft = JSON.parse(localStorage.getItem(key)); } catch { return; }
  if (!draft?.engine || JSON.stringify(draft) === JSON.stringify(values())) return;
  const body = new FormData();
  body.append("csrfmiddlewaretoken", composer().elements.csrfmiddlewaretoken.value);
  for (const [name, list] of Object.entries(draft)) for (const value of list) body.append(name, value);
  fetch("/fields/", { method: "POST", body, headers: { "HX-Request": "true" } })
    .then((response) => (response.ok && !response.headers.get("HX-Redirect") ? response.text() : ""))
    .then((html) => {
      if (!html || isTouched) return; // who has begun anew is not given the old draft over it
      const holder = document.createElement("template");
      holder.innerHTML = html;
      const fresh = holder.content.querySelector("#composer");
      composer().replaceWith(fresh);
      htmx.process(fresh);
      count();
      document.getElementById("draft-status").textContent = "Draft restored";
    });
}

for (const name of ["input", "change"]) {
  document.addEventListener(name, (event) => {
    if (!event.target.closest?.("#composer")) return;
    isTouched = true;
    save();
  });
}
document.addEventListener("htmx:after:swap", count);

count();
restore();

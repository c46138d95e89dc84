// Sends a chosen, dropped or pasted picture, and redraws the hits at another threshold. Without it the page still
// searches by stored id.
"use strict";

const results = document.getElementById("results");
const file = document.getElementById("file");
const drop = document.getElementById("drop");

const form = document.getElementById("ask");

function choose(picture) {
  if (!picture) return;
  addresses.splice(0).forEach((address) => URL.revokeObjectURL(address));
  if (document.getElementById("faces")) findFaces(picture);
  else if (form.reportValidity()) search(picture, "");
}

const addresses = []; // of the picture that was chosen and of parts of it, until another one is chosen

function addressOf(picture) {
  addresses.push(URL.createObjectURL(picture));
  return addresses.at(-1);
}

let latest = 0; // an answer that a later question has overtaken is not shown

async function search(picture, box) {
  const mine = ++latest;
  results.setAttribute("aria-busy", "true");
  results.replaceChildren(document.getElementById("busy").content.cloneNode(true));
  const asked = new URLSearchParams(new FormData(form));
  for (const name of ["id", "person"]) asked.delete(name); // the picture alone is looked for
  if (box) asked.set("box", box);
  const headers = {};
  for (const name of ["purpose", "case", "text", "not"]) { // not in the address, which is logged
    const text = asked.get(name);
    asked.delete(name);
    if (text) headers[`x-pictor-${name}`] = utf8(text);
  }
  let html;
  try {
    html = await part(`/results?${asked}`, picture, headers);
  } catch (error) {
    return mine === latest && fail(results, error.message);
  }
  if (mine !== latest) return;
  results.innerHTML = html; // rendered and escaped by the service
  results.setAttribute("aria-busy", "false");
  const shown = document.getElementById("mine");
  if (shown) {
    shown.src = box ? pressed().querySelector("img").src : addressOf(picture);
    shown.onerror = () => shown.remove(); // a format that the browser does not know
  }
  history.replaceState(null, "", "/");
  listen();
}

// A part of the page for a picture. An error says in words what is wrong.
async function part(address, picture, headers) {
  let answer;
  try {
    answer = await fetch(address, {
      method: "POST",
      headers: { "content-type": "application/octet-stream", ...headers },
      body: picture,
    });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  if (answer.headers.get("content-type").startsWith("text/html")) return answer.text();
  throw new Error((await answer.json()).detail);
}

function utf8(text) {
  return String.fromCharCode(...new TextEncoder().encode(text)); // a header takes nothing but bytes
}

function fail(place, words) {
  const line = document.createElement("p");
  line.className = "error";
  line.setAttribute("role", "alert");
  line.textContent = words;
  place.replaceChildren(line);
  results.setAttribute("aria-busy", "false");
}

// Two pictures side by side: the example, or a hit that is kept on the left, beside one hit after another.
const dialog = document.getElementById("compare");
let shownHit;

function put(side, picture, words) {
  const figure = document.getElementById(side);
  figure.querySelector("img").src = picture.src.replace("side_px=320", "side_px=800").replace("?v=", "?side_px=800&v=");
  figure.querySelector("img").alt = picture.alt;
  figure.querySelector("figcaption").textContent = words;
}

function visibleHits() {
  return [...document.querySelectorAll(".hits li:not([hidden])")];
}

function showHit(hit) {
  shownHit = hit;
  put("right", hit.querySelector("img"), describe(hit));
}

function describe(hit) {
  return `${hit.querySelector(".key").textContent}\n${hit.querySelector(".alike").textContent}`;
}

function step(by) {
  const hits = visibleHits();
  const next = hits[hits.indexOf(shownHit) + by];
  if (next) showHit(next);
}

function hold() {
  put("left", shownHit.querySelector("img"), describe(shownHit));
}

function compare(hit) {
  const example = results.querySelector(".example img");
  if (example) put("left", example, results.querySelector(".example .key").textContent);
  showHit(hit);
  if (!example) hold();
  dialog.showModal();
}

if (dialog) {
  results.addEventListener("click", (event) => {
    if (event.target.matches("[data-compare]")) compare(event.target.closest("li"));
  });
  document.getElementById("before").addEventListener("click", () => step(-1));
  document.getElementById("after").addEventListener("click", () => step(1));
  document.getElementById("hold").addEventListener("click", hold);
  document.getElementById("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const act = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), l: hold }[event.key];
    if (act) act();
  });
  dialog.addEventListener("close", () => shownHit.querySelector("[data-compare]").focus());
}

function listen() {
  const threshold = document.getElementById("threshold");
  if (!threshold) return;
  threshold.addEventListener("input", () => {
    const least = Number(threshold.value);
    let shown = 0;
    for (const hit of document.querySelectorAll(".hits li")) {
      hit.hidden = Number(hit.dataset.score) < least;
      if (!hit.hidden) shown += 1;
    }
    document.getElementById("shown-threshold").value = least <= -1 ? "any" : least.toFixed(2);
    const count = document.getElementById("count");
    count.textContent = `${shown} ${shown === 1 ? count.dataset.one : count.dataset.more}`;
  });
}

if (file) {
  // Another collection asks for other fields.
  document.getElementById("collection").addEventListener("change", (event) => {
    location.assign(`/?${new URLSearchParams({ collection: event.target.value })}`);
  });
  file.addEventListener("change", () => choose(file.files[0]));
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    choose(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => choose(event.clipboardData.files[0]));
  listen();
}

// Sends a chosen, dropped or pasted picture, and redraws the hits at another threshold. Without it the page still
// searches by stored id.
"use strict";

const results = document.getElementById("results");
const file = document.getElementById("file");
const drop = document.getElementById("drop");

function choose(picture) {
  if (picture) search(picture);
}

let latest = 0; // an answer that a later question has overtaken is not shown

async function search(picture) {
  const mine = ++latest;
  results.setAttribute("aria-busy", "true");
  results.replaceChildren(document.getElementById("busy").content.cloneNode(true));
  const asked = new URLSearchParams({
    collection: document.getElementById("collection").value,
    prefix: document.getElementById("prefix").value,
    purpose: document.getElementById("purpose")?.value ?? "",
    case: document.getElementById("case")?.value ?? "",
  });
  let html;
  try {
    const answer = await fetch(`/results?${asked}`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: picture,
    });
    html = answer.headers.get("content-type").startsWith("text/html") ? await answer.text() : null;
    if (html === null) return mine === latest && fail((await answer.json()).detail);
  } catch {
    return mine === latest && fail("The service does not answer. Is it still running?");
  }
  if (mine !== latest) return;
  results.innerHTML = html; // rendered and escaped by the service
  results.setAttribute("aria-busy", "false");
  const shown = document.getElementById("mine");
  if (shown) {
    shown.src = URL.createObjectURL(picture);
    shown.onload = () => URL.revokeObjectURL(shown.src);
    shown.onerror = () => shown.remove(); // a format that the browser does not know
  }
  history.replaceState(null, "", "/");
  listen();
}

function fail(words) {
  const line = document.createElement("p");
  line.className = "error";
  line.setAttribute("role", "alert");
  line.textContent = words;
  results.replaceChildren(line);
  results.setAttribute("aria-busy", "false");
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
    document.getElementById("count").textContent = shown === 1 ? "1 image" : `${shown} images`;
  });
}

if (file) {
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

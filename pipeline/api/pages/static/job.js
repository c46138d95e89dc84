// Follows a job while it runs, and moves it.
"use strict";

const job = document.getElementById("job");
const path = `/v1/jobs/${encodeURIComponent(job.dataset.job)}`;

if (job.dataset.state === "running" || job.dataset.state === "paused") {
  const events = new EventSource(`${path}/events`);
  events.addEventListener("job", (event) => {
    const now = JSON.parse(event.data);
    if (now.state !== job.dataset.state) return location.reload(); // other buttons, perhaps failures
    for (const part of job.querySelectorAll("[data-field]")) {
      if (part.dataset.field === "progress") {
        part.max = now.scanned || 1;
        part.value = now.scanned - now.pending;
      } else {
        part.textContent = now[part.dataset.field];
      }
    }
  });
}

for (const button of job.querySelectorAll("[data-move]")) {
  button.addEventListener("click", async () => {
    const answer = await fetch(`${path}/${button.dataset.move}`, { method: "POST" });
    if (answer.ok) return location.reload();
    const refusal = document.getElementById("refusal");
    refusal.textContent = (await answer.json()).detail;
    refusal.hidden = false;
  });
}

for (const picture of document.querySelectorAll(".failures img")) {
  const blank = () => {
    const none = document.createElement("span"); // it still cannot be decoded
    none.className = "none";
    picture.replaceWith(none);
  };
  picture.addEventListener("error", blank);
  if (picture.complete && !picture.naturalWidth) blank(); // it was refused before this ran
}

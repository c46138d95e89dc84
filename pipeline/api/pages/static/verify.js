// Decides with keys, and says in words which picture cannot be shown. Without it the page works by its form.
"use strict";

const form = document.getElementById("decide");
const keys = { y: "confirm", n: "reject", u: "cannot_tell" };

function choose(decision) {
  form.querySelector(`[value="${decision}"]`).checked = true;
  form.elements.reason.focus();
}

function follow(id) {
  const link = document.getElementById(id);
  if (link) link.click();
}

if (form) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const writes = event.target === form.elements.reason;
    if (writes && event.key === "Escape") return event.target.blur();
    if (writes) return;
    if (event.key in keys) {
      event.preventDefault(); // the letter is not the first of the reason
      choose(keys[event.key]);
    } else if (event.target.type !== "radio") {
      // arrows choose among radio buttons
      if (event.key === "ArrowLeft") follow("before");
      if (event.key === "ArrowRight") follow("after");
    }
  });
  form.addEventListener("submit", () => {
    form.querySelector("button").disabled = true; // one decision, however often it is pressed
  });
}

for (const picture of document.querySelectorAll("img[data-none]")) {
  const say = () => {
    const none = document.createElement("span");
    none.className = "none";
    none.textContent = picture.dataset.none;
    (picture.closest(".framed") || picture).replaceWith(none); // and the box that was drawn on it
  };
  picture.addEventListener("error", say);
  if (picture.complete && !picture.naturalWidth) say(); // it was refused before this ran
}

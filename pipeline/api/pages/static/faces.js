// In a collection of faces: shows those of a picture, each upright, and searches for the one that is chosen.
"use strict";

const found = document.getElementById("faces");
const SIDE_PX = 240;
const MARGIN = 1.5; // as the service cuts out faces of stored pictures

let shownPicture;

async function findFaces(picture) {
  const mine = ++latest;
  shownPicture = picture;
  results.replaceChildren();
  found.replaceChildren(document.getElementById("busy").content.cloneNode(true));
  const asked = new URLSearchParams({ collection: document.getElementById("collection").value });
  let html;
  try {
    html = await part(`/faces?${asked}`, picture, {});
  } catch (error) {
    return mine === latest && fail(found, error.message);
  }
  if (mine !== latest) return;
  found.innerHTML = html; // rendered and escaped by the service
  await drawFaces(picture);
  found.querySelector("button.face")?.focus();
}

async function drawFaces(picture) {
  const strip = found.querySelector(".faces");
  const bitmap = await createImageBitmap(picture).catch(() => null);
  const whole = document.getElementById("whole");
  if (!bitmap) return whole?.closest(".framed").classList.add("unseen"); // a format that the browser does not know
  if (whole) whole.src = addressOf(picture);
  for (const button of strip ? strip.querySelectorAll("button") : []) {
    button.querySelector("img").src = addressOf(await crop(bitmap, strip.dataset, button));
  }
}

function crop(bitmap, { width, height }, button) {
  const [left, top, wide, high] = button.dataset.box.split(",").map(Number);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE_PX;
  const pen = canvas.getContext("2d");
  const scale = SIDE_PX / (MARGIN * Math.max(wide, high));
  pen.translate(SIDE_PX / 2, SIDE_PX / 2);
  pen.rotate((-Number(button.dataset.roll) * Math.PI) / 180);
  pen.scale(scale, scale);
  pen.translate(-(left + wide / 2), -(top + high / 2));
  pen.drawImage(bitmap, 0, 0, width, height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function pressed() {
  return found.querySelector('button.face[aria-pressed="true"]');
}

async function chooseFace(number) {
  if (!form.reportValidity()) return; // why somebody searches is said first
  for (const button of found.querySelectorAll("button.face")) {
    button.setAttribute("aria-pressed", String(button.dataset.face === number));
  }
  for (const box of found.querySelectorAll("rect")) {
    box.classList.toggle("chosen", box.dataset.face === number);
  }
  await search(shownPicture, pressed().dataset.box);
}

if (found) {
  found.addEventListener("click", (event) => {
    const face = event.target.closest("[data-face]");
    if (face) chooseFace(face.dataset.face);
  });
  found.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const buttons = [...found.querySelectorAll("button.face")];
    if (step) buttons[buttons.indexOf(event.target) + step]?.focus();
  });
}

// Checks in this browser that the record of a page is in the log, as c2sp.org/tlog-proof and RFC 9162 say. It also
// computes the SHA-256 of a chosen picture, which is not sent.
"use strict";

const text = new TextEncoder();
const bytesOf = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
const bytesOfHex = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const same = (left, right) => left.length === right.length && left.every((byte, at) => byte === right[at]);

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer()));
}

// RFC 8785: members in the order of their UTF-16 units. Texts and numbers are as JavaScript writes them.
function canonical(value) {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

function readProof(proof) {
  const end = proof.indexOf("\n\n");
  const lines = proof.slice(0, end).split("\n");
  if (end < 0 || lines.shift() !== "c2sp.org/tlog-proof@v1") throw new Error("the service sent no proof");
  const salt = lines[0].startsWith("extra ") ? bytesOf(lines.shift().slice(6)) : null;
  const index = /^index (0|[1-9][0-9]{0,14})$/.exec(lines.shift());
  if (!index) throw new Error("the proof names no entry");
  return { index: Number(index[1]), salt, hashes: lines.map(bytesOf), checkpoint: readCheckpoint(proof.slice(end + 2)) };
}

function readCheckpoint(note) {
  const end = note.lastIndexOf("\n\n");
  const body = note.slice(0, end + 1);
  const [origin, size, root] = body.split("\n");
  if (end < 0 || !/^[1-9][0-9]{0,14}$/.test(size)) throw new Error("the proof has no checkpoint");
  const signatures = note.slice(end + 2).split("\n").filter(Boolean).map((line) => line.split(" "));
  return { origin, size: Number(size), root: bytesOf(root), body, signatures };
}

// RFC 9162, section 2.1.3.2.
async function isIncluded(leaf, proof) {
  let [at, last, hash] = [proof.index, proof.checkpoint.size - 1, leaf];
  if (at > last) return false;
  for (const other of proof.hashes) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      hash = await sha256(Uint8Array.of(1), other, hash);
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, Math.floor(last / 2)];
    } else {
      hash = await sha256(Uint8Array.of(1), hash, other);
    }
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  return last === 0 && same(hash, proof.checkpoint.root);
}

// true, false, or null where this browser has no Ed25519.
async function isSigned(checkpoint, vkey) {
  const parts = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(vkey.trim());
  if (!parts) throw new Error("the key of the log is NAME+8 hex digits+base64");
  const [, name, , encoded] = parts;
  const key = bytesOf(encoded);
  if (key.length !== 33 || key[0] !== 1) throw new Error("the key of the log is none of Ed25519");
  const id = (await sha256(text.encode(`${name}\n`), key)).slice(0, 4);
  let imported;
  try {
    imported = await crypto.subtle.importKey("raw", key.slice(1), { name: "Ed25519" }, false, ["verify"]);
  } catch {
    return null;
  }
  for (const [, signer, encodedLine] of checkpoint.signatures) {
    const line = bytesOf(encodedLine);
    if (signer === name && same(line.slice(0, 4), id)) {
      return crypto.subtle.verify("Ed25519", imported, line.slice(4), text.encode(checkpoint.body));
    }
  }
  return false;
}

// Each check: whether it holds, and in which words. null is "this browser cannot tell".
async function checkEntry(section, record, vkey) {
  const answer = await fetch(`/v1/audit/entries/${section.dataset.index}/proof`);
  if (!answer.ok) throw new Error((await answer.json()).detail);
  const proof = readProof(await answer.text());
  const stated = bytesOfHex(section.dataset.commitment);
  const checks = [];
  let commitment = stated;
  if (record) {
    if (!proof.salt) throw new Error("the record was erased while you looked at it");
    commitment = await sha256(proof.salt, text.encode(canonical(JSON.parse(record.textContent))));
    checks.push([same(commitment, stated), "The record on this page is the one that the entry was made of."]);
  }
  const isThis = proof.index === Number(section.dataset.index);
  const included = isThis && (await isIncluded(await sha256(Uint8Array.of(0), commitment), proof));
  checks.push([included, `The entry is number ${section.dataset.index} in the tree of ${proof.checkpoint.size} entries.`]);
  const signed = await isSigned(proof.checkpoint, vkey);
  const words =
    signed === null
      ? "This browser cannot check Ed25519 signatures (Chromium can since version 137). Keep the proof and check it elsewhere."
      : "The tree is signed with the key below.";
  checks.push([signed, words]);
  return checks;
}

const MARKS = new Map([[true, ["good", "✓", "holds"]], [false, ["bad", "✗", "does not hold"]], [null, ["wait", "?", "not checked"]]]);

function show(checks) {
  const list = document.getElementById("checks");
  list.replaceChildren(
    ...checks.map(([holds, words]) => {
      const [kind, mark, said] = MARKS.get(holds);
      const item = document.createElement("li");
      item.className = kind;
      item.append(`${mark} ${words} `, Object.assign(document.createElement("b"), { textContent: said }));
      return item;
    }),
  );
  const results = checks.map(([holds]) => holds);
  if (results.includes(false)) say("bad", "Not proved: something does not fit. Keep what you see, and verify the log.");
  else if (results.includes(null)) say("wait", "The entry is in the tree, and who signed the tree was not checked.");
  else say("good", "Proved: checked in this browser.");
}

function say(kind, words) {
  const verdict = document.getElementById("verdict");
  verdict.className = `verdict ${kind}`;
  verdict.textContent = words;
}

let latest = 0; // a check that a later key has overtaken is not shown

async function check(section, field) {
  const mine = ++latest;
  const isOfService = field.value.trim() === field.dataset.ofService;
  document.getElementById("vkey-words").textContent = isOfService
    ? "This is the key that the service itself names. Compare it with the one that you were given, and enter yours."
    : "This is your key, and not the one that the service names.";
  say("wait", "Checking…");
  if (!globalThis.crypto?.subtle) {
    return say("wait", "Not checked: a browser computes hashes only on pages with TLS, or of this machine.");
  }
  try {
    const checks = await checkEntry(section, document.getElementById("record"), field.value);
    if (mine === latest) show(checks);
  } catch (error) {
    if (mine !== latest) return;
    document.getElementById("checks").replaceChildren();
    say("bad", `Not proved: ${error.message}.`);
  }
}

const STORED_KEY = "pictor.log-key";
const section = document.getElementById("proof");
if (section) {
  const field = document.getElementById("vkey");
  field.value = localStorage.getItem(STORED_KEY) || field.value;
  field.addEventListener("change", () => {
    if (!field.value.trim()) field.value = field.dataset.ofService;
    if (field.value.trim() === field.dataset.ofService) localStorage.removeItem(STORED_KEY);
    else localStorage.setItem(STORED_KEY, field.value.trim());
    check(section, field);
  });
  check(section, field);
}

const picture = document.getElementById("picture");
if (picture) {
  picture.addEventListener("change", async () => {
    const words = document.getElementById("picture-words");
    if (!globalThis.crypto?.subtle) {
      words.textContent = "A browser computes hashes only on pages with TLS, or of this machine.";
      return;
    }
    const [file] = picture.files;
    if (!file) return;
    const subject = document.getElementById("subject");
    subject.value = hexOf(await sha256(file));
    subject.form.requestSubmit();
  });
}

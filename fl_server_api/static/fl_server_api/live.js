// Keeps what is live on a training's page as the server has it: asks every two seconds while
// somebody looks, and changes only what has changed, so that focus and open parts stay.
import { draw } from "./charts.js";
import { writeTimes } from "./times.js";

const SECONDS = 2;
const OVER_SECONDS = 30;
const MOST_SECONDS = 60;

const live = document.getElementById("live");
const connection = document.getElementById("connection");
const updated = document.getElementById("updated");
let tag = live.dataset.tag;
let failures = 0;
let timer = 0;

function say(words, kind) {
  if (connection.textContent !== words) connection.textContent = words;
  connection.className = kind;
}

function show(html) {
  Idiomorph.morph(live, html, {
    morphStyle: "innerHTML",
    ignoreActiveValue: true,
    callbacks: {
      // What a chart's script has drawn isn't the server's.
      beforeNodeMorphed: (node) => !node.classList?.contains("chart"),
      beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS"),
    },
  });
  draw(live);
  writeTimes(live);
}

async function ask() {
  const headers = { "If-None-Match": tag };
  const answer = await fetch(live.dataset.source, { headers, cache: "no-store" });
  if (answer.redirected || answer.status === 404) return false;
  if (answer.status !== 304 && !answer.ok) throw new Error(answer.statusText);
  if (answer.ok) {
    tag = answer.headers.get("ETag");
    show(await answer.text());
  }
  return true;
}

async function poll() {
  const began = performance.now();
  try {
    if (!(await ask())) {
      say("No longer yours to see: load the page anew", "bad");
      return;
    }
    failures = 0;
    say("Live", "ok");
    updated.textContent = `updated ${new Date().toLocaleTimeString()}`;
  } catch {
    failures += 1;
    say("Connection lost, trying again", "bad");
  }
  next((performance.now() - began) / 1000);
}

// Waits ten times as long as an answer took, so that a page of thousands holds no server up.
function next(took = 0) {
  const usual = live.querySelector("[data-over]") ? OVER_SECONDS : SECONDS;
  const seconds = Math.max(usual, 10 * took, SECONDS * 2 ** failures);
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(poll, 1000 * Math.min(seconds, MOST_SECONDS));
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) poll();
});
draw(live);
setInterval(() => writeTimes(live), 1000);
say("Live", "ok");
next();

// Conveniences of the model page: all of it works without them, by loading the page anew.
"use strict";

const page = (text) => new DOMParser().parseFromString(text, "text/html");

// The layers, as soon as the server has found them out.
async function awaitLayers() {
  for (let pause = 1000; document.querySelector("#known[data-waits]") && pause < 60000; pause *= 1.3) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    const answer = await fetch(location.pathname).catch(() => null);
    const known = answer?.ok && page(await answer.text()).querySelector("#known");
    if (known) document.querySelector("#known").replaceWith(known);
  }
}

// Predictions: what was chosen stays, and nothing is sent twice.
async function predict(event) {
  event.preventDefault();
  const form = event.target, result = document.querySelector("#result");
  if (result.ariaBusy === "true") return;
  result.ariaBusy = "true";
  say(result, "Predicting …", "hint");
  try {
    const answer = await fetch(location.pathname, { method: "POST", body: new FormData(form) });
    await show(result, answer);
  } catch {
    say(result, "The server can't be reached; try again.", "error");
  }
  result.ariaBusy = "false";
  result.focus();
}

// An answer is this page; but what is refused before it gets there is JSON.
async function show(result, answer) {
  const text = await answer.text();
  const found = page(text).querySelector("#result");
  if (found) result.replaceChildren(...found.childNodes);
  else say(result, detail(text) ?? `The server answers ${answer.status}.`, "error");
}

function detail(text) {
  try {
    return JSON.parse(text).detail;
  } catch {
    return undefined;
  }
}

function say(result, words, kind) {
  const sentence = document.createElement("p");
  sentence.className = kind;
  sentence.textContent = words;
  result.replaceChildren(sentence);
}

for (const form of document.querySelectorAll(".inputs form")) form.addEventListener("submit", predict);
awaitLayers();

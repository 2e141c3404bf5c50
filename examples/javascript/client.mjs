// A federated-learning client in JavaScript, for Node 18 or newer and nothing else.
//
//     node client.mjs http://127.0.0.1:8000 slices/client-2.safetensors --name dave
//
// It trains softmax regression on 8 x 8 digits. The model is two tensors in a safetensors file,
// `weight` (10 x 64) and `bias` (10): no code comes with it. The client asks for its work and ends
// with the training. Started again it is the same user, by the token that it keeps.

import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";

// Safetensors: eight bytes that say how long the header is, the header, which is JSON, and the
// tensors' bytes. https://github.com/huggingface/safetensors#format

const ARRAYS = { F32: Float32Array, U8: Uint8Array };

/** Return the tensors of a file by name: `{shape, values}`. */
export function load(bytes) {
  const start = 8 + Number(bytes.readBigUInt64LE());
  const { __metadata__, ...header } = JSON.parse(bytes.subarray(8, start));
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    const [from, to] = data_offsets.map((offset) => start + offset);
    const { buffer } = new Uint8Array(bytes.subarray(from, to)); // a copy, which is aligned
    tensors[name] = { shape, values: new ARRAYS[dtype](buffer) };
  }
  return tensors;
}

/** Return a file of float32 tensors. */
export function save(tensors) {
  let end = 0;
  const header = {};
  for (const [name, { shape, values }] of Object.entries(tensors))
    header[name] = { dtype: "F32", shape, data_offsets: [end, (end += values.byteLength)] };
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const content = Object.values(tensors).map(({ values }) => Buffer.from(values.buffer));
  return Buffer.concat([length, text, ...content]);
}

// Learning: put your own model in here. A sample is `{pixels, digit}`.

const [PIXELS, DIGITS] = [64, 10];

/** Return the samples of a file. */
function pair({ x, y }) {
  const pixels = (i) => x.values.subarray(i * PIXELS, (i + 1) * PIXELS);
  return Array.from(y.values, (digit, i) => ({ pixels: pixels(i), digit }));
}

/** Return the probability of each digit. */
function predict({ weight, bias }, pixels) {
  const scores = Array.from(bias.values);
  for (let digit = 0; digit < DIGITS; digit++)
    for (let i = 0; i < PIXELS; i++)
      scores[digit] += weight.values[digit * PIXELS + i] * pixels[i];
  const largest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** Train in place: stochastic gradient descent, a step for each sample. */
function train(model, samples, epochs = 5, rate = 0.05) {
  for (let epoch = 0; epoch < epochs; epoch++)
    for (const { pixels, digit } of shuffled(samples))
      predict(model, pixels).forEach((chance, other) => {
        const wrong = chance - (other === digit ? 1 : 0);
        for (let i = 0; i < PIXELS; i++)
          model.weight.values[other * PIXELS + i] -= rate * wrong * pixels[i];
        model.bias.values[other] -= rate * wrong;
      });
}

function shuffled(items) {
  const keyed = items.map((item) => [Math.random(), item]);
  return keyed.sort(([a], [b]) => a - b).map(([, item]) => item);
}

/** Return accuracy and mean loss. */
function evaluate(model, samples) {
  let [hits, loss] = [0, 0];
  for (const { pixels, digit } of samples) {
    const chances = predict(model, pixels);
    if (chances.indexOf(Math.max(...chances)) === digit) hits++;
    loss -= Math.log(chances[digit] + 1e-9) / samples.length;
  }
  return { accuracy: hits / samples.length, loss };
}

// Talking to the server.

class Refused extends Error {}

const headers = {};

/** Ask the server, for half a minute if it doesn't answer; raise its reason if it refuses. */
async function ask(method, path, options = {}) {
  for (let tries = 1; ; tries++) {
    const request = { method, ...options, headers: { ...headers, ...options.headers } };
    const answer = await fetch(`${server}/api${path}`, request).catch((error) => {
      if (tries > 6) throw error;
    });
    if (answer?.ok) return answer;
    if (answer && (answer.status < 500 || tries > 6))
      throw new Refused(`${method} ${path}: ${await answer.text()}`);
    await pause(250 * 2 ** tries);
  }
}

/** Register, or go on as who registered before under this name. */
async function register(name, folder) {
  const file = join(folder, `${encodeURIComponent(`${name}@${server}`)}.token`);
  if (!existsSync(file)) {
    const user = { username: name, password: randomUUID(), client: true };
    const json = { "Content-Type": "application/json" };
    const answer = await ask("POST", "/users/", { body: JSON.stringify(user), headers: json });
    writeFileSync(file, (await answer.json()).token, { mode: 0o600 });
  }
  headers.Authorization = `Token ${readFileSync(file)}`;
}

const download = async (path) => load(Buffer.from(await (await ask("GET", path)).arrayBuffer()));

/** Answer one notification; most kinds only tell how the training goes. */
async function work(kind, { round, global_model_uuid }) {
  const path = `/models/${global_model_uuid}/`;
  if (kind === "UPDATE_ROUND_START") {
    const model = await download(path);
    train(model, own);
    const update = save(model);
    if (keep) writeFileSync(join(keep, `${name}-${round}.safetensors`), update);
    const form = new URLSearchParams({ round, sample_size: own.length });
    const binary = { "Content-Type": "application/octet-stream" };
    await ask("POST", `${path}?${form}`, { body: update, headers: binary });
  } else if (kind === "MODEL_TEST_ROUND") {
    const metrics = Object.entries(evaluate(await download(path), test));
    const names = metrics.map(([name]) => ["metric_names", name]);
    const values = metrics.map(([, value]) => ["metric_values", value]);
    await ask("POST", `${path}metrics/`, { body: new URLSearchParams([...names, ...values]) });
  }
}

/** Do what is asked, oldest first, until the training is over. */
async function takePart() {
  for (;;) {
    const answer = await ask("GET", "/notifications/?wait=25");
    for (const { id, notification_type: kind, body } of await answer.json()) {
      console.log(kind, body.round ?? "");
      try {
        await work(kind, body);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        console.log("refused:", error.message); // that round is over, say: wait for the next
      }
      await ask("POST", `/notifications/${id}/ack/`);
      if (["TRAINING_FINISHED", "CLIENT_REMOVED"].includes(kind)) return;
    }
    await pause(1000 * Number(answer.headers.get("Retry-After"))); // a busy server doesn't wait
  }
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { name: { type: "string" }, keep: { type: "string" } },
});
const server = positionals[0].replace(/\/$/, "");
const data = positionals[1];
const { name, keep } = options;
const samples = pair(load(readFileSync(data)));
const own = samples.filter((_, i) => i % 5 !== 0);
const test = samples.filter((_, i) => i % 5 === 0); // is held out
await register(name, dirname(data));
await takePart();

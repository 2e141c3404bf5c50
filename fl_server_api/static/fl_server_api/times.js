// Times in the reader's own zone; how long ago, and how long until a deadline.

function span(seconds) {
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (h >= 48) return `${Math.floor(h / 24)} days`;
  if (h) return `${h} h ${String(m).padStart(2, "0")} min`;
  return m ? `${m} min ${String(s).padStart(2, "0")} s` : `${s} s`;
}

function written(when, kind) {
  const local = when.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
  const seconds = Math.round((Date.now() - when) / 1000);
  if (kind === "ago") return seconds > 0 ? `${span(seconds)} ago` : "now";
  if (kind === "deadline") return seconds < 0 ? `in ${span(-seconds)}` : "has passed";
  return local;
}

export function writeTimes(root) {
  for (const time of root.querySelectorAll("time")) {
    const when = new Date(time.dateTime);
    const text = written(when, time.dataset.kind);
    if (time.textContent !== text) time.textContent = text;
    if (!time.title) time.title = when.toISOString();
  }
}

writeTimes(document);

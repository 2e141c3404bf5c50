// Draws the metrics with uPlot: the data stand in the page as JSON, beside a table of the same.

const drawn = new WeakMap();
const HEIGHT = 220;

// A canvas knows no light-dark(): the browser says which of both it is.
function colour(element, name) {
  element.style.color = `var(${name})`;
  const found = getComputedStyle(element).color;
  element.style.color = "";
  return found;
}

function sorted(data) {
  return [true, false].map((ofAll) => data.curves.filter((curve) => curve.of_all === ofAll));
}

function options(element, data) {
  const inked = (name) => colour(element, name);
  const axis = {
    stroke: inked("--quiet"),
    grid: { stroke: inked("--line"), width: 1 },
    ticks: { stroke: inked("--line"), width: 1 },
  };
  const [means, others] = sorted(data);
  const lines = others.map((curve, i) => ({ stroke: inked(`--curve-${i + 1}`), width: 1.5 }));
  const thick = means.map((curve, i) => ({
    stroke: inked("--text"),
    width: 3 - i,
    dash: i ? [6, 4] : [],
  }));
  const series = [...others, ...means].map((curve, i) => ({
    label: curve.name,
    spanGaps: true,
    ...[...lines, ...thick][i],
  }));
  return {
    width: element.clientWidth,
    height: HEIGHT,
    scales: { x: { time: false } },
    axes: [{ ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000] }, { ...axis, size: 60 }],
    series: [{ label: "round" }, ...series],
    legend: { markers: { dash: (plot, i) => (plot.series[i].dash?.length ? "dashed" : "solid") } },
    cursor: { drag: { x: false, y: false } },
  };
}

function read(element) {
  const data = JSON.parse(document.getElementById(element.dataset.curves).textContent);
  const [means, others] = sorted(data);
  const columns = [...others, ...means].map((curve) => curve.values);
  return { data, columns: [data.rounds, ...columns] }; // the last is drawn over the others
}

function begin(element) {
  const { data, columns } = read(element);
  drawn.get(element)?.plot.destroy();
  const plot = new uPlot(options(element, data), columns, element);
  drawn.set(element, { plot, names: JSON.stringify(data.curves.map((curve) => curve.name)) });
}

const sizes = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    drawn.get(target)?.plot.setSize({ width: contentRect.width, height: HEIGHT });
  }
});

export function draw(root) {
  for (const element of root.querySelectorAll(".chart")) {
    const { data, columns } = read(element);
    const known = drawn.get(element);
    if (known?.names === JSON.stringify(data.curves.map((curve) => curve.name))) {
      known.plot.setData(columns);
    } else {
      begin(element);
      sizes.observe(element);
    }
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  document.querySelectorAll(".chart").forEach(begin);
});

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

function options(element, data) {
  const inked = (name) => colour(element, name);
  const axis = {
    stroke: inked("--quiet"),
    grid: { stroke: inked("--line"), width: 1 },
    ticks: { stroke: inked("--line"), width: 1 },
  };
  const mean = { label: data.curves[0].name, stroke: inked("--text"), width: 3, spanGaps: true };
  const others = data.curves.slice(1).map((curve, i) => ({
    label: curve.name,
    stroke: inked(`--curve-${i + 1}`),
    width: 1.5,
    spanGaps: true,
  }));
  return {
    width: element.clientWidth,
    height: HEIGHT,
    scales: { x: { time: false } },
    axes: [{ ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000] }, { ...axis, size: 60 }],
    series: [{ label: "round" }, ...others, mean],
    cursor: { drag: { x: false, y: false } },
  };
}

function read(element) {
  const data = JSON.parse(document.getElementById(element.dataset.curves).textContent);
  const [mean, ...others] = data.curves.map((curve) => curve.values);
  return { data, columns: [data.rounds, ...others, mean] }; // the last is drawn over the others
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

// The charts of the reports. Each is drawn from the table beside it, so that both say the same; without this file the
// tables are all there is. Nothing is told by colour alone: members have patterns, lines have dashes, bars have names.

const COLOURS = {
  light: ["#3b3f8f", "#a15c00", "#1f7a4d", "#b3343f", "#00708a", "#7a3d8c", "#5d6470"],
  dark: ["#b6c3ff", "#f2b85c", "#7fdca4", "#ff9c94", "#6fd6ec", "#dba6ee", "#c0c5cf"],
};
const DASHES = [6, 5];
const scheme = matchMedia("(prefers-color-scheme: dark)");
const charts = [];

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen === "dark" || (chosen !== "light" && scheme.matches);
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const dark = isDark();
  return {
    colours: COLOURS[dark ? "dark" : "light"],
    ink: dark ? "#d5d6dd" : "#3c4049",
    line: dark ? "rgba(255, 255, 255, .12)" : "rgba(20, 24, 40, .12)",
    paper: dark ? "#14161d" : "#fffefb",
    font: style.fontFamily,
  };
}

// Rows of a table: its row headers, its column headers, and the numbers of the cells that have one.
function read(table) {
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  const number = (cell) => (cell?.dataset.value === undefined ? null : Number(cell.dataset.value));
  return {
    labels: rows.map((row) => row.cells[0].textContent.trim()),
    columns: heads
      .map((head, place) => ({ name: head.textContent.trim(), skip: "skip" in head.dataset, place }))
      .filter((column) => column.place > 0 && !column.skip)
      .map((column) => ({ name: column.name, values: rows.map((row) => number(row.cells[column.place])) })),
  };
}

// Stripes, dots and checks over the colour: the first is plain.
function pattern(colour, kind, paper) {
  if (kind === 0) return colour;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 10;
  const pen = tile.getContext("2d");
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 10, 10);
  pen.strokeStyle = pen.fillStyle = paper;
  pen.lineWidth = 2;
  const stroke = (...points) => {
    pen.beginPath();
    for (const [x0, y0, x1, y1] of points) { pen.moveTo(x0, y0); pen.lineTo(x1, y1); }
    pen.stroke();
  };
  const draw = [
    () => stroke([-2, 12, 12, -2], [-2, 2, 2, -2], [8, 12, 12, 8]),
    () => { pen.beginPath(); pen.arc(5, 5, 2.2, 0, 7); pen.fill(); },
    () => stroke([0, 5, 10, 5]),
    () => stroke([-2, -2, 12, 12], [-2, 8, 2, 12], [8, -2, 12, 2]),
    () => stroke([5, 0, 5, 10]),
    () => { pen.fillRect(0, 0, 5, 5); pen.fillRect(5, 5, 5, 5); },
  ];
  draw[(kind - 1) % draw.length]();
  return document.createElement("canvas").getContext("2d").createPattern(tile, "repeat");
}

function scales({ ink, line }, { isStacked, isAcross }) {
  const words = { stacked: isStacked, ticks: { color: ink, maxRotation: 0, autoSkipPadding: 14 }, grid: { display: false } };
  const numbers = { stacked: isStacked, beginAtZero: true, ticks: { color: ink, precision: 0 }, grid: { color: line } };
  return isAcross ? { x: numbers, y: { ...words, ticks: { color: ink, autoSkip: false } } } : { x: words, y: numbers };
}

function stacked(data, look) {
  return {
    type: "bar",
    data: {
      labels: data.labels,
      datasets: data.columns.map(({ name, values }, place) => ({
        label: name,
        data: values,
        backgroundColor: pattern(look.colours[place % look.colours.length], place, look.paper),
        borderColor: look.colours[place % look.colours.length],
        borderWidth: 1,
      })),
    },
    options: { scales: scales(look, { isStacked: true }), plugins: { legend: { display: true } } },
  };
}

const LINE_CHARS = 24;
const ROW_PX = 58;
const AXIS_PX = 44;

// Whole words in lines that fit beside the bars.
function wrapped(name) {
  const lines = [""];
  for (const word of name.split(" ")) {
    const last = lines.length - 1;
    if (!lines[last] || lines[last].length + word.length < LINE_CHARS) lines[last] = `${lines[last]} ${word}`.trim();
    else lines.push(word);
  }
  return lines;
}

function share(data, look) {
  const credits = data.columns.find((column) => column.name === "Credits").values;
  const whole = credits.reduce((sum, each) => sum + Math.max(0, each), 0) || 1;
  return {
    type: "bar",
    data: {
      labels: data.labels.map((name, place) => [...wrapped(name), `${((100 * Math.max(0, credits[place])) / whole).toFixed(1)} %`]),
      datasets: [{ label: "Credits", data: credits, backgroundColor: look.colours[0], maxBarThickness: 28 }],
    },
    options: { indexAxis: "y", scales: scales(look, { isAcross: true }), plugins: { legend: { display: false } } },
  };
}

function burn(data, look) {
  const line = (column, place) => ({
    label: column.name,
    data: column.values,
    borderColor: look.colours[place],
    borderDash: place ? DASHES : [],
    borderWidth: 2,
    pointRadius: 0,
    pointHitRadius: 12,
    stepped: place ? false : "after",
    spanGaps: false,
  });
  return {
    type: "line",
    data: { labels: data.labels, datasets: data.columns.map(line) },
    options: { scales: scales(look, {}), plugins: { legend: { display: true } }, interaction: { mode: "index", intersect: false } },
  };
}

const KINDS = { stacked, share, burn };

function draw() {
  while (charts.length) charts.pop().destroy();
  const look = theme();
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  Object.assign(Chart.defaults, { color: look.ink, responsive: true, maintainAspectRatio: false });
  Object.assign(Chart.defaults.font, { family: look.font, size: 13 });
  for (const canvas of document.querySelectorAll("canvas[data-chart]")) {
    const table = document.getElementById(canvas.dataset.table);
    const config = KINDS[canvas.dataset.chart](read(table), look);
    if (still) config.options.animation = false;
    canvas.hidden = false;
    if (config.options.indexAxis) canvas.parentElement.style.height = `${config.data.labels.length * ROW_PX + AXIS_PX}px`;
    canvas.setAttribute("role", "img");
    const title = table.closest("section").querySelector("h2").textContent;
    canvas.setAttribute("aria-label", `${title}: the same numbers are in the table below`);
    charts.push(new Chart(canvas, config));
  }
}

if (window.Chart) {
  draw();
  scheme.addEventListener("change", draw);
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
}

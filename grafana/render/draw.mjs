// node draw.mjs DASHBOARD.json RESULTS.json [FOLDER]
// Draws every row of the dashboard in headless Chromium and stops at a panel that fails,
// stays empty or hides a part of its legend. With a folder, one image of each row.
import { readFile } from "node:fs/promises";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const [dashboardFile, resultsFile, folder] = process.argv.slice(2);
const here = import.meta.dirname;
const packageOf = (name) =>
  dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
const icons = join(packageOf("@grafana/ui"), "dist/public");
const fonts = join(packageOf("@fontsource/inter"), "files");
// Grafana serves its font itself; its weights by the names that its styles ask for.
const WEIGHTS = { Regular: 400, Medium: 500 };
const SITE = "http://dashboard.invalid/";
const WIDTH = 1416;

const bundle = await build({
  absWorkingDir: here,
  bundle: true,
  define: { "process.env.NODE_ENV": '"production"', global: "window" },
  entryPoints: ["app.jsx"],
  format: "esm",
  jsx: "automatic",
  loader: { ".ttf": "empty", ".woff": "dataurl", ".woff2": "dataurl", ".svg": "dataurl" },
  logLevel: "error",
  minify: true,
  outdir: "out",
  write: false,
});
const [script, style] = [".js", ".css"].map(
  (end) => bundle.outputFiles.find(({ path }) => path.endsWith(end)).text
);
const read = async (file) => JSON.parse(await readFile(file, "utf8"));
const [dashboard, results] = [await read(dashboardFile), await read(resultsFile)];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const problems = await draw(results, folder);
  const drawn = dashboard.panels.filter(({ type }) => type !== "row").length;
  if (!problems.length && !folder) {
    const { broken, titles } = withFaults();
    const found = await draw(broken);
    for (const title of titles)
      if (!found.some((text) => text.startsWith(`${title}:`))) problems.push(`${title}: its fault was not seen`);
  }
  for (const problem of problems) console.error(problem);
  console.log(`${drawn} panels, ${problems.length} problems`);
  process.exitCode = problems.length ? 1 : 0;
} finally {
  await browser.close();
}

// Returns what is wrong with the pictures of some answers; writes them into a folder.
async function draw(answers, folder) {
  const given = { dashboard, mode: process.env.THEME ?? "dark", results: answers, width: WIDTH };
  const pages = {
    "/": {
      contentType: "text/html",
      body: '<!doctype html><link rel="stylesheet" href="app.css"><div id="root"></div><script type="module" src="app.js"></script>',
    },
    "/app.js": { contentType: "text/javascript", body: `window.skatra=${JSON.stringify(given)};\n${script}` },
    "/app.css": { contentType: "text/css", body: style },
  };
  const problems = [];
  const page = await browser.newPage({ viewport: { width: WIDTH + 24, height: 1000 } });
  page.on("pageerror", (error) => problems.push(error.stack));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  await page.route("**/*", async (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname.startsWith("/public/build/")) {
      const path = join(icons, pathname.slice("/public/build/".length));
      return route.fulfill({ path, contentType: "image/svg+xml" });
    }
    const [, weight] = pathname.match(/^\/public\/fonts\/inter\/Inter-(\w+)\.woff2$/) ?? [];
    if (WEIGHTS[weight]) {
      return route.fulfill({ path: join(fonts, `inter-latin-${WEIGHTS[weight]}-normal.woff2`) });
    }
    if (!pages[pathname]) problems.push(`asks for ${pathname}`);
    return route.fulfill(pages[pathname] ?? { status: 404, body: "" });
  });
  await page.goto(SITE);
  await page.waitForSelector("[data-row]", { timeout: 60000 });
  await page.waitForTimeout(1500);
  problems.push(...(await page.evaluate(inspect)));
  if (folder) {
    mkdirSync(folder, { recursive: true });
    for (const section of await page.locator("[data-row]").all()) {
      const name = (await section.getAttribute("data-row")).toLowerCase().replaceAll(" ", "-");
      await section.screenshot({ path: join(folder, `dashboard-${name}.png`) });
    }
  }
  await page.close();
  return problems;
}

// Answers that must be complained about: the check's own test.
function withFaults() {
  const broken = structuredClone(results);
  const first = (type, place = 0) => dashboard.panels.filter((panel) => panel.type === type)[place];
  const [number, empty, crowded, torn] = [
    first("stat"),
    first("timeseries"),
    first("timeseries", 1),
    first("heatmap"),
  ];
  broken.panels[number.id][0].result = [];
  broken.panels[empty.id].forEach((answer) => (answer.result = []));
  const [answer] = broken.panels[crowded.id];
  answer.result = Array.from({ length: 60 }, () => answer.result[0]);
  delete broken.panels[torn.id];
  return { broken, titles: [number, empty, crowded, torn].map(({ title }) => title) };
}

// Runs in the page: what each panel lacks.
function inspect() {
  const found = [];
  for (const panel of document.querySelectorAll("[data-panel]")) {
    const say = (text) => found.push(`${panel.dataset.panel}: ${text}`);
    const error = panel.querySelector("[data-error]");
    if (error) {
      say(error.textContent);
      continue;
    }
    const canvas = panel.querySelector("canvas");
    if (panel.dataset.kind === "stat") {
      if (!/\d/.test(panel.innerText.replace(panel.dataset.panel, ""))) say("shows no number");
    } else if (!canvas) {
      say("has no chart");
    } else {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      if (data.every((value) => value === 0)) say("its chart is blank");
    }
    for (const box of panel.querySelectorAll("*")) {
      if (box.scrollHeight > box.clientHeight + 1 && getComputedStyle(box).overflowY === "auto")
        say(`hides ${box.scrollHeight - box.clientHeight} of ${box.scrollHeight} pixels of its legend`);
    }
  }
  return found;
}

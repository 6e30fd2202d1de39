"""Pictures of the main pages in headless Chromium, at desktop and phone width.

    python docs/screenshots.py [--dark] [--out FOLDER] [page ...]

They are for looking at and are not kept. Each page is shown in an iframe, so that the
phone width is truly 390 pixels, which headless Chromium's own windows refuse.
"""

import argparse
import functools
import subprocess
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

HTML = Path(__file__).parent / "_build" / "html"
WIDTHS = {"desktop": 1280, "phone": 390}
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=8000",
)
# Shows a page at a width; says in its title how far the page sticks out to the right.
FRAME = """<!doctype html><title>wait</title>
<style>body{margin:0;background:#888}iframe{border:0;background:#fff}</style>
<script>
const q = new URLSearchParams(location.search), f = document.createElement("iframe");
localStorage.setItem("mode", q.get("mode"));
localStorage.setItem("theme", q.get("mode"));
f.width = q.get("width"); f.height = q.get("height"); f.src = q.get("page");
f.onload = () => setTimeout(() => {
  const r = f.contentDocument.documentElement, out = [];
  for (const e of r.querySelectorAll("main *, .bd-main *, header *")) {
    const b = e.getBoundingClientRect();
    let scrolls = false;
    for (let p = e.parentElement; p; p = p.parentElement)
      if (/auto|scroll|hidden/.test(getComputedStyle(p).overflowX)) scrolls = true;
    if (!scrolls && b.width && b.right > f.clientWidth + 1)
      out.push(e.tagName + "." + e.className + " +" +
        Math.round(b.right - f.clientWidth));
  }
  const p = document.createElement("pre"); p.id = "found";
  p.textContent = "height " + r.scrollHeight + " overflow " +
    (r.scrollWidth - f.clientWidth) + " " + out.slice(0, 6).join("; ");
  document.body.append(p);
}, 1500);
document.documentElement.append(document.createElement("body"));
document.body.append(f);
</script>"""


class Handler(SimpleHTTPRequestHandler):
    """The built site, and one page more that frames another."""

    def do_GET(self) -> None:
        """Answer the frame itself, everything else from the folder."""
        if not self.path.startswith("/__frame"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(FRAME.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def chromium(*arguments: str) -> str:
    """Run Chromium with a profile of its own and return what it prints."""
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", *FLAGS, f"--user-data-dir={profile}", *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout


def main() -> None:
    """Write one picture per page and width, and print what sticks out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "pages", nargs="*", help="default: every page of the top folder"
    )
    parser.add_argument("--html", type=Path, default=HTML)
    parser.add_argument("--out", type=Path, default=HTML.parent / "screenshots")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--tallest", type=int, default=6000, help="pixels")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(Handler, directory=str(options.html))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/__frame?"
    mode = "dark" if options.dark else "light"
    pages = options.pages or sorted(p.name for p in options.html.glob("*.html"))
    for page in pages:
        for name, width in WIDTHS.items():
            query = {"page": page, "width": width, "height": 900, "mode": mode}
            dom = chromium("--dump-dom", base + urlencode(query))
            found = dom.partition('id="found">')[2].partition("<")[0]
            print(f"{page} {name} {mode}: {found or 'nothing measured'}", flush=True)
            words = found.split()
            height = min(int(words[1]) if len(words) > 1 else 900, options.tallest)
            picture = options.out / f"{page.replace('/', '-')[:-5]}-{name}-{mode}.png"
            chromium(
                f"--screenshot={picture}",
                f"--window-size={max(width, 500)},{height}",
                base + urlencode(query | {"height": height}),
            )
    server.shutdown()


if __name__ == "__main__":
    main()

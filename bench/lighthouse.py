"""Lighthouse on the page, the API's reference and the documentation site.

Serves the bundled models and a built site, and runs Lighthouse on each page as on a phone (its
simulated slow 4G and a processor four times slower). Prints the median of the runs. Scores depend
on the machine and on what else it does: Lighthouse's own measure of it, `benchmark_index`, is
printed too, and with `--index` a run counts only if it reached that much.

Needs Node.js, Chromium and Lighthouse: npm install --prefix build/lighthouse lighthouse@12

usage: python bench/lighthouse.py [--runs 3] [--only NAME] [--model FILE] [--site build/docs]
           [--reports FOLDER] [--index 1000]
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from page_pad import serve

BUNDLED = ("digits", "reviews", "writer", "styles")
SITE_PAGES = (
    "index.html",
    "stories/digits.html",
    "command-line.html",
    "python-reference.html",
    "python-clients.html",
    "python-errors.html",
)
CATEGORIES = ("performance", "accessibility", "best-practices")
METRICS = {
    "first_contentful_paint_ms": "first-contentful-paint",
    "largest_contentful_paint_ms": "largest-contentful-paint",
    "total_blocking_time_ms": "total-blocking-time",
    "layout_shift": "cumulative-layout-shift",
}
LIGHTHOUSE = "build/lighthouse/node_modules/.bin/lighthouse"
TARGET = 95
PATIENCE_S = 300  # for one page
TRIES = 4  # of a run, when the machine is busy

Report = dict[str, Any]


class Compressed(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, compressed like any web host does."""

    def send_head(self) -> io.BytesIO | None:  # type: ignore[override]
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return None
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("content-type", self.guess_type(str(path)))
        if "gzip" in self.headers.get("accept-encoding", "") and not path.match("*.png"):
            body = gzip.compress(body)
            self.send_header("content-encoding", "gzip")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        return io.BytesIO(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """The address of a folder's files."""
    handler = functools.partial(Compressed, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def find_program() -> str:
    """Lighthouse's command. Raises `SystemExit` if it or what it needs is missing."""
    program = shutil.which("lighthouse") or shutil.which(LIGHTHOUSE)
    if not shutil.which("node"):
        raise SystemExit("Node.js is missing. Install it (https://nodejs.org).")
    if not program:
        raise SystemExit(
            "Lighthouse is missing. npm install --prefix build/lighthouse lighthouse@12"
        )
    return program


def inspect(program: str, url: str) -> Report:
    """Lighthouse's report on one page."""
    chromium = os.environ.get("MODELPAD_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [program, url, "--quiet", "--output=json", f"--output-path={path}"]
        command += [f"--only-categories={','.join(CATEGORIES)}"]
        command += ["--chrome-flags=--headless=new --no-sandbox --disable-gpu"]
        environment = os.environ | ({"CHROME_PATH": chromium} if chromium else {})
        subprocess.run(command, check=True, env=environment, timeout=PATIENCE_S)
        report: Report = json.loads(path.read_text("utf-8"))
    return report


def inspect_calmly(program: str, url: str, index: float) -> Report:
    """The first report while the machine reached this index, else that with the highest."""
    reports = []
    for _ in range(TRIES):
        reports.append(inspect(program, url))
        if reports[-1]["environment"]["benchmarkIndex"] >= index:
            break
    return max(reports, key=lambda report: report["environment"]["benchmarkIndex"])


def summarize(reports: list[Report]) -> dict[str, float]:
    """The medians of scores, of metrics and of the machine's index."""
    rows = [
        {
            **{name: round(100 * report["categories"][name]["score"]) for name in CATEGORIES},
            **{
                name: round(report["audits"][audit]["numericValue"], 3)
                for name, audit in METRICS.items()
            },
            "benchmark_index": report["environment"]["benchmarkIndex"],
        }
        for report in reports
    ]
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def list_pages(stack: ExitStack, options: argparse.Namespace) -> dict[str, str]:
    """The addresses by name, of servers that run until the stack is closed."""
    several = stack.enter_context(serve(*BUNDLED, *options.model))
    names = [*BUNDLED, *(Path(model).name.partition(".")[0] for model in options.model)]
    pages = {"gallery": f"{several}/", "API reference": f"{several}/docs"}
    pages |= {f"model {name}": f"{several}/m/{name}" for name in names}
    pages["digits alone"] = stack.enter_context(serve("digits")) + "/"
    site = Path(options.site)
    if (site / "index.html").exists():
        documents = stack.enter_context(serve_folder(site))
        pages |= {f"site {page}": f"{documents}/{page}" for page in SITE_PAGES}
    else:
        print(f"{site} has no site; `make docs` builds it.", file=sys.stderr)
    return {name: url for name, url in pages.items() if options.only in name}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--index", type=float, default=0, help="of the machine, for each run")
    parser.add_argument("--only", default="", help="pages whose name contains this")
    parser.add_argument("--model", action="append", default=[], help="another model to serve")
    parser.add_argument("--site", default="build/docs")
    parser.add_argument("--reports", type=Path, help="a folder for the full reports")
    options = parser.parse_args()
    program = find_program()
    results = {}
    with ExitStack() as stack:
        for name, url in list_pages(stack, options).items():
            reports = [inspect_calmly(program, url, options.index) for _ in range(options.runs)]
            results[name] = summarize(reports)
            print(name, results[name], file=sys.stderr)
            if options.reports:
                options.reports.mkdir(parents=True, exist_ok=True)
                for run, report in enumerate(reports):
                    file = options.reports / f"{name.replace('/', ' ')} {run}.json"
                    file.write_text(json.dumps(report), "utf-8")
    if not results:
        raise SystemExit(f"No page has {options.only!r} in its name.")
    print(json.dumps(results, indent=2))
    below = [
        name for name, row in results.items() if min(row[each] for each in CATEGORIES) < TARGET
    ]
    if below:
        raise SystemExit(f"Below {TARGET}: {', '.join(below)}")


if __name__ == "__main__":
    main()

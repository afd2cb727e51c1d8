"""Prints the figures of tests/peers/run as Markdown.

    python table.py --rustc "rustc 1.95.0" target/peers/one target/peers/two

Each is the path of lines of JSON, less `.jsonl`.
"""

import argparse
import datetime
import json
import pathlib

COLUMNS = [
    ("django-cacheops 7.2", "classic", "django-cacheops, classic"),
    ("django-cacheops 7.2", "insideout", "insideout"),
    ("cacheops for Rust", "near", "this, by default"),
    ("cacheops for Rust", "strict", "this, strict"),
]
ROWS = [
    ("get", "GET of 2 KB by the same client"),
    ("hit", "hit through the tag"),
    ("page20", "page of 20 hits"),
    ("cached_as_function", "hit of a function"),
    ("miss", "miss, without the body"),
    ("invalidate_obj_0", "`invalidate_obj`, no dependents"),
    ("invalidate_obj_1000", "… 1,000 dependents"),
    ("invalidate_obj_100000", "… 100,000 dependents"),
    ("invalidate_obj_100000_unrelated", "… 100,000 unrelated"),
    ("invalidate_model_100000", "`invalidate_model`, 100,000 in one conjunction"),
    ("invalidate_model_100000_conjunctions", "… in as many conjunctions"),
]
PLACES = {
    "one": "Microseconds, client and server on one core",
    "two": "Microseconds, a core for each",
}


def number(value):
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def table(lines, title):
    found = {(line["peer"], line["mode"], line["what"]): line for line in lines}

    def cells(what, show):
        lines = [found.get((peer, mode, what)) for peer, mode, _ in COLUMNS]
        return [show(line) if line else "–" for line in lines]

    def row(name, cells):
        print(f"| {' | '.join([name, *cells])} |")

    row(title, [name for _, _, name in COLUMNS])
    print("|---" * (1 + len(COLUMNS)) + "|")
    for what, name in ROWS:
        row(name, cells(what, lambda line: number(line["p50"])))
    trips = [cells(f"trips_{what}", lambda line: f"{line['p50']:.0f}")
             for what in ("hit", "miss", "page20")]
    row("trips: hit / miss / page of 20", [" / ".join(each) for each in zip(*trips)])
    row("Redis bytes a fragment, of 2,048", cells("memory", lambda line: f"{line['fragment']:,.0f}"))
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rustc", default="")
    parser.add_argument("paths", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    versions = {}
    for path in args.paths:
        lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
        versions |= next(line for line in lines if line["what"] == "versions")
        table(lines, PLACES.get(path.name, path.name))
    print(
        f"{datetime.date.today():%B %Y}; {versions['cpus']} cores; Redis"
        f" {versions['redis_server']}; Python {versions['python']}, Django {versions['django']},"
        f" redis-py {versions['redis_py']}, Jinja2 {versions['jinja2']}; {args.rustc.split(' (')[0]}."
        " Medians; fragments of 2,048 bytes of HTML."
    )


main()

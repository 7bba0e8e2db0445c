#!/usr/bin/env python3
"""Draws dashboard.json to a picture without Grafana, for the documentation.

It asks a Prometheus for every query of the dashboard, as Grafana would, and lays the panels out by their gridPos. It
knows what this dashboard uses of Grafana (rows; stat, bargauge and timeseries panels; a few units), not more, and stops
at anything else. Needs matplotlib:

    python3 -m venv venv && venv/bin/pip install matplotlib
    venv/bin/python deploy/grafana/render.py --prometheus http://127.0.0.1:9091 --minutes 15 docs/images/dashboard.png
"""

import argparse
import json
import math
import pathlib
import re
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image

WIDTH, UNIT, GAP, TOP = 1600, 31, 6, 64  # pixels: the picture, a grid row, between panels, the bar at the top
PAGE, PANEL, EDGE, GRID, TEXT, DIM = "#111217", "#181b1f", "#24272d", "#2b2e34", "#d0d1da", "#8e8f99"
COLORS = {"green": "#73bf69", "yellow": "#fade2a", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2",
          "purple": "#b877d9", "text": "#ccccdc", "transparent": "none"}
PALETTE = ["#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300"]


class Prometheus:
    """Answers queries with the dashboard's variables put in, over one range of time."""

    def __init__(self, address, end, minutes, scrape_seconds, variables):
        self.address, self.end, self.scrape, self.variables = address, end, scrape_seconds, variables
        self.start = self.end - minutes * 60
        self.step = max(scrape_seconds, (self.end - self.start) / 240)

    def series(self, panel, target):
        """[(labels, [(time, value), …]), …]"""
        start = self.end - self.end % 86400 if panel.get("timeFrom") == "now/d" else self.start
        values = dict(self.variables, __range=f"{math.ceil(self.end - start)}s",
                      __rate_interval=f"{math.ceil(max(self.step + self.scrape, 4 * self.scrape))}s")
        query = re.sub(r"\$(\w+)", lambda name: values[name[1]], target["expr"])
        if target.get("instant"):
            return [(one["metric"], [one["value"]]) for one in self._ask("query", query=query, time=self.end)]
        answer = self._ask("query_range", query=query, start=start, end=self.end, step=self.step)
        return [(one["metric"], one["values"]) for one in answer]

    def _ask(self, what, **parameters):
        url = f"{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)["data"]["result"]


def shown(value, unit, decimals=None):
    """A value as Grafana writes it."""
    def number(x):
        if decimals is not None:
            return f"{x:.{decimals}f}"
        # Three digits that count, and no zeros behind them.
        return f"{x:.0f}" if abs(x) >= 100 else f"{x:.{1 if abs(x) >= 10 else 2}f}".rstrip("0").rstrip(".")

    def scaled(x):
        for size, suffix in ((1e9, " B"), (1e6, " M"), (1e3, " K")):
            if abs(x) >= size:
                return number(x / size) + suffix
        return number(x)

    if math.isnan(value):
        return "–"
    if unit == "s":
        for size, suffix in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s")):
            if abs(value) >= size:
                return f"{number(value / size)} {suffix}"
        if value == 0:
            return "0 s"
        return f"{number(value * 1e3)} ms" if abs(value) >= 1e-3 else f"{number(value * 1e6)} µs"
    if unit == "decbytes":
        return f"{number(value / 1e6)} MB"
    if unit == "percentunit":
        return number(value * 100) + "%"
    if unit.startswith("currency:"):
        return unit.removeprefix("currency:") + scaled(value)
    return scaled(value) + {"reqps": " req/s", "ops": " ops/s", "short": "", "none": ""}[unit]


def color_of(defaults, value):
    mode = defaults.get("color", {})
    if mode.get("mode") == "thresholds":
        reached = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
        return COLORS[reached[-1]["color"]]
    return COLORS[mode["fixedColor"]] if mode.get("mode") == "fixed" else None


def overrides_of(panel, name):
    """The properties that the panel's overrides give to the series of this name."""
    for override in panel["fieldConfig"]["overrides"]:
        assert override["matcher"]["id"] == "byName"
        if override["matcher"]["options"] == name:
            return {each["id"]: each["value"] for each in override["properties"]}
    return {}


def fields(panel, prometheus):
    """Every series of a panel: name, colour, points, and its overrides."""
    found, fixed = [], color_of(panel["fieldConfig"]["defaults"], math.nan)
    for target in panel["targets"]:
        for labels, points in sorted(prometheus.series(panel, target), key=lambda one: sorted(one[0].items())):
            name = re.sub(r"{{(\w+)}}", lambda label: labels.get(label[1], ""), target.get("legendFormat", ""))
            found.append((name, [(at, float(value)) for at, value in points]))
    for index, (name, points) in enumerate(found):
        properties = overrides_of(panel, name)
        own = COLORS[properties["color"]["fixedColor"]] if "color" in properties else None
        yield name, own or fixed or PALETTE[index % len(PALETTE)], points, properties


class Canvas:
    def __init__(self, panels):
        self.height = TOP + UNIT * max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels) + GAP
        self.figure = plt.figure(figsize=(WIDTH / 100, self.height / 100), dpi=100, facecolor=PAGE)

    def text(self, x, y, text, size=9, color=TEXT, **how):
        return self.figure.text(x / WIDTH, 1 - y / self.height, text, fontsize=size, color=color, va="center", **how)

    def width_of(self, text, size):
        drawn = self.text(0, 0, text, size)
        width = drawn.get_window_extent(self.figure.canvas.get_renderer()).width
        drawn.remove()
        return width

    def axes(self, x, y, w, h):
        place = (x / WIDTH, 1 - (y + h) / self.height, w / WIDTH, h / self.height)
        axes = self.figure.add_axes(place, facecolor="none")
        axes.tick_params(colors=DIM, labelsize=7.5, length=0, pad=3)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes

    def box(self, x, y, w, h):
        axes = self.axes(x, y, w, h)
        axes.set(xlim=(0, w), ylim=(0, h), xticks=[], yticks=[])
        rounded = "round,pad=0,rounding_size=3"
        axes.add_patch(FancyBboxPatch((1, 1), w - 2, h - 2, rounded, facecolor=PANEL, edgecolor=EDGE))


def stat(canvas, panel, prometheus, x, y, w, h):
    defaults, series = panel["fieldConfig"]["defaults"], list(fields(panel, prometheus))
    for index, (name, _, points, _) in enumerate(series):
        left, width, value = x + index * w / len(series), w / len(series), points[-1][1]
        color = color_of(defaults, value)
        if panel["options"]["graphMode"] == "area" and len(points) > 1:
            axes = canvas.axes(left + 2, y + h * 0.62, width - 4, h * 0.38 - 2)
            axes.fill_between(*zip(*points), color=color, alpha=0.25, lw=0)
            axes.plot(*zip(*points), color=color, lw=1)
            axes.set(xticks=[], yticks=[], ylim=(0, None), xlim=(points[0][0], points[-1][0]))
        text = shown(value, defaults["unit"], defaults.get("decimals"))
        canvas.text(left + width / 2, y + h / 2, text, 17 if len(series) > 1 else 21, color, ha="center")
        canvas.text(left + width / 2, y + h / 2 + 26, name, 8, DIM, ha="center")


def bargauge(canvas, panel, prometheus, x, y, w, h):
    defaults, series = panel["fieldConfig"]["defaults"], list(fields(panel, prometheus))
    most, line = max(points[-1][1] for _, _, points, _ in series), (h - 8) / len(series)
    axes = canvas.axes(x, y, w, h)
    axes.set(xlim=(0, w), ylim=(h, 0), xticks=[], yticks=[])
    for index, (name, color, points, _) in enumerate(series):
        top, length = 4 + index * line, (w - 268) * points[-1][1] / most
        axes.add_patch(Rectangle((180, top + 5), w - 268, line - 10, color=GRID, lw=0))
        axes.add_patch(Rectangle((180, top + 5), length, line - 10, color=color, lw=0, alpha=0.85))
        axes.text(172, top + line / 2, name, color=TEXT, fontsize=9, ha="right", va="center")
        value = shown(points[-1][1], defaults["unit"])
        axes.text(w - 10, top + line / 2, value, color=color, fontsize=11, ha="right", va="center")


def legend(canvas, entries, x, bottom, w):
    """Drawn upwards from the bottom; returns its height."""
    lines, used = [[]], 0
    for name, color in entries:
        width = 28 + canvas.width_of(name, 8)
        if used + width > w and lines[-1]:
            lines, used = [*lines, []], 0
        lines[-1].append((x + used, name, color))
        used += width
    for row, line in enumerate(reversed(lines)):
        for left, name, color in line:
            canvas.text(left, bottom - 8 - 16 * row, "▬", 8, color)
            canvas.text(left + 14, bottom - 8 - 16 * row, name, 8, DIM)
    return 16 * len(lines) + 4


def round_step(seconds):
    """The next step of a clock."""
    return next((step for step in (60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200) if step >= seconds), 86400)


def timeseries(canvas, panel, prometheus, x, y, w, h):
    defaults, series = panel["fieldConfig"]["defaults"], list(fields(panel, prometheus))
    custom, unit = defaults["custom"], defaults["unit"]
    low = legend(canvas, [(name, color) for name, color, _, _ in series], x + 10, y + h - 4, w - 16)
    axes = canvas.axes(x + 62, y + 4, w - 74, h - low - 28)
    times = sorted({at for _, _, points, _ in series for at, _ in points})
    base, highest = dict.fromkeys(times, 0.0), custom.get("axisSoftMax", 0)
    for _, color, points, properties in series:
        values, fill = dict(points), properties.get("custom.fillOpacity", custom["fillOpacity"]) / 100
        # A gap where there is no value, as Grafana leaves one.
        floor = list(base.values())
        top = [base[at] + values.get(at, math.nan) for at in times]
        if "stacking" in custom:
            base = {at: base[at] + values.get(at, 0.0) for at in times}
        highest = max([highest, *(each for each in top if not math.isnan(each))])
        days = [at / 86400 for at in times]
        stepped = custom.get("lineInterpolation") == "stepAfter"
        style = (0, (5, 4)) if "custom.lineStyle" in properties else "-"
        axes.plot(days, top, color=color, lw=1.2, ls=style, drawstyle="steps-post" if stepped else "default")
        axes.fill_between(days, floor, top, color=color, alpha=fill, lw=0, step="post" if stepped else None)
    axes.set_xlim(prometheus.start / 86400, prometheus.end / 86400)
    every = round_step((prometheus.end - prometheus.start) * 90 / w)
    axes.xaxis.set_major_locator(plt.MultipleLocator(every / 86400))
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
    axes.set_ylim(defaults["min"], defaults.get("max", highest or 1) * 1.06)
    whole = unit == "none" or defaults.get("decimals") == 0
    if unit == "s" and highest > 300:
        axes.yaxis.set_major_locator(plt.MultipleLocator(round_step(highest / 5)))
    else:
        axes.yaxis.set_major_locator(plt.MaxNLocator(5, integer=whole, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, unit, defaults.get("decimals")))
    axes.grid(color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    if "thresholdsStyle" in custom:
        for each in defaults["thresholds"]["steps"][1:]:
            axes.axhline(each["value"], color=COLORS[each["color"]], lw=1, alpha=0.8)


def top_bar(canvas, dashboard):
    canvas.text(14, 20, dashboard["title"], 14)
    left = 14
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "datasource":
            continue
        value = variable["current"].get("text", "")
        canvas.text(left, 48, variable["label"], 9, COLORS["blue"])
        left += canvas.width_of(variable["label"], 9) + 8
        canvas.text(left, 48, value, 9)
        left += canvas.width_of(value, 9) + 28


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--prometheus", default="http://127.0.0.1:9090")
    arguments.add_argument("--minutes", type=float, default=15, help="how far back")
    arguments.add_argument("--end", type=float, default=time.time(), help="until when, in seconds since 1970")
    arguments.add_argument("--scrape", type=float, default=15, help="Prometheus' scrape interval in seconds")
    arguments.add_argument("output")
    given = arguments.parse_args()

    dashboard = json.loads(pathlib.Path(__file__).with_name("dashboard.json").read_text())
    variables = {each["name"]: each["current"].get("value", "") for each in dashboard["templating"]["list"]}
    variables = {name: ".*" if value == "$__all" else value for name, value in variables.items()}
    prometheus = Prometheus(given.prometheus, given.end, given.minutes, given.scrape, variables)

    plt.rcParams["font.family"] = "DejaVu Sans"
    canvas = Canvas(dashboard["panels"])
    top_bar(canvas, dashboard)
    draw = {"stat": stat, "bargauge": bargauge, "timeseries": timeseries}
    column = (WIDTH - GAP) / 24
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        x, y = GAP + grid["x"] * column, TOP + grid["y"] * UNIT
        w, h = grid["w"] * column - GAP, grid["h"] * UNIT - GAP
        if panel["type"] == "row":
            canvas.text(x + 6, y + h / 2 + 2, "⌄  " + panel["title"], 11)
            continue
        canvas.box(x, y, w, h)
        canvas.text(x + 10, y + 14, panel["title"], 9.5)
        if panel.get("timeFrom"):
            canvas.text(x + w - 8, y + 14, "Today so far", 7.5, DIM, ha="right")
        draw[panel["type"]](canvas, panel, prometheus, x, y + 26, w, h - 28)
        if not any(points for _, _, points, _ in fields(panel, prometheus)):
            print(f"no data: {panel['title']}")
    canvas.figure.savefig(given.output, facecolor=PAGE)
    # A palette is enough for flat colours, and a third of the size.
    flat = Image.open(given.output).convert("RGB").quantize(256, kmeans=3, dither=Image.Dither.NONE)
    flat.save(given.output, optimize=True)


if __name__ == "__main__":
    main()

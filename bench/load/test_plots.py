"""Colours that can be told from the page, and pictures that are the same each time. Only where matplotlib is."""
import importlib.util
import io
import os
import tempfile
import unittest

from figures import Figures

PAGES = {"light": "#ffffff", "dark": "#0d1117"}


def luminance(colour):
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    less, more = sorted((luminance(one), luminance(other)))
    return (more + 0.05) / (less + 0.05)


@unittest.skipUnless(importlib.util.find_spec("matplotlib"), "there is no matplotlib here")
class PlotsTest(unittest.TestCase):
    def test_every_bar_stands_out_on_both_pages(self):
        import plots

        for colour in (*plots.COLOURS.values(), *plots.VARIANTS):
            for page, background in PAGES.items():
                self.assertGreaterEqual(contrast(colour, background), 3, f"{colour} on {page}")

    def test_the_same_figures_are_the_same_picture(self):
        figures = Figures(io.StringIO())
        for name, cost in {"nginx": 10, "gateway": 8}.items():
            figures.put(0, "plain", "plain, 64 connections", name, {"cpu_us_per_request": cost})
        one, other = drawn(figures), drawn(figures)
        self.assertEqual(one, other)
        self.assertEqual(sorted(one), ["cpu.svg", "overview.svg"])
        for svg in one.values():
            # Text is text, in the colour of the page; nothing is black by default.
            self.assertIn("prefers-color-scheme: dark", svg)
            for line in svg.splitlines():
                self.assertTrue("<text " not in line or "fill: currentColor" in line, line)

    def test_a_finished_run_is_drawn_from_its_raw_figures(self):
        raw = io.StringIO()
        figures = Figures(raw)
        for turn, cost in enumerate((8, 9)):
            figures.put(turn, "plain", "plain, 64 connections", "gateway", {"cpu_us_per_request": cost})
            figures.put(turn, "plain", "plain, 64 connections", "nginx", {"cpu_us_per_request": 10})
        raw.seek(0)
        self.assertEqual(drawn(Figures.of_raw(raw)), drawn(figures))


def drawn(figures):
    import plots

    with tempfile.TemporaryDirectory() as folder:
        plots.draw(figures, folder)
        texts = {}
        for name in os.listdir(folder):
            with open(f"{folder}/{name}", encoding="utf-8") as file:
                texts[name] = file.read()
        return texts

"""Medians, ratios within a round, and verdicts."""
import io
import unittest

import idle
import options
import tables
import targets
from figures import Figures
from targets import Target, verdict

GROUP, SCENARIO = "plain", "plain, 64 connections"


def figures(**contenders):
    """µs per request, a value for every round; None: it did not come off."""
    made = Figures(io.StringIO())
    for name, rounds in contenders.items():
        for turn, cost in enumerate(rounds):
            measures = {"cpu_us_per_request": cost, "user_us": cost and 25, "kernel_us": cost and 75}
            made.put(turn, GROUP, SCENARIO, name, measures)
    return made


class FiguresTest(unittest.TestCase):
    def test_a_ratio_is_of_one_round(self):
        made = figures(nginx=[10, 20], gateway=[9, 10])
        self.assertEqual(made.ratios(GROUP, SCENARIO, "gateway", "nginx", "cpu_us_per_request"), [0.9, 0.5])

    def test_a_round_without_one_of_them_has_no_ratio(self):
        made = figures(nginx=[None, 20, 10], gateway=[9, 10, None])
        self.assertEqual(made.ratios(GROUP, SCENARIO, "gateway", "nginx", "cpu_us_per_request"), [0.5])

    def test_every_figure_is_written_as_it_comes(self):
        written = figures(nginx=[10.123456]).file.getvalue().splitlines()
        self.assertEqual(written[0], "round,group,scenario,contender,measure,value")
        self.assertEqual(written[1], '1,plain,"plain, 64 connections",nginx,cpu_us_per_request,10.1235')


class TargetTest(unittest.TestCase):
    def test_the_median_of_the_ratios_counts_and_not_the_ratio_of_the_medians(self):
        made = figures(nginx=[10, 20, 30], gateway=[8, 20, 15])
        self.assertEqual(Target("", GROUP, SCENARIO, 0.8).measured(made), 0.8)

    def test_a_figure_by_itself_is_the_median(self):
        self.assertEqual(Target("", GROUP, SCENARIO, 1, rival=None).measured(figures(gateway=[3, 1, 2])), 2)

    def test_a_verdict_is_about_what_was_measured_and_not_about_what_is_printed(self):
        self.assertEqual(verdict(0.8, 0.8), "met")
        self.assertEqual(verdict(0.8004, 0.8), "**missed**")
        self.assertEqual(verdict(None, 0.8), "**not measured**")

    def test_a_target_without_a_figure_keeps_its_row(self):
        rows = tables.targets_table(figures(nginx=[1]), ["429"], False)
        self.assertIn("**not measured**", rows[2])

    def test_each_target_is_about_a_group_that_there_is(self):
        self.assertLessEqual({target.group for target in targets.TARGETS}, set(options.GROUPS))

    def test_a_glance_has_every_target_of_requests(self):
        glance, usual = (targets.of_groups(groups, quick) for groups, quick in
                         ((options.QUICK, True), (options.USUAL, False)))  # fmt: skip
        self.assertEqual([one.scenario for one in usual if one not in glance], [f"{idle.CONNECTION}: {idle.FURTHER}"])


class TableTest(unittest.TestCase):
    def test_a_line_has_medians_parts_and_the_ratio_of_every_round(self):
        made = figures(nginx=[10, 20], gateway=[9, 10])
        lines = tables.group_tables(made, GROUP)
        self.assertEqual(lines[3], f"| {SCENARIO} | nginx | 15.00 | 3.75 | 11.25 | – | – |")
        self.assertEqual(lines[4], f"| {SCENARIO} | gateway | 9.50 | 2.38 | 7.12 | – | 0.70 (0.90 0.50) |")

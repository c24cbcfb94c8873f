"""The command line, the CPUs, and the templates of the rivals."""
import os
import tempfile
import unittest
from unittest import mock

import contenders
import machine
import options
from machine import Cpus, Mistake


class CommandLineTest(unittest.TestCase):
    def test_mistakes_are_told(self):
        wrong = (["--foo"], ["--only", "nothing"], ["--rounds", "0"], ["--cores", "x"], ["--accept"],
                 ["--variant", "name"], ["--variant", "n:KEY"], ["--contenders", "apache"])  # fmt: skip
        for arguments in wrong:
            with self.subTest(arguments), self.assertRaises(Mistake):
                options.parse(arguments)

    def test_a_variant_is_one_more_gateway(self):
        parsed = options.parse(["--variant", "copy:WS_SPLICE_MIN=1GiB,CORES=0", "--contenders", "gateway-copy"])
        self.assertEqual(parsed.variant, {"gateway-copy": {"WS_SPLICE_MIN": "1GiB", "CORES": "0"}})

    def test_a_run_is_never_written_over(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(options, "ROOT", folder):
            first = options.folder(options.parse([]))
            os.makedirs(first)
            self.assertEqual(options.folder(options.parse([])), f"{first}-2")
            with self.assertRaises(Mistake):
                options.folder(options.parse(["--out", folder]))


class CpusTest(unittest.TestCase):
    def test_the_first_are_the_proxies(self):
        self.assertEqual(Cpus.split({0, 1, 2, 3}, 2), Cpus((0, 1), (2, 3)))

    def test_where_none_is_left_they_share(self):
        self.assertEqual(Cpus.split({0, 1}, 2), Cpus((0, 1), (0, 1), shared=True))

    def test_more_than_there_are_is_a_mistake(self):
        with self.assertRaises(Mistake):
            Cpus.split({0, 1}, 3)

    def test_they_are_written_as_each_program_reads_them(self):
        self.assertEqual(machine.cpu_mask((0, 2)), "101")
        self.assertEqual([contenders.cpu_list(cpus) for cpus in ((3,), (0, 1))], ["3,", "0,1"])

    def test_a_machine_has_a_short_name(self):
        self.assertEqual(machine.slug_of(2, "AMD EPYC"), "2-cpus-amd-epyc")
        self.assertEqual(machine.slug_of(8, "Intel(R) Xeon(R) CPU @ 2.20GHz"), "8-cpus-intel-xeon")


class TemplatesTest(unittest.TestCase):
    def test_a_word_is_filled_in_and_an_unknown_one_is_a_mistake_of_ours(self):
        self.assertEqual(contenders.fill("listen @PORT@;", {"PORT": 1}), "listen 1;")
        with self.assertRaises(KeyError):
            contenders.fill("@PORT@", {})

    def test_every_rival_has_all_its_words(self):
        with tempfile.TemporaryDirectory() as folder:
            line = contenders.Line(folder, options.parse([]), Cpus((0,), (1,)))
            for name in options.CONTENDERS[:-1]:
                self.assertTrue(line.rival(name).command)
            self.assertEqual(line.gateways({})[0].environment["CORES"], "0,")

    def test_the_small_body_has_200_bytes(self):
        self.assertEqual(len(contenders.SMALL), 200)

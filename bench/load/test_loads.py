"""What wrk prints, and what becomes of it."""
import unittest

from loads import Counted, Request, spelt
from machine import Failed

WRK = """Running 1s test @ http://127.0.0.1:19010/api/small
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   826.12us  112.35us   3.10ms   92.12%
    Req/Sec    77.61k     1.02k   78.91k    80.00%
  {requests} requests in {took}, 22.01MB read
{rest}Requests/sec:  77612.91
Transfer/sec:     20.01MB
"""
NOT_2XX = "  Non-2xx or 3xx responses: {count}\n"


def counted(requests=100, took="1.10s", rest=""):
    return Counted.parse(WRK.format(requests=requests, took=took, rest=rest))


class WrkTest(unittest.TestCase):
    def test_requests_and_time_are_read(self):
        self.assertEqual(counted(78043), Counted(78043, 1.1, 0, ""))

    def test_every_unit_of_time_is_understood(self):
        for took, seconds in (("900.00ms", 0.9), ("1.00s", 1), ("2.00m", 120)):
            self.assertAlmostEqual(counted(took=took).seconds, seconds)

    def test_socket_errors_are_told(self):
        errors = "connect 0, read 3, write 0, timeout 1"
        self.assertEqual(counted(rest=f"  Socket errors: {errors}\n").socket_errors, errors)

    def test_a_refusal_among_answers_is_a_failure(self):
        with self.assertRaisesRegex(Failed, "3 of 100 answers were not 200"):
            counted(rest=NOT_2XX.format(count=3)).check(200)

    def test_an_answer_among_refusals_is_a_failure(self):
        counted(rest=NOT_2XX.format(count=100)).check(429)
        with self.assertRaisesRegex(Failed, "1 of 100 answers were not 429"):
            counted(rest=NOT_2XX.format(count=99)).check(429)

    def test_no_request_at_all_is_a_failure(self):
        with self.assertRaises(Failed):
            counted(requests=0).check(200)

    def test_anything_else_is_a_failure(self):
        with self.assertRaises(Failed):
            Counted.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


class FlagsTest(unittest.TestCase):
    def test_fields_of_a_request(self):
        request = Request(fields=(("Connection", "close"),))
        self.assertEqual(request.flags("-H"), ["-H", "Connection: close"])
        self.assertEqual(spelt({"warm-up": 0.5}), ["--warm-up", "0.5"])

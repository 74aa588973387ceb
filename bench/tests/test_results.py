"""Results, their file, and the table made of them."""

import tempfile
import unittest
from pathlib import Path

from lanlab.result import HostResult, Result, Skipped, read, write
from lanlab.table import spread, table, typical


def result(ends: list[float | None], tool: str = "tnet", bound: float | None = 10.0, slow: int = 0) -> Result:
    hosts = [HostResult("seed", 100, 100, 1040, 5)]
    for number, end in enumerate(ends):
        role = "slow" if number < slow else "receiver"
        done = end is not None
        hosts.append(HostResult(role, 100, 100, 900, 1000, 0.0, end, None, done, 10 if done else None))
    return Result(
        scenario="lan8",
        tool=tool,
        version="1",
        settings={},
        repetition=0,
        at="2026-01-01T00:00:00+00:00",
        machine="2 cores",
        file_bytes=1000,
        bound_s=bound,
        hosts=hosts,
        cpu_s=1.5,
        seed_rss_bytes=1 << 20,
        receiver_rss_bytes=2 << 20,
        seed_payload_bytes=1000,
        timed_out=None in ends,
    )


class Figures(unittest.TestCase):
    def test_the_last_receiver_counts_against_the_bound(self) -> None:
        self.assertAlmostEqual(result([11, 12, 10.5]).last_ratio() or 0, 1.2)
        self.assertAlmostEqual(result([11, 12, 10.5]).median_ratio() or 0, 1.1)

    def test_a_receiver_that_did_not_finish_leaves_no_last_one(self) -> None:
        self.assertIsNone(result([11, None]).last_ratio())
        self.assertEqual(result([11, None]).verified, 1)

    def test_a_late_start_is_not_charged(self) -> None:
        late = result([11, 15])
        late.hosts[2].start_s = 5.0
        self.assertAlmostEqual(late.last_s() or 0, 11)

    def test_slow_receivers_are_reported_on_their_own(self) -> None:
        run = result([20, 11, 12], slow=1)
        self.assertAlmostEqual(run.last_ratio("slow") or 0, 2.0)
        self.assertAlmostEqual(run.last_ratio("receiver") or 0, 1.2)

    def test_copies_and_waste_are_in_units_of_the_file_and_of_the_delivered_bytes(self) -> None:
        run = result([11, 12])
        self.assertAlmostEqual(run.seed_copies_wire(), 1.04)
        self.assertAlmostEqual(run.wasted_percent() or 0, 1.0)

    def test_a_result_survives_its_file(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "lan8.jsonl"
            written, absent = result([11, None], slow=1), Skipped("lan8", "rqbit", "not installed")
            write(path, written)
            write(path, absent)
            self.assertEqual(read([path]), ([written], [absent]))


class Table(unittest.TestCase):
    def test_a_spread_is_median_least_and_most(self) -> None:
        self.assertEqual(spread([1.3, 1.1, 1.2]), "1.20 (1.10-1.30)")
        self.assertEqual(spread([1.1, 1.2]), "1.15 (1.10-1.20)")
        self.assertEqual(spread([2.0]), "2.00")
        self.assertEqual(spread([]), "-")

    def test_the_fastest_tool_comes_first_and_the_absent_one_is_named(self) -> None:
        text = table(
            [result([30], "slowpoke"), result([11], "tnet")],
            [Skipped("lan8", "rqbit", "not installed")],
        )
        self.assertLess(text.index("| tnet"), text.index("| slowpoke"))
        self.assertIn("| rqbit | not installed |", text)

    def test_every_row_has_as_many_cells_as_the_heading(self) -> None:
        lines = table([result([11])], [Skipped("lan8", "rqbit", "not installed")]).splitlines()
        self.assertEqual(len({line.count("|") for line in lines if line.startswith("|")}), 1)

    def test_a_run_that_timed_out_is_named_and_comes_last(self) -> None:
        text = table([result([11, None], "stuck"), result([30, 31], "tnet")], [])
        self.assertLess(text.index("| tnet"), text.index("| stuck"))
        self.assertIn("1 not finished", text)

    def test_the_typical_run_is_the_one_in_the_middle(self) -> None:
        runs = [result([13]), result([11]), result([12])]
        self.assertIs(typical(runs), runs[2])


if __name__ == "__main__":
    unittest.main()

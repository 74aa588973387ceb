"""The bound, in cases that can be computed by hand."""

import unittest

from lanlab.bound import chunked_bound, fluid_bound
from lanlab.scenarios import SCENARIOS, equal


class FluidBound(unittest.TestCase):
    def test_equal_links_need_one_file_time_for_any_number_of_receivers(self) -> None:
        for receivers in (1, 2, 16, 1000):
            self.assertAlmostEqual(fluid_bound(100, [10], [10] * receivers, [10] * receivers), 10)

    def test_a_slow_seed_must_still_send_every_byte_once(self) -> None:
        self.assertAlmostEqual(fluid_bound(100, [5], [10] * 4, [10] * 4), 20)

    def test_the_slowest_downlink_holds_the_last_receiver_up(self) -> None:
        self.assertAlmostEqual(fluid_bound(100, [10], [10] * 4, [10, 10, 10, 2]), 50)

    def test_all_uplinks_together_carry_one_copy_for_each_receiver(self) -> None:
        # Three copies of 100 through 10 + 1 + 1 + 1.
        self.assertAlmostEqual(fluid_bound(100, [10], [1, 1, 1], [10] * 3), 300 / 13)

    def test_seeds_add_up(self) -> None:
        self.assertAlmostEqual(fluid_bound(100, [5, 5], [0, 0], [10, 10]), 20)

    def test_without_a_receiver_there_is_no_bound(self) -> None:
        with self.assertRaises(ValueError):
            fluid_bound(100, [10], [], [])


class ChunkedBound(unittest.TestCase):
    def test_one_receiver_needs_no_more_than_the_fluid(self) -> None:
        self.assertAlmostEqual(chunked_bound(100, 10, 1, 50), 10)

    def test_sixteen_receivers_and_512_chunks_need_less_than_a_hundredth_more(self) -> None:
        self.assertAlmostEqual(chunked_bound(100, 10, 16, 512), 10 * (1 + 4 / 512))


class Scenarios(unittest.TestCase):
    def test_the_bound_of_lan16_is_the_file_over_the_line_rate(self) -> None:
        self.assertAlmostEqual(SCENARIOS["lan16"].bound_s() or 0, 128 * 2**20 * 8 / 100e6)

    def test_two_slow_uplinks_make_the_sum_of_uplinks_the_limit(self) -> None:
        line = SCENARIOS["lan16"].bound_s() or 0
        self.assertAlmostEqual(SCENARIOS["slow-up"].bound_s() or 0, line * 1600 / 1520)

    def test_one_by_one_each_receiver_is_held_to_its_own_downlink(self) -> None:
        joining = SCENARIOS["joining"]
        self.assertAlmostEqual(joining.bound_s() or 0, SCENARIOS["lan16"].bound_s() or 0)
        self.assertEqual(joining.starts_s(), [float(second) for second in range(16)])

    def test_an_unshaped_link_has_no_bound(self) -> None:
        self.assertIsNone(equal("free", "", 3, None, 1).bound_s())

    def test_no_scenario_asks_more_of_two_cores_than_they_carry(self) -> None:
        for scenario in SCENARIOS.values():
            rates = [link.down_mbit for link in scenario.receivers if link.down_mbit is not None]
            self.assertLessEqual(sum(rates), 1600, scenario.name)


if __name__ == "__main__":
    unittest.main()

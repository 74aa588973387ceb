"""The plots are well-formed XML and say what they were given."""

import unittest
from typing import Any
from xml.etree import ElementTree

from lanlab.plot_completion import completion_plot
from lanlab.plot_links import links_plot

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def filled(svg: str, kind: str) -> list[ElementTree.Element]:
    """The areas of one colour: one for each level of busyness."""
    return [path for path in ElementTree.fromstring(svg).iter(f"{SVG}path") if path.get("class") == kind]


def samples(steps: int, hosts: int = 3) -> dict[str, Any]:
    """A seed that sends 1.25 MB/s, 10 Mbit/s, to receivers that take it."""
    counters = [[step * 125_000 for _ in range(hosts)] for step in range(steps)]
    links = [{"role": "seed" if not host else "receiver", "up_mbit": 10, "down_mbit": 10} for host in range(hosts)]
    times = [step * 0.1 for step in range(steps)]
    return {"hosts": links, "times": times, "sent": counters, "received": counters, "bound_s": 0.9}


class Completion(unittest.TestCase):
    def test_markup_in_names_is_escaped(self) -> None:
        self.assertIn("<a & b>", texts(completion_plot("<a & b>", {"x<y": [1.1]}, 1)))

    def test_each_curve_is_named_with_its_last_receiver(self) -> None:
        words = texts(completion_plot("t", {"tnet": [1.05, 1.1], "other": [2.0, 2.2]}, 2))
        self.assertIn("tnet 1.10", words)
        self.assertIn("other 2.20", words)

    def test_a_tool_that_did_not_bring_it_to_all_is_not_given_a_time(self) -> None:
        words = texts(completion_plot("t", {"half": [1.1], "none": []}, 2))
        self.assertIn("half: 1 of 2", words)
        self.assertIn("none: none", words)

    def test_far_ratios_make_the_axis_logarithmic(self) -> None:
        self.assertTrue(any("logarithmic" in word for word in texts(completion_plot("t", {"x": [16.0]}, 1))))
        self.assertFalse(any("logarithmic" in word for word in texts(completion_plot("t", {"x": [2.0]}, 1))))


class Links(unittest.TestCase):
    def test_the_plot_is_well_formed_for_one_and_for_many_samples(self) -> None:
        for steps in (2, 3, 50, 900):
            ElementTree.fromstring(links_plot("t", samples(steps)))

    def test_an_unshaped_link_is_drawn_against_its_own_maximum(self) -> None:
        free = samples(20)
        for host in free["hosts"]:
            host["up_mbit"] = host["down_mbit"] = None
        ElementTree.fromstring(links_plot("t", {**free, "bound_s": None}))

    def test_a_link_that_nothing_used_is_empty(self) -> None:
        idle = samples(20)
        idle["sent"] = [[0, 0, 0] for _ in idle["times"]]
        self.assertEqual(len(filled(links_plot("t", idle), "f0")), 0)
        self.assertEqual(len(filled(links_plot("t", samples(20)), "f0")), 1)


if __name__ == "__main__":
    unittest.main()

"""Just enough SVG: a canvas whose colours follow the reader's light or dark setting."""

from xml.sax.saxutils import escape, quoteattr

# Colours that stay apart for the colour-blind: (on light, on dark).
HUES = [
    ("#0061a8", "#58b4ff"),
    ("#c24a00", "#ff9a52"),
    ("#00795a", "#3fd0a4"),
    ("#a3337c", "#ee8fc8"),
    ("#8a6d00", "#e0c341"),
    ("#5b5bd6", "#a9a9ff"),
    ("#666666", "#b8b8b8"),
]


class Svg:
    def __init__(self, width: int, height: int, title: str) -> None:
        self._width = width
        self._height = height
        self._title = title
        self._parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self._parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def path(self, commands: str, kind: str, opacity: float = 1.0) -> None:
        faint = f' fill-opacity="{opacity:.2f}"' if opacity < 1.0 else ""
        self._parts.append(f'<path d="{commands}" class="{kind}"{faint}/>')

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        attributes = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"' + (f' class="{kind}"' if kind else "")
        self._parts.append(f"<text {attributes}>{escape(words)}</text>")

    def render(self) -> str:
        light = "".join(f".c{i}{{stroke:{hue[0]}}}.f{i}{{fill:{hue[0]}}}" for i, hue in enumerate(HUES))
        dark = "".join(f".c{i}{{stroke:{hue[1]}}}.f{i}{{fill:{hue[1]}}}" for i, hue in enumerate(HUES))
        style = (
            "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}"
            ".paper{fill:#ffffff}.grid{stroke:#d0d7de;stroke-width:1}.axis{stroke:#57606a;stroke-width:1}"
            ".bound{stroke:#24292f;stroke-width:1.5;stroke-dasharray:5 4}.soft{fill:#57606a}"
            ".curve{fill:none;stroke-width:2.2}"
            f"{light}"
            "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.paper{fill:#0d1117}.grid{stroke:#30363d}"
            f".axis{{stroke:#8b949e}}.bound{{stroke:#e6edf3}}.soft{{fill:#8b949e}}{dark}}}"
        )
        size = f'width="{self._width}" height="{self._height}" viewBox="0 0 {self._width} {self._height}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(self._title)}>'
        paper = f'<rect width="{self._width}" height="{self._height}" class="paper"/>'
        return "\n".join([head, f"<style>{style}</style>", paper, *self._parts, "</svg>", ""])

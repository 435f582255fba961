"""Text stays legible on every colour."""

import pytest

from hf_diffmask.display.page import to_html
from tests.display.helpers import make


@pytest.mark.parametrize("value", [0.0, 0.2, 0.4, 0.456, 0.47, 0.5, 0.6, 0.8, 1.0])
def test_contrast_of_every_colour(value):
    import re

    style = re.search(r"background: rgb\((\d+), (\d+), (\d+)\); color: (#\w+)", to_html([make([("x", [value] * 3)])]))
    background, front = [int(channel) for channel in style.groups()[:3]], style.group(4)

    def luminance(channels):
        linear = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted([luminance(background), 0.0 if front == "#000" else 1.0], reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5

"""Colours for scores: perceptually uniform and safe for colour-blind readers."""

# Cividis (Nunez et al. 2018) at 0, 1/4, 1/2, 3/4 and 1.
SCALE = [(0, 34, 78), (65, 77, 107), (124, 123, 120), (188, 175, 111), (254, 232, 56)]


def color(value: float) -> tuple[int, int, int]:
    """
    Colour of a score.

    Args:
        value (`float`): From 0 to 1; values outside are clipped.

    Returns:
        `tuple[int, int, int]`: Red, green and blue, from 0 to 255.
    """
    position = min(max(value, 0.0), 1.0) * (len(SCALE) - 1)
    low = min(int(position), len(SCALE) - 2)
    part = position - low
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(SCALE[low], SCALE[low + 1], strict=True))
    return red, green, blue


def is_light(value: float) -> bool:
    """
    Whether text on a score's colour should be black.

    Args:
        value (`float`): The score.

    Returns:
        `bool`: Whether black has more contrast than white (WCAG 2.2, relative luminance). The better one of the two
        has a contrast of at least 4.58, so above 4.5 for every colour.
    """
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in color(value))
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (luminance + 0.05) ** 2 > 0.05 * 1.05


def paint(value: float) -> str:
    """
    CSS style for an element with a score.

    Args:
        value (`float`): The score.

    Returns:
        `str`: CSS declarations.
    """
    red, green, blue = color(value)
    return f"background: rgb({red}, {green}, {blue}); color: {'#000' if is_light(value) else '#fff'}"

"""SVG plots for the reports: lines and horizontal bars. Text uses the page's own font."""

from html import escape

COLOURS = ["#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2", "#6cc5b0", "#9c6b4e", "#97bbf5"]
TEXT = 'font-family="system-ui, sans-serif" font-size="12" fill="#222"'


def nice(largest):
    """A round number, no smaller, and the step that divides it."""
    step = 1e-6
    while True:
        for factor in (1, 2, 5):
            if largest <= 5 * step * factor:
                return 5 * step * factor, step * factor
        step *= 10


def number(value):
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def frame(title, width, height, body):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
        f'<text x="10" y="20" {TEXT} font-weight="600">{escape(title)}</text>'
        + "".join(body)
        + "</svg>\n"
    )


def label(x, y, text, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {TEXT}>{escape(text)}</text>'


def lines(title, across, up, series):
    """`series`: name -> [(x, y), ...]. The horizontal axis has a tick at each x."""
    width, height, left, right, top, bottom = 640, 320, 60, 190, 36, 46
    points = [point for line in series.values() for point in line]
    if not points:
        return frame(title, width, height, [])
    top_y, step = nice(max(y for _, y in points))
    last_x = max(x for x, _ in points) or 1
    at_x = lambda x: left + x / last_x * (width - left - right)
    at_y = lambda y: height - bottom - y / top_y * (height - top - bottom)
    body = []
    for tick in range(6):
        y = at_y(step * tick)
        body.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        body.append(label(left - 6, y + 4, number(step * tick), "end"))
    for x in sorted({x for x, _ in points}):
        body.append(label(at_x(x), height - bottom + 18, number(x), "middle"))
    body.append(label((left + width - right) / 2, height - 8, across, "middle"))
    body.append(label(left + 6, top - 2, up))
    for (name, line), colour in zip(series.items(), COLOURS):
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in line)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in line:
            body.append(f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>')
    for row, (name, colour) in enumerate(zip(series, COLOURS)):
        y = top + 14 + 20 * row
        body.append(f'<rect x="{width - right + 16}" y="{y - 10}" width="12" height="12" fill="{colour}"/>')
        body.append(label(width - right + 34, y, name))
    return frame(title, width, height, body)


def bars(title, unit, rows):
    """`rows`: [(name, value), ...]; the value stands at the end of its bar."""
    left, row_height, width = 230, 24, 640
    height = 46 + row_height * len(rows)
    largest = max((value for _, value in rows), default=1) or 1
    body = [label(width - 10, 20, unit, "end")]
    for index, (name, value) in enumerate(rows):
        y = 36 + row_height * index
        long = value / largest * (width - left - 80)
        colour = COLOURS[0]
        body.append(label(left - 8, y + 14, name, "end"))
        body.append(f'<rect x="{left}" y="{y}" width="{max(long, 1):.1f}" height="18" fill="{colour}"/>')
        body.append(label(left + max(long, 1) + 6, y + 14, number(value)))
    return frame(title, width, height, body)

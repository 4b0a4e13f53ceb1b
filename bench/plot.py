"""Line plots as SVG, by nothing but the standard library."""

import math

COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 80, 150, 40, 50


def nice_steps(top):
    """0 and up to 6 round numbers, the last at or above top."""
    step = 10 ** math.floor(math.log10(top or 1))
    step = next(step * part for part in (0.2, 0.5, 1, 2, 5) if top <= step * part * 6)
    return [step * i for i in range(math.ceil(top / step) + 1)]


def short(number):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"


def write(path, title, x_name, y_name, series, log_x=False):
    """series: name -> [(x, y)]."""
    scale = math.log10 if log_x else float
    xs = sorted({x for points in series.values() for x, _ in points})
    steps = nice_steps(max(y for points in series.values() for _, y in points))
    low, high = scale(xs[0]), scale(xs[-1])

    def place(x, y):
        across = (scale(x) - low) / ((high - low) or 1)
        return (LEFT + across * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - y / steps[-1] * (HEIGHT - TOP - BOTTOM))

    def text(x, y, words, anchor="middle", more=""):
        return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{more}>{words}</text>'

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           text((LEFT + WIDTH - RIGHT) / 2, 20, title, more=' font-size="15"'),
           text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_name), text(10, TOP - 12, y_name, "start")]
    for y in steps:
        _, at = place(xs[0], y)
        out.append(f'<path d="M{LEFT} {at:.0f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(text(LEFT - 6, at + 4, short(y), "end"))
    last = -100.0
    for x in xs:
        at, _ = place(x, 0)
        if at - last >= 30:
            out.append(text(at, HEIGHT - BOTTOM + 18, short(x)))
            last = at
    for i, (name, points) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        places = [place(x, y) for x, y in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        out.append(text(WIDTH - RIGHT + 12, TOP + 18 * i + 8, name, "start", f' fill="{colour}"'))
    path.write_text("\n".join([*out, "</svg>", ""]))

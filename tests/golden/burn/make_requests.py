"""Makes requests.csv: a day and a half of requests by the minute, valid and bad ones.

Traffic goes with the hours, and stops for a while. There is an outage of eight minutes, a trickle of errors for hours that
spends a budget slowly, a blip that is nothing, and another outage right before the silence.

    python tests/golden/burn/make_requests.py
"""

import math
import pathlib
import random

MINUTES = 36 * 60


def bad_share(minute: int) -> float:
    if 380 <= minute < 388 or 1190 <= minute < 1215:
        return 0.45
    if 700 <= minute < 1000:
        return 0.05
    if 1600 <= minute < 1602:
        return 0.03
    return 0.0008


def main():
    draw = random.Random(20260301)
    lines = ["minute,valid,bad"]
    for minute in range(MINUTES):
        rate = 0 if 1215 <= minute < 1300 else 60 + 50 * math.sin(2 * math.pi * minute / 1440)
        valid = sum(draw.random() < rate / 200 for _ in range(200))
        bad = sum(draw.random() < bad_share(minute) for _ in range(valid))
        lines.append(f"{minute},{valid},{bad}")
    pathlib.Path(__file__).with_name("requests.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

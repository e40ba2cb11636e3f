"""The ICDAR rules a second time, for the tests: one loop per rule, exact fractions, nothing from the library.

Areas are computed without any geometry library. All corners and all crossings of two outlines cut the plane into
horizontal slabs; inside a slab no edges cross, so every strip between two neighbouring edges is a trapezium, and its
area is its width at half height times the slab's height. With integer corners every number is an exact fraction:
an IoU of exactly 1/2 is exactly 1/2. (Even-odd rule; for outlines that do not cross themselves, all rules agree.)
"""

import functools
import itertools
import math
import re
import zipfile
from fractions import Fraction


def edges_of(polygon):
    corners = [(Fraction(x), Fraction(y)) for x, y in polygon]
    return [(corners[i], corners[(i + 1) % len(corners)]) for i in range(len(corners))]


def height_of_crossing(first, second):
    """The y where two segments cross, or None."""
    (ax, ay), (bx, by) = first
    (cx, cy), (dx, dy) = second
    slope = (bx - ax) * (dy - cy) - (by - ay) * (dx - cx)
    if slope == 0:
        return None
    s = ((cx - ax) * (dy - cy) - (cy - ay) * (dx - cx)) / slope
    t = ((cx - ax) * (by - ay) - (cy - ay) * (bx - ax)) / slope
    if 0 <= s <= 1 and 0 <= t <= 1:
        return ay + s * (by - ay)
    return None


def intervals_at(edges, y):
    """Where a horizontal line is inside, as pairs left, right."""
    crossings = []
    for (ax, ay), (bx, by) in edges:
        if min(ay, by) < y < max(ay, by):
            crossings.append(ax + (y - ay) / (by - ay) * (bx - ax))
    crossings.sort()
    return [(crossings[i], crossings[i + 1]) for i in range(0, len(crossings), 2)]


@functools.cache
def shared_area(polygon, other):
    """Of two polygons, each a tuple of corners (x, y)."""
    for axis in (0, 1):
        if max(p[axis] for p in polygon) <= min(p[axis] for p in other):
            return Fraction(0)
        if max(p[axis] for p in other) <= min(p[axis] for p in polygon):
            return Fraction(0)
    first, second = edges_of(polygon), edges_of(other)
    heights = set()
    for start, _ in first + second:
        heights.add(start[1])
    for a, b in itertools.combinations(first + second, 2):
        y = height_of_crossing(a, b)
        if y is not None:
            heights.add(y)
    heights = sorted(heights)
    total = Fraction(0)
    for i in range(len(heights) - 1):
        top, bottom = heights[i], heights[i + 1]
        middle = (top + bottom) / 2
        for left, right in intervals_at(first, middle):
            for other_left, other_right in intervals_at(second, middle):
                width = min(right, other_right) - max(left, other_left)
                if width > 0:
                    total += width * (bottom - top)
    return total


def area(polygon):
    return shared_area(polygon, polygon)


def match(ground_truths, dont_care, detections):
    """Pairs (ground truth, detection) in the order found, and the set of ignored detections."""
    ignored = set()
    for d in range(len(detections)):
        for g in range(len(ground_truths)):
            if dont_care[g]:
                size = area(detections[d])
                if size > 0 and shared_area(ground_truths[g], detections[d]) / size > Fraction(1, 2):
                    ignored.add(d)
    pairs = []
    taken_truths, taken_detections = set(), set()
    for g in range(len(ground_truths)):
        for d in range(len(detections)):
            if g in taken_truths or d in taken_detections:
                continue
            if dont_care[g] or d in ignored:
                continue
            both = shared_area(ground_truths[g], detections[d])
            union = area(ground_truths[g]) + area(detections[d]) - both
            if union > 0 and both / union > Fraction(1, 2):
                pairs.append((g, d))
                taken_truths.add(g)
                taken_detections.add(d)
    return pairs, ignored


def totals(images):
    """Matched, ground truths, detections, summed over images of (ground truths, don't-care flags, detections)."""
    matched = truths = found = 0
    for ground_truths, dont_care, detections in images:
        pairs, ignored = match(ground_truths, dont_care, detections)
        matched += len(pairs)
        for flag in dont_care:
            if not flag:
                truths += 1
        found += len(detections) - len(ignored)
    return matched, truths, found


def harmonic_mean(recall, precision):
    if recall + precision == 0:
        return 0.0
    return 2.0 * recall * precision / (recall + precision)


def official(images):
    """recall, precision, hmean, matched, ground truths, detections of images as in `totals`; integers by truncation."""
    whole = []
    for ground_truths, dont_care, detections in images:
        whole.append(
            (
                [tuple((int(x), int(y)) for x, y in polygon) for polygon in ground_truths],
                dont_care,
                [tuple((int(x), int(y)) for x, y in polygon) for polygon in detections],
            )
        )
    matched, truths, found = totals(whole)
    recall = 0.0
    if truths > 0:
        recall = matched / truths
    precision = 0.0
    if found > 0:
        precision = matched / found
    return recall, precision, harmonic_mean(recall, precision), matched, truths, found


def sweep(images):
    """The best of MMOCR's thresholds for images of (ground truths, don't-care flags, detections, scores)."""
    best = None
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        kept_images = []
        for ground_truths, dont_care, detections, scores in images:
            ranked = sorted(zip(scores, range(len(scores)), strict=True), key=lambda entry: -entry[0])
            kept = []
            for score, d in ranked:
                if score > 0.3 and score >= threshold:
                    kept.append(detections[d])
            # Care polygons first, then don't-care ones.
            truths = [p for p, flag in zip(ground_truths, dont_care, strict=True) if not flag]
            regions = [p for p, flag in zip(ground_truths, dont_care, strict=True) if flag]
            kept_images.append((truths + regions, [False] * len(truths) + [True] * len(regions), kept))
        matched, truths, found = totals(kept_images)
        if truths == 0:
            recall = 1.0
            precision = 0.0 if found > 0 else 1.0
        else:
            recall = matched / truths
            precision = matched / found if found > 0 else 0.0
        hmean = harmonic_mean(recall, precision)
        if best is None or hmean > best[2]:
            best = (recall, precision, hmean, threshold, matched, truths, found)
    return best


def read_ground_truth_line(line):
    """Corners and don't-care flag of `x1,y1,...,x4,y4,transcription`."""
    parts = line.split(",")
    numbers = [int(part) for part in parts[:8]]
    transcription = ",".join(parts[8:])
    return tuple((numbers[i], numbers[i + 1]) for i in range(0, 8, 2)), transcription == "###"


def read_result_line(line):
    """Corners and score (or None) of `x1,y1,...,x4,y4[,score]`."""
    parts = line.split(",")
    numbers = [int(part) for part in parts[:8]]
    score = None
    if len(parts) > 8:
        score = float(parts[8])
        assert math.isfinite(score)
    return tuple((numbers[i], numbers[i + 1]) for i in range(0, 8, 2)), score


def official_from_texts(ground_truth_texts, result_texts):
    """Scores of dictionaries image number -> file contents; a missing result file is an empty one."""
    for number in result_texts:
        if number not in ground_truth_texts:
            raise KeyError(number)
    images = []
    for number in ground_truth_texts:
        truths, flags, found = [], [], []
        for line in ground_truth_texts[number].splitlines():
            if line:
                corners, flag = read_ground_truth_line(line)
                truths.append(corners)
                flags.append(flag)
        for line in result_texts.get(number, "").splitlines():
            if line:
                found.append(read_result_line(line))
        if found and found[0][1] is not None:
            found.sort(key=lambda entry: -entry[1])
        images.append((truths, flags, [corners for corners, _ in found]))
    return official(images)


def turns_clockwise(corners):
    """The validator's own test, on the screen, where y points down; without area counts as clockwise."""
    total = 0
    for i in range(len(corners)):
        (x1, y1), (x2, y2) = corners[i], corners[(i + 1) % len(corners)]
        total += (x2 - x1) * (y2 + y1)
    return total <= 0


def faults_of_submission(path, names, corners=4, scores=False):
    """What the validators of the competition would refuse a zip for: one line each.

    names: what the files may be called, to the letter. corners: how many each line has; None for any number from 3 on.
    """
    faults = []
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if archive.testzip() is not None:
            faults.append("damaged")
        contents = [(entry.filename, archive.read(entry)) for entry in entries]
    seen = set()
    for name, content in contents:
        if name not in names or name in seen:
            faults.append(f"{name}: not a file of this benchmark, or there twice")
        seen.add(name)
        if not content.isascii() or b"\r" in content:
            faults.append(f"{name}: more than digits, commas and line ends")
        for line in content.decode("utf-8").split("\n"):
            if line == "":
                continue
            fields = line.split(",")
            if scores and not re.fullmatch(r"0\.[0-9]+|1\.0+", fields.pop()):
                faults.append(f"{name}: {line}: no score from 0 to 1")
            numbers = [int(field) for field in fields if re.fullmatch(r"-?[0-9]+", field)]
            if len(numbers) < len(fields):
                faults.append(f"{name}: {line}: something else than integers")
            elif len(numbers) % 2 or len(numbers) < 6 or corners not in (None, len(numbers) // 2):
                faults.append(f"{name}: {line}: another number of corners")
            elif not turns_clockwise(list(zip(numbers[::2], numbers[1::2], strict=True))):
                faults.append(f"{name}: {line}: counter-clockwise")
    return faults

'use strict';

// The arithmetic of Mask R-CNN, without any drawing. Boxes are [x1, y1, x2, y2] in continuous pixels: pixel i covers
// [i, i + 1), so a box is x2 - x1 wide.
//
// The library computes in 32-bit floats and JavaScript in 64. Where a comparison hangs on the last bit (an IoU that
// ties with the threshold), every step is rounded with `round32`, in the library's order of operations (csrc/box.h).

const round32 = Math.fround;
const SMALLEST_FLOAT32 = 2 ** -126;
const LARGEST_LOG_SCALE = Math.log(1000 / 16);

/** A side may come out negative if corners are swapped; such a box has no area. */
function notNegative(side) {
  return side < 0 ? 0 : side;
}

function area(box) {
  return round32(notNegative(round32(box[2] - box[0])) * notNegative(round32(box[3] - box[1])));
}

/** Intersection over union of two boxes; 0 for two boxes without any area. */
function iou(a, b) {
  const [first, second] = [Array.from(a, round32), Array.from(b, round32)];
  return iouWithAreas(...first, area(first), ...second, area(second));
}

function iouWithAreas(ax1, ay1, ax2, ay2, areaA, bx1, by1, bx2, by2, areaB) {
  const width = notNegative(round32((ax2 < bx2 ? ax2 : bx2) - (ax1 > bx1 ? ax1 : bx1)));
  const height = notNegative(round32((ay2 < by2 ? ay2 : by2) - (ay1 > by1 ? ay1 : by1)));
  const shared = round32(width * height);
  const union = round32(round32(areaA + areaB) - shared);
  return round32(shared / (union < SMALLEST_FLOAT32 ? SMALLEST_FLOAT32 : union));
}

/** Indices of the candidates, best score first; of equal scores the lower index first. */
function candidatesInOrder(boxes, scores) {
  const order = [];
  for (let i = 0; i < scores.length; i++) {
    const corners = boxes[4 * i] + boxes[4 * i + 1] + boxes[4 * i + 2] + boxes[4 * i + 3];
    // Infinite corners may add up to NaN without being NaN.
    const isNumber = !Number.isNaN(corners) || !boxes.subarray(4 * i, 4 * i + 4).some(Number.isNaN);
    if (isNumber && scores[i] > -Infinity) order.push(i);
  }
  return order.sort((a, b) => (scores[a] === scores[b] ? a - b : scores[b] > scores[a] ? 1 : -1));
}

/**
 * Non-maximum suppression, greedy: visited best score first, a box survives unless its IoU with an earlier survivor of
 * its group exceeds the threshold.
 *
 * @param {Float32Array} boxes N * 4 corners
 * @param {Float32Array} scores N; -Infinity or NaN marks a slot that is no candidate
 * @param {Int32Array|null} groups N; boxes of different groups never suppress each other
 * @param {number} iouThreshold a box falls when an IoU is strictly greater
 * @param {number} maxKeep cuts the list of survivors, nothing else
 * @returns {{kept: number[], suppressor: Int32Array}} survivors, best first; who removed box i, or -1
 */
function nms(boxes, scores, groups, iouThreshold, maxKeep) {
  const threshold = round32(iouThreshold);
  const suppressor = new Int32Array(scores.length).fill(-1);
  const kept = [];
  const survivorsOfGroup = new Map();
  for (const i of candidatesInOrder(boxes, scores)) {
    const group = groups ? groups[i] : 0;
    if (!survivorsOfGroup.has(group)) survivorsOfGroup.set(group, []);
    const survivors = survivorsOfGroup.get(group);
    const [x1, y1, x2, y2] = boxes.subarray(4 * i, 4 * i + 4);
    const own = { index: i, x1, y1, x2, y2, area: area([x1, y1, x2, y2]) };
    const first = survivors.find(
      (other) => iouWithAreas(other.x1, other.y1, other.x2, other.y2, other.area, x1, y1, x2, y2, own.area) > threshold,
    );
    if (first === undefined) {
      survivors.push(own);
      kept.push(i);
    } else {
      suppressor[i] = first.index;
    }
  }
  return { kept: kept.slice(0, maxKeep), suppressor };
}

/** sqrt(w h) / finestSize + 1e-6, whose logarithm says which pyramid level suits a box (FPN equation 1). */
function relativeSize(box, finestSize) {
  const [x1, y1, x2, y2] = Array.from(box, round32);
  const width = notNegative(round32(x2 - x1)) || 0; // `|| 0`: NaN counts as 0, as in fmax
  const height = notNegative(round32(y2 - y1)) || 0;
  const side = round32(Math.sqrt(round32(width * height)));
  return round32(round32(side / round32(finestSize)) + round32(1e-6));
}

/** The level that RoIAlign reads for a box, 0 the finest: floor(log2(relativeSize)), clamped to those there are. */
function pyramidLevel(box, levels, finestSize) {
  const size = relativeSize(box, finestSize);
  let level = 0; // size >= 2^k says the same as floor(log2(size)) >= k, without the rounding of a logarithm
  for (let bound = 2; level + 1 < levels && size >= bound; bound *= 2) level++;
  return level;
}

/**
 * One axis of RoIAlign in cells of the level: where the RoI starts, how long a bin is, and how many samples it has.
 * A value "at" a cell sits at its centre, and position 0 is that of the first cell.
 */
function roiAlignAxis(low, high, stride, size, samplingRatio, aligned) {
  const scale = round32(1 / stride);
  const start = round32(round32(low * scale) - (aligned ? 0.5 : 0));
  const length = round32(round32(high - low) * scale);
  const bin = round32(Math.max(length, aligned ? 0 : 1) / size);
  const finite = Number.isFinite(start) && Number.isFinite(bin);
  const samples = !finite ? 0 : samplingRatio > 0 ? samplingRatio : Math.ceil(bin);
  const spacing = round32(bin / Math.max(samples, 1));
  const positions = Array.from({ length: size }, (_, i) =>
    Array.from({ length: samples }, (_, sample) =>
      round32(round32(start + round32(i * bin)) + round32(round32(sample + 0.5) * spacing)),
    ),
  );
  return { start, bin, positions };
}

/**
 * The bins and sampling points of RoIAlign in the level's coordinates, in cells.
 *
 * @returns {{start: number[], bin: number[], points: number[][]}} [x, y] each; the points bin by bin, row by row, and
 *   within a bin row by row again
 */
function roiAlignGrid(box, stride, size, samplingRatio, aligned) {
  const [x1, y1, x2, y2] = Array.from(box, round32);
  const x = roiAlignAxis(x1, x2, stride, size, samplingRatio, aligned);
  const y = roiAlignAxis(y1, y2, stride, size, samplingRatio, aligned);
  const points = [];
  for (const rows of y.positions) {
    for (const columns of x.positions) {
      for (const row of rows) for (const column of columns) points.push([column, row]);
    }
  }
  return { start: [x.start, y.start], bin: [x.bin, y.bin], points };
}

/** Halves go away from 0, as in C; Math.round sends -0.5 to 0. */
function roundHalfAway(value) {
  return Math.sign(value) * Math.floor(Math.abs(value) + 0.5);
}

/** One axis of RoIPool: its ends rounded to whole cells, both of which belong to the RoI, and the cells of each bin. */
function roiPoolAxis(low, high, stride, size) {
  const scale = round32(1 / stride);
  const first = roundHalfAway(round32(low * scale));
  const length = Math.max(roundHalfAway(round32(high * scale)) - first + 1, 1);
  const bin = round32(length / size);
  const bins = Array.from({ length: size }, (_, i) => [
    first + Math.floor(round32(i * bin)),
    first + Math.ceil(round32((i + 1) * bin)),
  ]);
  return { first, end: first + length, bins };
}

/**
 * The cells that RoIPool reads. Neighbouring bins may share some, and some may lie outside the level.
 *
 * @returns {{box: number[], bins: number[][]}} [x1, y1, x2, y2] in whole cells, x2 and y2 no longer included; bins row
 *   by row
 */
function roiPoolBins(box, stride, size) {
  const [x1, y1, x2, y2] = Array.from(box, round32);
  const x = roiPoolAxis(x1, x2, stride, size);
  const y = roiPoolAxis(y1, y2, stride, size);
  const bins = y.bins.flatMap(([top, bottom]) => x.bins.map(([left, right]) => [left, top, right, bottom]));
  return { box: [x.first, y.first, x.end, y.end], bins };
}

/**
 * A box moved and scaled by deltas (dx, dy, dw, dh): the centre in units of the box's size, the size by a factor.
 *
 * @param {number[]} weights the deltas are divided by them first
 * @param {boolean} clampBothSides whether the factor is limited from below as well; from above it always is, to 62.5
 */
function decode(box, deltas, weights, clampBothSides) {
  const [dx, dy, dw, dh] = deltas.map((delta, i) => round32(delta / weights[i]));
  const limited = (log) => Math.max(Math.min(log, LARGEST_LOG_SCALE), clampBothSides ? -LARGEST_LOG_SCALE : -Infinity);
  const along = (low, high, shift, log) => {
    const length = round32(high - low);
    const centre = round32(round32(low + round32(length / 2)) + round32(shift * length));
    const half = round32(round32(length * round32(Math.exp(round32(limited(log))))) / 2);
    return [round32(centre - half), round32(centre + half)];
  };
  const [x1, x2] = along(box[0], box[2], dx, dw);
  const [y1, y2] = along(box[1], box[3], dy, dh);
  return [x1, y1, x2, y2];
}

/** A box cut to a picture of this size. */
function clip(box, width, height) {
  return box.map((corner, i) => Math.min(Math.max(corner, 0), i % 2 === 0 ? width : height));
}

function sigmoid(logit) {
  return 1 / (1 + Math.exp(-logit));
}

function softmax(logits) {
  const largest = Math.max(...logits); // subtracted, so that exp cannot overflow
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** Between which two of `cells` cells the centre of a pixel lies, and how far it is on the way to the second. */
function cellOfPixel(pixel, low, extent, cells) {
  const position = round32(round32(round32(round32(round32(pixel + 0.5) - low) / extent) * cells) - 0.5);
  if (!(extent > 0 && position >= -1 && position < cells)) return null; // written so that NaN is outside
  const cell = Math.floor(position);
  return { pixel, cell, part: round32(position - cell) };
}

/** All pixels of an axis of `length` pixels that see a mask between `low` and `high`. */
function cellsOfPixels(low, high, length, cells) {
  const extent = round32(high - low);
  if (!Number.isFinite(extent)) return [];
  const margin = extent / cells + 1; // a mask fades out over its edge, by half a cell
  const found = [];
  for (let pixel = Math.max(0, Math.floor(low - margin)); pixel < Math.min(length, high + margin); pixel++) {
    const cell = cellOfPixel(pixel, low, extent, cells);
    if (cell) found.push(cell);
  }
  return found;
}

/**
 * A mask of size x size cells over a box, looked up at the centre of each pixel: bilinear between the centres of cells,
 * fading to 0 over the edge of the box (`ops.paste_masks`, convention "pixel_centres").
 *
 * @param {Float32Array} cellValues size * size: probabilities, or the heights of a pyramid
 * @param {number[]} box in network pixels
 * @param {number} width of the canvas, in its own pixels
 * @param {number} scale canvas pixels per network pixel
 * @returns {{x: number, y: number, width: number, height: number, values: Float32Array}} the values at the
 *   canvas pixels around the box
 */
function pasteMask(cellValues, size, box, width, height, scale) {
  const [x1, y1, x2, y2] = Array.from(box, (corner) => round32(corner * scale));
  const columns = cellsOfPixels(x1, x2, width, size);
  const rows = cellsOfPixels(y1, y2, height, size);
  if (!columns.length || !rows.length) return { x: 0, y: 0, width: 0, height: 0, values: new Float32Array(0) };

  const ring = size + 2; // a ring of empty cells around the mask
  const cells = new Float32Array(ring * ring);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      cells[(row + 1) * ring + column + 1] = cellValues[row * size + column];
    }
  }
  const blend = (first, second, part) => round32(round32(round32(1 - part) * first) + round32(part * second));
  const values = new Float32Array(columns.length * rows.length);
  rows.forEach((row, i) =>
    columns.forEach((column, j) => {
      const at = (row.cell + 1) * ring + column.cell + 1;
      const upper = blend(cells[at], cells[at + 1], column.part);
      const lower = blend(cells[at + ring], cells[at + ring + 1], column.part);
      values[i * columns.length + j] = blend(upper, lower, row.part);
    }),
  );
  return { x: columns[0].pixel, y: rows[0].pixel, width: columns.length, height: rows.length, values };
}

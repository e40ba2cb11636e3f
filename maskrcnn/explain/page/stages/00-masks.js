'use strict';

// Masks of cells and masks of pixels, as several stages draw them.

/** Mask i of Float32Array (D * size * size), as a map. */
function maskMap(values, i, size, low, high) {
  const map = { rows: size, columns: size, values: values.subarray(i * size * size, (i + 1) * size * size) };
  return low === undefined ? stretched(map) : { ...map, low, high };
}

/** Lines between cells that reach a threshold and cells that do not. */
function strokeBorder(view, map, threshold) {
  const inside = (row, column) =>
    row >= 0 &&
    column >= 0 &&
    row < map.rows &&
    column < map.columns &&
    map.values[row * map.columns + column] >= threshold;
  strokePath(
    view,
    (context) => {
      for (let row = 0; row <= map.rows; row++) {
        for (let column = 0; column <= map.columns; column++) {
          if (inside(row, column) !== inside(row - 1, column)) {
            context.moveTo(...view.at(column, row));
            context.lineTo(...view.at(column + 1, row));
          }
          if (inside(row, column) !== inside(row, column - 1)) {
            context.moveTo(...view.at(column, row));
            context.lineTo(...view.at(column, row + 1));
          }
        }
      }
    },
    { colour: COLOURS.orange, width: 2 },
  );
}

/** A pasted mask as a picture: one colour where it reaches the threshold, clear elsewhere. */
function thresholdPicture(pasted, threshold, colour, opacity) {
  const canvas = document.createElement('canvas');
  canvas.width = pasted.width;
  canvas.height = pasted.height;
  const context = canvas.getContext('2d');
  const image = context.createImageData(pasted.width, pasted.height);
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  pasted.values.forEach((value, i) => {
    if (value >= threshold) image.data.set([red, green, blue, 255 * opacity], 4 * i);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

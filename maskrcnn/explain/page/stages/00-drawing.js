'use strict';

// What figures are drawn with: pictures, lines that can be seen on light and on dark, labels.

const DASHES = { solid: [], dashed: [7, 4], dotted: [2, 3] };
const LABEL_FONT = '600 12px system-ui, "Segoe UI", Roboto, sans-serif';

/** An image or a canvas over a box of the plane; `dim` darkens it, so that lines on it can be seen. */
function drawImage(view, image, box, { opacity = 1, smooth = false, dim = 0 } = {}) {
  const { context } = view;
  const [left, top] = view.at(box[0], box[1]);
  const [right, bottom] = view.at(box[2], box[3]);
  context.save();
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = 'high';
  context.globalAlpha = opacity;
  context.drawImage(image, left, top, right - left, bottom - top);
  if (dim) {
    context.globalAlpha = dim;
    context.fillStyle = '#000000';
    context.fillRect(left, top, right - left, bottom - top);
  }
  context.restore();
}

/** A path with a dark rim, so that it can be seen on light and on dark. `trace` adds it to the context. */
function strokePath(view, trace, { colour, width = 2, style = 'solid', rim = true, opacity = 1, fill = 0 }) {
  const { context } = view;
  context.save();
  context.globalAlpha = opacity;
  context.lineJoin = 'round';
  context.beginPath();
  trace(context);
  if (fill) {
    context.globalAlpha = fill;
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = opacity;
  }
  if (rim) {
    context.strokeStyle = 'rgba(0, 0, 0, 0.65)';
    context.lineWidth = width + 2;
    context.stroke();
  }
  context.setLineDash(DASHES[style]);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
  context.restore();
}

function strokeBox(view, box, options) {
  const [left, top] = view.at(box[0], box[1]);
  const [right, bottom] = view.at(box[2], box[3]);
  strokePath(view, (context) => context.rect(left, top, right - left, bottom - top), options);
}

function strokePolygon(view, points, options) {
  strokePath(
    view,
    (context) => {
      for (const [x, y] of points) context.lineTo(...view.at(x, y));
      context.closePath();
    },
    options,
  );
}

function strokeLine(view, from, to, options) {
  strokePath(
    view,
    (context) => {
      context.moveTo(...view.at(...from));
      context.lineTo(...view.at(...to));
    },
    options,
  );
}

function fillDot(view, point, radius, colour, rim = 'rgba(0, 0, 0, 0.7)') {
  const { context } = view;
  context.beginPath();
  context.arc(...view.at(...point), radius, 0, 2 * Math.PI);
  context.fillStyle = colour;
  context.strokeStyle = rim;
  context.lineWidth = 1;
  context.fill();
  context.stroke();
}

/** Remembers where labels lie, so that none covers another; one that finds no room is left out. */
function createLabels(view) {
  const taken = [];
  const overlapsOne = (a) => taken.some((b) => a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1]);
  return (text, box, colour, always = false) => {
    const { context } = view;
    context.font = LABEL_FONT;
    const width = context.measureText(text).width + 8;
    const height = 18;
    const [left, top] = view.at(box[0], box[1]);
    const [right, bottom] = view.at(box[2], box[3]);
    const places = [
      [left, top - height - 1],
      [left, bottom + 1],
      [left + 1, top + 1],
      [right + 1, top],
      [right - width, bottom + 1],
    ];
    const inside = places.map(([x, y]) => {
      const x1 = Math.max(0, Math.min(x, view.width - width));
      const y1 = Math.max(0, Math.min(y, view.height - height));
      return [x1, y1, x1 + width, y1 + height];
    });
    const place = inside.find((candidate) => !overlapsOne(candidate)) ?? (always ? inside[0] : null);
    if (!place) return false;
    taken.push(place);
    context.fillStyle = colour;
    context.strokeStyle = 'rgba(0, 0, 0, 0.65)';
    context.lineWidth = 1;
    context.beginPath();
    context.rect(place[0], place[1], width, height);
    context.fill();
    context.stroke();
    context.fillStyle = isDark(colour) ? '#ffffff' : '#000000';
    context.textBaseline = 'middle';
    context.fillText(text, place[0] + 4, place[1] + height / 2 + 0.5);
    return true;
  };
}

/** Whether white is easier to read on a colour than black. */
function isDark(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue < 110;
}

/** Lines between the cells of a window, if they are not too narrow. */
function drawCellGrid(view, [x1, y1, x2, y2]) {
  if (view.scale < 5) return;
  const options = { colour: COLOURS.white, width: 0.5, rim: false, opacity: 0.35 };
  for (let x = Math.ceil(x1); x <= x2; x++) strokeLine(view, [x, y1], [x, y2], options);
  for (let y = Math.ceil(y1); y <= y2; y++) strokeLine(view, [x1, y], [x2, y], options);
}

/** Diagonal lines over a box: there is nothing here, and it is meant so. */
function hatchBox(view, box) {
  const { context } = view;
  const [left, top] = view.at(box[0], box[1]);
  const [right, bottom] = view.at(box[2], box[3]);
  context.save();
  context.beginPath();
  context.rect(left, top, right - left, bottom - top);
  context.clip();
  context.fillStyle = '#777777';
  context.fillRect(left, top, right - left, bottom - top);
  context.beginPath();
  for (let x = left - (bottom - top); x < right; x += 7) {
    context.moveTo(x, bottom);
    context.lineTo(x + (bottom - top), top);
  }
  context.strokeStyle = '#dddddd';
  context.stroke();
  context.restore();
}

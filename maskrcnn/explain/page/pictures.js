'use strict';

// From the data of the page to pictures: numbers packed as text, sheets of maps, colours, and the figures (canvases) on
// which everything is drawn.

/** Colours that stay apart for the colour-blind (Okabe and Ito, 2008). Line style or a label always says the same. */
const COLOURS = {
  orange: '#e69f00',
  sky: '#56b4e9',
  green: '#009e73',
  yellow: '#f0e442',
  vermilion: '#d55e00',
  purple: '#cc79a7',
  white: '#ffffff',
};

/** Viridis: equal steps in value look like equal steps in colour, and it stays readable in grey. */
const VIRIDIS = [
  '#440154',
  '#48186a',
  '#472d7b',
  '#424086',
  '#3b528b',
  '#33638d',
  '#2c728e',
  '#26828e',
  '#21918c',
  '#1fa088',
  '#28ae80',
  '#3fbc73',
  '#5ec962',
  '#84d44b',
  '#addc30',
  '#d8e219',
  '#fde725',
];

// ---- Numbers packed as text -------------------------------------------------------------------------------------

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function float32Of(base64) {
  return new Float32Array(bytesOf(base64).buffer);
}

function int32Of(base64) {
  return new Int32Array(bytesOf(base64).buffer);
}

/** Box i of Float32Array (N * 4), as [x1, y1, x2, y2]. */
function boxAt(boxes, i) {
  return Array.from(boxes.subarray(4 * i, 4 * i + 4));
}

// ---- Maps -------------------------------------------------------------------------------------------------------

/** The 256 colours of a map, as [red, green, blue] each, interpolated between the anchors of VIRIDIS. */
const MAP_COLOURS = Array.from({ length: 256 }, (_, grey) => {
  const place = (grey / 255) * (VIRIDIS.length - 1);
  const lower = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const channel = (colour, at) => parseInt(colour.slice(at, at + 2), 16);
  return [1, 3, 5].map((at) =>
    Math.round(channel(VIRIDIS[lower], at) * (1 - place + lower) + channel(VIRIDIS[lower + 1], at) * (place - lower)),
  );
});

/**
 * A sheet holds many maps of one size side by side in one grey picture, which a browser unpacks quickly. It is unpacked
 * when it is first asked for.
 *
 * @param {{src: string, across: number, count: number, rows: number, columns: number, low: number, high: number}} sheet
 * @param {() => void} onReady called once the picture is unpacked
 * @returns {{tile: (index: number) => Map|null, ...}} `tile` gives {rows, columns, low, high, values: Float32Array}, or
 *   null while the picture is being unpacked or if there is no such tile
 */
function openSheet(sheet, onReady) {
  let pixels = null;
  let asked = false;
  const unpack = async () => {
    const image = new Image();
    image.src = sheet.src;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    pixels = context.getImageData(0, 0, canvas.width, canvas.height);
    onReady();
  };
  const tile = (index) => {
    if (!sheet.count || !(index >= 0 && index < sheet.count)) return null;
    if (!asked) {
      asked = true;
      unpack();
    }
    if (!pixels) return null;
    const { rows, columns, low, high, across } = sheet;
    const left = (index % across) * columns;
    const top = Math.floor(index / across) * rows;
    const values = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const grey = pixels.data[4 * ((top + row) * pixels.width + left + column)];
        values[row * columns + column] = low + ((high - low) * grey) / 255;
      }
    }
    return { rows, columns, low, high, values };
  };
  return { ...sheet, tile };
}

/** The map with low and high of its own values, so that a faint one can be seen as well. */
function stretched(map) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of map.values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { ...map, low, high };
}

/** The part of a map that a window of cells shows, and the box that it covers. */
function cropMap(map, [x1, y1, x2, y2]) {
  const box = [
    Math.max(0, Math.floor(x1)),
    Math.max(0, Math.floor(y1)),
    Math.min(map.columns, Math.ceil(x2)),
    Math.min(map.rows, Math.ceil(y2)),
  ];
  const [rows, columns] = [box[3] - box[1], box[2] - box[0]];
  if (rows <= 0 || columns <= 0) return null;
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const start = (box[1] + row) * map.columns + box[0];
    values.set(map.values.subarray(start, start + columns), row * columns);
  }
  return { box, map: stretched({ rows, columns, values }) };
}

/** A map as a picture of one pixel a cell. Cells for which `opacityOf` says 0 stay clear. */
function mapPicture(map, opacityOf = () => 1) {
  const canvas = document.createElement('canvas');
  canvas.width = map.columns;
  canvas.height = map.rows;
  const context = canvas.getContext('2d');
  const image = context.createImageData(map.columns, map.rows);
  const range = map.high > map.low ? map.high - map.low : 1;
  map.values.forEach((value, i) => {
    const grey = Math.max(0, Math.min(255, Math.round(((value - map.low) / range) * 255))) || 0;
    image.data.set(MAP_COLOURS[grey], 4 * i);
    image.data[4 * i + 3] = 255 * opacityOf(value);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

// ---- Figures ----------------------------------------------------------------------------------------------------

/** Figures far from the window wait until there is nothing better to do. */
const waitingFigures = new Set();
const whenIdle =
  window.requestIdleCallback ?? ((callback) => setTimeout(() => callback({ timeRemaining: () => 8 }), 50));

function drawWaitingFigures(deadline) {
  for (const draw of waitingFigures) {
    waitingFigures.delete(draw);
    draw();
    if (deadline.timeRemaining() < 5) break;
  }
  if (waitingFigures.size) whenIdle(drawWaitingFigures);
}

/**
 * A canvas that shows a part of some plane (the picture in network pixels, or the cells of a level), sharp on every
 * screen, drawn anew when it is resized, and only when it comes near the window or nothing else is to be done.
 *
 * @param {object} options
 * @param {string} options.name for `data-figure`
 * @param {string} options.label what it shows and which keys it knows, for those who cannot see it
 * @param {number} options.aspect width / height of the canvas
 * @param {number} [options.tallest] height in CSS pixels that it does not exceed
 * @param {() => number[]} options.window the box of the plane that is shown
 * @param {(view: object) => object} options.draw draws; what it returns is written to the canvas's data attributes
 * @param {(point: {x: number, y: number}) => void} [options.onPick] a click or a tap, in the plane's units
 * @param {(point: {x: number, y: number}|null) => void} [options.onHover] the pointer moved, or left
 * @param {(key: string) => boolean} [options.onKey] true if the key meant something
 * @returns {{canvas: HTMLCanvasElement, update: () => void, widest: number}} `widest` in CSS pixels
 */
function createFigure({ name, label, aspect, tallest = 620, window: shown, draw, onPick, onHover, onKey }) {
  const canvas = document.createElement('canvas');
  canvas.dataset.figure = name;
  canvas.tabIndex = onKey ? 0 : -1;
  canvas.setAttribute('role', onKey ? 'application' : 'img');
  canvas.setAttribute('aria-label', label);
  canvas.style.aspectRatio = String(aspect);
  canvas.style.width = `min(100%, ${Math.round(tallest * aspect)}px)`;
  let near = false;
  let scheduled = false;

  const drawNow = () => {
    scheduled = false;
    waitingFigures.delete(drawNow);
    const width = canvas.clientWidth;
    if (!width) return; // hidden; ResizeObserver calls again
    const height = width / aspect;
    const density = Math.max(1, window.devicePixelRatio || 1);
    if (canvas.width !== Math.round(width * density)) canvas.width = Math.round(width * density);
    if (canvas.height !== Math.round(height * density)) canvas.height = Math.round(height * density);
    const context = canvas.getContext('2d');
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    Object.assign(canvas.dataset, draw(viewOf(context, width, height, shown())) ?? {});
  };
  const update = () => {
    if (near && !scheduled) {
      scheduled = true;
      requestAnimationFrame(drawNow);
    } else if (!near) {
      if (!waitingFigures.size) whenIdle(drawWaitingFigures);
      waitingFigures.add(drawNow);
    }
  };

  const pointOf = (event) => {
    const frame = canvas.getBoundingClientRect();
    const view = viewOf(null, frame.width, frame.width / aspect, shown());
    return view.pointAt(event.clientX - frame.left, event.clientY - frame.top);
  };
  if (onPick) {
    canvas.classList.add('pickable');
    canvas.addEventListener('click', (event) => onPick(pointOf(event)));
  }
  if (onHover) {
    canvas.addEventListener('pointermove', (event) => onHover(pointOf(event)));
    canvas.addEventListener('pointerleave', () => onHover(null));
  }
  if (onKey) {
    canvas.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (onKey(event.key)) event.preventDefault();
    });
  }
  new ResizeObserver(update).observe(canvas);
  new IntersectionObserver(
    ([entry]) => {
      near = entry.isIntersecting;
      if (near && waitingFigures.has(drawNow)) update();
    },
    { rootMargin: '400px' },
  ).observe(canvas);
  update();
  return { canvas, update, widest: tallest * aspect };
}

/** How a part of a plane lies in a canvas: as large as fits, in the middle. `at` goes there, `pointAt` back. */
function viewOf(context, width, height, [x1, y1, x2, y2]) {
  const scale = Math.min(width / Math.max(x2 - x1, 1e-6), height / Math.max(y2 - y1, 1e-6));
  const left = (width - (x2 - x1) * scale) / 2 - x1 * scale;
  const top = (height - (y2 - y1) * scale) / 2 - y1 * scale;
  return {
    context,
    width,
    height,
    scale,
    at: (x, y) => [left + x * scale, top + y * scale],
    pointAt: (x, y) => ({ x: (x - left) / scale, y: (y - top) / scale }),
  };
}

/** A box with a margin around it, for a closer look: at least `smallest` wide and high, and of the canvas's aspect. */
function closeUp(box, aspect, margin, smallest) {
  const width = Math.max((box[2] - box[0]) * (1 + 2 * margin), smallest);
  const height = Math.max((box[3] - box[1]) * (1 + 2 * margin), smallest, width / aspect);
  const half = [Math.max(width, height * aspect) / 2, height / 2];
  const centre = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  return [centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]];
}

/** A window moved into a plane of `width` x `height`, or over its middle along a side where it is larger than that. */
function movedInto([x1, y1, x2, y2], width, height) {
  const shift = (low, high, length) =>
    high - low >= length ? (length - low - high) / 2 : Math.max(0, -low) - Math.max(0, high - length);
  const [right, down] = [shift(x1, x2, width), shift(y1, y2, height)];
  return [x1 + right, y1 + down, x2 + right, y2 + down];
}

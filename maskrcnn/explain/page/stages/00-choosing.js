'use strict';

// How a reader of several stages chooses what to look at: an RoI, a detection, the whole picture or a part of it.

const MOST_ROIS_DRAWN = 150;

/** Those of `candidates` whose box (in Float32Array N * 4) holds a point, smallest first. */
function boxesAround({ x, y }, boxes, candidates) {
  const size = (i) => (boxes[4 * i + 2] - boxes[4 * i]) * (boxes[4 * i + 3] - boxes[4 * i + 1]);
  return candidates
    .filter((i) => x >= boxes[4 * i] && x <= boxes[4 * i + 2] && y >= boxes[4 * i + 1] && y <= boxes[4 * i + 3])
    .sort((a, b) => size(a) - size(b));
}

/**
 * Which box somebody means who points at a place where many lie: the smallest one, and who points there again means the
 * next larger one.
 *
 * @returns {number|undefined} undefined where there is none
 */
function nextAround(point, boxes, candidates, chosen) {
  const here = boxesAround(point, boxes, candidates);
  return here[(here.indexOf(chosen) + 1) % here.length];
}

/** The next or the one before of `count`, round and round; null for keys that mean neither. */
function stepped(key, index, count) {
  if (!count) return null;
  if (key === 'ArrowRight' || key === 'ArrowDown') return (index + 1) % count;
  if (key === 'ArrowLeft' || key === 'ArrowUp') return (index - 1 + count) % count;
  if (key === 'Home') return 0;
  if (key === 'End') return count - 1;
  return null;
}

/** A cell moved by an arrow key within rows x columns, or null for other keys. */
function movedCell(key, { row, column }, rows, columns) {
  const direction = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
  if (!direction) return null;
  const within = (value, count) => Math.max(0, Math.min(count - 1, value));
  return { row: within(row + direction[0], rows), column: within(column + direction[1], columns) };
}

/** The smallest box around several. */
function outlineOf(boxes) {
  const corner = (i, choose) => choose(...boxes.map((box) => box[i]));
  return [corner(0, Math.min), corner(1, Math.min), corner(2, Math.max), corner(3, Math.max)];
}

/**
 * The whole picture, or what is around a box.
 *
 * @param {() => number[]|null} boxOf what to look at closely
 * @returns {{root: HTMLElement, window: () => number[]}} `window` is what the figure should show
 */
function createViewChoice(page, { id, value = 'whole', boxOf, onChange }) {
  const choice = createChoice({
    id,
    label: 'View',
    value,
    onChange,
    options: [
      { value: 'whole', text: 'whole picture' },
      { value: 'close', text: 'close-up' },
    ],
  });
  const shown = () => {
    const box = choice.get() === 'close' ? boxOf() : null;
    const near = box && closeUp(box, pictureAspect(page), 0.8, 48);
    const { width, height } = page.data.picture;
    // The window has the picture's aspect: if one side is longer, both are.
    return near && near[2] - near[0] < width ? movedInto(near, width, height) : wholePicture(page);
  };
  return { root: choice.root, window: shown };
}

/** Of features, the norm over all channels or one of them. */
function createNormChoice(id, label, onChange) {
  const options = [
    { value: 'norm', text: 'norm over channels' },
    { value: 'channel', text: 'one channel' },
  ];
  return createChoice({ id, label, value: 'norm', onChange, options });
}

/** Which channel; moving it chooses "one channel" in a norm choice. Its limit is set once it is known. */
function createChannelSlider(id, normChoice, onInput) {
  const choose = () => {
    normChoice.set('channel');
    onInput();
  };
  return createSlider({ id, label: 'Channel', min: 0, max: 0, step: 1, value: 0, onInput: choose });
}

/** How much of the picture a map over it hides, in percent. */
function createOpacitySlider(id, onInput) {
  const format = (value) => `${value} %`;
  return createSlider({ id, label: 'Opacity', min: 0, max: 100, step: 5, value: 75, format, onInput });
}

/** The list of RoIs: those that became detections first. */
function createRoiSelect(page, id) {
  const { detections, rois } = page.data;
  const count = float32Of(rois.boxes).length / 4;
  // Of several detections from one RoI the best comes last, and stays.
  const detectionOf = new Map([...detections].reverse().map((detection) => [detection.roi, detection]));
  const all = Array.from({ length: count }, (_, roi) => roi);
  const found = ({ label, score }) => `${className(page, label)} ${fixed(score, 2)}`;
  const select = createSelect({
    id,
    label: 'RoI',
    value: page.selection.roi,
    onChange: (roi) => page.selection.chooseRoi(roi),
    groups: [
      {
        label: 'became a detection',
        options: all
          .filter((roi) => detectionOf.has(roi))
          .map((roi) => ({ value: roi, text: `${roi + 1}: ${found(detectionOf.get(roi))}` })),
      },
      {
        label: 'became none',
        options: all.filter((roi) => !detectionOf.has(roi)).map((roi) => ({ value: roi, text: String(roi + 1) })),
      },
    ],
  });
  page.selection.onChange(() => select.set(page.selection.roi));
  return select;
}

/** The list of detections, best first; choosing one chooses its RoI, too. */
function createDetectionSelect(page, id) {
  const options = page.data.detections.map(({ label, score, shown }, i) => ({
    value: i,
    text: `${i + 1}: ${className(page, label)} ${fixed(score, 2)}`,
    shown,
  }));
  const select = createSelect({
    id,
    label: 'Detection',
    value: page.selection.detection,
    onChange: (detection) => page.selection.chooseDetection(detection),
    groups: [
      { label: 'reported', options: options.filter((one) => one.shown) },
      { label: 'not reported', options: options.filter((one) => !one.shown) },
    ],
  });
  page.selection.onChange(() => select.set(page.selection.detection));
  return select;
}

/** The picture with the RoIs on it, one of which can be chosen. */
function createRoiFigure(page, name, boxes) {
  const count = boxes.length / 4;
  const drawn = Array.from({ length: Math.min(count, MOST_ROIS_DRAWN) }, (_, roi) => roi);
  const figure = createFigure({
    name,
    label: 'The regions of interest over the picture. Arrow keys go through them, best first.',
    aspect: pictureAspect(page),
    tallest: 360,
    window: () => wholePicture(page),
    draw: (view) => {
      drawPicture(view, page, 0.4);
      const thin = { colour: COLOURS.white, width: 1, rim: false, opacity: 0.45 };
      for (const roi of drawn) strokeBox(view, boxAt(boxes, roi), thin);
      const chosen = boxAt(boxes, page.selection.roi);
      strokeBox(view, chosen, { colour: COLOURS.orange, width: 3 });
      createLabels(view)(`RoI ${page.selection.roi + 1}`, chosen, COLOURS.orange, true);
      return { chosen: String(page.selection.roi), count: String(count) };
    },
    onPick: (point) => {
      const roi = nextAround(point, boxes, drawn, page.selection.roi);
      if (roi !== undefined) page.selection.chooseRoi(roi);
    },
    onKey: (key) => {
      const next = stepped(key, page.selection.roi, count);
      if (next === null) return false;
      page.selection.chooseRoi(next);
      announce(`RoI ${next + 1}, ${sizeText(boxAt(boxes, next))} pixels`);
      return true;
    },
  });
  page.selection.onChange(() => figure.update());
  return figure;
}

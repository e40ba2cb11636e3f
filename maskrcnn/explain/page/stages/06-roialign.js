'use strict';

// From a region of any size to a grid of fixed size.

const MOST_ROIS_DRAWN = 150;

/** The list of RoIs of this stage and the next: those that became detections first. */
function createRoiSelect(page, id) {
  const { detections, rois } = page.data;
  const count = float32Of(rois.boxes).length / 4;
  const ofDetections = new Set(detections.map((detection) => detection.roi));
  const others = Array.from({ length: count }, (_, roi) => roi).filter((roi) => !ofDetections.has(roi));
  const select = createSelect({
    id, label: 'RoI', value: page.selection.roi, onChange: (roi) => page.selection.chooseRoi(roi),
    groups: [
      { label: 'became detections', options: [...ofDetections].map((roi) => {
        const detection = detections.find((one) => one.roi === roi);
        return { value: roi, text: `${roi + 1}: ${className(page, detection.label)} ${fixed(detection.score, 2)}` };
      }) },
      { label: 'became none', options: others.map((roi) => ({ value: roi, text: `${roi + 1}` })) },
    ],
  });
  page.selection.onChange(() => select.set(page.selection.roi));
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
      for (const roi of drawn) strokeBox(view, boxAt(boxes, roi), { colour: COLOURS.white, width: 1, rim: false, opacity: 0.45 });
      if (!count) return { chosen: '-1', count: '0' };
      const chosen = boxAt(boxes, page.selection.roi);
      strokeBox(view, chosen, { colour: COLOURS.orange, width: 3 });
      createLabels(view)(`RoI ${page.selection.roi + 1}`, chosen, COLOURS.orange, true);
      return { chosen: String(page.selection.roi), count: String(count) };
    },
    onPick: ({ x, y }) => {
      const area = (roi) => (boxes[4 * roi + 2] - boxes[4 * roi]) * (boxes[4 * roi + 3] - boxes[4 * roi + 1]);
      const here = drawn.filter((i) => x >= boxes[4 * i] && x <= boxes[4 * i + 2] && y >= boxes[4 * i + 1] && y <= boxes[4 * i + 3])
        .sort((a, b) => area(a) - area(b));
      if (here.length) page.selection.chooseRoi(here[(here.indexOf(page.selection.roi) + 1) % here.length]);
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

/** The part of a map that a window of cells shows, and the box that it covers. */
function cropMap(map, [x1, y1, x2, y2]) {
  const box = [Math.max(0, Math.floor(x1)), Math.max(0, Math.floor(y1)), Math.min(map.columns, Math.ceil(x2)), Math.min(map.rows, Math.ceil(y2))];
  const [rows, columns] = [box[3] - box[1], box[2] - box[0]];
  if (rows <= 0 || columns <= 0) return null;
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const start = (box[1] + row) * map.columns + box[0];
    values.set(map.values.subarray(start, start + columns), row * columns);
  }
  return { box, map: stretched({ rows, columns, values }) };
}

/** Lines between the cells of a window, if they are not too narrow. */
function drawCellGrid(view, [x1, y1, x2, y2]) {
  if (view.scale < 5) return;
  const options = { colour: COLOURS.white, width: 0.5, rim: false, opacity: 0.35 };
  for (let x = Math.ceil(x1); x <= x2; x++) strokeLine(view, [x, y1], [x, y2], options);
  for (let y = Math.ceil(y1); y <= y2; y++) strokeLine(view, [x1, y], [x2, y], options);
}

/** Why an RoI reads the level that it reads. */
function describeLevelChoice(box, rois) {
  const relative = relativeSize(box, rois.finest_size);
  const level = pyramidLevel(box, rois.strides.length, rois.finest_size);
  const name = rois.level_names[level];
  if (rois.strides.length === 1) return `${sizeText(box)} pixels. There is one level, ${name}, for RoIs of all sizes.`;
  const exact = Math.floor(Math.log2(relative));
  const clamped = exact === level ? '' : `, which becomes ${level}, as there are the levels 0 to ${rois.strides.length - 1}`;
  return `${sizeText(box)} pixels. Level ⌊log₂(√(w·h) / ${rois.finest_size})⌋ = ⌊log₂(${fixed(Math.sqrt(area(box)), 1)} / ${rois.finest_size})⌋ = `
    + `⌊${fixed(Math.log2(relative), 2)}⌋ = ${exact}${clamped}: ${name}, a cell for every ${rois.strides[level]} pixels.`;
}

/** A small map of S x S bins, one of which can be chosen; the same one in all figures. */
function createPooledFigure({ name, label, mapOf, bin, size }) {
  return createFigure({
    name, label, aspect: 1, tallest: 230,
    window: () => [0, 0, size, size],
    draw: (view) => {
      const map = mapOf();
      if (!map) return { ready: 'false' };
      drawImage(view, mapPicture(stretched(map)), [0, 0, size, size]);
      if (bin) strokeBox(view, [bin.column, bin.row, bin.column + 1, bin.row + 1], { colour: COLOURS.orange, width: 2.5 });
      return { ready: 'true', bin: bin ? `${bin.row},${bin.column}` : '' };
    },
    onPick: bin && (({ x, y }) => bin.set(Math.floor(y), Math.floor(x))),
    onKey: bin && ((key) => {
      const moved = movedCell(key, bin, size, size);
      if (moved) bin.set(moved.row, moved.column);
      return Boolean(moved);
    }),
  });
}

defineStage('roialign', ({ data }) => {
  const { size } = data.rois.box;
  return `The heads want the same number of features for each region of interest (RoI), whether it is 20 pixels wide or 500. RoIAlign cuts the `
    + `region into ${size} × ${size} bins on the level that suits its size, and each bin is the average of interpolated samples. `
    + 'It never rounds a coordinate; RoIPool, which came before it, rounds the region and then every bin.';
}, (page, body) => {
  const { rois, masks, features, detections } = page.data;
  const boxes = float32Of(rois.boxes);
  const { size, sampling_ratio: ratio, aligned } = rois.box;
  if (!boxes.length) {
    body.append(element('p', {}, 'There are no RoIs: no proposal is left.'));
    return;
  }
  const levelOf = () => pyramidLevel(boxAt(boxes, page.selection.roi), rois.strides.length, rois.finest_size);
  const maps = rois.level_names.map((name) => {
    const level = features.find((one) => one.name === name);
    return level ? openSheet(level.norm, () => cells.update()) : null;
  });
  const pooledNorm = openSheet(rois.box.pooled_norm, () => pooled.update());
  const maskNorm = masks ? openSheet(masks.pooled_norm, () => maskPooled.update()) : null;
  const opened = new Map(); // sheets of channels, by whose they are
  const channelsOf = (group, key, onReady) => {
    const sheet = group?.[String(key)];
    if (!sheet) return null;
    if (!opened.has(sheet)) opened.set(sheet, openSheet(sheet, onReady));
    return opened.get(sheet);
  };
  const bin = {
    row: Math.floor(size / 2), column: Math.floor(size / 2),
    set(row, column) {
      [this.row, this.column] = [row, column].map((at) => Math.max(0, Math.min(size - 1, at)));
      updateAll();
      announce(`Bin row ${this.row + 1}, column ${this.column + 1}: ${binText.textContent}`);
    },
  };
  const explanation = element('p', {});
  const half = element('p', { class: 'quiet' }, aligned ? ''
    : 'The bins lie half a cell to the right of the border and below it: these weights were trained with aligned = false, which takes the '
      + 'centre of cell 0 for its corner.');
  const binText = element('p', { class: 'reading' });
  const maskTitle = element('h3', {}, '');
  const windowOf = () => {
    const stride = rois.strides[levelOf()];
    return closeUp(boxAt(boxes, page.selection.roi).map((corner) => corner / stride), 1.45, 0.2, 6);
  };

  const drawCells = (view) => {
    const box = boxAt(boxes, page.selection.roi);
    const level = levelOf();
    const stride = rois.strides[level];
    const seen = windowOf();
    const map = maps[level]?.tile(0);
    const cropped = map && cropMap(map, seen);
    hatchBox(view, seen);
    if (shown.get() === 'picture') {
      const { width, height } = page.data.picture;
      drawImage(view, page.picture, [0, 0, width / stride, height / stride], { smooth: true });
    } else if (cropped) drawImage(view, mapPicture(cropped.map), cropped.box);
    drawCellGrid(view, seen);

    if (pooling.input.checked) {
      const rounded = roiPoolBins(box, stride, size);
      for (const one of rounded.bins) strokeBox(view, one, { colour: COLOURS.purple, width: 1, style: 'dotted', rim: false });
      strokeBox(view, rounded.box, { colour: COLOURS.purple, width: 2.5, style: 'dashed' });
    }
    // A position counts from the centre of the first cell, which is drawn from 0 to 1: hence the half.
    const grid = roiAlignGrid(box, stride, size, ratio, aligned);
    const edge = (axis, i) => grid.start[axis] + i * grid.bin[axis] + 0.5;
    for (let i = 0; i <= size; i++) {
      strokeLine(view, [edge(0, i), edge(1, 0)], [edge(0, i), edge(1, size)], { colour: COLOURS.white, width: 1.5 });
      strokeLine(view, [edge(0, 0), edge(1, i)], [edge(0, size), edge(1, i)], { colour: COLOURS.white, width: 1.5 });
    }
    strokeBox(view, box.map((corner) => corner / stride), { colour: COLOURS.orange, width: 3 });
    const perBin = grid.points.length / (size * size);
    const chosen = bin.row * size + bin.column;
    const radius = Math.max(1, Math.min(3, (Math.min(...grid.bin) * view.scale) / Math.sqrt(perBin) / 4));
    grid.points.forEach(([x, y], i) => {
      const here = Math.floor(i / perBin) === chosen;
      fillDot(view, [x + 0.5, y + 0.5], here ? radius + 1.5 : radius, here ? COLOURS.orange : COLOURS.white);
    });

    explanation.textContent = describeLevelChoice(box, rois);
    const value = currentPooled(page.selection.roi)?.values[chosen];
    binText.textContent = `The chosen bin is the average of ${counted(perBin, 'sample')}${value === undefined ? '' : `: ${short(value)}`}.`;
    const name = rois.level_names[level];
    return { chosen: String(page.selection.roi), level: name, points: String(grid.points.length), ready: String(Boolean(map) || shown.get() === 'picture') };
  };
  const currentPooled = (roi) => {
    const sheet = channelsOf(rois.pooled, roi, () => pooled.update());
    return what.get() === 'channel' && sheet ? sheet.tile(Math.min(channel.get(), sheet.count - 1)) : pooledNorm.tile(roi);
  };
  const currentMaskPooled = () => {
    const detection = page.selection.detectionOfRoi;
    if (!masks || detection === null) return null;
    const sheet = channelsOf(masks.pooled, detection, () => maskPooled.update());
    return what.get() === 'channel' && sheet ? sheet.tile(Math.min(channel.get(), sheet.count - 1)) : maskNorm.tile(detection);
  };

  const picture = createRoiFigure(page, 'roialign', boxes);
  const cells = createFigure({
    name: 'roialign-cells', label: 'The cells of the level around the RoI, with the bins and sampling points of RoIAlign and the bins of RoIPool.',
    aspect: 1.45, tallest: 520, window: windowOf, draw: drawCells,
  });
  const pooled = createPooledFigure({
    name: 'roialign-pooled', label: `The ${size} × ${size} pooled features. Arrow keys choose a bin.`, mapOf: () => currentPooled(page.selection.roi), bin, size,
  });
  const maskPooled = masks && createPooledFigure({
    name: 'roialign-mask-pooled', label: 'The pooled features of the mask head.', mapOf: currentMaskPooled, bin: null, size: masks.box.size,
  });
  const what = createChoice({
    id: 'roialign-what', label: 'Pooled', value: 'norm', onChange: () => updateAll(),
    options: [{ value: 'norm', text: 'norm' }, { value: 'channel', text: 'one channel' }],
  });
  const channel = createSlider({
    id: 'roialign-channel', label: 'Channel', min: 0, max: 0, step: 1, value: 0, onInput: () => { what.set('channel'); updateAll(); },
  });
  const shown = createChoice({
    id: 'roialign-shown', label: 'Below the bins', value: 'map', onChange: () => cells.update(),
    options: [{ value: 'map', text: 'norm of the level' }, { value: 'picture', text: 'picture' }],
  });
  const pooling = createCheckbox({ id: 'roialign-roipool', label: 'RoIPool’s bins', checked: true, onChange: () => cells.update() });
  const updateAll = () => {
    const sheet = rois.pooled?.[String(page.selection.roi)];
    channel.limit(sheet ? sheet.count - 1 : 0);
    const detection = page.selection.detectionOfRoi;
    if (maskPooled) {
      maskPooled.canvas.hidden = detection === null;
      maskTitle.textContent = detection === null ? 'It became no detection, so the mask head does not look at it.'
        : `For the mask head, from the box of detection ${detection + 1} (${sizeText(detections[detection].box)}): ${masks.box.size} × ${masks.box.size}`;
      maskPooled.update();
    }
    cells.update();
    pooled.update();
  };
  page.selection.onChange(updateAll);
  const legend = createLegend([
    { colour: COLOURS.orange, text: 'the RoI' }, { colour: 'var(--quiet)', text: 'RoIAlign’s bins' }, { colour: 'var(--quiet)', shape: 'dot', text: 'its samples' },
    { colour: COLOURS.purple, style: 'dashed', text: 'the cells that RoIPool takes' }, { colour: COLOURS.purple, style: 'dotted', text: 'its bins' },
  ]);
  arrange(body, {
    controls: [createRoiSelect(page, 'roialign-roi'), shown, pooling, what, channel],
    figures: [cells, legend, half],
    panel: [picture, explanation, element('h3', {}, `For the box head: ${size} × ${size}`), pooled, binText, maskTitle, maskPooled ?? ''],
  });
  updateAll();
});

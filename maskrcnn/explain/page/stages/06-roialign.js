'use strict';

// From a region of any size to a grid of fixed size.

const CELLS_ASPECT = 1.5;

/** Why an RoI reads the level that it reads. */
function describeLevelChoice(box, rois) {
  const count = rois.strides.length;
  const level = pyramidLevel(box, count, rois.finest_size);
  const [name, stride] = [rois.level_names[level], rois.strides[level]];
  const cells = `${name}, a cell for every ${stride} × ${stride} pixels`;
  if (count === 1) return `The RoI is ${sizeText(box)} pixels large. There is one level for all sizes: ${cells}.`;
  const side = fixed(Math.sqrt(area(box)), 1);
  const logarithm = Math.log2(relativeSize(box, rois.finest_size));
  const exact = Math.floor(logarithm);
  const clamped = exact === level ? '' : `, and so ${level}, as levels count from 0 to ${count - 1}`;
  return (
    `The RoI is ${sizeText(box)} pixels large, so its level is ⌊log₂(√(w · h) / ${rois.finest_size})⌋ = ⌊log₂(${side} / ` +
    `${rois.finest_size})⌋ = ⌊${fixed(logarithm, 2)}⌋ = ${fixed(exact, 0)}${clamped}. That is ${cells}.`
  );
}

/** The whole cells that RoIPool takes for the RoI, and for each of its bins. */
function drawRoiPool(view, box, stride, size) {
  const rounded = roiPoolBins(box, stride, size);
  for (const bin of rounded.bins)
    strokeBox(view, bin, { colour: COLOURS.purple, width: 1.5, style: 'dotted', rim: false });
  strokeBox(view, rounded.box, { colour: COLOURS.purple, width: 2.5, style: 'dashed' });
}

/**
 * RoIAlign's bins and samples, those of one bin larger. A position counts from the centre of the first cell, which is
 * drawn from 0 to 1: hence the halves.
 */
function drawRoiAlign(view, grid, size, chosenBin) {
  const edge = (axis, i) => grid.start[axis] + i * grid.bin[axis] + 0.5;
  const line = { colour: COLOURS.white, width: 1.5 };
  for (let i = 0; i <= size; i++) {
    strokeLine(view, [edge(0, i), edge(1, 0)], [edge(0, i), edge(1, size)], line);
    strokeLine(view, [edge(0, 0), edge(1, i)], [edge(0, size), edge(1, i)], line);
  }
  const perBin = grid.points.length / size ** 2;
  const room = (Math.min(...grid.bin) * view.scale) / Math.sqrt(perBin);
  const radius = Math.max(0.8, Math.min(3, room / 4));
  grid.points.forEach(([x, y], i) => {
    const chosen = Math.floor(i / perBin) === chosenBin;
    fillDot(view, [x + 0.5, y + 0.5], radius + (chosen ? 1.2 : 0), chosen ? COLOURS.orange : COLOURS.white);
  });
}

/** Pooled features as a small map; with `bin`, one of them can be chosen. */
function createPooledMap({ name, title, mapOf, bin, size }) {
  const bar = createColourBar();
  const figure = createFigure({
    name,
    aspect: 1,
    tallest: 230,
    label: `The ${size} × ${size} pooled features${bin ? '. Arrow keys choose a bin.' : ''}`,
    window: () => [0, 0, size, size],
    draw: (view) => {
      const map = mapOf();
      if (!map) return { ready: 'false' };
      const contrast = stretched(map);
      bar.set(contrast);
      drawImage(view, mapPicture(contrast), [0, 0, size, size]);
      if (bin)
        strokeBox(view, [bin.column, bin.row, bin.column + 1, bin.row + 1], { colour: COLOURS.orange, width: 2.5 });
      return { ready: 'true', bin: bin ? `${bin.row},${bin.column}` : '' };
    },
    onPick: bin && (({ x, y }) => bin.set({ row: Math.floor(y), column: Math.floor(x) })),
    onKey:
      bin &&
      ((key) => {
        const moved = movedCell(key, bin, size, size);
        if (moved) bin.set(moved);
        return Boolean(moved);
      }),
  });
  return {
    update: figure.update,
    root: element('div', { class: 'small-map' }, element('h3', {}, title), figure.canvas, bar.root),
  };
}

/** Opens sheets of channels as they are asked for, each once. */
function createChannels(group, onReady) {
  const opened = new Map();
  return (key) => {
    const sheet = group?.[String(key)];
    if (sheet && !opened.has(key)) opened.set(key, openSheet(sheet, onReady));
    return opened.get(key) ?? null;
  };
}

defineStage(
  'roialign',
  ({ data }) => {
    const { size } = data.rois.box;
    return (
      'The heads want the same number of features for each region of interest (RoI), whether it is 20 pixels wide or 500. ' +
      `RoIAlign cuts the region into ${size} × ${size} bins, on the level that suits its size, and each bin is the average of ` +
      'interpolated samples. It never rounds a coordinate; RoIPool, which came before it, rounds the region and then every bin.'
    );
  },
  (page, body) => {
    const {
      data: { rois, masks, features, picture },
      selection,
    } = page;
    const boxes = float32Of(rois.boxes);
    if (!boxes.length) {
      body.append(element('p', {}, 'There are no RoIs: no proposal is left.'));
      return;
    }
    const { size, sampling_ratio: ratio, aligned } = rois.box;
    const boxNow = () => boxAt(boxes, selection.roi);
    const levelNow = () => pyramidLevel(boxNow(), rois.strides.length, rois.finest_size);
    const windowNow = () => {
      const stride = rois.strides[levelNow()];
      const near = closeUp(
        boxNow().map((corner) => corner / stride),
        CELLS_ASPECT,
        0.2,
        6,
      );
      return movedInto(near, ...picture.padded.map((side) => side / stride));
    };

    const norms = rois.level_names.map((name) => {
      const level = features.find((one) => one.name === name);
      return level ? openSheet(level.norm, () => cells.update()) : null;
    });
    const pooledNorms = openSheet(rois.box.pooled_norm, () => updateAll());
    const maskNorms = masks && openSheet(masks.pooled_norm, () => updateAll());
    const channelsOfRoi = createChannels(rois.pooled, () => updateAll());
    const channelsOfDetection = createChannels(masks?.pooled, () => updateAll());
    /** The chosen channel where there are channels, and otherwise the norm. */
    const pooledOf = (channels, norms, index) =>
      what.get() === 'channel' && channels
        ? channels.tile(Math.min(channel.get(), channels.count - 1))
        : norms.tile(index);
    const pooledNow = () => pooledOf(channelsOfRoi(selection.roi), pooledNorms, selection.roi);
    const maskPooledNow = () => {
      const detection = selection.detectionOfRoi;
      return detection === null ? null : pooledOf(channelsOfDetection(detection), maskNorms, detection);
    };

    const bin = {
      row: Math.floor(size / 2),
      column: Math.floor(size / 2),
      set({ row, column }) {
        Object.assign(this, { row, column });
        updateAll();
        announce(`Bin in row ${row + 1}, column ${column + 1}`);
      },
    };
    const reason = element('p', {});
    const binReading = element('p', { class: 'reading' });
    const draw = (view) => {
      const [box, level, seen] = [boxNow(), levelNow(), windowNow()];
      const stride = rois.strides[level];
      const map = norms[level]?.tile(0);
      const crop = map && cropMap(map, seen);
      if (shown.get() === 'picture') {
        drawImage(view, page.picture, [0, 0, picture.width / stride, picture.height / stride], { smooth: true });
      } else if (crop) {
        drawImage(view, mapPicture(crop.map), crop.box);
      }
      drawCellGrid(view, seen);
      if (roiPool.input.checked) drawRoiPool(view, box, stride, size);
      strokeBox(
        view,
        box.map((corner) => corner / stride),
        { colour: COLOURS.orange, width: 3 },
      );
      const grid = roiAlignGrid(box, stride, size, ratio, aligned);
      const chosenBin = bin.row * size + bin.column;
      drawRoiAlign(view, grid, size, chosenBin);
      reason.textContent = describeLevelChoice(box, rois);
      const value = pooledNow()?.values[chosenBin];
      binReading.textContent =
        `Bin in row ${bin.row + 1}, column ${bin.column + 1}: the average of ` +
        `${counted(grid.points.length / size ** 2, 'sample')}${value === undefined ? '' : ` is ${short(value)}`}.`;
      return {
        chosen: String(selection.roi),
        level: rois.level_names[level],
        points: String(grid.points.length),
        ready: String(Boolean(crop) || shown.get() === 'picture'),
      };
    };

    const whole = createRoiFigure(page, 'roialign', boxes);
    const cells = createFigure({
      name: 'roialign-cells',
      aspect: CELLS_ASPECT,
      tallest: 480,
      window: windowNow,
      draw,
      label: 'The cells of the level around the RoI, with the bins and samples of RoIAlign and the cells of RoIPool',
    });
    const pooled = createPooledMap({
      name: 'roialign-pooled',
      title: `Box head: ${size} × ${size}`,
      mapOf: pooledNow,
      bin,
      size,
    });
    const maskPooled =
      masks &&
      createPooledMap({
        name: 'roialign-mask-pooled',
        title: `Mask head: ${masks.box.size} × ${masks.box.size}`,
        mapOf: maskPooledNow,
        size: masks.box.size,
      });
    const maskNote = createHint('');

    const what = createChoice({
      id: 'roialign-what',
      label: 'Pooled',
      value: 'norm',
      onChange: () => updateAll(),
      options: [
        { value: 'norm', text: 'norm' },
        { value: 'channel', text: 'one channel' },
      ],
    });
    const channel = createSlider({
      id: 'roialign-channel',
      label: 'Channel',
      min: 0,
      max: 0,
      step: 1,
      value: 0,
      onInput: () => {
        what.set('channel');
        updateAll();
      },
    });
    const shown = createChoice({
      id: 'roialign-shown',
      label: 'Below the bins',
      value: 'map',
      onChange: () => cells.update(),
      options: [
        { value: 'map', text: 'norm of the level' },
        { value: 'picture', text: 'picture' },
      ],
    });
    const roiPool = createCheckbox({
      id: 'roialign-roipool',
      label: 'RoIPool’s cells',
      checked: true,
      onChange: () => cells.update(),
    });
    const updateAll = () => {
      const channels = rois.pooled?.[String(selection.roi)];
      channel.root.hidden = !channels;
      what.root.hidden = !channels;
      if (channels) channel.limit(channels.count - 1);
      if (maskPooled) {
        const detection = selection.detectionOfRoi;
        maskPooled.root.hidden = detection === null;
        maskNote.textContent =
          detection === null
            ? 'This RoI became no detection, so the mask head does not look at it.'
            : 'The mask head looks at the refined box.';
        maskPooled.update();
      }
      cells.update();
      pooled.update();
    };
    selection.onChange(updateAll);

    const legend = createLegend([
      { colour: COLOURS.orange, text: 'the RoI' },
      { colour: COLOURS.white, text: 'RoIAlign’s bins' },
      { colour: COLOURS.white, shape: 'dot', text: 'its samples' },
      { colour: COLOURS.purple, style: 'dashed', text: 'the cells that RoIPool takes' },
      { colour: COLOURS.purple, style: 'dotted', text: 'its bins' },
    ]);
    const halfCell = aligned
      ? ''
      : createHint(
          'The bins lie half a cell too far to the right and down. These weights were ' +
            'trained so (aligned = false): the centre of the first cell is taken for its corner.',
        );
    const pooledMaps = element('div', { class: 'small-maps' }, ...[pooled.root, maskPooled?.root].filter(Boolean));
    arrange(body, {
      controls: [createRoiSelect(page, 'roialign-roi'), shown, roiPool, what, channel],
      figures: [cells, legend, halfCell],
      panel: [whole, reason, pooledMaps, binReading, maskNote],
    });
    updateAll();
  },
);

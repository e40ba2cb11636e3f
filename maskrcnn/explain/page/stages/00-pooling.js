'use strict';

// Which level an RoI reads, where on it, and what comes out, as words and as pictures.

/** Whether a layer reads samples between the cells, at places that were never rounded. */
function isRoIAlign(layer) {
  return layer === 'align' || layer === 'align_max';
}

/** Whether what is shown has a value for each bin; the fifth stage of a ResNet makes something else of them. */
function showsBins({ through_fifth_stage: throughFifthStage, box }) {
  return !throughFifthStage && box.cells === box.size;
}

/** How the network gets features of fixed size, as sentences. */
function describeLayer(rois) {
  const bins = `${rois.box.size} × ${rois.box.size} bins`;
  const levels = rois.strides.length > 1;
  const level = levels ? ', on the level that suits its size,' : '';
  const onLevel = levels ? 'on the level that suits its size, ' : '';
  const sentences = {
    align: [
      `RoIAlign cuts the region into ${bins}${level} and ` +
        (showsBins(rois)
          ? 'each bin is the average of interpolated samples.'
          : 'reads interpolated samples in each of them.'),
      'It never rounds a coordinate; RoIPool, which came before it, rounds the region and then every bin.',
    ],
    align_max: [
      'This network pools with the largest sample of each bin (align_max).',
      `Like RoIAlign it cuts the region into ${bins}${level} without rounding a coordinate.`,
    ],
    pool: [
      `This network pools by RoIPool: ${onLevel}it rounds the region to whole cells, and again every one of its ` +
        `${bins}, and takes the largest value in each.`,
    ],
    warp: [
      `This network pools by RoIWarp: ${onLevel}it rounds the region to whole cells, as RoIPool does, then cuts it ` +
        `into ${bins} and interpolates, as RoIAlign does.`,
    ],
    warp_max: [
      `This network pools by RoIWarp: ${onLevel}it rounds the region to whole cells, as RoIPool does, then cuts it ` +
        `into ${bins} and interpolates, as RoIAlign does. Of the samples of a bin the largest counts.`,
    ],
  }[rois.roi_layer];
  return rois.through_fifth_stage
    ? [...sentences, 'What is shown is what the fifth stage of the ResNet made of the pooled bins.']
    : sentences;
}

/**
 * What the number of a bin is.
 *
 * @param {number} samples in the bin, where the layer has samples that are drawn
 * @param {number} value as the pooled map shows it
 * @param {number|null} channel null: the map shows the norm over channels
 */
function describeBin(rois, samples, value, channel) {
  const averages = rois.roi_layer === 'align';
  if (channel === null) {
    // The length of an average is not the average of lengths: samples that point apart cancel.
    return averages
      ? `each channel is the average of ${counted(samples, 'sample')}; the vector of these averages has length ` +
          `${short(value)}.`
      : `the vector of its channels has length ${short(value)}.`;
  }
  return averages
    ? `in channel ${channel} the average of ${counted(samples, 'sample')} is ${short(value)}.`
    : `channel ${channel} is ${short(value)}.`;
}

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
    `The RoI is ${sizeText(box)} pixels large, so its level is ⌊log₂(√(w · h) / ${rois.finest_size})⌋ = ` +
    `⌊log₂(${side} / ${rois.finest_size})⌋ = ⌊${fixed(logarithm, 2)}⌋ = ${fixed(exact, 0)}${clamped}. That is ${cells}. The level of the anchor that it came from plays no part.`
  );
}

const CHOSEN_BIN = { colour: COLOURS.orange, width: 2.5, rim: false };

/** The whole cells that RoIPool takes for the RoI, and for each of its bins. */
function drawRoiPool(view, box, stride, size, chosenBin = -1) {
  const rounded = roiPoolBins(box, stride, size);
  for (const bin of rounded.bins)
    strokeBox(view, bin, { colour: COLOURS.purple, width: 1.5, style: 'dotted', rim: false });
  strokeBox(view, rounded.box, { colour: COLOURS.purple, width: 2.5, style: 'dashed' });
  if (chosenBin >= 0) strokeBox(view, rounded.bins[chosenBin], CHOSEN_BIN);
}

/** The whole cells that RoIWarp takes for the RoI, which it then cuts into equal bins. */
function drawRoiWarp(view, box, stride, size, chosenBin) {
  const [x1, y1, x2, y2] = roiPoolBins(box, stride, size).box;
  const [width, height] = [(x2 - x1) / size, (y2 - y1) / size];
  const line = { colour: COLOURS.purple, width: 1.5, style: 'dotted', rim: false };
  for (let i = 1; i < size; i++) {
    strokeLine(view, [x1 + i * width, y1], [x1 + i * width, y2], line);
    strokeLine(view, [x1, y1 + i * height], [x2, y1 + i * height], line);
  }
  strokeBox(view, [x1, y1, x2, y2], { colour: COLOURS.purple, width: 2.5, style: 'dashed' });
  if (chosenBin >= 0) {
    const [x, y] = [x1 + (chosenBin % size) * width, y1 + Math.floor(chosenBin / size) * height];
    strokeBox(view, [x, y, x + width, y + height], CHOSEN_BIN);
  }
}

/** What the lines over the cells mean. */
function createPoolingLegend(layer) {
  const align = isRoIAlign(layer);
  return createLegend(
    [
      { colour: COLOURS.orange, text: 'the RoI' },
      align && { colour: COLOURS.white, text: 'RoIAlign’s bins' },
      align && { colour: COLOURS.white, shape: 'dot', text: 'its samples' },
      {
        colour: COLOURS.purple,
        style: 'dashed',
        text: `the cells that ${layer.startsWith('warp') ? 'RoIWarp' : 'RoIPool'} takes`,
      },
      { colour: COLOURS.purple, style: 'dotted', text: 'its bins' },
    ].filter(Boolean),
  );
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

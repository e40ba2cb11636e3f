'use strict';

// Which level an RoI reads, where on it, and what comes out, as words and as pictures.

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
    `⌊log₂(${side} / ${rois.finest_size})⌋ = ⌊${fixed(logarithm, 2)}⌋ = ${fixed(exact, 0)}${clamped}. That is ${cells}.`
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

'use strict';

// The anchors of one cell, and which anchors training would call positive.

const ANCHOR_STATES = {
  positive: { text: 'positive: an object to learn', sign: '+', colour: COLOURS.sky, style: 'solid' },
  ignored: { text: 'ignored: neither', sign: '?', colour: COLOURS.yellow, style: 'dotted' },
  negative: { text: 'negative: background to learn', sign: MINUS, colour: COLOURS.vermilion, style: 'dashed' },
};

function anchorAt(level, row, column, anchor) {
  const [strideY, strideX] = level.stride;
  const [x, y] = [column * strideX, row * strideY];
  const [x1, y1, x2, y2] = level.cell[anchor];
  return [x + x1, y + y1, x + x2, y + y2];
}

/** How many anchors are positive; of very many the page has those with the largest IoUs only. */
function bestOfAll({ positive, positive_count: count }) {
  const [listed, all] = [positive.length, count].map(grouped);
  return positive.length < count ? `the best ${listed} of ${all}` : all;
}

/** The detection that an anchor overlaps most, and what training would make of the anchor. */
function judgeAnchor(box, objects, anchors, isPositive) {
  let best = { iou: 0, object: null };
  objects.forEach((object) => {
    const overlap = iou(box, object.box);
    if (overlap > best.iou) best = { iou: overlap, object };
  });
  const state =
    isPositive || best.iou >= anchors.positive_iou
      ? 'positive'
      : best.iou < anchors.negative_iou
        ? 'negative'
        : 'ignored';
  return { box, ...best, state };
}

defineStage({
  id: 'anchors',
  lead: ({ data: { anchors } }) => [
    `At every cell ${anchors.levels.length > 1 ? 'of every level ' : ''}stand a few boxes of fixed shapes, the ` +
      'anchors, and the network says which of them lie near an object.',
    `Training calls one positive if its IoU with an object reaches ${anchors.positive_iou}, negative if all its IoUs ` +
      `are below ${anchors.negative_iou}, and ignores the rest; the best one of an object may be positive with less.`,
    data.training
      ? 'Here the detections stand in for the objects; the last section has what the ground truth says.'
      : 'Here the detections stand in for the objects.',
  ],
  build(page, body) {
    const { anchors } = page.data;
    const objects = page.data.detections
      .map((detection, number) => ({ box: detection.box, number, shown: detection.shown }))
      .filter((object) => object.shown);
    const levels = anchors.levels;
    const positives = new Set(anchors.positive.map((entry) => entry.slice(0, 4).join(',')));
    // Begins at the anchor that fits best, if any does.
    const [best] = [...anchors.positive].sort((a, b) => b[5] - a[5]);
    let index = best ? best[0] : 0;
    let cell = best
      ? { row: best[1], column: best[2] }
      : { row: Math.floor(levels[0].rows / 2), column: Math.floor(levels[0].columns / 2) };
    const level = () => levels[index];
    const table = element('div', {});
    const count = element('p', {});

    const cellAnchors = () =>
      level().cell.map((_, anchor) =>
        judgeAnchor(
          anchorAt(level(), cell.row, cell.column, anchor),
          objects,
          anchors,
          positives.has([index, cell.row, cell.column, anchor].join(',')),
        ),
      );

    const describe = (judged) => {
      fill(
        table,
        element('h3', {}, `${level().name}, row ${cell.row}, column ${cell.column}`),
        createTable(
          ['', 'size', 'IoU', 'with', ''],
          judged.map((one, i) => [
            i + 1,
            sizeText(one.box),
            fixed(one.iou, 2),
            one.object ? `${one.object.number + 1}` : '–',
            `${ANCHOR_STATES[one.state].sign} ${one.state}`,
          ]),
        ),
        element('p', { class: 'quiet' }, 'IoU: the largest one with a detection, and which detection that is.'),
      );
      const here = anchors.positive.filter((entry) => entry[0] === index).length;
      const total = levels.reduce((sum, one) => sum + one.rows * one.columns * one.cell.length, 0);
      const own = level().rows * level().columns * level().cell.length;
      const { name } = level();
      count.textContent =
        levels.length === 1
          ? `${grouped(total)} anchors. Positive: ${bestOfAll(anchors)}.`
          : `${grouped(total)} anchors on all levels, ${grouped(own)} of them on ${name}. ` +
            `Positive: ${bestOfAll(anchors)}, on ${name} ${grouped(here)}.`;
    };

    const draw = (view) => {
      drawPicture(view, page, 0.45);
      for (const object of objects) strokeBox(view, object.box, { colour: COLOURS.white, width: 1, rim: false });
      const wanted = shownPositives.get();
      const drawn = anchors.positive.filter((entry) => wanted === 'all' || (wanted === 'level' && entry[0] === index));
      for (const [l, row, column, anchor] of drawn) {
        strokeBox(view, anchorAt(levels[l], row, column, anchor), {
          colour: ANCHOR_STATES.positive.colour,
          width: 1,
          rim: false,
        });
      }
      const judged = cellAnchors();
      const labels = createLabels(view);
      judged.forEach((one) => strokeBox(view, one.box, ANCHOR_STATES[one.state]));
      judged.forEach((one, i) => {
        const { sign, colour } = ANCHOR_STATES[one.state];
        labels(`${i + 1} ${sign} ${fixed(one.iou, 2)}`, one.box, colour);
      });
      fillDot(view, [cell.column * level().stride[1], cell.row * level().stride[0]], 4, COLOURS.orange);
      describe(judged);
      return {
        level: level().name,
        cell: `${cell.row},${cell.column}`,
        positives: String(drawn.length),
        states: judged.map((one) => one.state).join(','),
      };
    };

    const say = () =>
      announce(
        `Row ${cell.row}, column ${cell.column}: ` +
          cellAnchors()
            .map((one, i) => `anchor ${i + 1} ${one.state}, IoU ${fixed(one.iou, 2)}`)
            .join('; '),
      );
    const figure = createFigure({
      name: 'anchors',
      label: 'The anchors of one cell over the picture. Arrow keys move the cell.',
      aspect: pictureAspect(page),
      window: () => viewChoice.window(),
      draw,
      onPick: ({ x, y }) => {
        const within = (at, cells) => Math.max(0, Math.min(cells - 1, Math.round(at)));
        cell = {
          row: within(y / level().stride[0], level().rows),
          column: within(x / level().stride[1], level().columns),
        };
        say();
        figure.update();
      },
      onKey: (key) => {
        const moved = movedCell(key, cell, level().rows, level().columns);
        if (!moved) return false;
        cell = moved;
        say();
        figure.update();
        return true;
      },
    });
    const levelChoice = createChoice({
      id: 'anchors-level',
      label: 'Level',
      value: level().name,
      options: levels.map(({ name }) => ({ value: name, text: name })),
      onChange: (name) => {
        const centre = { x: cell.column * level().stride[1], y: cell.row * level().stride[0] };
        index = levels.findIndex((one) => one.name === name);
        cell = {
          row: Math.min(level().rows - 1, Math.round(centre.y / level().stride[0])),
          column: Math.min(level().columns - 1, Math.round(centre.x / level().stride[1])),
        };
        figure.update();
      },
    });
    const shownPositives = createChoice({
      id: 'anchors-positives',
      label: 'All positive anchors',
      value: 'none',
      onChange: () => figure.update(),
      options: [
        { value: 'none', text: 'hide' },
        { value: 'level', text: 'of this level' },
        { value: 'all', text: 'of all levels' },
      ],
    });
    const viewChoice = createViewChoice(page, {
      id: 'anchors-view',
      value: 'close',
      onChange: () => figure.update(),
      boxOf: () => outlineOf(cellAnchors().map((one) => one.box)),
    });
    const legend = createLegend([
      ...Object.values(ANCHOR_STATES).map(({ colour, style, text, sign }) => ({
        colour,
        style,
        text: `${sign} ${text}`,
      })),
      { colour: COLOURS.white, text: 'detections' },
      { colour: COLOURS.orange, shape: 'dot', text: 'the cell' },
    ]);
    arrange(body, {
      controls: [levelChoice, shownPositives, viewChoice],
      figures: [figure, legend, createHint('Click a place, or move from cell to cell with the arrow keys.')],
      panel: [table, count],
    });
  },
});

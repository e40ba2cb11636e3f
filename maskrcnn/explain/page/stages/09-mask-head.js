'use strict';

// Which pixels belong to a detection.

defineStage({
  id: 'mask-head',
  lead: ({ data: { masks } }) => [
    'A box cannot say that a thing is round, or slanted.',
    `So for each of ${masks?.size ?? 28} × ${masks?.size ?? 28} cells of a detection’s box the mask head says ` +
      (masks?.kind === 'pyramid'
        ? 'how high it lies on a pyramid over the text: 1 in the middle, falling to 0 at the border.'
        : 'how likely it belongs to the object.'),
    'Pasted back, each pixel of the picture looks up the cells around its centre, and those that reach a threshold ' +
      'are the mask.',
    masks?.threshold === null &&
      'The library’s outline is no such cut: it fits planes to the heights, and the outline is where they meet the ' +
        'ground.',
    masks?.paste === 'padded_resize' &&
      'The library pastes by another convention here (padded_resize), so the edge may differ by a pixel.',
  ],
  build(page, body) {
    const { masks, detections } = page.data;
    if (!masks || !detections.length) {
      body.append(
        element(
          'p',
          {},
          masks ? 'Nothing was detected, so the mask head had nothing to look at.' : 'This network has no mask head.',
        ),
      );
      return;
    }
    const { size } = masks;
    const values = float32Of(masks.values);
    const logits = masks.logits && float32Of(masks.logits);
    const [valueName, valuesName] = masks.kind === 'pyramid' ? ['height', 'Heights'] : ['probability', 'Probabilities'];
    const box = () => detections[page.selection.detection].box;
    const aspect = 1.45;
    let cell = { row: Math.floor(size / 2), column: Math.floor(size / 2) };
    /** The threshold as the values are: in 32 bits, so that those that equal it are not below it. */
    const cut = () => round32(threshold.get());
    const reading = element('p', { class: 'reading' });
    const areaText = element('p', {});
    const windowOf = () =>
      movedInto(closeUp(box(), aspect, 0.25, 24), page.data.picture.width, page.data.picture.height);

    const draw = (view) => {
      const { detection } = page.selection;
      drawPicture(view, page, 0.15);
      const own = values.subarray(detection * size * size, (detection + 1) * size * size);
      // As fine as the screen, so that the border shows how values are interpolated between the cells.
      const scale = view.scale * Math.min(2, window.devicePixelRatio || 1);
      const { width, height } = page.data.picture;
      const pasted = pasteMask(own, size, box(), Math.ceil(width * scale), Math.ceil(height * scale), scale);
      if (pasted.width && pasted.height) {
        const place = [pasted.x, pasted.y, pasted.x + pasted.width, pasted.y + pasted.height].map((at) => at / scale);
        drawImage(view, thresholdPicture(pasted, cut(), COLOURS.orange, 0.45), place, { smooth: true });
      }
      strokeBox(view, box(), { colour: COLOURS.white, width: 1.5 });
      const { polygon } = detections[detection];
      if (polygon) strokePolygon(view, polygon, { colour: COLOURS.sky, width: 2.5, style: 'dashed' });
      // Counted on the network's own pixels, so that it does not depend on the size of the window.
      const covered = pasteMask(own, size, box(), width, height, 1).values.reduce((sum, v) => sum + (v >= cut()), 0);
      const share = covered / Math.max(area(box()), 1e-6);
      areaText.textContent =
        `At ${thresholdText(threshold.get())} the mask covers ${grouped(Math.round(covered))} of the network’s pixels, ` +
        `${fixed(100 * share, 0)} % of the box. ` +
        (masks.threshold === null ? 'The library cuts at no threshold.' : `The library cuts at ${masks.threshold}.`);
      return {
        chosen: String(detection),
        threshold: String(threshold.get()),
        covered: String(covered),
        polygon: String(Boolean(polygon)),
      };
    };

    const createCells = (name, title, shown, limitOf, range) => {
      const bar = createColourBar();
      const figure = createFigure({
        name,
        aspect: 1,
        tallest: 260,
        label: `${title} of the ${size} × ${size} cells. Arrow keys choose a cell.`,
        window: () => [0, 0, size, size],
        draw: (view) => {
          const map = maskMap(shown, page.selection.detection, size, ...range);
          drawImage(view, mapPicture(map), [0, 0, size, size]);
          strokeBorder(view, map, limitOf());
          strokeBox(view, [cell.column, cell.row, cell.column + 1, cell.row + 1], {
            colour: COLOURS.white,
            width: 1.5,
          });
          bar.set(map);
          const at = (page.selection.detection * size + cell.row) * size + cell.column;
          reading.textContent =
            `Cell row ${cell.row + 1}, column ${cell.column + 1}: ` +
            `${logits ? `logit ${fixed(logits[at], 2)}, ` : ''}${valueName} ${fixed(values[at], 3)}.`;
          return { cell: `${cell.row},${cell.column}`, chosen: String(page.selection.detection) };
        },
        onPick: ({ x, y }) => moveTo({ row: Math.floor(y), column: Math.floor(x) }),
        onHover: (at) => at && moveTo({ row: Math.floor(at.y), column: Math.floor(at.x) }),
        onKey: (key) => {
          const moved = movedCell(key, cell, size, size);
          if (!moved) return false;
          moveTo(moved);
          announce(reading.textContent);
          return true;
        },
      });
      return {
        update: figure.update,
        root: element('div', { class: 'small-map' }, element('h3', {}, title), figure.canvas, bar.root),
      };
    };
    const moveTo = ({ row, column }) => {
      const within = (at) => Math.max(0, Math.min(size - 1, at));
      cell = { row: within(row), column: within(column) };
      maps.forEach((map) => map.update());
    };
    const maps = [
      logits &&
        createCells('mask-head-logits', 'Logits', logits, () => Math.log(threshold.get() / (1 - threshold.get())), []),
      createCells('mask-head-probabilities', valuesName, values, cut, [0, 1]),
    ].filter(Boolean);
    const figure = createFigure({
      name: 'mask-head',
      aspect,
      tallest: 480,
      window: windowOf,
      draw,
      label: 'The pasted mask of the chosen detection over the picture. Arrow keys go through the detections.',
      onKey: (key) => {
        const next = stepped(key, page.selection.detection, detections.length);
        if (next === null) return false;
        page.selection.chooseDetection(next);
        announce(
          `Detection ${next + 1}: ${className(page, detections[next].label)} ${fixed(detections[next].score, 2)}`,
        );
        return true;
      },
    });
    const updateAll = () => {
      figure.update();
      maps.forEach((map) => map.update());
    };
    const begin = masks.threshold ?? 0.5;
    const threshold = createSlider({
      id: 'mask-head-threshold',
      label: 'Threshold',
      min: Math.min(0.05, begin),
      max: Math.max(0.95, begin),
      step: 0.01,
      value: begin,
      format: thresholdText,
      onInput: updateAll,
    });
    const select = createDetectionSelect(page, 'mask-head-detection');
    page.selection.onChange(updateAll);
    const outline = page.data.finds_text
      ? 'outline, as the library reports it'
      : `the outline of its largest piece at ${begin}`;
    const legend = createLegend([
      { colour: COLOURS.orange, shape: 'area', text: 'mask' },
      { colour: COLOURS.white, text: 'box' },
      { colour: COLOURS.sky, style: 'dashed', text: outline },
    ]);
    arrange(body, {
      controls: [select, threshold],
      figures: [figure, legend, createHint('Arrow keys go through the detections.')],
      panel: [element('div', { class: 'small-maps' }, ...maps.map((map) => map.root)), reading, areaText],
    });
  },
});

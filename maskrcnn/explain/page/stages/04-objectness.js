'use strict';

// How sure the RPN is, at every cell, that an object is there.

/** At each cell the largest of several maps. */
function largestOf(maps) {
  const values = maps[0].values.slice();
  for (const map of maps.slice(1))
    map.values.forEach((value, i) => {
      values[i] = Math.max(values[i], value);
    });
  return { ...maps[0], values };
}

/** What sizes of objects a level is for, told by its anchors. */
function describeAnchors(level) {
  const sides = level.cell.map((box) => Math.sqrt((box[2] - box[0]) * (box[3] - box[1])));
  const [least, most] = [Math.min(...sides), Math.max(...sides)];
  const sizes =
    most - least < 1.5 || most / least < 1.1
      ? `about ${fixed(Math.sqrt(least * most), 0)}`
      : `${fixed(least, 0)} to ${fixed(most, 0)}`;
  return (
    `${level.name} has ${counted(level.cell.length, 'anchor')} a cell, of ${sizes} pixels (the root of their area): ` +
    `it is for objects of that size. ${grouped(level.rows)} × ${grouped(level.columns)} cells.`
  );
}

defineStage({
  id: 'objectness',
  lead: ({ data }) => [
    `A tiny network slides over ${data.anchors.levels.length > 1 ? 'every level' : 'the map'} and gives each anchor a ` +
      'probability that there is something, whatever it may be.',
    data.anchors.levels.length > 1 && 'Each level answers for objects of its own size, so each lights up elsewhere.',
  ],
  build(page, body) {
    const levels = page.data.anchors.levels.map((level) => ({
      ...level,
      sheet: openSheet(level.objectness, () => figure.update()),
    }));
    // Begins at the level that has most to do in this picture.
    const busy = levels.map((_, number) => page.data.anchors.positive.filter((entry) => entry[0] === number).length);
    let index = busy.indexOf(Math.max(...busy));
    let anchor = 'best';
    let cell = { row: 0, column: 0 };
    let seeksPeak = true;
    const note = element('p', {});
    const reading = element('p', { class: 'reading' });
    const ofCell = element('div', {});
    const anchorControl = element('div', {});
    const bar = createColourBar();
    const level = () => levels[index];

    const currentMap = () => {
      const { sheet } = level();
      if (anchor !== 'best') return sheet.tile(Number(anchor));
      const maps = level().cell.map((_, i) => sheet.tile(i));
      return maps.every(Boolean) ? largestOf(maps) : null;
    };

    const draw = (view) => {
      drawPicture(view, page, 0.2);
      note.textContent = describeAnchors(level());
      const map = currentMap();
      if (!map) return { level: level().name, anchor, ready: 'false' };
      if (seeksPeak) goToPeak(map);
      const scaled = { ...map, low: 0, high: 1 };
      const [strideY, strideX] = level().stride;
      // An anchor's centre is the corner of its cell, so the colour of a cell lies around that corner.
      drawImage(
        view,
        mapPicture(scaled),
        [-strideX / 2, -strideY / 2, (map.columns - 0.5) * strideX, (map.rows - 0.5) * strideY],
        { opacity: opacity.get() / 100 },
      );
      bar.set(scaled);
      const value = map.values[cell.row * map.columns + cell.column];
      const centre = [cell.column * strideX, cell.row * strideY];
      const each = probabilities();
      const chosen = anchor === 'best' ? each.indexOf(Math.max(...each)) : Number(anchor);
      const bars = each.map((share, i) => ({ name: sizeText(level().cell[i]), share, text: fixed(share, 3) }));
      fill(ofCell, element('h3', {}, 'The anchors of the cell'), createBars(bars));
      strokeBox(view, anchorAt(level(), cell.row, cell.column, chosen), { colour: COLOURS.orange });
      fillDot(view, centre, 4, COLOURS.orange);
      reading.textContent =
        `Row ${cell.row}, column ${cell.column}: the probability of ${anchor === 'best' ? 'the best anchor, ' : ''}` +
        `anchor ${chosen + 1} (${sizeText(level().cell[chosen])}), is ${fixed(value, 3)}.`;
      return { level: level().name, anchor, ready: 'true', cell: `${cell.row},${cell.column}`, value: String(value) };
    };

    /** What each anchor of the cell says. */
    const probabilities = () => {
      const at = cell.row * level().columns + cell.column;
      return level().cell.map((_, i) => level().sheet.tile(i)?.values[at] ?? 0);
    };
    /** Begins where the level is most sure of something. */
    const goToPeak = (map) => {
      let peak = 0;
      map.values.forEach((value, i) => {
        if (value > map.values[peak]) peak = i;
      });
      cell = { row: Math.floor(peak / level().columns), column: peak % level().columns };
      seeksPeak = false;
    };
    const moveTo = ({ x, y }) => {
      const within = (at, count) => Math.max(0, Math.min(count - 1, Math.round(at)));
      cell = {
        row: within(y / level().stride[0], level().rows),
        column: within(x / level().stride[1], level().columns),
      };
      figure.update();
    };
    const figure = createFigure({
      name: 'objectness',
      label: 'The probability of an object at every cell of a level. Arrow keys move the cell that is read.',
      aspect: pictureAspect(page),
      window: () => wholePicture(page),
      draw,
      onPick: moveTo,
      onHover: (at) => at && moveTo(at),
      onKey: (key) => {
        const moved = movedCell(key, cell, level().rows, level().columns);
        if (!moved) return false;
        cell = moved;
        figure.update();
        announce(reading.textContent);
        return true;
      },
    });

    const offerAnchors = () =>
      fill(
        anchorControl,
        createChoice({
          id: 'objectness-anchor',
          label: 'Anchor',
          value: anchor,
          onChange: (value) => {
            anchor = value;
            figure.update();
          },
          options: [
            { value: 'best', text: 'best of the cell' },
            ...level().cell.map((box, i) => ({ value: String(i), text: sizeText(box) })),
          ],
        }).root,
      );
    const levelChoice = createChoice({
      id: 'objectness-level',
      label: 'Level',
      value: level().name,
      options: levels.map(({ name }) => ({ value: name, text: name })),
      onChange: (name) => {
        index = levels.findIndex((one) => one.name === name);
        anchor = 'best';
        offerAnchors();
        seeksPeak = true;
        figure.update();
      },
    });
    const opacity = createOpacitySlider('objectness-opacity', () => figure.update());
    offerAnchors();
    arrange(body, {
      controls: [levelChoice, anchorControl, opacity],
      figures: [
        figure,
        bar,
        createHint('Point at a cell, or move with the arrow keys. At first the most likely one is read.'),
      ],
      panel: [note, reading, ofCell],
    });
  },
});

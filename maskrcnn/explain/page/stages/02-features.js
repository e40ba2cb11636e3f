'use strict';

// The maps of the backbone and of the pyramid, over the picture.

/** Where a level comes from. `before` is the level listed before it, if any. */
function describeLevel({ name, kind }, before) {
  if (kind === 'merged')
    return `${name} is a level of the pyramid: what the backbone saw at this size, and what the coarser levels know.`;
  if (kind === 'coarsest')
    return `${name} is the backbone’s last map with the pyramid’s number of channels; no coarser level adds to it.`;
  if (kind === 'extra')
    return `${name} is every second cell of ${before.name}. Only the RPN uses it, for its largest anchors.`;
  return before
    ? `${name} is made by the backbone, from the finer level before it.`
    : `${name} is made by the backbone, and is the first of its maps that is shown.`;
}

/** All levels, with the chosen one marked. */
function levelTable(levels, chosen) {
  return createTable(
    ['', 'rows × columns', 'channels', 'stride'],
    levels.map((level) => [
      element(level === chosen ? 'b' : 'span', {}, level.name),
      `${level.norm.rows} × ${level.norm.columns}`,
      level.channel_count,
      level.stride,
    ]),
  );
}

defineStage({
  id: 'features',
  lead: ({ data }) => [
    'The backbone, a convolutional network, turns the picture into maps of ever fewer cells and ever more channels.',
    data.features.some(({ kind }) => kind === 'merged') &&
      'The pyramid (P) then lets coarse levels, which know what is there, tell the fine ones, which know where.',
    'Bright is where the vector of channels is long: there something excites the network, be it an object, an edge or the border of the picture.',
  ],
  build(page, body) {
    const levels = page.data.features.map((level) => ({
      ...level,
      norm: openSheet(level.norm, () => figure.update()),
      channels: openSheet(level.channels, () => figure.update()),
    }));
    // Begins at a level for small things, or without a pyramid at the one that RoIs are pooled from.
    const first = ['P3', page.data.rois.level_names[0]].map((name) => levels.findIndex((one) => one.name === name));
    let index = first.find((place) => place >= 0) ?? 0;
    let place = null; // in the picture, so that it stays where it is from level to level; at first that of the peak
    const note = element('div', {});
    const reading = element('p', { class: 'reading' });
    const bar = createColourBar();
    const showsNorm = () => shown.get() === 'norm';
    const level = () => levels[index];

    /** The map that is shown, and the pixels of the picture along a side of its cells. */
    const currentMap = () => {
      const sheet = showsNorm() ? level().norm : level().channels;
      const map = sheet.tile(showsNorm() ? 0 : channel.get());
      const factor = showsNorm() ? 1 : sheet.factor;
      return { map, factor, stride: level().stride * factor, ...sheet };
    };

    /** The cell of the map that is shown at the chosen place. */
    const currentCell = ({ map, stride, rows, columns }) => {
      if (!place && !map) return { row: 0, column: 0 };
      if (!place) {
        const peak = map.values.indexOf(stretched(map).high);
        place = { x: ((peak % columns) + 0.5) * stride, y: (Math.floor(peak / columns) + 0.5) * stride };
      }
      const within = (at, count) => Math.max(0, Math.min(count - 1, Math.floor(at / stride)));
      return { row: within(place.y, rows), column: within(place.x, columns) };
    };

    const draw = (view) => {
      drawPicture(view, page);
      fill(note, levelTable(levels, level()), element('p', {}, describeLevel(level(), levels[index - 1])));
      const current = currentMap();
      const { map, factor, stride, rows, columns } = current;
      const title = showsNorm() ? 'norm over all channels' : `channel ${channel.get()} of ${level().channel_count}`;
      const result = {
        level: level().name,
        shown: showsNorm() ? 'norm' : String(channel.get()),
        opacity: String(opacity.get()),
      };
      if (!map) return { ...result, ready: 'false' };
      const contrast = stretched(map);
      drawImage(view, mapPicture(contrast), [0, 0, columns * stride, rows * stride], { opacity: opacity.get() / 100 });
      bar.set(contrast);
      const cell = currentCell(current);
      const value = map.values[cell.row * columns + cell.column];
      strokeBox(
        view,
        [cell.column, cell.row, cell.column + 1, cell.row + 1].map((at) => at * stride),
        { colour: COLOURS.orange },
      );
      const rangeOf = (at) => (factor === 1 ? `${at}` : `${at * factor} to ${(at + 1) * factor - 1}`);
      const coarse = factor === 1 ? '' : ', on average';
      reading.textContent = `Row ${rangeOf(cell.row)}, column ${rangeOf(cell.column)}: ${short(value)}, ${title}${coarse}`;
      return { ...result, ready: 'true', cell: `${cell.row},${cell.column}`, value: String(value) };
    };

    const moveTo = (at) => {
      place = at;
      figure.update();
    };
    const figure = createFigure({
      name: 'features',
      label: 'A map of the chosen level over the picture. Arrow keys move the cell whose value is read.',
      aspect: pictureAspect(page),
      window: () => wholePicture(page),
      draw,
      onPick: moveTo,
      onHover: (at) => at && moveTo(at),
      onKey: (key) => {
        const current = currentMap();
        const { map, stride, rows, columns } = current;
        const moved = movedCell(key, currentCell(current), rows, columns);
        if (!moved) return false;
        moveTo({ x: (moved.column + 0.5) * stride, y: (moved.row + 0.5) * stride });
        if (map)
          announce(`Row ${moved.row}, column ${moved.column}: ${short(map.values[moved.row * columns + moved.column])}`);
        return true;
      },
    });
    const setLevel = (name) => {
      index = levels.findIndex((one) => one.name === name);
      channel.limit(level().channels.count - 1);
      figure.update();
    };
    const levelChoice = createChoice({
      id: 'features-level',
      label: 'Level',
      value: level().name,
      onChange: setLevel,
      options: levels.map(({ name }) => ({ value: name, text: name })),
    });
    const shown = createNormChoice('features-shown', 'Show', () => figure.update());
    const channel = createChannelSlider('features-channel', shown, () => figure.update());
    const opacity = createOpacitySlider('features-opacity', () => figure.update());
    setLevel(level().name);
    arrange(body, {
      controls: [levelChoice, shown, channel, opacity],
      figures: [
        figure,
        bar,
        createHint('Point at a cell, or move with the arrow keys. At first the largest value is read.'),
      ],
      panel: [note, reading],
    });
  },
});

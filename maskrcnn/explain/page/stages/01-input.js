'use strict';

// The picture as numbers: resized, normalised, padded.

/** The pixels of the picture as the page has it, which may be smaller than what the network saw. */
function readPixels(image) {
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** One channel of the normalised tensor as a map. */
function channelMap(pixels, picture, channel) {
  const values = new Float32Array(pixels.width * pixels.height);
  for (let i = 0; i < values.length; i++) {
    values[i] = (pixels.data[4 * i + channel] / 255 - picture.mean[channel]) / picture.std[channel];
  }
  const { low, high } = picture;
  return { rows: pixels.height, columns: pixels.width, values, low: low[channel], high: high[channel] };
}

function describeSizes(picture) {
  const [width, height] = picture.original;
  const factor = picture.width / width;
  const added = [picture.padded[0] - picture.width, picture.padded[1] - picture.height];
  const zeros = [added[0] && counted(added[0], 'column'), added[1] && counted(added[1], 'row')].filter(Boolean);
  const padding = zeros.length
    ? element('div', {}, ...zeros.map((text) => element('div', {}, `+ ${text}`)))
    : 'as it is';
  return createTable(
    ['', 'width × height', ''],
    [
      ['original', `${width} × ${height}`, 'the file'],
      ['resized', `${picture.width} × ${picture.height}`, `× ${fixed(factor, 3)}`],
      ['padded', `${picture.padded[0]} × ${picture.padded[1]}`, padding],
    ],
  );
}

defineStage({
  id: 'input',
  lead: () => [
    'The network never sees a picture, it sees numbers.',
    'The picture is scaled, its channels are shifted and divided so that their values lie around 0, and zeros are ' +
      'added to the right and below until the sides can be halved again and again.',
  ],
  build(page, body) {
    const { picture } = page.data;
    const channels = ['R', 'G', 'B'];
    let shown = 'picture';
    let pixels = null;
    let maps = {};
    let point = { x: Math.floor(picture.width / 2), y: Math.floor(picture.height / 2) };
    const reading = element('div', {});
    const bar = createColourBar();

    const read = () => {
      pixels ??= readPixels(page.picture);
      const inside = point.x < picture.width && point.y < picture.height;
      const x = Math.min(pixels.width - 1, Math.floor(((point.x + 0.5) / picture.width) * pixels.width));
      const y = Math.min(pixels.height - 1, Math.floor(((point.y + 0.5) / picture.height) * pixels.height));
      const rows = channels.map((name, channel) => {
        const { mean, std } = picture;
        const value = pixels.data[4 * (y * pixels.width + x) + channel];
        if (!inside) return [name, '–', short(mean[channel]), short(std[channel]), '0'];
        return [
          name,
          value,
          short(mean[channel]),
          short(std[channel]),
          fixed((value / 255 - mean[channel]) / std[channel], 2),
        ];
      });
      fill(
        reading,
        element('h3', {}, `Pixel x ${point.x}, y ${point.y}${inside ? '' : ', padding'}`),
        createTable(['', 'v', 'mean', 'deviation', 'normalised'], rows),
        element('p', { class: 'quiet' }, `normalised = (v / 255 ${MINUS} mean) / deviation`),
        element(
          'p',
          { class: 'quiet' },
          'Values are read from the page’s compressed copy, so they may be a few hundredths off.',
        ),
      );
      return rows.map((row) => row[4]).join(',');
    };

    const draw = (view) => {
      const whole = [0, 0, picture.width, picture.height];
      pixels ??= readPixels(page.picture);
      hatchBox(view, [0, 0, ...picture.padded]);
      if (shown === 'picture') {
        drawImage(view, page.picture, whole, { smooth: true });
        bar.set(null);
      } else {
        const channel = channels.indexOf(shown);
        maps[shown] ??= channelMap(pixels, picture, channel);
        drawImage(view, mapPicture(maps[shown]), whole, { smooth: true });
        bar.set(maps[shown]);
      }
      bar.root.hidden = shown === 'picture';
      strokeLine(view, [point.x + 0.5, 0], [point.x + 0.5, picture.padded[1]], {
        colour: COLOURS.white,
        width: 1,
        style: 'dotted',
      });
      strokeLine(view, [0, point.y + 0.5], [picture.padded[0], point.y + 0.5], {
        colour: COLOURS.white,
        width: 1,
        style: 'dotted',
      });
      fillDot(view, [point.x + 0.5, point.y + 0.5], 4, COLOURS.orange);
      return { shown, pixel: `${point.x},${point.y}`, values: read() };
    };

    const moveTo = ({ x, y }) => {
      const within = (value, count) => Math.max(0, Math.min(count - 1, Math.floor(value)));
      point = { x: within(x, picture.padded[0]), y: within(y, picture.padded[1]) };
      figure.update();
    };
    const figure = createFigure({
      name: 'input',
      label: 'The picture as the network sees it, padding hatched. Arrow keys move the pixel that is read.',
      aspect: picture.padded[0] / picture.padded[1],
      window: () => [0, 0, ...picture.padded],
      draw,
      onPick: moveTo,
      onHover: (at) => at && moveTo(at),
      onKey: (key) => {
        const step = Math.max(1, Math.round(picture.width / 200)); // a pixel would hardly be seen to move
        const direction = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[key];
        if (!direction) return false;
        moveTo({ x: point.x + step * direction[0], y: point.y + step * direction[1] });
        announce(`Pixel ${point.x}, ${point.y}: ${read()}`);
        return true;
      },
    });
    const choice = createChoice({
      id: 'input-shown',
      label: 'Show',
      value: shown,
      onChange: (value) => {
        shown = value;
        figure.update();
      },
      options: [
        { value: 'picture', text: 'picture' },
        ...channels.map((name) => ({ value: name, text: `channel ${name}` })),
      ],
    });
    arrange(body, {
      controls: [choice, bar],
      figures: [figure, createHint('Point at a pixel, or move with the arrow keys. Hatched: padding.')],
      panel: [describeSizes(picture), reading],
    });
  },
});

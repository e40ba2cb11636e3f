'use strict';

// What a training step would make of this picture, as its ground truth is known.

const ROLES = {
  positive: { colour: COLOURS.sky, style: 'solid', width: 1.5 },
  negative: { colour: COLOURS.vermilion, style: 'dashed', width: 1 },
};

defineStage({
  id: 'training',
  lead: ({ data: { training } }) => [
    'The ground truth of this picture is known, so here is what one step of training would do with it.',
    'It decides which anchors and RoIs are objects and which are background, draws a sample of both, and compares ' +
      'what the heads say with what they should have said.',
    'It is done here with the whole picture, at the size and with the layers as they are for finding (evaluation ' +
      'mode); training itself sees random crops, scales and colours.',
    training.ground_truth.some(({ ignore }) => ignore) &&
      'A negative that lies in a don’t-care region is ignored: nobody knows what is there.',
  ],
  build(page, body) {
    const { training, anchors } = page.data;
    const truth = training.ground_truth;
    const roiBoxes = float32Of(training.rois.boxes);
    const roiPositive = bytesOf(training.rois.positive);
    const roiLabels = int32Of(training.rois.labels);
    const note = element('p', { class: 'counts' });
    let marked = null; // the positive RoI whose mask is looked at; positives come first
    const anchorBox = ([level, row, column, anchor]) => anchorAt(anchors.levels[level], row, column, anchor);

    /** What can be shown over the picture: boxes, each positive or negative. */
    const collections = {
      'positive-anchors': {
        text: 'positive anchors',
        boxes: () => training.anchors.positive.map((entry) => ({ box: anchorBox(entry), positive: true })),
        note:
          'Anchors are positive that overlap a ground truth enough, or are the best that it has.' +
          (training.anchors.positive.length < training.anchors.positive_count
            ? ` Drawn: ${bestOfAll(training.anchors)}.`
            : ''),
      },
      'sampled-anchors': {
        text: 'sampled anchors',
        boxes: () => training.anchors.sampled.map((entry) => ({ box: anchorBox(entry), positive: entry[4] === 1 })),
        note:
          'The RPN learns from these alone. Nearly all anchors are background, and without sampling they would drown ' +
          'the others.',
      },
      'sampled-rois': {
        text: 'sampled RoIs',
        boxes: () => Array.from(roiPositive, (positive, i) => ({ box: boxAt(roiBoxes, i), positive: positive === 1 })),
        note:
          'Proposals, and the ground-truth boxes themselves, from which the heads learn. Only positives have a box ' +
          'and a mask to learn.',
      },
    };

    const draw = (view) => {
      const collection = collections[shown.get()];
      const boxes = collection.boxes();
      drawPicture(view, page, 0.45);
      for (const { box } of boxes.filter(({ positive }) => !positive))
        strokeBox(view, box, { ...ROLES.negative, rim: false, opacity: 0.8 });
      for (const { box } of boxes.filter(({ positive }) => positive))
        strokeBox(view, box, { ...ROLES.positive, rim: false });
      const labels = createLabels(view);
      for (const object of truth) {
        const options = object.ignore
          ? { colour: COLOURS.yellow, width: 2, style: 'dotted' }
          : { colour: COLOURS.orange, width: 2.5 };
        strokeBox(view, object.box, options);
        if (!object.ignore && page.data.class_names.length > 1)
          labels(className(page, object.label), object.box, options.colour);
      }
      if (marked !== null && shown.get() === 'sampled-rois') {
        const box = boxAt(roiBoxes, marked);
        strokeBox(view, box, { colour: COLOURS.white, width: 3 });
        labels(`RoI ${marked + 1}`, box, COLOURS.white, true);
      }
      const positive = boxes.filter((one) => one.positive).length;
      const negative = boxes.length === positive ? '' : `, ${counted(boxes.length - positive, 'negative')}`;
      note.textContent = `${counted(positive, 'positive')}${negative}. ${collection.note}`;
      return {
        shown: shown.get(),
        positive: String(positive),
        negative: String(boxes.length - positive),
        truth: String(truth.length),
        marked: String(marked ?? ''),
      };
    };

    const figure = createFigure({
      name: 'training',
      label: 'The ground truth, and what training samples, over the picture.',
      aspect: pictureAspect(page),
      window: () => wholePicture(page),
      draw,
    });
    const shown = createChoice({
      id: 'training-shown',
      label: 'Show',
      value: 'positive-anchors',
      onChange: () => figure.update(),
      options: Object.entries(collections).map(([value, { text }]) => ({ value, text })),
    });
    const legend = createLegend([
      { colour: COLOURS.orange, text: 'ground truth' },
      { colour: COLOURS.yellow, style: 'dotted', text: 'don’t care' },
      { ...ROLES.positive, text: 'positive' },
      { ...ROLES.negative, text: 'negative' },
    ]);
    // A loss that is null was infinite or not a number, and then so is the sum.
    const finite = training.losses.every(({ value }) => value !== null);
    const lossText = (value) => (value === null ? 'not finite' : fixed(value, 4));
    const total = finite ? training.losses.reduce((sum, { value }) => sum + value, 0) : null;
    const losses = createTable(
      ['loss', 'value', 'what it asks'],
      [
        ...training.losses.map(({ name, value, meaning }) => [element('code', {}, name), lossText(value), meaning]),
        ['sum', lossText(total), 'what the gradient is taken of'],
      ],
      { class: 'losses' },
    );
    const mark = (roi) => {
      marked = roi;
      shown.set('sampled-rois');
      figure.update();
    };
    const masks = training.mask_targets?.count ? buildMaskTargets(page, training, roiLabels, mark) : '';
    arrange(body, { controls: [shown], figures: [figure, legend], panel: [note, masks] });
    body.append(element('h3', {}, 'The losses'), losses);
  },
});

/** Mask targets beside what the head says, one positive RoI at a time, which `onChoose` is told. */
function buildMaskTargets(page, training, labels, onChoose) {
  const [targets, answers] = [training.mask_targets, training.mask_answers].map((sheet) =>
    openSheet(sheet, () => figures.forEach((one) => one.update())),
  );
  const reading = element('p', { class: 'reading' });
  const figures = [
    [targets, 'Asked for', 'training-target'],
    [answers, 'Answered', 'training-answer'],
  ].map(([sheet, title, name]) => {
    const figure = createFigure({
      name,
      label: title,
      aspect: 1,
      tallest: 240,
      window: () => [0, 0, sheet.columns, sheet.rows],
      draw: (view) => {
        const map = sheet.tile(index.get() - 1);
        if (!map) return { ready: 'false' };
        drawImage(view, mapPicture({ ...map, low: 0, high: 1 }), [0, 0, map.columns, map.rows]);
        strokeBorder(view, map, 0.5);
        reading.textContent = `${index.get()} of ${targets.count}: ${className(page, labels[index.get() - 1])}.`;
        return { ready: 'true', chosen: String(index.get() - 1) };
      },
    });
    return {
      update: figure.update,
      root: element('div', { class: 'small-map' }, element('h3', {}, title), figure.canvas),
    };
  });
  const index = createSlider({
    id: 'training-mask',
    label: 'Positive RoI',
    min: 1,
    max: targets.count,
    step: 1,
    value: 1,
    onInput: (chosen) => {
      figures.forEach((one) => one.update());
      onChoose(chosen - 1);
    },
  });
  return element(
    'div',
    { class: 'mask-targets' },
    element('h3', {}, 'Mask targets and answers'),
    index.root,
    element('div', { class: 'small-maps' }, ...figures.map((one) => one.root)),
    reading,
  );
}

'use strict';

// What is reported.

const CLASS_COLOURS = [
  COLOURS.orange,
  COLOURS.sky,
  COLOURS.yellow,
  COLOURS.purple,
  COLOURS.green,
  COLOURS.vermilion,
  COLOURS.white,
];
const MOST_LABELS = 40;

function classColour(label) {
  return CLASS_COLOURS[(label - 1) % CLASS_COLOURS.length];
}

/** The joints that were found, and the bones between them. */
function drawKeypoints(view, keypoints, skeleton, colour) {
  for (const [from, to] of skeleton ?? []) {
    if (keypoints[from] && keypoints[to])
      strokeLine(view, keypoints[from].slice(0, 2), keypoints[to].slice(0, 2), { colour, width: 2 });
  }
  for (const point of keypoints) fillDot(view, point.slice(0, 2), 3, COLOURS.white);
}

defineStage({
  id: 'result',
  lead: ({ data: { result } }) => [
    `The detections whose score reaches ${result.threshold} are what the library reports.`,
    `Lower the threshold, and ask what comes first: ${result.noun} that were missing, or nonsense?`,
  ],
  build(page, body) {
    const { detections, result, skeleton } = page.data;
    const boxes = Float32Array.from(detections.flatMap((detection) => detection.box));
    const table = element('div', { class: 'scrolling' });
    const counts = element('p', { class: 'counts' });
    // At the library's own threshold its word counts: an outline without area, for instance, is not reported.
    const visible = () =>
      detections
        .map((detection, i) => ({ ...detection, i }))
        .filter((detection) => (score.get() === result.threshold ? detection.shown : detection.score >= score.get()));

    const listRows = (found) =>
      found.map((detection) => {
        const button = element(
          'button',
          { type: 'button', class: 'row', 'aria-pressed': String(detection.i === page.selection.detection) },
          `${detection.i + 1}`,
        );
        button.addEventListener('click', () => page.selection.chooseDetection(detection.i));
        return [button, className(page, detection.label), fixed(detection.score, 3), boxText(detection.original_box)];
      });

    const draw = (view) => {
      const found = visible();
      drawPicture(view, page, 0.1);
      const labels = createLabels(view);
      for (const detection of [...found].reverse()) {
        const colour = classColour(detection.label);
        const chosen = detection.i === page.selection.detection;
        const options = { colour, width: chosen ? 4 : 2, fill: chosen ? 0.35 : 0.15 };
        if (detection.polygon) strokePolygon(view, detection.polygon, options);
        else strokeBox(view, detection.box, options);
        if (detection.keypoints) drawKeypoints(view, detection.keypoints, skeleton, colour);
      }
      for (const detection of found.slice(0, MOST_LABELS)) {
        const name = page.data.class_names.length > 1 ? `${className(page, detection.label)} ` : '';
        labels(`${name}${fixed(detection.score, 2)}`, detection.box, classColour(detection.label));
      }
      counts.textContent =
        `With a score of at least ${thresholdText(score.get())}: ${found.length} of ` +
        `${counted(detections.length, 'detection')}. Boxes are in pixels of the original picture.`;
      fill(
        table,
        found.length ? createTable(['', 'class', 'score', 'box'], listRows(found)) : element('p', {}, 'Nothing.'),
      );
      return { shown: String(found.length), threshold: String(score.get()), chosen: String(page.selection.detection) };
    };

    const tellChosen = (i) => {
      const { label, score: value, keypoints } = detections[i];
      const joints = keypoints ? `, with ${counted(keypoints.length, 'keypoint')}` : '';
      announce(`Detection ${i + 1}: ${className(page, label)}, score ${fixed(value, 2)}${joints}`);
    };
    const figure = createFigure({
      name: 'result',
      label: 'The picture with what was found in it. Arrow keys go through the detections.',
      aspect: pictureAspect(page),
      window: () => wholePicture(page),
      draw,
      onPick: (point) => {
        const next = nextAround(
          point,
          boxes,
          visible().map((detection) => detection.i),
          page.selection.detection,
        );
        if (next !== undefined) page.selection.chooseDetection(next);
      },
      onKey: (key) => {
        const found = visible();
        const next = stepped(
          key,
          Math.max(
            0,
            found.findIndex((detection) => detection.i === page.selection.detection),
          ),
          found.length,
        );
        if (next === null) return false;
        page.selection.chooseDetection(found[next].i);
        tellChosen(found[next].i);
        return true;
      },
    });
    page.selection.onChange(() => figure.update());
    const score = createSlider({
      id: 'result-score',
      label: 'Least score',
      min: 0,
      max: 1,
      step: 0.01,
      value: result.threshold,
      format: thresholdText,
      onInput: () => figure.update(),
    });
    const reset = createButton({
      id: 'result-reset',
      text: 'The library’s value',
      onClick: () => {
        score.set(result.threshold);
        figure.update();
      },
    });
    arrange(body, {
      controls: [score, reset],
      figures: [
        figure,
        createHint('Click a detection, or go through them with the arrow keys; the stages above follow.'),
      ],
      panel: [counts, table],
    });
  },
});

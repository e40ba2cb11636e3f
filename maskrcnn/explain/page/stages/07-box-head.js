'use strict';

// What an RoI is, and a better box for it.

/** Classes of an RoI with their probabilities, best first; there may be fewer than five classes. */
function topClasses(page, rois, roi) {
  const labels = int32Of(rois.top);
  const scores = float32Of(rois.top_scores);
  const width = 5;
  const count = Math.min(width, page.data.class_names.length + 1);
  return Array.from({ length: count }, (_, i) => ({
    label: labels[width * roi + i],
    score: scores[width * roi + i],
  })).filter(({ label, score }) => label >= 0 && Number.isFinite(score));
}

/** What each delta does: the first two move the centre by a part of the size, the last two stretch the sides. */
function describeDeltas(box, deltas, weights) {
  const sides = [box[2] - box[0], box[3] - box[1]];
  const signed = (value) => `${value < 0 ? '' : '+'}${fixed(value, 1)} px`;
  const rows = ['dx', 'dy', 'dw', 'dh'].map((name, i) => {
    const part = deltas[i] / weights[i];
    const [rule, effect] =
      i < 2
        ? [`/ ${weights[i]} · ${fixed(sides[i], 0)}`, signed(part * sides[i])]
        : [`exp(… / ${weights[i]})`, `× ${fixed(Math.exp(Math.min(part, LARGEST_LOG_SCALE)), 3)}`];
    return [name, fixed(deltas[i], 3), rule, effect];
  });
  return createTable(['', 'delta', 'how', 'effect'], rows);
}

defineStage({
  id: 'box-head',
  lead: ({ data: { rois } }) => [
    `The box head looks at the ${rois.box.cells} × ${rois.box.cells} features of an RoI and says two things: which ` +
      'class it is, or background; and four deltas that move and stretch the box, so that it fits better.',
  ],
  build(page, body) {
    const { rois } = page.data;
    const boxes = float32Of(rois.boxes);
    if (!boxes.length) {
      body.append(element('p', {}, 'There are no RoIs: no proposal is left.'));
      return;
    }
    const allRefined = float32Of(rois.refined);
    const allDeltas = float32Of(rois.deltas);
    const deltaLabels = int32Of(rois.delta_label);
    const verdict = element('p', { class: 'reading' });
    const classes = element('div', {});
    const deltaTable = element('div', {});
    const aspect = 1.45;
    const windowOf = () => {
      const both = outlineOf([boxAt(boxes, page.selection.roi), boxAt(allRefined, page.selection.roi)]);
      return movedInto(closeUp(both, aspect, 0.3, 24), page.data.picture.width, page.data.picture.height);
    };

    const draw = (view) => {
      const { roi } = page.selection;
      const [proposal, refined] = [boxAt(boxes, roi), boxAt(allRefined, roi)];
      const deltas = boxAt(allDeltas, roi);
      drawPicture(view, page, 0.25);
      strokeBox(view, proposal, { colour: COLOURS.sky, width: 2.5, style: 'dashed' });
      strokeBox(view, refined, { colour: COLOURS.orange, width: 3 });
      const corners = [
        [0, 1],
        [2, 1],
        [2, 3],
        [0, 3],
      ];
      for (const [x, y] of corners) drawArrow(view, [proposal[x], proposal[y]], [refined[x], refined[y]]);
      const centre = (box) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
      fillDot(view, centre(proposal), 4, COLOURS.sky);
      fillDot(view, centre(refined), 4, COLOURS.orange);
      drawArrow(view, centre(proposal), centre(refined));
      const labels = createLabels(view);
      labels('proposal', proposal, COLOURS.sky);
      labels('refined', [refined[0], refined[3], refined[2], refined[3]], COLOURS.orange);

      const top = topClasses(page, rois, roi);
      fill(
        classes,
        element('h3', {}, 'Which class?'),
        createBars(
          top.map(({ label, score }) => ({
            name: className(page, label),
            share: score,
            text: fixed(score, 3),
            quiet: label === 0,
          })),
        ),
      );
      fill(
        deltaTable,
        element('h3', {}, `The deltas of “${className(page, deltaLabels[roi])}”`),
        describeDeltas(proposal, deltas, rois.box_weights),
        createFacts([
          ['proposal', boxText(proposal)],
          ['refined', boxText(refined)],
          ['IoU of both', fixed(iou(proposal, refined), 3)],
        ]),
      );
      const detection = page.selection.detectionOfRoi;
      const became = detection === null ? 'no detection' : `detection ${detection + 1}`;
      verdict.textContent = `RoI ${roi + 1} became ${became}.`;
      return {
        chosen: String(roi),
        best: String(top[0]?.label ?? ''),
        refined: refined.map((corner) => corner.toFixed(1)).join(','),
      };
    };

    const count = boxes.length / 4;
    const figure = createFigure({
      name: 'box-head',
      label: 'The proposal and the refined box over the picture. Arrow keys go through the RoIs.',
      aspect,
      tallest: 520,
      window: windowOf,
      draw,
      onKey: (key) => {
        const next = stepped(key, page.selection.roi, count);
        if (next === null) return false;
        page.selection.chooseRoi(next);
        const [best] = topClasses(page, rois, next);
        announce(`RoI ${next + 1}: ${className(page, best.label)} ${fixed(best.score, 2)}`);
        return true;
      },
    });
    page.selection.onChange(() => figure.update());
    const legend = createLegend([
      { colour: COLOURS.sky, style: 'dashed', text: 'proposal' },
      { colour: COLOURS.orange, text: 'refined: moved, stretched, cut to the picture' },
    ]);
    arrange(body, {
      controls: [createRoiSelect(page, 'box-head-roi')],
      figures: [figure, legend, createHint('Arrow keys go through the RoIs.')],
      panel: [verdict, classes, deltaTable],
    });
  },
});

/** An arrow between two points of the plane, unless they are too near each other for one to be seen. */
function drawArrow(view, from, to) {
  const [[x1, y1], [x2, y2]] = [view.at(...from), view.at(...to)];
  const length = Math.hypot(x2 - x1, y2 - y1);
  if (length < 5) return;
  const [ux, uy] = [(x2 - x1) / length, (y2 - y1) / length];
  const head = Math.min(8, length / 2);
  strokePath(
    view,
    (context) => {
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
      context.moveTo(x2 - head * (ux + 0.6 * uy), y2 - head * (uy - 0.6 * ux));
      context.lineTo(x2, y2);
      context.lineTo(x2 - head * (ux - 0.6 * uy), y2 - head * (uy + 0.6 * ux));
    },
    { colour: COLOURS.white, width: 1.5 },
  );
}

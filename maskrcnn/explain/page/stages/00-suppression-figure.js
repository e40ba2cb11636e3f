'use strict';

// The figure of boxes before and after suppression, which two stages have: its controls, keys and clicks.

/** Fills a stage with the figure, its controls and its words. @param {Candidates} what */
function buildSuppression(page, body, what) {
  let result = null; // until it is needed, and again after each move of a slider
  let chosen = -1;
  const [counts, verdict, story] = [
    element('p', { class: 'counts' }),
    element('p', { class: 'verdict' }),
    element('div', {}),
  ];

  const current = () => {
    if (result) return result;
    result = suppress(what, score.get(), overlap.get());
    // The box that is looked at may have lost its place.
    if (result.place(chosen) === null && !(result.suppressor[chosen] >= 0)) chosen = result.kept[0] ?? -1;
    return result;
  };
  const draw = (view) => {
    const now = current();
    drawPicture(view, page, 0.45);
    const drawn = drawFates(view, what, now, { shown: shown.get(), chosen });
    const same = sameNumbers(now.kept, what.kept);
    const { title, parts } = fateOf(what, now, chosen);
    counts.textContent = describeCounts(now);
    verdict.textContent = describeVerdict(
      what,
      now,
      score.get() === what.scoreThreshold && overlap.get() === what.iouThreshold,
    );
    verdict.classList.toggle('good', same);
    fill(story, element('h3', {}, title), ...parts);
    return {
      before: String(now.candidates.length),
      kept: String(now.kept.length),
      suppressed: String(now.fallen),
      drawn,
      chosen: String(chosen),
      suppressor: String(now.suppressor[chosen] ?? -1),
      same: String(same),
    };
  };
  const choose = (i) => {
    chosen = i;
    const { title } = fateOf(what, current(), i);
    announce(`${title}. Score ${fixed(what.probabilities[i], 2)}. Suppressed by it: ${result.suppressedBy(i).length}.`);
    figure.update();
  };
  const changed = () => {
    result = null;
    figure.update();
  };

  const figure = createFigure({
    name: what.id,
    label: `${what.name} before and after suppression. Arrow keys go through the survivors, best first.`,
    aspect: pictureAspect(page),
    window: () => viewChoice.window(),
    draw,
    onPick: (point) => {
      const { kept, candidates, suppressedBy } = current();
      const visible = [...kept.slice(0, MOST_AFTER), ...candidates.slice(0, MOST_BEFORE), ...suppressedBy(chosen)];
      const next = nextAround(point, what.boxes, [...new Set(visible)], chosen);
      if (next !== undefined) choose(next);
    },
    onKey: (key) => {
      const { kept, suppressor, place } = current();
      const next = stepped(key, (place(chosen) ?? place(suppressor[chosen]) ?? 1) - 1, kept.length);
      if (next !== null) choose(kept[next]);
      return next !== null;
    },
  });
  const threshold = (name, label, least, value) =>
    createSlider({
      id: `${what.id}-${name}`,
      label,
      min: least,
      max: 1,
      step: 0.01,
      value,
      format: thresholdText,
      onInput: changed,
    });
  const score = threshold('score', 'Score at least', what.scoreThreshold, what.scoreThreshold);
  const overlap = threshold('iou', 'IoU threshold', 0, what.iouThreshold);
  const reset = createButton({
    id: `${what.id}-reset`,
    text: 'The library’s values',
    onClick: () => {
      score.set(what.scoreThreshold);
      overlap.set(what.iouThreshold);
      changed();
    },
  });
  const shown = createChoice({
    id: `${what.id}-shown`,
    label: 'Draw',
    value: 'both',
    onChange: () => figure.update(),
    options: ['before', 'both', 'after'].map((value) => ({ value, text: value })),
  });
  const viewChoice = createViewChoice(page, {
    id: `${what.id}-view`,
    onChange: () => figure.update(),
    boxOf: () => (chosen >= 0 ? boxAt(what.boxes, chosen) : null),
  });
  const legend = createLegend([
    { ...FATES.before, text: 'before' },
    { ...FATES.survivor, text: 'survives' },
    { ...FATES.chosen, text: 'the survivor looked at' },
    { ...FATES.suppressed, text: 'suppressed by it' },
  ]);
  const hint = createHint(
    'Click a box to see what became of it, and again for the next larger one in that place. ' +
      'Arrow keys go through the survivors.',
  );
  arrange(body, {
    controls: [score, overlap, reset, shown, viewChoice],
    figures: [figure, legend, hint],
    panel: [counts, verdict, story],
  });
}

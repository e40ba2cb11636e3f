'use strict';

// Boxes before and after non-maximum suppression: the same figure for proposals and for detections.

const MOST_BEFORE = 300; // thin boxes; more of them would hide the picture
const MOST_AFTER = 100; // thick ones
const MOST_LISTED = 8;

/** A box, its colour and its line, by what became of it. */
const FATES = {
  before: { colour: COLOURS.white, width: 1, rim: false, opacity: 0.45 },
  survivor: { colour: COLOURS.sky, width: 1.5 },
  chosen: { colour: COLOURS.orange, width: 3.5 },
  suppressed: { colour: COLOURS.vermilion, width: 1.5, style: 'dashed' },
};

function sameNumbers(a, b) {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/**
 * @param {object} page
 * @param {HTMLElement} body
 * @param {object} what
 * @param {string} what.id of the stage, and the beginning of the ids of its controls
 * @param {Float32Array} what.boxes N * 4
 * @param {Float32Array} what.scores N, what NMS sorts by
 * @param {(score: number) => number} what.probability of a score
 * @param {Int32Array} what.groups N
 * @param {(i: number) => string} what.groupName of box i, in words
 * @param {number} what.iouThreshold the library's values: this, `scoreThreshold` and `maxKeep`
 * @param {Int32Array} what.kept the library's survivors
 * @param {string[]} what.noun "proposal", "proposals"
 */
function buildSuppression(page, body, what) {
  const { id, boxes, scores, probability, groups } = what;
  const probabilities = Float32Array.from(scores, probability);
  const boxOf = (i) => boxAt(boxes, i);
  let stale = true;
  let result = { kept: [], suppressor: new Int32Array(0) };
  let candidates = []; // best first
  let rankOf = new Map(); // of survivors
  let chosen = -1;
  const counts = element('p', { class: 'counts' });
  const verdict = element('p', { class: 'verdict' });
  const story = element('div', {});

  const compute = () => {
    const least = score.get();
    const counted = scores.map((value, i) => (probabilities[i] >= least ? value : -Infinity));
    candidates = candidatesInOrder(boxes, counted);
    result = nms(boxes, counted, groups, overlap.get(), what.maxKeep);
    rankOf = new Map(result.kept.map((i, rank) => [i, rank]));
    if (!rankOf.has(chosen) && !(result.suppressor[chosen] >= 0)) chosen = result.kept[0] ?? -1;
    stale = false;
  };
  const atLibraryValues = () => score.get() === what.scoreThreshold && overlap.get() === what.iouThreshold;
  const suppressedBy = (survivor) => candidates.filter((i) => result.suppressor[i] === survivor);
  const overlapOf = (a, b) => iou(boxOf(a), boxOf(b));

  const describe = () => {
    const fallen = result.suppressor.reduce((sum, by) => sum + (by >= 0), 0);
    const cut = candidates.length - fallen - result.kept.length;
    counts.textContent = `${grouped(candidates.length)} before, ${grouped(fallen)} suppressed, ${grouped(result.kept.length)} after`
      + (cut > 0 ? ` (the best of ${grouped(cut + result.kept.length)}).` : '.');
    const drawnBefore = Math.min(MOST_BEFORE, candidates.length);
    const notAll = [
      drawnBefore < candidates.length ? `the best ${MOST_BEFORE} before` : null,
      result.kept.length > MOST_AFTER ? `the best ${MOST_AFTER} after` : null,
    ].filter(Boolean);
    if (notAll.length) counts.textContent += ` Drawn: ${notAll.join(' and ')}.`;
    const same = sameNumbers(result.kept, what.kept);
    verdict.dataset.same = String(same);
    verdict.textContent = same ? `These are the same ${grouped(what.kept.length)} boxes, in the same order, as those of the library's op.`
      : atLibraryValues() ? `The library's op kept ${grouped(what.kept.length)} boxes; these are others.`
        : `The library kept ${grouped(what.kept.length)}, with the score ${what.scoreThreshold} and the IoU ${what.iouThreshold}.`;
    verdict.classList.toggle('good', same);
  };

  /** What became of the chosen box, in words and as a table. */
  const tell = () => {
    if (chosen < 0) {
      fill(story, element('p', {}, candidates.length ? 'Nothing is chosen.' : 'There is no box with such a score.'));
      return 'none';
    }
    const facts = createFacts([
      ['score', fixed(probabilities[chosen], 3)], ['box', boxText(boxOf(chosen))], ['group', what.groupName(chosen)]]);
    const by = result.suppressor[chosen];
    if (by >= 0) {
      const title = `Suppressed by survivor ${(rankOf.get(by) ?? NaN) + 1}`;
      fill(story, element('h3', {}, title), facts, element('p', {},
        `Their IoU is ${fixed(overlapOf(chosen, by), 3)}, more than ${overlap.get()}, and survivor `
        + `${rankOf.get(by) + 1} has the higher score, ${fixed(probabilities[by], 3)}.`));
      return title;
    }
    const fallen = suppressedBy(chosen);
    const title = `Survivor ${rankOf.get(chosen) + 1} of ${result.kept.length}`;
    const rows = fallen.slice(0, MOST_LISTED).map((i) => [fixed(overlapOf(chosen, i), 3), fixed(probabilities[i], 3), sizeText(boxOf(i))]);
    fill(story, element('h3', {}, title), facts,
      element('p', {}, fallen.length ? `It suppressed ${counted(fallen.length, 'box', 'boxes')}:` : 'It suppressed none.'),
      fallen.length ? createTable(['IoU', 'score', 'size'], rows) : null,
      fallen.length > MOST_LISTED ? element('p', { class: 'quiet' }, `and ${fallen.length - MOST_LISTED} more with lower scores.`) : null);
    return `${title}, score ${fixed(probabilities[chosen], 2)}, suppressed ${fallen.length}`;
  };

  const draw = (view) => {
    if (stale) compute();
    drawPicture(view, page, 0.45);
    const wanted = shown.get();
    const before = wanted === 'after' ? [] : candidates.slice(0, MOST_BEFORE).filter((i) => !rankOf.has(i));
    const after = wanted === 'before' ? [] : result.kept.slice(0, MOST_AFTER);
    const dense = Math.min(1, 120 / Math.max(before.length, 1));
    for (const i of before) strokeBox(view, boxOf(i), { ...FATES.before, opacity: 0.25 + 0.4 * dense });
    for (const i of [...after].reverse()) strokeBox(view, boxOf(i), FATES.survivor);
    const labels = createLabels(view);
    if (chosen >= 0) {
      const survivor = result.suppressor[chosen] >= 0 ? result.suppressor[chosen] : chosen;
      const fallen = survivor === chosen ? suppressedBy(chosen) : [chosen];
      for (const i of fallen) strokeBox(view, boxOf(i), { ...FATES.suppressed, width: survivor === chosen ? 1.5 : 3 });
      strokeBox(view, boxOf(survivor), FATES.chosen);
      labels(`${rankOf.get(survivor) + 1}: ${fixed(probabilities[survivor], 2)}`, boxOf(survivor), FATES.chosen.colour, true);
      for (const i of fallen.slice(0, 6)) labels(`IoU ${fixed(overlapOf(i, survivor), 2)}`, boxOf(i), FATES.suppressed.colour);
    }
    describe();
    tell();
    return {
      before: String(candidates.length), kept: String(result.kept.length), drawn: `${before.length},${after.length}`,
      suppressed: String(result.suppressor.reduce((sum, by) => sum + (by >= 0), 0)), chosen: String(chosen),
      suppressor: String(result.suppressor[chosen] ?? -1), same: verdict.dataset.same,
    };
  };

  const choose = (i) => {
    chosen = i;
    announce(tell());
    figure.update();
  };
  const figure = createFigure({
    name: id,
    label: `${what.noun[1]} before and after suppression, over the picture. Arrow keys go through the survivors, best first.`,
    aspect: pictureAspect(page),
    window: () => wholePicture(page),
    draw,
    onPick: ({ x, y }) => {
      if (stale) compute();
      const pool = new Set([...result.kept.slice(0, MOST_AFTER), ...candidates.slice(0, MOST_BEFORE), ...suppressedBy(chosen)]);
      const area = (i) => (boxes[4 * i + 2] - boxes[4 * i]) * (boxes[4 * i + 3] - boxes[4 * i + 1]);
      const here = [...pool].filter((i) => x >= boxes[4 * i] && x <= boxes[4 * i + 2] && y >= boxes[4 * i + 1] && y <= boxes[4 * i + 3])
        .sort((a, b) => area(a) - area(b));
      // Boxes lie on top of each other: a second click in the same place takes the next larger one.
      if (here.length) choose(here[(here.indexOf(chosen) + 1) % here.length]);
    },
    onKey: (key) => {
      if (stale) compute();
      const from = rankOf.get(chosen) ?? rankOf.get(result.suppressor[chosen]) ?? 0;
      const next = stepped(key, from, result.kept.length);
      if (next === null) return false;
      choose(result.kept[next]);
      return true;
    },
  });
  const changed = () => {
    stale = true;
    figure.update();
  };
  const two = (value) => fixed(value, 2);
  const score = createSlider({
    id: `${id}-score`, label: 'Least score', min: what.scoreThreshold, max: 1, step: 0.01, value: what.scoreThreshold, format: two, onInput: changed,
  });
  const overlap = createSlider({
    id: `${id}-iou`, label: 'IoU threshold', min: 0, max: 1, step: 0.01, value: what.iouThreshold, format: two, onInput: changed,
  });
  const reset = createButton({
    id: `${id}-reset`, text: 'The library’s values', onClick: () => {
      score.set(what.scoreThreshold);
      overlap.set(what.iouThreshold);
      changed();
    },
  });
  const shown = createChoice({
    id: `${id}-shown`, label: 'Draw', value: 'both', onChange: () => figure.update(),
    options: [{ value: 'before', text: 'before' }, { value: 'both', text: 'both' }, { value: 'after', text: 'after' }],
  });
  const legend = createLegend([
    { colour: 'var(--quiet)', text: 'before' }, { colour: FATES.survivor.colour, text: 'survives' },
    { colour: FATES.chosen.colour, text: 'the survivor that is looked at' },
    { colour: FATES.suppressed.colour, style: 'dashed', text: 'suppressed by it' },
  ]);
  const hint = element('p', { class: 'hint' }, 'Click a box to see what became of it, and again for the next larger one there. Arrow keys go through the survivors.');
  arrange(body, { controls: [score, overlap, shown, reset], figures: [figure, legend, hint], panel: [counts, verdict, story] });
}

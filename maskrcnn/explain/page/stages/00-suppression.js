'use strict';

// Boxes before and after non-maximum suppression: the same figure for proposals and for detections.

const MOST_BEFORE = 300; // thin boxes; more of them would hide the picture
const MOST_AFTER = 100; // thick ones
const MOST_LISTED = 8;
const MOST_LABELLED = 6;

/** A box's colour and line, by what became of it. */
const FATES = {
  before: { colour: COLOURS.white, width: 1, rim: false },
  survivor: { colour: COLOURS.sky, width: 1.5 },
  chosen: { colour: COLOURS.orange, width: 3.5 },
  suppressed: { colour: COLOURS.vermilion, width: 1.5, style: 'dashed' },
};

/**
 * What is to be suppressed.
 *
 * @typedef {object} Candidates
 * @property {string} id of the stage, and the beginning of the ids of its controls
 * @property {string} name of the boxes, for those who cannot see the figure
 * @property {Float32Array} boxes N * 4
 * @property {Float32Array} scores N, what NMS sorts by
 * @property {Float32Array} probabilities N, the same as readers expect them
 * @property {Int32Array} groups N
 * @property {(i: number) => string[]} group of box i: what groups are called, and this one
 * @property {number} scoreThreshold the library's, as are `iouThreshold`, `maxKeep` and its survivors, `kept`
 * @property {number} iouThreshold
 * @property {number} maxKeep
 * @property {Int32Array} kept
 */

/** Runs NMS on those with a score, and puts the result so that it can be asked about any box. */
function suppress(what, leastScore, iouThreshold) {
  const scores = what.scores.map((score, i) => (what.probabilities[i] >= leastScore ? score : -Infinity));
  const { kept, suppressor } = nms(what.boxes, scores, what.groups, iouThreshold, what.maxKeep);
  const candidates = candidatesInOrder(what.boxes, scores);
  const rank = new Map(kept.map((i, place) => [i, place]));
  return {
    candidates,
    kept,
    suppressor,
    iouThreshold,
    fallen: candidates.filter((i) => suppressor[i] >= 0).length,
    /** The place of a survivor, from 1. Those beyond maxKeep have none. */
    place: (i) => (rank.has(i) ? rank.get(i) + 1 : null),
    suppressedBy: (survivor) => candidates.filter((i) => suppressor[i] === survivor),
    overlap: (a, b) => iou(boxAt(what.boxes, a), boxAt(what.boxes, b)),
  };
}

function describeCounts({ candidates, kept, fallen }) {
  const survivors = candidates.length - fallen;
  const cut = survivors > kept.length ? ` (the best of ${grouped(survivors)})` : '';
  const limits = [
    candidates.length > MOST_BEFORE ? `the best ${MOST_BEFORE} before` : null,
    kept.length > MOST_AFTER ? `the best ${MOST_AFTER} after` : null,
  ].filter(Boolean);
  return (
    `${grouped(candidates.length)} before, ${grouped(fallen)} suppressed, ${grouped(kept.length)} after${cut}.` +
    (limits.length ? ` Drawn: ${limits.join(' and ')}.` : '')
  );
}

function sameNumbers(a, b) {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** Whether the page finds what the library found. */
function describeVerdict(what, result, atLibraryValues) {
  const count = counted(what.kept.length, 'box', 'boxes');
  if (!result.kept.length && !what.kept.length) return 'None, like the library’s op.';
  if (sameNumbers(result.kept, what.kept)) return `The same ${count} as the library’s op, in the same order.`;
  if (atLibraryValues) return `The library’s op kept ${count}; these are others.`;
  return `The library’s op kept ${count}, at score ${what.scoreThreshold} and IoU ${what.iouThreshold}.`;
}

/** What became of a box: a title, and elements that say more. */
function fateOf(what, result, i) {
  if (i < 0) return { title: 'No box has such a score', parts: [] };
  const { boxes, probabilities } = what;
  const facts = createFacts([['score', fixed(probabilities[i], 3)], ['box', boxText(boxAt(boxes, i))], what.group(i)]);
  const by = result.suppressor[i];
  if (by >= 0) {
    const survivor = result.place(by) === null ? 'a survivor' : `survivor ${result.place(by)}`;
    const reason =
      `Their IoU is ${fixed(result.overlap(i, by), 3)}, more than ${result.iouThreshold}, and ${survivor} ` +
      `has the better score, ${fixed(probabilities[by], 3)}.`;
    return { title: `Suppressed by ${survivor}`, parts: [facts, element('p', {}, reason)] };
  }
  const fallen = result.suppressedBy(i);
  const title = `Survivor ${result.place(i)} of ${grouped(result.kept.length)}`;
  if (!fallen.length) return { title, parts: [facts, element('p', {}, 'It suppressed none.')] };
  const rows = fallen
    .slice(0, MOST_LISTED)
    .map((other) => [
      fixed(result.overlap(i, other), 3),
      fixed(probabilities[other], 3),
      sizeText(boxAt(boxes, other)),
    ]);
  const rest = fallen.length - rows.length;
  return {
    title,
    parts: [
      facts,
      element('p', {}, `It suppressed ${counted(fallen.length, 'box', 'boxes')}:`),
      createTable(['IoU', 'score', 'size'], rows),
      rest > 0 ? element('p', { class: 'quiet' }, `and ${rest} with lower scores.`) : null,
    ],
  };
}

/** Draws what `shown` asks for, and over it the chosen box with those that it suppressed, or its suppressor. */
function drawFates(view, what, result, { shown, chosen }) {
  const box = (i) => boxAt(what.boxes, i);
  const survives = new Set(result.kept);
  const before = shown === 'after' ? [] : result.candidates.slice(0, MOST_BEFORE).filter((i) => !survives.has(i));
  const after = shown === 'before' ? [] : result.kept.slice(0, MOST_AFTER);
  const opacity = Math.max(0.3, Math.min(0.8, 60 / before.length));
  for (const i of before) strokeBox(view, box(i), { ...FATES.before, opacity });
  for (const i of [...after].reverse()) strokeBox(view, box(i), FATES.survivor);
  if (chosen >= 0) {
    const by = result.suppressor[chosen];
    const survivor = by >= 0 ? by : chosen;
    const fallen = by >= 0 ? [chosen] : result.suppressedBy(chosen);
    for (const i of fallen) strokeBox(view, box(i), { ...FATES.suppressed, width: by >= 0 ? 3 : 1.5 });
    strokeBox(view, box(survivor), FATES.chosen);
    const labels = createLabels(view);
    labels(`score ${fixed(what.probabilities[survivor], 2)}`, box(survivor), FATES.chosen.colour, true);
    for (const i of fallen.slice(0, MOST_LABELLED)) {
      labels(`IoU ${fixed(result.overlap(i, survivor), 2)}`, box(i), FATES.suppressed.colour);
    }
  }
  return `${before.length},${after.length}`;
}

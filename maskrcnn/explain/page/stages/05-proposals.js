'use strict';

// The RPN's boxes, before and after suppression within each level.

defineStage({
  id: 'proposals',
  lead: ({ data: { proposals } }) => [
    `The best anchors${proposals.level_names.length > 1 ? ' of each level' : ''}, moved as the RPN says, are far too ` +
      'many: every object is found again and again.',
    'Non-maximum suppression (NMS) visits them, best first, and a box survives unless its IoU with an earlier ' +
      'survivor exceeds the threshold.',
    `${proposals.level_names.length > 1 ? 'Only boxes of the same level compete here, and the' : 'The'} best ` +
      `${grouped(proposals.max_keep)} survivors become proposals.`,
  ],
  build(page, body) {
    const { proposals } = page.data;
    const levels = bytesOf(proposals.levels);
    const scores = float32Of(proposals.scores);
    buildSuppression(page, body, {
      id: 'proposals',
      name: 'Proposals',
      boxes: float32Of(proposals.boxes),
      scores,
      probabilities: scores.map(sigmoid),
      groups: Int32Array.from(levels),
      group: (i) => ['level', proposals.level_names[levels[i]]],
      scoreThreshold: 0,
      iouThreshold: proposals.iou,
      maxKeep: proposals.max_keep,
      kept: int32Of(proposals.kept),
    });
  },
});

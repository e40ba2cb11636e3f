'use strict';

// The RPN's boxes, before and after suppression within each level.

defineStage('proposals', ({ data }) =>
  'The best anchors of each level, moved as the RPN says, are far too many: every object is found again and again. '
  + 'Non-maximum suppression visits them, best first, and a box survives unless its IoU with an earlier survivor '
  + `exceeds the threshold. Only boxes of the same level compete here, and the best ${grouped(data.proposals.max_keep)} survivors go on.`,
(page, body) => {
  const { proposals } = page.data;
  const groups = Int32Array.from(bytesOf(proposals.levels));
  buildSuppression(page, body, {
    id: 'proposals',
    boxes: float32Of(proposals.boxes),
    scores: float32Of(proposals.scores),
    probability: sigmoid,
    groups,
    groupName: (i) => `level ${proposals.level_names[groups[i]]}`,
    scoreThreshold: 0,
    iouThreshold: proposals.iou,
    maxKeep: proposals.max_keep,
    kept: int32Of(proposals.kept),
    noun: ['proposal', 'Proposals'],
  });
});

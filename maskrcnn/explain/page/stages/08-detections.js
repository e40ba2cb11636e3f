'use strict';

// The refined boxes of all classes, before and after suppression within each class.

defineStage('detections', ({ data }) =>
  `Each proposal, refined, becomes a candidate of every class to which it belongs with more than ${data.candidates.score_threshold}. Again `
  + 'every object is found many times, and again suppression leaves the best of each heap, now among boxes of one class: '
  + 'a dog in front of a bicycle must not suppress it.',
(page, body) => {
  const { candidates } = page.data;
  const labels = int32Of(candidates.labels);
  const rois = int32Of(candidates.rois);
  buildSuppression(page, body, {
    id: 'detections',
    boxes: float32Of(candidates.boxes),
    scores: float32Of(candidates.scores),
    probability: (score) => score,
    groups: labels,
    groupName: (i) => `${className(page, labels[i])}, from RoI ${rois[i] + 1}`,
    scoreThreshold: candidates.score_threshold,
    iouThreshold: candidates.iou,
    maxKeep: candidates.max_keep,
    kept: int32Of(candidates.kept),
    noun: ['detection', 'Candidates for detections'],
  });
});

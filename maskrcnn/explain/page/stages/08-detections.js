'use strict';

// The refined boxes of all classes, before and after suppression within each class.

defineStage({
  id: 'detections',
  lead: ({ data: { candidates, class_names: names } }) => [
    `Each RoI, refined, becomes a candidate of every class whose probability is above ${candidates.score_threshold}.`,
    'Again every object is found many times, and again suppression leaves the best of each heap, now among boxes of ' +
      `one class${names.length > 1 ? ': a dog in front of a bicycle must not suppress it' : ''}.`,
    `The best ${candidates.max_keep} are the detections.`,
  ],
  build(page, body) {
    const { candidates } = page.data;
    const labels = int32Of(candidates.labels);
    const rois = int32Of(candidates.rois);
    const scores = float32Of(candidates.scores);
    buildSuppression(page, body, {
      id: 'detections',
      name: 'Candidates for detections',
      boxes: float32Of(candidates.boxes),
      scores,
      probabilities: scores,
      groups: labels,
      group: (i) => ['class', `${className(page, labels[i])}, from RoI ${rois[i] + 1}`],
      scoreThreshold: candidates.score_threshold,
      iouThreshold: candidates.iou,
      maxKeep: candidates.max_keep,
      kept: int32Of(candidates.kept),
    });
  },
});

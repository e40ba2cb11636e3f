'use strict';

// Where the time went.

defineStage({
  id: 'time',
  lead: () => [
    'How long each part took on the machine that made this page, without what it calls in turn.',
    'These are single measurements of one picture.',
  ],
  build(page, body) {
    const { time } = page.data;
    const total = time.reduce((sum, { milliseconds: each }) => sum + each, 0);
    const longest = Math.max(...time.map(({ milliseconds: each }) => each), 1e-9);
    const percent = (part) => (part > 0 && part < 0.5 ? '< 1 %' : `${fixed(part, 0)} %`);
    const bars = createBars(
      time.map(({ name, milliseconds: each }) => ({
        name,
        share: each / longest,
        text: `${milliseconds(each / 1000)} · ${percent((100 * each) / Math.max(total, 1e-9))}`,
      })),
    );
    bars.classList.add('wide');
    bars.dataset.figure = 'time';
    bars.dataset.total = String(total);
    body.append(bars, element('p', { class: 'reading' }, `Together ${milliseconds(total / 1000)}.`));
  },
});

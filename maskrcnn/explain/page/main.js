'use strict';

// Reads the data, then builds a section for each stage there is.

/** The title, what was looked at, and with what. */
function describePage(data) {
  document.getElementById('page-title').textContent = data.title;
  const [width, height] = data.picture.original;
  const count = data.detections.filter((detection) => detection.shown).length;
  const noun = count === 1 ? data.result.noun.replace(/s$/, '') : data.result.noun;
  const versions = Object.entries(data.versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
  fill(
    document.getElementById('page-summary'),
    `${counted(count, noun, noun)} found in `,
    element('b', {}, data.file),
    ` (${width} × ${height} pixels)`,
    ...(data.weights ? [' with the weights ', element('b', {}, data.weights)] : []),
    '. Here is how, stage by stage. Boxes, scores and maps are those of a run of the network; what you move is ' +
      'computed here, in the page. ',
    element('span', { class: 'quiet' }, `Made with ${versions}.`),
  );
}

/** A link where the sources lie beside the page, and otherwise the name of the file. */
function linkOrName(name, link) {
  return link ? element('a', { href: link }, element('code', {}, name)) : element('code', {}, name);
}

function tensorTable(stage) {
  if (!stage.tensors?.length) return null;
  const rows = stage.tensors.map((tensor) => [
    element('code', {}, tensor.name),
    element('code', {}, tensor.shape.join(' × ') || 'one number'),
    element('code', {}, tensor.dtype),
    tensor.low === null || tensor.low === undefined ? '' : `${short(tensor.low)} … ${short(tensor.high)}`,
  ]);
  return element(
    'details',
    { class: 'tensors' },
    element('summary', {}, `The tensors of this stage (${rows.length})`),
    createTable(['name', 'shape', 'kind', 'least … largest'], rows),
  );
}

function sectionOf(stage, number, page) {
  const known = STAGES.get(stage.id);
  const time = Number.isFinite(stage.seconds) ? element('span', { class: 'time' }, milliseconds(stage.seconds)) : null;
  const body = element('div', { class: 'body' });
  const sources = element(
    'p',
    { class: 'sources' },
    'Code: ',
    linkOrName(stage.module, stage.links?.module),
    element('span', { class: 'apart' }),
    'Chapter: ',
    linkOrName(stage.chapter, stage.links?.chapter),
  );
  return {
    body,
    section: element(
      'section',
      { id: stage.id, 'aria-labelledby': `${stage.id}-title` },
      element(
        'h2',
        { id: `${stage.id}-title` },
        element('span', { class: 'count' }, String(number)),
        stage.title,
        time,
      ),
      element('p', { class: 'lead' }, known.lead(page).filter(Boolean).join(' ')),
      body,
      tensorTable(stage),
      sources,
    ),
  };
}

/** The list of stages follows what is being read. */
function followReader(links) {
  const visible = new Set();
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) visible[entry.isIntersecting ? 'add' : 'delete'](entry.target.id);
      const current = [...links.keys()].find((id) => visible.has(id));
      if (!current) return;
      for (const [id, link] of links) {
        if (id !== current) link.removeAttribute('aria-current');
        else if (!link.hasAttribute('aria-current')) {
          link.setAttribute('aria-current', 'true');
          // Only the bar itself is to scroll, so not scrollIntoView, which may move the page as well.
          const list = link.closest('ol');
          list.scrollLeft = link.offsetLeft - list.offsetLeft - (list.clientWidth - link.offsetWidth) / 2;
        }
      }
    },
    { rootMargin: '-20% 0px -60% 0px' },
  );
  for (const id of links.keys()) observer.observe(document.getElementById(id));
}

async function main() {
  const data = JSON.parse(document.getElementById('data').textContent);
  const picture = new Image();
  picture.src = data.picture.src;
  await picture.decode();
  describePage(data);
  const page = { data, picture, selection: createSelection(data) };
  const links = new Map();
  data.stages
    .filter((stage) => STAGES.has(stage.id))
    .forEach((stage, i) => {
      const { section, body } = sectionOf(stage, i + 1, page);
      document.getElementById('stages').append(section);
      STAGES.get(stage.id).build(page, body);
      const link = element(
        'a',
        { href: `#${stage.id}` },
        element('span', { class: 'count' }, String(i + 1)),
        stage.title,
      );
      document.querySelector('#stage-list ol').append(element('li', {}, link));
      links.set(stage.id, link);
    });
  followReader(links);
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  document.documentElement.dataset.ready = 'true';
}

main();

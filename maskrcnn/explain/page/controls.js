'use strict';

// What a stage is made of besides its figures: elements, sliders, choices, tables, and what all stages know in common.

// ---- Elements ---------------------------------------------------------------------------------------------------

/** An element with attributes and children. Text always becomes text, never markup: names of files are hostile. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Replaces everything inside an element. */
function fill(parent, ...children) {
  parent.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

/**
 * A slider. The browser rounds what its input holds to steps, so the exact value (a threshold of 0.333, say) is kept
 * beside it until a hand moves the slider.
 *
 * @returns {{root: HTMLElement, get: () => number, set: (value: number) => void, limit: (most: number) => void}}
 */
function createSlider({ id, label, min, max, step, value, format = (number) => String(number), onInput }) {
  let exact = value;
  const input = element('input', { type: 'range', id, min, max, step, value });
  const output = element('output', { for: id });
  const show = () => {
    output.textContent = format(exact);
    input.setAttribute('aria-valuetext', output.textContent);
  };
  input.addEventListener('input', () => {
    exact = Number(input.value);
    show();
    onInput(exact);
  });
  show();
  return {
    root: element('div', { class: 'control slider' }, element('label', { for: id }, label), input, output),
    get: () => exact,
    set: (number) => {
      exact = number;
      input.value = String(number);
      show();
    },
    limit: (most) => {
      input.max = String(most);
      exact = Math.min(exact, most);
      input.disabled = most <= Number(input.min);
      show();
    },
  };
}

/**
 * A few options side by side, of which one holds; arrow keys move between them, as in any group of radio buttons.
 *
 * @param {{value: string, text: string}[]} options each gets the id `${id}-${value}`
 */
function createChoice({ id, label, options, value, onChange }) {
  const root = element('fieldset', { class: 'control choice', id }, element('legend', {}, label));
  const inputs = options.map((option) => {
    const input = element('input', {
      type: 'radio',
      name: id,
      id: `${id}-${option.value}`,
      value: option.value,
      checked: option.value === value,
    });
    input.addEventListener('change', () => onChange(input.value));
    root.append(element('span', {}, input, element('label', { for: input.id }, option.text)));
    return input;
  });
  return {
    root,
    get: () => inputs.find((input) => input.checked)?.value,
    set: (chosen) =>
      inputs.forEach((input) => {
        input.checked = input.value === chosen;
      }),
  };
}

function createCheckbox({ id, label, checked = false, onChange }) {
  const input = element('input', { type: 'checkbox', id, checked });
  input.addEventListener('change', () => onChange(input.checked));
  return { root: element('div', { class: 'control checkbox' }, input, element('label', { for: id }, label)), input };
}

function createButton({ id, text, onClick }) {
  const root = element('button', { type: 'button', id }, text);
  root.addEventListener('click', onClick);
  return { root };
}

/** A list to choose from. `groups`: {label, options: {value, text}[]}. */
function createSelect({ id, label, groups, value, onChange }) {
  const select = element('select', { id });
  for (const group of groups.filter(({ options }) => options.length)) {
    const options = group.options.map((option) => element('option', { value: option.value }, option.text));
    select.append(element('optgroup', { label: group.label }, ...options));
  }
  select.value = String(value);
  select.addEventListener('change', () => onChange(Number(select.value)));
  return {
    root: element('div', { class: 'control select' }, element('label', { for: id }, label), select),
    set: (chosen) => {
      select.value = chosen === null ? '' : String(chosen);
    },
  };
}

/** A table of text and numbers; cells that are elements are taken as they are. */
function createTable(headings, rows, attributes = {}) {
  const body = rows.map((cells) =>
    element(
      'tr',
      {},
      ...cells.map((cell) =>
        element(
          'td',
          typeof cell === 'number' ? { class: 'number' } : {},
          typeof cell === 'number' ? String(cell) : cell,
        ),
      ),
    ),
  );
  const head = element('tr', {}, ...headings.map((heading) => element('th', { scope: 'col' }, heading)));
  const table = element('table', attributes, element('thead', {}, head), element('tbody', {}, ...body));
  return element('div', { class: 'table' }, table);
}

/** Names with their values, in two columns. */
function createFacts(facts) {
  return element(
    'dl',
    { class: 'facts' },
    ...facts.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]),
  );
}

/** Shares from 0 to 1 as bars. `rows`: {name, share, text, quiet}. */
function createBars(rows) {
  return element(
    'div',
    { class: 'bars' },
    ...rows.flatMap(({ name, share, text, quiet }) => {
      const bar = element('span', { class: quiet ? 'bar quiet' : 'bar' });
      bar.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
      return [
        element('span', { class: 'name' }, name),
        element('span', { class: 'track' }, bar),
        element('span', { class: 'value' }, text),
      ];
    }),
  );
}

/** A sample of a line or a dot with what it means. `sample`: {colour, style, dot, fill}. */
function createLegend(samples) {
  return element(
    'ul',
    { class: 'legend' },
    ...samples.map(({ colour, style = 'solid', shape = 'line', text }) => {
      const mark = element('span', {
        class: `mark ${shape}${colour === COLOURS.white ? ' white' : ''}`,
        'aria-hidden': 'true',
      });
      mark.style.setProperty('--colour', colour);
      mark.style.setProperty('--style', style);
      return element('li', {}, mark, text);
    }),
  );
}

/** What the pointer and the keys do in a figure. */
function createHint(text) {
  return element('p', { class: 'hint' }, text);
}

/** The colours of a map from low to high, with the numbers at the ends. */
function createColourBar() {
  const low = element('span', {});
  const high = element('span', {});
  const bar = element('span', { class: 'bar', 'aria-hidden': 'true' });
  bar.style.background = `linear-gradient(to right, ${VIRIDIS.join(', ')})`;
  return {
    root: element('div', { class: 'colour-bar' }, low, bar, high),
    set: (map) => {
      low.textContent = map ? short(map.low) : '';
      high.textContent = map ? short(map.high) : '';
    },
  };
}

// ---- Numbers as text --------------------------------------------------------------------------------------------

const MINUS = '\u2212';

/** A number with so many digits after the point, with a minus that is as wide as a plus. */
function fixed(number, digits) {
  return Number.isFinite(number) ? number.toFixed(digits).replace('-', MINUS) : String(number).replace('-', MINUS);
}

/** A threshold: in hundredths, unless it needs more digits, as 0.333 does. */
function thresholdText(number) {
  const hundredths = fixed(number, 2);
  const all = String(Number(number.toFixed(6)));
  return all.length > hundredths.length ? all : hundredths;
}

/** A number in about three digits. */
function short(number) {
  if (!Number.isFinite(number)) return String(number).replace('-', MINUS);
  const size = Math.abs(number);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return number.toExponential(1).replaceAll('-', MINUS);
  return fixed(number, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

function grouped(count) {
  return count.toLocaleString('en');
}

/** "1 box", "2 boxes". */
function counted(count, one, many = `${one}s`) {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

function boxText(box) {
  return `(${Array.from(box, (corner) => fixed(corner, 0)).join(', ')})`;
}

function sizeText(box) {
  return `${fixed(box[2] - box[0], 0)} × ${fixed(box[3] - box[1], 0)}`;
}

function milliseconds(seconds) {
  const time = seconds * 1000;
  return `${time >= 100 ? fixed(time, 0) : time >= 1 ? fixed(time, 1) : fixed(time, 2)} ms`;
}

// ---- What the stages know in common ------------------------------------------------------------------------------

const STAGES = new Map();

/**
 * Makes a stage known to `main.js`.
 *
 * @param {object} stage
 * @param {string} stage.id as in the data
 * @param {(page: object) => (string|false)[]} stage.lead the sentences below the title; some depend on the data
 * @param {(page: object, body: HTMLElement) => void} stage.build fills the stage with its figure
 */
function defineStage(stage) {
  STAGES.set(stage.id, stage);
}

let announcing = 0;

/** Says something to those who listen to the page; of many things in quick succession, the last. */
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    document.getElementById('announcement').textContent = text;
  }, 250);
}

/**
 * The RoI and the detection that are looked at, the same in all stages. An RoI need not have become a detection: then
 * the detection chosen last stays.
 */
function createSelection(data) {
  const listeners = [];
  const state = { roi: data.detections[0]?.roi ?? 0, detection: data.detections.length ? 0 : null };
  const changed = () => listeners.forEach((listener) => listener());
  return {
    get roi() {
      return state.roi;
    },
    get detection() {
      return state.detection;
    },
    /** The detection that came from the chosen RoI, or null. */
    get detectionOfRoi() {
      const chosen = data.detections[state.detection];
      if (chosen?.roi === state.roi) return state.detection;
      const found = data.detections.findIndex((detection) => detection.roi === state.roi);
      return found < 0 ? null : found;
    },
    chooseRoi(roi) {
      state.roi = roi;
      state.detection = this.detectionOfRoi ?? state.detection;
      changed();
    },
    chooseDetection(detection) {
      state.detection = detection;
      state.roi = data.detections[detection].roi;
      changed();
    },
    onChange(listener) {
      listeners.push(listener);
    },
  };
}

function className(page, label) {
  return label === 0 ? 'background' : (page.data.class_names[label - 1] ?? `class ${label}`);
}

/** The picture in network pixels, and the box that shows it whole. */
function drawPicture(view, page, dim = 0) {
  const { width, height } = page.data.picture;
  drawImage(view, page.picture, [0, 0, width, height], { smooth: true, dim });
}

function wholePicture(page) {
  return [0, 0, page.data.picture.width, page.data.picture.height];
}

function pictureAspect(page) {
  return page.data.picture.width / page.data.picture.height;
}

/** What a control, a figure or a part of one is in the document. */
function nodeOf(part) {
  return part.root ?? part.canvas ?? part;
}

/** Controls above, the figures left, what is to be read right (below on a telephone). */
function arrange(body, { controls = [], figures, panel = [] }) {
  const group = (name, parts) => (parts.length ? element('div', { class: name }, ...parts.map(nodeOf)) : null);
  const row = element('div', { class: 'figure-and-panel' }, group('figures', figures), group('panel', panel));
  // A narrow figure has its words beside it, not at the other end of the window.
  row.style.setProperty('--widest', `${Math.max(...figures.map((figure) => figure.widest ?? 0))}px`);
  body.append(...[group('controls', controls), row].filter(Boolean));
}

// Small helpers. Text from the data only ever becomes text nodes and attributes, never markup.

const byId = (id) => document.getElementById(id);

/** An element with properties and children; a text child becomes a text node. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'class') element.className = value;
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== 'string') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Signs that turn the direction of writing are shown as escapes: no name may look like another one. */
const printable = (text) => text.replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16)}`);

/** A name that nobody vouches for: kept apart from the text around it, whatever its direction of writing. */
const nameOf = (text) => make('bdi', { title: printable(text) }, printable(text));

function clock(seconds, digits = 0) {
  const unit = 10 ** digits;
  const whole = Math.round(Math.max(seconds, 0) * unit) / unit;
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = (whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, '0');
  return hours ? `${hours}:${String(minutes).padStart(2, '0')}:${rest}` : `${minutes}:${rest}`;
}

const moment = (seconds) => clock(seconds, seconds % 1 ? 1 : 0);

/** A number without needless digits: 3.750 → 3.75. */
const short = (value, digits = 2) => String(Number(value.toFixed(digits)));

function bytes(value) {
  const names = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let step = 0;
  while (value >= 1000 && step < names.length - 1) { value /= 1000; step += 1; }
  return `${value.toLocaleString('en', { maximumFractionDigits: step && value < 100 ? 1 : 0 })}\u00a0${names[step]}`;
}

const count = (number, one, many = `${one}s`) => `${number.toLocaleString('en')} ${number === 1 ? one : many}`;

const lastPart = (path) => path.split('/').pop() || path;

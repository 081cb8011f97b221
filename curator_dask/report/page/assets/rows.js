// One row per clip: what it is, why it went, and a strip of its pictures, placed so that equal moments lie under each other.

const ROWS_AT_FIRST = 8;
const tilesShown = (share) => (share > 0.55 ? 6 : share > 0.25 ? 3 : 2);

function strip(clip, share, label, onclick) {
  const button = make('button', { type: 'button', class: `strip ${review.stateOf(clip)}`, 'aria-label': label, onclick, 'data-clip': clip.id });
  if (clip.preview) {
    button.style.setProperty('--strip', `url("${clip.preview}")`);
    const number = tilesShown(share);
    for (let tile = 0; tile < number; tile += 1) {
      const picture = make('span', { class: 'tile-picture' });
      picture.style.setProperty('--at', `${Math.round(((tile + 0.5) * 6) / number - 0.51) * 20}%`);
      button.append(picture);
    }
  } else button.append(make('span', { class: 'no-picture' }, clip.clip ? 'no pictures' : 'no file'));
  if (clip.clip) button.append(make('span', { class: 'play', 'aria-hidden': 'true' }, '▶'));
  return button;
}

function facts(clip) {
  const parts = [`${moment(clip.start)} – ${moment(clip.end)}`];
  if (clip.width) parts.push(`${clip.width}\u00a0×\u00a0${clip.height}`);
  if (clip.bytes) parts.push(bytes(clip.bytes));
  return parts.join('\u00a0· ');
}

/** Second t of the clip shows second t − offset of its twin. */
function startWords(offset) {
  if (offset === null || offset === undefined) return '';
  if (Math.abs(offset) < 0.05) return 'starts at the same moment';
  return `starts ${short(Math.abs(offset))}\u00a0s ${offset < 0 ? 'later' : 'earlier'}`;
}

function whyWords(pair) {
  const parts = [];
  if (pair.kind) parts.push(index.kinds[pair.kind] || pair.kind);
  if (pair.offset_s !== null && pair.offset_s !== undefined) parts.push(startWords(pair.offset_s));
  if (pair.cover !== null && pair.cover !== undefined) parts.push(`kept clips show ${short(pair.cover * 100, 0)}\u00a0% of it`);
  const numbers = [['likeness', pair.strength], ['similarity of vectors', pair.score]];
  for (const [name, value] of numbers) if (value !== null && value !== undefined) parts.push(`${name}\u00a0${short(value, 3)}`);
  if (pair.reason && pair.reason !== 'near-duplicate') parts.push(index.reasons[pair.reason] || pair.reason);
  if (pair.same_source) parts.push('from the same video');
  return parts.join('\u00a0· ');
}

function caption(clip, why) {
  return make('div', { class: 'caption' },
    make('span', { class: `badge ${review.stateOf(clip)}` }, review.stateOf(clip)),
    make('span', { class: 'name' }, videoLink(clip.source, lastPart(clip.source))),
    make('span', { class: 'facts number' }, facts(clip)),
    why ? make('span', { class: 'why' }, why) : null,
    review.actions(clip));
}

/** `from` and `width` say where the strip lies on a lane of `span` seconds. */
function row(clip, why, from, width, span, beside, onclick) {
  const label = `Play the ${review.stateOf(clip)} clip ${lastPart(clip.source)}, ${facts(clip)}${beside}`;
  const picture = strip(clip, width / span, label, onclick);
  picture.style.left = `${(from / span) * 100}%`;
  picture.style.width = `${(width / span) * 100}%`;
  return make('li', { class: `row ${review.stateOf(clip)}`, 'data-row': clip.id }, caption(clip, why), make('div', { class: 'lane' }, picture));
}

/** A kept clip, and below it clips beside it. Each pair: id, offset_s and why. */
function block(keptId, pairs) {
  const kept = clipOf(keptId);
  const places = pairs.map((pair) => [pair, clipOf(pair.id), -(pair.offset_s || 0)]);
  const start = Math.min(0, ...places.map(([, , at]) => at));
  const end = Math.max(lengthOf(kept), 0.1, ...places.map(([, clip, at]) => at + lengthOf(clip)));
  const span = end - start;
  const rows = [row(kept, '', -start, lengthOf(kept) || span, span, '', () => player.open({ ...pairs[0], kept_id: keptId }))];
  const rowOf = ([pair, clip, at]) => row(clip, whyWords(pair), at - start, lengthOf(clip) || span, span, ' beside its twin',
    () => player.open({ ...pair, kept_id: keptId }));
  const list = make('ol', { class: 'block' }, rows, places.slice(0, ROWS_AT_FIRST).map(rowOf));
  const others = places.slice(ROWS_AT_FIRST);
  if (others.length) list.append(showOthers(others, rowOf));
  return list;
}

/** A button in place of further rows; it becomes these rows. */
function showOthers(others, rowOf) {
  const line = make('li', { class: 'others' }, make('button', { type: 'button', class: 'button', onclick: () => {
    const rows = others.map(rowOf);
    line.replaceWith(...rows);
    rows[0].querySelector('.strip').focus();
  } }, `Show ${others.length} more`));
  return line;
}

/** A clip by itself. */
const single = (id, why = '') => make('ol', { class: 'block' }, row(clipOf(id), why, 0, 1, 1, '', () => player.open({ id })));

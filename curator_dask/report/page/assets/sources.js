// One bar per source video: its clips from the first second to the last. #video-3 is the page of one video.

const placeOfVideo = (() => {
  let places = null;
  return (source) => {
    places ??= new Map(index.sources.map((name, at) => [name, at]));
    return places.get(source);
  };
})();

/** A name that leads to the page of its video, if this page has one. */
function videoLink(source, text) {
  const at = placeOfVideo(source);
  return at === undefined ? nameOf(text) : make('a', { href: `#video-${at + 1}` }, nameOf(text));
}

const sources = (() => {
  const SEGMENT_REM = 1.7;
  const CLIPS_AT_A_TIME = 10;
  let only = null;

  /** Clips that overlap in time lie on bars below each other. */
  function lanes(some) {
    const ends = [];
    return some.map((clip) => {
      let lane = ends.findIndex((end) => end <= clip.start_s + 0.01);
      if (lane < 0) lane = ends.length;
      ends[lane] = clip.end_s;
      return lane;
    });
  }

  const words = (clip) => `${clock(clip.start_s, 1)} to ${clock(clip.end_s, 1)}, ${clip.state}${clip.twins.length ? `, ${count(clip.twins.length, 'twin')}` : ''}`;

  async function draw(at) {
    const source = await item('sources', at);
    const end = Math.max(source.duration_s || 0, 0.1, ...source.clips.map((clip) => clip.end_s));
    const places = lanes(source.clips);
    const panel = make('div', { class: 'panel', hidden: only === null });
    if (only !== null) await grow(panel, source.clips);
    const line = make('div', { class: 'line', role: 'group', 'aria-label': `Clips of ${source.title}` });
    line.style.height = `${SEGMENT_REM * (Math.max(0, ...places) + 1)}rem`;
    line.append(...source.clips.map((clip, number) => segment(clip, number, places[number], end, panel, line)));
    line.addEventListener('keydown', (event) => move(event, line));
    return make('article', { class: 'source card' },
      make('header', {}, make('h3', {}, videoLink(source.source, source.title)), source.source !== source.title ? make('span', { class: 'soft small' }, nameOf(source.source)) : null,
        make('span', { class: 'legend number' }, legend(source.clips))),
      line, make('div', { class: 'axis number', 'aria-hidden': 'true' }, make('span', {}, '0:00'), make('span', {}, clock(end / 2)), make('span', {}, clock(end))), panel);
  }

  function legend(some) {
    return ['kept', 'removed', 'dropped', 'plain', 'failed'].flatMap((state) => {
      const number = some.filter((clip) => clip.state === state).length;
      return number ? [make('span', { class: state }, `${number} ${state}`)] : [];
    });
  }

  function segment(clip, number, lane, end, panel, line) {
    const button = make('button', { type: 'button', class: `segment ${review.stateOf(clip)}`, 'aria-label': words(clip), title: words(clip), 'aria-expanded': 'false', tabindex: number ? '-1' : '0',
      'data-segment': clip.id, onclick: () => choose(button, clip, panel, line) });
    button.style.left = `${(clip.start_s / end) * 100}%`;
    button.style.width = `${((clip.end_s - clip.start_s) / end) * 100}%`;
    button.style.top = `${lane * SEGMENT_REM}rem`;
    button.style.height = `${SEGMENT_REM}rem`;
    return button;
  }

  function move(event, line) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const all = [...line.children];
    const next = all[all.indexOf(document.activeElement) + by];
    if (!next) return;
    event.preventDefault();
    for (const each of all) each.tabIndex = each === next ? 0 : -1;
    next.focus();
  }

  async function choose(button, clip, panel, line) {
    const wasOpen = button.getAttribute('aria-expanded') === 'true';
    for (const each of line.children) each.setAttribute('aria-expanded', 'false');
    panel.hidden = wasOpen;
    if (wasOpen) return;
    button.setAttribute('aria-expanded', 'true');
    panel.replaceChildren(...await detail(clip));
  }

  /** The clip with its twins, each pair as it stands in its group. */
  async function detail(clip) {
    const at = clipOf(clip.id).group;
    const group = at === undefined || at === null ? null : await item('groups', at);
    if (!group) return [single(clip.id), clip.twins.length ? make('p', { class: 'soft small' }, 'Its group is not among those of this page.') : ''];
    const pairs = group.removed.filter((pair) => pair.id === clip.id || pair.kept_id === clip.id || pair.kept_ids.includes(clip.id));
    const leads = [...new Set(pairs.map((pair) => pair.kept_id))].filter(Boolean);
    return [...leads.map((id) => block(id, pairs.filter((pair) => pair.kept_id === id))), ...(leads.length ? [] : [single(clip.id)]),
      make('button', { type: 'button', class: 'button', onclick: () => groups.open(at) }, `To group ${at + 1}`)];
  }

  /** The next clips of a video, each with its twins, and a button for those after them. */
  async function grow(panel, rest) {
    const next = rest.slice(0, CLIPS_AT_A_TIME);
    const further = rest.slice(CLIPS_AT_A_TIME);
    const parts = await Promise.all(next.map(async (clip) => make('section', { class: 'clip', 'aria-label': words(clip) },
      make('h4', { class: 'number' }, `${moment(clip.start_s)} – ${moment(clip.end_s)}, ${review.stateOf(clip)}`), await detail(clip))));
    panel.append(...parts);
    if (!further.length) return;
    const more = make('button', { type: 'button', class: 'button', onclick: () => { more.remove(); grow(panel, further); } }, `Show ${Math.min(CLIPS_AT_A_TIME, further.length)} more of ${count(further.length, 'clip')}`);
    panel.append(more);
  }

  /** The video that the address names; null: all of them. */
  function named() {
    const at = Number((location.hash.match(/^#video-(\d+)$/) || [])[1]) - 1;
    return at >= 0 && at < index.sources.length ? at : null;
  }

  function connect() {
    const all = index.sources.length + index.sources_left_out;
    const show = growing('sources', draw, (number) => {
      byId('sources-found').textContent = count(number, 'video') + (index.sources_left_out ? ` of ${all.toLocaleString('en')}` : '');
    });
    const refresh = () => {
      only = named();
      byId('only-video').hidden = only === null;
      if (only !== null) return show([only], '');
      const text = byId('source-search').value.trim().toLowerCase();
      return show(index.sources.flatMap((name, at) => (name.toLowerCase().includes(text) ? [at] : [])), 'No video has such a name.');
    };
    const follow = async () => {
      const before = only;
      if (named() === before) return;
      for (const open of document.querySelectorAll('dialog[open]')) open.close();
      await refresh();
      if (only !== null) byId('sources').scrollIntoView();
    };
    byId('source-search').addEventListener('input', () => { if (only === null) refresh(); else location.hash = '#sources'; });
    byId('only-video').addEventListener('click', () => { location.hash = '#sources'; });
    window.addEventListener('hashchange', follow);
    refresh().then(() => { if (only !== null) byId('sources').scrollIntoView(); });
  }
  return { connect };
})();

// One bar per source video: its clips from the first second to the last.

const sources = (() => {
  const SEGMENT_REM = 1.7;

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
    const panel = make('div', { class: 'panel', hidden: true });
    const line = make('div', { class: 'line', role: 'group', 'aria-label': `Clips of ${source.title}` });
    line.style.height = `${SEGMENT_REM * (Math.max(0, ...places) + 1)}rem`;
    line.append(...source.clips.map((clip, number) => segment(clip, number, places[number], end, panel, line)));
    line.addEventListener('keydown', (event) => move(event, line));
    return make('article', { class: 'source card' },
      make('header', {}, make('h3', {}, nameOf(source.title)), source.source !== source.title ? make('span', { class: 'soft small' }, nameOf(source.source)) : null,
        make('span', { class: 'legend number' }, legend(source.clips))),
      line, make('div', { class: 'axis number', 'aria-hidden': 'true' }, make('span', {}, '0:00'), make('span', {}, clock(end / 2)), make('span', {}, clock(end))), panel);
  }

  function legend(some) {
    return ['kept', 'removed', 'plain', 'failed'].flatMap((state) => {
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

  function connect() {
    const all = index.sources.length + index.sources_left_out;
    const show = growing('sources', draw, (number) => {
      byId('sources-found').textContent = count(number, 'video') + (index.sources_left_out ? ` of ${all.toLocaleString('en')}` : '');
    });
    const refresh = () => {
      const text = byId('source-search').value.trim().toLowerCase();
      return show(index.sources.flatMap((name, at) => (name.includes(text) ? [at] : [])), 'No video has such a name.');
    };
    byId('source-search').addEventListener('input', refresh);
    refresh();
  }
  return { connect };
})();

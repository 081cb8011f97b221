// The long lists: groups of duplicates, close calls, videos. Ten at a time, by filters.

const PER_PAGE = 10;

/** A list that grows by pages. `draw` makes the element of one item, and may have to wait for its data. */
function growing(id, draw, found) {
  const [list, more] = [byId(`${id}-list`), byId(`${id}-more`)];
  let places = []; let shown = 0; let turn = 0;
  async function grow() {
    const now = turn;
    const next = places.slice(shown, shown + PER_PAGE);
    shown += next.length;
    more.hidden = true;
    try {
      const elements = await Promise.all(next.map(draw));
      if (now !== turn) return;
      list.append(...elements);
    } catch (error) { list.append(make('p', { class: 'note', role: 'alert' }, error.message)); }
    more.hidden = shown >= places.length;
    more.textContent = `Show ${Math.min(PER_PAGE, places.length - shown)} more of ${(places.length - shown).toLocaleString('en')}`;
  }
  more.addEventListener('click', grow);
  return async (wanted, nothing) => {
    turn += 1; places = wanted; shown = 0;
    list.replaceChildren();
    if (!places.length) list.append(make('p', { class: 'empty card' }, nothing));
    if (found) found(places.length);
    await grow();
  };
}

const groups = (() => {
  let show; let only = null;
  const chosen = () => ({ pair: document.querySelector('input[name="pair"]:checked').value, kind: byId('kind').value, text: byId('search').value.trim().toLowerCase() });
  const fits = (pair, wanted) => (!wanted.pair || pair.same_source === (wanted.pair === 'same')) && (!wanted.kind || pair.kind === wanted.kind);

  function places() {
    if (only !== null) return [only];
    const wanted = chosen();
    return index.groups.flatMap((group, at) => (group.pairs.some(([same, kind]) => fits({ same_source: Boolean(same), kind }, wanted))
      && (!wanted.text || group.names.includes(wanted.text)) ? [at] : []));
  }

  async function draw(at) {
    const group = await item('groups', at);
    const wanted = only === null ? chosen() : { pair: '', kind: '', text: '' };
    const removed = group.removed.filter((pair) => fits(pair, wanted));
    const seconds = group.removed.reduce((sum, pair) => sum + lengthOf(clipOf(pair.id)), 0);
    const states = [...group.kept, ...group.removed.map((pair) => pair.id)].map((id) => review.stateOf(clipOf(id)));
    const number = (state) => states.filter((each) => each === state).length;
    const kept = [...new Set([...group.kept, ...removed.map((pair) => pair.kept_id)])].filter(Boolean);
    const alone = removed.filter((pair) => !pair.kept_id).map((pair) => single(pair.id, whyWords(pair) || 'no kept clip shows the same'));
    const leading = kept.map((id) => [id, removed.filter((pair) => pair.kept_id === id)]);
    const blocks = leading.filter(([, pairs]) => pairs.length).map(([id, pairs]) => block(id, pairs));
    const others = leading.filter(([, pairs]) => !pairs.length).map(([id]) => id);
    return make('article', { class: 'group card', id: `group-${at}`, tabindex: '-1', 'aria-label': `Group ${at + 1}` },
      make('header', {}, make('h3', {}, `Group ${at + 1}`),
        make('span', { class: 'soft' }, `${number('kept')} kept, ${number('removed')} removed · ${clock(seconds)} removed`)),
      blocks, alone, others.length && only !== null ? others.map((id) => single(id)) : null,
      others.length && only === null ? make('p', { class: 'soft small' }, `${count(others.length, 'more kept clip')} of this group ${others.length === 1 ? 'shows' : 'show'} parts of these, too.`) : null);
  }

  function refresh() {
    byId('only').hidden = only === null;
    const all = index.groups.length + index.groups_left_out;
    return show(places(), index.groups.length ? 'No group fits these filters.' : 'No clip was removed.').then(() => {
      if (only === null && index.groups_left_out) byId('groups-found').textContent += `; the largest of ${all.toLocaleString('en')} are listed`;
    });
  }

  async function open(at) {
    only = at;
    await refresh();
    const group = byId(`group-${at}`);
    if (group) { group.focus(); byId('groups').scrollIntoView(); }
  }

  function connect() {
    show = growing('groups', draw, (number) => { byId('groups-found').textContent = count(number, 'group'); });
    for (const input of document.querySelectorAll('input[name="pair"], #kind')) input.addEventListener('change', () => { only = null; refresh(); });
    byId('search').addEventListener('input', () => { only = null; refresh(); });
    byId('only').addEventListener('click', () => { only = null; refresh(); });
    refresh();
  }
  return { connect, open };
})();

const borderline = (() => {
  let pairs = [];
  const side = () => document.querySelector('input[name="side"]:checked').value;
  const draw = (pair) => make('article', { class: 'group card' }, block(pair.other_id, [pair]));
  async function connect() {
    const show = growing('borderline', async (at) => draw(pairs[at]));
    const refresh = async () => {
      pairs = (await chunk('borderline'))[side()];
      await show(pairs.map((_, at) => at), side() === 'kept' ? 'No kept clips look alike.' : 'No clip was removed.');
    };
    for (const input of document.querySelectorAll('input[name="side"]')) input.addEventListener('change', refresh);
    await refresh();
  }
  return { connect };
})();

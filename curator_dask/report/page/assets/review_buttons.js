// Buttons that decide. Each press is saved by the server at once, and shown only when it is saved.

const review = (() => {
  const decided = new Map();
  const order = [];
  const states = { keep: 'kept', remove: 'removed' };

  const stateOf = (clip) => (decided.has(clip.id) ? states[decided.get(clip.id).decision] : clip.state);

  const button = (text, label, act) => make('button', { type: 'button', class: 'button', 'aria-label': label, onclick: act }, text);

  /** The buttons of a clip: the other decision, or the way back. */
  function actions(clip) {
    if (clip.state !== 'kept' && clip.state !== 'removed') return null;
    const name = `${lastPart(clip.source)}, ${facts(clip)}`;
    const list = make('span', { class: 'actions', 'data-actions': clip.id });
    if (!decided.has(clip.id)) {
      const other = clip.state === 'kept' ? 'remove' : 'keep';
      list.append(button(other === 'keep' ? 'Keep' : 'Remove', `${other} ${name}`, () => decide(clip.id, other)));
      return list;
    }
    const note = make('input', { type: 'text', placeholder: 'note', 'aria-label': `Note on ${name}`, maxLength: 500, value: decided.get(clip.id).note });
    note.addEventListener('change', () => decide(clip.id, decided.get(clip.id).decision, note.value));
    list.append(make('b', { class: 'small' }, 'by hand'), button('Undo', `Undo the decision on ${name}`, () => decide(clip.id, null)), make('span', { class: 'field' }, note));
    return list;
  }

  async function ask(body) {
    const request = body ? { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) } : {};
    const answer = await fetch('../overrides', request).catch(() => { throw new Error('there is no answer. Is curator-dask review still running?'); });
    if (!answer.ok) throw new Error((await answer.text()) || answer.statusText);
    return answer.json();
  }

  async function decide(id, decision, note = '') {
    try {
      take((await ask({ id, decision, note })).overrides);
      if (decision) order.push(id);
      say('');
    } catch (error) { say(`Not saved: ${error.message.trim()}`); }
    redraw(id);
  }

  function take(overrides) {
    decided.clear();
    for (const [id, override] of Object.entries(overrides)) decided.set(id, override);
  }

  /** Shows the state of a clip wherever it stands. */
  function redraw(id) {
    const clip = clipOf(id);
    const state = stateOf(clip);
    for (const segment of document.querySelectorAll('.segment')) {
      if (segment.dataset.segment === id) segment.className = `segment ${state}`;
    }
    for (const old of document.querySelectorAll('[data-actions]')) {
      if (old.dataset.actions !== id) continue;
      const place = old.closest('.row, figure');
      const focused = old.contains(document.activeElement);
      const fresh = actions(clip);
      old.replaceWith(fresh);
      if (focused) fresh.querySelector('button').focus();
      for (const each of [place, ...place.querySelectorAll('.strip, .badge')]) {
        each.classList.remove('kept', 'removed');
        each.classList.add(state);
      }
      place.querySelector('.badge').textContent = state;
    }
  }

  function say(trouble) {
    byId('review-trouble').textContent = trouble;
    const counts = { keep: 0, remove: 0 };
    for (const each of decided.values()) counts[each.decision] += 1;
    byId('review-count').textContent = decided.size ? `${count(counts.keep, 'clip')} to keep and ${counts.remove.toLocaleString('en')} to remove by hand, saved in overrides.csv` : 'No decisions by hand yet';
  }

  function undoLast() {
    const id = order.pop();
    if (id !== undefined) decide(id, null);
  }

  /** + keeps and - removes the clip whose strip has the focus, u takes the last decision back. */
  function key(event) {
    if (event.key === 'u') { undoLast(); return true; }
    const id = document.activeElement && document.activeElement.dataset.clip;
    const decision = { '+': 'keep', '-': 'remove' }[event.key];
    if (!id || !decision || !['kept', 'removed'].includes(clipOf(id).state)) return false;
    decide(id, states[decision] === clipOf(id).state ? null : decision);
    return true;
  }

  function connect() {
    document.body.append(make('div', { class: 'review-bar', role: 'region', 'aria-label': 'Review' },
      make('b', {}, 'Review'), make('span', { id: 'review-count', role: 'status' }), make('span', { id: 'review-trouble', role: 'alert' }),
      make('button', { type: 'button', class: 'button', onclick: undoLast }, 'Undo the last')));
    const keys = document.querySelector('.keys');
    for (const [name, words] of [['+', 'keep this clip'], ['-', 'remove this clip'], ['u', 'take the last decision back']]) {
      keys.append(make('dt', {}, make('kbd', {}, name)), make('dd', {}, words));
    }
    say('');
    ask(null).then((known) => { take(known.overrides); say(''); for (const id of decided.keys()) redraw(id); }).catch((error) => say(error.message));
  }

  return { actions, connect, stateOf, key };
})();

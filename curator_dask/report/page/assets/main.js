// Start: keys, colours, lists.

const index = readBlock('index');

const theme = (() => {
  const order = ['auto', 'light', 'dark'];
  function set(name) {
    if (name === 'auto') document.documentElement.removeAttribute('data-theme'); else document.documentElement.setAttribute('data-theme', name);
    byId('theme').replaceChildren(make('span', { class: 'wide' }, 'Colours: '), name);
    try { localStorage.setItem('curator-theme', name); } catch { /* a page from a disk may have no storage */ }
  }
  const now = () => document.documentElement.getAttribute('data-theme') || 'auto';
  const turn = () => set(order[(order.indexOf(now()) + 1) % order.length]);
  function connect() {
    let kept = null;
    try { kept = localStorage.getItem('curator-theme'); } catch { /* as above */ }
    if (order.includes(kept)) set(kept);
    byId('theme').addEventListener('click', turn);
  }
  return { connect, turn };
})();

/** j and k go from strip to strip; from anywhere else to the first one that is on the screen. */
function walk(by) {
  if (player.isOpen()) { player.step(by); return; }
  const strips = [...document.querySelectorAll('.strip')].filter((each) => each.offsetParent);
  const now = strips.indexOf(document.activeElement);
  const next = now >= 0 ? strips[now + by] : strips.find((each) => each.getBoundingClientRect().top > 60) || strips[0];
  if (next) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: 'center' }); }
}

function look() {
  byId('search').focus();
  byId('groups').scrollIntoView();
}

function key(event) {
  const typing = event.target.closest('input:not([type="radio"]):not([type="range"]), select, textarea');
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const inPlayer = player.isOpen();
  if (review.key(event)) return;
  const actions = {
    j: () => walk(1), k: () => walk(-1), '/': look, t: theme.turn, '?': () => { if (!inPlayer && !byId('help').open) byId('help').showModal(); },
    ...(inPlayer ? { ' ': player.toggle, ArrowLeft: () => player.nudge(-1), ArrowRight: () => player.nudge(1), ',': () => player.nudge(-1 / 25), '.': () => player.nudge(1 / 25) } : {}),
  };
  if (event.key === ' ' && event.target.closest('button')) return;
  const act = actions[event.key];
  if (act) { event.preventDefault(); act(); }
}

/** Marks the part of the page that is being read. */
function followParts() {
  const links = new Map([...document.querySelectorAll('.top nav a')].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) for (const [id, link] of links) if (id === entry.target.id) link.setAttribute('aria-current', 'true'); else link.removeAttribute('aria-current');
  }, { rootMargin: '-15% 0px -75% 0px' });
  for (const id of links.keys()) if (byId(id)) seen.observe(byId(id));
}

document.addEventListener('keydown', key);
for (const button of document.querySelectorAll('[data-close]')) button.addEventListener('click', () => button.closest('dialog').close());
byId('help-button').addEventListener('click', () => byId('help').showModal());
keepClips(readBlock('clips'));
theme.connect();
player.connect();
review.connect();
groups.connect();
borderline.connect();
sources.connect();
followParts();

// Two clips in step. The moment p counts in seconds of the kept clip: the other one is at p + offset.

const player = (() => {
  const LARGEST_DRIFT_S = 0.25;
  let pair = null; let offset = 0; let low = 0; let high = 1; let moment = 0; let playing = false; let sides = []; let frame = 0; let last = 0;

  const side = (shift, clip) => ({ video: newVideo(`${review.stateOf(clip)} clip`), shift, clip, figure: null,
    length() { return this.video.duration > 0 && Number.isFinite(this.video.duration) ? this.video.duration : lengthOf(this.clip); },
    within(at) { return at + this.shift >= -0.001 && at + this.shift < this.length(); },
    seek(at) { this.video.currentTime = Math.min(Math.max(at + this.shift, 0), Math.max(this.length() - 0.001, 0)); } });

  function figure(one) {
    const { clip, video } = one;
    const missing = make('p', { class: 'missing', role: 'alert', hidden: true }, 'This clip cannot be played: its file is not there, or the browser cannot read it.');
    video.addEventListener('error', () => { missing.hidden = false; });
    if (!clip.clip) missing.hidden = false; else video.src = clip.clip;
    one.figure = make('figure', { class: review.stateOf(clip) }, video, missing, make('figcaption', {}, caption(clip, '')));
    return one.figure;
  }

  function newVideo(label) {
    const video = make('video', { preload: 'auto', playsinline: true, 'aria-label': label, tabindex: '-1' });
    video.muted = true;
    video.disableRemotePlayback = true;
    video.addEventListener('loadedmetadata', layOut);
    video.addEventListener('click', toggle);
    return video;
  }

  function open(wanted) {
    close(false);
    pair = wanted;
    offset = wanted.kept_id ? wanted.offset_s || 0 : 0;
    const one = side(offset, clipOf(wanted.id));
    sides = wanted.kept_id ? [side(0, clipOf(wanted.kept_id)), one] : [one];
    byId('player-title').textContent = wanted.kept_id ? 'Side by side, in step' : 'One clip';
    byId('player-why').textContent = wanted.kept_id ? [whyWords(wanted), unknown(wanted)].filter(Boolean).join('. ') : '';
    byId('stage').className = wanted.kept_id ? 'stage' : 'stage single';
    byId('stage').replaceChildren(...sides.map(figure));
    layOut();
    moment = wanted.kept_id ? Math.max(0, -offset) : 0;
    if (!byId('player').open) byId('player').showModal();
    byId('play').focus();
    seek(moment);
    ready().then(() => { if (pair === wanted) play(); });
  }

  const unknown = (wanted) => (wanted.offset_s === null || wanted.offset_s === undefined ? 'How the two lie over each other is not known: both start at their beginning' : '');

  const ready = () => Promise.all(sides.filter((each) => each.clip.clip).map((each) => new Promise((resolve) => {
    if (each.video.readyState >= 2) resolve();
    else for (const event of ['canplay', 'error']) each.video.addEventListener(event, resolve, { once: true });
  })));

  function layOut() {
    low = Math.min(...sides.map((each) => -each.shift));
    high = Math.max(...sides.map((each) => each.length() - each.shift), low + 0.1);
    const scrub = byId('scrub');
    scrub.min = String(low); scrub.max = String(high);
    byId('extents').replaceChildren(...sides.map((each) => {
      const line = make('span', { class: review.stateOf(each.clip) });
      line.style.left = `${((-each.shift - low) / (high - low)) * 100}%`;
      line.style.width = `${(each.length() / (high - low)) * 100}%`;
      line.style.top = each === sides[0] ? '0' : '8px';
      return line;
    }));
    show();
  }

  function show() {
    const scrub = byId('scrub');
    scrub.value = String(moment);
    const times = sides.map((each) => `${review.stateOf(each.clip)} ${clock(Math.min(Math.max(moment + each.shift, 0), each.length()), 2)}`);
    byId('clock').textContent = times.join('  ·  ');
    scrub.setAttribute('aria-valuetext', times.join(', '));
    byId('play').textContent = playing ? 'Pause' : 'Play';
    for (const each of sides) each.figure.classList.toggle('outside', sides.length > 1 && !each.within(moment));
  }

  function seek(at) {
    moment = Math.min(Math.max(at, low), high);
    for (const each of sides) each.seek(moment);
    show();
  }

  function start(each) {
    each.video.playbackRate = speed();
    if (each.video.paused) each.video.play().catch(() => {});
  }

  function play() {
    if (moment >= high - 0.05) seek(low);
    playing = true;
    last = performance.now();
    for (const each of sides) if (each.within(moment)) start(each);
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(tick);
    show();
  }

  function pause() {
    playing = false;
    cancelAnimationFrame(frame);
    for (const each of sides) each.video.pause();
    if (sides.length) seek(moment);
  }

  function toggle() { if (playing) pause(); else play(); }
  const speed = () => Number(byId('speed').value);

  /** The first clip that plays leads; the other is pulled after it, gently, or by a jump if it is far off. */
  function tick(now) {
    const inside = sides.filter((each) => each.within(moment) && each.clip.clip && !each.video.error);
    const leader = inside.find((each) => !each.video.paused && !each.video.ended);
    moment = leader ? leader.video.currentTime - leader.shift : moment + ((now - last) / 1000) * speed();
    last = now;
    for (const each of sides) follow(each, leader);
    if (moment >= high - 0.02 || (leader && leader.video.ended)) { moment = Math.min(moment, high); pause(); return; }
    show();
    frame = requestAnimationFrame(tick);
  }

  function follow(each, leader) {
    if (each === leader || !each.clip.clip || each.video.error) return;
    if (!each.within(moment)) { if (!each.video.paused) each.video.pause(); return; }
    const drift = each.video.currentTime - each.shift - moment;
    if (each.video.paused || Math.abs(drift) > LARGEST_DRIFT_S) { if (!each.video.seeking) each.seek(moment); start(each); }
    each.video.playbackRate = Math.abs(drift) < 0.02 ? speed() : speed() * (drift > 0 ? 0.95 : 1.05);
  }

  function close(hide = true) {
    playing = false;
    cancelAnimationFrame(frame);
    for (const each of sides) { each.video.pause(); each.video.removeAttribute('src'); each.video.load(); }
    sides = []; pair = null;
    if (hide && byId('player').open) byId('player').close();
  }

  /** The strip before or after the one that is shown, in the order of the page. */
  function step(by) {
    const strips = [...document.querySelectorAll('.strip')].filter((each) => each.offsetParent);
    const now = strips.indexOf(opener);
    const next = strips[now + by];
    if (next) { opener = next; next.click(); }
  }

  let opener = null;
  function connect() {
    document.addEventListener('click', (event) => { const found = event.target.closest && event.target.closest('.strip'); if (found) opener = found; }, true);
    byId('play').addEventListener('click', toggle);
    byId('scrub').addEventListener('input', (event) => { const wanted = Number(event.target.value); if (playing) pause(); seek(wanted); });
    byId('speed').addEventListener('change', () => { for (const each of sides) each.video.playbackRate = speed(); });
    byId('sound').addEventListener('click', (event) => {
      const on = event.currentTarget.getAttribute('aria-pressed') !== 'true';
      event.currentTarget.setAttribute('aria-pressed', String(on));
      for (const each of sides) each.video.muted = !on || each !== sides[0];
    });
    byId('back').addEventListener('click', () => nudge(-1 / 25));
    byId('forth').addEventListener('click', () => nudge(1 / 25));
    byId('previous').addEventListener('click', () => step(-1));
    byId('next').addEventListener('click', () => step(1));
    byId('player').addEventListener('close', () => { close(false); if (opener && opener.isConnected) { opener.focus(); opener.scrollIntoView({ block: 'nearest' }); } });
  }

  function nudge(by) { pause(); seek(moment + by); }

  return { open, connect, toggle, nudge, step, isOpen: () => byId('player').open };
})();

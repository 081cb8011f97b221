// Where the data comes from: blocks in this file, or files in data/ that call curatorChunk. Both work from a disk.

const clips = new Map();
const chunks = new Map();
const waiting = new Map();

function readBlock(name) {
  const block = byId(`data-${name}`);
  return block ? JSON.parse(block.textContent) : null;
}

function keepClips(some) {
  for (const [id, clip] of Object.entries(some || {})) clips.set(id, { id, ...clip });
}

function received(content) {
  keepClips(content.clips);
  return content;
}

window.curatorChunk = (name, content) => waiting.get(name)(received(content));

function loadFile(name) {
  return new Promise((resolve, reject) => {
    waiting.set(name, resolve);
    const script = make('script', { src: `data/${name}.js` });
    script.addEventListener('error', () => reject(new Error(`data/${name}.js is not there. Keep the folder data beside this page.`)));
    document.head.append(script);
  });
}

/** A part of the data by its name; loaded once, when it is first asked for. */
function chunk(name) {
  if (!chunks.has(name)) {
    const block = readBlock(name);
    chunks.set(name, block ? Promise.resolve(received(block)) : loadFile(name));
  }
  return chunks.get(name);
}

/** The item at a place in a list that is cut into chunks of equal length. */
async function item(list, at) {
  const size = index.per_chunk;
  const content = await chunk(`${list}-${Math.floor(at / size)}`);
  return content.items[at % size];
}

const clipOf = (id) => clips.get(id) || { id, source: id, start: 0, end: 0, clip: null, preview: null, state: 'kept' };
const lengthOf = (clip) => Math.max(clip.end - clip.start, 0);

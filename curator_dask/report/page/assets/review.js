// The page of a report only shows. A review has review_buttons.js in this place.

const review = { actions: () => null, connect: () => {}, stateOf: (clip) => clip.state, key: () => false };

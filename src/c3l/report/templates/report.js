"use strict";
(() => {
  const controls = document.getElementById("controls");
  const list = document.getElementById("cards");
  const read = (node, selector) => [...node.querySelectorAll(selector)].map((part) => part.textContent.toLowerCase());
  const cards = [...list.children].map((node) => ({
    node,
    name: node.querySelector(".path").textContent.toLowerCase(),
    place: Number(node.dataset.place),
    // an image that only the draft has pairs of stands last in either order
    highest: Number(node.dataset.highest ?? -Infinity),
    lowest: Number(node.dataset.lowest ?? Infinity),
    rounds: [...node.querySelectorAll(".round")].map((round) => ({ node: round, pairs: [...round.querySelectorAll(".pair")] })),
    pairs: [...node.querySelectorAll(".pair, .loss")].map((pair) => ({
      node: pair,
      state: ["kept", "dropped", "draft", "loss"].find((state) => pair.classList.contains(state)),
      words: read(pair, ".question, .answer, .detail").join("\n"),
    })),
  }));
  const orders = {
    place: (a, b) => a.place - b.place,
    name: (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.place - b.place),
    highest: (a, b) => b.highest - a.highest || a.place - b.place,
    lowest: (a, b) => a.lowest - b.lowest || a.place - b.place,
  };
  const states = { all: ["kept", "dropped", "draft", "loss"], kept: ["kept"], dropped: ["dropped"], rejected: ["loss"] };
  const say = (count, one, many) => `${count} ${count === 1 ? one : many}`;
  let standing = "place";
  const update = () => {
    const show = states[controls.elements.show.value];
    const words = controls.elements.words.value.trim().toLowerCase();
    const found = { kept: 0, dropped: 0, draft: 0, loss: 0 };
    let pictures = 0;
    for (const card of cards) {
      const named = !words || card.name.includes(words);
      let visible = 0;
      for (const pair of card.pairs) {
        const right = show.includes(pair.state) && (named || pair.words.includes(words));
        pair.node.hidden = !right;
        visible += right;
        found[pair.state] += right;
      }
      for (const round of card.rounds) {
        round.node.hidden = round.pairs.length ? round.pairs.every((pair) => pair.hidden) : show.length < 4;
      }
      card.node.hidden = !visible;
      pictures += Boolean(visible);
    }
    const order = controls.elements.order.value;
    if (order !== standing) {
      list.append(...cards.sort(orders[order]).map((card) => card.node));
      standing = order;
    }
    const parts = [say(found.kept + found.dropped, "pair", "pairs")];
    if (found.draft) parts.push(`${found.draft} of the draft`);
    if (found.loss) parts.push(`${found.loss} rejected`);
    controls.elements.found.value = `${parts.join(", ")} of ${say(pictures, "image", "images")}`;
  };
  controls.addEventListener("input", update);
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.reset();
  controls.hidden = false;
  update();

  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const card = target?.closest(".card");
    if (!card) return;
    if (target.hidden || card.hidden) {
      controls.reset();
      update();
    }
    target.scrollIntoView({ block: target === card ? "start" : "center" });
  };
  addEventListener("hashchange", reveal);

  // A touch screen shows no title: a tap on a word shows its number at the bottom edge.
  const readout = document.getElementById("readout");
  document.addEventListener("click", (event) => {
    const token = event.target.closest(".answer i");
    readout.hidden = !token;
    if (token) readout.value = `${token.textContent || "end"}   ${token.title}`;
  });
})();

"use strict";
(() => {
  const controls = document.getElementById("controls");
  const list = document.getElementById("cards");
  const cards = [...list.children].map((node) => ({
    node,
    name: node.querySelector(".path").textContent.toLowerCase(),
    place: Number(node.dataset.place),
    // a picture that only the draft has pairs of stands last in either order
    highest: Number(node.dataset.highest ?? -Infinity),
    lowest: Number(node.dataset.lowest ?? Infinity),
    rounds: [...node.querySelectorAll(".round")],
    pairs: [...node.querySelectorAll(".pair")].map((pair) => ({
      node: pair,
      state: ["kept", "dropped", "draft"].find((state) => pair.classList.contains(state)),
      words: pair.textContent.toLowerCase(),
    })),
  }));
  const orders = {
    place: (a, b) => a.place - b.place,
    highest: (a, b) => b.highest - a.highest || a.place - b.place,
    lowest: (a, b) => a.lowest - b.lowest || a.place - b.place,
  };
  const update = () => {
    const show = controls.elements.show.value;
    const words = controls.elements.words.value.trim().toLowerCase();
    let pictures = 0, pairs = 0, drafts = 0;
    for (const card of cards) {
      let visible = 0;
      for (const pair of card.pairs) {
        const right = show === "all" || pair.state === show;
        const found = !words || card.name.includes(words) || pair.words.includes(words);
        pair.node.hidden = !(right && found);
        visible += right && found;
        drafts += right && found && pair.state === "draft";
      }
      for (const round of card.rounds) {
        const own = [...round.querySelectorAll(".pair")];
        round.hidden = own.length ? own.every((pair) => pair.hidden) : show !== "all";
      }
      card.node.hidden = !visible;
      pictures += Boolean(visible);
      pairs += visible;
    }
    list.append(...cards.sort(orders[controls.elements.order.value]).map((card) => card.node));
    const besides = drafts ? ` and ${drafts} of the draft` : "";
    controls.elements.found.value = `${pairs - drafts} pairs${besides} of ${pictures} pictures`;
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

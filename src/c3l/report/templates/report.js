"use strict";
(() => {
  const controls = document.getElementById("controls");
  const list = document.getElementById("cards");
  const cards = [...list.children].map((node) => ({
    node,
    name: node.querySelector(".path").textContent.toLowerCase(),
    pairs: [...node.querySelectorAll(".pair")].map((pair) => ({
      node: pair,
      kept: pair.classList.contains("kept"),
      words: pair.textContent.toLowerCase(),
    })),
  }));
  const orders = {
    place: (a, b) => a.node.dataset.place - b.node.dataset.place,
    highest: (a, b) => b.node.dataset.highest - a.node.dataset.highest,
    lowest: (a, b) => a.node.dataset.lowest - b.node.dataset.lowest,
  };
  const update = () => {
    const show = controls.elements.show.value;
    const words = controls.elements.words.value.trim().toLowerCase();
    let pictures = 0, pairs = 0;
    for (const card of cards) {
      let visible = 0;
      for (const pair of card.pairs) {
        const right = show === "all" || pair.kept === (show === "kept");
        const found = !words || card.name.includes(words) || pair.words.includes(words);
        pair.node.hidden = !(right && found);
        visible += right && found;
      }
      card.node.hidden = !visible;
      pictures += Boolean(visible);
      pairs += visible;
    }
    list.append(...cards.sort(orders[controls.elements.order.value]).map((card) => card.node));
    controls.elements.found.value = `${pairs} pairs of ${pictures} pictures`;
  };
  controls.addEventListener("input", update);
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.reset();
  controls.hidden = false;
  update();

  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target || !target.classList.contains("pair")) return;
    if (target.hidden || target.closest(".card").hidden) {
      controls.reset();
      update();
    }
    target.scrollIntoView({ block: "center" });
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

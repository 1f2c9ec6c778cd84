"""Questions that follow from what a thing is, by its kind, each with how its answer begins."""

REASONS: dict[str, tuple[tuple[str, str], ...]] = {
    "animal": (
        ("Is there something alive in the {picture}?", "Yes"),
        ("Could the thing in the {picture} move by itself?", "Yes"),
    ),
    "food": (
        ("Could you eat what is in the {picture}?", "Yes"),
        ("What could a hungry person do here?", "They could eat"),
    ),
    "vehicle": (("Could you travel with what is shown?", "Yes"), ("How could one travel here?", "One could ride")),
    "plant": (
        ("Does what is shown need water to live?", "Yes"),
        ("Is there something that grows in the {picture}?", "Yes"),
    ),
    "tool": (
        ("What is the {name} likely used for?", "It is used for work"),
        ("Could someone work with what is shown?", "Yes"),
    ),
    "clothing": (("Could you wear what is shown?", "Yes"), ("What could one do with the {name}?", "One could wear it")),
    "musical instrument": (
        ("Could someone make music here?", "Yes"),
        ("What could one do with the {name}?", "One could play it"),
    ),
    "building": (
        ("Could people be inside what is shown?", "Yes"),
        ("Where might people live or meet here?", "They might be inside"),
    ),
    "container": (("Could you put something into what is shown?", "Yes"),),
    "person": (("Is there somebody to talk to in the {picture}?", "Yes"),),
}
